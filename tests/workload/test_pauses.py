from __future__ import annotations

import gc
from contextlib import suppress

from sliceward.workload.pauses import Pauses


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_the_job_does_instead_of_steps_is_counted_also_while_it_lasts() -> None:
    clock = Clock()
    pauses = Pauses(clock)
    assert "compile" not in pauses.seconds()
    with pauses.doing("compile"):
        clock.now += 7
        assert pauses.seconds()["compile"] == 7
        with pauses.doing("input"), pauses.doing("compile"):
            clock.now += 1
    clock.now += 50
    assert (pauses.seconds()["compile"], pauses.seconds()["input"]) == (8, 1)
    with suppress(KeyError), pauses.doing("checkpoint"):
        clock.now += 2
        raise KeyError
    assert pauses.seconds()["checkpoint"] == 2


def test_an_activity_that_nobody_knows_counts_nothing_and_raises_nothing() -> None:
    pauses = Pauses(Clock())
    with pauses.doing("sleep"):
        pass
    assert set(pauses.seconds()) <= {"gc"}


def test_the_garbage_collector_is_counted_and_let_go() -> None:
    before = list(gc.callbacks)
    clock = Clock()
    pauses = Pauses(clock)
    pauses.collected("stop")
    pauses.collected("start")
    clock.now += 3
    pauses.collected("stop")
    assert pauses.seconds()["gc"] == 3
    (ours,) = (one for one in gc.callbacks if one not in before)
    gc.collect()
    del pauses
    gc.collect()
    assert ours not in gc.callbacks
