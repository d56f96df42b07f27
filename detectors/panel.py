"""The panel: all readings of one cluster over a window, and the one door where their flaws are dealt with.

In: frames with the time they were received, and columns of other sources (Kubernetes, Prometheus). Inside: one ring a
metric (`sliceward.detectors.ring`), counters as increases. Handled at the door, once: counter resets, clock steps of a host,
late, doubled, out-of-order and missing frames, values that cannot be true, hosts that come, go, reboot or speak with two
voices. Missing is NaN and has an age. Times are unix seconds of the watcher's clock.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from sliceward.detectors.frame import MAX_NOTES, Layout, Packed
from sliceward.detectors.memory import Memory
from sliceward.detectors.metrics import CATALOGUE, EntityKind, Metric, Shape
from sliceward.detectors.ring import Ring
from sliceward.topology.ids import ChipId, HostId

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from sliceward.detectors.frame import Frame

    Waiting = tuple[int, float, Frame]

Speaker = tuple[float, str, str]
"""Agent start, instance id and boot id: who speaks for a host."""

ENOUGH = 16
"""Hosts whose columns lie alike from which they are stored as one array; of fewer each column is joined with what others say of it."""
TWIN_TURNS = 2
"""Returns of a former speaker that make twins: one is a frame that came late over a restart, a second is none."""
MOST_FORMERS = 16
"""Former speakers that are remembered of a host: as many agents that speak by turns are told from one that restarts."""
MOST_WAITING = 512
"""Frames that wait to be stored together: as bytes they take ten times the room, and to store 25,000 would stop the loop for long."""
TWIN_MEMORY = 60.0
"""Periods for which twins stay twins after the last turn."""


@dataclass(frozen=True, slots=True)
class PanelSize:
    """``period``: seconds a row; ``rows``: how many are kept. ``max_bytes`` bounds the arrays; a watcher of 25,000 hosts with four chips each needs 1.3 GB.

    Every host takes the room of the largest, so ``max_chips`` a host and ``max_ports`` a chip are what TPU hosts have at most.
    """

    period: float = 10.0
    rows: int = 72
    max_hosts: int = 32_768
    max_chips: int = 8
    max_ports: int = 6
    max_bytes: int = 2 << 30


class Taken(StrEnum):
    """What became of a frame, by the name under which it is counted."""

    TAKEN = "taken"
    DUPLICATE = "duplicate"
    OUT_OF_ORDER = "out_of_order"
    LATE = "late"
    STRANGER = "wrong_cluster"
    FULL = "panel_full"


@dataclass(slots=True)
class Known:
    """What the panel knows of one host beside its readings.

    ``heard``: newest frame's time, NaN before the first. ``silent_since``: attended seconds at the last frame, or at the last
    scrape where no agent ever spoke; ``scraped``: whether there was one.
    ``offset``: watcher's clock minus the host's, from the fastest frame. ``index``: its place as its agent says.
    ``formers``: who spoke before, the last one last. ``turns``: when a former speaker came back, and which.
    """

    name: str
    silent_since: float
    heard: float = np.nan
    scraped: bool = False
    seq: int = -1
    at: float = np.nan
    period: float = 0.0
    offset: float = np.nan
    chips: int = 0
    ports: int = 0
    index: int | None = None
    speaker: Speaker | None = None
    formers: tuple[Speaker, ...] = ()
    turns: tuple[tuple[float, Speaker], ...] = ()
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def instance_id(self) -> str:
        """The provider's id as the agent says, "" where it does not know."""
        return self.speaker[1] if self.speaker else ""

    @property
    def boot_id(self) -> str:
        """The boot id as the agent says."""
        return self.speaker[2] if self.speaker else ""

    def twins(self, now: float) -> bool:
        """Whether several agents speak for this host by turns."""
        return len(self._recent(now)) >= TWIN_TURNS

    def voices(self, now: float) -> tuple[Speaker, ...]:
        """Give who speaks for this host: the present speaker, and those that came back lately."""
        present = () if self.speaker is None else (self.speaker,)
        return tuple(dict.fromkeys((*present, *self._recent(now))))

    def _recent(self, now: float) -> list[Speaker]:
        memory = TWIN_MEMORY * max(self.period, 1.0)
        return [who for turn, who in self.turns if now - turn <= memory]


class Panel:
    """Readings of one cluster. ``track``: gauges whose last change is remembered beyond the ring.

    ``memory``: what the clauses of rules remember. ``changed``: when their value became what it is; ``began``: when it was first read, so that a change was seen if it is later.
    """

    def __init__(self, cluster: str, size: PanelSize | None = None, *, track: Iterable[str] = ()) -> None:
        """Begin empty."""
        self.cluster, self.size = cluster, size or PanelSize()
        self._ring = Ring(rows=self.size.rows, period=self.size.period, max_bytes=self.size.max_bytes)
        self.slots: dict[str, int] = {}
        self.hosts: list[Known | None] = []
        self.counts: Counter[str] = Counter()
        self.memory = Memory()
        self.attended = 0.0
        self.now = 0.0
        tracked = tuple(track)
        self.changed: dict[str, NDArray[np.float64]] = {name: np.full(self._ring.hosts, np.nan) for name in tracked}
        self.began: dict[str, NDArray[np.float64]] = {name: np.full(self._ring.hosts, np.nan) for name in tracked}
        self._last: dict[str, NDArray[np.float64]] = {name: np.full(self._ring.hosts, np.nan) for name in tracked}
        self._baseline: dict[str, NDArray[np.float64]] = {}
        self._free: list[int] = []
        self._waiting: dict[int, Waiting] = {}

    @property
    def ring(self) -> Ring:
        """The arrays, with everything in them that was taken in."""
        self._store_waiting()
        return self._ring

    # ── time ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def advance(self, now: float, *, attending: bool = True) -> None:
        """Let time pass. ``attending`` False while nothing could have been heard (no broker): then nobody ages.

        A tick that comes late counts for two periods at most: a stall of our own ages nobody either.
        """
        if self.now and attending:
            self.attended += min(max(0.0, now - self.now), 2 * self.size.period)
        self.now = max(self.now, now)
        self._move_to(self.now)

    def shift(self, seconds: float) -> None:
        """Follow a step of our own clock: what a host's time is on it moves with it, or its frames would look late for minutes."""
        for known in self.hosts:
            if known is not None:
                known.offset += seconds

    def silence(self, slot: int) -> float:
        """Seconds of attention since the host was last heard, or since it was first expected."""
        known = self.hosts[slot]
        return 0.0 if known is None else self.attended - known.silent_since

    def scraped(self, host: str, when: float, period: float) -> bool:
        """Note that another source, asked every ``period`` seconds, told of a host: its sign of life where no agent ever spoke.

        Give whether it is one.
        """
        known = self.known(host)
        if known is None or known.speaker is not None:
            return False
        known.scraped, known.period = True, period
        known.silent_since = max(known.silent_since, self.attended - max(0.0, self.now - when))
        return True

    # ── hosts ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def expect(self, names: Iterable[str]) -> None:
        """Know of hosts that should speak; one that never does is silent from now on."""
        new = [name for name in names if name not in self.slots]
        self._ring.fit(hosts=min(len(self.slots) + len(new), self.size.max_hosts), chips=0, ports=0)
        for name in new:
            self._add(name)

    def forget(self, name: str) -> None:
        """Drop a host that no longer exists."""
        self._store_waiting()
        slot = self.slots.pop(name, None)
        if slot is None:
            return
        self.hosts[slot] = None
        self._ring.forget(slot)
        self.memory.forget(slot)
        for column in (*self._baseline.values(), *self.changed.values(), *self.began.values(), *self._last.values()):
            if slot < len(column):
                column[slot] = np.nan
        self._free.append(slot)

    def known(self, name: str) -> Known | None:
        """Give what is known of a host."""
        slot = self.slots.get(name)
        return None if slot is None else self.hosts[slot]

    def entity(self, kind: EntityKind, flat: int) -> tuple[HostId, int, int]:
        """Give host, chip and port of an entity by its place in a flattened row (chip and port 0 where they have no meaning)."""
        ring = self._ring
        chips, ports = (
            (ring.chips if kind in (EntityKind.CHIP, EntityKind.LINK) else 1),
            (ring.ports if kind is EntityKind.LINK else 1),
        )
        host, rest = divmod(flat, chips * ports)
        known = self.hosts[host]
        return HostId(self.cluster, known.name if known else "gone"), rest // ports, rest % ports

    def chip(self, flat: int) -> ChipId:
        """Give the chip at a place in a flattened row of chips."""
        host, index, _ = self.entity(EntityKind.CHIP, flat)
        return ChipId(self.cluster, host.name, index)

    # ── the door ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def put(self, frame: Frame, received_at: float) -> Taken:
        """Take in one frame. What became of it is counted in ``counts``.

        Its columns wait until somebody looks or its host speaks again, and are then stored for all hosts at once: one slice
        assignment a metric, not one a metric and host (measured at 25,000 hosts: 6 instead of 650 microseconds a frame).
        """
        taken = self._put(frame, received_at)
        self.counts[taken] += 1
        return taken

    def _put(self, frame: Frame, received_at: float) -> Taken:
        if frame.cluster != self.cluster:
            return Taken.STRANGER
        slot = self.slots.get(frame.host)
        slot = self._add(frame.host) if slot is None else slot
        if slot is None or not self._fit(slot, chips=frame.chips, ports=frame.ports):
            return Taken.FULL
        if slot in self._waiting:
            self._store_waiting()
        known = self.hosts[slot]
        assert known is not None  # noqa: S101 (a slot in `slots` has a host)
        self._move_to(received_at)
        refused = self._meet(slot, known, frame, received_at)
        if refused is not None:
            return refused
        when = self._time_of(known, frame, received_at)
        known.seq, known.at, known.period = frame.seq, frame.at, frame.period
        known.chips, known.ports, known.index = frame.chips, frame.ports, frame.index
        if frame.notes or frame.full_notes:
            told = dict(frame.notes) if frame.full_notes else known.notes | dict(frame.notes)
            if len(told) > MAX_NOTES:
                # New keys in each frame would add up without end; the next full set tells what there really is.
                self.counts["notes_refused"] += 1
                told = dict(frame.notes)
            known.notes = {key: text for key, text in told.items() if text}  # "" says that the note is gone
        if not known.heard >= when:
            known.heard, known.silent_since = when, self.attended
        row = self._ring.row_at(when)
        if row is None:
            return Taken.LATE
        self._waiting[slot] = (row, when, frame)
        if len(self._waiting) >= MOST_WAITING:
            self._store_waiting()
        return Taken.TAKEN

    def write(self, name: str, host: str, values: ArrayLike, when: float) -> bool:
        """Take in a gauge of another source: one value, or one a chip. False where the host is unknown or ``when`` has left."""
        slot, metric = self.slots.get(host), CATALOGUE[name]
        if slot is None:
            return False
        self._store_waiting()
        self._ring.advance(when)
        found = np.atleast_1d(np.asarray(values, dtype=np.float32))
        if metric.kind is EntityKind.CHIP and not self._fit(slot, chips=len(found), ports=0):
            return False
        row, column = self._ring.row_at(when), self._ring.column(name)
        if row is None or column is None:
            return False
        good = self._refuse(metric, found)
        if metric.kind is EntityKind.HOST:
            column[row, slot] = good[0]
        else:
            column[row, slot, : len(good)] = good
        return True

    def write_hosts(self, name: str, slots: NDArray[np.intp], values: NDArray[np.floating]) -> None:
        """Take in a gauge of many hosts at once, as of now."""
        column, row = self.ring.column(name), self._ring.row_at(self.now)
        if column is not None and row is not None:
            column[row, slots] = self._refuse(CATALOGUE[name], values)

    def fill(self, name: str, host: str, chip: int, readings: Iterable[tuple[float, float]]) -> int:
        """Take in (time, value) of one chip where nothing was read yet: what the agent says wins. Give how many were used."""
        slot, metric = self.slots.get(host), CATALOGUE[name]
        if slot is None or metric.kind is not EntityKind.CHIP or not self._fit(slot, chips=chip + 1, ports=0):
            return 0
        column, used, known = self.ring.column(name), 0, self.hosts[slot]
        for when, value in readings if column is not None else ():
            row = self._ring.row_at(when)
            good = self._refuse(metric, np.array([value]))[0]
            if column is not None and row is not None and np.isnan(column[row, slot, chip]) and not np.isnan(good):
                column[row, slot, chip] = good
                used += 1
        if known is not None and used:
            known.chips = max(known.chips, chip + 1)
        return used

    # ── inside ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _add(self, name: str) -> int | None:
        if len(self.slots) >= self.size.max_hosts:
            self.counts["hosts_refused"] += 1
            return None
        slot = self._free.pop() if self._free else len(self.hosts)
        # Hosts that nobody announced come one by one and by the thousand: each time a fourth more, or all would be copied too often.
        room = slot + 1 if slot < self._ring.hosts else slot + 1 + slot // 4
        if not (self._ring.fit(hosts=room, chips=0, ports=0) or self._ring.fit(hosts=slot + 1, chips=0, ports=0)):
            self.counts["hosts_refused"] += 1
            return None
        if slot == len(self.hosts):
            self.hosts.append(None)
        self.hosts[slot] = Known(name, silent_since=self.attended)
        self.slots[name] = slot
        for tracked in (self.changed, self.began, self._last):
            for key, column in tracked.items():
                tracked[key] = _grown(column, (self._ring.hosts,))
        return slot

    def _meet(self, slot: int, known: Known, frame: Frame, received_at: float) -> Taken | None:
        """Judge who speaks and in what order; give why the frame is not used, None where it is."""
        speaker = (frame.agent_start, frame.instance_id, frame.boot_id)
        if speaker == known.speaker:
            if frame.seq <= known.seq and frame.at <= known.at:
                return Taken.DUPLICATE if frame.seq == known.seq else Taken.OUT_OF_ORDER
            self.counts["missing"] += max(0, frame.seq - known.seq - 1)
            return None
        if speaker in known.formers:
            known.turns = (*known.turns[-MOST_FORMERS:], (received_at, speaker))
            self.counts["speaker_returned"] += 1
        if known.speaker is not None and speaker[1:] != known.speaker[1:]:
            # Another boot or another machine under this name: its counters began anew, and so does what we know of them.
            self.counts["rebooted"] += 1
            self.memory.forget(slot)
            for column in self._baseline.values():
                if slot < len(column):
                    column[slot] = np.nan
            for name in self._baseline:
                self._ring.columns[name][:, slot] = np.nan
        if known.speaker is not None:
            others = (former for former in known.formers if former not in {speaker, known.speaker})
            known.formers = (*others, known.speaker)[-MOST_FORMERS:]
        known.speaker = speaker
        known.offset, known.notes = np.nan, {}
        known.seq, known.at = frame.seq - 1, frame.at - frame.period
        return None

    def _time_of(self, known: Known, frame: Frame, received_at: float) -> float:
        """Give the time of a frame on the watcher's clock: the host's, moved by the offset of its fastest frame."""
        offset = received_at - frame.at
        expected = (frame.seq - known.seq) * frame.period
        stepped = abs(frame.at - known.at - expected) > max(3 * frame.period, 0.5 * expected)
        if not offset >= known.offset or stepped:
            if stepped and not np.isnan(known.offset):
                self.counts["clock_steps"] += 1
            known.offset = offset
        else:
            # A slow drift of the host's clock must not look like lateness for ever.
            known.offset += 0.01 * (offset - known.offset)
        return min(frame.at + known.offset, received_at)

    def _move_to(self, time: float) -> None:
        """Let rows begin; what waits belongs to the rows as they were."""
        if time // self.size.period > self._ring.newest:
            self._store_waiting()
            self._ring.advance(time)

    def _fit(self, slot: int, *, chips: int, ports: int) -> bool:
        ring = self._ring
        if chips > self.size.max_chips or ports > self.size.max_ports:
            return False
        return (slot < ring.hosts and chips <= ring.chips and ports <= ring.ports) or ring.fit(
            hosts=slot + 1, chips=chips, ports=ports
        )

    def _store_waiting(self) -> None:
        """Store what waits, for all hosts at once: one batch for each row, shape and metric."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, {}
        alike: dict[tuple[object, int, int, int], list[int]] = {}
        for slot, (row, _, frame) in waiting.items():
            columns = frame.columns
            lie = columns.layout if isinstance(columns, Packed) else tuple(columns)
            alike.setdefault((lie, row, frame.chips, frame.ports), []).append(slot)
        for key, slots in list(alike.items()):
            if isinstance(key[0], Layout) and len(slots) >= ENOUGH:
                self._store_packed(key[0], key[1], slots, waiting)
                del alike[key]
        self._store_mixed(alike, waiting)

    def _store_packed(self, layout: Layout, row: int, slots: Sequence[int], waiting: Mapping[int, Waiting]) -> None:
        """Store what hosts say whose columns lie alike: all of them are one array, ``[hosts, bytes]``."""
        hosts, size = np.array(slots, dtype=np.intp), (layout.chips, layout.ports)
        raws = b"".join([columns.raw for slot in slots if isinstance(columns := waiting[slot][2].columns, Packed)])
        table = np.frombuffer(raws, dtype=np.uint8).reshape(len(slots), -1)
        for name, (first, count) in layout.places.items():
            values = self._store(CATALOGUE[name], row, size, (hosts, table[:, first : first + count].tobytes()))
            if name in self.changed and values is not None:
                self._note_changes(name, hosts, values, np.array([waiting[slot][1] for slot in slots]))

    def _store_mixed(self, alike: Mapping[tuple[object, int, int, int], Sequence[int]], waiting: Mapping[int, Waiting]) -> None:
        """Store what few say alike, column by column."""
        batches: dict[tuple[str, int, int, int], tuple[list[int], list[bytes]]] = {}
        groups = list(alike.values())
        for number, (_, row, chips, ports) in enumerate(alike):
            # They name the same columns in the same order: one step takes a column of them all.
            columns = zip(*(waiting[slot][2].columns.values() for slot in groups[number]), strict=True)
            for name, found in zip(waiting[groups[number][0]][2].columns, columns, strict=True):
                numbers, raws = batches.setdefault((name, row, chips, ports), ([], []))
                numbers.append(number)
                raws += found
        slots_of = lru_cache(lambda *numbers: np.array([slot for number in numbers for slot in groups[number]], dtype=np.intp))
        for (name, row, chips, ports), (numbers, raws) in batches.items():
            slots: NDArray[np.intp] = slots_of(*numbers)
            values = self._store(CATALOGUE[name], row, (chips, ports), (slots, b"".join(raws)))
            if name in self.changed and values is not None:
                self._note_changes(name, slots, values, np.array([waiting[int(slot)][1] for slot in slots]))

    def _store(
        self, metric: Metric, row: int, size: tuple[int, int], batch: tuple[NDArray[np.intp], bytes]
    ) -> NDArray[np.floating] | None:
        column, (slots, raw) = self._ring.column(metric.name), batch
        if column is None:
            self.counts["columns_refused"] += len(slots)
            return None
        shape = {EntityKind.CHIP: size[:1], EntityKind.LINK: size}.get(metric.kind, ())
        cell: tuple[Any, ...] = (slots, *(slice(length) for length in shape))
        values = self._refuse(metric, np.frombuffer(raw, dtype="<f8" if metric.shape is Shape.COUNTER else "<f4"))
        values = values.reshape(len(slots), *shape)
        if metric.shape is Shape.COUNTER:
            old = column[(row, *cell)]
            more = self._increase(metric, values, cell)
            values = np.where(np.isnan(old), more, np.where(np.isnan(more), old, old + more))
        column[(row, *cell)] = values
        return values

    def _increase(self, metric: Metric, totals: NDArray[np.floating], cell: tuple[Any, ...]) -> NDArray[np.float64]:
        wanted = self._ring.entities(metric.kind)
        base = self._baseline.get(metric.name)
        if base is None or base.shape != wanted:
            base = self._baseline[metric.name] = _grown(np.full((0,) * len(wanted), np.nan) if base is None else base, wanted)
        before = base[cell]
        more = totals - before
        restarted = more < 0
        if restarted.any():
            self.counts["counter_resets"] += int(restarted.sum())
            more = np.where(restarted, totals, more)
        base[cell] = np.where(np.isnan(totals), before, totals)
        return np.asarray(more)

    def _refuse(self, metric: Metric, values: NDArray[np.floating]) -> NDArray[np.floating]:
        wrong = (values < metric.low) | (values > metric.high) | np.isinf(values)
        if not wrong.any():
            return values
        self.counts["out_of_range"] += int(wrong.sum())
        return np.where(wrong, np.nan, values)

    def _note_changes(self, name: str, slots: NDArray[np.intp], values: NDArray[np.floating], when: NDArray[np.float64]) -> None:
        moved = ~np.isnan(values) & (values != self._last[name][slots])
        first = slots[moved & np.isnan(self._last[name][slots])]
        self._last[name][slots[moved]], self.changed[name][slots[moved]] = values[moved], when[moved]
        self.began[name][first] = self.changed[name][first]


def _grown(column: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    if column.shape == shape:
        return column
    new = np.full(shape, np.nan)
    new[tuple(slice(length) for length in column.shape)] = column
    return new


def notes_of(panel: Panel) -> Mapping[str, Mapping[str, str]]:
    """Give the notes of every host that has some."""
    return {known.name: known.notes for known in panel.hosts if known is not None and known.notes}
