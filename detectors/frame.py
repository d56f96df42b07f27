"""A frame: all readings of one host at one instant, as columns. Encoded by the agent, decoded by the watcher.

msgpack map with short keys; each column is raw little-endian bytes, float32 for gauges and float64 for counters
(`sliceward.detectors.metrics`). NaN is missing. An unknown metric or key of a newer agent is skipped; a missing one of
an older agent is missing. No numpy here.

The schema grows by new keys and new metrics only, which need no new number: ``schema`` changes when an older reader would
misread what it knows, and such a frame is refused by name.

Agents of one version send the same columns again and again: where each lies is worked out once, and columns that lie so are left in one piece.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from sliceward.detectors.metrics import CATALOGUE, EntityKind, Metric, Shape
from sliceward.topology.errors import Misconfigured
from sliceward.topology.ids import HostId

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SCHEMA = 1
MAX_FRAME_BYTES = 1 << 20
MAX_CHIPS = 64
MAX_PORTS = 8
MAX_COLUMNS = 512
FEW = 4
"""Ways that columns may lie in as many bytes that are remembered."""
MAX_NOTES = 512
MAX_NOTE_KEY = 128
MAX_NOTE_TEXT = 8192
MAX_ID = 253
MAX_INDEX = 1 << 16
MAX_PERIOD = 3600.0
LATEST = 1 << 34  # unix seconds; the year 2514: a clock beyond it is broken, and float64 still tells microseconds apart
MAX_SEQ = 1 << 53


@dataclass(frozen=True, slots=True)
class Frame:
    """Readings of one host.

    ``at``: unix seconds by the host's clock; ``period``: seconds between frames; ``seq``: +1 per frame within a boot of
    the agent (``agent_start`` unix seconds tells agents apart). ``index``: place of the host in its cube, None if unknown.
    ``columns``: metric name -> raw bytes, length = entities of its kind x item size: chip ``chips``, link ``chips * ports``,
    host 1. ``notes``: text that changed, and all of it at least once a minute (device holders, versions, slice errors,
    ``coordinates`` of the chips in the slice, ``gang`` of the reporter). ``full_notes``: notes hold everything.
    """

    cluster: str
    host: str
    instance_id: str
    boot_id: str
    index: int | None
    agent_start: float
    seq: int
    at: float
    period: float
    chips: int
    ports: int
    columns: Mapping[str, bytes]
    notes: Mapping[str, str] = field(default_factory=dict)
    full_notes: bool = False
    schema: int = SCHEMA


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Where columns lie in the bytes that hold them all: name -> first byte and how many. ``chips`` and ``ports``: of which hosts.

    What does not change from frame to frame (names, lengths) are the bits of ``mask``, and they are those of ``frame``.
    """

    places: Mapping[str, tuple[int, int]]
    chips: int
    ports: int
    mask: int
    frame: int

    @classmethod
    def of(cls, raw: bytes, columns: Mapping[str, bytes], chips: int, ports: int) -> Layout:
        """Work it out from ``raw`` and the columns that were read out of it, in their order."""
        mask, at, places = bytearray(b"\xff" * len(raw)), 0, {}
        for name, column in columns.items():
            # The name and the length stand before each: a column is found after them, and an empty one leaves nothing to change.
            at = raw.index(name.encode(), at) + len(name.encode()) + _head(len(column))
            places[name] = at, len(column)
            mask[at : at + len(column)] = bytes(len(column))
            at += len(column)
        bits = int.from_bytes(mask, "little")
        return cls(places, chips, ports, bits, int.from_bytes(raw, "little") & bits)

    def fits(self, raw: bytes) -> bool:
        """Whether columns lie so in ``raw``, which is as long."""
        return int.from_bytes(raw, "little") & self.mask == self.frame


def _head(length: int) -> int:
    """Bytes before the bytes of a column: msgpack's bin 8, bin 16 and bin 32."""
    return 2 if length < 1 << 8 else 3 if length < 1 << 16 else 5


class Packed(Mapping[str, bytes]):
    """Columns in one piece, as they came; each is cut out when it is asked for."""

    __slots__ = ("layout", "raw")

    def __init__(self, layout: Layout, raw: bytes) -> None:
        """Take bytes that `Layout.fits`."""
        self.layout, self.raw = layout, raw

    def __getitem__(self, name: str) -> bytes:
        """Cut out one column."""
        first, count = self.layout.places[name]
        return self.raw[first : first + count]

    def __iter__(self) -> Iterator[str]:
        """Go through the names, in the order in which they came."""
        return iter(self.layout.places)

    def __len__(self) -> int:
        """Count them."""
        return len(self.layout.places)


class BadFrame(ValueError):
    """A frame that cannot be used: where in it and why. Counted, logged once per host, and costs nothing else."""

    def __init__(self, where: str, why: str) -> None:
        """``where``: the key or column; ``why``: one clause without text of the sender longer than 80 characters."""
        super().__init__(f"{where}: {why}")
        self.where, self.why = where, why


class _Wire(msgspec.Struct, kw_only=True, gc=False):
    """The msgpack map. Short keys, since 10,000 hosts send it each period."""

    schema: int = msgspec.field(name="v")
    cluster: str = msgspec.field(name="c")
    host: str = msgspec.field(name="h")
    instance_id: str = msgspec.field(name="i", default="")
    boot_id: str = msgspec.field(name="b", default="")
    index: int | None = msgspec.field(name="x", default=None)
    agent_start: float = msgspec.field(name="a")
    seq: int = msgspec.field(name="s")
    at: float = msgspec.field(name="t")
    period: float = msgspec.field(name="p")
    chips: int = msgspec.field(name="n")
    ports: int = msgspec.field(name="l")
    columns: msgspec.Raw = msgspec.field(name="d")
    notes: dict[str, str] = msgspec.field(name="o", default_factory=dict)
    full_notes: bool = msgspec.field(name="f", default=False)


_FIELDS = _Wire.__struct_fields__
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_Wire)
_COLUMNS = msgspec.msgpack.Decoder(dict[str, bytes])
# What others say about a host; a frame that carries it would speak for the API server or the watcher.
_NOT_THE_AGENTS = frozenset({"kubernetes", "prometheus", "watcher"})


def encode(frame: Frame) -> bytes:
    """Give the wire form.

    Raises:
        BadFrame: the frame could not be decoded again.
    """
    _check_header(frame)
    _check_notes(frame.notes)
    for name, raw in frame.columns.items():
        if name not in CATALOGUE:
            raise BadFrame(f"column {name[:80]!r}", "is not in the catalogue of metrics")
        _check_column(CATALOGUE[name], raw, frame)
    wire = _Wire(**{name: getattr(frame, name) for name in _FIELDS})
    wire.columns, wire.notes = msgspec.Raw(_ENCODER.encode(dict(frame.columns))), dict(frame.notes)
    payload = _ENCODER.encode(wire)
    if len(payload) > MAX_FRAME_BYTES:
        raise BadFrame("frame", f"has {len(payload)} bytes, more than {MAX_FRAME_BYTES}")
    return payload


def decode(payload: bytes) -> Frame:
    """Give the frame, with every length and range of the header checked against the catalogue.

    Values inside columns are judged where they are used (`Metric.low`, `Metric.high`).

    Raises:
        BadFrame: not msgpack, too large, wrong type, a column of the wrong length, names that are no names.
    """
    if len(payload) > MAX_FRAME_BYTES:
        raise BadFrame("frame", f"has {len(payload)} bytes, more than {MAX_FRAME_BYTES}")
    try:
        wire = _DECODER.decode(payload)
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError, TypeError) as error:
        raise BadFrame("frame", f"is not a frame: {str(error)[:160]}") from None
    if wire.schema != SCHEMA:
        raise BadFrame("schema", f"is {wire.schema}; this version reads {SCHEMA}: make agent and watcher the same version")
    _check_header(wire)
    _check_notes(wire.notes)
    known = _columns(wire)
    return Frame(
        wire.cluster, wire.host, wire.instance_id, wire.boot_id, wire.index, wire.agent_start, wire.seq, wire.at, wire.period,
        wire.chips, wire.ports, known, wire.notes, wire.full_notes,
    )  # fmt: skip


def _columns(wire: _Wire) -> Mapping[str, bytes]:
    raw = bytes(wire.columns)
    usual = _usual(len(raw), wire.chips, wire.ports)
    for layout in usual:
        if layout.fits(raw):
            return Packed(layout, raw)
    try:
        known = _COLUMNS.decode(raw)
    except (msgspec.MsgspecError, ValueError) as error:
        raise BadFrame("frame", f"is not a frame: {str(error)[:160]}") from None
    if len(known) > MAX_COLUMNS:
        raise BadFrame("columns", f"are {len(known)}, more than {MAX_COLUMNS}")
    sizes = column_sizes(wire.chips, wire.ports)
    if list(map(len, known.values())) != list(map(sizes.get, known)):
        known = {name: raw for name, raw in known.items() if name in CATALOGUE}
        for name, raw in known.items():
            _check_column(CATALOGUE[name], raw, wire)
        return known
    if _ENCODER.encode(known) == raw:  # each once, in its shortest form: so it is known where each lies
        usual.append(Layout.of(raw, known, wire.chips, wire.ports))
    return known


@lru_cache(maxsize=64)
def _usual(size: int, chips: int, ports: int) -> deque[Layout]:
    """Give how columns of so many bytes in all have lain so far, the last few ways; whoever finds another adds it."""
    del size, chips, ports
    return deque(maxlen=FEW)


def entities(kind: EntityKind, *, chips: int, ports: int) -> int:
    """Give how many entities of a kind one host has."""
    match kind:
        case EntityKind.CHIP:
            return chips
        case EntityKind.LINK:
            return chips * ports
        case EntityKind.HOST:
            return 1
        case EntityKind.SLICE:
            return 0  # a slice is no host's; its readings never travel in a frame


@lru_cache(maxsize=64)
def column_sizes(chips: int, ports: int) -> dict[str, int]:
    """Give the bytes of each column that an agent of such a host may send: 25,000 hosts' frames have a hundred columns each."""
    return {metric.name: _size(metric, chips, ports) for metric in CATALOGUE.values() if metric.source not in _NOT_THE_AGENTS}


def _size(metric: Metric, chips: int, ports: int) -> int:
    return (8 if metric.shape is Shape.COUNTER else 4) * entities(metric.kind, chips=chips, ports=ports)


def pack(metric: Metric, values: Iterable[float]) -> bytes:
    """Give the raw column of ``values``, one per entity in order; NaN where nothing was read."""
    column = array(metric.typecode, values)
    if sys.byteorder == "big":
        column.byteswap()
    return column.tobytes()


def unpack(metric: Metric, raw: bytes) -> list[float]:
    """Give the values of a raw column whose length `decode` has checked."""
    column: array[float] = array(metric.typecode)
    column.frombytes(raw)
    if sys.byteorder == "big":
        column.byteswap()
    return column.tolist()


def _check_header(frame: Frame | _Wire) -> None:
    try:
        HostId(frame.cluster, frame.host)
    except Misconfigured as error:
        raise BadFrame("name", str(error)[:200]) from None
    for where in ("instance_id", "boot_id"):
        text = getattr(frame, where)
        if len(text) > MAX_ID or not text.isprintable():
            raise BadFrame(where, f"is not printable text of at most {MAX_ID} characters")
    if (
        (frame.index is None or 0 <= frame.index <= MAX_INDEX)
        and 0 <= frame.chips <= MAX_CHIPS
        and 0 <= frame.ports <= MAX_PORTS
        and 0 <= frame.seq <= MAX_SEQ
        and 0 <= frame.at <= LATEST
        and 0 <= frame.agent_start <= LATEST
        and 0 < frame.period <= MAX_PERIOD
    ):
        return  # as nearly always; else it is found which of them it is
    if frame.index is not None:
        _within("index", frame.index, low=0, high=MAX_INDEX)
    _within("chips", frame.chips, low=0, high=MAX_CHIPS)
    _within("ports", frame.ports, low=0, high=MAX_PORTS)
    _within("seq", frame.seq, low=0, high=MAX_SEQ)
    _within("at", frame.at, low=0, high=LATEST)
    _within("agent_start", frame.agent_start, low=0, high=LATEST)
    _within("period", frame.period, low=0, high=MAX_PERIOD)
    if frame.period == 0:
        raise BadFrame("period", "is 0 seconds")


def _within(where: str, value: float, *, low: float, high: float) -> None:
    # Written so that NaN, which compares false with everything, is refused too.
    if not (math.isfinite(value) and low <= value <= high):
        raise BadFrame(where, f"is {value!s:.40}, outside {low}..{high}")


def _check_column(metric: Metric, raw: bytes, frame: Frame | _Wire) -> None:
    if metric.source in _NOT_THE_AGENTS:
        raise BadFrame(f"column {metric.name}", f"comes from {metric.source}, not from an agent")
    wanted = _size(metric, frame.chips, frame.ports)
    if len(raw) != wanted:
        raise BadFrame(f"column {metric.name}", f"has {len(raw)} bytes, not {wanted} ({frame.chips} chips, {frame.ports} ports)")


def _check_notes(notes: Mapping[str, str]) -> None:
    if len(notes) > MAX_NOTES:
        raise BadFrame("notes", f"are {len(notes)}, more than {MAX_NOTES}")
    for key, text in notes.items():
        if not 0 < len(key) <= MAX_NOTE_KEY or not key.isprintable():
            raise BadFrame(f"note {key[:40]!r}", f"has a key that is not printable text of 1 to {MAX_NOTE_KEY} characters")
        if len(text) > MAX_NOTE_TEXT:
            raise BadFrame(f"note {key[:40]!r}", f"has {len(text)} characters, more than {MAX_NOTE_TEXT}")
