"""Small controllers that speak HTTP to any Kubernetes API server: the emulated one, or a real one for what it lacks.

On the emulator all of them run. On a real control plane, which has its own scheduler, Job and node controllers and fake kubelets,
only the JobSet controller is needed: ``run(kubeconfig, which=("jobsets",))``.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from sliceward.simulation.controllers.client import connect
from sliceward.simulation.controllers.controller import Controller, World, keep_acting
from sliceward.simulation.controllers.definitions import install_jobset
from sliceward.simulation.controllers.jobs import JobController
from sliceward.simulation.controllers.jobsets import JobSetController
from sliceward.simulation.controllers.kubelet import Kubelet
from sliceward.simulation.controllers.nodes import NodeLife
from sliceward.simulation.controllers.scheduler import Scheduler
from sliceward.simulation.controllers.times import MEASURED, Times

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Mapping
    from pathlib import Path

__all__ = ["ALL", "MEASURED", "Times", "run"]

_CONTROLLERS: Mapping[str, Callable[[World], Controller]] = {
    "kubelet": Kubelet,
    "nodes": NodeLife,
    "scheduler": Scheduler,
    "jobs": JobController,
    "jobsets": JobSetController,
}
ALL = tuple(_CONTROLLERS)

_BREATH = timedelta(milliseconds=20)
"""Least time between two passes of a controller at measured speed: bounds what a storm of changes costs."""


@asynccontextmanager
async def run(server: str | Path, *, which: Collection[str] = ALL, times: Times = MEASURED) -> AsyncIterator[World]:
    """Run controllers against a URL or a kubeconfig for as long as the block runs; JobSet is defined first where it is not."""
    async with connect(server) as client, asyncio.TaskGroup() as tasks:
        if "jobsets" in which:
            await install_jobset(client)
        world = World(client, times)
        controllers = {name: _CONTROLLERS[name](world) for name in which}
        running = [tasks.create_task(mirror.run()) for mirror in world.mirrors.values()]
        for mirror in world.mirrors.values():
            await mirror.synced.wait()
        for name, controller in controllers.items():
            rest = min(_BREATH, times.job_batch)
            if name == "jobs":
                rest = times.job_batch
            running.append(tasks.create_task(keep_acting(controller, rest=rest)))
        try:
            yield world
        finally:
            for task in running:
                task.cancel()
