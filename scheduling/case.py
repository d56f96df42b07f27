"""The case of one hurt gang: all that the ways out of it are worked out from and priced by."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from sliceward.scheduling.harm import Effect, Harm, Seen, harms_of
from sliceward.scheduling.place import room_of
from sliceward.scheduling.prices import Figure, Pace, pace_of
from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sliceward.scheduling.ground import GroundId, Terms
    from sliceward.scheduling.request import Request, SliceAsked
    from sliceward.scheduling.rights import Displaced
    from sliceward.scheduling.seating import Key, Room
    from sliceward.scheduling.snapshot import HeldSlice, Running, Snapshot
    from sliceward.topology.ids import GangId, HostId


@dataclass(frozen=True)
class Case:
    """Make it with `of`. ``request`` is the gang's own, of all its slices; ``harms`` are its slices that are hurt.

    ``past`` and ``requests`` as in `displaced`: who displaced whom lately, and what other gangs ask for.
    """

    snapshot: Snapshot
    request: Request
    gang: Running
    seen: Seen
    harms: tuple[Harm, ...]
    past: Sequence[Displaced] = ()
    requests: Mapping[GangId, Request] = field(default_factory=dict)

    @classmethod
    def of(cls, snapshot: Snapshot, request: Request, seen: Seen) -> Case:
        """Look at a gang that runs.

        Raises:
            Misconfigured: it does not run, or runs a slice that it does not ask for.
        """
        gang = snapshot.gangs.get(request.gang)
        if gang is None:
            raise Misconfigured(str(request.gang), "does not run", "Place it; what does not run cannot be repaired")
        asked = {each.key for each in request.slices}
        odd = [(held.role, held.index) for held in gang.slices if (held.role, held.index) not in asked]
        if odd:
            raise Misconfigured(str(request.gang), f"runs slice {odd[0]}, which it does not ask for", "Read the gang again")
        return cls(snapshot, request, gang, seen, harms_of(snapshot, gang, seen))

    @cached_property
    def hurt(self) -> Mapping[Key, SliceAsked]:
        """The hurt slices as they are to be placed: spares are there for them."""
        keys = {harm.key for harm in self.harms}
        healing = (replace(each, want=replace(each.want, heals=True)) for each in self.request.slices if each.key in keys)
        return {each.key: each for each in healing}

    @cached_property
    def whole(self) -> tuple[HeldSlice, ...]:
        """The slices that keep their places."""
        return tuple(held for held in self.gang.slices if (held.role, held.index) not in self.hurt)

    @cached_property
    def room(self) -> Room:
        """The grounds as the hurt slices see them: nobody holds their places, and the whole slices hold theirs."""
        grounds = dict(self.snapshot.grounds)
        for ground, hosts in self.by_ground(harm.held for harm in self.harms).items():
            grounds[ground] = grounds[ground].changed(grounds[ground].occupancy.freed(hosts), hosts)
        return room_of(replace(self.snapshot, grounds=grounds, gangs={}), self.request)

    @property
    def as_it_is(self) -> Room:
        """The same, but that the hurt slices hold their places too."""
        return room_of(replace(self.snapshot, gangs={}), self.request)

    def by_ground(self, slices: Iterable[HeldSlice]) -> Mapping[GroundId, Sequence[HostId]]:
        """Give the hosts that slices of the gang hold, by where they are."""
        there: dict[GroundId, list[HostId]] = {}
        for host in (host for held in slices for host in held.hosts):
            there.setdefault(self.snapshot.ground_of[host], []).append(host)
        return there

    @cached_property
    def terms(self) -> Terms:
        """What prices of places depend on."""
        return self.snapshot.terms(self.gang.generation, self.gang.lasts)

    @cached_property
    def pace(self) -> Pace:
        """How the gang runs."""
        return pace_of(self.gang, self.snapshot.costs, now=self.snapshot.now, at=self.seen.at)

    @cached_property
    def chips(self) -> int:
        """Chips of the slices that run."""
        running = {(held.role, held.index) for held in self.gang.slices}
        return sum(each.want.chips for each in self.request.slices if each.key in running)

    @cached_property
    def hurt_chips(self) -> int:
        """Chips of the slices that are hurt."""
        return sum(each.want.chips for each in self.hurt.values())

    @cached_property
    def is_elastic(self) -> bool:
        """Whether the other slices go on without the hurt ones: enough of them are whole, and each role keeps one at least."""
        roles = {held.role for held in self.gang.slices}
        return 0 < self.gang.fewest <= len(self.whole) and roles == {held.role for held in self.whole}

    @cached_property
    def slower(self) -> Figure:
        """The share of its speed that the gang has lost: measured, else assumed where a part slows it."""
        if self.seen.slower is not None:
            return self.seen.slower
        slows = any(fault.effect is Effect.SLOWS for harm in self.harms for fault in harm.faults)
        return Figure(self.snapshot.costs.slowdown if slows else 0.0, "assumed: a degraded part")

    @cached_property
    def stands(self) -> str:
        """Why the gang makes no steps; "" where it does."""
        stops = (fault.why for harm in self.harms for fault in harm.faults if fault.effect is Effect.STOPS)
        return next(stops, f"it stands still ({self.slower})" if self.slower.value >= 1 else "")
