"""GKE's TPU device plugin: its Prometheus text on the node, port 2112. Open also while no workload runs.

Series of the node end in ``_node``; ``accelerator_id`` is ``<instance id>-<device>``. The plugin's own counters over-count
(it adds cumulative readings), so none of them is read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import structlog
from prometheus_client.parser import text_string_to_metric_families

from sliceward.daemons.complaints import Complaints
from sliceward.daemons.sources.fetch import Fetcher, Unfit
from sliceward.daemons.sources.folding import PER_DEVICE, folded
from sliceward.daemons.sources.source import Layout, Reading
from sliceward.detectors.metrics import CATALOGUE

if TYPE_CHECKING:
    from types import TracebackType

    from sliceward.daemons.sources.fetch import Fetched

log = structlog.get_logger(__name__)

_MOST_BYTES = 4 << 20
_MOST_LINES = 4096
_LONGEST_LINE = 4096
_OK = 200
_SERIES = {metric.prometheus: metric.name for metric in CATALOGUE.values() if metric.prometheus}


@dataclass(slots=True)
class DevicePlugin:
    """The source. ``url`` is that of ``/metrics`` on this node."""

    layout: Layout
    url: str
    floor: float = 10.0
    timeout: float = 2.0
    name: str = "device_plugin"
    age_metric: str = "host_source_age_device_plugin_seconds"
    _fetcher: Fetcher = field(init=False)
    _complaints: Complaints = field(default_factory=lambda: Complaints(log))

    def __post_init__(self) -> None:
        """Ask nothing yet."""
        self._fetcher = Fetcher(self.timeout, _MOST_BYTES)

    async def __aenter__(self) -> Self:
        """Open nothing: each scrape has a connection of its own."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close nothing."""

    async def read(self, now: float) -> Reading:  # noqa: ARG002 (the text has no times)
        """Scrape once; what answers but cannot be read is told."""
        try:
            return Reading(columns_in(_text_of(await self._fetcher.get(self.url), self.url), self.layout))
        except Unfit as error:
            what_to_do = "Look at what answers there; sources.device_plugin.url says where the plugin's metrics are"
            self._complaints.tell("page refused", where=self.url, why=str(error), what_to_do=what_to_do)
            raise


def _text_of(answer: Fetched, url: str) -> str:
    if answer.status != _OK:
        raise Unfit(f"{url} answers {answer.status}")
    return answer.body.decode("utf-8", "replace")


def columns_in(text: str, layout: Layout) -> dict[str, list[float]]:
    """Give the columns that the plugin's text tells.

    Raises:
        Unfit: a line of ours that is not Prometheus text, one that is too long, or more of them than any host has series.
    """
    # Most of the text is histograms of every collective; only the lines of our series are parsed.
    lines = [line for line in text.splitlines() if line.partition("{")[0] in _SERIES]
    if len(lines) > _MOST_LINES or any(len(line) > _LONGEST_LINE for line in lines):
        # Reading these would hold up all else that the agent does.
        raise Unfit(
            f"the device plugin has more than {_MOST_LINES} of our series, or one of more than {_LONGEST_LINE} characters"
        )
    wanted = "\n".join(lines) + "\n"
    found: dict[str, dict[int, float]] = {}
    try:
        for family in text_string_to_metric_families(wanted):
            for sample in family.samples:
                device = sample.labels.get("accelerator_id", "").rpartition("-")[2]
                if device.isdecimal():
                    found.setdefault(_SERIES[sample.name], {})[int(device)] = float(sample.value)
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        raise Unfit(f"the device plugin's text cannot be read: {error}") from error
    columns = {}
    for metric, values in found.items():
        finite = {device: value for device, value in values.items() if math.isfinite(value)}
        adds = metric in PER_DEVICE
        columns[metric] = folded(finite, chips=layout.chips, devices=layout.devices, per_device=adds, add=adds)
    return columns
