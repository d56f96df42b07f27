"""Starts of late are those of the store, and what was saved since; what is too old to matter is forgotten."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from sliceward.daemons.coordinator.starts import MANY, Starts
from sliceward.playbooks.world import Started
from tests.builders import NOW
from tests.contracts.stored import a_run

HOUR = timedelta(hours=1)


def test_a_run_that_ends_is_the_same_start_with_its_end() -> None:
    starts, run = Starts(), a_run()
    starts.read((Started.of(run),), NOW)
    starts.note(replace(run, ended=NOW + HOUR))
    assert starts.since(NOW) == (replace(Started.of(run), ended=NOW + HOUR),)


def test_a_run_that_harms_nobody_is_no_start() -> None:
    starts = Starts()
    starts.note(a_run(steps=(replace(a_run().steps[0], harm=False, irreversible=False, inverse=""),)))
    assert starts.since(NOW) == ()


def test_what_began_and_ended_before_does_not_count_and_an_end_of_late_does() -> None:
    starts = Starts()
    starts.note(a_run("inc-old", ended=NOW + HOUR))
    starts.note(a_run("inc-late", ended=NOW + 3 * HOUR))
    assert [one.incident for one in starts.since(NOW + 2 * HOUR)] == ["inc-late"]


def test_a_clock_that_was_ahead_for_a_moment_makes_no_start_forgotten() -> None:
    starts = Starts()
    starts.note(a_run("inc-1", ended=NOW + HOUR))
    assert starts.since(NOW + 25 * HOUR) == ()
    assert [one.incident for one in starts.since(NOW)] == ["inc-1"]


def test_the_store_is_asked_again_when_the_clock_was_set_back_or_much_is_kept() -> None:
    starts = Starts()
    assert starts.are_stale(NOW)
    starts.read((), NOW)
    assert not starts.are_stale(NOW)
    assert starts.are_stale(NOW - HOUR)
    for number in range(MANY + 1):
        assert not starts.are_stale(NOW)
        starts.note(a_run(f"inc-{number}"))
    assert starts.are_stale(NOW)
    starts.read((), NOW)
    assert not starts.are_stale(NOW)


def test_reading_anew_forgets_what_the_store_does_not_have() -> None:
    starts = Starts()
    starts.note(a_run("inc-1"))
    starts.read((), NOW)
    assert starts.since(NOW) == ()
