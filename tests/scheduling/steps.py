"""A fleet on which anything may happen next, played step by step; after each step it is held against what must always be true.

Gangs come, end, save themselves and come back; hosts fall sick, are unknown and well again; quotas change; time passes. Whoever
finds no place may displace others, whoever is hurt is repaired the cheapest way, and now and then the fleet is tidied. The same
seed plays the same story.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from math import prod
from random import Random
from typing import TYPE_CHECKING

from sliceward.scheduling.candidates import Way
from sliceward.scheduling.defragment import defragment
from sliceward.scheduling.displacement import Displacement, carried_out, displaced
from sliceward.scheduling.ground import Want
from sliceward.scheduling.harm import Seen, harms_of
from sliceward.scheduling.moving import moved
from sliceward.scheduling.occupancy import PLAIN, Grade, Standing
from sliceward.scheduling.place import planned
from sliceward.scheduling.repair import repair
from sliceward.scheduling.request import Request, SliceAsked
from sliceward.scheduling.rights import REMEMBERED, Displaced
from sliceward.scheduling.snapshot import Snapshot
from sliceward.topology.ids import GangId

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sliceward.scheduling.ground import Ground
    from sliceward.topology.generations import Shape
    from sliceward.topology.ids import HostId

TENANTS = ("red", "green", "blue")
GRADES = (Grade.SICK, Grade.DEGRADED, Grade.UNKNOWN)


class Broken(AssertionError):
    """What must always be true is not."""


def must(holds: object, why: str) -> None:
    if not holds:
        raise Broken(why)


@dataclass
class Player:
    """``waiting``: requests that found no place, and those of victims. ``past``: who displaced whom. ``seen``: what was played."""

    snapshot: Snapshot
    shapes: tuple[Shape, ...]
    dice: Random
    most_waiting: int = 6
    waiting: dict[GangId, Request] = field(default_factory=dict)
    asked: dict[GangId, Request] = field(default_factory=dict)
    past: list[Displaced] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    came: int = 0

    def play(self, steps: int) -> None:
        """Play on."""
        moves = (self.comes, self.comes, self.comes_back, self.comes_back, self.ends, self.saves, self.ails, self.heals)
        rare = (
            self.passes,
            self.passes,
            self.is_given,
            self.falls_sick_in_thought,
            self.is_mended,
            self.is_mended,
            self.is_tidied,
        )
        for _ in range(steps):
            self.dice.choice(moves if self.dice.random() < 0.8 else rare)()
            holds_nothing_twice(self.snapshot)

    def comes(self) -> None:
        """A new gang asks for its places."""
        self.came += 1
        gang = GangId("c1", "ml", "JobSet", f"g{self.came}")
        generation = next(iter(self.snapshot.grounds.values())).generation
        wants = [Want(generation, self.dice.choice(self.shapes)) for _ in range(self.dice.choice((1, 1, 1, 2)))]
        slices = tuple(SliceAsked("slice", number, want) for number, want in enumerate(wants))
        self.asks(Request(gang, self.dice.choice(TENANTS), slices, priority=self.dice.choice((0, 0, 1, 2))))

    def comes_back(self) -> None:
        """One that waits asks again."""
        if self.waiting:
            self.asks(self.waiting.pop(self.dice.choice(sorted(self.waiting))))

    def ends(self) -> None:
        """One that runs is done."""
        if self.snapshot.gangs:
            gang = self.dice.choice(sorted(self.snapshot.gangs))
            self.snapshot = self.snapshot.without_gang(gang)
            self.asked.pop(gang, None)

    def saves(self) -> None:
        """One that runs saves itself."""
        if self.snapshot.gangs:
            gang = self.snapshot.gangs[self.dice.choice(sorted(self.snapshot.gangs))]
            saved = replace(gang, checkpointed=self.snapshot.now)
            self.snapshot = self.snapshot.without_gang(gang.id).with_gang(saved)

    def ails(self) -> None:
        """A host is not well."""
        host, grade = self.a_host(), self.dice.choice(GRADES)
        self.snapshot = self.snapshot.with_standing(host, Standing(grade, "seen"))

    def heals(self) -> None:
        """Hosts are well again."""
        known = [(host, each) for ground in self.snapshot.grounds.values() for host, each in ground.occupancy.standings.items()]
        ill = sorted(host for host, standing in known if standing is not PLAIN)
        for host in self.dice.sample(ill, min(2, len(ill))):
            self.snapshot = self.snapshot.with_standing(host, PLAIN)

    def passes(self) -> None:
        """Time passes."""
        self.snapshot = self.snapshot.later(self.dice.choice((60.0, 1_200.0, 7_200.0)))
        self.past = [each for each in self.past if each.at > self.snapshot.now - REMEMBERED]

    def is_given(self) -> None:
        """A tenant's quota changes, and whether it is guaranteed."""
        generation = next(iter(self.snapshot.grounds.values())).generation
        tenant, chips = self.dice.choice(TENANTS[:2]), sum(sum(g.hosts.values()) for g in self.snapshot.grounds.values())
        quota = {**self.snapshot.quota, (tenant, generation): self.dice.choice((chips // 8, chips // 3, chips // 2, chips))}
        if self.dice.random() < 0.2:
            quota.pop((tenant, generation))
        protected = self.snapshot.protected ^ {tenant} if self.dice.random() < 0.3 else self.snapshot.protected
        self.snapshot = replace(self.snapshot, quota=quota, protected=frozenset(protected))

    def falls_sick_in_thought(self) -> None:
        """What found no place finds none with one host less."""
        for request in self.waiting.values():
            if planned(self.snapshot, request) is None:
                worse = self.snapshot.with_standing(self.a_host(), Standing(Grade.SICK, "in thought"))
                must(planned(worse, request) is None, f"{request.gang} fits once a host is sick")
                self.seen["infeasible stays so"] += 1

    def asks(self, request: Request) -> None:
        """One asks for places, and gets free ones, or those of others, or waits."""
        found = displaced(self.snapshot, request, self.past, self.asked)
        if not isinstance(found, Displacement):
            self.seen[f"waits: {found.cause}"] += 1
            if len(self.waiting) < self.most_waiting:
                self.waiting[request.gang] = request
            return
        before, self.snapshot = self.snapshot, carried_out(self.snapshot, request, found, self.asked)
        self.asked[request.gang] = request
        victims = [victim.gang for victim in found.victims]
        self.seen["sits" if not victims else "displaces"] += 1
        is_whole(self.snapshot, request)
        uses_what_is_free(before, self.snapshot, [request.gang, *(v.gang for v in found.victims if v.moved is not None)], victims)
        keeps_what_is_guaranteed(before, self.snapshot, request.tenant)
        for victim in found.victims:
            self.seen["moves" if victim.moved is not None else "ends"] += 1
            self.seen[f"by {victim.right}"] += 1
            must(
                request.gang not in all_behind(victim.gang, self.past, self.snapshot), "a gang displaces whom it was displaced by"
            )
            self.past.append(Displaced(victim.gang, request.gang, self.snapshot.now))
        comes_to_an_end(self.past)
        for victim in found.victims:
            if victim.moved is None:
                back = self.asked.pop(victim.gang)
                again = displaced(self.snapshot, back, self.past, self.asked)
                must(not isinstance(again, Displacement) or not again.victims, f"{back.gang} comes back and makes victims")
                self.waiting[back.gang] = back

    def is_mended(self) -> None:
        """One that is hurt is repaired the cheapest way."""
        hurt = [gang for gang in self.snapshot.gangs.values() if harms_of(self.snapshot, gang, Seen())]
        if not hurt:
            return
        gang, before = self.dice.choice(hurt), self.snapshot
        best = repair(before, self.asked[gang.id], past=self.past, requests=self.asked).best
        self.seen[f"repair: {best.way}"] += 1
        if best.way is Way.EVICT:
            self.snapshot = before.without_gang(gang.id)
            self.waiting[gang.id] = self.asked.pop(gang.id)
        elif best.slices and best.then is None:
            after = before
            for victim in best.victims:
                after = after.without_gang(victim)
            self.snapshot = moved(after, gang, best.slices)
            uses_what_is_free(before, self.snapshot, [gang.id], best.victims)
            keeps_what_is_whole(before, self.snapshot, gang.id)
            keeps_what_is_guaranteed(before, self.snapshot, gang.tenant)
            is_whole(self.snapshot, self.asked[gang.id])
            for victim in best.victims:
                self.past.append(Displaced(victim, gang.id, self.snapshot.now))
                self.waiting[victim] = self.asked.pop(victim)
            comes_to_an_end(self.past)

    def is_tidied(self) -> None:
        """Gangs are moved where that is worth it; then nothing more is."""
        tidying = defragment(self.snapshot, self.asked)
        for group in tidying.groups:
            must(group.gain > group.cost, "a move costs more than it brings")
        self.seen["tidied"] += len(tidying.groups)
        self.snapshot = tidying.after
        for gang in self.snapshot.gangs:
            is_whole(self.snapshot, self.asked[gang])

    def a_host(self) -> HostId:
        return self.dice.choice(sorted(self.snapshot.ground_of))


def holds_nothing_twice(snapshot: Snapshot) -> None:
    held = [host for gang in snapshot.gangs.values() for host in gang.hosts]
    must(len(held) == len(set(held)), "two gangs hold one host")
    told = {host: gang for ground in snapshot.grounds.values() for host, gang in ground.occupancy.holders.items()}
    must(
        told == {host: gang.id for gang in snapshot.gangs.values() for host in gang.hosts},
        "grounds and gangs say different things",
    )
    for (tenant, generation), chips in snapshot.usage.items():
        mine = [gang for gang in snapshot.gangs.values() if (gang.tenant, gang.generation) == (tenant, generation)]
        must(chips == sum(snapshot.chips_of(gang.hosts) for gang in mine), f"the use of {tenant} is not what its gangs hold")


def is_whole(snapshot: Snapshot, request: Request) -> None:
    """Whether a gang sits with all of its slices."""
    held = {(each.role, each.index): each for each in snapshot.gangs[request.gang].slices}
    for asked in request.slices:
        must(asked.key in held, f"{request.gang} sits without slice {asked.index}")
        must(snapshot.chips_of(held[asked.key].hosts) == prod(asked.want.shape), f"{request.gang} has a slice of another size")


def uses_what_is_free(before: Snapshot, after: Snapshot, sat_down: Iterable[GangId], victims: Sequence[GangId]) -> None:
    """Whether those that sat down took healthy hosts alone that were free, or their victims'."""
    for gang in sat_down:
        had = set(before.gangs[gang].hosts) if gang in before.gangs else set()
        for host in set(after.gangs[gang].hosts) - had:
            occupancy = before.grounds[before.ground_of[host]].occupancy
            holder = occupancy.holders.get(host)
            must(holder is None or holder in victims, f"{gang} takes {host} from {holder}")
            must(
                occupancy.standing(host).grade is Grade.HEALTHY, f"{gang} takes {host}, which is {occupancy.standing(host).grade}"
            )
            must(host not in occupancy.bars, f"{gang} takes {host}, which is closed")


def keeps_what_is_whole(before: Snapshot, after: Snapshot, gang: GangId) -> None:
    """Whether the slices of a gang that were not hurt are where they were."""
    hurt = {harm.key for harm in harms_of(before, before.gangs[gang], Seen())}
    now = {(each.role, each.index): each for each in after.gangs[gang].slices}
    for held in before.gangs[gang].slices:
        if (held.role, held.index) not in hurt:
            must(now[held.role, held.index] == held, f"slice {held.index} of {gang} is moved though it is whole")


def keeps_what_is_guaranteed(before: Snapshot, after: Snapshot, but: str) -> None:
    """Whether no protected tenant but one has less of its quota than before."""
    for (tenant, generation), chips in before.quota.items():
        if tenant in before.protected and tenant != but:
            least = min(before.usage.get((tenant, generation), 0), chips)
            must(after.usage.get((tenant, generation), 0) >= least, f"{tenant} lost what is guaranteed to it")


def all_behind(gang: GangId, past: Iterable[Displaced], snapshot: Snapshot) -> set[GangId]:
    """Give all whom a gang displaced, or whom those displaced, and so on."""
    found: set[GangId] = set()
    fresh = [gang]
    lately = [each for each in past if each.at > snapshot.now - REMEMBERED]
    while fresh:
        one = fresh.pop()
        for each in lately:
            if each.by == one and each.gang not in found:
                found.add(each.gang)
                fresh.append(each.gang)
    return found


def comes_to_an_end(past: Sequence[Displaced]) -> None:
    """Whether who displaced whom, followed on and on, never leads back."""
    by: dict[GangId, set[GangId]] = {}
    for each in past:
        by.setdefault(each.gang, set()).add(each.by)
    while by:
        done = [gang for gang, others in by.items() if not others & by.keys()]
        must(done, f"{sorted(by)} displace each other in turn")
        for gang in done:
            del by[gang]


def a_player(grounds: Sequence[Ground], shapes: tuple[Shape, ...], seed: int, *, now: object) -> Player:
    """Give a player on empty grounds."""
    generation = grounds[0].generation
    mix = {generation: tuple((shape, 1 / len(shapes)) for shape in shapes)}
    snapshot = Snapshot.of(now, grounds, mix=mix)  # type: ignore[arg-type]  # a datetime
    return Player(snapshot, shapes, Random(seed))  # noqa: S311 (a story that can be told again)
