"""What a seed means: a small fleet with gangs, what breaks, who meddles, what is away and when, how calls fail, when we die.

Drawn from the seed alone; nothing here knows how the story goes. From ``calm`` on nothing bad happens any more, so that every story must
come to its end: whatever was handed to people is mended by them.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from sliceward.detectors.finding import Kind
from sliceward.playbooks.schema import Bound, BudgetSpec, Level, Mode, Rate
from sliceward.simulation.virtual.controllers import Times
from sliceward.simulation.virtual.way import Weather
from sliceward.topology.generations import GENERATIONS, Shape
from sliceward.topology.ids import ChipId, HostId, LinkId
from sliceward.topology.planned import ClusterPlan, CubePlan, GangPlan

if TYPE_CHECKING:
    from sliceward.topology.ids import PartId

CLUSTER = "c1"
GENERATION = "tpu-v6e-slice"
CHIPS = 4
SHAPES: tuple[Shape, ...] = ((2, 2), (2, 4), (4, 4))
"""Pools of one host, two and four."""
POOLS = (3, 3, 4)
"""How many there are: room to move a gang, and in the largest fleets for one of two slices."""
QUICK, SLOW = Times(), Times(pod_starts=(0.5, 3.0), pod_ends=(0.5, 7.0), node_lost=(4.0, 40.0))
OPTIONAL = ("keep-evidence", "checkpoint", "end-dead", "verify")
"""Steps of the shipped playbooks that a playbook may do without; end-dead is kept where a host may die."""
LAGS = ((0.05, 0.3), (0.5, 2.5), (1.0, 3.0), (1.0, 3.0))
"""How far mirrors lag behind, in seconds."""
PORTS = ("cluster", "store", "provider", "pager", "broker")


class Deed(StrEnum):
    """What people do."""

    CORDON = "cordon"
    UNCORDON = "uncordon"
    TAINT = "taint"
    LABEL = "label"
    PAUSE = "pause"
    RESUME = "resume"
    ABORT = "abort"
    SUSPEND_GANG = "suspend gang"
    FINISH_GANG = "finish gang"
    DELETE_GANG = "delete gang"
    DELETE_POD = "delete pod"
    REBOOT = "reboot"
    REPLACE = "replace"
    STRANGER = "stranger"


@dataclass(frozen=True, slots=True)
class Fault:
    """A part that breaks at ``at`` (seconds). ``heals``: by itself so much later; None: not before somebody repairs it."""

    at: float
    part: PartId
    kind: Kind
    heals: float | None = None
    flickers: bool = False


@dataclass(frozen=True, slots=True)
class Meddling:
    """Somebody does something to something: the host or gang of that number."""

    at: float
    deed: Deed
    whom: int


@dataclass(frozen=True, slots=True)
class Death:
    """The coordinator dies ``steps`` callbacks after ``at``; the next one begins ``pause`` seconds later.

    One that is ``frozen`` goes on so many seconds later, beside the next; a ``gentle`` one is told to end, and finishes.
    """

    at: float
    steps: int
    pause: float
    frozen: float = 0.0
    gentle: bool = False


@dataclass(frozen=True, slots=True)
class Scenario:
    """Everything that a seed decides beforehand.

    ``silent``: (from, to) in which the watcher says nothing. ``skipped``: steps that its playbooks do without.
    ``lease``: a coordinator that was frozen knows on waking that another may lead; without one only the store tells it.
    """

    seed: int
    plan: ClusterPlan
    faults: tuple[Fault, ...]
    meddling: tuple[Meddling, ...]
    deaths: tuple[Death, ...]
    weather: Weather
    silent: tuple[tuple[float, float], ...]
    budget: BudgetSpec
    mode: Mode
    calm: float
    skipped: frozenset[str] = frozenset()
    lease: bool = False
    lag: tuple[float, float] = (0.05, 0.8)
    times: Times = QUICK
    repair: tuple[float, float] = (0.1, 4.5)
    repairs_fail: float = 0.0
    agents_silent: float = 0.0


def drawn(seed: int) -> Scenario:
    """Give the scenario of a seed."""
    dice = random.Random(seed)  # noqa: S311 (the point is that it can be repeated)
    plan = _plan(dice)
    faults = _faults(dice, plan)
    calm = max(fault.at for fault in faults) + dice.uniform(8.0, 32.0)
    return Scenario(
        seed=seed,
        plan=plan,
        faults=faults,
        meddling=_meddling(dice, calm),
        deaths=_deaths(dice, calm),
        weather=_weather(dice, calm),
        silent=_silence(dice, calm),
        budget=_budget(dice, plan),
        mode=Mode.APPROVE if _happens(dice, 0.05) else Mode.ENFORCE,
        calm=calm,
        repair=(0.1, 20.0) if _happens(dice, 0.1) else (0.1, 4.5),
        times=SLOW if _happens(dice, 0.15) else QUICK,
        skipped=frozenset(step for step in OPTIONAL if _happens(dice, 0.6)),
        lease=seed % 2 == 1,
        lag=dice.choice(LAGS),
        repairs_fail=0.3 if _happens(dice, 0.05) else 0.0,
        agents_silent=0.3 if _happens(dice, 0.1) else 0.0,
    )


def hosts_of(plan: ClusterPlan) -> list[str]:
    """Give the names of all hosts of a plan."""
    kind = GENERATIONS[plan.generation]
    return [plan.host(cube.name, n) for cube in plan.cubes for n in range(kind.hosts(cube.shape, plan.chips_a_host))]


def _plan(dice: random.Random) -> ClusterPlan:
    shape = dice.choices(SHAPES, (64, 34, 2))[0]
    pools = dice.choice(POOLS)
    cubes = tuple(CubePlan(f"pool-{n}", shape, classic=True, block="block-0") for n in range(pools))
    slices = dice.choice((1, 1, 2)) if pools == max(POOLS) else 1
    kind = "Job" if slices == 1 and _happens(dice, 0.2) else "JobSet"
    gangs = [_gang("train", kind, shape, tuple(f"pool-{n}" for n in range(slices)))]
    if _happens(dice, 0.3) and slices + 1 < pools:
        gangs.append(_gang("other", "JobSet", shape, (f"pool-{slices}",)))
    return ClusterPlan(CLUSTER, GENERATION, CHIPS, cubes, tuple(gangs))


def _gang(name: str, kind: str, shape: Shape, on: tuple[str, ...]) -> GangPlan:
    return GangPlan(
        name=name, namespace="ml", kind=kind, slices=len(on), topology=shape, on=on, tenant=f"team-{name}", exclusive=kind == "JobSet"
    )  # fmt: skip


def _faults(dice: random.Random, plan: ClusterPlan) -> tuple[Fault, ...]:
    count = dice.choices((1, 2, 3), (80, 16, 4))[0]
    found: list[Fault] = []
    at = 1.0
    for _ in range(count):
        pool = dice.choice(plan.cubes)
        part, kind = _part(dice, plan, pool)
        if any(one.part == part for one in found):
            continue
        heals = dice.uniform(1.0, 40.0) if _happens(dice, 0.08) else None
        found.append(Fault(at, part, kind, heals, flickers=_happens(dice, 0.06)))
        at += dice.choice((0.0, 0.3, 8.0, 40.0)) * dice.random()
    return tuple(found)


def _part(dice: random.Random, plan: ClusterPlan, pool: CubePlan) -> tuple[PartId, Kind]:
    number = GENERATIONS[plan.generation].hosts(pool.shape, plan.chips_a_host)
    host = plan.host(pool.name, dice.randrange(number))
    kind = dice.choice((Kind.CHIP_LOST, Kind.CHIP_LOST, Kind.HOST_LOST, Kind.ICI_LINK_DEGRADED, Kind.HBM_UNCORRECTABLE))
    if kind is Kind.HOST_LOST:
        return HostId(plan.name, host), kind
    if kind is Kind.ICI_LINK_DEGRADED:
        other = plan.host(pool.name, (int(host[-2:]) + 1) % number)
        return LinkId.between(ChipId(plan.name, host, 1), ChipId(plan.name, other, 0)), kind
    return ChipId(plan.name, host, dice.randrange(CHIPS)), kind


def _deaths(dice: random.Random, calm: float) -> tuple[Death, ...]:
    count = dice.choices((0, 1, 2, 3), (26, 60, 11, 3))[0]
    found = []
    for _ in range(count):
        frozen = dice.uniform(5.0, 60.0) if _happens(dice, 0.15) else 0.0
        pause = dice.uniform(0.1, 5.0) if _happens(dice, 0.8) else dice.uniform(5.0, 60.0)
        found.append(Death(dice.uniform(0.0, calm), dice.randrange(40), pause, frozen, gentle=_happens(dice, 0.15)))
    return tuple(sorted(found, key=lambda death: death.at))


def _weather(dice: random.Random, calm: float) -> Weather:
    rough = _happens(dice, 0.5)
    rates = {port: dice.choice((0.0, 0.02, 0.1)) for port in PORTS} if rough else {}
    away = {port: _windows(dice, calm, 0.06, (1.0, 45.0)) for port in PORTS}
    away["watch"] = _windows(dice, calm, 0.1, (1.0, 30.0))
    return Weather(rates, away, calm)


def _windows(dice: random.Random, calm: float, share: float, length: tuple[float, float]) -> tuple[tuple[float, float], ...]:
    if not _happens(dice, share):
        return ()
    begin = dice.uniform(0.0, calm)
    return ((begin, min(calm, begin + dice.uniform(*length))),)


def _silence(dice: random.Random, calm: float) -> tuple[tuple[float, float], ...]:
    """Draw when the watcher says nothing; it may outlast the calm, for all that is known then grows old."""
    if not _happens(dice, 0.1):
        return ()
    begin = dice.uniform(0.0, calm)
    return ((begin, begin + dice.uniform(5.0, 150.0)),)


def _meddling(dice: random.Random, calm: float) -> tuple[Meddling, ...]:
    if _happens(dice, 0.6):
        return ()
    deeds = list(Deed)
    gentle = (Deed.CORDON, Deed.TAINT, Deed.LABEL, Deed.UNCORDON)
    count = dice.randrange(1, 4)
    found = [
        Meddling(dice.uniform(0.0, calm), dice.choice(gentle if _happens(dice, 0.6) else deeds), dice.randrange(100))
        for _ in range(count)
    ]
    return tuple(sorted(found, key=lambda one: one.at))


def _budget(dice: random.Random, plan: ClusterPlan) -> BudgetSpec:
    """Bounds that bite on so small a fleet; one pool may always leave."""
    tight = _happens(dice, 0.4)
    pool = len(hosts_of(plan)) // len(plan.cubes)
    rate = Rate(max=dice.choice((1, 2)), window=timedelta(seconds=dice.choice((30, 60)))) if tight else None
    return BudgetSpec(
        runs=Level(cluster=Bound(max=dice.choice((1, 1, 2)) if tight else 2)),
        hosts=Level(cluster=Bound(max=pool * (dice.choice((1, 2)) if tight else len(plan.cubes)))),
        rate=rate,
        cooldown=timedelta(seconds=dice.choice((10, 40)) if tight else 10),
    )


def _happens(dice: random.Random, share: float) -> bool:
    return dice.random() < share
