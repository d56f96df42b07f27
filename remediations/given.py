"""Parameters of an action, as a playbook's ``with`` gives them."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Mapping

_DURATION = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def duration(given: Mapping[str, Any], name: str, default: timedelta) -> timedelta:
    """Give a duration: ``90s``, ``5m``, ``1h``, ``250ms``, or a number of seconds."""
    value = given.get(name)
    match value:
        case None:
            return default
        case timedelta():
            return value
        case bool():
            pass
        case int() | float() if value >= 0:
            return timedelta(seconds=value)
        case str() if found := _DURATION.fullmatch(value):
            return timedelta(seconds=float(found["number"]) * _SECONDS[found["unit"]])
        case _:
            pass
    raise Misconfigured(f"with.{name}", f"is {value!r}", "Give a duration like 90s, 5m or 1h")


def share(given: Mapping[str, Any], name: str, default: float) -> float:
    """Give a number from 0 to 1."""
    value = given.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise Misconfigured(f"with.{name}", f"is {value!r}", "Give a number from 0 to 1, like 0.9")
    return float(value)


def text(given: Mapping[str, Any], name: str, default: str = "", *, one_of: tuple[str, ...] = ()) -> str:
    """Give a text, one of ``one_of`` where that is given."""
    value = given.get(name, default)
    if not isinstance(value, str) or (one_of and value not in one_of):
        wanted = f"Give one of {', '.join(one_of)}" if one_of else "Give text"
        raise Misconfigured(f"with.{name}", f"is {value!r}", wanted)
    return value
