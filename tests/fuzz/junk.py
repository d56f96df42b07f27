"""How valid input is broken: bytes cut, changed and put in; values of a tree replaced, taken away and added."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Hashable

EXTREMES = (0, -1, 1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63), 2**64 - 1, 1e308, -1e308, float("inf"), float("-inf"), float("nan"))
WORDS = ("", "-", "\x00", "\u202e", "\U0001f600", "a/b", "../..", "%s{}", "x" * 300, "x" * 70_000, "4x4x4", "true", "null")
JUNK: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.sampled_from(EXTREMES) | st.sampled_from(WORDS) | st.integers(-9, 9) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)


@st.composite
def broken_bytes(draw: st.DrawFn, valid: bytes) -> bytes:
    """Bytes that were valid once: cut off, changed at places, with others put in, doubled, or not from here at all."""
    place = draw(st.integers(0, len(valid)))
    match draw(st.sampled_from(("cut", "begun", "changed", "put in", "doubled", "noise", "empty"))):
        case "cut":
            found = valid[:place]
        case "begun":
            found = valid[place:]
        case "changed":
            other = bytearray(valid)
            for _ in range(draw(st.integers(1, 8))):
                other[draw(st.integers(0, len(valid) - 1))] = draw(st.integers(0, 255))
            found = bytes(other)
        case "put in":
            found = valid[:place] + draw(st.binary(min_size=1, max_size=40)) + valid[place:]
        case "doubled":
            found = valid + valid[:place]
        case "noise":
            found = draw(st.binary(max_size=200))
        case _:
            found = b""
    return found


@st.composite
def broken_tree(draw: st.DrawFn, valid: Any, junk: st.SearchStrategy[Any] = JUNK) -> Any:  # noqa: ANN401 (a tree of plain values)
    """A copy in which one value somewhere is replaced, taken away, put in beside, or doubled."""
    tree = copy.deepcopy(valid)
    here: Any = tree
    while True:
        keys: list[Hashable] = list(here) if isinstance(here, dict) else list(range(len(here)))
        key = draw(st.sampled_from(keys))
        if isinstance(here[key], dict | list) and here[key] and draw(st.integers(0, 3)):
            here = here[key]
            continue
        match draw(st.sampled_from(("replaced", "replaced", "taken away", "put in"))):
            case "replaced":
                here[key] = draw(junk)
            case "taken away":
                del here[key]
            case _ if isinstance(here, dict):
                here[draw(st.text(min_size=1, max_size=9))] = draw(junk)
            case _:
                here.append(draw(junk))
        return tree
