"""Prometheus as a source: range queries of the catalogue's series into the panel, where the agents said nothing.

The client blocks, so each question runs in a thread of its own with a time-out. Values are not carried forward by
Prometheus' five minutes of look-back: a series that ended is missing at once, or after a minute where nobody said that it did.
Of a host without an agent its series are also the sign of life, and a chip that is missing among them is noted.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from requests import RequestException

from sliceward.daemons.sources.folding import PER_DEVICE
from sliceward.daemons.watcher.roster import Build, Roster
from sliceward.detectors.metrics import CATALOGUE
from sliceward.topology.errors import Retry
from sliceward.topology.generations import GENERATIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from sliceward.daemons.watcher.settings import PrometheusSettings
    from sliceward.detectors.metrics import Metric
    from sliceward.detectors.panel import Panel
    from sliceward.topology.fleet import Fleet, Host
    from sliceward.topology.ids import ChipId

LOOK_BACK = 60
"""Seconds for which one sample stands."""
MOST_SERIES = 200_000

ASKED = tuple(metric for metric in CATALOGUE.values() if metric.prometheus)
STANDING = frozenset({"chip_tensorcore_percent", "chip_hbm_bandwidth_percent"})
"""What the device plugin reads of the chips itself, also without a workload. Its other series come and go with jobs."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a series belongs: ``machine`` is what its label says before the device (the instance id), "" where it says none."""

    host: str
    machine: str
    device: str


Readings = dict[float, float]
"""Value by unix time; NaN where something was served that is no number."""


@dataclass(slots=True)
class _Sight:
    """What is served of a host now. ``stands``: a series that needs no job is among it."""

    chips: set[int] = field(default_factory=set)
    stands: bool = False


class PrometheusSource:
    """Asks one Prometheus. ``clock`` gives the wall time. ``answered``: when it last answered all; ``problem``: why not since."""

    def __init__(self, settings: PrometheusSettings, *, clock: Callable[[], datetime]) -> None:
        """Nothing is asked yet."""
        headers = {"Authorization": f"Bearer {settings.token.reveal()}"} if settings.token else None
        seconds = max(1, round(settings.timeout.total_seconds()))
        # No tries of the client's own: they would sleep for seconds in a thread that nobody can cancel. The loop asks again.
        self._client = PrometheusConnect(url=settings.url.rstrip("/"), headers=headers, timeout=seconds, retry=0)
        self._settings, self._clock = settings, clock
        self._until: datetime | None = None
        self._rosters: dict[str, Roster] = {}
        self.answered: datetime | None = None
        self.problem = ""

    @property
    def age(self) -> float | None:
        """Seconds since it last answered; None: never."""
        return None if self.answered is None else max(0.0, (self._clock() - self.answered).total_seconds())

    @property
    def fresh(self) -> bool:
        """Whether it answered one of the last three questions."""
        patience = 3 * (self._settings.every + self._settings.timeout).total_seconds()
        return self.age is not None and self.age <= patience

    def close(self) -> None:
        """End the client's connections."""
        self._client.close()

    async def read(self, panel: Panel, fleet: Fleet, *, lost: Iterable[ChipId] = ()) -> int:
        """Ask for what is new since the last time, at first for the back-fill; give how many readings were used.

        While the panel knows no host nothing is asked: what cannot be placed is lost. ``lost``: chips known to be missing from
        before a start, which are looked for though they were not seen since.

        Raises:
            Retry: Prometheus did not answer, or answered with an error.
        """
        if not panel.slots:
            return 0
        try:
            return await self._read(panel, fleet, lost)
        except Retry as error:
            self.problem = str(error)
            raise

    async def _read(self, panel: Panel, fleet: Fleet, lost: Iterable[ChipId]) -> int:
        now = self._clock()
        if self._until is not None and self._until > now:
            self._until = None  # our own clock was set back: the panel began anew, and so do the questions
        longest = timedelta(seconds=panel.ring.rows * panel.ring.period)
        start = max(now - longest, self._until - 2 * self._settings.every if self._until else now - self._settings.back_fill)
        step = panel.ring.period
        # Prometheus counts the steps from the start; the last of them shall be now.
        start = now - timedelta(seconds=step) * int((now - start).total_seconds() // step)
        hosts = {host.id.name: host for host in fleet.hosts.values()}
        place, sights = self._placing(fleet), defaultdict[str, _Sight](_Sight)
        used, whole = 0, True
        for metric in ASKED:
            series = await self._ask(metric, start, now, step)
            whole = whole and len(series) <= MOST_SERIES
            for name, machines in sorted_out(panel, series[:MOST_SERIES], place).items():
                told = self._by_chip(panel, metric, machines, hosts.get(name), name)
                used += sum(panel.fill(metric.name, name, chip, readings.items()) for chip, readings in told.items())
                chips = {chip for chip, readings in told.items() if max(readings) > now.timestamp() - step / 2}
                sights[name].chips |= chips
                sights[name].stands |= bool(chips) and metric.name in STANDING
        every = self._settings.every.total_seconds()
        present = {name: sight for name, sight in sights.items() if sight.chips}
        agentless = {name for name in present if panel.scraped(name, now.timestamp(), every)}
        if whole:
            self._judge(panel, {name: present[name] for name in agentless}, lost, now.timestamp())
        else:
            # Of a host whose chips were cut off in the middle nothing can be said.
            panel.counts["prometheus_truncated"] += 1
        self._rosters = {host: roster for host, roster in self._rosters.items() if host in panel.slots}
        self._until = self.answered = now
        self.problem = ""
        return used

    def _by_chip(
        self, panel: Panel, metric: Metric, machines: Mapping[str, Mapping[str, Readings]], host: Host | None, name: str
    ) -> Mapping[int, Readings]:
        """Give the readings of each chip: of several devices the sum where they share it, else the largest."""
        machine = _speaker(machines, host)
        roster = self._rosters.get(name)
        if roster is None or roster.machine != machine:
            roster = self._rosters[name] = Roster(machine)
        adds = metric.name in PER_DEVICE
        placed = roster.place(metric.name, machines[machine], _build(host), per_device=adds)
        told: dict[int, Readings] = defaultdict(dict)
        for device, readings in machines[machine].items():
            if device not in placed:
                panel.counts["prometheus_unplaced"] += 1
                continue
            chip = told[placed[device]]
            for at, value in readings.items():
                chip[at] = value if at not in chip else chip[at] + value if adds else max(chip[at], value)
        return told

    def _judge(self, panel: Panel, sights: Mapping[str, _Sight], lost: Iterable[ChipId], now: float) -> None:
        """Note which chips of hosts without an agent are still scraped: an agent would know better."""
        missed: dict[str, set[int]] = defaultdict(set)
        for one in lost:
            missed[one.host].add(one.index)
        for host, sight in sights.items():
            if sight.stands:
                for chip in self._rosters[host].chips | missed[host]:
                    panel.fill("chip_scraped", host, chip, [(now, float(chip in sight.chips))])

    async def _ask(self, metric: Metric, start: datetime, end: datetime, step: float) -> list[Any]:
        series = metric.prometheus
        # The bare name knows of series that a scrape no longer had; the range bounds those of which nothing is known any more.
        query = f"last_over_time({series}[{max(LOOK_BACK, round(2 * step))}s]) and {series}"
        limit = self._settings.timeout.total_seconds() + 1
        try:
            async with asyncio.timeout(limit):
                answer = await asyncio.to_thread(self._client.custom_query_range, query, start, end, f"{step:g}")
        except (RequestException, PrometheusApiClientException, TimeoutError, ValueError, KeyError, TypeError) as error:
            raise Retry(f"{metric.prometheus}: {type(error).__name__}: {str(error)[:200]}") from error
        return answer if isinstance(answer, list) else []

    def _placing(self, fleet: Fleet) -> Callable[[Mapping[str, str]], Place | None]:
        by_instance = {host.instance_id: host.id.name for host in fleet.hosts.values() if host.instance_id}
        settings = self._settings

        def place(labels: Mapping[str, str]) -> Place | None:
            machine, _, device = labels.get(settings.chip_label, "").rpartition("-")
            named, known = labels.get(settings.host_label), by_instance.get(machine)
            # An instance id is identity and a name alone is none: where the two disagree the series is nobody's.
            host = known if named is None else named if known in (None, named) else None
            return Place(host, machine, device) if host else None

        return place


def sorted_out(
    panel: Panel, series: Iterable[Any], place: Callable[[Mapping[str, str]], Place | None]
) -> Mapping[str, Mapping[str, Mapping[str, Readings]]]:
    """Give the readings of one metric by host, machine and device; series that cannot be placed are counted and left out."""
    found: dict[str, dict[str, dict[str, Readings]]] = {}
    for one in series:
        try:
            where, readings = place(one["metric"]), {float(at): _number(value) for at, value in one["values"]}
        except (KeyError, TypeError, ValueError, AttributeError):
            panel.counts["prometheus_malformed"] += 1
            continue
        if where is None or where.host not in panel.slots:
            panel.counts["prometheus_unplaced"] += 1
        elif readings:
            # Two series of one device are two scrapers of it, or two pods of the plugin, one after the other.
            found.setdefault(where.host, {}).setdefault(where.machine, {}).setdefault(where.device, {}).update(readings)
    return found


def _speaker(machines: Mapping[str, Mapping[str, Readings]], host: Host | None) -> str:
    """Give the machine that stands behind a host now: the one that the cluster knows, else the one that was read last."""
    if host is not None and host.instance_id in machines:
        return host.instance_id
    return max(machines, key=lambda machine: (max(max(readings) for readings in machines[machine].values()), machine))


def _build(host: Host | None) -> Build:
    if host is None:
        return Build()
    known = GENERATIONS.get(host.generation)
    return Build(host.chips, known.devices_a_chip if known is not None else 1)


def _number(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else math.nan
