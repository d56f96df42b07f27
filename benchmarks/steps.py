"""A million random steps on a fleet of 16 hosts: gangs come, go, are displaced, repaired and moved, and no law may break.

The player and the laws are those of the tests (`tests/scheduling/steps.py`), where ten thousand steps are played; here are enough of
them to meet what is rare. It runs apart from placement's other figures: it takes two cores for minutes.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ProcessPoolExecutor

from benchmarks.claim import Claim, setup, tell
from tests.builders import NOW
from tests.scheduling.grounds import pools
from tests.scheduling.steps import Broken, a_player
from tests.scheduling.tree.test_ground import a_ground

STEPS = 1_000_000
STORY = 10_000
"""Steps of one story; so many stories, each drawn from its number."""

SHAPES = ((2, 2), (2, 4), (4, 4))


def played(seed: int, steps: int = STORY) -> tuple[int, int, str]:
    """Play one story on two racks of four hosts and two pools of four. Give its steps, its displacements, and what broke."""
    player = a_player((a_ground({"r0": 4, "r1": 4}), pools(2, pod="b1")), SHAPES, seed, now=NOW)
    try:
        player.play(steps)
    except Broken as broken:
        return steps, player.seen["displaces"], f"story {seed}: {broken}"
    return steps, player.seen["displaces"], ""


def random_steps() -> Claim:
    """Count the steps in which no law broke."""
    began = time.perf_counter()
    with ProcessPoolExecutor(os.cpu_count()) as workers:
        stories = [*workers.map(played, range(STEPS // STORY))]
    took = time.perf_counter() - began
    if broken := [what for _, _, what in stories if what]:
        raise SystemExit("; ".join(broken))
    return Claim(
        claim="random_steps",
        value=sum(steps for steps, _, _ in stories),
        unit="steps",
        goal=STEPS,
        better="higher",
        reference="displacements among them",
        reference_value=sum(displaced for _, displaced, _ in stories),
        setup=setup(f"16 hosts, stories of {STORY:,} steps, {took:,.0f} s"),
    )


if __name__ == "__main__":
    tell(random_steps())
