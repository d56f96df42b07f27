"""What an action answers. A time-out or a broken connection is `Wait`, never `Failed`: unknown is not failure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Done:
    """The wanted state is *observed*. ``facts`` (JSON) are kept in the journal and given to later steps."""

    text: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wait:
    """Not there yet: call again after ``retry_in``. ``facts`` are kept as with `Done`."""

    retry_in: timedelta
    why: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failed:
    """The wanted state will not come by trying again."""

    why: str
    facts: Mapping[str, Any] = field(default_factory=dict)


Outcome = Done | Wait | Failed
