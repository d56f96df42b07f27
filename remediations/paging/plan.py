"""What the configuration says of one pager, and what every pager is made from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    import aiohttp


@dataclass(frozen=True, slots=True)
class PagerPlan:
    """One receiver of pages. ``secret`` is a signing secret or routing key and is never printed; nor is ``url``, which may hold one."""

    kind: str
    name: str
    url: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What pagers use of the process: its HTTP session, the wall clock, and where the console writes a line."""

    session: aiohttp.ClientSession
    now: Callable[[], datetime]
    write: Callable[[str], None]
