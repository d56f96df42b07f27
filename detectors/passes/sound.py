"""Whether what was kept on disk may be believed: shapes that fit, values that a watch can come to, accusations of somebody by something.

Whoever can write the file can still write what is plausible. So beyond these checks nothing in it accuses anybody by itself: evidence begins anew
(`sliceward.detectors.passes.keeping.without_evidence`), and who stands condemned must be so at the broker too.
"""

from __future__ import annotations

from dataclasses import MISSING, fields
from math import inf, isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from sliceward.detectors.metrics import CATALOGUE
from sliceward.detectors.passes.drift import CAP, SHIFTS
from sliceward.detectors.passes.keeping import Unsound
from sliceward.detectors.passes.verdicts import MOST_STRICTER, QUIET, Level, Standing
from sliceward.topology.errors import Misconfigured
from sliceward.topology.ids import parse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from sliceward.detectors.passes.keeping import Kept

    Array = NDArray[Any]

HOLES = frozenset({"last", "down_since", "returns", "scores", "rows"})
"""Arrays in which something may be missing."""
MOST_TICKS = 1e9
HUGE = 1e15
LIMITS: Mapping[str, tuple[float, float]] = {
    "own": (0, 1e9),
    "scale": (0, HUGE),
    "length": (1 - 1e-3, 1e6),
    "short": (-64, 64),
    "moment": (0, float(np.exp(4 * SHIFTS[-1])) * 1.01),
    "nats": (-HUGE, float(CAP) + 1),
    "most": (-HUGE, float(CAP) + 1),
    "shape": (1e-6, 1e6),
    "spread": (1e-12, HUGE),
    "squares": (0, HUGE),
    "means": (0, HUGE),
    "events": (0, HUGE),
}
"""Least and most of what a watch comes to, by the name of the array."""
OF_TICKS = frozenset({"seen", "ticks", "gap", "age"})
"""Arrays and numbers that count ticks: never more than there were."""
IN_UNITS = frozenset({"offset", "scale", "level"})
"""Arrays ``[gauges, ...]`` in the units of the readings: no reading is further from another than its range."""
SECONDS = frozenset({"down_since", "returns"})
AHEAD = 300.0
"""Seconds by which what was seen may lie behind the time of saving: two clocks."""
LONGEST, MOST_TOLD = 512, 64


def check(before: Kept) -> None:
    """Refuse what no watch keeps. Raises `Unsound`."""
    tick, at = before.numbers.get("tick", inf), before.numbers.get("at", inf)
    if not (0 <= tick <= MOST_TICKS and 0 <= at < inf):
        raise Unsound("its ticks cannot be counted")
    if not 0 <= before.numbers.get("stricter", inf) <= MOST_STRICTER:
        raise Unsound("it asks for more than anything can show")
    for path, number in before.numbers.items():
        most = tick + 1 if path.rpartition("/")[2] in OF_TICKS else HUGE
        if not -HUGE <= number <= most:
            raise Unsound(f"{path[:80]} is {number:g}")
    for path, array in before.arrays.items():
        _check_array(path, array, before, tick, at)
    for row in before.accused:
        _check_row(row, tick)


def _check_array(path: str, value: Array, before: Kept, tick: float, at: float) -> None:
    name = path.rpartition("/")[2]
    if value.dtype.kind not in "fiub" or value.ndim > 3:  # noqa: PLR2004 (shifts, rows, members)
        raise Unsound(f"{path[:80]} holds no numbers of ours")
    if not value.size or value.dtype.kind == "b":
        return
    there = value[~np.isnan(value)] if value.dtype.kind == "f" and name in HOLES else value
    low, high = LIMITS.get(name, (-HUGE, HUGE))
    if name in OF_TICKS:
        low, high = 0, tick + 1
    elif name in SECONDS:
        low, high = 0, at + AHEAD
    if there.size and not (low <= there.min() and there.max() <= high):  # a NaN is neither
        raise Unsound(f"{path[:80]} is out of bounds")
    if name in IN_UNITS and path.count("/") <= 2 and value.ndim:  # noqa: PLR2004 (of members: of groups it is deviations)
        _check_units(path, value, before)


def _check_units(path: str, value: Array, before: Kept) -> None:
    kind, inner = path.split("/")[:2]
    if inner not in {"base", "level"}:
        return
    for told, row in zip(before.signals.get(kind, ()), value, strict=False):
        metric = CATALOGUE.get(told.split(" ")[0])
        reach = inf if metric is None else metric.high - metric.low
        if isfinite(reach) and np.abs(row).max(initial=0) > reach:
            raise Unsound(f"{path[:80]} is out of the range of {told[:80]}")


# ── accusations ───────────────────────────────────────────────────────────────────────────────────────────────────────

_TYPES: Mapping[str, type] = {"str": str, "bool": bool}
_BOUNDS: Mapping[str, tuple[float, float]] = {
    "best": (0, len(SHIFTS) - 1),
    "nats": (-HUGE, float(CAP)),
    "quiet": (0, QUIET),
    "offences": (0, 1e6),
    "told": (0, 2.0**33),
    "offended": (0, 1e6),
}


def _check_row(row: Mapping[str, Any], tick: float) -> None:
    if not _is_part(row.get("part")):
        raise Unsound(f"it accuses {str(row.get('part'))[:80]!r}")
    if "offences" in row:
        _check_number(row, "offences", tick)
        _check_number(row, "tick", tick)
        return
    for one in fields(Standing):
        if one.name in row:
            _check_field(row, one.name, str(one.type), tick)
        elif one.default is MISSING:
            raise Unsound(f"an accusation has no {one.name}")
    for name in row.keys() & {"told", "offended"}:
        _check_number(row, name, tick)
    by = row.get("by", ())
    if not isinstance(by, list | tuple) or len(by) > MOST_TOLD or not all(map(_is_told, by)):
        raise Unsound("an accusation by nobody")


def _is_part(text: object) -> bool:
    try:
        return isinstance(text, str) and len(text) <= LONGEST and str(parse(text)) == text
    except Misconfigured:
        return False


def _check_field(row: Mapping[str, Any], name: str, kind: str, tick: float) -> None:
    if kind in {"int", "float"}:
        _check_number(row, name, tick, whole=kind == "int")
    elif kind == "Level":
        if row[name] not in {Level.SUSPECT.value, Level.CONDEMNED.value}:
            raise Unsound(f"an accusation of level {str(row[name])[:80]!r}")
    elif not isinstance(row[name], _TYPES[kind]) or len(str(row[name])) > LONGEST:
        raise Unsound(f"an accusation whose {name} is none")


def _is_told(one: object) -> bool:
    if not isinstance(one, list | tuple) or len(one) != 2 or not isinstance(one[0], str):  # noqa: PLR2004 (name and nats)
        return False
    return len(one[0]) <= LONGEST and isinstance(one[1], int | float) and abs(one[1]) <= HUGE


def _check_number(row: Mapping[str, Any], name: str, tick: float, *, whole: bool = False) -> None:
    value = row[name]
    low, high = _BOUNDS.get(name, (-1, tick + 1))
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not low <= value <= high:
        raise Unsound(f"an accusation whose {name} is {str(value)[:80]}")
