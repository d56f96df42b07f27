"""Sees every change of nodes and pods on a real API server, and notes what must never be: see DESIGN.md, section 6."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sliceward.simulation.controllers.client import NODES, PODS, Mirror
from sliceward.simulation.controllers.fitting import chips
from sliceward.topology.names import NAMES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection

    from sliceward.simulation.controllers.client import Client

Json = dict[str, Any]


@dataclass(eq=False)
class Witness:
    """``marked``: hosts that ever carried our mark, and for whom. ``at_once``: the most of them at one moment.

    ``people``: what people put on nodes, by node: a taint, or None for a cordon. ``sick``: hosts that may not be given back
    yet, asked anew each time. ``known``: pods from before the fault. ``broken``: what must never be, and was.
    """

    client: Client
    most: int
    marked: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    at_once: set[str] = field(default_factory=set)
    people: dict[str, Json | None] = field(default_factory=dict)
    sick: Callable[[], Collection[str]] = tuple
    known: frozenset[str] = frozenset()
    broken: list[str] = field(default_factory=list)
    nodes: Mirror = field(init=False)
    pods: Mirror = field(init=False)

    def __post_init__(self) -> None:
        self.nodes, self.pods = (Mirror(self.client, kind, self._look) for kind in (NODES, PODS))

    def marks(self) -> dict[str, set[str]]:
        """Give the hosts with a mark of ours now, and the incidents in it."""
        found = {node["metadata"]["name"]: _ours(node) for node in self.nodes}
        return {name: ours for name, ours in found.items() if ours}

    def of(self, gang: str) -> list[Json]:
        """Give the pods of a gang."""
        return [pod for pod in self.pods if pod["metadata"].get("labels", {}).get(NAMES.jobset_name) == gang]

    def uids(self, gang: str) -> dict[str, str]:
        """Give the pods of a gang by uid, and where they are."""
        return {pod["metadata"]["uid"]: str(pod["spec"].get("nodeName", "")) for pod in self.of(gang)}

    def cubes(self, gang: str) -> dict[str, set[str]]:
        """Give the cubes in which each slice of a gang has pods, by job index."""
        found: dict[str, set[str]] = defaultdict(set)
        for pod in self.of(gang):
            found[pod["metadata"]["labels"][NAMES.job_index]].add(_cube(str(pod["spec"].get("nodeName", ""))))
        return dict(found)

    def _look(self) -> None:
        now = self.marks()
        for name, incidents in now.items():
            self.marked[name] |= incidents
            if len(incidents) > 1:
                self._note(f"invariant 2: {name} is held by {sorted(incidents)}")
        if len(now) > len(self.at_once):
            self.at_once = set(now)
        if len(now) > self.most:
            self._note(f"invariant 1: {len(now)} hosts are out of service, {self.most} may be")
        for name in self.sick():
            if name in self.marked and name not in now:
                self._note(f"{name} was given back before it was repaired")
        self._people()
        self._gangs()

    def _people(self) -> None:
        for name, taint in self.people.items():
            node = self.nodes.get(name)
            if node is None:
                continue
            stands = taint in node["spec"].get("taints", ()) if taint else node["spec"].get("unschedulable") is True
            if not stands:
                self._note(f"invariant 6: what people put on {name} is gone")

    def _gangs(self) -> None:
        on: dict[str, set[str]] = defaultdict(set)
        cubes: dict[tuple[str, str], set[str]] = defaultdict(set)
        for pod in self.pods:
            host, labels = pod["spec"].get("nodeName"), pod["metadata"].get("labels", {})
            if not host or not chips(pod) or pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}:
                continue
            if self.known and pod["metadata"]["uid"] not in self.known and host in self.sick():
                self._note(f"a pod was placed on {host} before it was repaired")
            on[host].add(labels[NAMES.jobset_name])
            cubes[labels[NAMES.jobset_name], labels[NAMES.job_index]].add(_cube(host))
        for host, gangs in on.items():
            if len(gangs) > 1:
                self._note(f"invariant 7: {host} is shared by {sorted(gangs)}")
        for (gang, job), found in cubes.items():
            if len(found) > 1:
                self._note(f"invariant 7: slice {job} of {gang} is mixed over {sorted(found)}")

    def _note(self, what: str) -> None:
        if what not in self.broken:
            self.broken.append(what)


def _ours(node: Json) -> set[str]:
    return {taint.get("value", "") for taint in node["spec"].get("taints", ()) if taint["key"] == NAMES.out_of_service}


def _cube(host: str) -> str:
    return host.partition("-host-")[0]


@asynccontextmanager
async def witnessing(client: Client, *, most: int) -> AsyncIterator[Witness]:
    """Watch for as long as the block runs."""
    witness = Witness(client, most)
    running = [asyncio.create_task(mirror.run()) for mirror in (witness.nodes, witness.pods)]
    try:
        for mirror in (witness.nodes, witness.pods):
            await mirror.synced.wait()
        yield witness
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
