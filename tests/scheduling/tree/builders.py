"""Small trees for tests: hosts by path with chips, and the room that an assignment takes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from sliceward.scheduling.tree.ask import Ask, Layer, Preferred, Required, Unconstrained
from sliceward.scheduling.tree.suiting import Host
from sliceward.scheduling.tree.tree import HOSTNAME, LabelTree

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sliceward.scheduling.tree.assignment import Assignment

LEVELS = ("block", "rack", HOSTNAME)
CHIP = "google.com/tpu"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def a_host(path: str, chips: int, *, levels: Sequence[str] = LEVELS, usable: bool = True) -> Host:
    labels = dict(zip(levels, path.split("/"), strict=True))
    return Host(path.rpartition("/")[2], labels, {CHIP: chips, "pods": 100}, usable=usable)


def a_tree(chips: Mapping[str, int], *, levels: Sequence[str] = LEVELS, sick: frozenset[str] = frozenset()) -> LabelTree:
    hosts = [a_host(path, count, levels=levels, usable=path.rpartition("/")[2] not in sick) for path, count in chips.items()]
    return LabelTree.of(levels, hosts)


def an_ask(count: int, where: Required | Preferred | Unconstrained | None = None, *layers: Layer) -> Ask:
    return Ask("main", count, {CHIP: 1}, where, layers)


def pods_by_host(assignment: Assignment) -> dict[str, int]:
    return {seat.values[-1]: seat.pods for seat in assignment.seats}


@st.composite
def chips_by_host(draw: st.DrawFn) -> dict[str, int]:
    """Draw up to three blocks of up to three racks of up to three hosts."""
    found: dict[str, int] = {}
    for block in range(draw(st.integers(1, 3))):
        for rack in range(draw(st.integers(1, 3))):
            for _ in range(draw(st.integers(1, 3))):
                found[f"b{block}/r{rack}/h{len(found)}"] = draw(st.integers(0, 5))
    return found


@st.composite
def asks(draw: st.DrawFn) -> Ask:
    """Draw a pod set: required, preferred or anywhere, with no layer, one or two."""
    level = draw(st.integers(0, 2))
    below = draw(st.integers(level, 2))
    inner, times = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    nested = draw(st.booleans()) and below < len(LEVELS) - 1
    layers = (Layer(LEVELS[below], inner * times), *([Layer(LEVELS[draw(st.integers(below + 1, 2))], inner)] if nested else []))
    chosen = layers if draw(st.booleans()) else ()
    places: list[Required | Preferred | Unconstrained] = [Required(LEVELS[level]), Preferred(LEVELS[level]), Unconstrained()]
    where = draw(st.sampled_from(places))
    return an_ask(draw(st.integers(1, 6)) * (chosen[0].size if chosen else 1), where, *chosen)
