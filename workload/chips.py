"""What only the process that holds the chips can read: ICI link health, throttle score and chip coordinates.

From ``libtpu.sdk`` (0.0.46 or newer), where it is installed. Formats: ``"tray1.chip3.ici0.int: 0"`` for a link (0 healthy
to 10 unusable), ``"<device>-<score>"`` for throttling, and one entry a chip with ``hostname``, ``chip_index`` and
``coordinates``. What cannot be read is left out; nothing here raises.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import socket
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

_LINK = re.compile(r"\s*tray\d+\.chip(\d+)\.ici(\d+)\.\w+\s*:\s*(\d+)\s*")
_THROTTLE = re.compile(r"\s*(\d+)\s*-\s*(\d+)\s*")
_WORST = 10
_ONE_HOST = 8


class Chips(Protocol):
    """A reader of the chips: `LibtpuChips` in a job, another one in simulation."""

    def read(self) -> dict[str, Any]:
        """Give ``links``, ``throttle`` and ``coordinates`` as in `messages`, as far as they are known."""
        ...


class NoChips:
    """Where libtpu is not installed."""

    def read(self) -> dict[str, Any]:
        """Give nothing."""
        return {}


class LibtpuChips:
    """The chips of this process, by libtpu's SDK."""

    def __init__(self, monitoring: Any, slices: Any, hostname: str) -> None:  # noqa: ANN401 (libtpu has no types)
        """Take ``monitoring`` and ``slices``, which are ``libtpu.sdk.tpumonitoring`` and ``libtpu.sdk.slice``."""
        self._monitoring, self._slices, self._hostname = monitoring, slices, hostname

    def read(self) -> dict[str, Any]:
        """Give what the SDK tells now; a part that it refuses is left out."""
        found = {
            "links": _links(self._data("ici_link_health")),
            "throttle": _throttle(self._data("tpu_throttle_score")),
            "coordinates": self._coordinates(),
        }
        return {name: value for name, value in found.items() if value}

    def _data(self, name: str) -> list[str]:
        try:
            return [str(text) for text in self._monitoring.get_metric(name).data()]
        except Exception:  # noqa: BLE001 (a foreign library inside somebody's training job)
            return []

    def _coordinates(self) -> list[list[int]]:
        try:
            entries = [_entry(entry) for entry in self._slices.get_chip_coordinates()]
            mine = [entry for entry in entries if entry[0] == self._hostname]
            if not mine and len(entries) <= _ONE_HOST:
                mine = entries
            return [place for _, _, place in sorted(mine)]
        except Exception:  # noqa: BLE001 (as above)
            return []


def find_chips() -> Chips:
    """Give the reader for this process."""
    try:
        if importlib.util.find_spec("libtpu") is None:
            return NoChips()
        monitoring = importlib.import_module("libtpu.sdk.tpumonitoring")
        slices = importlib.import_module("libtpu.sdk.slice")
    except Exception:  # noqa: BLE001 (whatever a native library does at import must not reach the job)
        return NoChips()
    return LibtpuChips(monitoring, slices, socket.gethostname())


def _entry(entry: Any) -> tuple[str, int, list[int]]:  # noqa: ANN401 (libtpu has no types)
    def get(name: str) -> Any:  # noqa: ANN401 (libtpu has no types)
        return entry[name] if isinstance(entry, dict) else getattr(entry, name)

    return str(get("hostname")), int(get("chip_index")), [int(part) for part in get("coordinates")]


def _links(lines: Iterable[str]) -> dict[str, int]:
    found = (_LINK.fullmatch(text) for text in lines)
    return {f"{int(m[1])}/{int(m[2])}": min(int(m[3]), _WORST) for m in found if m}


def _throttle(lines: Iterable[str]) -> dict[str, int]:
    found = (_THROTTLE.fullmatch(text) for text in lines)
    return {str(int(m[1])): min(int(m[2]), _WORST) for m in found if m}
