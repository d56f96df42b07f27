"""Streams of jobs over pods whose hosts fail, and how well they are used by a rule that places them.

A stream is drawn from a recipe and a number alone: shapes in inverse ratio to their chips over the legal catalogue (or any mix),
log-normal durations, arrivals at random times so that what is asked for is the load x what there is, hosts that fail and are repaired. Every rule gets the same
queue: in the order of arrival, whoever fits goes; a job that loses a host waits again at its old rank for what it has left.

``streams.py --rule ours --rule slurm --seed 3 --availability 0.99 --mix 4x4x4=0.5 --mix 4x4x8=0.5`` plays some.
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
from dataclasses import dataclass, field
from itertools import accumulate
from math import prod
from typing import TYPE_CHECKING, Protocol

from sliceward.scheduling.torus.anchors import anchors
from sliceward.scheduling.torus.board import board_of
from sliceward.scheduling.torus.catalogue import legal_shapes
from sliceward.scheduling.torus.lattice import Lattice
from sliceward.topology.generations import GENERATIONS, shape_of, text_of
from sliceward.topology.torus import Torus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sliceward.topology.generations import Shape

Mix = tuple[tuple["Shape", float], ...]

HOUR = 3600.0

_SMALL = 256
"""Chips of a shape that an idle pod of any size that is played here always has a place for."""

WARM = 0.2
"""The share of the stream that is not counted: the pods fill first."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a stream is drawn from. ``mix``: shapes with shares; none: the legal catalogue in inverse ratio to chips. Times in hours.

    ``spread``: the standard deviation of the logarithm of durations.
    """

    pods: int = 1
    pod: Shape = (16, 24, 24)
    generation: str = "tpu7x"
    chips_a_host: int = 4
    mix: Mix = ()
    jobs: int = 1_000
    load: float = 1.1
    lasts: float = 8.0
    spread: float = 1.0
    availability: float = 0.99
    repair: float = 4.0
    seed: int = 0

    @property
    def lattice(self) -> Lattice:
        """The hosts of one pod; it wraps round along every axis."""
        tray = GENERATIONS[self.generation].tray(self.chips_a_host)
        return Lattice(Torus(self.pod, tuple(length > 2 for length in self.pod)), tray)  # noqa: PLR2004 (the shortest ring has 3)

    @property
    def shares(self) -> Mix:
        """The mix, its shares adding up to 1."""
        legal = tuple((shape, 1 / prod(shape)) for shape in legal_shapes(self.generation, self.lattice))
        total = sum(share for _, share in self.mix or legal)
        return tuple((shape, share / total) for shape, share in self.mix or legal)


@dataclass(frozen=True, slots=True)
class Job:
    """A gang of one slice. Times in seconds."""

    number: int
    at: float
    shape: Shape
    lasts: float

    @property
    def chips(self) -> int:
        """Chips."""
        return prod(self.shape)


@dataclass(frozen=True, slots=True, order=True)
class Flip:
    """A host, by the number of its place, goes down or comes back."""

    at: float
    pod: int
    host: int
    up: bool


@dataclass(frozen=True, slots=True)
class Stream:
    """Jobs in the order of arrival, and flips from the beginning to the last arrival."""

    recipe: Recipe
    jobs: tuple[Job, ...]
    flips: tuple[Flip, ...]


def drawn(recipe: Recipe) -> Stream:
    """Draw a stream: the same recipe gives the same one.

    A job that not even an idle pod could hold, with as many hosts down as usual, is not asked for: it would wait for ever whatever
    the rule, and the load would be none.
    """
    draw = random.Random(f"stream {recipe.seed}")  # noqa: S311 (a story told again)
    shapes = [shape for shape, _ in recipe.shares]
    steps = list(accumulate(share for _, share in recipe.shares))
    asked: list[tuple[Shape, float]] = []
    while len(asked) < recipe.jobs:
        shape = draw.choices(shapes, cum_weights=steps)[0]
        lasts = draw.lognormvariate(math.log(recipe.lasts * HOUR) - recipe.spread**2 / 2, recipe.spread)
        if prod(shape) <= _SMALL or _holds(recipe, draw, shape):
            asked.append((shape, lasts))
    end = sum(prod(shape) * lasts for shape, lasts in asked) / (recipe.load * recipe.pods * prod(recipe.pod))
    times = sorted(draw.uniform(0, end) for _ in asked)
    jobs = tuple(Job(number, at, *job) for number, (at, job) in enumerate(zip(times, asked, strict=True)))
    return Stream(recipe, jobs, tuple(_flips(recipe, draw, end)))


def _holds(recipe: Recipe, draw: random.Random, shape: Shape) -> bool:
    """Whether an idle pod has a place for a shape, with hosts down at random."""
    torus, boxes = recipe.lattice.hosts, frozenset(recipe.lattice.boxes(shape))
    up = board_of(torus, (torus.coordinate(n) for n in range(torus.size) if draw.random() < recipe.availability))
    return any(anchors(torus, boxes, up, {}).values())


def _flips(recipe: Recipe, draw: random.Random, end: float) -> list[Flip]:
    down, found = recipe.repair * HOUR, []
    up = down * recipe.availability / (1 - recipe.availability)
    for pod in range(recipe.pods):
        for host in range(recipe.lattice.hosts.size):
            now, runs = 0.0, draw.random() < recipe.availability
            if not runs:
                found.append(Flip(0.0, pod, host, up=False))
            while (now := now + draw.expovariate(1 / (up if runs else down))) < end:
                runs = not runs
                found.append(Flip(now, pod, host, up=runs))
    return sorted(found)


class Placer(Protocol):
    """A rule that places jobs."""

    def place(self, job: Job) -> bool:
        """Give the job its place now, if there is one."""
        ...

    def leave(self, job: Job) -> None:
        """Take its place back."""
        ...

    def flip(self, flip: Flip) -> int | None:
        """Take a host out, or take it back; give the number of the job that sat there."""
        ...


@dataclass(slots=True)
class Score:
    """``used`` and ``up``: shares of all chips over the time that counts. ``placed``: how often a place was given."""

    used: float = 0.0
    up: float = 0.0
    placed: int = 0


@dataclass(slots=True)
class _Play:
    """One stream that is being played."""

    stream: Stream
    placer: Placer
    queue: list[int] = field(default_factory=list)
    runs: dict[int, float] = field(default_factory=dict)
    left: dict[int, float] = field(default_factory=dict)
    ends: list[tuple[float, int]] = field(default_factory=list)
    refused: set[Shape] = field(default_factory=set)
    busy: int = 0
    down: int = 0

    def place(self, now: float) -> int:
        """Go through the queue in the order of arrival."""
        placed = 0
        for number in list(self.queue):
            job = self.stream.jobs[number]
            if job.shape in self.refused:
                continue
            if not self.placer.place(job):
                self.refused.add(job.shape)
                continue
            self.queue.remove(number)
            self.busy += job.chips
            self.runs[number] = now + self.left[number]
            heapq.heappush(self.ends, (self.runs[number], number))
            placed += 1
        return placed

    def stop(self, number: int, now: float) -> None:
        """Take a job from its place: it is over, or it waits again for what it has left."""
        job = self.stream.jobs[number]
        self.left[number] = self.runs.pop(number) - now
        self.busy -= job.chips
        self.placer.leave(job)
        self.refused.clear()
        if self.left[number] > 0:
            self.queue.append(number)
            self.queue.sort()

    def flip(self, flip: Flip) -> None:
        """Let a host fail or come back."""
        hit = self.placer.flip(flip)
        self.down += -1 if flip.up else 1
        if flip.up:
            self.refused.clear()
        if hit is not None:
            self.stop(hit, flip.at)


def play(stream: Stream, placer: Placer, watch: Callable[[float], None] | None = None) -> Score:
    """Play a stream to its last arrival. ``watch`` is told how many seconds that count pass as things stand."""
    game, score, chips_a_host = _Play(stream, placer), Score(), stream.recipe.lattice.chips_a_host
    total = stream.recipe.pods * prod(stream.recipe.pod)
    end = stream.jobs[-1].at
    begin, before = end * WARM, 0.0
    arrivals, flips = 0, 0
    while before < end:
        next_end = game.ends[0][0] if game.ends else math.inf
        next_flip = stream.flips[flips].at if flips < len(stream.flips) else math.inf
        now = min(next_end, next_flip, stream.jobs[arrivals].at)
        counted = max(0.0, now - max(before, begin))
        if watch is not None:
            watch(counted)
        score.used += counted * game.busy
        score.up += counted * (total - game.down * chips_a_host)
        before = now
        if now == next_end:
            when, number = heapq.heappop(game.ends)
            if game.runs.get(number) == when:
                game.stop(number, now)
        elif now == next_flip:
            game.flip(stream.flips[flips])
            flips += 1
        else:
            game.left[arrivals] = stream.jobs[arrivals].lasts
            game.queue.append(arrivals)
            arrivals += 1
        score.placed += game.place(now)
    score.used /= total * (end - begin)
    score.up /= total * (end - begin)
    return score


def rules() -> Mapping[str, Callable[[Recipe], Placer]]:
    """Give the rules by name."""
    from benchmarks import _rules  # noqa: PLC0415 (the rules know the streams)

    return _rules.RULES


def main(arguments: Sequence[str] | None = None) -> None:
    """Play the streams that are asked for, and print how much of the chips was used."""
    plain = Recipe()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rule", action="append", choices=sorted(rules()), help="default: all")
    parser.add_argument("--seed", type=int, action="append", help="default: 0")
    parser.add_argument("--availability", type=float, action="append", help="of a host; default: 0.99, 0.995 and 0.999")
    parser.add_argument("--mix", action="append", default=[], metavar="SHAPE=SHARE")
    parser.add_argument("--pod", default=text_of(plain.pod))
    for name in ("pods", "jobs"):
        parser.add_argument(f"--{name}", type=int, default=getattr(plain, name))
    for name in ("load", "lasts", "spread", "repair"):
        parser.add_argument(f"--{name}", type=float, default=getattr(plain, name))
    asked = parser.parse_args(arguments)
    mix = tuple((shape_of(text) or (), float(share)) for text, _, share in (each.partition("=") for each in asked.mix))
    for seed in asked.seed or [0]:
        for availability in asked.availability or [0.99, 0.995, 0.999]:
            recipe = Recipe(
                pods=asked.pods,
                pod=shape_of(asked.pod) or plain.pod,
                mix=mix,
                jobs=asked.jobs,
                load=asked.load,
                lasts=asked.lasts,
                spread=asked.spread,
                repair=asked.repair,
                availability=availability,
                seed=seed,
            )
            stream = drawn(recipe)
            for rule in asked.rule or sorted(rules()):
                score = play(stream, rules()[rule](recipe))
                print(
                    f"seed {seed}, availability {availability}, {rule}: {score.used:.4f} used of {score.up:.4f} up, {score.placed} placed"
                )


if __name__ == "__main__":
    main()
