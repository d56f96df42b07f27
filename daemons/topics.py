"""MQTT topics of sliceward, made and read in one place (DESIGN.md section 3)."""

from __future__ import annotations

from dataclasses import dataclass

ROOT = "sliceward/v1"

FRAME = "frame"
EVENT = "event"
STATUS = "status"
REQUEST = "request"

ALL_FRAMES = f"{ROOT}/+/hosts/+/{FRAME}"
ALL_EVENTS = f"{ROOT}/+/hosts/+/{EVENT}"
ALL_STATUS = f"{ROOT}/+/hosts/+/{STATUS}"
ALL_PROGRESS = f"{ROOT}/+/gangs/+/progress"
ALL_FINDINGS = f"{ROOT}/+/findings/+"

_DEPTH_OF_ROOT = ROOT.count("/") + 1


def host(cluster: str, node: str, leaf: str) -> str:
    """Topic of one host; ``leaf`` is `FRAME` (QoS 0), `EVENT`, `STATUS` (retained, last will) or `REQUEST`."""
    return f"{ROOT}/{cluster}/hosts/{node}/{leaf}"


def progress(cluster: str, gang_key: str) -> str:
    """Retained progress of one gang."""
    return f"{ROOT}/{cluster}/gangs/{gang_key}/progress"


def finding(cluster: str, finding_id: str) -> str:
    """Retained present state of one finding."""
    return f"{ROOT}/{cluster}/findings/{finding_id}"


def watcher(cluster: str) -> str:
    """Retained word of a cluster's watcher that it lives: it has nothing else to say of a fleet that is well and idle."""
    return f"{ROOT}/{cluster}/watcher/{STATUS}"


@dataclass(frozen=True, slots=True)
class Address:
    """What a topic of ours speaks about.

    ``thing`` is ``hosts``, ``gangs``, ``findings`` or ``watcher``; ``leaf`` is "" for the last two.
    """

    cluster: str
    thing: str
    name: str
    leaf: str


_LEAVES = {
    "hosts": frozenset({FRAME, EVENT, STATUS, REQUEST}),
    "gangs": frozenset({"progress"}),
    "findings": frozenset({""}),
    "watcher": frozenset({""}),
}


def read(topic: str) -> Address | None:
    """Give what ``topic`` speaks about, None where it is none of ours."""
    levels = topic.split("/")
    if levels[:_DEPTH_OF_ROOT] != ROOT.split("/"):
        return None
    match levels[_DEPTH_OF_ROOT:]:
        case [cluster, thing, name]:
            address = Address(cluster, thing, name, "")
        case [cluster, thing, name, leaf]:
            address = Address(cluster, thing, name, leaf)
        case _:
            return None
    known = address.leaf in _LEAVES.get(address.thing, ()) and address.cluster and address.name
    return address if known else None


def matches(pattern: str, topic: str) -> bool:
    """Whether ``topic`` fits an MQTT filter with ``+`` and ``#`` (amqtt sends retained messages that do not).

    MQTT 3.1.1 section 4.7: ``a/#`` fits ``a`` too; a wildcard at the first level does not fit topics that begin with ``$``.
    """
    wanted, got = pattern.split("/"), topic.split("/")
    if got[0].startswith("$") and wanted[0] in ("+", "#"):
        return False
    for place, level in enumerate(wanted):
        if level == "#":
            return True
        if place >= len(got) or level not in ("+", got[place]):
            return False
    return len(wanted) == len(got)
