"""A JSON text read value by value gives what is read at once, and stops where it is none or too long."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sliceward.daemons.coordinator import pieces
from sliceward.daemons.coordinator.pieces import LONGEST, Pieces, decoded

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=9,
)
TREES = st.dictionaries(st.text() | st.just("streamed"), VALUES)


def read(*body: bytes) -> dict[str, Any]:
    found = Pieces(decoded(*body)).members({"streamed"})
    return {name: list(value) if isinstance(value, Iterator) else value for name, value in found}


@given(tree=TREES, indent=st.sampled_from((None, 0, 3)), encoding=st.sampled_from(("utf-8", "utf-8-sig", "utf-16", "utf-32")))
def test_what_is_read_value_by_value_is_what_is_read_at_once(tree: dict[str, Any], indent: int | None, encoding: str) -> None:
    body = json.dumps(tree, indent=indent, ensure_ascii=False).encode(encoding, "surrogatepass")
    assert read(body) == json.loads(body)


@given(
    tree=TREES,
    indent=st.sampled_from((None, 3)),
    encoding=st.sampled_from(("utf-8", "utf-8-sig", "utf-16")),
    size=st.integers(1, 9),
)
def test_it_may_come_in_parts_that_are_cut_anywhere(tree: dict[str, Any], indent: int | None, encoding: str, size: int) -> None:
    body = json.dumps(tree, indent=indent, ensure_ascii=False).encode(encoding, "surrogatepass")
    assert read(*(body[begin : begin + size] for begin in range(0, len(body), size))) == json.loads(body)


@given(
    body=st.binary(max_size=60)
    | TREES.flatmap(lambda tree: st.binary(max_size=3).map(lambda more: json.dumps(tree).encode() + more))
)
@example(body=b'{"a": 1')
@example(body=b'{"a" 1}')
@example(body=b"{1: 1}")
@example(body=b'{"a": 1,}')
@example(body=b'{"streamed": [1,]}')
@example(body=b'{"streamed": [1 2]}')
@example(body=b'{"streamed": [1}')
@example(body=b'{"a": 1} {}')
@example(body=b'{"a": 1, "a": 2}')
def test_what_is_no_json_is_none_here_either(body: bytes) -> None:
    try:
        wanted = json.loads(body)
    except ValueError:
        wanted = None
    try:
        found = read(body)
    except ValueError:
        assert not isinstance(wanted, dict)
    else:
        assert found == wanted


@pytest.mark.parametrize("length", [4_095, 4_096, 4_097, 10_000])
@pytest.mark.parametrize("value", ["number", "text"])
def test_a_value_that_is_longer_than_usual_is_not_cut(length: int, value: str) -> None:
    tree = {"a": int("1" * 4_000) if value == "number" else "x" * length, "b": [int("2" * 4_000)] * 3}
    pad = b" " * (length % 100)
    assert read(pad + json.dumps(tree).encode() + pad) == tree


def test_a_value_beyond_all_reason_is_refused_with_its_place() -> None:
    with pytest.raises(ValueError, match=f"more than {LONGEST} characters, or none at character 5"):
        read(json.dumps({"a": "x" * LONGEST, "b": 1}).encode().replace(b": ", b":"))


def test_the_first_item_is_given_before_the_last_is_read() -> None:
    found = pieces.Pieces(['{"streamed": [{}, {"no": json']).members({"streamed"})
    name, items = next(found)
    assert (name, next(items)) == ("streamed", {})
    with pytest.raises(ValueError, match="at character 18"):
        next(items)


def test_no_more_is_held_than_one_value_needs() -> None:
    asked = 0

    def parts() -> Iterator[str]:
        nonlocal asked
        yield '{"streamed": [0'
        for number in range(1_000):
            asked = number
            yield f', "{"x" * 10_000}"'
        yield "]}"

    _, items = next(pieces.Pieces(parts()).members({"streamed"}))
    assert next(items) == 0
    assert asked == 0
    assert sum(1 for _ in items) == 1_000
    assert asked == 999


def test_what_is_nested_without_end_is_told() -> None:
    with pytest.raises(RecursionError):
        read(b'{"a": ' + b"[" * 3_000 + b"]" * 3_000 + b"}")
