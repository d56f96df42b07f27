"""The whole domain leaves service, or the answer says why not; nobody else's mark is touched."""

from __future__ import annotations

import json

import pytest

from sliceward.remediations.domain_mark import MarkDomain
from sliceward.remediations.ports import NODE, Kind
from sliceward.topology.names import NAMES
from tests.remediations.scene import INCIDENT, a_scene, default_fleet, done, failed, waiting

MARK = MarkDomain()


async def test_every_host_of_the_domain_and_no_other_is_marked() -> None:
    scene = a_scene()
    done(await scene.act(MARK))
    marked = {node["metadata"]["name"] for node in scene.cluster.of(NODE) if _ours(node)}
    assert marked == {host.name for host in scene.domain}
    note = json.loads(scene.node("cube-0-host-05")["metadata"]["annotations"][NAMES.incident])
    assert note == {
        "incident": INCIDENT,
        "since": "2026-09-01T12:00:00+00:00",
        "why": "ICI link degraded",
        "owner": "sliceward",
    }


async def test_a_second_call_writes_nothing() -> None:
    scene = a_scene()
    await scene.act(MARK)
    writes = len(scene.cluster.writes)
    done(await scene.act(MARK))
    assert len(scene.cluster.writes) == writes


async def test_nothing_is_marked_where_another_machine_has_the_name_now() -> None:
    scene = a_scene()
    scene.facts["machines"] = {"cube-0-host-09": ["the-one-before", "boot-1"]}
    assert "other machines now" in failed(await scene.act(MARK)).why
    assert scene.cluster.writes == []


async def test_spec_unschedulable_is_left_to_people() -> None:
    scene = a_scene()
    await scene.act(MARK)
    assert not any("unschedulable" in node["spec"] for node in scene.cluster.of(NODE))


async def test_a_strangers_taint_and_a_human_cordon_survive() -> None:
    scene = a_scene(
        default_fleet().tainted("example.test/theirs", "cube-0-host-05", effect="NoExecute").cordoned("cube-0-host-06")
    )
    done(await scene.act(MARK))
    assert scene.keys("cube-0-host-05") == {NAMES.tpu_taint, "example.test/theirs", NAMES.out_of_service}
    assert scene.keys("cube-0-host-06") == {NAMES.tpu_taint, NAMES.unschedulable, NAMES.out_of_service}
    assert scene.node("cube-0-host-06")["spec"]["unschedulable"] is True


async def test_a_taint_that_somebody_sets_between_our_read_and_our_write_is_not_wiped() -> None:
    scene = a_scene()
    fresh = {"key": "example.test/fresh", "effect": "NoSchedule"}

    async def meanwhile(verb: str, kind: Kind, name: str) -> None:
        if (verb, kind, name) == ("patch", NODE, "cube-0-host-05") and "example.test/fresh" not in scene.keys(name):
            scene.cluster.edit(NODE, name, {"spec": {"taints": [*scene.node(name)["spec"]["taints"], fresh]}})

    scene.cluster.between = meanwhile
    answer = waiting(await scene.act(MARK))
    assert "cube-0-host-05" in answer.why
    done(await scene.see(MARK))
    assert {"example.test/fresh", NAMES.out_of_service} <= scene.keys("cube-0-host-05")


async def test_nothing_is_marked_where_another_incident_holds_a_host() -> None:
    scene = a_scene(default_fleet().marked("inc-other", "cube-0-host-09"))
    answer = failed(await scene.act(MARK))
    assert "cube-0-host-09 by inc-other" in answer.why
    assert scene.cluster.writes == []


async def test_a_part_without_a_known_domain_is_refused() -> None:
    scene = a_scene()
    scene.domain = ()
    assert "no failure domain" in failed(await scene.act(MARK)).why


async def test_a_host_whose_node_is_gone_is_named_and_the_rest_is_marked() -> None:
    scene = a_scene(default_fleet().without("cube-0-host-05"))
    answer = done(await scene.act(MARK))
    assert answer.facts["hosts_missing"] == ["cube-0-host-05"]
    assert len(answer.facts["hosts_marked"]) == 15


async def test_a_domain_without_any_node_left_is_not_called_marked() -> None:
    scene = a_scene()
    for host in scene.domain:
        scene.cluster.drop(NODE, host.name)
    failed(await scene.act(MARK))


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_lost_answer_is_not_a_failure(after: bool) -> None:  # noqa: FBT001 (pytest)
    scene = a_scene()
    scene.cluster.fail("patch", NODE, "cube-0-host-05", after=after)
    waiting(await scene.act(MARK))
    done(await scene.see(MARK))
    assert all(NAMES.out_of_service in scene.keys(host.name) for host in scene.domain)


def _ours(node: dict[str, dict[str, list[dict[str, str]]]]) -> bool:
    return any(taint["key"] == NAMES.out_of_service for taint in node["spec"]["taints"])
