"""The run as a state machine: any order of answers, stops and time ends well."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sliceward.playbooks.advance import abort, advance, begun, cancel, due, half_done, release, tick, undo_of, withdrawn
from sliceward.playbooks.record import run as read_run
from sliceward.playbooks.record import text
from sliceward.playbooks.run import FINISHED, Call, Ended, Ending, OnError, Purpose, Run, Sleep, Step, StepState
from sliceward.remediations.outcome import Done, Failed, Wait
from sliceward.topology.ids import HostId
from tests.builders import NOW
from tests.playbooks.stage import seconds

if TYPE_CHECKING:
    from datetime import datetime

    from sliceward.remediations.outcome import Outcome

LOOK = Step("look", "evidence.keep", seconds(60), on_error=OnError.CONTINUE)
MARK = Step("mark", "domain.mark", seconds(60), harm=True, inverse="domain.give_back")
STOP = Step("suspend", "gang.suspend", seconds(60), harm=True, irreversible=True, inverse="gang.resume")
GO = Step("resume", "gang.resume", seconds(60))
FIX = Step("repair", "host.repair", seconds(600), harm=True, irreversible=True, on_error=OnError.HAND_OVER)
BACK = Step("back", "domain.give_back", seconds(60))
FAILURE = Step("let-it-run", "gang.resume", seconds(60), purpose=Purpose.FAILURE)
HOST = HostId("c1", "h")


def a_run(*steps: Step, on_failure: tuple[Step, ...] = (FAILURE,)) -> Run:
    whole = steps or (LOOK, MARK, STOP, GO, FIX, BACK)
    return Run(
        "inc-1-r1", "inc-1", "c1", "p", "d", HOST, (HOST,), None, "", NOW, NOW + seconds(3600), whole, on_failure=on_failure
    )


def called(run: Run, now: datetime = NOW) -> Run:
    return begun(run, now).run


def through(run: Run, number: int) -> Run:
    """The run after its next steps were done."""
    for _ in range(number):
        run = advance(called(run), Done("ok"), NOW).run
    return run


def test_steps_are_done_in_order_and_facts_are_merged() -> None:
    run = advance(called(a_run(LOOK, BACK)), Done("seen", {"a": 1}), NOW).run
    assert run.current is not None
    assert run.current.name == "back"
    run = advance(called(run), Done("given back", {"b": 2}), NOW + seconds(5)).run
    assert (run.facts, run.ending, run.ended) == ({"a": 1, "b": 2}, Ending.HEALED, NOW + seconds(5))
    assert due(run, NOW) == Ended(Ending.HEALED, "")


def test_a_step_that_waits_is_called_again_under_the_same_operation_when_it_asked_for() -> None:
    run = called(a_run())
    first = run.operation
    moved = advance(run, Wait(seconds(5), "soon", {"seen": True}), NOW)
    assert due(moved.run, NOW) == Sleep(NOW + seconds(5), "soon")
    again = due(moved.run, NOW + seconds(5))
    assert isinstance(again, Call)
    assert again.operation == first
    assert moved.run.facts == {"seen": True}
    assert advance(called(moved.run), Wait(seconds(0), "soon"), NOW).entries == (), "the same wait is told once"
    assert isinstance(due(advance(run, Wait(seconds(-5), "now"), NOW).run, NOW), Sleep), "never in a tight circle"


@pytest.mark.parametrize(
    ("done_before", "on_error", "then", "ending"),
    [
        (0, OnError.CONTINUE, ["mark", "suspend", "resume", "repair", "back"], Ending.HEALED),
        (1, OnError.STOP, ["undo-mark", "let-it-run"], Ending.HANDED_OVER),
        (2, OnError.STOP, ["let-it-run"], Ending.HANDED_OVER),
        (3, OnError.STOP, ["let-it-run"], Ending.HANDED_OVER),
        (4, OnError.HAND_OVER, [], Ending.HANDED_OVER),
        (5, OnError.STOP, ["let-it-run"], Ending.HANDED_OVER),
    ],
)
def test_a_failed_step_does_what_its_playbook_says(done_before: int, on_error: OnError, then: list[str], ending: Ending) -> None:
    run = called(through(a_run(), done_before))
    assert run.current is not None
    assert run.current.on_error is on_error
    failed = advance(run, Failed("no"), NOW).run
    assert [step.name for step in failed.steps if step.state is StepState.PENDING] == then
    while failed.open:
        failed = through(failed, 1)
    assert failed.ending is ending


def test_a_failing_undo_is_told_and_the_others_go_on() -> None:
    other = replace(MARK, name="cordon", action="node.cordon", inverse="node.uncordon")
    run = advance(called(through(a_run(MARK, other, LOOK_AND_STOP), 2)), Failed("no"), NOW).run
    assert [step.action for step in run.steps if step.purpose is Purpose.UNDO] == ["node.uncordon", "domain.give_back"]
    run = advance(called(run), Failed("API down"), NOW).run
    run = through(run, 2)
    assert (run.ending, run.open) == (Ending.HANDED_OVER, False)
    assert "undo-cordon failed" in run.why
    assert [step.action for step in undo_of(run)] == ["node.uncordon"], "what still stands is known"


LOOK_AND_STOP = replace(LOOK, on_error=OnError.STOP)


def test_a_step_past_its_time_is_unknown_and_goes_the_way_of_failure() -> None:
    run = called(through(a_run(), 1))
    assert tick(run, NOW + seconds(60)).run == run, "nobody has looked since its time was up"
    run = begun(advance(run, Wait(seconds(5), "busy"), NOW + seconds(1)).run, NOW + seconds(59)).run
    assert tick(run, NOW + seconds(60)).run == run
    run = begun(run, NOW + seconds(60)).run
    late = tick(run, NOW + seconds(60))
    assert "unknown" in late.entries[0].text
    assert late.run.current is not None
    assert late.run.current.name == "undo-mark", "it may have marked, so it is taken back"


def test_a_step_that_was_never_begun_does_not_age() -> None:
    run = through(a_run(), 1)
    assert tick(run, NOW + seconds(3599)).run == run


def test_a_run_past_its_time_stops_but_finishes_taking_back() -> None:
    run = tick(through(a_run(), 2), NOW + seconds(3600)).run
    assert [step.name for step in run.steps if step.state is StepState.PENDING] == ["undo-mark", "let-it-run"]
    assert tick(run, NOW + seconds(9999)).run == run


def test_a_cause_that_is_gone_cancels_before_and_not_after_the_first_irreversible_step() -> None:
    before = cancel(through(a_run(), 2), "gone", NOW).run
    assert [step.action for step in before.steps if step.state is StepState.PENDING] == ["domain.give_back"]
    assert before.ending is Ending.CANCELLED
    begun_already = called(through(a_run(), 2))
    assert cancel(begun_already, "gone", NOW).run is begun_already
    nothing_done = cancel(a_run(), "gone", NOW).run
    assert (nothing_done.open, nothing_done.ending) == (False, Ending.CANCELLED)
    assert cancel(nothing_done, "gone", NOW).run is nothing_done


def test_a_stop_takes_back_in_reverse_what_was_not_taken_back() -> None:
    stopped = abort(called(through(a_run(), 2)), "by ada", NOW).run
    assert [s.action for s in stopped.steps if s.state is StepState.PENDING] == ["gang.resume", "domain.give_back"]
    assert abort(stopped, "again", NOW).run is stopped
    late = abort(through(a_run(), 4), "by ada", NOW).run
    assert [s.action for s in late.steps if s.state is StepState.PENDING] == ["domain.give_back"], "it was resumed already"


def test_a_stop_does_not_begin_anew_to_take_back_what_is_being_taken_back() -> None:
    left = replace(called(through(a_run(), 2)), ended=NOW, ending=Ending.HANDED_OVER)
    left = replace(
        left, steps=tuple(replace(s, state=StepState.FAILED) if s.state is not StepState.DONE else s for s in left.steps)
    )
    back = release(left, "aborted by ada", NOW).run
    assert back.current is not None
    assert abort(back, "by ada", NOW).run is back
    failed = advance(begun(back, NOW).run, Failed("somebody else has it"), NOW).run
    assert abort(failed, "by ada", NOW).run is failed
    assert [s.action for s in failed.steps if s.state is StepState.PENDING] == ["domain.give_back"]


def test_an_ended_run_can_be_opened_to_take_back_what_it_left() -> None:
    run = advance(called(through(a_run(), 4)), Failed("no parts"), NOW).run
    assert not run.open
    opened = release(run, "resolved", NOW).run
    assert opened.open
    assert [s.action for s in opened.steps if s.state is StepState.PENDING] == ["domain.give_back"]
    done = through(opened, 1)
    assert (done.open, done.ending) == (False, Ending.HANDED_OVER)
    assert release(done, "again", NOW).run is done


def test_something_is_half_done_between_the_irreversible_step_and_what_makes_it_good() -> None:
    assert [half_done(through(a_run(), number)) for number in range(6)] == [False, False, False, True, False, False]
    assert half_done(called(through(a_run(), 2)))


def test_an_intent_that_was_not_called_can_be_withdrawn() -> None:
    before = through(a_run(), 2)
    back = withdrawn(called(before), NOW).run
    assert back == before
    assert not back.committed
    twice = withdrawn(called(called(before)), NOW).run
    assert twice.committed
    assert withdrawn(before, NOW).run is before


def test_an_ended_run_does_not_move() -> None:
    ended = through(a_run(LOOK), 1)
    assert begun(ended, NOW).run is ended
    assert advance(ended, Done("late"), NOW).run is ended
    assert tick(ended, NOW).run is ended
    assert withdrawn(ended, NOW).run is ended
    assert release(a_run(), "open", NOW).run == a_run()


MOVES = st.sampled_from(["done", "done", "done", "wait", "fail", "late", "abort", "cancel", "crash"])


def moved(run: Run, move: str, now: datetime) -> tuple[Run, datetime]:  # noqa: PLR0911 (a table)
    """One thing that happens to a run."""
    match move, due(run, now):
        case "abort", _:
            return abort(run, "by ada", now).run, now
        case "cancel", _:
            after = cancel(run, "gone", now).run
            assert not run.committed or after is run
            return after, now
        case "late", _:
            return tick(run, now + seconds(61)).run, now + seconds(61)
        case "crash", _:
            read = read_run(text(run))
            assert read == run
            return read, now
        case _, Sleep(until=until):
            return run, until
        case _, Ended():
            return run, now
    answers: dict[str, Outcome] = {"done": Done("ok"), "wait": Wait(seconds(1), "soon"), "fail": Failed("no")}
    return advance(called(run, now), answers[move], now).run, now


def finished(run: Run, now: datetime) -> Run:
    while run.open:
        now += seconds(1)
        run = advance(called(run, now), Done("ok"), now).run
    return run


@given(st.lists(MOVES, max_size=60))
def test_whatever_happens_a_run_ends_and_every_mark_is_taken_back(moves: list[str]) -> None:
    run, now = a_run(), NOW
    for move in moves:
        ended = [step for step in run.steps if step.state in FINISHED]
        run, now = moved(run, move, now)
        assert list(run.steps[: len(ended)]) == ended, "what is finished is never begun again"
        assert all(step.state not in FINISHED for step in run.steps[run.at :]), "finished steps come first, in order"
        assert (run.ended is None) == (run.at < len(run.steps))
    released = finished(release(finished(run, now), "resolved", now).run, now)
    assert undo_of(released) == (), "nothing of ours is left"
    marked = any(step.action == "domain.mark" and step.attempts for step in released.steps)
    given_back = any(step.action == "domain.give_back" and step.state is StepState.DONE for step in released.steps)
    assert given_back or not marked


def test_two_steps_with_one_inverse_are_taken_back_once() -> None:
    twice = through(a_run(MARK, replace(MARK, name="mark-more"), LOOK), 2)
    assert [step.name for step in undo_of(twice)] == ["undo-mark-more"]
