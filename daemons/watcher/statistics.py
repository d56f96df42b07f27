"""The statistical passes in the watcher: complete rows of the panel in, findings of suspected and condemned parts out.

A round copies what the panel says on the loop, and lets the passes work on it beside the loop, so that frames are taken in meanwhile. When hosts, gangs or
slices change, the fleet is laid out anew and what was known of each part goes along. Who is another machine, boot or job is learnt anew, unless it
stands accused: then what is known of it is what accuses it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import structlog

from sliceward.daemons.watcher import baselines
from sliceward.detectors.finding import Finding, Kind, State
from sliceward.detectors.passes import told
from sliceward.detectors.passes.evidence import WARM
from sliceward.detectors.passes.fleet import WATCHED, Places, Seen, places_of, read
from sliceward.detectors.passes.keeping import Kept, kept, take_over
from sliceward.detectors.passes.told import Case
from sliceward.detectors.passes.verdicts import QUIET, Budget, Level, Verdict
from sliceward.detectors.passes.watch import Watch
from sliceward.topology.ids import ChipId, HostId

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping

    from sliceward.daemons.watcher.settings import StatisticsSettings
    from sliceward.detectors.panel import Panel
    from sliceward.detectors.passes.localise import Key
    from sliceward.topology.fleet import Fleet
    from sliceward.topology.ids import PartId

    Beside = Callable[[Callable[[], None]], Awaitable[None]]

log = structlog.get_logger(__name__)

CATCH_UP = 6
"""Rows that are made up for after a stall of ours; what lies further back is left out, as missing."""
DRAWN_EVERY, MOST_DRAWN = 3, 24
"""Ticks between two drawings of one picture, and pictures a round."""
PICTURE_ROWS = 60
OLDEST = 3600.0
"""Seconds after which baselines on disk are no help: the noise of another hour of the day, or other jobs."""


@dataclass(eq=False)
class Statistics:
    """The passes over one cluster. ``counts``: what went wrong, by reason, beside the watcher's own. ``steady``: seconds that nobody sets.

    ``cases``: parts that stand accused; ``over``: why a part does no more, by its name; ``last``: newest tick that was taken in.
    """

    cluster: str
    settings: StatisticsSettings
    period: float
    beside: Beside
    counts: Counter[str]
    steady: Callable[[], float] = time.monotonic
    watch: Watch | None = None
    places: Places | None = None
    cases: dict[Key, Case] = field(default_factory=dict)
    over: dict[str, str] = field(default_factory=dict)
    last: int | None = None
    saved_at: float = 0.0
    took: float = 0.0
    _fleet: Fleet | None = None
    _seen: tuple[Seen, ...] = ()
    _laid_out_for: object = None
    _incarnations: dict[str, str] = field(default_factory=dict)
    _pictures: dict[Key, Finding] = field(default_factory=dict)

    @property
    def warm(self) -> bool:
        """Whether baselines are known well enough to say anything."""
        return self.watch is not None and self.watch.warm

    @property
    def ticks_to_warm(self) -> int:
        """Ticks that are still to be learnt from before anything is said."""
        return max(0, WARM + 1 - (0 if self.watch is None else self.watch.tick))

    def set_clock(self) -> None:
        """Go on from another time: our own clock was set."""
        self.last = None
        if self.watch is not None:
            self.watch.set_clock()

    def begin_anew(self) -> None:
        """Forget everything: what is known led to a mistake."""
        self.watch = self.places = self.last = self._laid_out_for = self._fleet = None
        self.cases.clear()
        self._pictures.clear()

    # ── a round ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def round(self, panel: Panel, fleet: Fleet) -> None:
        """Take in the rows that are complete by now."""
        seen = tuple(Seen(one.name, slot, one.chips) for slot, one in enumerate(panel.hosts) if one is not None)
        if not seen:
            return
        now = panel.now
        if fleet is not self._fleet or seen != self._seen:
            await self.beside(lambda: self._lay_out(seen, fleet, _incarnations(panel, fleet), now))
            self._fleet, self._seen = fleet, seen
            if seen != tuple(Seen(one.name, slot, one.chips) for slot, one in enumerate(panel.hosts) if one is not None):
                return  # a host came or went meanwhile: its place in the panel may be another's
        watch, places = self.watch, self.places
        if watch is None or places is None:
            return
        self._meet(watch, places, _incarnations(panel, fleet))
        ring = panel.ring
        newest = ring.newest - 1  # the newest row still fills
        first = newest if self.last is None else max(self.last + 1, newest - CATCH_UP + 1)
        for tick in range(first, newest + 1):
            began = self.steady()
            readings = read(places, ring, tick % ring.rows)
            await self.beside(lambda at=tick, found=readings: self._step(watch, places, float(at + 1) * self.period, found))  # type: ignore[misc]  # mypy takes no lambda with defaults for one without
            self.last, self.took = tick, self.steady() - began
        if self.settings.folder is not None and now - self.saved_at >= self.settings.save_every.total_seconds():
            self.saved_at = now
            await self.beside(lambda: self._save(watch, places, now))

    def _step(self, watch: Watch, places: Places, at: float, readings: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        for verdict in (*watch.step(at, readings), *watch.look()):
            self._note(watch, places, verdict)

    def _note(self, watch: Watch, places: Places, verdict: Verdict) -> None:
        key = (verdict.kind, verdict.label)
        before = self.cases.get(key)
        if verdict.level is Level.CLEARED:
            self.cases.pop(key, None)
            self._pictures.pop(key, None)
            self.over[str(places.part(*key))] = "its readings are its peers' again"
        elif before is None:
            since = datetime.fromtimestamp(verdict.at, UTC)
            self.cases[key] = Case(key, places.part(*key), watch.docket.standing[key], verdict, since)
        else:
            said = replace(verdict, rival=before.verdict.rival, offences=before.verdict.offences)
            self.cases[key] = replace(before, verdict=said, since=datetime.fromtimestamp(verdict.at, UTC))
        self._pictures.pop(key, None)

    # ── who is there ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _lay_out(self, seen: tuple[Seen, ...], fleet: Fleet, incarnations: Mapping[str, str], now: float) -> None:
        """Lay the fleet out anew where that makes a difference, and take what is known along."""
        mark = _mark(self.cluster, seen, fleet, self.settings.domain_labels)
        if mark == self._laid_out_for:
            return
        places = places_of(self.cluster, seen, fleet, domain_labels=self.settings.domain_labels)
        if self.watch is not None and self.places is not None:
            before: Kept | None = kept(self.watch, self.places, self._incarnations)
        else:
            before = self._load(now)
        watch = self._new(places)
        if before is not None:
            watch = self._taken(watch, places, before, incarnations)
        if self.watch is not None:
            watch.at, watch.tick = self.watch.at, self.watch.tick
        self.watch, self.places, self._laid_out_for = watch, places, mark
        self._recall(watch, places)

    def _new(self, places: Places) -> Watch:
        budget = Budget(self.settings.false_suspects, self.settings.false_condemned)
        watch = Watch(places.layout, budget, self.period)
        watch.prepare(WATCHED)
        return watch

    def _taken(self, watch: Watch, places: Places, before: Kept, incarnations: Mapping[str, str]) -> Watch:
        try:
            taken = take_over(watch, places, before, incarnations)
        except (KeyError, ValueError, IndexError, TypeError) as error:
            # What is in memory was made by the same code; what came from disk may lie.
            self._refuse(f"{type(error).__name__}: {str(error)[:160]}")
            return self._new(places)
        accused = watch.accused()
        for kind, members in taken.other.items():
            held = accused[members] if kind == "chip" else np.isin(members, places.chip_host[accused])
            watch.anew(kind, members[~held])
        self._learn_anew(
            watch,
            places,
            {
                name: (before.names.incarnations[n], incarnations.get(name, ""))
                for n, name in enumerate(before.names.hosts)
                if name in taken.left
            },
        )
        return watch

    def _meet(self, watch: Watch, places: Places, incarnations: dict[str, str]) -> None:
        """Notice who is another machine or boot by now."""
        changed = {
            name: (self._incarnations[name], now)
            for name, now in incarnations.items()
            if now and self._incarnations.get(name, now) != now
        }
        self._learn_anew(watch, places, changed)
        self._incarnations |= {name: now for name, now in incarnations.items() if now}

    def _learn_anew(self, watch: Watch, places: Places, changed: Mapping[str, tuple[str, str]]) -> None:
        replaced = {name for name, (before, now) in changed.items() if before.split("|")[0] != now.split("|")[0]}
        gone = {places.number_of[name] for name in replaced if name in places.number_of}
        for key in list(watch.docket.standing):
            if gone and places.hosts_of(*key) <= gone:
                watch.acquit(key)
                self.cases.pop(key, None)
                self.over[str(places.part(*key))] = "another machine bears this name by now"
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

    def _recall(self, watch: Watch, places: Places) -> None:
        """Give those that stand accused their cases under their present numbers."""
        known = {case.part: case for case in self.cases.values()}
        self.cases, self._pictures = {}, {}
        for key, standing in watch.docket.standing.items():
            part = places.part(*key)
            if part in known:
                self.cases[key] = replace(known[part], key=key, standing=standing)
                continue
            verdict = Verdict(*key, standing.level, watch.at, standing.nats, ((standing.signal, standing.nats),))
            since = datetime.fromtimestamp(max(0.0, self.saved_at), UTC)
            self.cases[key] = Case(key, part, standing, verdict, since)

    # ── what is told ──────────────────────────────────────────────────────────────────────────────────────────────────

    def findings(self, panel: Panel, fleet: Fleet, previous: Iterable[Finding], *, grace: float) -> Iterator[Finding]:
        """Give every finding of ours as it stands: those of parts that stand accused, and those known before."""
        watch, places = self.watch, self.places
        known = {finding.id: finding for finding in previous if finding.detector == told.DETECTOR}
        if watch is None or places is None:
            yield from (replace(one, state=State.UNKNOWN) for one in known.values() if one.state is State.FIRING)
            return
        now, fresh = datetime.fromtimestamp(panel.now, UTC), set[str]()
        self._draw(watch, places, panel)
        for case in self.cases.values():
            drawn = self._pictures.get(case.key)
            finding = told.finding_of(case, watch, places, now, None if drawn is None else drawn.picture)
            before = known.get(finding.id)
            lived = before is not None and before.state is not State.RESOLVED
            finding = replace(
                _with_sufferers(
                    finding, [HostId(self.cluster, places.hosts[n]) for n in sorted(places.hosts_of(*case.key))], panel, fleet
                ),
                since=before.since if before is not None and lived else finding.since,
            )
            if before is not None and lived:
                finding = replace(finding, gang=finding.gang or before.gang, slice=finding.slice or before.slice)
            if self._silent(panel, places, case.key, grace):
                finding = replace(finding, state=State.UNKNOWN, seen=before.seen if before is not None else finding.seen)
            fresh.add(finding.id)
            yield finding
        accused = {case.part: case for case in self.cases.values()}
        for finding in known.values():
            if finding.id not in fresh and finding.state is not State.RESOLVED:
                yield self._not_accused(finding, accused, watch, places, now)
        self.over.clear()

    def _not_accused(
        self, finding: Finding, accused: Mapping[PartId, Case], watch: Watch, places: Places, now: datetime
    ) -> Finding:
        case = accused.get(finding.part)
        if case is not None:
            level = "condemned" if finding.kind is Kind.PART_SUSPECT else "a suspect"
            return told.resolved(finding, now, f"it is {level} by now")
        why = self.over.get(str(finding.part))
        if why is not None:
            return told.resolved(finding, now, why)
        key = places.label(str(finding.part))
        if key is None:
            return (
                told.resolved(finding, now, f"{finding.part} no longer exists")
                if watch.warm
                else replace(finding, state=State.UNKNOWN)
            )
        signal = finding.labels.get("signal", "")
        if watch.tick <= WARM + QUIET or _stands_out(watch, key, signal):
            # Nothing is known yet, or it was odd when baselines were learnt, and is what they know as its own.
            return replace(finding, state=State.UNKNOWN)
        return told.resolved(finding, now, "its readings are its peers', as far as is known since baselines were learnt anew")

    def _draw(self, watch: Watch, places: Places, panel: Panel) -> None:
        due = [key for key in self.cases if key not in self._pictures]
        due += [key for key in self._pictures if key in self.cases and watch.tick % DRAWN_EVERY == 0]
        now = datetime.fromtimestamp(panel.now, UTC)
        for key in due[:MOST_DRAWN]:
            case = self.cases[key]
            picture = told.picture_of(case, watch, places, panel.ring, rows=PICTURE_ROWS)
            self._pictures.pop(key, None)  # the one that was drawn last comes last
            self._pictures[key] = told.finding_of(case, watch, places, now, picture)

    def _silent(self, panel: Panel, places: Places, key: Key, grace: float) -> bool:
        slots = [panel.slots.get(places.hosts[number]) for number in places.hosts_of(*key)]
        return bool(slots) and all(slot is not None and panel.silence(slot) > grace for slot in slots)

    # ── on disk ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _save(self, watch: Watch, places: Places, now: float) -> None:
        folder = self.settings.folder
        if folder is None or watch.tick <= WARM:
            return
        try:
            baselines.save(folder, self.cluster, kept(watch, places, self._incarnations), now)
        except OSError as error:
            self.counts["baselines_unsaved"] += 1
            log.warning(
                "baselines cannot be saved",
                folder=str(folder),
                why=str(error),
                what_to_do="Give the watcher a folder that it may write",
            )
            return
        self.counts["baselines_saved"] += 1

    def _load(self, now: float) -> Kept | None:
        folder = self.settings.folder
        if folder is None:
            return None
        try:
            found = baselines.load(folder, self.cluster, now=now, oldest=OLDEST)
        except (baselines.BadBaselines, OSError) as error:
            self._refuse(str(error))
            return None
        if found is not None:
            self.counts["baselines_restored"] += 1
            log.info("baselines restored", hosts=len(found.names.hosts), ticks=int(found.numbers["tick"]))
        return found

    def _refuse(self, why: str) -> None:
        self.counts["baselines_refused"] += 1
        log.warning(
            "baselines set aside", folder=str(self.settings.folder), why=why,
            what_to_do="None: they are learnt anew within ten minutes. The file stays beside as *.refused",
        )  # fmt: skip
        try:
            if self.settings.folder is not None:
                baselines.set_aside(self.settings.folder)
        except OSError as error:
            log.warning("baselines cannot be moved", folder=str(self.settings.folder), why=str(error))


def _stands_out(watch: Watch, key: Key, signal: str) -> bool:
    for evidence in watch.crowds.values():
        members = evidence.members(key)
        if len(members) == 1 and any(one.called == signal for one in evidence.signals):
            return evidence.outstanding(signal, members)
    return False


def _incarnations(panel: Panel, fleet: Fleet) -> dict[str, str]:
    """Give what each host is, as ``instance|boot``; "" where nobody tells."""
    return {one.name: _incarnation(panel, fleet, HostId(panel.cluster, one.name)) for one in panel.hosts if one is not None}


def _mark(cluster: str, seen: tuple[Seen, ...], fleet: Fleet, labels: Collection[str]) -> object:
    """Give what a layout depends on, to be compared."""
    hosts = []
    for one in seen:
        host = fleet.hosts.get(HostId(cluster, one.name))
        told = () if host is None else tuple(host.labels.get(label) for label in labels)
        hosts.append((one, None if host is None else (host.cube, host.chips, host.generation, host.coordinates, told)))
    slices = tuple(sorted((one.id, one.shape, one.cubes, one.hosts, str(one.gang), one.role) for one in fleet.slices.values()))
    return tuple(hosts), slices


def _with_sufferers(finding: Finding, hosts: list[HostId], panel: Panel, fleet: Fleet) -> Finding:
    """Say who suffers, and which machine showed it."""
    gang = next((gang for host in hosts for gang in fleet.gangs_on.get(host, ())), None)
    on = set(hosts)
    cubes = [fleet.hosts[host].cube for host in hosts if host in fleet.hosts]
    slices = (
        one for cube in cubes if cube is not None for one in fleet.slices_in.get(cube, ()) if on & set(fleet.slices[one].hosts)
    )
    instance, boot = "", ""
    if isinstance(finding.part, HostId | ChipId) and hosts:
        instance, _, boot = _incarnation(panel, fleet, hosts[0]).partition("|")
    return replace(finding, gang=gang, slice=next(slices, None), instance_id=instance, boot_id=boot)


def _incarnation(panel: Panel, fleet: Fleet, host: HostId) -> str:
    known, shown = panel.known(host.name), fleet.hosts.get(host)
    instance = (known.instance_id if known else "") or (shown.instance_id if shown else "")
    boot = (known.boot_id if known else "") or (shown.boot_id if shown else "")
    return f"{instance}|{boot}" if instance or boot else ""
