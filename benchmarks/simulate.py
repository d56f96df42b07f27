"""Whole stories in virtual time a second on one core: the coordinator's own parts over ports that fail, with all invariants looked at."""

from __future__ import annotations

import time

from benchmarks.claim import Claim, setup, tell
from sliceward.simulation.virtual.scenario import drawn
from sliceward.simulation.virtual.world import World
from tests.virtual.bus import VirtualBroker
from tests.virtual.found import OPEN
from tests.virtual.play import many, played
from tests.virtual.stage import OnTheAir

GOAL = 50.0
SEEDS = [seed for seed in range(300) if seed not in OPEN]
WARM_UP = 20
LONG = 60.0
"""Virtual seconds of the reference: about as long as a story takes."""


def stories() -> float:
    """Play the seeds after some to warm up; give how many a second of this process's own time."""
    playing = played([*range(WARM_UP), *SEEDS])
    for _ in range(WARM_UP):
        next(playing)
    began, steps = time.process_time(), 0
    for result in playing:
        if result.broken:
            raise SystemExit(str(result))
        steps += result.steps
    spent = time.process_time() - began
    print(f"{steps / len(SEEDS):.0f} steps a story, {steps / spent:.0f} a second")
    return len(SEEDS) / spent


def worlds() -> float:
    """Let the same worlds go on with nobody who coordinates them."""
    began = time.process_time()
    with many():
        for seed in SEEDS:
            world = World(drawn(seed), OnTheAir(VirtualBroker()))
            while world.agenda.due <= LONG:
                world.clock.seconds = max(world.clock.seconds, world.agenda.due)
                world.agenda.act()
    return len(SEEDS) / (time.process_time() - began)


def main() -> None:
    """Measure both."""
    alone = worlds()
    tell(
        Claim(
            claim="seeds_per_s: whole stories in virtual time, all invariants looked at after every change",
            value=stories(),
            unit="a second",
            goal=GOAL,
            better="higher",
            reference=f"the same worlds for {LONG:.0f} virtual seconds without a coordinator",
            reference_value=alone,
            setup=setup(f"seeds 0 to {SEEDS[-1]}, one process, its own time on one core"),
        )
    )


if __name__ == "__main__":
    main()
