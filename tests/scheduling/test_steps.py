"""Ten thousand random steps on small fleets of every kind: nothing that must always be true ever breaks, and nobody plays ping-pong."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import NOW
from tests.scheduling.small import KINDS, SHAPES, Kind, grounds_of
from tests.scheduling.steps import Broken, Player, a_player, comes_to_an_end

STEPS: dict[Kind, int] = {"cubes": 1_000, "torus": 2_500, "tree": 3_500, "pools": 3_000}
OFTEN = ("sits", "displaces", "ends", "moves", "infeasible stays so", "waits: held", "waits: fairness", "waits: quota")


def a_story(kind: Kind, seed: int, steps: int) -> Player:
    player = a_player(grounds_of(kind), SHAPES[kind], seed, now=NOW)
    player.play(steps)
    return player


@pytest.mark.parametrize("kind", KINDS)
def test_no_random_step_breaks_a_law(kind: Kind) -> None:
    seen = a_story(kind, 1, STEPS[kind]).seen
    for often in OFTEN:
        if (kind, often) != ("pools", "moves"):  # a full set of equal pools has no other place
            assert seen[often] >= 3, (often, seen)
    assert sum(count for what, count in seen.items() if what.startswith("repair")) >= 10, seen


@settings(max_examples=60)
@given(st.sampled_from(KINDS), st.integers(0, 2**32), st.integers(1, 40))
def test_no_short_story_breaks_a_law(kind: Kind, seed: int, steps: int) -> None:
    a_story(kind, seed, steps)


def test_the_same_seed_plays_the_same_story() -> None:
    one, other = (a_story("tree", 7, 300) for _ in range(2))
    assert (one.seen, one.past, one.snapshot.gangs) == (other.seen, other.past, other.snapshot.gangs)


def test_ping_pong_would_be_seen() -> None:
    player = a_story("tree", 1, 400)
    first = player.past[-1]
    with pytest.raises(Broken, match="displace each other in turn"):
        comes_to_an_end([*player.past, first.__class__(first.by, first.gang, first.at)])
