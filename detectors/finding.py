"""A finding: *this part* shows *this fault*, since when, how sure, on what evidence.

Made by detectors (published retained by the watcher) and by the alert webhook (kept in the coordinator's store).
The wire form is JSON so that people can read it on the broker (`to_json`, `from_json`): the fields of `Finding` by name,
ids as they print, times in RFC 3339. Unknown keys of a newer speaker are skipped.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from math import nan
from typing import TYPE_CHECKING, Annotated, TypeVar

import msgspec

from sliceward.topology.errors import Misconfigured
from sliceward.topology.health import Severity  # noqa: TC001 (msgspec reads it at run time)
from sliceward.topology.ids import GangId, SliceId, parse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sliceward.topology.ids import PartId


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
    GANG_DISAGREES = "GangDisagrees"
    INPUT_STARVED = "InputStarved"
    SHORT_DEATHS = "ShortDeaths"
    PROVIDER_DISAGREES = "ProviderDisagrees"
    HOST_DYING = "HostDying"
    PORT_HELD = "PortHeld"
    COMPILE_STALLED = "CompileStalled"
    CHECKPOINT_STALLED = "CheckpointStalled"
    NO_FIRST_STEP = "NoFirstStep"
    JOB_PAUSES = "JobPauses"
    SLICE_FAILURE = "SliceFailure"
    GANG_FAILED = "GangFailed"
    CHIP_FATAL = "ChipFatal"
    PROGRAM_FATAL = "ProgramFatal"
    PROGRAMS_DIFFER = "ProgramsDiffer"
    CHIP_HUNG = "ChipHung"
    PART_SUSPECT = "PartSuspect"
    """Statistics say that the part differs from its peers: watch it, place around it. Nothing is drained for this."""
    PART_CONDEMNED = "PartCondemned"
    """A suspect that stood, stands out and that a second, independent signal speaks against."""


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
class Picture:
    """One metric of a part beside its peers', over time: what a person would look at to believe a verdict.

    ``values``, ``low``, ``middle`` and ``high`` (10th, 50th and 90th percentile of ``peers`` peers) are of ticks ``step`` seconds apart, the last one at
    ``until``; NaN where nothing was read. ``nats`` is the evidence, ``need`` what a verdict needs, ``rival`` the next best name ("" for none).
    """

    metric: str
    unit: str
    until: datetime
    step: float
    values: tuple[float, ...]
    low: tuple[float, ...]
    middle: tuple[float, ...]
    high: tuple[float, ...]
    peers: int
    nats: float
    need: float
    rival: str = ""
    rival_nats: float = nan


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault of one part.

    ``score`` in 0..1: how sure. Label ``between-cubes`` of a link: "true" where it leaves its cube or the
    places of its ends are unknown, "false" where both ends are certainly neighbours in one cube. ``instance_id`` and
    ``boot_id`` name the incarnation of the host that showed it ("" for parts that are no host's). ``also`` lists parts that
    show the same fault because of this one (they were explained away). ``gang`` and ``slice`` are who suffers, where known.
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
    picture: Picture | None = None

    @property
    def id(self) -> str:
        """The same for the same fault of the same part, however often it comes back: 16 hex digits."""
        return _digest(self.kind, self.part, self.source)


@lru_cache(maxsize=16_384)
def _digest(kind: Kind, part: PartId, source: str) -> str:
    return hashlib.sha256(f"{kind}|{part}|{source}".encode()).hexdigest()[:16]


class BadFinding(ValueError):
    """A payload that is no finding: where in it and why."""

    def __init__(self, where: str, why: str) -> None:
        """``where`` is the path in the JSON (``$.evidence[0].at``), ``$`` for the whole."""
        super().__init__(f"{where}: {why}")
        self.where, self.why = where, why


MAX_FINDING_BYTES = 1 << 18
"""No finding is larger; what is larger is not read (the parts in ``also`` of the largest host are 70 ids)."""

_UNKEPT = re.compile("[\x00\ud800-\udfff]")
_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")
_FIRST_YEAR = 1970


def storable(text: str) -> str:
    """Give the text with U+FFFD for what not every store keeps: NUL (PostgreSQL refuses it) and halves of surrogate pairs."""
    return _UNKEPT.sub("\ufffd", text)


_Time = Annotated[datetime, msgspec.Meta(tz=True)]
_Line = Annotated[tuple[float | None, ...], msgspec.Meta(max_length=1440)]


class _WireEvidence(msgspec.Struct, frozen=True):
    metric: str
    value: float | None
    limit: float | None
    unit: str
    at: _Time
    entity: str
    text: str = ""


class _WirePicture(msgspec.Struct, frozen=True):
    metric: str
    unit: str
    until: _Time
    step: Annotated[float, msgspec.Meta(gt=0)]
    values: _Line
    low: _Line
    middle: _Line
    high: _Line
    peers: int
    nats: float
    need: float
    rival: str = ""
    rival_nats: float | None = None


class _WireFinding(msgspec.Struct, frozen=True):
    id: str
    kind: Kind
    part: str
    state: State
    severity: Severity
    since: _Time
    seen: _Time
    score: Annotated[float, msgspec.Meta(ge=0, le=1)]
    detector: str
    version: str
    text: str
    evidence: tuple[_WireEvidence, ...] = ()
    also: tuple[str, ...] = ()
    gang: str | None = None
    slice: str | None = None
    instance_id: str = ""
    boot_id: str = ""
    labels: dict[str, str] = {}
    source: str = "watcher"
    picture: _WirePicture | None = None


def to_json(finding: Finding) -> bytes:
    """Give the wire form. A number that is not finite becomes null."""
    fields = {name: getattr(finding, name) for name in _SAME}
    return msgspec.json.encode(
        _WireFinding(
            **fields,
            part=str(finding.part),
            since=_utc(finding.since),
            seen=_utc(finding.seen),
            evidence=tuple(
                _WireEvidence(e.metric, e.value, e.limit, e.unit, _utc(e.at), e.entity, e.text) for e in finding.evidence
            ),
            also=tuple(map(str, finding.also)),
            gang=None if finding.gang is None else str(finding.gang),
            slice=None if finding.slice is None else str(finding.slice),
            labels=dict(finding.labels),
            picture=None if finding.picture is None else _wired(finding.picture),
        )
    )


_SAME = ("id", "kind", "state", "severity", "score", "detector", "version", "text", "instance_id", "boot_id", "source")


def from_json(payload: bytes) -> Finding:
    """Give the finding that was written by `to_json`, here or by another version; NUL in a text becomes U+FFFD.

    Raises:
        BadFinding: not JSON, too large, a field missing or of the wrong type, an id that is no id, an impossible time.
    """
    if len(payload) > MAX_FINDING_BYTES:
        raise BadFinding("$", f"has {len(payload)} bytes, more than {MAX_FINDING_BYTES}")
    try:
        storable_bytes = _NUL.sub(rb"\1\\ufffd", payload) if rb"\u0000" in payload else payload
        wire = msgspec.json.decode(storable_bytes, type=_WireFinding)
    except msgspec.ValidationError as error:
        why, _, where = str(error).partition(" - at ")
        raise BadFinding(where.strip("`") or "$", why) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadFinding("$", f"is not JSON: {error}") from error
    same = {name: getattr(wire, name) for name in (*_SAME[1:], "labels")}
    return Finding(
        **same,
        part=_id("$.part", wire.part),
        since=_instant("$.since", wire.since),
        seen=_instant("$.seen", wire.seen),
        evidence=tuple(_evidence(f"$.evidence[{place}]", one) for place, one in enumerate(wire.evidence)),
        also=tuple(_id(f"$.also[{place}]", text) for place, text in enumerate(wire.also)),
        gang=None if wire.gang is None else _one("$.gang", wire.gang, GangId),
        slice=None if wire.slice is None else _one("$.slice", wire.slice, SliceId),
        picture=None if wire.picture is None else _picture(wire.picture),
    )


def _wired(one: Picture) -> _WirePicture:
    lines = one.values, one.low, one.middle, one.high
    return _WirePicture(
        one.metric, one.unit, _utc(one.until), one.step, *lines, one.peers, one.nats, one.need, one.rival, one.rival_nats
    )


def _picture(one: _WirePicture) -> Picture:
    values, low, middle, high = (tuple(map(_number, line)) for line in (one.values, one.low, one.middle, one.high))
    return Picture(
        one.metric, one.unit, _instant("$.picture.until", one.until), one.step, values, low, middle, high, one.peers, one.nats,
        one.need, one.rival, _number(one.rival_nats),
    )  # fmt: skip


def _utc(time: datetime) -> datetime:
    return time.astimezone(UTC)


def _instant(where: str, time: datetime) -> datetime:
    try:
        when = _utc(time)
    except OverflowError:
        raise BadFinding(where, f"{time} is out of range") from None
    if when.year < _FIRST_YEAR:
        raise BadFinding(where, f"{time} is before {_FIRST_YEAR}: no clock says that")
    return when


def _evidence(where: str, one: _WireEvidence) -> Evidence:
    at = _instant(f"{where}.at", one.at)
    return Evidence(one.metric, _number(one.value), _number(one.limit), one.unit, at, one.entity, one.text)


def _number(value: float | None) -> float:
    return nan if value is None else value


def _id(where: str, text: str) -> PartId:
    try:
        return parse(text)
    except Misconfigured as error:
        raise BadFinding(where, str(error)) from error


_Id = TypeVar("_Id", GangId, SliceId)


def _one(where: str, text: str, kind: type[_Id]) -> _Id:
    part = _id(where, text)
    if not isinstance(part, kind):
        raise BadFinding(where, f"{text!r} is not a {kind.__name__}")
    return part
