"""What Kubernetes says of a cluster: the fleet snapshot for localisation, and conditions as readings for the panel.

Mirrors of nodes, pods and gang objects are kept fresh by list and watch. A mirror that has grown old gives no readings: then
the second witness is missing, which is unknown, not healthy.
"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from sliceward.daemons.mirrors import Mirrors
from sliceward.remediations.ports import JOB, JOBSET, NODE, POD, SLICE
from sliceward.topology.fleet import Fleet
from sliceward.topology.ids import HostId
from sliceward.topology.names import NAMES
from sliceward.topology.reading import Reader

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from sliceward.daemons.mirrors import Mirroring
    from sliceward.detectors.panel import Panel
    from sliceward.topology.names import Names

KINDS = (NODE, POD, JOB, JOBSET, SLICE)
STALE_AFTER = 90.0
"""Seconds after which a mirror says nothing any more; a living one is never older than 60 s (its watch is renewed)."""


class Surroundings:
    """One cluster as Kubernetes shows it; without a cluster there is an empty fleet and no reading.

    ``beside`` calls something that takes long, so that frames are taken in meanwhile: in a thread, where there are threads.
    """

    def __init__(
        self,
        name: str,
        cluster: Mirroring | None,
        *,
        names: Names = NAMES,
        beside: Callable[[Callable[[], Fleet]], Awaitable[Fleet]] = asyncio.to_thread,
    ) -> None:
        """Nothing runs yet."""
        self.name, self.names = name, names
        self._beside = beside
        self.mirrors = Mirrors(cluster, KINDS, names)
        self.fleet = Fleet(datetime.fromtimestamp(0, UTC), {}, {}, {}, {})
        self._dirty = True
        self._reader = Reader(name, names)
        self._positions: dict[HostId, Sequence[Sequence[int]]] = {}
        self._coordinates: dict[str, str] = {}

    async def run(self) -> None:
        """Keep the mirrors fresh until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self.mirrors.keep(tasks, self._changed, where=self.name)

    @property
    def synced(self) -> bool:
        """Whether every kind was listed once."""
        return self.mirrors.synced

    @property
    def age(self) -> float | None:
        """Seconds since the oldest mirror was fresh; None before all were listed, 0 without a cluster."""
        return self.mirrors.age

    @property
    def fresh(self) -> bool:
        """Whether what is held can be spoken of in the present tense."""
        return bool(self.mirrors) and self.age is not None and self.age <= STALE_AFTER

    @property
    def problem(self) -> str:
        """Why the copies are not kept fresh, "" while they are."""
        return self.mirrors.problem

    async def read(self, notes: Mapping[str, Mapping[str, str]], now: datetime) -> Fleet:
        """Give the fleet, read again only after a change; ``notes`` of the frames may hold places of chips."""
        self._learn(notes)
        if self.mirrors and self.synced and self._dirty:
            self._dirty = False
            try:
                self.fleet = await self._beside(self._reading(now))
            except BaseException:
                self._dirty = True
                raise
        return self.fleet

    def _reading(self, now: datetime) -> Callable[[], Fleet]:
        """Give the reading of what the mirrors hold now; their objects are replaced and never changed, so a thread may do it."""
        reading = partial(
            self._reader.read,
            nodes=self.mirrors["nodes"].objects,
            pods=self.mirrors["pods"].objects,
            jobsets=self.mirrors["jobsets"].objects,
            jobs=self.mirrors["jobs"].objects,
            slices=self.mirrors["slices"].objects,
            as_of=now,
            positions=dict(self._positions),
        )
        return lambda: reading().counted()

    def _changed(self) -> None:
        self._dirty = True

    def _learn(self, notes: Mapping[str, Mapping[str, str]]) -> None:
        for name in self._coordinates.keys() - notes.keys():
            if HostId(self.name, name) not in self.fleet.hosts:
                # Neither heard nor there: whoever bears this name next is another machine.
                del self._coordinates[name]
                self._positions.pop(HostId(self.name, name), None)
        for name, said in notes.items():
            text = said.get("coordinates", "")
            if text and self._coordinates.get(name) != text:
                self._coordinates[name] = text
                try:
                    self._positions[HostId(self.name, name)] = json.loads(text)
                except (ValueError, RecursionError):
                    continue
                self._dirty = True


_READY = {"True": 1.0, "False": 0.0, "Unknown": 0.0}
"""Unknown is the API server's own word on a silent kubelet. A node without the condition says nothing: it is no second witness."""


def write_readings(panel: Panel, fleet: Fleet, names: Names = NAMES) -> None:
    """Put what the fleet says of its hosts into the panel, as of now."""
    hosts = [(panel.slots[host.id.name], host) for host in fleet.hosts.values() if host.id.name in panel.slots]
    if not hosts:
        return
    slots = np.array([slot for slot, _ in hosts], dtype=np.intp)
    sick = {cube.id for cube in fleet.cubes.values() if cube.state == names.unhealthy}
    ended = {names.provider_shutdown, names.impending_termination}
    readings = {
        "host_provider_reports_lost": [any(mark.key in ended for mark in host.marks) for _, host in hosts],
        "host_ready": [_READY.get(host.conditions.get(names.ready, ""), np.nan) for _, host in hosts],
        "host_slice_error_condition": [host.conditions.get(names.slice_error) == "True" for _, host in hosts],
        "host_megascale_hang_condition": [host.conditions.get(names.megascale_hang) == "True" for _, host in hosts],
        "host_kernel_deadlock_condition": [host.conditions.get(names.kernel_deadlock) == "True" for _, host in hosts],
        "host_read_only_condition": [host.conditions.get(names.read_only) == "True" for _, host in hosts],
        "host_restarts_condition": [
            "True" in (host.conditions.get(names.runtime_restarts), host.conditions.get(names.kubelet_restarts))
            for _, host in hosts
        ],
        "host_partition_unhealthy": [host.cube in sick for _, host in hosts],
    }
    for name, values in readings.items():
        panel.write_hosts(name, slots, np.array(values, dtype=np.float32))
