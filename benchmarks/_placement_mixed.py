"""How much of a block of cubes a mixed stream can use: what jobs hold, and what a random request of the mix could still take.

A request that is refused leaves free chips unusable to it (Weng et al., "Beware of Fragmentation", ATC 2023): of each shape, those
that as many slices as fit would leave.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from benchmarks._placement_cubes import CUBE, NOW, a_block
from benchmarks._rules import Ours
from benchmarks.claim import Claim, setup
from benchmarks.streams import Recipe, drawn, play
from sliceward.scheduling.ground import Want
from sliceward.scheduling.snapshot import Snapshot
from sliceward.topology.torus import index_at

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.streams import Flip
    from sliceward.topology.generations import Shape
    from sliceward.topology.ids import HostId
    from sliceward.topology.torus import Coordinate

SEEDS = 10


class OnCubes(Ours):
    """Our placement on cubes that switches join; the places of hosts are those of the same pod as a torus.

    Summed over seconds: ``free``, chips that a random request could take; ``idle``, those in cubes that are free as a whole;
    ``whole``: cubes with no host down, held or not.
    """

    def __init__(self, recipe: Recipe) -> None:
        """Build the pods."""
        self.generation, self.spent = recipe.generation, []
        self.hosts, grounds = [], []
        torus = recipe.lattice.hosts
        inside = tuple(edge // part for edge, part in zip(CUBE, recipe.lattice.tray, strict=True))
        grid = tuple(length // edge for length, edge in zip(torus.shape, inside, strict=True))
        for pod in range(recipe.pods):
            block = a_block(prod(grid), f"p{pod:02}")
            cubes = list(block.parts.values())
            self.hosts.append([_host_at(cubes, torus.coordinate(n), inside, grid) for n in range(torus.size)])
            grounds.append(block)
        self.snapshot = Snapshot.of(NOW, grounds, mix={recipe.generation: recipe.shares})
        self.cubes = prod(grid) * recipe.pods
        self.cube_of = {host: hosts for block in grounds for hosts in block.parts.values() for host in hosts}
        self.down: dict[Sequence[HostId], int] = {}
        self.mix = [(Want(recipe.generation, shape), share) for shape, share in recipe.shares]
        self.free = self.idle = self.whole = self.seconds = 0.0

    def flip(self, flip: Flip) -> int | None:
        """Mark the host."""
        cube = self.cube_of[self.hosts[flip.pod][flip.host]]
        self.down[cube] = self.down.get(cube, 0) + (-1 if flip.up else 1)
        return super().flip(flip)

    def watch(self, seconds: float) -> None:
        """Count cubes as they stand."""
        grounds = self.snapshot.grounds.values()
        self.seconds += seconds
        self.free += seconds * sum(share * want.chips * sum(g.room(want) for g in grounds) for want, share in self.mix)
        self.idle += seconds * prod(CUBE) * sum(ground.room(Want(self.generation, CUBE)) for ground in grounds)
        self.whole += seconds * (self.cubes - sum(hosts > 0 for hosts in self.down.values()))


def _host_at(cubes: Sequence[Sequence[HostId]], place: Coordinate, inside: Shape, grid: Shape) -> HostId:
    cube = index_at(grid, tuple(at // length for at, length in zip(place, inside, strict=True)))
    return cubes[cube][index_at(inside, tuple(at % length for at, length in zip(place, inside, strict=True)))]


def mixed_use() -> Claim:
    """Play the stream on one pod of 144 cubes: the run that is least above its bound counts."""
    runs, told = [], []
    for availability in (0.99, 0.995, 0.999):
        here = []
        for seed in range(SEEDS):
            recipe = Recipe(availability=availability, seed=seed)
            placer = OnCubes(recipe)
            used = play(drawn(recipe), placer, placer.watch).used
            chips = placer.cubes * prod(CUBE) * placer.seconds
            bound = placer.whole / placer.cubes / placer.seconds - 1 / placer.cubes
            here.append((used + placer.free / chips, bound, used, used + placer.idle / chips))
        runs += here
        worst = min(here, key=lambda run: run[0] - run[1])
        told.append(
            f"{availability}: {worst[0]:.3f} against {worst[1]:.3f}, of it {worst[2]:.3f} held, by slices of cubes alone {worst[3]:.3f}"
        )
    usable, bound, *_ = min(runs, key=lambda run: run[0] - run[1])
    return Claim(
        claim="mixed_use",
        value=usable,
        unit="share",
        goal=bound,
        better="higher",
        reference="share of cubes without a host down, less one cube, in the same run",
        reference_value=bound,
        setup=setup(f"the stream on 144 cubes, {SEEDS} seeds; the worst by host availability {'; '.join(told)}"),
    )


CLAIMS: Mapping[str, Callable[[], Claim]] = {"mixed_use": mixed_use}
