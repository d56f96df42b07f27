"""What the other passes do not look for: readings that never stood together so. Learnt from history without labels; it makes suspects only.

Each member has a vector of features. A plane is fitted to history (principal components); what of a vector lies off the plane, in the features'
own deviations, is its oddity: the mean of the few strangest features. Measured on four real machines (SMD; VUS-PR with the same smoothing for all):
plane 0.56, plain deviations 0.56, nearest neighbours 0.46, LOF 0.35, Isolation Forest of 100 trees 0.33; the plane alone takes a wave of load out.
scikit-learn fits it, now and then; scoring is one product of matrices a look. `Fleet` looks at all members of a kind, `Lone` at one machine.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np

from sliceward.detectors.passes import drift, peers, verdicts
from sliceward.detectors.passes.verdicts import Level, Verdict

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from sliceward.detectors.passes.evidence import Evidence
    from sliceward.detectors.passes.layout import Rows

METHOD = "plane 1"
"""Name and version of how a model is made."""
COMMON = 0.5
"""Share of the variance that is taken for what all features have in common (load): with more of it the plane explains faults away."""
FLOOR = np.float32(0.01)
"""Smallest deviation of a feature that is believed, in its unit (readings are given from 0 to 1, or in deviations)."""
FAR, BENT = np.float32(20.0), np.float32(10.0)
"""Deviations that one feature counts for at most, and pulls the plane with at most."""
FILLS = 8
"""Times that what is missing is asked of the plane anew: with a few features missing each time halves what is wrong with it."""
STRANGEST = 5
"""Features whose mean is the oddity: more than one group of twins, fewer than half a machine."""


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """What is usual of ``features``. ``components``: axes of the plane, ``[axes, features]``. ``began``, ``ended``, ``rows``: what it was learnt from."""

    features: tuple[str, ...]
    middle: NDArray[np.float32]
    spread: NDArray[np.float32]
    components: NDArray[np.float32]
    began: float
    ended: float
    rows: int

    @property
    def version(self) -> str:
        """Name the model: another history gives another one."""
        told = sha256(b"".join(np.ascontiguousarray(one).tobytes() for one in (self.middle, self.spread, self.components)))
        return f"{METHOD} {told.hexdigest()[:8]}"

    def oddity(self, rows: ArrayLike) -> NDArray[np.float32]:
        """Give how odd each row ``[n, features]`` is, in deviations; a feature that is missing is not odd, and NaN where all are missing."""
        away = (np.asarray(rows, dtype=np.float32) - self.middle) / self.spread
        there = np.isfinite(away)
        some = np.flatnonzero(~there.all(axis=1))
        if len(some):
            away[some] = self._filled(away[some], there[some])
        off = away - self._on_plane(away)
        np.minimum(np.abs(off, out=off), FAR, out=off)
        most = min(STRANGEST, off.shape[1])
        odd = np.asarray(np.partition(off, -most, axis=1)[:, -most:].mean(axis=1))
        odd[some[~there[some].any(axis=1)]] = np.nan
        return odd

    def _on_plane(self, away: Rows) -> Rows:
        return np.asarray((np.clip(away, -BENT, BENT) @ self.components.T) @ self.components)

    def _filled(self, away: Rows, there: NDArray[np.bool_]) -> Rows:
        """Put for what is missing what the plane says of it by the others."""
        found = np.where(there, away, np.float32(0))
        for _ in range(FILLS):
            found = np.where(there, found, self._on_plane(found))
        return found


def learn(history: ArrayLike, features: tuple[str, ...], *, began: float, ended: float) -> Model:
    """Learn what is usual from rows ``[n, features]`` without labels; rows with holes teach nothing."""
    rows = np.asarray(history, dtype=np.float64)
    rows = rows[np.isfinite(rows).all(axis=1)]
    if not len(rows):
        rows = np.zeros((1, len(features)))
    middle, spread = rows.mean(axis=0), rows.std(axis=0) + FLOOR
    bent = np.clip((rows - middle) / spread, -BENT, BENT)
    single = np.float32
    return Model(features, middle.astype(single), spread.astype(single), _plane(bent).astype(single), began, ended, len(rows))


def _plane(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the axes that most have in common; none where nothing varies, or where they would be nearly all there is."""
    features = rows.shape[1]
    if len(rows) <= features or features <= 2 or not rows.std(axis=0).any():  # noqa: PLR2004 (two features have one plane: themselves)
        return np.zeros((0, features))
    from sklearn.decomposition import PCA  # noqa: PLC0415 (seconds and 100 MB, only for who learns)

    axes = np.asarray(PCA(COMMON, svd_solver="full").fit(rows).components_)
    return axes[: features // 2]


# ── one machine ───────────────────────────────────────────────────────────────────────────────────────────────────────

SHORT = 3
"""Readings over which an oddity is averaged."""
HOLD = 2700.0
"""Seconds for which an oddity that was told stands: what comes again in between is the same."""
TOLD, WATCHED = 0.45, 1.35
"""Times a day that the history passed the level at which is told, and the one up to which no more than "above the usual" is."""
DAY = 86_400.0
STEPS = 80
"""Levels that are tried."""


@dataclass(slots=True)
class Lone:
    """One machine that has no peers, only history. ``told`` and ``watched``: levels of oddity. ``standing``: (reading, oddity) told lately."""

    model: Model
    told: float
    watched: float
    hold: int
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=SHORT))
    standing: deque[tuple[int, float]] = field(default_factory=deque)
    count: int = 0

    @classmethod
    def learn(cls, history: ArrayLike, *, period: float, ended: float = 0.0) -> Lone:
        """Learn from rows in the order of time, ``period`` seconds apart."""
        rows = np.asarray(history, dtype=np.float64)
        names = tuple(map(str, range(rows.shape[1])))
        model = learn(rows, names, began=ended - len(rows) * period, ended=ended)
        odd, days, hold = _mean(np.nan_to_num(model.oddity(rows))), len(rows) * period / DAY, max(1, round(HOLD / period))
        told = _level(odd, int(TOLD * days), hold)
        return cls(model, told, min(told, _level(odd, int(WATCHED * days), hold)), hold)

    def step(self, reading: ArrayLike) -> float:
        """Take one reading ``[features]``; give its oddity, bounded by ``watched`` until it is told, and then the greatest told lately."""
        self.count += 1
        odd = float(self.model.oddity(np.asarray(reading)[None])[0])
        if np.isfinite(odd):
            self.recent.append(odd)
        now = sum(self.recent) / max(1, len(self.recent))
        while self.standing and self.standing[0][0] <= self.count - self.hold:
            self.standing.popleft()
        if now >= self.told:
            while self.standing and self.standing[-1][1] <= now:
                self.standing.pop()
            self.standing.append((self.count, now))
        return self.standing[0][1] if self.standing else min(now, self.watched)


def _mean(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Give the mean of each value and those shortly before."""
    total = np.concatenate((np.zeros(1), np.cumsum(values, dtype=np.float64)))
    last = np.arange(1, len(values) + 1)
    first = np.maximum(last - SHORT, 0)
    return np.asarray((total[last] - total[first]) / (last - first))


def _level(values: NDArray[np.floating], most: int, apart: int) -> float:
    """Give the lowest level that the values passed no more than ``most`` times; what is not further ``apart`` is one time."""
    shares = np.geomspace(1 / len(values), 0.2, STEPS)
    best = float(values.max())
    for level in np.unique(np.quantile(values, 1 - shares))[::-1]:
        above = np.flatnonzero(values > level)
        if len(above) and 1 + int((np.diff(above) > apart).sum()) > most:
            break
        best = float(level)
    return best


# ── a fleet ───────────────────────────────────────────────────────────────────────────────────────────────────────────

EVERY = 60
"""Ticks from one look to the next, ten minutes at 10 s: the features remember four, and evidence adds up only where looks are new (measured: with
looks every five minutes the budget is passed twenty times)."""
SHARE = 0.25
"""Share of the budget of suspects that is this pass's."""
KEPT, SAMPLE = 240, 512
"""Looks that history holds, and members of each."""
ENOUGH, AGAIN = 24, 144
"""Looks before the first model, and from one to the next: four hours, and a day."""
QUIET = 3
"""Looks without evidence after which a suspect is cleared."""


@dataclass(slots=True, eq=False)
class Suspected:
    """Who is suspected. ``best``: which shift of the bank fits; ``nats``: its evidence since; ``quiet``: looks since that was gone."""

    best: int
    nats: float
    quiet: int = 0


@dataclass(slots=True, eq=False)
class Fleet:
    """The learned pass over one crowd: a model a role, all members at once.

    The features are the short averages of each gauge's deviations, so that all members of a role have one model. What normal oddity earns is measured
    among the calm as for any other series, and the same budget is held.
    """

    models: dict[int, Model] = field(default_factory=dict)
    history: deque[tuple[float, NDArray[np.intp], Rows]] = field(default_factory=lambda: deque(maxlen=KEPT))
    base: peers.Baseline | None = None
    bank: drift.Bank | None = None
    suspected: dict[int, Suspected] = field(default_factory=dict)
    looks: int = 0

    def look(self, evidence: Evidence, at: float, need: float) -> list[Verdict]:
        """Look once; give the suspects that are new, and those that are cleared. ``need``: nats; ``at``: unix seconds."""
        rows, calm = _features(evidence), ~(evidence.muted.any(axis=0) | (evidence.most.max(axis=0) >= drift.CALM))
        self.looks += 1
        self._remember(rows, calm, at)
        if self.looks % AGAIN == ENOUGH or (self.looks > ENOUGH and not self.models):
            self._learn(evidence)
        if not self.models or self.base is None or self.bank is None:
            return []
        distances = evidence.roles.distances(self._oddities(evidence, rows)[None])
        known = calm[None] & (self.bank.most < drift.CALM)
        scores = peers.deviations(self.base, distances, calm=known, sample=evidence.roles.sample)
        if self.base.ticks > ENOUGH:
            drift.step(self.bank, scores, sample=evidence.roles.sample, learn=known)
        # offsets, scales and what noise earns are not known yet: of nobody, or of those who are new
        self.bank.nats[:, (self.base.seen < ENOUGH) | (self.base.ticks <= 2 * ENOUGH)] = 0
        told = self._cleared(evidence, scores[0], at)
        return [*told, *self._found(evidence, (self.bank.most[0] >= need) & calm, self.bank.nats[:, 0], at)]

    def anew(self, members: NDArray[np.intp]) -> None:
        """Forget members: another machine is behind their numbers."""
        if self.base is not None and self.bank is not None:
            for known in (self.base.offset, self.base.seen, self.base.short):
                known[:, members] = 0
            self.base.own[:, members] = 1
            self.bank.nats[:, :, members] = 0
        for one in members.tolist():
            self.suspected.pop(one, None)

    def _remember(self, rows: Rows, calm: NDArray[np.bool_], at: float) -> None:
        """Keep some of the calm, others at each look, so that all teach in turn."""
        some = np.flatnonzero(calm)
        step = max(1, len(some) // SAMPLE)
        chosen = some[self.looks % step :: step][:SAMPLE]
        self.history.append((at, chosen, rows[chosen]))

    def _learn(self, evidence: Evidence) -> None:
        role = evidence.crowd.role
        taught, rows = (np.concatenate([one[part] for one in self.history]) for part in (1, 2))
        names = features_of(evidence)
        for number in np.unique(role[taught]):
            mine = rows[role[taught] == number]
            self.models[int(number)] = learn(mine, names, began=self.history[0][0], ended=self.history[-1][0])
        # another model has other oddities: what was usual of them is learnt anew
        self.base, self.bank = peers.Baseline.new(1, len(role)), drift.Bank.new(1, len(role))

    def _oddities(self, evidence: Evidence, rows: Rows) -> NDArray[np.float32]:
        if len(self.models) == 1 and len(np.unique(evidence.crowd.role[evidence.roles.sample])) == 1:
            return next(iter(self.models.values())).oddity(rows)
        odd = np.full(len(rows), np.nan, dtype=np.float32)
        for number, model in self.models.items():
            mine = evidence.crowd.role == number
            odd[mine] = model.oddity(rows[mine])
        return odd

    def _found(self, evidence: Evidence, enough: NDArray[np.bool_], nats: Rows, at: float) -> list[Verdict]:
        told = []
        for one in map(int, np.flatnonzero(enough)):
            if one not in self.suspected:
                best = int(nats[:, one].argmax())
                self.suspected[one] = Suspected(best, float(nats[best, one]))
                told.append(self._verdict(evidence, one, at, Level.SUSPECT))
        return told

    def _cleared(self, evidence: Evidence, scores: Rows, at: float) -> list[Verdict]:
        """Carry on the evidence against the suspected by the shift that fits; clear those of whom there is none any more."""
        told = []
        for one, known in list(self.suspected.items()):
            if np.isfinite(scores[one]):
                shift = float(drift.SHIFTS[known.best])
                known.nats = min(max(known.nats, 0.0) + shift * float(scores[one]) - shift * shift / 2, float(drift.CAP))
                known.quiet = known.quiet + 1 if known.nats <= 0 else 0
            if known.quiet >= QUIET:
                told.append(self._verdict(evidence, one, at, Level.CLEARED))
                del self.suspected[one]
                if self.bank is not None:
                    self.bank.nats[:, :, one] = 0
        return told

    def _verdict(self, evidence: Evidence, member: int, at: float, level: Level) -> Verdict:
        nats = self.suspected[member].nats
        return Verdict(evidence.crowd.kind, member, level, at, nats, ((self.told(evidence, member), nats),))

    def told(self, evidence: Evidence, member: int) -> str:
        """Name the model by which a member is judged, with what it was learnt from."""
        model = self.models[int(evidence.crowd.role[member])]
        return f"learned ({model.version}, {model.rows} rows from {model.began:.0f} to {model.ended:.0f})"


def features_of(evidence: Evidence) -> tuple[str, ...]:
    """Name the features of a crowd: gauges that a job does not move by itself."""
    return tuple(one.called for one in evidence.signals[: evidence.gauges] if not one.job)


def _features(evidence: Evidence) -> Rows:
    """Give the features of each member: ``[n, features]``, in deviations; NaN where nothing is read now. What a job moves is none."""
    rows = np.array([not one.job for one in evidence.signals[: evidence.gauges]])
    return np.asarray(np.where(np.isfinite(evidence.scores[rows]), evidence.base.short[rows], np.float32(np.nan)).T)


def need(budget: float, period: float) -> float:
    """Give the nats that hold a budget of false suspects per 10,000 chip-days for one series a chip, looked at each ``EVERY`` ticks."""
    return verdicts.need(SHARE * budget, 1, period * EVERY)
