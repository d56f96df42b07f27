"""Who may talk to whom: nothing but what each needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sliceward.daemons.manifests import network, tree
from sliceward.daemons.manifests.install import Install, Overlay, labels
from tests.daemons.manifests.deployed import an_install

if TYPE_CHECKING:
    from collections.abc import Sequence


def policies(install: Install) -> dict[tuple[str, str], dict[str, Any]]:
    found = (one for one in tree.objects(install) if one["kind"] == "NetworkPolicy")
    return {(one["metadata"]["namespace"], one["metadata"]["name"]): one["spec"] for one in found}


def peers(rules: Sequence[dict[str, Any]], side: str, port: int) -> list[Any]:
    """Give who may be talked to on a port; None for everybody."""
    found: list[Any] = []
    for rule in rules:
        if any(one["port"] == port for one in rule["ports"]):
            found += [tuple(sorted(map(str, rule[side])))] if side in rule else [None]
    return found


@pytest.mark.parametrize("overlay", list(Overlay))
def test_both_namespaces_begin_with_nothing(overlay: Overlay) -> None:
    for namespace in ("sliceward", "sliceward-agents"):
        spec = policies(an_install(overlay))[namespace, "nothing-else"]
        assert spec == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@pytest.mark.parametrize("overlay", list(Overlay))
def test_each_policy_is_about_both_ways_and_chooses_pods_that_exist(overlay: Overlay) -> None:
    install = an_install(overlay)
    templates = [one["spec"]["template"]["metadata"]["labels"] for one in tree.objects(install) if one["kind"] == "Deployment"]
    for (_, name), spec in policies(install).items():
        assert spec["policyTypes"] == ["Ingress", "Egress"]
        assert name == "nothing-else" or spec["podSelector"]["matchLabels"] in templates


def test_the_api_and_the_metrics_are_asked_from_namespaces_that_carry_the_label() -> None:
    found = policies(an_install())
    callers = (str({"namespaceSelector": {"matchLabels": network.CALLERS}}),)
    assert peers(found["sliceward", "coordinator"]["ingress"], "from", 8482) == [callers]
    assert peers(found["sliceward", "watcher"]["ingress"], "from", 8483) == [callers]


ANYBODY = None
OURS = {(ANYBODY, "UDP", 53), (ANYBODY, "TCP", 53), ("broker", "TCP", 8883), (ANYBODY, "TCP", 443), (ANYBODY, "TCP", 6443)}


def ways_out(spec: dict[str, Any]) -> set[tuple[str | None, str, int]]:
    """Give everything that pods may talk to: component of ours or anybody, protocol, port."""
    found: set[tuple[str | None, str, int]] = set()
    for rule in spec["egress"]:
        assert rule.keys() <= {"to", "ports"}
        assert rule["ports"], "no ports would mean all"
        whom = (
            [peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for peer in rule["to"]]
            if "to" in rule
            else [ANYBODY]
        )
        found |= {(who, one["protocol"], one["port"]) for who in whom for one in rule["ports"]}
    return found


def test_this_is_all_that_watcher_and_coordinator_may_talk_to() -> None:
    single, ha = policies(an_install()), policies(an_install(Overlay.HA))
    for found in (single, ha):
        assert ways_out(found["sliceward", "watcher"]) == OURS | {(ANYBODY, "TCP", 9090)}
    assert ways_out(single["sliceward", "coordinator"]) == OURS
    assert ways_out(ha["sliceward", "coordinator"]) == OURS | {("coordinator", "TCP", 8482), (ANYBODY, "TCP", 5432)}


def test_the_replicas_of_the_coordinator_reach_each_other() -> None:
    spec = policies(an_install(Overlay.HA))["sliceward", "coordinator"]
    other = str({"podSelector": {"matchLabels": labels("coordinator")}})
    assert other in peers(spec["ingress"], "from", 8482)[0]
    assert peers(spec["egress"], "to", 8482) == [(other,)]
    assert peers(spec["egress"], "to", 5432) == [None]


def test_the_broker_calls_nobody_and_hosts_reach_it_from_their_own_addresses() -> None:
    anywhere = policies(an_install())["sliceward", "broker"]
    assert anywhere["egress"] == []
    assert peers(anywhere["ingress"], "from", 8883) == [None]
    known = policies(an_install(node_ranges=("10.1.0.0/16",)))["sliceward", "broker"]
    ((*who,),) = peers(known["ingress"], "from", 8883)
    assert str({"ipBlock": {"cidr": "10.1.0.0/16"}}) in who
    assert len(who) == 3


PORTS = {
    "mqtts://broker.example:8883": 8883,
    "mqtts://broker.example:8884": 8884,
    "mqtt://broker.example:11883": 11883,
    "mqtts://[2001:db8::1]:443": 443,
    "mqtts://broker.example": 8883,
    "mqtt://broker.example": 1883,
}


@pytest.mark.parametrize("overlay", list(Overlay))
@pytest.mark.parametrize("url", PORTS)
def test_a_broker_of_ones_own_is_reached_wherever_it_is_on_the_port_that_its_address_says(url: str, overlay: Overlay) -> None:
    found = policies(an_install(overlay, broker_url=url))
    assert ("sliceward", "broker") not in found
    others = OURS - {("broker", "TCP", 8883)} | {(ANYBODY, "TCP", PORTS[url])}
    ha = {("coordinator", "TCP", 8482), (ANYBODY, "TCP", 5432)} if overlay is Overlay.HA else set()
    assert ways_out(found["sliceward", "watcher"]) == others | {(ANYBODY, "TCP", 9090)}
    assert ways_out(found["sliceward", "coordinator"]) == others | ha


def test_the_database_is_reached_on_the_port_that_is_told() -> None:
    found = policies(an_install(Overlay.HA, store_port=6432))["sliceward", "coordinator"]
    assert ways_out(found) == OURS | {("coordinator", "TCP", 8482), (ANYBODY, "TCP", 6432)}
