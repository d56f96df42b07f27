"""Prometheus as a source: range queries of the catalogue's series into the panel, where the agents said nothing.

The client blocks, so each question runs in a thread of its own with a time-out. Values are not carried forward by
Prometheus' five minutes of look-back: a series that ended is missing after a minute.
"""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any

from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from requests import RequestException

from sliceward.detectors.metrics import CATALOGUE
from sliceward.topology.errors import Retry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from sliceward.daemons.watcher.settings import PrometheusSettings
    from sliceward.detectors.metrics import Metric
    from sliceward.detectors.panel import Panel
    from sliceward.topology.fleet import Fleet

LOOK_BACK = 60
"""Seconds for which one sample stands."""
MOST_SERIES = 200_000

ASKED = tuple(metric for metric in CATALOGUE.values() if metric.prometheus)


class PrometheusSource:
    """Asks one Prometheus. ``clock`` gives the wall time."""

    def __init__(self, settings: PrometheusSettings, *, clock: Callable[[], datetime]) -> None:
        """Nothing is asked yet."""
        headers = {"Authorization": f"Bearer {settings.token.reveal()}"} if settings.token else None
        seconds = max(1, round(settings.timeout.total_seconds()))
        # No tries of the client's own: they would sleep for seconds in a thread that nobody can cancel. The loop asks again.
        self._client = PrometheusConnect(url=settings.url.rstrip("/"), headers=headers, timeout=seconds, retry=0)
        self._settings, self._clock = settings, clock
        self._until: datetime | None = None

    def close(self) -> None:
        """End the client's connections."""
        self._client.close()

    async def read(self, panel: Panel, fleet: Fleet) -> int:
        """Ask for what is new since the last time, at first for the back-fill; give how many readings were used.

        While the panel knows no host nothing is asked: what cannot be placed is lost.

        Raises:
            Retry: Prometheus did not answer, or answered with an error.
        """
        if not panel.slots:
            return 0
        now = self._clock()
        if self._until is not None and self._until > now:
            self._until = None  # our own clock was set back: the panel began anew, and so do the questions
        longest = timedelta(seconds=panel.ring.rows * panel.ring.period)
        start = max(now - longest, self._until - 2 * self._settings.every if self._until else now - self._settings.back_fill)
        step = panel.ring.period
        used = 0
        for metric in ASKED:
            series = await self._ask(metric, start, now, step)
            used += take(panel, metric, series, self._place(fleet))
        self._until = now
        return used

    async def _ask(self, metric: Metric, start: datetime, end: datetime, step: float) -> list[Any]:
        query = f"last_over_time({metric.prometheus}[{max(LOOK_BACK, round(2 * step))}s])"
        limit = self._settings.timeout.total_seconds() + 1
        try:
            async with asyncio.timeout(limit):
                answer = await asyncio.to_thread(self._client.custom_query_range, query, start, end, f"{step:g}")
        except (RequestException, PrometheusApiClientException, TimeoutError, ValueError, KeyError, TypeError) as error:
            raise Retry(f"{metric.prometheus}: {type(error).__name__}: {str(error)[:200]}") from error
        return answer[:MOST_SERIES] if isinstance(answer, list) else []

    def _place(self, fleet: Fleet) -> Callable[[Mapping[str, str]], tuple[str, str] | None]:
        by_instance = {host.instance_id: host.id.name for host in fleet.hosts.values() if host.instance_id}
        settings = self._settings

        def place(labels: Mapping[str, str]) -> tuple[str, str] | None:
            device = labels.get(settings.chip_label, "")
            host = labels.get(settings.host_label) or by_instance.get(device.rpartition("-")[0])
            return (host, device) if host else None

        return place


def take(
    panel: Panel, metric: Metric, series: Iterable[Any], place: Callable[[Mapping[str, str]], tuple[str, str] | None]
) -> int:
    """Put the series of one metric into the panel; those that cannot be placed are counted and left out."""
    found = []
    for one in series:
        try:
            where, readings = place(one["metric"]), [(float(at), float(value)) for at, value in one["values"]]
        except (KeyError, TypeError, ValueError, AttributeError):
            panel.counts["prometheus_malformed"] += 1
            continue
        if where is None or where[0] not in panel.slots:
            panel.counts["prometheus_unplaced"] += 1
        else:
            found.append((where[0], _natural(where[1]), readings))
    found.sort(key=lambda row: row[:2])
    used = 0
    for host, rows in groupby(found, key=lambda row: row[0]):
        for chip, (_, _, readings) in enumerate(rows):
            used += panel.fill(metric.name, host, chip, readings) if chip < _MOST_CHIPS else 0
    return used


_MOST_CHIPS = 64


def _natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """Give a key that sorts device 2 before device 10."""
    return tuple((0, int(bit), "") if bit.isdecimal() else (1, 0, bit) for bit in re.split(r"(\d+)", text))
