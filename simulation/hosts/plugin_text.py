"""GKE's device plugin as a simulated host serves it: Prometheus text on port 2112."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from aiohttp import web

from sliceward.simulation.serving import served

if TYPE_CHECKING:
    from sliceward.simulation.hosts.state import HostState


class PluginText:
    """The door on port 2112: open as long as the host lives."""

    def __init__(self, state: HostState, address: str, port: int) -> None:
        """Nothing is served before `open`."""
        self._state, self._address, self._port = state, address, port
        self._door = AsyncExitStack()

    async def open(self) -> None:
        """Begin to serve."""
        app = web.Application()
        app.router.add_get("/metrics", self._answer)
        await self._door.enter_async_context(served(app, host=self._address, port=self._port, patience=0.1))

    async def close(self) -> None:
        """Stop serving and hang up."""
        await self._door.aclose()

    async def _answer(self, _request: web.Request) -> web.Response:
        return web.Response(text=text_of(self._state), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


def text_of(state: HostState) -> str:
    """Give the metrics of a host as the plugin writes them."""
    lines: list[str] = []
    for name, about in _GAUGES.items():
        lines += [f"# HELP {name} {about}", f"# TYPE {name} gauge"]
        for chip in range(state.chips):
            if chip not in state.missing:
                labels = f'make="cloud-tpu",accelerator_id="{state.instance_id}-{chip}",model="{state.generation.label}",tpu_topology=""'
                lines.append(f"{name}{{{labels}}} {_value(name, state, chip):g}")
    return "\n".join(lines) + "\n"


_GAUGES = {
    "duty_cycle_node": "Percent of time over the last 60 seconds during which the accelerator was busy",
    "memory_used_node": "Memory used in bytes",
    "memory_total_node": "Memory total in bytes",
    "tensorcore_utilization_node": "Percent of the TensorCore that is used",
    "memory_bandwidth_utilization_node": "Percent of the memory bandwidth that is used",
}


def _value(name: str, state: HostState, chip: int) -> float:
    used, total = state.hbm_bytes(chip)
    match name:
        case "memory_used_node":
            return used
        case "memory_total_node":
            return total
        case "tensorcore_utilization_node":
            return 0.0 if state.is_stuck else state.duty_cycle(chip) * 0.55
        case "memory_bandwidth_utilization_node":
            return 0.0 if state.is_stuck else state.duty_cycle(chip) * 0.6
        case _:
            return state.duty_cycle(chip)
