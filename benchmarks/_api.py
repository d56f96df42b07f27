"""``_api.py FILE HOSTS PODS BEAT``: the emulated API server with a fleet; writes its kubeconfig to FILE once it serves.

``BEAT``: seconds between two heartbeats of one node (5 minutes on real kubelets), 0 for none.
"""

from __future__ import annotations

import asyncio
import sys
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._fleet import drawn
from sliceward.simulation.kube import kinds
from sliceward.simulation.kube.server import EmulatedApi, running_api

if TYPE_CHECKING:
    from sliceward.topology.plan import Objects


def fill(api: EmulatedApi, objects: Objects) -> None:
    """Put the objects as they are, without the rules of creation."""
    store = api.store
    store.listeners.clear()  # nothing is ever deleted here, and the owners of most pods are not drawn
    store.serve(kinds.Kind("jobset.x-k8s.io", "v1alpha2", "jobsets", "JobSet"))
    served = {kind.plural: kind for kind in (one.kind for one in store.collections())}
    for plural, found in (("nodes", objects.nodes), ("pods", objects.pods), ("jobsets", objects.jobsets), ("jobs", objects.jobs)):
        for one in found:
            store.put(served[plural], one, None)


async def beating(api: EmulatedApi, every: float) -> None:
    """Let each node say now and then that it lives."""
    names = [node["metadata"]["name"] for node in api.store.list(kinds.NODE)]
    for name in cycle(names):
        await asyncio.sleep(every / len(names))
        node = api.store.get(kinds.NODE, name)
        if node is not None:
            api.store.put(kinds.NODE, node, None)


async def main(file: Path, hosts: int, pods: int, beat: float) -> None:
    """Serve until ended."""
    async with running_api() as api:
        fill(api, drawn(hosts, pods_a_host=pods))
        api.write_kubeconfig(file.with_suffix(".new")).rename(file)
        if beat:
            await beating(api, beat)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
