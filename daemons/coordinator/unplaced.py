"""What placement cannot use of the fleets, by name: looked for beside the event loop once a fleet has changed, for the page and for alerts.

One mislabelled node keeps no gang from its place elsewhere; but nothing new is placed on it, and somebody has to be told.
"""

from __future__ import annotations

import asyncio
import operator
from typing import TYPE_CHECKING

import structlog
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from prometheus_client import Metric

    from sliceward.daemons.coordinator.side import Side
    from sliceward.scheduling.scene import Scene
    from sliceward.topology.fleet import Fleet, Problem

log = structlog.get_logger(__name__)

EVERY = 60.0
"""Seconds between two looks: a snapshot of 25,000 hosts takes a third of a second of a thread."""


class Unplaced(Collector):
    """What was found last."""

    def __init__(self, sides: Sequence[Side], scene: Callable[[], Scene | None]) -> None:
        """Look at the fleets of ``sides``, all of them in one ``scene``."""
        self._sides, self._scene = sides, scene
        self._looked: tuple[Fleet | None, ...] = ()
        self._found: tuple[Problem, ...] = ()

    def of(self, cluster: str) -> tuple[Problem, ...]:
        """Give what was found of one cluster."""
        return tuple(problem for problem in self._found if problem.about.partition("/")[0] == cluster)

    async def look(self) -> None:
        """Look again, if a fleet was read anew."""
        fleets = tuple(side.fleet for side in self._sides)
        known = len(fleets) == len(self._looked) and all(map(operator.is_, fleets, self._looked))
        scene = None if known else self._scene()
        if scene is None:
            return
        found = await asyncio.to_thread(lambda: scene.snapshot.set_aside)
        for problem in set(found) - set(self._found):
            log.warning("not placed on", name=problem.name, about=problem.about, why=problem.why)
        self._looked, self._found = fleets, found

    async def keep(self) -> None:
        """Look again and again; what cannot be looked at now is looked at the next time."""
        while True:
            try:
                await self.look()
            except Exception:
                log.exception("fleets not looked at for what cannot be placed on")
            await asyncio.sleep(EVERY)

    def collect(self) -> Iterator[Metric]:
        """Give the figure now."""
        about = "Contradictions in the fleet that placement sets aside, so that nothing new is placed there."
        family = GaugeMetricFamily("sliceward_placement_set_aside", about, labels=["cluster"])
        for side in self._sides:
            family.add_metric([side.name], len(self.of(side.name)))
        yield family
