"""What would help is the smallest change: no smaller set of parts helps, on small fleets of each back-end; or it is said that one may."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

import pytest

from sliceward.scheduling.allowance import lacking
from sliceward.scheduling.changes import applied
from sliceward.scheduling.cubes.block import block_of
from sliceward.scheduling.ground import Want
from sliceward.scheduling.occupancy import Bar, Cause, Grade, Standing
from sliceward.scheduling.place import place, planned, room_of
from sliceward.scheduling.plan import Borrow, NoFit, Open, Plan, Release, Repair
from sliceward.scheduling.refusal import in_words
from sliceward.scheduling.request import Request, SliceAsked
from sliceward.scheduling.rows import answer_row
from sliceward.scheduling.snapshot import HeldSlice, Running, Snapshot
from sliceward.topology.ids import ChipId, LinkId, PodId
from tests.builders import NOW, a_fleet, gang_id
from tests.scheduling.small import KINDS, Kind, a_gang, a_link, a_small_fleet, dice_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sliceward.scheduling.plan import Change
    from sliceward.topology.ids import HostId

CUBE = (4, 4, 4)
MOST_PARTS = 9


def refused_on(seed: int, kind: Kind) -> tuple[Snapshot, Request] | None:
    """Give a small fleet with few things in the way of a request that fits nowhere; None where it fits."""
    dice = dice_of(seed)
    small = a_small_fleet(seed, kind, gangs=4)
    hosts = sorted(small.snapshot.ground_of)
    snapshot = small.snapshot.with_standings(
        {host: Standing(Grade.SICK, "dead") for host in dice.sample(hosts, dice.randint(1, 3))}
    )
    snapshot = snapshot.with_bars({host: Bar(Cause.RESERVED, "cordoned") for host in dice.sample(hosts, dice.randint(0, 1))})
    for key, ground in snapshot.grounds.items():
        link = a_link(dice, ground) if dice.random() < 0.3 else None
        snapshot = snapshot.with_links(key, [link] if link is not None else [])
        if kind == "cubes" and dice.random() < 0.2:
            snapshot = snapshot.with_switches(key, ["ocs-1"])
    _, request = a_gang(dice, small, "new")
    if dice.random() < 0.3:
        snapshot = snapshot.with_quota({(request.tenant, request.generation): dice.choice((0, 32, 64))})
    return (snapshot, request) if planned(snapshot, request) is None else None


def parts_of(snapshot: Snapshot, request: Request) -> list[Change]:
    """Give all that could be changed anywhere, each by itself."""
    found: list[Change] = [Release((gang,)) for gang in sorted(snapshot.gangs)]
    for key in room_of(snapshot, request).views[0]:
        occupancy = snapshot.grounds[key].occupancy
        tolerant = request.slices[0].want.worst is Grade.DEGRADED
        fine = {Grade.HEALTHY, Grade.DEGRADED} if tolerant else {Grade.HEALTHY}
        found += (Repair((host,)) for host, each in sorted(occupancy.standings.items()) if each.grade not in fine)
        found += (Open((host,)) for host in sorted(occupancy.bars))
        found += (Repair(links=(link,)) for link in sorted(occupancy.links))
        found += (Repair(switches=((key, name),)) for name in sorted(occupancy.switches))
    return found


def size_of(snapshot: Snapshot, changes: Sequence[Change]) -> int:
    size = 0
    for change in changes:
        match change:
            case Repair(hosts, links, switches):
                size += snapshot.chips_of(hosts) + len(links) + len(switches)
            case Open(hosts):
                size += snapshot.chips_of(hosts)
            case Release(gangs):
                size += sum(snapshot.chips_of(snapshot.gangs[gang].hosts) for gang in gangs)
            case Borrow(_, _, chips):
                size += chips
    return size


def after(snapshot: Snapshot, changes: Sequence[Change]) -> Snapshot:
    for change in changes:
        snapshot = applied(snapshot, change)
    return snapshot


def smallest_of_all(snapshot: Snapshot, request: Request, parts: Sequence[Change]) -> int | None:
    """Try every set of parts, with the quota that is then short."""
    best: int | None = None
    for count in range(len(parts) + 1):
        for chosen in combinations(parts, count):
            changed = after(snapshot, chosen)
            short = lacking(changed, request)
            size = size_of(snapshot, chosen) + short
            if best is not None and size >= best:
                continue
            funded = applied(changed, Borrow(request.tenant, request.generation, short)) if short else changed
            if planned(funded, request) is not None:
                best = size
    return best


@pytest.mark.parametrize("first", [0, 60])
@pytest.mark.parametrize("kind", KINDS)
def test_no_set_of_parts_that_helps_is_smaller_than_what_is_said_to_be_the_smallest(kind: Kind, first: int) -> None:
    compared = helped = proven = 0
    for seed in range(first, first + 60):
        drawn = refused_on(seed, kind)
        if drawn is None or len(parts := parts_of(*drawn)) > MOST_PARTS:
            continue
        snapshot, request = drawn
        no = place(snapshot, request)
        assert isinstance(no, NoFit)
        best = smallest_of_all(snapshot, request, parts)
        compared += 1
        if not no.helps:
            assert best is None, seed
            continue
        assert best is not None, seed
        assert isinstance(place(after(snapshot, no.helps), request), Plan), seed
        helped += 1
        size = size_of(snapshot, no.helps)
        assert size >= best, seed
        assert size == best or not no.smallest, seed
        proven += no.smallest
    assert compared >= 15
    assert proven >= helped * 0.95


def a_block(cubes: int) -> tuple[Snapshot, list[tuple[HostId, ...]]]:
    fleet = a_fleet().with_cubes(cubes, block="p0").build()
    block = block_of(PodId("c1", "p0"), fleet, fleet.cubes.values())
    return Snapshot.of(NOW, [block]), list(block.parts.values())


def running(name: str, *slices: tuple[tuple[int, ...], tuple[HostId, ...]]) -> Running:
    held = tuple(HeldSlice("s", index, shape, hosts) for index, (shape, hosts) in enumerate(slices))
    return Running(gang_id(name), "red", "tpu7x", held)


def asking(*shapes: tuple[int, ...]) -> Request:
    return Request(
        gang_id("new"), "red", tuple(SliceAsked("s", index, Want("tpu7x", shape)) for index, shape in enumerate(shapes))
    )


def refusal(snapshot: Snapshot, request: Request) -> NoFit:
    found = place(snapshot, request)
    assert isinstance(found, NoFit)
    return found


def test_two_small_gangs_go_rather_than_a_large_one_that_has_less_in_the_way() -> None:
    snapshot, cubes = a_block(6)
    large = running("big", ((4, 4, 16), cubes[0] + cubes[1] + cubes[2] + cubes[3]), ((2, 2, 1), cubes[4][:1]))
    small = [running(name, ((2, 2, 1), (host,))) for name, host in zip(("s1", "s2"), cubes[5], strict=False)]
    no = refusal(snapshot.with_gangs([large, *small]), asking(CUBE))
    assert no.helps == (Release((gang_id("s1"), gang_id("s2"))),)
    assert no.smallest


def test_one_host_is_repaired_rather_than_many_links() -> None:
    snapshot, cubes = a_block(2)
    links = [LinkId.between(ChipId("c1", host.name, 0), ChipId("c1", host.name, 1)) for host in cubes[0]]
    torn = snapshot.with_links(PodId("c1", "p0"), links).with_standing(cubes[1][0], Standing(Grade.SICK, "dead"))
    assert refusal(torn, asking(CUBE)).helps == (Repair((cubes[1][0],)),)
    one = refusal(torn.with_links(PodId("c1", "p0"), links[:1]), asking(CUBE))
    assert one.helps == (Repair(links=(links[0],)),)
    assert one.smallest


def test_a_link_between_cubes_is_named_though_its_other_end_is_elsewhere() -> None:
    snapshot, cubes = a_block(2)
    link = LinkId.between(ChipId("c1", cubes[0][0].name, 0), ChipId("c1", cubes[1][0].name, 0))
    held = snapshot.with_links(PodId("c1", "p0"), [link]).with_gang(running("b", (CUBE, cubes[1])))
    no = refusal(held, asking(CUBE))
    assert no.helps == (Repair(links=(link,)),)


def test_gangs_of_the_tenant_may_go_instead_of_more_quota() -> None:
    snapshot, cubes = a_block(2)
    full = snapshot.with_gangs([running("a", (CUBE, cubes[0])), running("b", (CUBE, cubes[1]))]).with_quota(
        {("red", "tpu7x"): 128}
    )
    no = refusal(full, asking(CUBE))
    assert no.helps == (Release((gang_id("a"),)),)
    assert no.smallest


def test_what_is_not_proven_to_be_the_smallest_is_said_to_be_so() -> None:
    snapshot, cubes = a_block(24)
    sick = {host: Standing(Grade.SICK, "dead") for hosts in cubes for host in hosts[:3]}
    no = refusal(snapshot.with_standings(sick), asking(CUBE, CUBE, CUBE))
    assert size_of(snapshot, no.helps) == 36
    assert not no.smallest
    assert "what would help, though less may do: repair" in in_words(no)
    assert answer_row(no)["smallest"] is False
    assert "though less may do" not in in_words(replace(no, smallest=True))


def test_a_refusal_that_a_longer_search_could_turn_round_says_so() -> None:
    snapshot, _ = a_block(1)
    no = refusal(snapshot, asking(CUBE, CUBE))
    assert no.surely
    assert "in time" not in no.why
