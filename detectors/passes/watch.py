"""One tick of all statistical passes over a fleet: readings in, verdicts out. All state is in `Watch`, made for one layout.

The same stream gives the same verdicts; a tick that is not newer than the last one is ignored; nothing looks ahead.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from sliceward.detectors.passes import counts, learned, outright, verdicts
from sliceward.detectors.passes.drift import CAP
from sliceward.detectors.passes.evidence import WARM, Evidence
from sliceward.detectors.passes.localise import Candidate, Named, name
from sliceward.detectors.passes.signals import signals_of
from sliceward.detectors.passes.verdicts import MOST, Budget, Docket, Level, Standing, Verdict

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from numpy.typing import NDArray

    from sliceward.detectors.passes.layout import Index, Layout
    from sliceward.detectors.passes.localise import Key

    Readings = Mapping[str, Mapping[str, NDArray[np.floating]]]

SMALL = 8
"""Members up to which a part that stands accused explains all that they show; a larger one only the signal by which it was named."""
CHIPS, LINKS, HEALTH, DOWN = "chip", "link", "link_health", 10.0
"""Kinds of members; the reading by which a link is called down, and from where on."""
FLAPPING = "flapping"
"""What is given as the signal of a link that comes and goes, with its returns instead of nats."""
FEATURES = 3
"""Gauges with which there is something to stand together."""
NEAR = 4.0
"""Nats below the need at which a candidate is still looked at, as a rival."""


@dataclass(slots=True, eq=False)
class Watch:
    """The passes over one fleet. ``period``: seconds a tick. ``crowds``: evidence by kind of member, made at the first tick that reads of it.

    ``still``: members whose job stands still in this tick, by kind, where there are any; ``idle``: chips that do nothing, None where that is not read.
    """

    layout: Layout
    budget: Budget = field(default_factory=Budget)
    period: float = 10.0
    crowds: dict[str, Evidence] = field(default_factory=dict)
    docket: Docket = field(default_factory=Docket)
    flaps: counts.Flaps = field(init=False)
    models: dict[str, learned.Fleet] = field(default_factory=dict)
    tick: int = 0
    at: float = -np.inf
    still: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    idle: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        """Know of no link that went down."""
        self.flaps = counts.Flaps.new(len(self.layout.crowds.get(LINKS, ())))

    @property
    def warm(self) -> bool:
        """Whether baselines are known well enough to say anything."""
        return self.tick > WARM

    def step(self, at: float, readings: Readings) -> list[Verdict]:
        """Take one tick of readings (``[n]`` a name, NaN where missing) by kind of member; give the verdicts that are new.

        ``at``: unix seconds. A tick that is not newer than the last one is old news, and none.
        """
        if not at > self.at:
            return []
        self.at, self.tick = at, self.tick + 1
        self.idle = self._rest(readings)
        for kind, named in readings.items():
            if kind in self.layout.crowds and named:
                self._evidence(kind, named).step(named, told=self.warm, still=self.still.get(kind))
        if not self.warm:
            self._flap(readings)
            return []
        verdicts.relax(self.docket, chips=self._chips, budget=self.budget, period=self.period)
        news = [*self._flapping(readings), *self._follow(), *self._name()]
        if self.tick % outright.EVERY == 0:
            news += self._outright(readings)
        if news:
            self.mute()
        return news

    def anew(self, kind: str, members: Index) -> None:
        """Forget members of a kind: another machine, boot or job is behind their numbers. They are held back until known again."""
        if kind in self.crowds:
            self.crowds[kind].anew(members)
        if kind in self.models:
            self.models[kind].anew(members)

    def look(self) -> list[Verdict]:
        """Let the learned pass look at the tick that was taken last, where its time has come: suspects that are new, and those that are cleared."""
        if not self.warm or self.tick % learned.EVERY:
            return []
        need = learned.need(self.budget.suspects, self.period) + self.docket.stricter
        told = []
        for kind, evidence in self.crowds.items():
            if evidence.gauges >= FEATURES and len(evidence.scores):
                found = self.models.setdefault(kind, learned.Fleet()).look(evidence, self.at, need)
                told += [one for one in found if self._take(one)]
        return told

    def prepare(self, names: Mapping[str, Collection[str]]) -> None:
        """Make room for these readings by kind of member, before any of them was read: what comes later finds its row."""
        for kind, named in names.items():
            if kind in self.layout.crowds and named:
                self._evidence(kind, named)

    def set_clock(self) -> None:
        """Take the next tick whatever its time: our own clock was set."""
        self.at = -np.inf

    def acquit(self, key: Key) -> None:
        """Let a part stand accused no more, for a reason that no reading tells: it is another machine by now, or is gone."""
        if self.docket.standing.pop(key, None) is not None:
            self.mute()

    def accused(self) -> NDArray[np.bool_]:
        """Give which chips any part that stands accused lies on: what is known of them is what accuses it."""
        chips = self.layout.crowds.get("chip")
        found = np.zeros(0 if chips is None else len(chips), dtype=bool)
        for kind, label in self.docket.standing:
            found[self.layout.chips(kind, label)] = True
        return found

    # ── what is known ─────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def _chips(self) -> int:
        chips = self.layout.crowds.get("chip")
        return len(chips) if chips is not None else max((len(crowd) for crowd in self.layout.crowds.values()), default=1)

    def _evidence(self, kind: str, named: Collection[str]) -> Evidence:
        known = self.crowds.get(kind)
        if known is None:
            signals = tuple(signal for name in sorted(named) for signal in signals_of(name))
            known = self.crowds[kind] = Evidence.new(self.layout.crowds[kind], signals)
        return known

    def need(self, budget: float) -> float:
        """Give the nats that a budget asks for now."""
        series = sum(evidence.series for evidence in self.crowds.values()) / self._chips
        return verdicts.need(budget, series, self.period) + self.docket.stricter

    # ── those whose job stands still ──────────────────────────────────────────────────────────────────────────────────

    def _rest(self, readings: Readings) -> NDArray[np.bool_] | None:
        """Find out whose job stands still; give the chips that do nothing."""
        self.still = {}
        named = readings.get(CHIPS)
        if not named or CHIPS not in self.layout.crowds:
            return None
        chips = self._evidence(CHIPS, named)
        rest = chips.rest(named)
        if rest is None:
            return None
        for kind, members in self._with(rest.stopped):
            self.crowds[kind].take_back(members)
        accused = self.accused() if len(rest.begun) else rest.still
        for kind, members in self._with(rest.begun[~accused[rest.begun]]):
            self.crowds[kind].settle(members)
        for kind, members in self._with(np.flatnonzero(rest.still)):
            self.still[kind] = np.zeros(len(self.layout.crowds[kind]), dtype=bool)
            self.still[kind][members] = True
        return rest.idle

    def _with(self, chips: Index) -> Iterator[tuple[str, Index]]:
        """Give the members of each kind that are of these chips: themselves, their links, and hosts of whose chips most are among them."""
        if not len(chips):
            return
        there = np.zeros((1, len(self.layout.crowds[CHIPS])), dtype=np.float32)
        there[0, chips] = 1
        for kind, evidence in self.crowds.items():
            crowd = evidence.crowd
            groups = self.layout.stands_on.get(kind)
            if kind == CHIPS:
                yield kind, chips
            elif groups is not None and len(groups):
                share = groups.totals(there)[0] / groups.size
                found = groups.label[share >= (MOST if kind != LINKS else np.finfo(float).tiny)]
                yield kind, found[found < len(crowd)]

    # ── those that come and go ────────────────────────────────────────────────────────────────────────────────────────

    def _flap(self, readings: Readings) -> NDArray[np.bool_]:
        health = readings.get(LINKS, {}).get(HEALTH)
        if health is None or LINKS not in self.crowds:
            return self.flaps.sticky
        return counts.flap(self.flaps, np.where(np.isfinite(health), health >= DOWN, np.nan), self.at)

    def _flapping(self, readings: Readings) -> Iterator[Verdict]:
        """Accuse links that were down and came back too often; forgive those that did not for long."""
        sticky = self._flap(readings)
        for (kind, label), standing in self.docket.standing.items():
            standing.sticky = standing.sticky and kind == LINKS and bool(sticky[label])
        for label in np.flatnonzero(sticky).tolist():
            key = (LINKS, label)
            known = self.docket.standing.get(key)
            if known is not None:
                known.sticky = True
                continue
            self.docket.standing[key] = Standing(self.tick, LINKS, HEALTH, 0, 0.0, sticky=True)
            again = verdicts.offence(self.docket, key, self.tick)
            yield Verdict(*key, Level.SUSPECT, self.at, 0.0, ((FLAPPING, float(counts.RETURNS)),), None, again)

    # ── those that stand accused ──────────────────────────────────────────────────────────────────────────────────────

    def _follow(self) -> Iterator[Verdict]:
        """Clear those whose evidence is long gone, and condemn those of whom there is enough."""
        for key, standing in list(self.docket.standing.items()):
            if standing.faint:
                continue
            heard, nats = self.crowds[standing.crowd].follow(key, standing, self._idle(key, standing)), standing.nats
            standing.unheard = 0 if heard else standing.unheard + 1
            if heard:  # what is not heard is not well
                standing.quiet = standing.quiet + 1 if nats <= 0 and not standing.sticky else 0
            if standing.quiet >= verdicts.QUIET:
                del self.docket.standing[key]
                verdicts.tighten(self.docket, standing)
                yield Verdict(*key, Level.CLEARED, self.at, nats, ())
                continue
            if standing.level is Level.CONDEMNED:
                continue
            signals = self._signals(key, standing)
            second = self._corroborated(key, standing)
            if second and not standing.corroborated:
                standing.corroborated = True
                verdicts.bear_out(self.docket, key, self.tick)
            evidence = self.crowds[standing.crowd]
            enough = self.tick - standing.since >= verdicts.STAND and nats >= self.need(self.budget.condemned)
            if second and enough and evidence.outstanding(standing.signal, evidence.members(key)):
                standing.level = Level.CONDEMNED
                yield Verdict(*key, Level.CONDEMNED, self.at, nats, signals)

    def _idle(self, key: Key, standing: Standing) -> NDArray[np.bool_] | None:
        """Give which members of the crowd do nothing, of those that the part stands on."""
        if self.idle is None or standing.crowd == CHIPS:
            return self.idle
        on = self.layout.chips(*key)
        nothing = len(on) > 0 and bool(self.idle[on].all() if standing.crowd != LINKS else self.idle[on].any())
        return np.full(len(self.layout.crowds[standing.crowd]), nothing)

    def _corroborated(self, key: Key, standing: Standing) -> bool:
        """Whether a second meter speaks against the part, or most of its members do, each by its own."""
        mine = next(s.meter for s in self.crowds[standing.crowd].signals if s.called == standing.signal)
        for kind, evidence in self.crowds.items():
            members = evidence.members(key)
            if not len(members):
                continue
            whole = evidence.against(key) if kind != standing.crowd else None
            shown = evidence.shown(members) if whole is None else whole[:, None]
            for signal, nats in zip(evidence.signals, shown, strict=True):
                # What a job does to itself shows in many meters of it: none of those speaks for another.
                if not signal.job and ((signal.meter != mine and verdicts.second(nats)) or verdicts.witnessed(nats)):
                    return True
        return False

    def _signals(self, key: Key, standing: Standing) -> tuple[tuple[str, float], ...]:
        told = {standing.signal: standing.nats}
        for evidence in self.crowds.values():
            members = evidence.members(key)
            if len(members):
                for signal, nats in zip(evidence.signals, evidence.shown(members), strict=True):
                    told.setdefault(signal.called, float(nats.max()))
        return tuple(sorted(((one, nats) for one, nats in told.items() if nats > 0), key=lambda one: -one[1]))

    # ── those that are new ────────────────────────────────────────────────────────────────────────────────────────────

    def _name(self) -> Iterator[Verdict]:
        need = self.need(self.budget.suspects)
        docket, held = self.docket, {}
        least = need - NEAR - verdicts.most_less(docket, self.tick)
        found = [one for evidence in self.crowds.values() for one in evidence.candidates(least)]
        for named in name(found, lambda one, place: need - verdicts.less(docket, one.key, place, self.tick)):
            known = docket.standing.get(named.key)
            if known is not None and not known.faint:
                continue
            since = docket.waiting.get(named.key, self.tick)
            if not named.sure and self.tick - since < verdicts.PATIENCE:
                held[named.key] = since
                continue
            yield self._accuse(named)
        docket.waiting = held

    def _accuse(self, named: Named) -> Verdict:
        first = named.by[0]
        known = self.docket.standing.setdefault(named.key, Standing(self.tick, first.crowd, first.signal, first.best, first.nats))
        known.since, known.crowd, known.signal, known.best, known.nats = (
            self.tick,
            first.crowd,
            first.signal,
            first.best,
            first.nats,
        )
        known.learned = known.outright = False
        rival = None if named.rival is None else (*named.rival.key, named.rival.nats)
        told = tuple((one.signal, one.nats) for one in named.by)
        again = verdicts.offence(self.docket, named.key, self.tick)
        return Verdict(*named.key, Level.SUSPECT, self.at, first.nats, told, rival, again)

    def _outright(self, readings: Readings) -> Iterator[Verdict]:
        """Suspect those that stand out among their peers and always did; clear those of them that do no more."""
        need, found = self.need(self.budget.suspects), list[Candidate]()
        for kind, evidence in self.crowds.items():
            if evidence.gauges and kind in readings:
                found += outright.candidates(evidence, readings[kind], WARM, need / 2)
        out = {one.key for one in found}
        for key, standing in list(self.docket.standing.items()):
            if standing.outright and key not in out and not self._hidden(key, standing):
                del self.docket.standing[key]
                yield Verdict(*key, Level.CLEARED, self.at, 0.0, ())
        for named in name(found, lambda _, place: need - float(np.log(place))):
            first = named.by[0]
            if named.key not in self.docket.standing and not self._accused_within(first):
                nats = min(first.nats, float(CAP))
                self.docket.standing[named.key] = Standing(self.tick, first.crowd, first.signal, first.best, nats, outright=True)
                again = verdicts.offence(self.docket, named.key, self.tick)
                yield Verdict(*named.key, Level.SUSPECT, self.at, nats, ((first.signal, nats),), None, again)

    def _hidden(self, key: Key, standing: Standing) -> bool:
        """Whether nothing is heard of a part now, or it does nothing."""
        evidence = self.crowds[standing.crowd]
        members, idle = evidence.members(key), self._idle(key, standing)
        there = np.isfinite(evidence.scores[evidence.row(standing.signal), members])
        return not bool((there if idle is None else there & ~idle[members]).any())

    def _accused_within(self, one: Candidate) -> bool:
        """Whether all that a candidate shows is of parts that stand accused already."""
        evidence = self.crowds[one.crowd]
        known = [evidence.members(key) for key in self.docket.standing]
        return bool(known) and bool(np.isin(list(one.members), np.concatenate(known)).all())

    def _take(self, verdict: Verdict) -> bool:
        """Take in what the learned pass says; give whether it is news: those whom another pass accuses stay as they are."""
        key = verdict.kind, verdict.label
        known = self.docket.standing.get(key)
        if verdict.level is Level.CLEARED and known is not None and known.learned:
            del self.docket.standing[key]
            verdicts.tighten(self.docket, known)
            return True
        if verdict.level is Level.SUSPECT and known is None:
            signal, nats = verdict.signals[0]
            self.docket.standing[key] = Standing(self.tick, verdict.kind, signal, 0, nats, learned=True)
            verdicts.offence(self.docket, key, self.tick)
            return True
        return False

    def mute(self) -> None:
        """Let those that stand accused explain what their members show."""
        for kind, evidence in self.crowds.items():
            muted = np.zeros((len(evidence.signals), len(evidence.crowd)), dtype=bool)
            for key, standing in self.docket.standing.items():
                if standing.faint:
                    continue  # what the others may yet say of it is not explained by that
                members = evidence.members(key)
                if len(members) <= SMALL and kind in {standing.crowd, "chip"}:
                    muted[:, members] = True
                elif kind == standing.crowd:
                    muted[evidence.row(standing.signal), members] = True
            evidence.mute(muted)
