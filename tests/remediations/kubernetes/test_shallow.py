"""JSON that is nested deeper than can be read is cut there, and nothing else of it is lost."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sliceward.remediations.kubernetes.slim import DEEPEST, TOO_DEEP, shallow

JSON = st.recursive(st.none() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(value=JSON)
def test_what_can_be_read_is_left_as_it_is(value: object) -> None:
    raw = json.dumps(value).encode()
    assert shallow(raw) == raw


@pytest.mark.parametrize("depth", [DEEPEST, 1_000, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a": ', "}")])
def test_what_is_nested_too_deeply_is_replaced_and_its_neighbours_stay(depth: int, opening: str, closing: str) -> None:
    raw = f'{{"before": "}}]\\"", "deep": {opening * depth}1{closing * depth}, "after": [1]}}'.encode()
    cut = shallow(raw)
    assert TOO_DEEP in cut
    found = json.loads(cut)
    assert (found["before"], found["after"]) == ('}]"', [1])


def test_json_that_never_closes_stays_no_json() -> None:
    assert shallow(b"[" * 5_000) == b"[" * 5_000
