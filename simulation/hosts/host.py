"""One simulated host: a state, the doors that show it, and what can happen to it."""

from __future__ import annotations

import socket
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from sliceward.simulation.hosts.plugin_text import PluginText
from sliceward.simulation.hosts.root import RootFolder, address
from sliceward.simulation.hosts.runtime_metrics import RuntimeMetrics
from sliceward.topology.errors import Retry
from sliceward.topology.names import NAMES
from sliceward.workload import Reporter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from sliceward.simulation.hosts.state import Holder, HostState, RunningJob

_A_NET = 250
FIRST_NET, LAST_NET = 20, 119


def address_of(number: int, net: int = FIRST_NET) -> str:
    """Give the loopback address of host ``number`` (0 ...): 127.20.0.1, and so on; all of 127/8 is loopback on Linux."""
    return f"127.{net}.{number // _A_NET}.{number % _A_NET + 1}"


@contextmanager
def own_net(port: int = NAMES.device_plugin_port) -> Iterator[int]:
    """Give a net for `address_of` that no other simulated fleet of this machine gets as long as the block runs.

    What is held is the UDP port beside the TCP port that the first host serves on.

    Raises:
        Retry: all of them are taken.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        for net in range(FIRST_NET, LAST_NET + 1):
            try:
                held.bind((address_of(0, net), port))
            except OSError:
                continue
            yield net
            return
        raise Retry(f"port {port} is taken on every net from 127.{FIRST_NET} to 127.{LAST_NET}")


@dataclass(frozen=True, slots=True)
class Pace:
    """How often the in-job reporter speaks and reads the chips, in seconds. A real one: 1 and 10."""

    report: float = 1.0
    chips: float = 10.0


class SimulatedHost:
    """Serves the doors of one host from `HostState`. Use it as an async context manager."""

    def __init__(self, state: HostState, *, address: str, folder: Path, socket: Path, pace: Pace | None = None) -> None:
        """``folder`` becomes the host's root folder; libtpu's service and the device plugin are on the real ports of ``address``.

        ``socket`` is where the host's agent listens to reporters. On a host it is a short path; ``folder`` may be so deep
        that below it no socket fits into the 107 bytes of an address (unix(7)).
        """
        self.state, self.address, self.folder, self.socket = state, address, folder, socket
        self._root = RootFolder(folder, state)
        self._metrics = RuntimeMetrics(state, address, NAMES.runtime_metrics_port, time.time)
        self._plugin = PluginText(state, address, NAMES.device_plugin_port)
        self._pace = pace or Pace()
        self.reporter: Reporter | None = None

    def agent_configuration(self, *, cluster: str, broker: str, period: str = "1s", slow: str = "5s") -> dict[str, Any]:
        """Give the agent's configuration file for this host, as a mapping.

        ``slow``: time between two reads of libtpu and of the device plugin, which cost most.
        """
        floor, gentle = {"floor": period}, {"floor": slow}
        return {
            "cluster": cluster,
            "node": self.state.node,
            "broker": {"url": broker},
            "instance_id": self.state.instance_id,
            "index": self.state.index,
            "generation": self.state.generation.label,
            "chips": self.state.chips,
            "period": period,
            "state": str(self.folder / "var/lib/sliceward"),
            "sources": {
                "root": str(self.folder),
                "libtpu": {"targets": [self.address], "ports": [NAMES.runtime_metrics_port], **gentle},
                "device_plugin": {"url": f"http://{self.address}:{NAMES.device_plugin_port}/metrics", **gentle},
                "host": floor,
                "holders": floor,
                "reporter": {"socket": str(self.socket)},
                "selftest": {"watched": ["/"]},
            },
        }

    async def __aenter__(self) -> Self:
        """Boot."""
        self._root.create()
        await self._plugin.open()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Shut down."""
        await self.stop_job()
        await self._plugin.close()

    # ── the training gang ─────────────────────────────────────────────────────────────────────────────────────────────

    async def start_job(self, job: RunningJob) -> None:
        """Start a member of a gang here: it takes the devices, opens port 8431 and reports. Nothing starts on a dead host."""
        await self.stop_job()
        if self.state.is_dead:
            return
        self.state.job, self.state.is_stuck = job, False
        self._root.update()
        await self._metrics.open()
        environ = {
            "SLICEWARD_AGENT_ADDRESS": f"unix:{self.socket}",
            "SLICEWARD_GANG": job.gang,
            "SLICEWARD_ROLE": job.role,
            "SLICEWARD_SLICE": str(job.slice_index),
            "SLICEWARD_RANK": str(job.rank),
            "SLICEWARD_REPORT_SECONDS": str(self._pace.report),
            "SLICEWARD_CHIP_SECONDS": str(self._pace.chips),
            "POD_UID": job.pod_uid,
        }
        self.reporter = Reporter(environ, chips=_Chips(self.state))

    async def stop_job(self) -> None:
        """End the member: devices free, port closed, reporter silent."""
        reporter, self.reporter = self.reporter, None
        if reporter is not None:
            reporter.close()
        if self.state.job is not None:
            self.state.job = None
            await self._metrics.close()
            self._root.update()

    def step(self, number: int) -> None:
        """End a training step here. A dead host or a stuck job ends none."""
        job = self.state.job
        if job is None or self.reporter is None or self.state.is_dead or self.state.is_stuck:
            return
        job.step, job.stepped, job.steps = number, time.time(), job.steps + 1
        self.reporter.step(number)

    def checkpointed(self, step: int) -> None:
        """Complete a checkpoint here."""
        if self.reporter is not None and not self.state.is_dead:
            self.reporter.checkpointed(step)

    @property
    def checkpoint_requested(self) -> bool:
        """Whether the agent has asked the job here for a checkpoint."""
        return self.reporter is not None and not self.state.is_dead and self.reporter.checkpoint_requested()

    # ── what can happen to it ─────────────────────────────────────────────────────────────────────────────────────────

    def set_link(self, chip: int, port: int, score: int) -> None:
        """Make one end of an ICI link show ``score`` (0 healthy to 10 unusable)."""
        self.state.links[chip, port] = score

    def set_throttle(self, chip: int, score: int) -> None:
        """Throttle a chip (0 none, 1-10 = by 10-100 %)."""
        self.state.throttle[chip] = score

    def memory_errors(self, chip: int, count: int = 1, *, uncorrectable: bool = True) -> None:
        """Write ``count`` HBM errors of a chip to the kernel log."""
        kind = "uncorrectable" if uncorrectable else "correctable"
        for _ in range(count):
            self._root.log(f"vfio-pci {address(chip)}: HBM stack 0: {kind} ECC error")

    def set_missing(self, chip: int, *, missing: bool) -> None:
        """Take away or bring back a chip's device file."""
        (self.state.missing.add if missing else self.state.missing.discard)(chip)
        self._root.update()

    def hold(self, chip: int, holder: Holder | None) -> None:
        """Let a foreign process hold a chip's device, or let go of it."""
        if holder is None:
            self.state.foreign.pop(chip, None)
        else:
            self.state.foreign[chip] = holder
        self._root.update()

    def log(self, text: str) -> None:
        """Write a line to the kernel log."""
        self._root.log(text)

    async def die(self) -> None:
        """Lose power: every door closes, the job ends without a word."""
        self.state.is_dead = True
        await self.stop_job()
        await self._plugin.close()

    async def repair(self, *, boot_id: str, instance_id: str = "") -> None:
        """Boot again, healthy; ``instance_id`` where the provider put another machine in its place."""
        state, was_dead = self.state, self.state.is_dead
        state.links.clear()
        state.throttle.clear()
        state.missing.clear()
        state.foreign.clear()
        state.aer_correctable.clear()
        state.slice_error, state.is_stuck, state.is_dead = "", False, False
        state.boot_id, state.instance_id = boot_id, instance_id or state.instance_id
        self._root.clear_log()
        self._root.update()
        if was_dead:
            await self._plugin.open()


@dataclass(frozen=True, slots=True)
class _Chips:
    """The chips as a job's own process reads them."""

    state: HostState

    def read(self) -> dict[str, Any]:
        state = self.state
        here = [chip for chip in range(state.chips) if chip not in state.missing]
        ports = range(state.generation.ports_a_chip)
        job = state.job
        return {
            "links": {f"{chip}/{port}": state.links.get((chip, port), 0) for chip in here for port in ports},
            "throttle": {str(chip): state.throttle.get(chip, 0) for chip in here},
            "coordinates": [list(place) for place in job.coordinates] if job is not None else [],
        }
