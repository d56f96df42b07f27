"""The kernel's ring of log records by syslog(2), where `/dev/kmsg` does not open.

A container that is not privileged opens no device file, whatever its capabilities: the device controller of its cgroup says no.
syslog(2) is no device. It asks for CAP_SYSLOG alone, and the default seccomp profiles let it pass with that.
"""

from __future__ import annotations

import ctypes
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

READ_ALL, SIZE_BUFFER = 3, 10
"""Actions of syslog(2)."""
_MOST_BYTES = 1 << 20
_LEVEL = re.compile(rb"<\d+>")
_CLOCK = re.compile(rb"\[[^\]]{1,40}\] ?")
_REMEMBERED = 32
"""Lines by which the place is found again up to which all was read."""


def whole_ring() -> bytes:
    """Give all that the ring holds, up to 1 MB of its end. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    size = min(_done(libc.klogctl(SIZE_BUFFER, None, 0)), _MOST_BYTES)
    buffer = ctypes.create_string_buffer(size)
    return buffer.raw[: _done(libc.klogctl(READ_ALL, buffer, size))]


def _done(answer: int) -> int:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return answer


@dataclass(slots=True)
class Ring:
    """Gives each record once. ``look`` gives the whole ring as it is now: syslog(2) knows no place to go on from."""

    look: Callable[[], bytes] = whole_ring
    _last: list[bytes] = field(default_factory=list)

    def records(self) -> list[str]:
        """Give the texts that came since the last time; all that is there the first time. Raises OSError."""
        lines = self.look().splitlines()
        new = lines[self._known(lines) :]
        self._last = (self._last + new)[-_REMEMBERED:] if new else self._last
        return [_text(line) for line in new]

    def _known(self, lines: list[bytes]) -> int:
        """Count the lines at the beginning that were given before; 0 where the ring has gone round since, and all is new."""
        last = self._last
        for end in range(len(lines), 0, -1) if last else ():
            if lines[end - 1] == last[-1]:
                most = min(end, len(last))
                # The ring's first line may be cut in the middle, so it is compared by its end.
                if lines[end - most + 1 : end] == last[len(last) - most + 1 :] and last[-most].endswith(lines[end - most]):
                    return end
        return 0


def _text(line: bytes) -> str:
    """Give what was logged, without level and clock."""
    level = _LEVEL.match(line)
    rest = line[level.end() :] if level else line
    clock = _CLOCK.match(rest) if level else None
    return (rest[clock.end() :] if clock else rest).decode("utf-8", "replace")
