"""The watcher's figures for Prometheus, read at each scrape: what came in, who is silent, what was found, how fresh its sight is."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from sliceward.detectors.look import Look

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client import Metric

    from sliceward.daemons.watcher.statistics import Statistics
    from sliceward.daemons.watcher.watcher import Watcher


NEVER_YET = {
    "taken": 0,
    "bad_frame": 0,
    "wrong_speaker": 0,
    "clock_ahead": 0,
    "panel_full": 0,
    "baselines_refused": 0,
    "statistics_failed": 0,
}
"""Shown from the start: the rise of a series that begins at one is seen by nobody."""


class Figures(Collector):
    """Reads one watcher."""

    def __init__(self, watcher: Watcher) -> None:
        """Show ``watcher``."""
        self._of = watcher

    def collect(self) -> Iterator[Metric]:
        """Give the figures now."""
        of, panel, around = self._of, self._of.panel, self._of.parts.surroundings
        frames = {str(name): count for name, count in {**NEVER_YET, **panel.counts, **of.counts}.items()}
        yield self._counted("sliceward_frames", "Frames and readings by what became of them.", frames)
        yield self._counted("sliceward_wire_messages", "Messages of the broker by what became of them.", of.parts.bus.counts)
        findings = Counter((finding.kind.value, finding.state.value) for finding in of.findings)
        family = GaugeMetricFamily("sliceward_findings", "Findings by kind and state.", labels=["cluster", "kind", "state"])
        for key, count in sorted(findings.items()):
            family.add_metric([panel.cluster, *key], count)
        yield family
        yield self._gauge("sliceward_hosts_known", "Hosts that should speak.", len(panel.slots))
        yield self._gauge("sliceward_hosts_silent", "Of those, hosts whose agent is not heard.", self._silent())
        yield self._gauge("sliceward_panel_bytes", "Memory of the panel's readings.", panel.ring.bytes)
        yield self._gauge("sliceward_watcher_warm", "Whether the panel has filled, so that findings are told.", of.warm)
        yield self._gauge("sliceward_broker_connected", "Whether there is a connection to the broker.", of.parts.bus.connected)
        if of.statistics is not None:
            yield from self._peers(of.statistics)
        if around.mirrors:
            yield self._gauge("sliceward_cluster_reachable", "Whether the API server spoke lately.", around.fresh)
            about = "Watches from a version that the API server had forgotten (410), so that all was listed anew."
            yield self._counted("sliceward_watches_expired", about, around.mirrors.expired, label="kind")

    def _peers(self, statistics: Statistics) -> Iterator[Metric]:
        watch = statistics.watch
        members = 0 if watch is None else sum(len(crowd) for crowd in watch.layout.crowds.values())
        yield self._gauge(
            "sliceward_statistics_warm", "Whether baselines are known, so that verdicts are given.", statistics.warm
        )
        about = "Ticks that are still learnt from before the first verdict."
        yield self._gauge("sliceward_statistics_ticks_to_warm", about, statistics.ticks_to_warm)
        yield self._gauge("sliceward_statistics_members", "Chips, links and hosts that are compared with their peers.", members)
        if watch is not None:
            for name, budget in (("suspect", watch.budget.suspects), ("condemned", watch.budget.condemned)):
                about = f"Evidence that it takes to call a part {name}, in nats."
                yield self._gauge(f"sliceward_statistics_{name}_need_nats", about, watch.need(budget))
        yield self._gauge("sliceward_statistics_seconds", "Time that the last comparison with peers took.", statistics.took)
        about = "Seconds since a comparison with peers came to its end."
        yield self._gauge("sliceward_statistics_age_seconds", about, self._of.comparing.age)
        ticks = {"compared": 0, "skipped": 0, **statistics.ticks}
        yield self._counted("sliceward_statistics_ticks", "Ticks by whether they were compared or skipped, being late.", ticks)

    def _silent(self) -> int:
        of = self._of
        grace = of.parts.settings.rules.grace.total_seconds()
        return int(np.count_nonzero(Look.at(of.panel, grace=grace).silent)) if of.panel.slots else 0

    def _gauge(self, name: str, about: str, value: float) -> Metric:
        family = GaugeMetricFamily(name, about, labels=["cluster"])
        family.add_metric([self._of.panel.cluster], float(value))
        return family

    def _counted(self, name: str, about: str, counts: Mapping[str, int], *, label: str = "outcome") -> Metric:
        family = CounterMetricFamily(name, about, labels=["cluster", label])
        for outcome, count in sorted(counts.items()):
            family.add_metric([self._of.panel.cluster, outcome], count)
        return family
