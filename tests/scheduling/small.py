"""Small fleets of each back-end with gangs on them, drawn from a number: for what stands above the back-ends."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from random import Random
from typing import TYPE_CHECKING, Literal, get_args

from sliceward.scheduling.costs import DAY, Costs
from sliceward.scheduling.cubes.block import block_of
from sliceward.scheduling.ground import Want
from sliceward.scheduling.occupancy import PLAIN, Grade, Standing, Window
from sliceward.scheduling.place import planned
from sliceward.scheduling.request import Request, SliceAsked
from sliceward.scheduling.snapshot import HeldSlice, Running, Snapshot
from sliceward.scheduling.torus.ground import TorusGround
from sliceward.scheduling.torus.lattice import Lattice
from sliceward.scheduling.torus.state import Site
from sliceward.scheduling.tree.ground import TreeGround
from sliceward.scheduling.tree.lie import Leaf
from sliceward.topology.ids import ChipId, ClusterId, HostId, LinkId, PodId
from sliceward.topology.torus import Torus
from tests.builders import NOW, a_fleet, gang_id
from tests.scheduling.grounds import V6E, pools
from tests.scheduling.tree.builders import LEVELS

if TYPE_CHECKING:
    from sliceward.scheduling.ground import Ground, Mix
    from sliceward.topology.generations import Shape
    from sliceward.topology.ids import GangId

Kind = Literal["cubes", "torus", "tree", "pools"]
KINDS: tuple[Kind, ...] = get_args(Kind)

SHAPES: dict[Kind, tuple[Shape, ...]] = {
    "cubes": ((4, 4, 4), (4, 4, 8), (2, 4, 4), (2, 2, 2)),
    "torus": ((2, 2, 1), (2, 2, 2), (2, 2, 4)),
    "tree": ((2, 2), (2, 4), (4, 4)),
    "pools": ((4, 4),),
}
WINDOWS = (Window(NOW + timedelta(hours=2), NOW + timedelta(hours=6)), Window(NOW + timedelta(hours=5), NOW + timedelta(hours=9)))


@dataclass(frozen=True)
class Small:
    """A fleet with gangs, and what each of them asks for."""

    kind: Kind
    snapshot: Snapshot
    requests: dict[GangId, Request]


def dice_of(seed: int) -> Random:
    return Random(seed)  # noqa: S311 (a story that can be told again)


@cache
def grounds_of(kind: Kind) -> tuple[Ground, ...]:
    """Give two blocks, pods or pool sets, or a tree of three racks."""
    match kind:
        case "cubes":
            fleet = a_fleet().with_cubes(4, block="p0").and_cubes(3, block="p1", prefix="more").build()
            pods = (PodId("c1", "p0"), PodId("c1", "p1"))
            return tuple(block_of(pod, fleet, [cube for cube in fleet.cubes.values() if cube.pod == pod]) for pod in pods)
        case "torus":
            return tuple(_pod(f"p{n}", shape) for n, shape in enumerate([(4, 4, 4), (4, 2, 2)]))
        case "tree":
            leaves = [_leaf(n, f"r{rack}") for n, rack in enumerate([0] * 5 + [1] * 4 + [2] * 3)]
            return (TreeGround.of(ClusterId("c1"), V6E, leaves, levels=LEVELS, unit=LEVELS[1]),)
        case "pools":
            return pools(3), pools(3, pod="b1", prefix="other")


def _pod(name: str, shape: Shape) -> TorusGround:
    lattice = Lattice(Torus(shape, tuple(length > 2 for length in shape)), (2, 2, 1))
    hosts = tuple(HostId("c1", f"{name}-h{number:02}") for number in range(lattice.hosts.size))
    return TorusGround(PodId("c1", name), "tpu7x", Site(lattice, hosts))


def _leaf(number: int, rack: str) -> Leaf:
    return Leaf(HostId("c1", f"h{number}"), 4, dict(zip(LEVELS, ("b0", rack, f"h{number}"), strict=True)))


def a_small_fleet(seed: int, kind: Kind, *, gangs: int = 3) -> Small:
    """Give a fleet in which some gangs found their places and nothing has failed yet."""
    dice = dice_of(seed)
    costs = Costs(
        anchor=dice.choice((0.0, 3_600.0, 50_000.0)), slowdown=dice.choice((0.0, 0.01, 0.2)), queue=dice.choice((600.0, DAY))
    )
    generation = grounds_of(kind)[0].generation
    snapshot = Snapshot.of(NOW, grounds_of(kind), mix={generation: a_mix(dice, kind)}, costs=costs)
    small = Small(kind, snapshot, {})
    for number in range(dice.randint(1, gangs)):
        small = with_a_gang(dice, small, f"g{number}")
    return small


def a_mix(dice: Random, kind: Kind) -> Mix:
    weights = [dice.random() for _ in SHAPES[kind]]
    return tuple((shape, weight / sum(weights)) for shape, weight in zip(SHAPES[kind], weights, strict=True))


def with_a_gang(dice: Random, small: Small, name: str) -> Small:
    """Let one more gang sit down, if it finds a place."""
    gang, request = a_gang(dice, small, name)
    plan = planned(small.snapshot, request)
    if plan is None:
        return small
    held = tuple(HeldSlice(each.role, each.index, each.shape, each.hosts) for each in plan.slices)
    running = replace(gang, slices=held)
    return replace(small, snapshot=small.snapshot.with_gang(running), requests=small.requests | {gang.id: request})


def a_gang(dice: Random, small: Small, name: str) -> tuple[Running, Request]:
    generation = grounds_of(small.kind)[0].generation
    shape, count = dice.choice(SHAPES[small.kind]), dice.choice((1, 1, 2, 3))
    elastic = count > 1 and dice.random() < 0.4
    gang = Running(
        gang_id(name),
        dice.choice(("red", "blue")),
        generation,
        (),
        priority=dice.choice((0, 0, 1)),
        checkpointed=dice.choice((None, small.snapshot.now - timedelta(seconds=dice.choice((30, 300, 5_000))))),
        checkpoints_every=dice.choice((None, 600.0, 3_600.0)),
        step=dice.choice((None, 4.0)),
        restarts_in=dice.choice((None, 60.0, 1_200.0)),
        fewest=1 if elastic else 0,
        most=count if elastic else 0,
        lasts=dice.choice((None, 3_600.0, 10 * DAY)),
    )
    worst = dice.choice((Grade.HEALTHY, Grade.HEALTHY, Grade.DEGRADED))
    slices = tuple(SliceAsked("slice", index, Want(generation, shape, worst=worst)) for index in range(count))
    return gang, Request(gang.id, gang.tenant, slices, priority=gang.priority, lasts=gang.lasts)


def a_standing(dice: Random, grades: tuple[Grade, ...]) -> Standing:
    grade = dice.choice(grades)
    if grade is Grade.HEALTHY and dice.random() < 0.5:
        return PLAIN
    return Standing(grade, "seen", dice.choice((0.0, 0.0, 0.01, 0.2)), dice.choice((None, None, None, *WINDOWS)))


def with_failures(dice: Random, small: Small, gang: GangId, *, most: int = 4) -> Small:
    """Let parts fail at once: some under the gang, some elsewhere; now and then a link or a switch."""
    snapshot = small.snapshot
    mine = snapshot.gangs[gang].hosts
    everywhere = sorted(snapshot.ground_of)
    failed = {
        dice.choice(mine): Standing(dice.choice((Grade.SICK, Grade.DEGRADED)), "failed") for _ in range(dice.randint(0, most))
    }
    known = {dice.choice(everywhere): a_standing(dice, tuple(Grade)) for _ in range(dice.randint(0, len(everywhere) // 4))}
    snapshot = snapshot.with_standings(known | failed)
    if dice.random() < 0.2:
        ground = snapshot.ground_of[dice.choice(mine)]
        link = a_link(dice, snapshot.grounds[ground])
        snapshot = snapshot.with_links(ground, [link] if link is not None else [])
    if small.kind == "cubes" and dice.random() < 0.1:
        snapshot = snapshot.with_switches(snapshot.ground_of[dice.choice(mine)], ["ocs-1"])
    return replace(small, snapshot=snapshot)


def a_link(dice: Random, ground: Ground) -> LinkId | None:
    """Give a link between neighbouring chips of a torus; where nobody can tell who is whose neighbour, of one host."""
    if isinstance(ground, TorusGround):
        lattice = ground.site.lattice
        one = dice.randrange(lattice.hosts.size)
        other = dice.choice(lattice.hosts.neighbours(lattice.hosts.coordinate(one)))
        ends = _touching(lattice, lattice.hosts.coordinate(one), other)
        seats = [ground.site.seats[lattice.hosts.index(place)] for place in (lattice.hosts.coordinate(one), other)]
        chips = (
            [ChipId("c1", host.name, chip) for host, chip in zip(seats, ends, strict=True) if host is not None] if ends else []
        )
        return LinkId.between(*chips) if chips else None
    host = dice.choice(sorted(ground.hosts))
    return LinkId.between(ChipId("c1", host.name, 0), ChipId("c1", host.name, 1))


def _touching(lattice: Lattice, one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, int] | None:
    for mine in range(lattice.chips_a_host):
        for theirs in range(lattice.chips_a_host):
            if lattice.chip_place(other, theirs) in lattice.chips.neighbours(lattice.chip_place(one, mine)):
                return mine, theirs
    return None
