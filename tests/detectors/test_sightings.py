from __future__ import annotations

import pytest
from msgspec import ValidationError

from sliceward.detectors.sightings import LONGEST, MOST, Line, Sighting, from_note, to_note


def test_what_is_told_is_read_again() -> None:
    told = [Sighting(Line.MISSED, 10.5, 11.5, 3, "w-38", "", "c1/gang/ml/JobSet/llm|slice|0|3", "llm-0", "missed")]
    assert from_note(to_note(told)) == tuple(told)
    assert to_note([]) == ""


def test_the_first_of_each_kind_of_line_is_told_before_the_second_of_any() -> None:
    crowd = [Sighting(Line.CRASHED, float(second), float(second), what=f"Error{second}") for second in range(40)]
    late = Sighting(Line.CHIP_FATAL, 99.0, 99.0)
    told = from_note(to_note([*crowd, late]))
    assert len(told) == MOST
    assert (told[0], told[1]) == (crowd[0], late)


def test_a_note_fits_into_a_frame_whatever_jobs_print() -> None:
    note = to_note([Sighting(Line.CRASHED, 1.0, 1.0, what=str(one), text='"' * 200, seat="x" * 300) for one in range(40)])
    assert 0 < len(note) <= LONGEST


@pytest.mark.parametrize("note", ["", "[1]", '[{"line":"unheard","first":1,"last":1}]', "[[[[", '{"line":1}'])
def test_what_is_no_note_is_refused(note: str) -> None:
    with pytest.raises((ValueError, ValidationError)):
        from_note(note)


def test_more_than_an_agent_tells_is_refused() -> None:
    one = '{"line":"missed","first":1,"last":1}'
    with pytest.raises(ValueError, match="tells of 17 kinds"):
        from_note(f"[{','.join([one] * (MOST + 1))}]")
