from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sliceward.detectors.panel import Panel, PanelSize
from sliceward.detectors.progress import Pace, follow, from_json, gang_of, to_json
from tests.builders import gang_id
from tests.detectors.frames import START, Speaker, feed

if TYPE_CHECKING:
    from sliceward.topology.ids import GangId

GANG = gang_id("llm")
NOTE = f"{GANG}|slice|0|0"
NUMBERS = ("step", "rate", "rate_before", "checkpoint_step", "checkpoint_age", "members")


def speakers(count: int = 2) -> list[Speaker]:
    notes = {"gang": NOTE, "step_base": "100", "checkpoint_step": "150"}
    return [
        Speaker(f"n{n}", readings={"host_step": 0, "host_checkpoint_age_seconds": 10 + n}, notes=dict(notes))
        for n in range(count)
    ]


class Track:
    def __init__(self, said: list[Speaker]) -> None:
        self.panel, self.said, self.now = Panel("c1", PanelSize(10.0, 40)), said, START
        self.paces: dict[GangId, Pace] = {}

    def go(self, *steps: float) -> Pace:
        for step in steps:
            for speaker in self.said:
                speaker.readings["host_step"] = step
            self.now = feed(self.panel, self.said, rounds=1, start=self.now)
            self.paces = dict(follow(self.panel, self.paces))
        return self.paces[GANG]


def test_a_gang_is_as_far_as_its_slowest_host() -> None:
    track = Track(speakers(3))
    track.said[1].notes["checkpoint_step"] = "140"
    track.go(10)
    track.said[2].readings["host_step"] = 5
    feed(track.panel, track.said, rounds=1, start=track.now)
    pace = follow(track.panel, {})[GANG]
    assert (pace.step, pace.checkpoint_step, pace.checkpoint_age, pace.members) == (105, 140, 12, 3)


def test_the_rate_is_steps_a_second_and_the_rate_before_its_usual_value() -> None:
    track = Track(speakers())
    pace = track.go(*range(0, 400, 20))
    assert pace.rate == pytest.approx(2.0)
    assert pace.rate_before == pytest.approx(2.0)
    pace = track.go(*[380] * 20)
    assert pace.rate == 0
    assert pace.rate_before == pytest.approx(2.0, rel=0.3)


def test_the_burst_in_which_the_first_steps_are_heard_of_is_no_usual_rate() -> None:
    track = Track(speakers())
    pace = track.go(0, 400, 420, 440)
    assert pace.rate is not None
    assert pace.rate > 10
    assert pace.rate_before is None, "too few readings tell nothing"
    assert track.go(460, 480, 500).rate == pytest.approx(2.0), "long before the burst has left the window"
    assert track.go(*range(520, 800, 20)).rate_before == pytest.approx(2.0)


def test_a_step_that_goes_back_begins_the_rate_anew_and_keeps_the_former() -> None:
    track = Track(speakers())
    track.go(*range(0, 400, 20))
    pace = track.go(50)
    assert (pace.rate, pace.step) == (None, 150)
    assert pace.rate_before == pytest.approx(2.0)
    assert track.go(70).rate == pytest.approx(2.0)


def test_a_gang_whose_hosts_fall_silent_keeps_its_last_word_with_its_age() -> None:
    track = Track(speakers())
    last = track.go(0, 20)
    track.said = []
    for _ in range(5):
        track.panel.advance(track.panel.now + 10)
    assert follow(track.panel, track.paces)[GANG] == last


def test_a_job_that_says_no_step_has_none() -> None:
    silent = [Speaker("n1", readings={}, notes={"gang": NOTE}), Speaker("n2", readings={}), Speaker("n3", notes={"gang": "??"})]
    panel = Panel("c1")
    feed(panel, silent, rounds=1)
    panel.expect(["never-spoke"])
    (pace,) = follow(panel, {}).values()
    assert (pace.step, pace.rate, pace.checkpoint_step, pace.checkpoint_age, pace.members) == (None, None, None, None, 1)
    silent[0].readings["host_step"] = float("nan")
    feed(panel, silent, rounds=1, start=panel.now)
    assert follow(panel, {})[GANG].step is None


def test_a_host_whose_words_cannot_be_read_is_set_aside_and_the_others_are_heard() -> None:
    track = Track(speakers(3))
    track.said[1].notes["gang"] = "c1/chip/n1/" + "9" * 5000
    assert track.go(10).members == 2
    known = track.panel.known("n2")
    assert known is not None
    known.notes["gang"] = NOTE.encode()  # type: ignore[assignment]  # what no frame should be able to bring
    assert follow(track.panel, {})[GANG].members == 1
    assert track.panel.counts["jobs_set_aside"] == 1


@pytest.mark.parametrize("note", ["", "c1/host/n1|a|0|0", f"{gang_id('x', cluster='c2')}|a|0|0", "no id at all"])
def test_notes_that_name_no_gang_of_this_cluster(note: str) -> None:
    assert gang_of("c1", note) is None


def test_progress_survives_the_wire() -> None:
    pace = Pace(GANG, START, 7, 1.5, 2.0, 5, 30.0, 16)
    body = json.loads(to_json(pace))
    assert body == {
        "gang": str(GANG), "at": "2026-09-01T12:00:00+00:00", "step": 7, "rate": 1.5, "rate_before": 2.0,
        "checkpoint_step": 5, "checkpoint_age": 30.0, "members": 16,
    }  # fmt: skip
    again = from_json(to_json(pace))
    assert replace(again, rates=()) == pace
    assert set(again.rates) == {2.0}
    assert from_json(to_json(Pace(GANG, START))) == Pace(GANG, START)


@pytest.mark.parametrize("wrong", ["7", True, -1, float("nan"), [], {}, 1e400, 2**80], ids=str)
def test_what_is_no_number_of_a_progress_message_is_not_known(wrong: object) -> None:
    body = json.loads(to_json(Pace(GANG, START))) | dict.fromkeys(NUMBERS, wrong)
    assert from_json(json.dumps(body).encode()) == Pace(GANG, START)


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"[]", b'{"gang": 5, "at": "x"}', b"[" * 100_000, b'{"gang": "c1/gang/d/Job/x", "at": "0001-01-01T00:00:00+23:00"}',
        b'{"gang": 1'+ b"1" * 5000 + b"}",
        b'{"gang": "c1/host/n", "at": "2026-01-01T00:00:00Z"}',
    ],
    ids=lambda payload: str(payload[:40]),
)  # fmt: skip
def test_what_is_no_progress_is_refused(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"progress|gang|JSON|Expecting|digits|year|range"):
        from_json(payload)
