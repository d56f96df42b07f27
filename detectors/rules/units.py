"""Times and limits as people write them in rules: ``90s``, ``5 periods``, ``2 %``, ``15 GiB``; a limit in the unit of its metric."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator

if TYPE_CHECKING:
    from collections.abc import Mapping

_TIMES = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d|periods?)")
_QUANTITY = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)\s*(\S.*)?")
_SECONDS: Mapping[str, float] = {"us": 1e-6, "ms": 1e-3, **_TIMES}
_BYTES: Mapping[str, float] = {
    "B": 1.0, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30, "TiB": 2.0**40, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
}  # fmt: skip
_BITS: Mapping[str, float] = {"kbit/s": 1e-3, "Mbit/s": 1.0, "Gbit/s": 1e3}
_WORDS: Mapping[str, Mapping[str, float]] = {
    "seconds": _SECONDS,
    "microseconds": {unit: 1e6 * seconds for unit, seconds in _SECONDS.items()},
    "bytes": _BYTES,
    "megabits per second": _BITS,
    "percent": {"%": 1.0},
}
"""How many of a metric's unit each word stands for."""


@dataclass(frozen=True, slots=True)
class Span:
    """A time in a rule: ``90s``, ``5 periods`` (of frames), or ``grace`` (the watcher's setting)."""

    seconds: float = 0.0
    periods: float = 0.0
    grace: bool = False

    @classmethod
    def parse(cls, text: object) -> Span:
        """Read a span; ValueError says how to write one."""
        if isinstance(text, Span):
            return text
        if text == "grace":
            return cls(grace=True)
        match = _SPAN.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise ValueError(f"{text!r} is no time: write 90s, 10m, 2h, 5 periods or grace")
        number = float(match[1])
        return cls(periods=number) if match[2].startswith("period") else cls(seconds=number * _TIMES[match[2]])

    def at(self, period: float, grace: float) -> float:
        """Give the seconds, with ``period`` and ``grace`` in seconds."""
        return grace if self.grace else self.seconds + self.periods * period


Time = Annotated[Span, BeforeValidator(Span.parse)]


def in_unit(written: object, unit: str) -> float:
    """Give a limit in ``unit``, the one of its metric: a number is taken as it stands, ``15m`` of seconds is 900.

    Raises:
        ValueError: no number, or a unit that cannot become the metric's.
    """
    if isinstance(written, int | float) and not isinstance(written, bool):
        return _finite(float(written))
    match = _QUANTITY.fullmatch(written.strip()) if isinstance(written, str) else None
    if match is None:
        raise ValueError(f"{written!r} is no limit: write a number, with its unit if you like ({_examples(unit)})")
    word = match[2]
    if word is None or word == unit or word + "s" == unit:
        return _finite(float(match[1]))
    known = _WORDS.get(unit, {})
    if word not in known:
        raise ValueError(f"{word!r} cannot become {_named(unit)}: write {_examples(unit)}")
    return _finite(float(match[1]) * known[word])


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{value} is no limit: write a finite number")
    return value


def _named(unit: str) -> str:
    return "a bare number, which the metric has" if unit == "1" else f"{unit}, the unit of the metric"


def _examples(unit: str) -> str:
    if unit == "1":
        return "5"
    return ", ".join((f"5 {unit}", *(f"5{word}" if word != "%" else "5 %" for word in list(_WORDS.get(unit, ()))[:6])))
