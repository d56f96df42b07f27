"""A finding: *this part* shows *this fault*, since when, how sure, on what evidence.

Made by detectors (published retained by the watcher) and by the alert webhook (kept in the coordinator's store).
The wire form is JSON so that people can read it on the broker.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sliceward.topology.health import Severity
    from sliceward.topology.ids import GangId, PartId, SliceId


class Kind(StrEnum):
    """What is wrong. The name is what playbooks select by."""

    HOST_LOST = "HostLost"
    CHIP_LOST = "ChipLost"
    ICI_LINK_DEGRADED = "IciLinkDegraded"
    ICI_LINK_DOWN = "IciLinkDown"
    HBM_UNCORRECTABLE = "HbmUncorrectable"
    MEMORY_ERRORS_RISING = "MemoryErrorsRising"
    CHIP_THROTTLED = "ChipThrottled"
    COLLECTIVE_STUCK = "CollectiveStuck"
    SLICE_ERROR = "SliceError"
    PCIE_AER_STORM = "PcieAerStorm"
    DEVICE_OCCUPIED = "DeviceOccupied"
    TELEMETRY_LOST = "TelemetryLost"
    IDENTITY_CONFLICT = "IdentityConflict"
    AGENT_UNWELL = "AgentUnwell"
    PARTITION_UNHEALTHY = "PartitionUnhealthy"
    SLICE_MIXED = "SliceMixed"


class State(StrEnum):
    """Level of a finding: present, gone, or not known because telemetry is lost."""

    FIRING = "firing"
    RESOLVED = "resolved"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One number that decided: metric, its value, the limit that it passed, unit, when it was read, and on what entity."""

    metric: str
    value: float
    limit: float
    unit: str
    at: datetime
    entity: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault of one part.

    ``score`` in 0..1: how sure. ``between_cubes`` is True for a link that crosses cubes. ``instance_id`` and ``boot_id``
    name the incarnation of the host that showed it ("" for parts that are no host's). ``also`` lists parts that show
    the same fault because of this one (they were explained away). ``gang`` and ``slice`` are who suffers, where known.
    """

    kind: Kind
    part: PartId
    state: State
    severity: Severity
    since: datetime
    seen: datetime
    score: float
    detector: str
    version: str
    text: str
    evidence: tuple[Evidence, ...] = ()
    also: tuple[PartId, ...] = ()
    gang: GangId | None = None
    slice: SliceId | None = None
    instance_id: str = ""
    boot_id: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    source: str = "watcher"

    @property
    def id(self) -> str:
        """The same for the same fault of the same part, however often it comes back: 16 hex digits."""
        return hashlib.sha256(f"{self.kind}|{self.part}|{self.source}".encode()).hexdigest()[:16]
