"""MQTT topics of sliceward, made and read in one place (DESIGN.md section 3)."""

from __future__ import annotations

ROOT = "sliceward/v1"

FRAME = "frame"
EVENT = "event"
STATUS = "status"
REQUEST = "request"


def host(cluster: str, node: str, leaf: str) -> str:
    """Topic of one host; ``leaf`` is `FRAME` (QoS 0), `EVENT`, `STATUS` (retained, last will) or `REQUEST`."""
    return f"{ROOT}/{cluster}/hosts/{node}/{leaf}"


def progress(cluster: str, gang_key: str) -> str:
    """Retained progress of one gang."""
    return f"{ROOT}/{cluster}/gangs/{gang_key}/progress"


def finding(cluster: str, finding_id: str) -> str:
    """Retained present state of one finding."""
    return f"{ROOT}/{cluster}/findings/{finding_id}"


def matches(pattern: str, topic: str) -> bool:
    """Whether ``topic`` fits an MQTT filter with ``+`` and ``#`` (amqtt sends retained messages that do not)."""
    wanted, got = pattern.split("/"), topic.split("/")
    for place, level in enumerate(wanted):
        if level == "#":
            return True
        if place >= len(got) or level not in ("+", got[place]):
            return False
    return len(wanted) == len(got)
