"""Who holds the TPU devices, and the ports at which JAX and libtpu meet: every such process, its pod, container and start.

Most "bad nodes" were only occupied: an orphan process held the device. A holder is *foreign* when a pod on the node asks for
chips and the holder is outside of it, or when no pod owns the devices at all. Without knowledge of the node's pods, without
the right to look at other processes, or in a pod that began after the pods were last listed, foreign is not known (NaN), never "no".
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

from sliceward.daemons.sources.devices import Devices, text_in
from sliceward.daemons.sources.source import Held, Layout, Reading
from sliceward.daemons.sources.threads import OneAtATime
from sliceward.topology.errors import Retry

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sliceward.daemons.sources.pods import Node, PodsOnNode

# kubepods-burstable-pod0a1b_..., /kubepods/burstable/pod0a1b-.../<container>
_POD = re.compile(r"pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12})")
_CONTAINER = re.compile(r"([0-9a-f]{64})")
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_LIST_LAG = 5.0
"""Seconds that a list of pods may be behind: the API server answers from its watch cache."""
_LISTEN, _INODE_FIELD = "0A", 9
"""State of a socket that listens, and where its inode stands in /proc/net/tcp, proc(5)."""
_MOST_TABLE = 65_536
"""Bytes of that table that are read: sockets that listen stand first."""
_START_FIELD = 19  # starttime, counted behind the command's closing bracket in /proc/<pid>/stat, proc(5) field 22


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that has a device open, or listens at ``port`` (``chip`` -1). ``since`` is unix seconds, 0 where it is not known.

    ``foreign`` None: not known.
    """

    chip: int
    pid: int
    command: str
    pod_uid: str
    container: str
    since: float
    foreign: bool | None
    port: int = 0

    def __str__(self) -> str:
        """Print for people; without an age, which would change with every frame."""
        where = f"pod {self.pod_uid}" if self.pod_uid else "no pod"
        container = f", container {self.container[:12]}" if self.container else ""
        since = f", since {datetime.fromtimestamp(self.since, UTC):%Y-%m-%dT%H:%M:%SZ}" if self.since else ""
        kind = {True: "foreign: ", False: "", None: "perhaps foreign: "}[self.foreign]
        return f"{kind}pid {self.pid} ({self.command}), {where}{container}{since}"


@dataclass(slots=True)
class Holders(Held):
    """The source. ``allowed``: commands that may hold devices beside their owner (Google's own agents); ``ports``: of the host's own network."""

    layout: Layout
    devices: Devices
    node: Node
    allowed: frozenset[str] = frozenset()
    ports: frozenset[int] = frozenset()
    floor: float = 5.0
    timeout: float = 10.0
    name: str = "holders"
    age_metric: str = "host_source_age_holders_seconds"
    _thread: OneAtATime = field(default_factory=OneAtATime)

    async def read(self, now: float) -> Reading:
        """Look through all processes, on a thread."""
        return await self._thread.run(lambda: self._read(now))

    def _read(self, now: float) -> Reading:
        self.devices.look()
        sockets = listening(self.devices.root / "proc", self.ports)
        holders, is_blind = find_holders(self.devices, self.node.pods, allowed=self.allowed, now=now, sockets=sockets or {})
        self.node.is_behind = any(holder.foreign is None for holder in holders)
        column, notes = [], {}
        for chip in range(self.layout.chips):
            mine = sorted((h for h in holders if h.chip == chip), key=lambda h: (h.foreign is not True, h.since))
            column.append(_foreign(mine, is_blind=is_blind))
            if mine:
                notes[f"holder/{chip}"] = "; ".join(map(str, mine))[:2000]
        at_ports = sorted((h for h in holders if h.port), key=lambda h: (h.foreign is not True, h.port, h.since))
        if at_ports:
            notes["ports"] = "; ".join(f"{holder.port}: {holder}" for holder in at_ports)[:2000]
        # A socket that nobody was seen to hold is of a process that could not be looked at.
        unseen = is_blind and len({h.port for h in at_ports}) < len(set((sockets or {}).values()))
        foreign = math.nan if sockets is None else _foreign(at_ports, is_blind=unseen)
        return Reading({"chip_foreign_holder": column, "host_port_foreign": [foreign]}, notes)


def listening(proc: Path, ports: frozenset[int]) -> Mapping[str, int] | None:
    """Give the sockets that listen at ``ports`` of the host's own network, as descriptors show them; None where it cannot be told."""
    found: dict[str, int] = {}
    for table in ("tcp", "tcp6") if ports else ():
        try:
            with (proc / "1/net" / table).open("rb") as file:
                lines = file.read(_MOST_TABLE).decode("ascii", "replace").splitlines()[1:]
        except OSError:
            return None
        for fields in (line.split() for line in lines):
            if len(fields) > _INODE_FIELD and fields[3] == _LISTEN:
                port = int(fields[1].rpartition(":")[2], 16)
                if port in ports:
                    found[f"socket:[{fields[_INODE_FIELD]}]"] = port
    return found


def find_holders(
    devices: Devices,
    pods: PodsOnNode | None,
    *,
    allowed: frozenset[str],
    now: float,
    sockets: Mapping[str, int] = MappingProxyType({}),
) -> tuple[list[Holder], bool]:
    """Give all holders of devices and of ``sockets`` (port by descriptor), and whether some process could not be looked at.

    Raises:
        Retry: there is no ``/proc`` under the root folder.
    """
    proc = devices.root / "proc"
    chips, boot, found, is_blind = devices.chip_of_file(), _boot_time(proc, now), list[Holder](), False
    try:
        processes = [entry for entry in os.scandir(proc) if entry.name.isdecimal()]
    except OSError as error:
        raise Retry(f"{proc} cannot be read: {error.strerror}") from error
    for process in processes:
        folder = proc / process.name
        try:
            targets = _targets(folder / "fd")
        except PermissionError:
            is_blind = True
            continue
        except OSError:
            continue  # it has ended meanwhile
        held = {(chips[target], 0) for target in targets if target in chips}
        held |= {(-1, sockets[target]) for target in targets if target in sockets}
        found += [replace(_holder(folder, chip, pods, allowed, boot), port=port) for chip, port in sorted(held)]
    return found, is_blind


def _targets(folder: Path) -> list[str]:
    """Give what the descriptors of a process point at; one that is closed meanwhile is left out."""
    found = []
    for entry in os.scandir(folder):
        try:
            found.append(os.readlink(entry.path))  # noqa: PTH115 (thousands of descriptors each read)
        except FileNotFoundError:
            continue
    return found


def _holder(folder: Path, chip: int, pods: PodsOnNode | None, allowed: frozenset[str], boot: float) -> Holder:
    cgroup = text_in(folder / "cgroup")
    pod, container = _POD.search(cgroup), _CONTAINER.search(cgroup)
    uid, command = pod[1].replace("_", "-") if pod else "", text_in(folder / "comm")[:64]
    start = text_in(folder / "stat").rpartition(")")[2].split()
    ticks = start[_START_FIELD] if len(start) > _START_FIELD else ""
    since = boot + int(ticks) / _TICKS if boot and ticks.isdecimal() else 0.0
    foreign = False if command in allowed else _is_foreign(uid, since, pods)
    return Holder(chip, int(folder.name), command, uid, container[1] if container else "", since, foreign)


def _is_foreign(uid: str, since: float, pods: PodsOnNode | None) -> bool | None:
    """Whether no pod of the list owns a holder; None where the list is older than the holder's pod may be."""
    if pods is None:
        return None
    if uid in pods.by_uid:
        return False
    return None if uid and since + _LIST_LAG > pods.as_of else True


def _boot_time(proc: Path, now: float) -> float:
    """Give the host's boot in unix seconds, to a whole second so that notes do not flicker; 0 where it is not known."""
    uptime = text_in(proc / "uptime").split()
    try:
        return round(now - float(uptime[0]))
    except (IndexError, ValueError):
        return 0.0


def _foreign(holders: list[Holder], *, is_blind: bool) -> float:
    if any(holder.foreign for holder in holders):
        return 1.0
    return math.nan if is_blind or any(holder.foreign is None for holder in holders) else 0.0
