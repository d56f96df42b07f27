"""The statistical passes in the watcher: complete rows of the panel in, findings of suspected and condemned parts out.

A round is done beside the loop as a whole, on what a `Sight` shows. When hosts, gangs or slices change, the fleet is laid out anew and what was known
of each part goes along. Who is another machine, boot or job is learnt anew, unless it stands accused: then what is known of it is what accuses it.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import structlog

from sliceward.daemons.watcher.stored import Stored, believe
from sliceward.daemons.watcher.telling import Telling, unknown
from sliceward.detectors.passes.evidence import WARM
from sliceward.detectors.passes.fleet import WATCHED, Places, Seen, places_of, read
from sliceward.detectors.passes.keeping import Kept, completed, is_another, is_another_machine, kept, take_over, without_evidence
from sliceward.detectors.passes.told import Case
from sliceward.detectors.passes.verdicts import Budget, Level, Verdict
from sliceward.detectors.passes.watch import Watch
from sliceward.topology.ids import HostId

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from sliceward.daemons.watcher.settings import StatisticsSettings
    from sliceward.daemons.watcher.sight import Sight
    from sliceward.detectors.finding import Finding
    from sliceward.detectors.passes.localise import Key
    from sliceward.topology.fleet import Fleet

log = structlog.get_logger(__name__)

CATCH_UP = 6
"""Rows that are made up for after a stall of ours; what lies further back is left out, as missing."""
GONE_FOR = 86_400.0
"""Seconds for which is known what a part stood accused of that is not there: its host is made anew, or its slice."""


@dataclass(eq=False)
class Statistics:
    """The passes over one cluster. ``counts``: what went wrong, by reason, beside the watcher's own. ``steady``: seconds that nobody sets.

    ``cases``: parts that stand accused; ``last``: newest tick that was taken in; ``ticks``: how many were, by what became of them.
    """

    cluster: str
    settings: StatisticsSettings
    period: float
    counts: Counter[str]
    steady: Callable[[], float] = time.monotonic
    watch: Watch | None = None
    places: Places | None = None
    cases: dict[Key, Case] = field(default_factory=dict)
    last: int | None = None
    took: float = 0.0
    ticks: Counter[str] = field(default_factory=Counter)
    telling: Telling = field(init=False)
    stored: Stored = field(init=False)
    _fleet: Fleet | None = None
    _seen: tuple[Seen, ...] = ()
    _laid_out_for: object = None
    _incarnations: dict[str, str] = field(default_factory=dict)
    _doubted: dict[str, str] = field(default_factory=dict)
    _gone: dict[str, tuple[Mapping[str, object], float]] = field(default_factory=dict)
    _clock_set: bool = False

    def __post_init__(self) -> None:
        """Know nothing."""
        self.telling = Telling(self.cluster)
        self.stored = Stored(self.cluster, self.settings, self.counts)

    @property
    def warm(self) -> bool:
        """Whether baselines are known well enough to say anything."""
        return self.watch is not None and self.watch.warm

    @property
    def ticks_to_warm(self) -> int:
        """Ticks that are still to be learnt from before anything is said."""
        return max(0, WARM + 1 - (0 if self.watch is None else self.watch.tick))

    def set_clock(self) -> None:
        """Go on from another time: our own clock was set. May be called while a round is under way."""
        self._clock_set = True

    def begin_anew(self, why: str) -> None:
        """Forget everything, on disk too: what is known led to a mistake."""
        self.watch = self.places = self.last = self._laid_out_for = self._fleet = None
        self.cases.clear()
        self._gone.clear()
        self.stored.spoilt(why)

    # ── a round ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def round(self, sight: Sight) -> Iterable[Finding]:
        """Take in the rows that are complete by now; give every finding as it stands, nothing while findings are held back."""
        if self._clock_set:
            self._clock_set, self.last = False, None
            if self.watch is not None:
                self.watch.set_clock()
        self._look_round(sight)
        watch, places = self.watch, self.places
        if watch is None or places is None:
            return list(unknown(sight)) if sight.telling else ()
        if not sight.moved:  # a host that came or went has, or had, a place that may be another's
            self._meet(watch, places, sight.incarnations())
            self._take_in(sight, watch, places)
        self.stored.save(watch, sight.now, lambda: self._kept(watch, places))
        return list(self.telling.findings(self.cases, watch, places, sight)) if sight.telling else ()

    def _take_in(self, sight: Sight, watch: Watch, places: Places) -> None:
        ring, began = sight.ring, self.steady()
        newest = ring.newest - 1  # the newest row still fills
        first = newest if self.last is None else max(self.last + 1, newest - CATCH_UP + 1)
        self.ticks["skipped"] += 0 if self.last is None else max(0, first - self.last - 1)
        for tick in range(first, newest + 1):
            if tick < newest and self.steady() - began > self.period:
                self.ticks["skipped"] += 1  # who is late catches up with the present, not with the past
                continue
            at = self.steady()
            readings = read(places, ring, tick % ring.rows)
            if sight.moved:
                return
            for verdict in (*watch.step(float(tick + 1) * self.period, readings), *watch.look()):
                self._note(watch, places, verdict)
            self.last, self.took = tick, self.steady() - at
            self.ticks["compared"] += 1

    def _note(self, watch: Watch, places: Places, verdict: Verdict) -> None:
        key = (verdict.kind, verdict.label)
        before = self.cases.get(key)
        self.telling.pictures.pop(key, None)
        if verdict.level is Level.CLEARED:
            self.cases.pop(key, None)
            self.telling.over[str(places.part(*key))] = "its readings are its peers' again"
            return
        since = datetime.fromtimestamp(verdict.at, UTC)
        if before is None:
            self.cases[key] = Case(key, places.part(*key), watch.docket.standing[key], verdict, since)
        else:
            said = replace(verdict, rival=before.verdict.rival, offences=before.verdict.offences)
            self.cases[key] = replace(before, verdict=said, since=since)

    # ── who is there ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _look_round(self, sight: Sight) -> None:
        """Lay the fleet out anew where that makes a difference, and take what is known along."""
        seen = sight.seen()
        if not seen or (sight.fleet is self._fleet and seen == self._seen):
            return
        if self.watch is None and self.stored.waiting and not sight.telling:
            return  # by then everybody spoke, and the broker too: who is not there loses what is known of it
        mark = _mark(self.cluster, seen, sight.fleet, self.settings.domain_labels)
        if mark != self._laid_out_for:
            self._lay_out(places_of(self.cluster, seen, sight.fleet, domain_labels=self.settings.domain_labels), sight)
            self._laid_out_for = mark
        self._fleet, self._seen = sight.fleet, seen

    def _lay_out(self, places: Places, sight: Sight) -> None:
        found: Kept | None = None
        if self.watch is None or self.places is None:
            found = self.stored.load(sight.now)
            before = None if found is None else without_evidence(found)
        else:
            before = self._kept(self.watch, self.places)
        watch = self._new(places)
        if before is not None:
            before = self._with_gone(places, before, sight.now)
            # Of hosts that were there all the time `_meet` notices who is another, and is patient.
            watch = self._taken(watch, places, before, self._incarnations if found is None else sight.incarnations())
        if self.watch is not None:
            watch.at, watch.tick = self.watch.at, self.watch.tick
        if found is not None:
            believe(watch, places, sight, found.numbers["at"])
        self.watch, self.places = watch, places
        self._recall(watch, places, before)

    def _kept(self, watch: Watch, places: Places) -> Kept:
        """Give what is known, with the story of those that stand accused."""
        known = kept(watch, places, self._incarnations)
        stories = {str(case.part): case for case in self.cases.values()}
        rows = [
            {
                **row,
                "told": case.since.timestamp(),
                "offended": case.verdict.offences,
                "by": [list(one) for one in case.verdict.signals],
            }
            if "offences" not in row and (case := stories.get(row["part"])) is not None
            else row
            for row in known.accused
        ]
        return replace(known, accused=tuple(rows))

    def _with_gone(self, places: Places, before: Kept, now: float) -> Kept:
        """Remember what parts stand accused of that are not there; those that are back stand as suspects until they show it again."""
        self._gone |= {
            row["part"]: (row, now) for row in before.accused if "offences" not in row and places.label(row["part"]) is None
        }
        back = [part for part in self._gone if places.label(part) is not None]
        rows = [{**self._gone.pop(part)[0], "level": Level.SUSPECT.value, "corroborated": False} for part in back]
        self._gone = {part: one for part, one in self._gone.items() if now - one[1] <= GONE_FOR}
        return replace(before, accused=(*before.accused, *rows))

    def _new(self, places: Places) -> Watch:
        budget = Budget(self.settings.false_suspects, self.settings.false_condemned)
        watch = Watch(places.layout, budget, self.period)
        watch.prepare(WATCHED)
        return watch

    def _taken(self, watch: Watch, places: Places, before: Kept, incarnations: Mapping[str, str]) -> Watch:
        try:
            taken = take_over(watch, places, before, incarnations)
        except (KeyError, ValueError, IndexError, TypeError, AttributeError, OverflowError) as error:
            # What is in memory was made by the same code; what came from disk may lie.
            self.stored.refuse(f"{type(error).__name__}: {str(error)[:160]}")
            return self._new(places)
        accused = watch.accused()
        for kind, members in taken.other.items():
            held = accused[members] if kind == "chip" else np.isin(members, places.chip_host[accused])
            watch.anew(kind, members[~held])
        was = dict(zip(before.names.hosts, before.names.incarnations, strict=True))
        self._learn_anew(watch, places, {name: (was[name], incarnations.get(name, "")) for name in taken.left})
        self._incarnations = {name: told for name, told in was.items() if told} | self._incarnations
        self._incarnations |= {name: incarnations[name] for name in taken.left}
        return watch

    def _meet(self, watch: Watch, places: Places, incarnations: Mapping[str, str]) -> None:
        """Notice who is another machine or boot by now, where it is so for two rounds: one frame of a twin makes nobody another."""
        changed = {
            name: (self._incarnations.get(name, ""), now)
            for name, now in incarnations.items()
            if is_another(self._incarnations.get(name, ""), now)
        }
        sure = {name: both for name, both in changed.items() if self._doubted.get(name) == both[1]}
        self._doubted = {name: now for name, (_, now) in changed.items()}
        self._learn_anew(watch, places, sure)
        self._incarnations |= {
            name: completed(self._incarnations.get(name, ""), now)
            for name, now in incarnations.items()
            if now and (name in sure or name not in changed)
        }

    def _learn_anew(self, watch: Watch, places: Places, changed: Mapping[str, tuple[str, str]]) -> None:
        replaced = {name for name, both in changed.items() if is_another_machine(*both)}
        gone = {places.number_of[name] for name in replaced if name in places.number_of}
        for key in list(watch.docket.standing):
            if gone and places.hosts_of(*key) <= gone:
                watch.acquit(key)
                self.cases.pop(key, None)
                self.telling.over[str(places.part(*key))] = "another machine bears this name by now"
        hosts = np.array(sorted(places.number_of[name] for name in changed if name in places.number_of), dtype=np.intp)
        if not len(hosts):
            return
        self.counts["learnt_anew"] += len(hosts)
        spared = watch.accused()
        chips = np.flatnonzero(np.isin(places.chip_host, hosts) & ~spared)
        watch.anew("chip", chips)
        ends = np.isin(places.cables.one, chips) | np.isin(places.cables.other, chips)
        watch.anew("link", np.flatnonzero(ends & ~spared[places.cables.one] & ~spared[places.cables.other]))
        watch.anew("host", hosts[~np.isin(hosts, places.chip_host[spared])])

    def _recall(self, watch: Watch, places: Places, before: Kept | None) -> None:
        """Give those that stand accused their cases under their present numbers; after a restart, those that were kept."""
        known = {case.part: case for case in self.cases.values()}
        rows = {row["part"]: row for row in (before.accused if before is not None else ()) if "offences" not in row}
        at = watch.at if np.isfinite(watch.at) else before.numbers["at"] if before is not None else 0.0
        self.cases = {}
        self.telling.pictures.clear()
        for key, standing in watch.docket.standing.items():
            part = places.part(*key)
            if part in known:
                self.cases[key] = replace(known[part], key=key, standing=standing)
                continue
            row = rows.get(str(part), {})
            by = tuple((str(name), float(nats)) for name, nats in row.get("by", ())) or ((standing.signal, standing.nats),)
            verdict = Verdict(*key, standing.level, at, standing.nats, by, None, float(row.get("offended", 0.0)))
            since = float(row.get("told", at - self.period * (watch.tick - standing.since)))
            self.cases[key] = Case(key, part, standing, verdict, datetime.fromtimestamp(max(0.0, since), UTC))


def _mark(cluster: str, seen: tuple[Seen, ...], fleet: Fleet, labels: Collection[str]) -> object:
    """Give what a layout depends on, to be compared."""
    hosts = []
    for one in seen:
        host = fleet.hosts.get(HostId(cluster, one.name))
        told = () if host is None else tuple(host.labels.get(label) for label in labels)
        hosts.append((one, None if host is None else (host.cube, host.chips, host.generation, host.coordinates, told)))
    slices = tuple(sorted((one.id, one.shape, one.cubes, one.hosts, str(one.gang), one.role) for one in fleet.slices.values()))
    return tuple(hosts), slices
