"""Who may talk to whom. All that is not said here is refused, where the cluster's network holds to NetworkPolicies.

Agents share their host's network, which no NetworkPolicy binds: the broker knows them by TLS, user and password.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sliceward.daemons.manifests.install import BROKER_PORT, COORDINATOR_PORT, WATCHER_PORT, Overlay, labels, made

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sliceward.daemons.manifests.install import Install
    from sliceward.remediations.ports import Object

CALLERS = {"sliceward.dev/may-call": "true"}
"""Label of the namespaces from which the API and the metrics may be asked: monitoring, Alertmanager, the way in for people."""
API_SERVERS = (443, 6443)
PROMETHEUS = 9090


def shared(install: Install) -> tuple[Object, ...]:
    """Give what all overlays have: nothing at all for a start, then watcher and broker."""
    return (
        _nothing(install.namespace),
        _nothing(install.agents_namespace),
        _policy(
            install,
            "watcher",
            ingress=[{"from": [_callers()], "ports": _ports(WATCHER_PORT)}],
            egress=[_names(), *_to_broker(install), {"ports": _ports(*API_SERVERS, PROMETHEUS)}],
        ),
        *(() if install.broker_url else (_policy(install, "broker", ingress=_at_broker(install), egress=[]),)),
    )


def coordinator(install: Install) -> Object:
    """Give what the coordinator may: API servers, pagers and providers over HTTPS, its database, its other replica."""
    ha = install.overlay is Overlay.HA
    other = {"podSelector": {"matchLabels": labels("coordinator")}}
    replicas = [{"to": [other], "ports": _ports(COORDINATOR_PORT)}] if ha else []
    outside = (*API_SERVERS, install.store_port) if ha else API_SERVERS
    return _policy(
        install,
        "coordinator",
        ingress=[{"from": [_callers(), *([other] if ha else [])], "ports": _ports(COORDINATOR_PORT)}],
        egress=[_names(), *_to_broker(install), *replicas, {"ports": _ports(*outside)}],
    )


def _nothing(namespace: str) -> Object:
    spec = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    return made("networking.k8s.io/v1", "NetworkPolicy", "nothing-else", namespace, spec=spec)


def _policy(install: Install, component: str, *, ingress: Sequence[Object], egress: Sequence[Object]) -> Object:
    spec = {
        "podSelector": {"matchLabels": labels(component)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": list(ingress),
        "egress": list(egress),
    }
    return made("networking.k8s.io/v1", "NetworkPolicy", component, install.namespace, labels=labels(component), spec=spec)


def _ports(*numbers: int, protocol: str = "TCP") -> list[Object]:
    return [{"protocol": protocol, "port": number} for number in numbers]


def _callers() -> Object:
    return {"namespaceSelector": {"matchLabels": CALLERS}}


def _names() -> Object:
    """Allow the cluster's DNS, wherever it runs."""
    return {"ports": [*_ports(53, protocol="UDP"), *_ports(53)]}


def _to_broker(install: Install) -> list[Object]:
    if install.broker_url:
        return [{"ports": _ports(install.broker_port)}]
    return [{"to": [{"podSelector": {"matchLabels": labels("broker")}}], "ports": _ports(BROKER_PORT)}]


def _at_broker(install: Install) -> list[Object]:
    """Watcher and coordinator by their pods; hosts by their addresses, where those are known, else from anywhere."""
    if not install.node_ranges:
        return [{"ports": _ports(BROKER_PORT)}]
    ours: list[Any] = [{"podSelector": {"matchLabels": labels(one)}} for one in ("watcher", "coordinator")]
    hosts = [{"ipBlock": {"cidr": one}} for one in install.node_ranges]
    return [{"from": [*ours, *hosts], "ports": _ports(BROKER_PORT)}]
