"""The kernel log, by patterns: errors of HBM by chip, and faults of the host. Patterns are data (``kernel_log.yaml``).

Reads ``/dev/kmsg`` from the oldest record that the kernel still has, so the counts are those since boot as far as the ring
reaches; in a test or a fake root the same file is an ordinary one that grows. Where the device does not open, as in a
container that is not privileged, the same ring is read by syslog(2).
"""

from __future__ import annotations

import functools
import os
import re
import stat
from collections import Counter
from dataclasses import dataclass, field
from importlib import resources
from itertools import islice
from typing import TYPE_CHECKING, Self

import yaml

from sliceward.daemons.sources.kernel_ring import Ring
from sliceward.daemons.sources.source import Layout, Reading
from sliceward.daemons.sources.threads import OneAtATime
from sliceward.detectors.metrics import CATALOGUE, EntityKind, Shape
from sliceward.topology.errors import Misconfigured, Retry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from sliceward.daemons.sources.devices import Devices

_CHUNK = 65_536
_MOST_RECORDS = 20_000
_MOST_TEXT = 1000
_METRICS = ("chip_hbm_uncorrectable_total", "chip_hbm_correctable_total", "host_kernel_faults_total")


@dataclass(frozen=True, slots=True)
class Pattern:
    """One kind of line."""

    name: str
    metric: str
    pattern: re.Pattern[str]
    example: str


@functools.cache
def shipped_patterns() -> tuple[Pattern, ...]:
    """Give the patterns that come with sliceward."""
    file = resources.files(__package__).joinpath("kernel_log.yaml")
    return read_patterns(file.read_text(encoding="utf-8"), where="kernel_log.yaml")


def read_patterns(text: str, *, where: str) -> tuple[Pattern, ...]:
    """Give the patterns of a YAML text.

    Raises:
        Misconfigured: no such metric, a regular expression that is none, a chip metric without capture, an example that
            its own pattern does not match.
    """
    try:
        entries = yaml.safe_load(text)["patterns"]
        found = [(str(e["name"]), str(e["metric"]), str(e["pattern"]), str(e["example"])) for e in entries]
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise Misconfigured(where, f"is not a list of patterns: {error}", "Each has name, metric, pattern, example") from error
    return tuple(_pattern(f"{where}: {entry[0]}", *entry) for entry in found)


def _pattern(where: str, name: str, metric: str, pattern: str, example: str) -> Pattern:
    known = CATALOGUE.get(metric)
    if known is None or known.shape is not Shape.COUNTER or metric not in _METRICS:
        raise Misconfigured(where, f"{metric!r} is no counter of the kernel log", f"Use one of {', '.join(_METRICS)}")
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise Misconfigured(where, f"is no regular expression: {error}") from error
    if known.kind is EntityKind.CHIP and not {"chip", "pci"} & set(compiled.groupindex):
        raise Misconfigured(where, f"{metric} is of a chip", "Capture (?P<chip>number) or (?P<pci>address)")
    if not compiled.search(example):
        raise Misconfigured(where, "does not match its own example")
    return Pattern(name, metric, compiled, example)


@dataclass(slots=True)
class KernelLog:
    """The source. ``file`` is ``/dev/kmsg`` under the root folder, or what settings name; ``ring`` is read where that does not open."""

    layout: Layout
    devices: Devices
    file: Path
    patterns: tuple[Pattern, ...]
    floor: float = 1.0
    timeout: float = 5.0
    name: str = "kernel_log"
    age_metric: str = "host_source_age_kernel_log_seconds"
    ring: Ring = field(default_factory=Ring)
    _thread: OneAtATime = field(default_factory=OneAtATime)
    _descriptor: int = -1
    _inode: tuple[int, int] = (0, 0)
    _rest: bytes = b""
    _chips: Counter[tuple[str, str]] = field(default_factory=Counter)
    _host: Counter[str] = field(default_factory=Counter)
    _latest: dict[str, str] = field(default_factory=dict)

    async def __aenter__(self) -> Self:
        """Open nothing yet: the file may come later."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the log."""
        self._close()

    async def read(self, now: float) -> Reading:  # noqa: ARG002 (records carry no wall time)
        """Count what is new and give all counts."""
        return await self._thread.run(self._read)

    def _read(self) -> Reading:
        try:
            # In a storm of lines the rest is read next time; a ring is bounded itself.
            for record in islice(self._records(), _MOST_RECORDS) if self._open() else self.ring.records():
                self._count(record)
        except OSError as error:
            self._close()
            raise Retry(f"{self.file} cannot be read: {error.strerror}") from error
        columns = {metric: self._by_chip(metric) for metric in _METRICS if CATALOGUE[metric].kind is EntityKind.CHIP}
        columns["host_kernel_faults_total"] = [float(self._host["host_kernel_faults_total"])]
        return Reading(columns, {f"kernel/{name}": text for name, text in self._latest.items()})

    def _open(self) -> bool:
        """Open the log, or open it anew where another file took its place or it was cut; False where the ring is left."""
        now = os.stat(self.file)  # noqa: PTH116 (the descriptor and the path are compared)
        inode = (now.st_dev, now.st_ino)
        is_cut = stat.S_ISREG(now.st_mode) and self._descriptor >= 0 and now.st_size < os.lseek(self._descriptor, 0, os.SEEK_CUR)
        if self._descriptor >= 0 and inode == self._inode and not is_cut:
            return True
        self._close()
        try:
            self._descriptor, self._inode = os.open(self.file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), inode
        except PermissionError:
            # The device of this machine's kernel, whose ring is the same; a file is somebody else's log, and no ring has it.
            if not stat.S_ISCHR(now.st_mode):
                raise
            return False
        return True

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._rest = -1, b""

    def _records(self) -> Iterator[str]:
        """Give each record that is new. `/dev/kmsg` gives one a read, a file gives many lines."""
        while True:
            try:
                chunk = os.read(self._descriptor, _CHUNK)
            except BlockingIOError:
                return
            except BrokenPipeError:
                continue  # records were overwritten before we read them: the next read goes on behind the gap
            if not chunk:
                return
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            self._rest = self._rest[-_CHUNK:]
            for line in lines:
                # "priority,sequence,microseconds,flags;text", Documentation/ABI/testing/dev-kmsg; " KEY=value" lines follow.
                if not line.startswith(b" "):
                    yield line.partition(b";")[2].decode("utf-8", "replace")[:_MOST_TEXT]

    def _count(self, text: str) -> None:
        for pattern in self.patterns:
            if not (match := pattern.pattern.search(text)):
                continue
            if CATALOGUE[pattern.metric].kind is EntityKind.HOST:
                self._host[pattern.metric] += 1
            else:
                named = match.groupdict()
                self._chips[pattern.metric, named.get("pci") or named.get("chip") or ""] += 1
            self._latest[pattern.name] = text
            return

    def _by_chip(self, metric: str) -> list[float]:
        """Give the counts by chip. An address is resolved only now: the log may speak before sysfs has shown all chips."""
        self.devices.look()
        counts = [0.0] * self.layout.chips
        for (name, chip), count in self._chips.items():
            place = self.devices.chip_of_function(chip) if ":" in chip else int(chip) if chip.isdecimal() else None
            if name == metric and place is not None and place < len(counts):
                counts[place] += count
        return counts
