"""What placement on a torus takes: every anchor of a box and of a catalogue, cold, and after a flip."""

from __future__ import annotations

import gc
import os
import random
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from itertools import combinations_with_replacement, permutations
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks._rules import Ours
from benchmarks._slurm import fixed_anchors, scan
from benchmarks.claim import Claim, median_seconds, setup
from benchmarks.streams import Recipe, drawn, play
from sliceward.scheduling.ground import Want
from sliceward.scheduling.occupancy import Grade, Occupancy, Standing
from sliceward.scheduling.torus.anchors import anchors
from sliceward.scheduling.torus.board import board_of
from sliceward.scheduling.torus.ground import TorusGround
from sliceward.scheduling.torus.outlook import alive, prospect
from sliceward.scheduling.torus.state import Site
from sliceward.topology.ids import HostId, PodId
from sliceward.topology.torus import Torus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from sliceward.topology.generations import Shape

POD = Torus((16, 24, 24), (True, True, True))
LARGE = Torus((32, 48, 64), (True, True, True))
BOX: Shape = (4, 8, 8)
DOWN = 0.01
TIMES = 300


def some_free(torus: Torus, seed: int = 1) -> int:
    """Give a board with one place in a hundred down."""
    draw = random.Random(seed)  # noqa: S311 (a story told again)
    return board_of(torus, (torus.coordinate(n) for n in range(torus.size) if draw.random() >= DOWN))


def by_summed_area(grid: NDArray[np.bool_], box: Shape) -> NDArray[np.bool_]:
    """Find the anchors by a summed-area table: of what is down in the box from each place, over the edges of the torus."""
    down = np.pad(~grid, [(0, length - 1) for length in box], mode="wrap")
    table = np.pad(down.astype(np.int32).cumsum(0).cumsum(1).cumsum(2), [(1, 0)] * 3)
    a, b, c = box
    total = table[a:, b:, c:] - table[:-a, b:, c:] - table[a:, :-b, c:] - table[a:, b:, :-c]
    total += table[:-a, :-b, c:] + table[:-a, b:, :-c] + table[a:, :-b, :-c] - table[:-a, :-b, :-c]
    found: NDArray[np.bool_] = total == 0
    return found


def one_shape(name: str, torus: Torus, goal: float) -> Claim:
    """Time all anchors of one box, and hold them against the table's."""
    free, boxes = some_free(torus), frozenset({BOX})
    bits = np.frombuffer(free.to_bytes(torus.size // 8, "little"), np.uint8)
    grid = np.unpackbits(bits, bitorder="little").reshape(torus.shape[::-1]).astype(np.bool_)
    backwards = BOX[::-1]
    found = by_summed_area(grid, backwards)
    ours = anchors(torus, boxes, free, {})[BOX]
    if ours != int.from_bytes(np.packbits(found, bitorder="little").tobytes(), "little"):
        raise SystemExit(f"{name}: two ways, two answers")
    fixed = fixed_anchors(torus, BOX)
    slurm = median_seconds(lambda: scan(fixed, free), times=TIMES)
    return Claim(
        claim=name,
        value=median_seconds(lambda: anchors(torus, boxes, free, {}), times=TIMES) * 1e6,
        unit="us",
        goal=goal,
        better="lower",
        reference=f"numpy summed-area table (Slurm's scan of {len(fixed)} fixed anchors: {slurm * 1e6:.1f} us)",
        reference_value=median_seconds(lambda: by_summed_area(grid, backwards), times=TIMES // 10) * 1e6,
        setup=setup(
            f"{'x'.join(map(str, BOX))} in {'x'.join(map(str, torus.shape))} chips, one in a hundred down: "
            f"{ours.bit_count()} anchors, Slurm's grid has {len(scan(fixed, free))}"
        ),
    )


def thirty_shapes(torus: Torus) -> frozenset[Shape]:
    """Give the ways in which thirty legal shapes may lie: those below a cube and the smallest made of cubes."""
    small = [(2, 2, 1), (2, 2, 2), (2, 2, 4), (2, 4, 4)]
    whole = sorted(combinations_with_replacement(range(4, max(torus.shape) + 1, 4), 3), key=lambda shape: (prod(shape), shape))
    return frozenset(
        lying
        for shape in small + whole[:26]
        for lying in permutations(shape)
        if all(length <= room for length, room in zip(lying, torus.shape, strict=True))
    )


def catalogue() -> Claim:
    """Time the maps of thirty shapes."""
    free, boxes = some_free(POD), thirty_shapes(POD)
    return Claim(
        claim="catalogue_9216_ms",
        value=median_seconds(lambda: anchors(POD, boxes, free, {}), times=TIMES) * 1e3,
        unit="ms",
        goal=5.0,
        better="lower",
        reference="one shape at a time",
        reference_value=median_seconds(lambda: [anchors(POD, frozenset({box}), free, {}) for box in boxes], times=30) * 1e3,
        setup=setup(f"30 shapes in {len(boxes)} orientations, by chips, 16x24x24"),
    )


def flip() -> Claim:
    """Time a host that falls sick: the pod, and all maps of all legal shapes, right again."""
    recipe = Recipe()
    seen = prospect(recipe.lattice, recipe.shares)
    hosts = tuple(HostId("c", f"h{n}") for n in range(recipe.lattice.hosts.size))
    draw = random.Random(1)  # noqa: S311 (a story told again)
    sick = Standing(Grade.SICK, "down")
    occupancy = Occupancy(standings={host: sick for host in hosts if draw.random() < DOWN})
    pod = TorusGround(PodId("c", "p"), recipe.generation, Site(recipe.lattice, hosts), occupancy)

    def anew() -> None:
        alive.cache_clear()
        replace(pod, occupancy=occupancy).maps(seen)

    cold = median_seconds(anew, times=30)
    took = []
    pod.maps(seen)
    for number in draw.sample(range(len(hosts)), TIMES):
        began = time.perf_counter()
        changed = occupancy.marked(hosts[number], sick)
        pod.changed(changed, (hosts[number],)).maps(seen)
        took.append(time.perf_counter() - began)
    return Claim(
        claim="flip_host_us",
        value=statistics.median(took) * 1e6,
        unit="us",
        goal=200.0,
        better="lower",
        reference="all of the pod read anew",
        reference_value=cold * 1e6,
        setup=setup(f"{len(recipe.shares)} shapes in {len(seen.boxes)} orientations by hosts, 16x24x24, another host each time"),
    )


def memory() -> Claim:
    """Measure what a snapshot of 100,000 chips takes with all that it has found out, gangs on it, in a process of its own."""
    script = "from benchmarks._placement_torus import hold; print(hold())"
    told = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)  # noqa: S603 (a line of our own)
    taken, before, chips, gangs = map(float, told.stdout.split())
    return Claim(
        claim="memory_100k_torus_mb",
        value=taken,
        unit="MB",
        goal=200.0,
        better="lower",
        reference="the same process before, with all of its code",
        reference_value=before,
        setup=setup(f"{chips:,.0f} chips in 11 pods by hosts, {gangs:.0f} gangs, every legal shape asked for once in each pod"),
    )


def hold() -> str:
    """Build it, ask for everything, and say what was taken in MB, what was there before, how many chips and gangs."""
    recipe = Recipe(pods=11, jobs=800)
    stream, before = drawn(recipe), _resident()
    rule = Ours(recipe)
    play(stream, rule)
    terms = rule.snapshot.terms(recipe.generation, None)
    for ground in rule.snapshot.grounds.values():
        for shape, _ in recipe.shares:
            ground.best(Want(recipe.generation, shape), terms)
    gc.collect()
    return f"{_resident() - before:.1f} {before:.1f} {recipe.pods * POD.size} {len(rule.snapshot.gangs)}"


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


CLAIMS: Mapping[str, Callable[[], Claim]] = {
    "anchors_9216_us": lambda: one_shape("anchors_9216_us", POD, 50.0),
    "anchors_98k_us": lambda: one_shape("anchors_98k_us", LARGE, 100.0),
    "catalogue_9216_ms": catalogue,
    "flip_host_us": flip,
    "memory_100k_torus_mb": memory,
}
