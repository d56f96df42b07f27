"""A fleet at one instant with all that stands beside it: the one value by which gangs are placed, repaired, explained and asked about.

The coordinator acts by it and answers people by it, so that both come to the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from sliceward.scheduling.beside import NOTHING_BESIDE, Beside
from sliceward.scheduling.displacement import displaced
from sliceward.scheduling.fleet import ALIVE, snapshot_of
from sliceward.scheduling.gangs import crossed, request_of
from sliceward.scheduling.harm import Effect, Seen, harms_of
from sliceward.scheduling.occupancy import PLAIN, Grade
from sliceward.scheduling.place import place
from sliceward.scheduling.plan import NoFit, Plan
from sliceward.scheduling.quota import held
from sliceward.scheduling.repair import repair
from sliceward.scheduling.request import Request
from sliceward.scheduling.snapshot import Promise
from sliceward.scheduling.standing import standings_of
from sliceward.topology.gangs import Gang, GangState
from sliceward.topology.ids import GangId
from sliceward.topology.names import NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from sliceward.scheduling.candidates import Choice
    from sliceward.scheduling.displacement import Displacement, NobodyGoes
    from sliceward.scheduling.harm import Harm, Part
    from sliceward.scheduling.snapshot import Running, Snapshot
    from sliceward.topology.fleet import Fleet
    from sliceward.topology.ids import HostId


@dataclass(frozen=True)
class Scene:
    """A fleet, and what stands beside it. ``made``: its snapshot where that is known already, as `knowing` makes it."""

    fleet: Fleet
    now: datetime
    beside: Beside = NOTHING_BESIDE
    made: Snapshot | None = field(default=None, repr=False, compare=False)

    @cached_property
    def snapshot(self) -> Snapshot:
        """The fleet as placement sees it: a tenth of a second for 10,000 hosts."""
        if self.made is not None:
            return self.made
        snapshot = snapshot_of(self.fleet, self.now, self.beside)
        elsewhere = self.beside.elsewhere
        used = {account: snapshot.usage.get(account, 0) + chips for account, chips in elsewhere.items()}
        gangs = {key: self._as_known(running) for key, running in snapshot.gangs.items()}
        known = replace(snapshot, gangs=gangs, usage={**snapshot.usage, **used}).with_promises(self._labelled(snapshot))
        return self._paying(known, self.fleet.gangs.values())

    def _paying(self, snapshot: Snapshot, gangs: Iterable[Gang]) -> Snapshot:
        """Count for gangs what is their own though their pods are still to come: a gang is admitted for all of it."""
        more = (
            (gang.id, (gang.tenant, gang.generation), self._its_own(gang) - snapshot.counted(gang.id))
            for gang in gangs
            if gang.generation is not None
        )
        return snapshot.paying((gang, account, chips) for gang, account, chips in more if chips > 0)

    def _as_known(self, running: Running) -> Running:
        """Give a gang with its range of slices and the times at which it was displaced."""
        gang = self.fleet.gangs[running.id]
        times = (*(each.at for each in self.beside.past if each.gang == gang.id), *self.beside.moved.get(gang.id, ()))
        most = sum(role.slices for role in gang.roles)
        return replace(running, displaced=times, fewest=min(gang.fewest, most), most=most if gang.fewest else 0)

    def _labelled(self, snapshot: Snapshot) -> dict[HostId, Promise]:
        """Give the hosts that carry the label of a living gang and are promised to nobody else."""
        living = {gang.id.key: gang.id for gang in self.fleet.gangs.values() if gang.state in ALIVE}
        found: dict[HostId, Promise] = {}
        for host in self.fleet.hosts.values():
            gang = living.get(host.labels.get(NAMES.gang, "")) if NAMES.gang in host.labels else None
            if gang is not None and host.id in snapshot.ground_of and host.id not in snapshot.promises:
                found[host.id] = Promise(gang)
        return found

    def knowing(self, sick: Mapping[HostId, str], reserved: Mapping[HostId, GangId]) -> Scene:
        """Give the scene in which these hosts are sick as well, and others kept for gangs."""
        where = self.snapshot.ground_of
        grounds = self.snapshot.grounds
        marks = {
            host: replace(grounds[where[host]].occupancy.standing(host), grade=Grade.SICK, why=why)
            for host, why in sick.items()
            if host in where
        }
        promises = self.snapshot.promises  # most are known: what is known is not taken back and made anew
        kept = {host: Promise(gang) for host, gang in reserved.items() if host in where and promises.get(host) != Promise(gang)}
        beside = replace(self.beside, sick={**self.beside.sick, **sick}, reserved={**self.beside.reserved, **reserved})
        made = self.snapshot.with_standings(marks).without_promises(kept).with_promises(kept)
        return replace(self, beside=beside, made=made)

    def healing(self, gang: GangId, *, stopped: bool) -> Scene:
        """Give the scene in which a run heals a gang, and has stopped it or not."""
        none = frozenset[GangId]()
        more, those = frozenset({gang}), self.beside
        beside = replace(those, healing=those.healing | more, stopped=those.stopped | (more if stopped else none))
        healed = replace(self, beside=beside)
        mine = [self.fleet.gangs[gang]] if gang in self.fleet.gangs else []
        return replace(healed, made=healed._paying(self.snapshot, mine))  # noqa: SLF001 (its own class)

    def forgiving(self, hosts: Iterable[HostId]) -> Scene:
        """Give the scene in which no more is known of these hosts than the fleet says."""
        gone = {host for host in hosts if host in self.snapshot.ground_of}
        said = standings_of(self.fleet, NAMES, self.beside.risks)
        made = self.snapshot.with_standings({host: said.get(host, PLAIN) for host in gone})
        left = {host: why for host, why in self.beside.sick.items() if host not in gone}
        return replace(self, beside=replace(self.beside, sick=left), made=made)

    def heals(self, gang: GangId) -> bool:
        """Whether a new place of a gang is for one that it lost: then spares are for it."""
        return gang in self.snapshot.gangs or gang in self.beside.healing

    def request(self, gang: Gang, *, avoid: frozenset[HostId] = frozenset()) -> Request | NoFit:
        """Give what a gang asks for. One that is healed gets all of its slices, however few it could do with."""
        heals = self.heals(gang.id)
        found = request_of(self.fleet, gang, self.now, avoid=avoid, heals=heals)
        return replace(found, fewest=0) if heals and isinstance(found, Request) else found

    @cached_property
    def requests(self) -> Mapping[GangId, Request]:
        """What each gang that is alive asks for, as far as that is clear; worked out when it is asked for."""
        return _Requests(self)

    def placed(self, request: Request) -> Plan | NoFit:
        """Say where a gang goes, or why nowhere."""
        found = place(self.snapshot, request)
        return crossed(request, found) or found if isinstance(found, Plan) else found

    def short_of_quota(self, gang: Gang) -> str:
        """Say what a gang lacks in its tenant's quota; "" where that has enough.

        A move needs only what the gang does not hold yet, so that a tenant over its quota can still be healed.
        """
        left, needs = self.snapshot.quota_left((gang.tenant, gang.generation or "")), gang.chips - self.snapshot.counted(gang.id)
        if left is None or needs <= max(0, left):
            return ""
        return f"quota of {gang.tenant} for {gang.generation}: {left} chips left, {needs} needed"

    def _its_own(self, gang: Gang) -> int:
        """Count the chips that are a gang's own: what it runs on, and all of one that a run of ours stopped."""
        return gang.chips if gang.id in self.beside.stopped else held(self.fleet, gang)

    def seen(self, gang: GangId) -> Seen:
        """Give what is seen of a gang that runs. One that makes steps limps on what is sick, unless that is known to be dead."""
        told = self.beside.told.get(gang)
        if told is None:
            return Seen()
        alive = self.snapshot.gangs[gang].hosts if told.steps(self.now) else ()
        limps: dict[Part, Effect] = {
            host: Effect.SLOWS for host in alive if host in self.beside.sick and host not in self.beside.lost
        }
        return told.seen(self.now, limps)

    def harms(self, gang: GangId) -> tuple[Harm, ...]:
        """Give the slices of a gang that are hurt."""
        running = self.snapshot.gangs[gang]
        return harms_of(self.snapshot, running, self.seen(gang)) if all(each.shape for each in running.slices) else ()

    def ways(self, gang: Gang, request: Request | NoFit) -> Choice | str:
        """Give the ways out for a gang that runs, the cheapest first, or say why they cannot be priced."""
        running = self.snapshot.gangs.get(gang.id)
        if isinstance(request, NoFit):
            return request.why
        if gang.state is not GangState.RUNNING or running is None:
            return "it does not run"
        if any(not each.shape for each in running.slices):
            return "the shape of a slice is unknown"
        return repair(self.snapshot, request, self.seen(gang.id), past=self.beside.past, requests=self.requests)

    def displaced(self, request: Request) -> Displacement | NobodyGoes:
        """Say whom to displace for a request, or why nobody."""
        return displaced(self.snapshot, request, self.beside.past, self.requests)


class _Requests(Mapping[GangId, Request]):
    """What gangs ask for, each worked out once: to look at every host for each of a thousand gangs takes seconds."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._known: dict[GangId, Request | None] = {}

    def __getitem__(self, key: GangId) -> Request:
        if key not in self._known:
            gang = self._scene.fleet.gangs.get(key)
            found = self._scene.request(gang) if gang is not None and gang.state in ALIVE else None
            self._known[key] = found if isinstance(found, Request) else None
        known = self._known[key]
        if known is None:
            raise KeyError(key)
        return known

    def __iter__(self) -> Iterator[GangId]:
        return (key for key in self._scene.fleet.gangs if key in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)
