"""One installation: the few choices that the manifests follow, and what their objects have in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sliceward.daemons.addresses import holds_password
from sliceward.daemons.version import version
from sliceward.daemons.wire import BrokerAddress
from sliceward.topology.errors import Misconfigured
from sliceward.topology.ids import ClusterId

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sliceward.remediations.ports import Object

DISK = "/var/lib/sliceward"
CONFIG, BROKER, CA, TOKENS, STORE = (f"/etc/sliceward/{part}" for part in ("config", "broker", "ca", "tokens", "store"))
"""Folders in our containers, beside each other: nothing can be mounted into a folder that is mounted read-only."""
COORDINATOR_PORT, WATCHER_PORT, AGENT_PORT, BROKER_PORT = 8482, 8483, 8484, 8883
NOBODY = 65532
WATCHER_USER, COORDINATOR_USER = "sliceward_watcher", "sliceward_coordinator"
"""Users at the broker. No node can have such a name: an underscore is none of DNS-1123's letters."""
HOW = "Write mqtts://host:8883; users and passwords come from the Secrets that --secrets-for makes"


class Overlay(StrEnum):
    """How the coordinator is kept."""

    SINGLE_CLUSTER = "single-cluster"
    HA = "ha"


def _tag() -> str:
    return version().replace("+", "-")


@dataclass(frozen=True, slots=True)
class Install:
    """What an installation may choose.

    ``broker_url``: a broker of your own; "" brings the example Mosquitto. ``node_ranges``: CIDRs of the TPU hosts, which
    reach that Mosquitto from their own addresses; none: from anywhere. ``actions``: names of the actions in use.
    ``store_port``: where PostgreSQL listens; its address is in a Secret that nobody has read here.
    """

    actions: tuple[str, ...]
    overlay: Overlay = Overlay.SINGLE_CLUSTER
    cluster: str = "tpu"
    namespace: str = "sliceward"
    image: str = field(default_factory=lambda: f"sliceward:{_tag()}")
    agent_image: str = field(default_factory=lambda: f"sliceward-agent:{_tag()}")
    broker_url: str = ""
    store_port: int = 5432
    node_ranges: tuple[str, ...] = ()
    privileged_agent: bool = False

    def __post_init__(self) -> None:
        """Refuse what could not stand in an id, a topic or a connection."""
        ClusterId(self.cluster)
        if holds_password(self.broker_url):
            raise Misconfigured("--broker-url", "holds a password, which would stand in ConfigMaps", HOW)
        try:
            BrokerAddress.parse(self.url)
        except Misconfigured as error:
            raise Misconfigured("--broker-url", error.why, HOW) from error

    @property
    def agents_namespace(self) -> str:
        """Where the agents live: they need the host, and nothing else may have what their namespace allows."""
        return f"{self.namespace}-agents"

    @property
    def url(self) -> str:
        """Where the broker is."""
        return self.broker_url or f"mqtts://mosquitto.{self.namespace}.svc:{BROKER_PORT}"

    @property
    def broker_port(self) -> int:
        """Where the broker listens: as its URL says, else the usual port of its scheme."""
        return BrokerAddress.parse(self.url).port


def labels(component: str) -> dict[str, str]:
    """Give the labels of a part of ours, which select its pods too."""
    return {"app.kubernetes.io/name": "sliceward", "app.kubernetes.io/component": component}


def made(api: str, kind: str, name: str, namespace: str = "", **parts: Any) -> Object:  # noqa: ANN401 (any JSON)
    """Give an object. ``labels`` and ``annotations`` go into its metadata, the rest beside it."""
    metadata: dict[str, Any] = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    for key in ("labels", "annotations"):
        if parts.get(key):
            metadata[key] = dict(parts[key])
        parts.pop(key, None)
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **parts}


def config_map(name: str, namespace: str, texts: Mapping[str, str]) -> Object:
    """Give a ConfigMap of files."""
    return made("v1", "ConfigMap", name, namespace, data=dict(texts))


def volume(name: str, **source: Any) -> Object:  # noqa: ANN401 (any JSON)
    """Give a volume."""
    return {"name": name, **source}


def mount(name: str, path: str, *, read_only: bool = True, **more: Any) -> Object:  # noqa: ANN401 (any JSON)
    """Give a mount, read-only unless it says otherwise."""
    return {"name": name, "mountPath": path, **({"readOnly": True} if read_only else {}), **more}
