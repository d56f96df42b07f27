"""Logs of the TPU pods of this node: the few lines that tell why a gang fails, by the clock of the container runtime.

What a job prints is not trusted and not passed on but for the first line of each kind, cut. A read takes a bounded number of bytes; in
a storm of lines the middle is skipped, and counted. Files stay open, so that the last words of a pod are read after it is gone.
"""

from __future__ import annotations

import functools
import os
import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from importlib import resources
from typing import TYPE_CHECKING, Self

import msgspec
import yaml

from sliceward.daemons.sources.source import Reading
from sliceward.daemons.sources.threads import OneAtATime
from sliceward.detectors.sightings import BURST, KEPT, NOTE, Line, Sighting, plain, to_note
from sliceward.topology.errors import Misconfigured, Retry

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from sliceward.daemons.sources.pods import Node, TpuPod

_MOST_FILES = 16
_MOST_READ = 262_144
"""Bytes of all logs together in one read: 26 KB a second at the usual floor, which cost 0.2 thousandths of a core, and 0.6 in a storm of lines that count."""
_BEHIND = 1 << 20
"""Bytes behind the end of a log from which its middle is skipped."""
_FIRST = 65_536
"""Bytes of a log's end that are read when it is met."""
_MOST_LINES = 200
"""Lines that are looked at closely in one read."""
_MOST_SEEN = 64
_LINE, _TEXT = 2000, 200
"""Bytes of a line that are looked at, and characters that are told."""
_STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)) (?:stdout|stderr) [FP] (.*)")
"""One line as the container runtime interface writes it: time, stream, whether it is whole, text."""
_NUMBERED = re.compile(r"(\d{1,6})\.log")


@dataclass(frozen=True, slots=True)
class Pattern:
    """One kind of line."""

    line: Line
    needs: bytes
    pattern: re.Pattern[str]
    example: str


@functools.cache
def shipped_patterns() -> tuple[Pattern, ...]:
    """Give the patterns that come with sliceward."""
    file = resources.files(__package__).joinpath("pod_log.yaml")
    return read_patterns(file.read_text(encoding="utf-8"), where="pod_log.yaml")


def read_patterns(text: str, *, where: str) -> tuple[Pattern, ...]:
    """Give the patterns of a YAML text.

    Raises:
        Misconfigured: no such kind of line, a regular expression that is none, an example that its own pattern does not match.
    """
    try:
        entries = yaml.safe_load(text)["patterns"]
        found = [(str(e["line"]), str(e["needs"]), str(e["pattern"]), str(e["example"])) for e in entries]
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise Misconfigured(where, f"is not a list of patterns: {error}", "Each has line, needs, pattern, example") from error
    return tuple(_pattern(f"{where}: entry {number}", *entry) for number, entry in enumerate(found, start=1))


def _pattern(where: str, line: str, needs: str, pattern: str, example: str) -> Pattern:
    if line not in set(Line):
        raise Misconfigured(where, f"{line!r} is no kind of line", f"Use one of {', '.join(Line)}")
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise Misconfigured(where, f"is no regular expression: {error}") from error
    if not needs or needs not in example or not compiled.search(example):
        raise Misconfigured(where, "does not match its own example")
    return Pattern(Line(line), needs.encode(), compiled, example)


@dataclass(slots=True)
class _Tail:
    """One log that is followed."""

    pod: TpuPod
    descriptor: int
    inode: int
    offset: int | None
    rest: bytes = b""


@dataclass(slots=True)
class PodLog:
    """The source. ``folder``: where the kubelet keeps logs of pods. ``counts``: bytes that were skipped and lines that could not be read.

    ``sightings``: what was seen of late, by pod, kind of line and what it names.
    """

    node: Node
    folder: Path
    patterns: tuple[Pattern, ...]
    floor: float = 10.0
    timeout: float = 5.0
    name: str = "pod_log"
    age_metric: str = "host_source_age_pod_log_seconds"
    counts: Counter[str] = field(default_factory=Counter)
    sightings: dict[tuple[str, Line, str], Sighting] = field(default_factory=dict)
    _thread: OneAtATime = field(default_factory=OneAtATime)
    _tails: dict[str, _Tail] = field(default_factory=dict)

    async def __aenter__(self) -> Self:
        """Open nothing yet: pods come later."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close all logs."""
        for place in list(self._tails):
            self._close(place)

    @property
    def followed(self) -> int:
        """How many logs are open."""
        return len(self._tails)

    async def read(self, now: float) -> Reading:
        """Read what is new, on a thread, and give what was seen of late."""
        return await self._thread.run(lambda: self._read(now))

    def _read(self, now: float) -> Reading:
        if not self.folder.is_dir():
            raise Retry(f"{self.folder} is not there")
        wanted = self._wanted()
        for tail in self._tails.values():
            self._follow(tail, len(wanted))
        for place in [place for place, tail in self._tails.items() if place not in wanted or wanted[place][2] != tail.inode]:
            self._close(place)  # gone or rotated: these were its last words
        for place, (pod, file, inode) in wanted.items():
            if place not in self._tails and len(self._tails) < _MOST_FILES:
                with suppress(OSError):
                    self._tails[place] = _Tail(pod, os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), inode, None)
                    self._follow(self._tails[place], len(wanted))
        self.sightings = {key: one for key, one in self.sightings.items() if abs(now - one.last) <= KEPT}
        notes = {NOTE: to_note(list(self.sightings.values()))}
        notes["pod_log"] = ", ".join(f"{count} {name}" for name, count in sorted(self.counts.items()))
        return Reading({}, {key: text for key, text in notes.items() if text})

    def _wanted(self) -> dict[str, tuple[TpuPod, str, int]]:
        """Give the newest log of each container of each TPU pod of this node, by the container's folder, and its inode."""
        found: dict[str, tuple[TpuPod, str, int]] = {}
        for pod in self.node.pods.pods if self.node.pods is not None else ():
            with suppress(OSError):  # not yet made, or already gone
                for container in os.scandir(self.folder / f"{pod.namespace}_{pod.name}_{pod.uid}"):
                    numbers = [int(m[1]) for name in os.listdir(container.path) if (m := _NUMBERED.fullmatch(name))]  # noqa: PTH208 (names only)
                    if numbers:
                        file = f"{container.path}/{max(numbers)}.log"
                        found[container.path] = (pod, file, os.stat(file).st_ino)  # noqa: PTH116 (a string of scandir)
        return found

    def _follow(self, tail: _Tail, logs: int) -> None:
        """Look at the lines that are new and may mean something."""
        whole, _, rest = (tail.rest + self._more(tail, _MOST_READ // max(1, logs))).rpartition(b"\n")
        tail.rest = rest[-_FIRST:]
        needed = [pattern for pattern in self.patterns if pattern.needs in whole]
        left = _MOST_LINES
        for line in whole.split(b"\n") if needed else ():
            if fitting := [pattern for pattern in needed if pattern.needs in line]:
                left -= 1
                if left < 0:
                    self.counts["lines_skipped"] += 1
                else:
                    self._take(tail.pod, line, fitting)

    def _more(self, tail: _Tail, most: int) -> bytes:
        size = os.fstat(tail.descriptor).st_size
        if tail.offset is None:
            tail.offset = max(0, size - _FIRST)
        if size < tail.offset:
            tail.offset, tail.rest = 0, b""  # it was cut
        if size - tail.offset > _BEHIND:
            self.counts["bytes_skipped"] += size - _FIRST - tail.offset
            tail.offset, tail.rest = size - _FIRST, b""
        chunk = os.pread(tail.descriptor, min(most, size - tail.offset), tail.offset)
        tail.offset += len(chunk)
        return chunk

    def _take(self, pod: TpuPod, raw: bytes, patterns: list[Pattern]) -> None:
        stamped = _STAMP.fullmatch(raw)
        if stamped is None:
            self.counts["lines_unstamped"] += 1
            return
        text = plain(stamped[2][:_LINE].decode("utf-8", "replace"))
        found = next(((one.line, match) for one in patterns if (match := one.pattern.search(text))), None)
        if found is None:
            return
        try:
            at = datetime.fromisoformat(stamped[1].decode()).timestamp()
        except ValueError:
            self.counts["lines_unstamped"] += 1
            return
        named = found[1].groupdict()
        what, chips = ((named.get(word) or "").strip() for word in ("what", "chips"))
        key = (pod.uid, found[0], what)
        before = self.sightings.get(key)
        if before is not None and at - before.last <= BURST:
            more = {"last": max(before.last, at), "count": before.count + 1, "chips": before.chips or chips}
            self.sightings[key] = msgspec.structs.replace(before, **more)
        elif before is not None or len(self.sightings) < _MOST_SEEN:
            seat = "" if pod.seat is None else str(pod.seat)
            self.sightings[key] = Sighting(found[0], at, at, 1, what, chips, seat, pod.name, text[:_TEXT])

    def _close(self, place: str) -> None:
        with suppress(OSError):
            os.close(self._tails.pop(place).descriptor)
