"""The rules that streams are played by: ours, through the same functions that the coordinator calls, and Slurm's."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from benchmarks._slurm import Choice, Slurm
from sliceward.scheduling.ground import Want
from sliceward.scheduling.occupancy import Grade, Standing
from sliceward.scheduling.place import planned
from sliceward.scheduling.request import Request, SliceAsked
from sliceward.scheduling.snapshot import HeldSlice, Running, Snapshot
from sliceward.scheduling.torus.ground import TorusGround
from sliceward.scheduling.torus.state import Site
from sliceward.topology.ids import GangId, HostId, PodId

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.streams import Flip, Job, Placer, Recipe
    from sliceward.scheduling.plan import Plan
    from sliceward.topology.generations import Shape

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SICK = Standing(Grade.SICK, "down")
WELL = Standing()


class Ours:
    """Our placement on tori. ``spent``: seconds of this process's own time that each decision took."""

    def __init__(self, recipe: Recipe) -> None:
        """Build the pods."""
        self.generation = recipe.generation
        self.hosts = [[HostId("c", f"p{pod}-h{n}") for n in range(recipe.lattice.hosts.size)] for pod in range(recipe.pods)]
        grounds = (
            TorusGround(PodId("c", f"p{pod:02}"), recipe.generation, Site(recipe.lattice, tuple(hosts)))
            for pod, hosts in enumerate(self.hosts)
        )
        self.snapshot = Snapshot.of(NOW, grounds, mix={recipe.generation: recipe.shares})
        self.spent: list[float] = []

    def place(self, job: Job) -> bool:
        """Place it, and let it sit down."""
        gang = _gang(job)
        request = Request(gang, "all", (SliceAsked("main", 0, Want(self.generation, job.shape)),))
        began = time.process_time()
        plan = self.decided(request)
        self.spent.append(time.process_time() - began)
        if plan is None:
            return False
        held = tuple(HeldSlice(each.role, each.index, each.shape, each.hosts) for each in plan.slices)
        self.snapshot = self.snapshot.with_gang(Running(gang, "all", self.generation, held))
        return True

    def decided(self, request: Request) -> Plan | None:
        """Give a plan, if there is one."""
        return planned(self.snapshot, request)

    def leave(self, job: Job) -> None:
        """Let it go."""
        self.snapshot = self.snapshot.without_gang(_gang(job))

    def flip(self, flip: Flip) -> int | None:
        """Mark the host."""
        host = self.hosts[flip.pod][flip.host]
        ground = self.snapshot.grounds[self.snapshot.ground_of[host]]
        holder = ground.occupancy.holders.get(host)
        self.snapshot = self.snapshot.with_standing(host, WELL if flip.up else SICK)
        return int(holder.name.removeprefix("j")) if holder is not None else None


def _gang(job: Job) -> GangId:
    return GangId("c", "ml", "JobSet", f"j{job.number}")


@dataclass
class BySlurm:
    """Slurm's rule; every way in which a shape may lie is configured."""

    rule: Slurm
    idle: list[int]
    up: list[int]
    held: dict[int, Choice] = field(default_factory=dict)

    @classmethod
    def of(cls, recipe: Recipe, *, turned: bool = True) -> BySlurm:
        """Lay out the anchors; ``turned``: of every way in which a shape may lie, else only of the first that is possible."""
        lattice, full = recipe.lattice, (1 << recipe.lattice.hosts.size) - 1
        boxes: dict[Shape, tuple[Shape, ...]] = {
            shape: lattice.boxes(shape)[: None if turned else 1] for shape, _ in recipe.shares
        }
        return cls(Slurm(lattice.hosts, boxes), [full] * recipe.pods, [full] * recipe.pods)

    def place(self, job: Job) -> bool:
        """Choose an anchor."""
        choice = self.rule.choose(job.shape, [free & up for free, up in zip(self.idle, self.up, strict=True)])
        if choice is None:
            return False
        self.idle[choice.torus] &= ~choice.nodes
        self.held[job.number] = choice
        return True

    def leave(self, job: Job) -> None:
        """Free its nodes."""
        choice = self.held.pop(job.number)
        self.idle[choice.torus] |= choice.nodes

    def flip(self, flip: Flip) -> int | None:
        """Mark the node."""
        node = 1 << flip.host
        self.up[flip.pod] = self.up[flip.pod] | node if flip.up else self.up[flip.pod] & ~node
        return next((n for n, choice in self.held.items() if choice.torus == flip.pod and choice.nodes & node), None)


RULES: Mapping[str, Callable[[Recipe], Placer]] = {"ours": Ours, "slurm": BySlurm.of}
