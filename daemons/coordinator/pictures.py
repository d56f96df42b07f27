"""What the API shows of the fleets, drawn and written down beside the event loop: 10,000 hosts take half a second.

Row by row: a row is written and let go before the next is drawn, so that the garbage collector has nothing to look through, and
no call holds the interpreter for long. One picture at a time: each thread that computes makes the loop wait for its turns.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from sliceward.daemons.coordinator.views import SKETCHES, cluster_view
from sliceward.daemons.coordinator.web import listing, page

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sliceward.daemons.coordinator.coordinator import Coordinator
    from sliceward.daemons.coordinator.unplaced import Unplaced
    from sliceward.daemons.coordinator.views import Row, Sight
    from sliceward.daemons.coordinator.web import Asked
    from sliceward.topology.fleet import Problem

SHOWN_FOR = 1.0
"""Seconds for which one picture of the fleet is given to all who ask, while nothing changes."""


@dataclass(frozen=True, slots=True)
class _Shown:
    """A picture of the fleet. ``number``: how many were begun before it; ``changes``: those of the fleet until it was begun."""

    made: float
    changes: int
    number: int
    text: bytes


@dataclass(eq=False)
class Pictures:
    """Draws what one coordinator knows."""

    of: Coordinator
    unplaced: Unplaced
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)
    _begun: int = 0
    _shown: _Shown | None = None

    async def fleet(self) -> bytes:
        """Give the ``Fleet`` of docs/api.md. All who ask while one is drawn share the next."""
        begun = self._begun
        async with self._one:
            if self._shown is None or not self._holds(self._shown, begun):
                made, changes, number = self.of.monotonic(), self.of.bell.fleet, self._begun
                self._begun += 1
                sights = [(sight, self.unplaced.of(sight.name)) for sight in self.of.sights()]
                text = await asyncio.to_thread(partial(fleet_text, sights, self.of.clock()))
                self._shown = _Shown(made, changes, number, text)
            return self._shown.text

    def _holds(self, shown: _Shown, begun: int) -> bool:
        """Whether a picture is good for one who asked when ``begun`` were begun."""
        unchanged = shown.changes == self.of.bell.fleet and self.of.monotonic() - shown.made <= SHOWN_FOR
        return unchanged or shown.number >= begun

    async def page(self, kind: str, wanted: Asked) -> bytes:
        """Give one page of the hosts, cubes or what else ``kind`` says. Raises `Problem`."""
        async with self._one:
            sights = self.of.sights(wanted.filters.get("cluster", ""))
            return await asyncio.to_thread(partial(_page, sights, kind, wanted))


def fleet_text(sights: Sequence[tuple[Sight, Sequence[Problem]]], as_of: datetime) -> bytes:
    """Write a ``Fleet`` down: each cluster with what placement cannot use of it."""
    clusters = ", ".join(written(cluster_view(sight, unplaced)) for sight, unplaced in sights)
    return f'{{"as_of": {json.dumps(as_of.isoformat())}, "clusters": [{clusters}]}}'.encode()


def _page(sights: Sequence[Sight], kind: str, wanted: Asked) -> bytes:
    rows, following = page((one for sight in sights for one in SKETCHES[kind](sight)), wanted, keep=json.dumps)
    return listing(rows, following)


def written(row: Row) -> str:
    """Write a row down; what an iterator in it gives is written one by one."""
    return f"{{{', '.join(f'{json.dumps(name)}: {_text(value)}' for name, value in row.items())}}}"


def _text(value: object) -> str:
    return f"[{', '.join(map(json.dumps, value))}]" if isinstance(value, Iterator) else json.dumps(value)
