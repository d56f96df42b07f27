"""What placement on cubes with switches takes and reaches: whom to displace, the bound by failures, a mixed stream."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import LinearConstraint, milp

from benchmarks.claim import Claim, median_seconds, setup
from sliceward.scheduling.cubes.block import block_of
from sliceward.scheduling.ground import Want
from sliceward.scheduling.occupancy import Grade, Occupancy, Standing
from sliceward.scheduling.place import planned
from sliceward.scheduling.request import Request, SliceAsked
from sliceward.scheduling.snapshot import Snapshot
from sliceward.topology.ids import GangId, PodId
from sliceward.topology.plan import fleet_of
from sliceward.topology.planned import ClusterPlan, CubePlan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sliceward.scheduling.cubes.block import Block
    from sliceward.topology.ids import HostId

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CUBE = (4, 4, 4)
SICK = Standing(Grade.SICK, "down")
INSTANCES, PATTERNS = 60, 1_000
SHARED, TAKEN, PRICED, DOWN = 0.4, 0.95, 0.9, 0.005
"""Shares of the cubes of single ones that two gangs share, of cubes that are taken, of gangs that may go, of hosts that are down."""


def a_block(cubes: int, name: str = "b00") -> Block:
    """Give a block of sound cubes on which nobody sits."""
    plans = tuple(CubePlan(f"{name}-cube-{n:03}", CUBE, classic=False, block=name) for n in range(cubes))
    fleet = fleet_of(ClusterPlan("c", "tpu7x", 4, plans, ()), NOW)
    return block_of(PodId("c", name), fleet, fleet.cubes.values())


def a_gang(name: str) -> GangId:
    """Give the id of a gang."""
    return GangId("c", "ml", "JobSet", name)


def crowded(block: Block, draw: random.Random) -> tuple[Block, dict[GangId, float]]:
    """Fill a block: gangs of 1 to 24 cubes, cubes that small ones share, one host in two hundred down, one gang in ten protected."""
    cubes = list(block.parts.values())
    draw.shuffle(cubes)
    holders: dict[HostId, GangId] = {}
    while cubes:
        size = draw.choice((1, 1, 2, 2, 4, 4, 8, 16, 24))
        mine, cubes = cubes[:size], cubes[size:]
        name = f"g{len(cubes):03}"
        if size == 1 and draw.random() < SHARED:
            for n, host in enumerate(mine[0]):
                holders[host] = a_gang(f"{name}-{n % 2}")
        elif draw.random() < TAKEN:
            holders |= {host: a_gang(name) for hosts in mine for host in hosts}
    down = {host: SICK for host in block.hosts if draw.random() < DOWN}
    prices = {gang: draw.uniform(1e3, 1e8) for gang in sorted(set(holders.values())) if draw.random() < PRICED}
    return block.changed(Occupancy(holders, down), list(block.hosts)), prices


def by_integer_program(block: Block, prices: Mapping[GangId, float], need: int) -> float | None:
    """Find the least price by an integer program: a variable a gang and one a cube, which is free if all that sit there go."""
    known = block.occupancy
    crews = []
    for hosts in block.parts.values():
        crew = {known.holders[host] for host in hosts if host in known.holders}
        if all(host not in known.standings for host in hosts) and crew <= prices.keys():
            if crew:
                crews.append(crew)
            else:
                need -= 1
    if need <= 0 or need > len(crews):
        return 0.0 if need <= 0 else None
    gangs = sorted(set().union(*crews))
    place = {gang: n for n, gang in enumerate(gangs)}
    rows = np.zeros((sum(map(len, crews)), len(gangs) + len(crews)))
    pairs = ((place[gang], len(gangs) + n) for n, crew in enumerate(crews) for gang in sorted(crew))
    for row, (gang, cube) in enumerate(pairs):
        rows[row, gang], rows[row, cube] = 1, -1
    total = np.concatenate([np.zeros(len(gangs)), np.ones(len(crews))])
    cost = np.concatenate([[prices[gang] for gang in gangs], np.zeros(len(crews))])
    limits = [LinearConstraint(rows, lb=0), LinearConstraint(total[None, :], lb=need)]
    found = milp(cost, constraints=limits, integrality=np.ones(len(cost)), bounds=(0, 1), options={"mip_rel_gap": 0})
    return float(found.fun) if found.success else None


def victims() -> Claim:
    """Time the exact minimum on crowded blocks, and hold each against the integer program's."""
    draw, empty = random.Random(7), a_block(144)  # noqa: S311 (a story told again)
    ours, theirs, gangs = [], [], []
    for _ in range(INSTANCES):
        block, prices = crowded(empty, draw)
        cubes = draw.choice((8, 16, 32, 48, 64, 96))
        want = Want("tpu7x", (4, 4, 4 * cubes))
        found, least = block.victims(want, prices), by_integer_program(block, prices, cubes)
        if (found is None) != (least is None) or (found and least is not None and abs(found.cost - least) > 1e-6 * least):
            raise SystemExit(f"victims: {found and found.cost} here, {least} by the integer program")
        ours.append(median_seconds(lambda: block.victims(want, prices), times=9))  # noqa: B023 (called at once)
        theirs.append(median_seconds(lambda: by_integer_program(block, prices, cubes), times=1))  # noqa: B023 (called at once)
        gangs.append(len(set(block.occupancy.holders.values())))
    return Claim(
        claim="victims_144_cubes_ms",
        value=max(ours) * 1e3,
        unit="ms",
        goal=5.0,
        better="lower",
        reference="scipy milp (HiGHS), the slowest too",
        reference_value=max(theirs) * 1e3,
        setup=setup(f"the slowest of {INSTANCES} blocks of 144 cubes with {min(gangs)} to {max(gangs)} gangs, all equal to milp"),
    )


def bound_reached() -> Claim:
    """Ask for as many slices as the healthy cubes are good for, all at once, and for one more."""
    draw = random.Random(3)  # noqa: S311 (a story told again)
    blocks = {cubes: a_block(cubes) for cubes in (64, 144)}
    reached = slices = 0
    for _ in range(PATTERNS):
        empty, size = blocks[draw.choice((64, 144))], draw.choice((1, 2, 4, 8, 16, 32, 48, 64))
        availability = draw.choice((0.99, 0.995, 0.999))
        down = {host: SICK for host in empty.hosts if draw.random() > availability}
        healthy = sum(down.keys().isdisjoint(hosts) for hosts in empty.parts.values())
        snapshot = Snapshot.of(NOW, [empty]).with_standings(down)
        count = healthy // size
        plan = planned(snapshot, _asking(size, count)) if count else None
        hosts = Counter(host for each in plan.slices for host in each.hosts) if plan is not None else Counter[object]()
        sound = len(hosts) == 16 * size * count and down.keys().isdisjoint(hosts) and set(hosts.values()) <= {1}
        reached += sound and planned(snapshot, _asking(size, count + 1)) is None
        slices += count
    return Claim(
        claim="bound_reached",
        value=reached / PATTERNS,
        unit="share",
        goal=1.0,
        better="higher",
        reference="floor(healthy cubes / n) slices",
        reference_value=1.0,
        setup=setup(
            f"{PATTERNS} patterns on 64 and 144 cubes, host availability 0.99 to 0.999, {slices} slices of 1 to 64 cubes"
        ),
    )


def _asking(size: int, count: int) -> Request:
    want = Want("tpu7x", (4, 4, 4 * size))
    return Request(a_gang("new"), "all", tuple(SliceAsked("slice", n, want) for n in range(count)))


CLAIMS: Mapping[str, Callable[[], Claim]] = {
    "victims_144_cubes_ms": victims,
    "bound_reached": bound_reached,
}
