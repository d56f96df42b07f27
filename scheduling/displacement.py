"""Whom to displace so that a gang finds its places, over all grounds: the cheapest victims, and where each of them goes on.

Comes in: a snapshot, the request, who displaced whom lately. Goes out: the plan of the gang, its victims each with the right by
which it goes (`rights`) and with a plan of its own where there is room elsewhere; or why nobody goes. What a victim costs stands in `contest`.

Nobody goes for a gang that fits as it is. Else sets of victims are carried out, those first that would be cheapest if all of them
found another place; a victim that does is moved, one that does not ends and queues. The cheapest of what was carried out is taken.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sliceward.scheduling.allowance import affordable
from sliceward.scheduling.clearing import sets_by_cost, without
from sliceward.scheduling.contest import Contest
from sliceward.scheduling.fairness import borrowed, fair_part, lendable
from sliceward.scheduling.ground import Want
from sliceward.scheduling.occupancy import Cause
from sliceward.scheduling.place import planned
from sliceward.scheduling.request import Request, SliceAsked
from sliceward.scheduling.rights import Displaced, Right, Wall, rests, rights_of
from sliceward.scheduling.seating import Unseated, seat_any
from sliceward.scheduling.snapshot import HeldSlice, Running
from sliceward.topology.generations import GENERATIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sliceward.scheduling.plan import Plan
    from sliceward.scheduling.snapshot import Snapshot
    from sliceward.topology.ids import GangId

MOST_ROUNDS = 6
"""So often the victims are chosen anew because some of them would find no other place."""

MOST_SETS = 1_024
"""So many sets of victims are looked at by their prices."""

MOST_TRIED = 24
"""So many of them are carried out, which takes some milliseconds each; and as many again with one more victim."""


@dataclass(frozen=True, slots=True)
class Victim:
    """A gang that goes. ``moved``: its plan elsewhere; None: it ends and queues. ``price`` in chip-seconds."""

    gang: GangId
    right: Right
    price: float
    moved: Plan | None

    def __str__(self) -> str:
        """Print as ``llm moves (InClusterQueue): 12,345 chip-seconds``."""
        does = "moves" if self.moved is not None else "ends"
        return f"{self.gang.name} {does} ({self.right}): {self.price:,.0f} chip-seconds"


@dataclass(frozen=True, slots=True)
class Displacement:
    """Where the gang goes, and who goes for it. ``gap``: at most so much dearer than the cheapest way, a share; None: not known."""

    plan: Plan
    victims: tuple[Victim, ...] = ()
    gap: float | None = 0.0

    @property
    def cost(self) -> float:
        """What all victims lose."""
        return sum(victim.price for victim in self.victims)


@dataclass(frozen=True, slots=True)
class NobodyGoes:
    """The gang finds no place, and nobody is displaced for it."""

    gang: GangId
    cause: Cause
    why: str


def displaced(
    snapshot: Snapshot,
    request: Request,
    past: Sequence[Displaced] = (),
    requests: Mapping[GangId, Request] | None = None,
    *,
    keeps: int = 0,
) -> Displacement | NobodyGoes:
    """Say whom to displace for a request, or why nobody.

    ``requests``: what gangs that run ask for, where more is known than what they hold; by it a victim is placed elsewhere.
    ``keeps``: chips that the gang holds beside what it asks for and beside what the snapshot says, as slices that are whole.
    """
    plan = planned(snapshot, request)
    if plan is not None:
        return Displacement(plan)
    if rests(request.gang, past, now=snapshot.now):
        why = "it was displaced itself a short while ago, and waits for room that is free"
        return NobodyGoes(request.gang, Cause.FAIRNESS, why)
    contest = Contest(snapshot, request, rights_of(snapshot, request, past, keeps=keeps))
    return _Search(contest, requests or {}).found() or _nobody(contest)


def cheapest_displacement(
    snapshot: Snapshot,
    request: Request,
    past: Sequence[Displaced] = (),
    requests: Mapping[GangId, Request] | None = None,
    *,
    keeps: int = 0,
) -> Displacement | None:
    """Say whom to displace for a request that is known to fit nowhere as it is; None where nobody goes, which `displaced` explains."""
    if rests(request.gang, past, now=snapshot.now):
        return None
    return _Search(Contest(snapshot, request, rights_of(snapshot, request, past, keeps=keeps)), requests or {}).found()


def carried_out(
    snapshot: Snapshot, request: Request, found: Displacement, requests: Mapping[GangId, Request] | None = None
) -> Snapshot:
    """Give the snapshot once all has been done: the gang sits, victims that move remember it, the others are gone.

    Raises:
        Misconfigured: it is not the snapshot that the displacement was found on.
    """
    going = {victim.gang: snapshot.gangs[victim.gang] for victim in found.victims}
    own = snapshot.gangs.get(request.gang)
    after = snapshot.without_gangs((*going, request.gang)).with_gang(running_of(request, found.plan, own))
    for victim in found.victims:
        running = going[victim.gang]
        asked = (requests or {}).get(victim.gang) or request_of(running)
        if victim.moved is not None and asked is not None:
            anew = replace(running, displaced=(*running.displaced, snapshot.now))
            after = after.with_gang(running_of(asked, victim.moved, anew))
    return after


def request_of(gang: Running) -> Request | None:
    """Give what a gang that runs asks for, as far as what it holds says it; None where it holds a slice of unknown shape."""
    kind = GENERATIONS.get(gang.generation)
    if kind is None or not gang.slices or not all(kind.admits(tuple(sorted(held.shape))) for held in gang.slices):
        return None
    slices = tuple(SliceAsked(held.role, held.index, Want(gang.generation, held.shape)) for held in gang.slices)
    fewest = min(gang.fewest, len(slices))
    return Request(gang.id, gang.tenant, slices, fewest=fewest, priority=gang.priority, lasts=gang.lasts)


def running_of(request: Request, plan: Plan, before: Running | None = None) -> Running:
    """Give a gang as it sits once its plan is carried out; what was known of it ``before`` stays."""
    slices = tuple(HeldSlice(each.role, each.index, each.shape, each.hosts) for each in plan.slices)
    if before is not None:
        return replace(before, slices=slices)
    return Running(request.gang, request.tenant, request.generation, slices, request.priority, lasts=request.lasts)


@dataclass
class _Search:
    """The search for the cheapest victims: sets of them are carried out on the snapshot, and the cheapest is kept."""

    contest: Contest
    requests: Mapping[GangId, Request]
    best: Displacement | None = None
    tried: set[tuple[GangId, ...]] = field(default_factory=set)

    def found(self) -> Displacement | None:
        """Give the cheapest way; None where none was found."""
        least = self._as_if_all_could_move()
        if self.best is None:
            return None
        least = max(least, self._all_sets(self.best, least))
        self._more_of_them()
        cost = self.best.cost
        return replace(self.best, gap=0.0 if cost <= least else cost / least - 1 if least else None)

    def _as_if_all_could_move(self) -> float:
        """Choose victims as if all could move, then anew with those dearer that could not. Give what it costs at least."""
        prices = dict(self.contest.prices)
        first = chosen = self.contest.cleared(prices)
        while chosen is not None and chosen.gangs not in self.tried and len(self.tried) < MOST_ROUNDS:
            done = self._try(chosen.gangs)
            ended = [victim.gang for victim in done.victims if victim.moved is None] if done is not None else chosen.gangs
            prices |= {gang: self.contest.price_of(gang, moved=False) for gang in ended}
            chosen = self.contest.cleared(prices)
        return first.cost / (1 + first.gap) if first is not None and first.gap is not None else 0.0

    def _all_sets(self, best: Displacement, room: float) -> float:
        """Try the sets that cost least at best, in that order. Give what those cost at least that were not tried.

        ``room``: what a set that makes room costs at least, all of it moved.
        """
        contest, beyond = self.contest, float("inf")
        sets: list[tuple[float, tuple[GangId, ...]]] = []
        for looked, (paid, gangs) in enumerate(sets_by_cost(contest.prices)):
            if looked >= MOST_SETS or paid + contest.ends >= best.cost:
                beyond = paid + contest.ends
                break
            if paid < room * (1 - 1e-9):
                continue
            least = paid + contest.ends_of(gangs)
            if least < best.cost and not contest.rights.over(gangs):
                sets.append((least, tuple(sorted(gangs))))
        for least, gangs in sorted(sets):
            if self.best is not None and least >= self.best.cost:
                break
            if len(self.tried) >= MOST_TRIED:
                return min(least, beyond)
            self._try(gangs)
        return beyond

    def _more_of_them(self) -> None:
        """Let one more go, where a smaller one that ends makes room for a larger one to move."""
        improved = True
        while improved and self.best is not None and len(self.tried) < 2 * MOST_TRIED:
            improved, cost = False, self.best.cost
            gangs = tuple(victim.gang for victim in self.best.victims)
            saved = sum(victim.price - self.contest.prices[victim.gang] for victim in self.best.victims)
            others = ((self.contest.price_of(gang, moved=False), gang) for gang in self.contest.prices if gang not in gangs)
            for _, gang in sorted((price, gang) for price, gang in others if price < saved):
                self._try(tuple(sorted((*gangs, gang))))
                if self.best.cost < cost:
                    improved = True
                    break

    def _try(self, gangs: tuple[GangId, ...]) -> Displacement | None:
        """Carry out one set of victims, if that is allowed and makes room."""
        if gangs in self.tried or len(self.tried) >= 2 * MOST_TRIED or self.contest.rights.over(gangs):
            return None
        self.tried.add(gangs)
        found = _carried_out(self.contest, gangs, self.requests)
        if found is not None and (self.best is None or found.cost < self.best.cost):
            self.best = found
        return found


def _carried_out(contest: Contest, gangs: Iterable[GangId], requests: Mapping[GangId, Request]) -> Displacement | None:
    """Let the gang sit down where its victims were, and find each of them another place, the most important first."""
    snapshot, request = contest.snapshot, contest.request
    going = sorted((snapshot.gangs[gang] for gang in gangs), key=lambda gang: (-gang.priority, -contest.chips(gang.id), gang.id))
    after = snapshot.without_gangs(gang.id for gang in going)
    plan = planned(after, replace(request, slices=tuple(contest.asked), fewest=0))
    if plan is None:
        return None
    plan = replace(plan, left_out=tuple(asked.key for asked in request.slices[request.needed :]))
    own = snapshot.gangs.get(request.gang)
    after = after.without_gang(request.gang).with_gang(running_of(request, plan, own))
    victims = []
    for gang in going:
        asked = requests.get(gang.id) or request_of(gang)
        moved = planned(after, asked) if asked is not None else None
        if asked is not None and moved is not None:
            after = after.with_gang(running_of(asked, moved, gang))
        price = contest.price_of(gang.id, moved=moved is not None)
        victims.append(Victim(gang.id, contest.rights.right[gang.id], price, moved))
    return Displacement(plan, tuple(victims))


def _nobody(contest: Contest) -> NobodyGoes:
    """Say what stands before those whose going would make room; where not even that would, what else is in the way."""
    snapshot, request = contest.snapshot, contest.request
    if affordable(snapshot, request) < request.needed and contest.counted(contest.own) < contest.lacking:
        why = (
            f"{request.tenant} lacks {contest.lacking} chips of {request.generation} in its quota, and has too little that may go"
        )
        return NobodyGoes(request.gang, Cause.QUOTA, why)
    everybody = [*contest.rights.right, *contest.rights.wall]
    if isinstance(seat_any(without(contest.room, everybody), contest.asked, contest.terms), Unseated):
        return NobodyGoes(request.gang, _other_cause(contest), "whoever went, there would be no room")
    walls = Counter(contest.rights.wall.values())
    why = ", ".join(f"{walls[wall]} {wall}" for wall in Wall if walls[wall])
    why = (
        f"who may go makes too little room; others stay: {why}"
        if why
        else "who may go makes too little room for its tenants' own"
    )
    more = sum(asked.want.chips for asked in request.slices[: request.needed])
    account = (request.tenant, request.generation)
    lent = borrowed(snapshot, account, more=more)
    if lent is None:
        return NobodyGoes(request.gang, Cause.HELD, why)
    part = fair_part(snapshot, account, more=more)
    why += f"; {request.tenant} would borrow {lent} of {lendable(snapshot, request.generation)} chips, {part:,.0f} would be its fair part"
    return NobodyGoes(request.gang, Cause.FAIRNESS if walls[Wall.GUARANTEED] or lent else Cause.HELD, why)


def _other_cause(contest: Contest) -> Cause:
    """Name what closes most hosts to the first slice but other gangs; where nothing does, its shape goes nowhere."""
    asked, causes = contest.asked[0], Counter[Cause]()
    for ground in contest.room.grounds(asked).values():
        causes.update(ground.short(asked.want).hosts)
    del causes[Cause.HELD]
    return max(sorted(causes), key=lambda cause: causes[cause], default=Cause.SHAPE)
