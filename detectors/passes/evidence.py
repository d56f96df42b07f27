"""Everything that the passes know of one kind of member: gauges and counters, of members and of the groups that hold them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from sliceward.detectors.passes import counts, drift, peers, polish
from sliceward.detectors.passes.localise import MARGIN, Candidate
from sliceward.detectors.passes.rest import Pulse
from sliceward.detectors.passes.signals import Form, Signal
from sliceward.detectors.passes.verdicts import PERSIST, WITNESS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from sliceward.detectors.passes.layout import Crowd, Groups, Index, Rows
    from sliceward.detectors.passes.localise import Key
    from sliceward.detectors.passes.rest import Rest
    from sliceward.detectors.passes.verdicts import Standing

NONE = np.zeros(0, dtype=np.intp)
FIT = 30
"""Ticks between two fits of the priors of rates."""
SETTLED = 30
"""Ticks after which offsets and scales are known well enough to measure what normal noise earns."""
WARM = 60
"""Ticks in which a baseline is learnt and nothing is said: ten minutes at 10 s."""
LEAST = np.float32(1e-3)
"""Share of a reading's size below which no deviation is believed to be noise that is known: readings come rounded."""
OUTSTANDING = 3.0
"""Deviations of the peers' usual places beyond which a part stands out: one healthy part in seven hundred."""
LEVEL = np.float32(1 / 12)
"""Weight of a tick in where a part stands now."""
OF_LINES = frozenset({"domain", "slice"})
"""Groups that a whole line of cubes may be, with its power or its cooling."""
OF_GROUPS = peers.Care(clip=12.0, least=1.0, centred=True)
"""A group's sum counts for more than a member's reading, and is never believed steadier than independent members would be."""


@dataclass(slots=True, eq=False)
class Held:
    """Evidence against groups of one kind: their own baselines and banks, ``age``: ticks for which there is some, ``[rows, groups]``; ``scores``: as of members."""

    groups: Groups
    base: peers.Baseline
    bank: drift.Bank
    nats: Rows
    age: NDArray[np.int32]
    scores: Rows = field(default_factory=lambda: np.zeros((0, 0), dtype=np.float32))

    @classmethod
    def new(cls, groups: Groups, gauges: int, counters: int) -> Held:
        """Know nothing."""
        size = len(groups)
        nats = np.zeros((len(counts.RISES), counters, size), dtype=np.float32)
        age = np.zeros((gauges + counters, size), dtype=np.int32)
        return cls(groups, peers.Baseline.new(gauges, size), drift.Bank.new(gauges, size), nats, age)

    @property
    def most(self) -> Rows:
        """Give the evidence, ``[rows, groups]``."""
        return np.concatenate((self.bank.most, self.nats.max(axis=0)))

    def reset(self, rows: NDArray[np.bool_]) -> None:
        """Begin anew where ``rows`` ``[rows, groups]`` says."""
        gauges = self.bank.nats.shape[1]
        self.bank.nats[:, rows[:gauges]] = 0
        self.nats[:, rows[gauges:]] = 0
        self.age[rows] = 0

    def forget(self, rows: NDArray[np.bool_]) -> None:
        """Learn anew where ``rows`` says: what members show while their own places are not known yet lasts, and adds up in their groups."""
        self.reset(rows)
        gauges = rows[: self.bank.nats.shape[1]]
        self.base.seen[gauges] = self.base.short[gauges] = 0
        self.base.own[gauges] = 1


@dataclass(slots=True, eq=False)
class Evidence:
    """Evidence of one crowd. ``signals``: gauges first, then counters, one a row. ``muted``: what is explained already, ``[rows, n]``.

    ``level``: where gauges stand among their peers now, ``[gauges, n]``, in their units; ``scores``: their deviations of the last tick.
    ``most``: the evidence against each member, ``[rows, n]`` nats. ``usual``: what each shows at work of the gauges by which that is known, ``[pulses, n]``.
    ``lines``: of cubes, as in `polish`.
    """

    crowd: Crowd
    signals: tuple[Signal, ...]
    gauges: int
    roles: peers.Roles
    base: peers.Baseline
    bank: drift.Bank
    rates: counts.Rates
    nats: Rows
    held: tuple[Held, ...]
    muted: NDArray[np.bool_]
    most: Rows
    usual: Rows
    pulse: Pulse
    lines: tuple[Index, ...] = ()
    level: Rows = field(default_factory=lambda: np.zeros((1, 1), dtype=np.float32))
    scores: Rows = field(default_factory=lambda: np.zeros((0, 0), dtype=np.float32))
    ticked: counts.Ticked | None = None

    @classmethod
    def new(cls, crowd: Crowd, signals: tuple[Signal, ...]) -> Evidence:
        """Know nothing."""
        ordered = tuple(sorted(signals, key=lambda one: one.form is not Form.GAUGE))
        gauges, n = sum(one.form is Form.GAUGE for one in ordered), len(crowd)
        counters = len(ordered) - gauges
        roles = int(crowd.role.max(initial=0)) + 1
        return cls(
            crowd,
            ordered,
            gauges,
            peers.Roles(crowd.role),
            peers.Baseline.new(gauges, n),
            drift.Bank.new(gauges, n),
            counts.Rates.new(counters, n, roles),
            np.zeros((len(counts.RISES), counters, n), dtype=np.float32),
            tuple(Held.new(groups, gauges, counters) for groups in crowd.groups if len(groups)),
            np.zeros((len(ordered), n), dtype=bool),
            np.zeros((len(ordered), n), dtype=np.float32),
            np.zeros((sum(one.pulse for one in ordered[:gauges]), n), dtype=np.float32),
            Pulse(crowd.role),
            () if crowd.lines is None else polish.lines_of(crowd.lines),
        )

    @property
    def series(self) -> int:
        """Count what is tested each tick."""
        return len(self.signals) * (len(self.crowd) + sum(len(one.groups) for one in self.held))

    def row(self, signal: str) -> int:
        """Give the first row of a signal."""
        return next(number for number, one in enumerate(self.signals) if one.called == signal)

    def members(self, key: Key) -> Index:
        """Give the members of a part; none where it is none of these."""
        kind, label = key
        if kind == self.crowd.kind:
            return np.array([label], dtype=np.intp)
        for held in self.held:
            if held.groups.kind == kind:
                place = held.groups.place(label)
                return NONE if place is None else held.groups.members(place)
        return NONE

    # ── a tick ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def rest(self, named: Mapping[str, NDArray[np.floating]]) -> Rest | None:
        """Give who stands still in this tick; None where nothing is read by which that is known. Call once a tick, before `step`."""
        pulses = [one for one in self.signals[: self.gauges] if one.pulse]
        if not pulses:
            return None
        activity = np.abs(self._rows(named, tuple(pulses), np.float32))
        return self.pulse.step(activity, self.usual, np.array([one.least for one in pulses], dtype=np.float32))

    def step(self, named: Mapping[str, NDArray[np.floating]], *, told: bool, still: NDArray[np.bool_] | None = None) -> None:
        """Take one tick. ``told``: whether evidence adds up yet, or baselines are only learnt; ``still``: members whose job stands still."""
        resting = still is not None and bool(still.any())
        if self.gauges:
            rows = self._rows(named, self.signals[: self.gauges], np.float32)
            if still is not None and resting:
                rows[np.ix_(self._rest, still)] = np.nan
            self._gauges(rows, told=told)
        if len(self.signals) > self.gauges:
            awake = ~still if still is not None and resting else None
            self._counters(self._rows(named, self.signals[self.gauges :], np.float64), awake, told=told)
        self._add_up()
        for held in self.held:
            held.age = np.where(held.most >= WITNESS, held.age + 1, 0).astype(np.int32)

    def take_back(self, members: Index) -> None:
        """Take back what gauges of members earned in the last tick: some of them had stopped already when it was read."""
        if not len(self.scores):
            return
        rows = np.flatnonzero(self._rest)
        drift.take_back(self.bank, self.scores, (rows, members))
        stopped = np.zeros((1, len(self.crowd)), dtype=np.float32)
        stopped[0, members] = 1
        for held in self.held:
            if len(held.scores):
                drift.take_back(held.bank, held.scores, (rows, np.flatnonzero(held.groups.totals(stopped)[0] > 0)))
        self._add_up()

    @property
    def _rest(self) -> NDArray[np.bool_]:
        return np.array([one.rests for one in self.signals[: self.gauges]], dtype=bool)

    def _rows(
        self, named: Mapping[str, NDArray[np.floating]], signals: tuple[Signal, ...], kind: type[np.floating]
    ) -> NDArray[np.floating]:
        nothing = np.full(len(self.crowd), np.nan)
        rows = np.empty((len(signals), len(self.crowd)), dtype=kind)
        for row, one in zip(rows, signals, strict=True):
            np.multiply(named.get(one.name, nothing), one.sense, out=row, casting="same_kind")
        rows[np.isinf(rows)] = np.nan
        return rows

    def _gauges(self, rows: Rows, *, told: bool) -> None:
        muted = self.muted[: self.gauges]
        calm = (self.most[: self.gauges] < drift.CALM) & ~muted
        distances = self.roles.distances(rows)
        self.level = self.level + np.where(np.isfinite(distances), LEVEL * (distances - self.level), np.float32(0))
        least = np.array([one.least for one in self.signals[: self.gauges]], dtype=np.float32)
        care = peers.Care(least=np.maximum(least, LEAST * _size(rows[:, self.roles.sample])))
        plain = peers.deviations(self.base, distances, calm=calm, sample=self.roles.sample, care=care)
        self.scores = self._levelled(plain)
        if self.base.ticks > SETTLED:
            drift.step(self.bank, self.scores, sample=self.roles.sample, learn=calm)
        _hold_back(self.bank.nats, self.base.seen, told=told)
        unheard = ~np.isfinite(self.scores) | muted
        filled, unlevelled = (np.where(unheard, np.float32(0), one) for one in (self.scores, plain))
        row, member = np.nonzero(unheard)
        for held in self.held:
            gone = held.groups.totals_of(len(filled), (row, member), np.ones(len(row)))
            shown = unlevelled if held.groups.kind in OF_LINES else filled
            self._group_gauges(held, shown, held.groups.size - gone, told=told)

    def _levelled(self, scores: Rows) -> Rows:
        """Take out what whole lines of cubes show."""
        cubes = next((held.groups for held in self.held if held.groups.kind == "cube"), None)
        if cubes is None or not self.lines:
            return scores
        there = np.isfinite(scores)
        heard = cubes.totals(there.astype(np.float32))
        means = np.divide(cubes.totals(np.where(there, scores, np.float32(0))), heard, out=np.zeros_like(heard), where=heard > 0)
        tilt = polish.tilt(means, self.lines)
        if not tilt.any():
            return scores
        owner = np.full(len(self.crowd), -1, dtype=np.intp)
        owner[: cubes.owners.shape[1]] = cubes.owners[0]
        return np.asarray(scores - np.where(owner >= 0, tilt[:, owner], np.float32(0)), dtype=np.float32)

    def _group_gauges(self, held: Held, filled: Rows, heard: Rows, *, told: bool) -> None:
        with np.errstate(invalid="ignore", divide="ignore"):
            sums = np.where(heard > 0, held.groups.totals(filled) / np.sqrt(heard), np.nan).astype(np.float32)
        calm = held.bank.most < drift.CALM
        everyone = np.arange(len(held.groups))
        held.scores = peers.deviations(held.base, sums, calm=calm, sample=everyone, care=OF_GROUPS)
        if held.base.ticks > SETTLED:
            drift.step(held.bank, held.scores, sample=everyone, learn=calm)
        _hold_back(held.bank.nats, held.base.seen, told=told)

    def _counters(self, rows: NDArray[np.floating], awake: NDArray[np.bool_] | None, *, told: bool) -> None:
        muted = self.muted[self.gauges :]
        totals = np.array([one.form is Form.TOTAL for one in self.signals[self.gauges :]])
        more = counts.increases(self.rates, rows, counts=totals)
        if self.rates.age % FIT == 0:
            counts.learn_prior(self.rates, self.crowd.role, ~muted)
            counts.forget(self.rates)
        calm = ~muted & (self.most[self.gauges :] < drift.CALM)
        if awake is not None:
            calm &= awake  # who does nothing errs seldom, and that is not how often it errs
        self.ticked = counts.tick(self.rates, more, self.crowd.role, calm=calm)
        if not told:
            return
        counts.add(self.nats, self.ticked)
        _hold_back(self.nats, self.rates.ticks, told=told)
        for held in self.held:
            counts.add_groups(held.nats, self.ticked, held.groups, heard=~muted)

    # ── what comes of it ──────────────────────────────────────────────────────────────────────────────────────────────

    def _add_up(self) -> None:
        self.most = np.concatenate((self.bank.most, self.nats.max(axis=0)))

    def shown(self, members: Index) -> Rows:
        """Give the evidence against some members, ``[rows, members]`` nats."""
        return np.concatenate((self.bank.nats[:, :, members].max(axis=0), self.nats[:, :, members].max(axis=0)))

    def against(self, key: Key) -> NDArray[np.float32] | None:
        """Give the evidence against a group of this crowd as a whole, ``[rows]`` nats; None where it is none."""
        for held in self.held:
            place = held.groups.place(key[1]) if held.groups.kind == key[0] else None
            if place is not None:
                return np.asarray(held.most[:, place])
        return None

    def candidates(self, least: float) -> Iterator[Candidate]:
        """Give all parts with at least so many nats that nothing explains yet."""
        for row, member in zip(*np.nonzero(self.most >= least), strict=True):
            if self.muted[row, member]:
                continue
            nats = self.bank.nats[:, row, member] if row < self.gauges else self.nats[:, row - self.gauges, member]
            yield self._candidate((self.crowd.kind, int(member)), int(row), nats, (member,))
        for held in self.held:
            for row, place in zip(*np.nonzero((held.most >= least) & (held.age >= PERSIST)), strict=True):
                members = held.groups.members(int(place))
                if held.most[row, place] < self.most[row, members].max() + MARGIN:
                    continue  # one member says it nearly all: it is that member's own
                nats = held.bank.nats[:, row, place] if row < self.gauges else held.nats[:, row - self.gauges, place]
                key = (held.groups.kind, int(held.groups.label[place]))
                yield self._candidate(key, int(row), nats, members)

    def _candidate(self, key: Key, row: int, nats: Rows, members: Index | tuple[int, ...]) -> Candidate:
        signal, best = self.signals[row], int(nats.argmax())
        return Candidate(key, self.crowd.kind, signal.called, signal.meter, float(nats[best]), frozenset(map(int, members)), best)

    def follow(self, key: Key, standing: Standing, idle: NDArray[np.bool_] | None = None) -> bool:
        """Carry on the CUSUM of a part that stands accused, by the shift that fits it; give whether anything was heard that speaks for it or against.

        ``idle``: members that do nothing now: that they show nothing acquits nobody.
        """
        members, row = self.members(key), self.row(standing.signal)
        gauge = row < self.gauges
        heard = members[np.isfinite(self.scores[row, members]) if gauge else self._heard(row - self.gauges, members)]
        awake = heard if idle is None else heard[~idle[heard]]
        some = awake if len(awake) else heard
        more = self._more(standing, row, some) if gauge else self._more_counted(standing, row - self.gauges, some)
        if not len(some) or (not len(awake) and more <= 0):
            return False
        standing.nats = min(max(standing.nats, 0.0) + more, float(drift.CAP))
        return True

    def _heard(self, row: int, members: Index) -> NDArray[np.bool_]:
        return np.zeros(len(members), dtype=bool) if self.ticked is None else self.ticked.exposed[row, members] > 0

    def _more(self, standing: Standing, row: int, members: Index) -> float:
        shift = float(drift.SHIFTS[standing.best])
        return shift * float(self.scores[row, members].sum()) / float(np.sqrt(max(1, len(members)))) - shift * shift / 2

    def _more_counted(self, standing: Standing, row: int, members: Index) -> float:
        one = self.ticked
        if one is None:
            return 0.0
        mine = (one.row == row) & np.isin(one.member, members)
        lost = float(one.idle[standing.best, row] * one.exposed[row, members].sum())
        return float(one.gains[standing.best, mine].sum()) - lost

    def mute(self, muted: NDArray[np.bool_]) -> None:
        """Take out what is explained now, and begin anew with every group that it was counted in, and with what is explained no more."""
        changed = muted != self.muted
        if not changed.any():
            return
        back = self.muted & ~muted
        self.bank.nats[:, back[: self.gauges]] = 0
        self.nats[:, back[self.gauges :]] = 0
        self.muted = muted
        self._add_up()
        for held in self.held:
            held.reset(held.groups.totals(changed.astype(np.float32)) > 0)

    def anew(self, members: Index) -> None:
        """Forget what is known of members: other machines, or another job, under the same numbers."""
        for rows in (self.base.offset, self.base.seen, self.base.short, self.rates.gap, self.rates.events, self.rates.ticks):
            rows[:, members] = 0
        self.base.own[:, members] = 1
        self.usual[:, members] = 0
        self.rates.last[:, members] = np.nan
        self.bank.nats[:, :, members] = 0
        self.nats[:, :, members] = 0
        self._add_up()
        touched = np.zeros((len(self.signals), len(self.crowd)), dtype=np.float32)
        touched[:, members] = 1
        for held in self.held:
            held.forget(held.groups.totals(touched) > 0)

    def settle(self, members: Index) -> None:
        """Learn anew of gauges what members show whose job has begun: what they showed before it was another thing. Counters go on."""
        rows = self._rest
        where = np.ix_(rows, members)
        for known in (self.base.offset, self.base.seen, self.base.short):
            known[where] = 0
        self.base.own[where] = 1
        for nats in self.bank.nats:
            nats[where] = 0
        self._add_up()
        touched = np.zeros((len(self.signals), len(self.crowd)), dtype=np.float32)
        touched[: self.gauges][where] = 1
        for held in self.held:
            held.forget(held.groups.totals(touched) > 0)

    def outstanding(self, signal: str, members: Index) -> bool:
        """Whether one member stands out among its peers outright, not only against its own past: a part that took another's place does not."""
        row = self.row(signal)
        if len(members) > 1 or row >= self.gauges:
            return True
        mine = self.crowd.role == self.crowd.role[members[0]]
        usual = self.base.offset[row, mine]
        usual = usual[np.isfinite(usual)]
        spread = float(peers.ROBUST) * float(np.median(np.abs(usual - np.median(usual))))
        return bool(self.level[row, members[0]] >= OUTSTANDING * spread)


def _size(rows: Rows) -> Rows:
    """Give how large the readings of a row are; 0 where there are none."""
    there = np.isfinite(rows)
    return np.asarray(np.where(there, np.abs(rows), 0).sum(axis=1) / np.maximum(there.sum(axis=1), 1), dtype=np.float32)


def _hold_back(nats: Rows, seen: Rows, *, told: bool) -> None:
    """Say nothing of members, or of any, whose baseline is not known yet."""
    if not told:
        nats[:] = 0
    elif seen.size and seen.min() < WARM:
        nats[:, seen < WARM] = 0
