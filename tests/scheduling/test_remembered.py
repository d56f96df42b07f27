"""What is remembered of grounds between refusals changes none of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sliceward.scheduling.occupancy import PLAIN, Bar, Cause, Grade, Standing
from sliceward.scheduling.place import place
from sliceward.scheduling.remembered import remembered
from tests.builders import gang_id
from tests.scheduling.grounds import pools
from tests.scheduling.small import KINDS, Small, a_gang, a_small_fleet, dice_of, with_a_gang

if TYPE_CHECKING:
    from random import Random

    from sliceward.scheduling.snapshot import Snapshot
    from tests.scheduling.small import Kind


def changed(dice: Random, small: Small, name: str) -> Small:
    """Let a gang come or go, a host fall sick or be well, be closed or kept for somebody."""
    snapshot = small.snapshot
    host = dice.choice(sorted(snapshot.ground_of))
    match dice.randrange(4):
        case 0:
            return with_a_gang(dice, small, name)
        case 1 if snapshot.gangs:
            return replace(small, snapshot=snapshot.without_gang(dice.choice(sorted(snapshot.gangs))))
        case 2:
            grade = dice.choice((PLAIN, Standing(Grade.SICK, "down"), Standing(Grade.DEGRADED, "slow"), Standing(Grade.UNKNOWN)))
            return replace(small, snapshot=snapshot.with_standing(host, grade))
        case _:
            bar = Bar(Cause.RESERVED, "kept", dice.choice((None, gang_id("asks"), gang_id("other"))))
            return replace(small, snapshot=snapshot.with_bars({host: bar}))


def forgetful(snapshot: Snapshot) -> Snapshot:
    """Give the same snapshot of which nothing is remembered."""
    grounds = {key: ground.changed(replace(ground.occupancy), ()) for key, ground in snapshot.grounds.items()}
    return replace(snapshot, grounds=grounds)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(6))
def test_an_answer_is_the_same_whatever_is_remembered(seed: int, kind: Kind) -> None:
    dice = dice_of(seed)
    small = a_small_fleet(seed, kind)
    for step in range(8):
        small = changed(dice, small, f"more-{step}")
        _, request = a_gang(dice, small, "asks")
        asked = replace(request, gang=gang_id("asks"))
        assert place(small.snapshot, asked) == place(forgetful(small.snapshot), asked)
        for running in sorted(small.snapshot.gangs)[:1]:
            again = replace(asked, gang=running)
            assert place(small.snapshot, again) == place(forgetful(small.snapshot), again)


def test_nothing_is_remembered_of_another_ground_with_the_same_occupancy() -> None:
    one = pools(2)
    other = replace(one, pools=one.pools[:1])
    assert remembered(one, ("pools",), lambda: len(one.pools)) == 2
    assert remembered(one, ("pools",), lambda: 99) == 2
    assert remembered(other, ("pools",), lambda: len(other.pools)) == 1
