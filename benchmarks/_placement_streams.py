"""Placement on streams of jobs over pods that fail: how long a decision takes, and how much of the chips is used beside Slurm's rule."""

from __future__ import annotations

import gc
import random
from functools import cache
from math import prod
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from benchmarks._placement_mixed import OnCubes
from benchmarks._rules import NOW, BySlurm, Ours
from benchmarks.claim import Claim, setup
from benchmarks.streams import Recipe, drawn, play
from sliceward.scheduling.costs import Costs
from sliceward.scheduling.ground import Terms, Want
from sliceward.scheduling.place import place
from sliceward.scheduling.plan import NoFit, Plan
from sliceward.scheduling.snapshot import Snapshot
from sliceward.scheduling.torus.anchors import anchors
from sliceward.scheduling.torus.board import places_on
from sliceward.scheduling.torus.footprint import footprint
from sliceward.scheduling.torus.ground import TorusGround
from sliceward.scheduling.torus.lattice import Lattice
from sliceward.scheduling.torus.state import Site
from sliceward.scheduling.tree.ground import TreeGround
from sliceward.scheduling.tree.lie import Leaf
from sliceward.topology.ids import ClusterId, GangId, HostId, PodId
from sliceward.topology.torus import Torus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sliceward.scheduling.request import Request
    from sliceward.topology.generations import Shape

SEEDS = range(10)
AVAILABILITIES = (0.99, 0.995, 0.999)
PODS = 16
DECIDED = 1_500
"""Jobs of a stream over 16 pods: they fill while it lasts, so that empty, half full and full pods are all among them."""

_HUNDREDTH = 0.99


class OnTori(Ours):
    """Our placement on tori. ``refused``: of each decision, whether it was a refusal, which says why and what would help."""

    def __init__(self, recipe: Recipe) -> None:
        """Build the pods."""
        super().__init__(recipe)
        self.refused: list[bool] = []

    def decided(self, request: Request) -> Plan | None:
        """Give a plan, or say why there is none."""
        return _told(self, request)


class OnBlocks(OnCubes):
    """Our placement on cubes that switches join, with refusals."""

    def __init__(self, recipe: Recipe) -> None:
        """Build the pods."""
        super().__init__(recipe)
        self.refused: list[bool] = []

    def decided(self, request: Request) -> Plan | None:
        """Give a plan, or say why there is none."""
        return _told(self, request)


class InDomains(OnTori):
    """Our placement on hosts of which labels alone are known: each pod is a domain that no slice leaves."""

    def __init__(self, recipe: Recipe) -> None:
        """Lay out the tree."""
        super().__init__(recipe)
        leaves = (
            Leaf(host, recipe.chips_a_host, {"pod": f"p{pod:02}", "host": host.name})
            for pod, hosts in enumerate(self.hosts)
            for host in hosts
        )
        tree = TreeGround.of(ClusterId("c"), recipe.generation, leaves, levels=("pod", "host"), unit="pod")
        self.snapshot = Snapshot.of(NOW, [tree], mix={recipe.generation: recipe.shares})


def _told(rule: OnTori | OnBlocks, request: Request) -> Plan | None:
    answer = place(rule.snapshot, request)
    rule.refused.append(isinstance(answer, NoFit))
    return answer if isinstance(answer, Plan) else None


class _Timed(NamedTuple):
    """Decisions of one stream in seconds, by whether they were refusals, and where it was."""

    placed: tuple[float, ...]
    refused: tuple[float, ...]
    where: str


@cache
def _timed(kind: str, seed: int) -> _Timed:
    """Time each decision of a stream over 16 pods; the seeds take turns with the availabilities."""
    recipe = Recipe(pods=PODS, jobs=DECIDED, seed=seed, availability=AVAILABILITIES[seed % len(AVAILABILITIES)])
    rule = _KINDS[kind](recipe)
    gc.collect()
    gc.freeze()  # as the coordinator does with what it has read
    play(drawn(recipe), rule)
    gc.unfreeze()
    told = list(zip(rule.spent, rule.refused, strict=True))
    placed, refusals = (tuple(spent for spent, refused in told if refused is which) for which in (False, True))
    return _Timed(placed, refusals, f"{kind} seed {seed}")


def _slowest(spent: Sequence[float]) -> float:
    return sorted(spent)[int(len(spent) * _HUNDREDTH)] if spent else 0.0


_KINDS: Mapping[str, Callable[[Recipe], OnTori | OnBlocks]] = {"OnTori": OnTori, "OnBlocks": OnBlocks, "InDomains": InDomains}


def _streams() -> dict[str, list[_Timed]]:
    return {kind: [_timed(kind, seed) for seed in (SEEDS if kind == "OnTori" else SEEDS[:3])] for kind in _KINDS}


WHERE = f"{PODS} pods of 9,216 chips, 2,304 hosts each; own time on one core"


def decisions() -> Claim:
    """Time the decisions that place a gang, and say how long all take, refusals among them."""
    streams = _streams()
    worst = max((timed for each in streams.values() for timed in each), key=lambda timed: _slowest(timed.placed))
    return Claim(
        claim="place_37k_hosts_p99_ms",
        value=_slowest(worst.placed) * 1e3,
        unit="ms",
        goal=10.0,
        better="lower",
        reference="the median decision of the same stream",
        reference_value=sorted(worst.placed)[len(worst.placed) // 2] * 1e3,
        setup=setup(
            f"{WHERE}; {len(worst.placed)} decisions of {worst.where} that placed a gang, the worst stream; "
            + "; ".join(
                f"{kind}: worst {max(_slowest(each.placed) for each in timed) * 1e3:.1f}, mean of {len(timed)} seeds "
                f"{fmean(_slowest(each.placed) for each in timed) * 1e3:.1f}, "
                f"refusals counted as well {max(_slowest([*each.placed, *each.refused]) for each in timed) * 1e3:.1f} ms"
                for kind, timed in streams.items()
            )
        ),
    )


def refusals() -> Claim:
    """Time the decisions that refuse a gang: why, what is in the way, and the smallest change that would help, proven."""
    streams = _streams()
    by_kind = {kind: [spent for each in timed for spent in each.refused] for kind, timed in streams.items()}
    slowest = {kind: _slowest(spent) for kind, spent in by_kind.items()}
    kind = max(slowest, key=lambda each: slowest[each])
    return Claim(
        claim="refuse_37k_hosts_p99_ms",
        value=slowest[kind] * 1e3,
        unit="ms",
        goal=50.0,
        better="lower",
        reference="the median refusal of the same kind",
        reference_value=sorted(by_kind[kind])[len(by_kind[kind]) // 2] * 1e3 if by_kind[kind] else 0.0,
        setup=setup(
            f"{WHERE}; reasons and the smallest change that would help among it; the worst is {kind}; "
            + "; ".join(f"{each}: {slowest[each] * 1e3:.1f} ms of {len(spent)}" for each, spent in by_kind.items())
        ),
    )


def beside_slurm() -> Claim:
    """Play every stream by both rules; the worst seed, its points averaged over the availabilities, is what counts."""
    points: dict[int, list[float]] = {}
    listed: dict[int, list[float]] = {}
    used = []
    for seed in SEEDS:
        for availability in AVAILABILITIES:
            recipe = Recipe(seed=seed, availability=availability)
            stream = drawn(recipe)
            ours, theirs = play(stream, Ours(recipe)).used, play(stream, BySlurm.of(recipe)).used
            as_listed = play(stream, BySlurm.of(recipe, turned=False)).used
            points.setdefault(seed, []).append(100 * (ours - theirs))
            listed.setdefault(seed, []).append(100 * (ours - as_listed))
            used.append(ours)
    worst = min(points, key=lambda seed: fmean(points[seed]))
    return Claim(
        claim="torus_vs_slurm_points",
        value=fmean(points[worst]),
        unit="points",
        goal=5.0,
        better="higher",
        reference="Slurm's rule with every orientation of every shape configured",
        reference_value=0.0,
        setup=setup(
            f"1,000 jobs on 16x24x24, seed {worst}, the worst of {len(SEEDS)} ("
            + ", ".join(f"{point:+.1f} at {a}" for point, a in zip(points[worst], AVAILABILITIES, strict=True))
            + f"); mean of all {fmean(map(fmean, points.values())):+.1f}, with shapes configured only as they are listed "
            f"{fmean(map(fmean, listed.values())):+.1f}; used {fmean(used):.3f} of all chips"
        ),
    )


LATTICE = Lattice(Torus((16, 16, 16), (True, True, True)), (4, 4, 4))
"""A pod of 64 cubes without switches, each cube one place."""

SIZES: tuple[Shape, ...] = ((4, 8, 8), (8, 8, 8), (8, 8, 16), (8, 16, 16))
PATTERNS = 100


def optimum_share() -> Claim:
    """Place as many slices of one size as fit on 64 cubes that fail, one after the other, beside the most that can be."""
    ours = best = 0
    for size in SIZES:
        for availability in AVAILABILITIES:
            draw = random.Random(f"{size} {availability}")  # noqa: S311 (a story told again)
            for _ in range(PATTERNS):
                whole = frozenset(n for n in range(64) if draw.random() < availability**16)
                ours += placed(size, whole) * prod(size)
                best += most(size, whole) * prod(size)
    return Claim(
        claim="torus_optimum_share",
        value=ours / best,
        unit="of the optimum",
        goal=0.98,
        better="higher",
        reference="the most slices that fit, by an integer program",
        reference_value=1.0,
        setup=setup(
            f"4x4x4 cubes, {PATTERNS} patterns each of sizes {', '.join(map(str, map(prod, SIZES)))} and three availabilities"
        ),
    )


def placed(size: Shape, whole: frozenset[int]) -> int:
    """Count the slices that we place one after the other, each where it takes the fewest places from the next."""
    hosts = tuple(HostId("c", f"cube-{n}") if n in whole else None for n in range(64))
    pod = TorusGround(PodId("c", "p"), "tpu-v4-podslice", Site(LATTICE, hosts))
    want, terms = Want("tpu-v4-podslice", size), Terms(Costs(), ((size, 1.0),), NOW, 3600.0)
    count = 0
    while (seat := pod.best(want, terms)) is not None:
        pod = pod.changed(pod.occupancy.taken(seat.hosts, GangId("c", "ml", "JobSet", "all")), seat.hosts)
        count += 1
    return count


def most(size: Shape, whole: frozenset[int]) -> int:
    """Count the most slices that fit, exactly."""
    torus, boxes = LATTICE.hosts, LATTICE.boxes(size)
    found = anchors(torus, frozenset(boxes), sum(1 << n for n in whole), {})
    seats = [footprint(torus, box, at) for box in boxes for at in places_on(torus, found[box])]
    if not seats:
        return 0
    holds = np.array([[seat >> n & 1 for seat in seats] for n in range(64)], float)
    limits = LinearConstraint(holds, -np.inf, 1)
    found_most = milp(-np.ones(len(seats)), constraints=limits, integrality=np.ones(len(seats)), bounds=Bounds(0, 1))
    return round(-float(found_most.fun))


CLAIMS: Mapping[str, Callable[[], Claim]] = {
    "place_37k_hosts_p99_ms": decisions,
    "refuse_37k_hosts_p99_ms": refusals,
    "torus_vs_slurm_points": beside_slurm,
    "torus_optimum_share": optimum_share,
}
