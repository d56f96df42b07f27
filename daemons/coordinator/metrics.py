"""The coordinator's figures for Prometheus, read at each scrape: what is open, who is told, how fresh its sight is.

What belongs to the leader's work (incidents, pages) is told by the leader alone, so that the sum over replicas is the truth.
Chips, links and hosts are no labels.
"""

from __future__ import annotations

from collections import Counter as Count
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from prometheus_client import Metric

    from sliceward.daemons.coordinator.coordinator import Coordinator
    from sliceward.daemons.coordinator.side import Side

Row = tuple[tuple[str, ...], float]


def _gauge(name: str, about: str, labels: Sequence[str], rows: Iterable[Row]) -> Metric:
    family = GaugeMetricFamily(name, about, labels=labels)
    for values, number in rows:
        family.add_metric(values, number)
    return family


def _counter(name: str, about: str, labels: Sequence[str], rows: Iterable[Row]) -> Metric:
    family = CounterMetricFamily(name, about, labels=labels)
    for values, number in rows:
        family.add_metric(values, number)
    return family


class Figures(Collector):
    """Reads the coordinator at each scrape."""

    def __init__(self, coordinator: Coordinator) -> None:
        """Show ``coordinator``."""
        self._of = coordinator

    def collect(self) -> Iterator[Metric]:
        """Give the figures now."""
        of, leads = self._of, self._of.leads
        yield _gauge("sliceward_leading", "Whether this replica decides.", (), [((), float(leads))])
        yield _gauge("sliceward_epoch", "Epoch that this replica's writes carry.", (), [((), float(of.store.epoch))])
        yield _gauge(
            "sliceward_paused", "Whether harm is stopped by a person.", (), [((), float(bool(of.deciding.stops.paused)))]
        )
        yield _gauge("sliceward_store_age_seconds", "Seconds since the store last answered.", (), [((), of.store.age)])
        if of.proof is not None:
            about = "How old the store's last answer on who leads was when it came, in seconds."
            yield _gauge("sliceward_lead_answer_seconds", about, (), [((), of.proof.took)])
        yield from self._sight()
        yield from self._work() if leads else ()
        of.deciding.docket.tally.begin(of.parts.actions)
        yield from of.deciding.docket.tally.collect()
        pages = {(name, outcome): 0 for name in of.parts.pagers for outcome in ("sent", "again", "failed")}
        yield _counter("sliceward_pages", "Deliveries of pages.", ["pager", "outcome"], _rows(pages | of.outbox.counts))
        yield _counter(
            "sliceward_alerts", "Alerts that came in.", ["outcome"], _rows({(name,): n for name, n in of.desk.counts.items()})
        )

    # ── what is seen ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _sight(self) -> Iterator[Metric]:
        sides = self._of.parts.sides
        for name, (text, read) in _BY_CLUSTER.items():
            yield _gauge(name, text, ["cluster"], [((side.name,), float(read(side))) for side in sides])
        ages = [((side.name,), side.age.total_seconds()) for side in sides if side.age is not None]
        yield _gauge("sliceward_cluster_age_seconds", "Age of the copy of the cluster.", ["cluster"], ages)
        heard = [(side.name, side.presence.watcher_age) for side in sides]
        told = [((name,), age.total_seconds()) for name, age in heard if age is not None]
        yield _gauge("sliceward_watcher_age_seconds", "Seconds since the watcher last spoke.", ["cluster"], told)
        messages = [((side.name, name), float(count)) for side in sides for name, count in _messages(side).items()]
        yield _counter("sliceward_messages", "Messages of the broker by what became of them.", ["cluster", "outcome"], messages)
        expired = [((side.name, kind), float(count)) for side in sides for kind, count in side.expired.items()]
        about = "Watches from a version that the API server had forgotten (410), so that all was listed anew."
        yield _counter("sliceward_watches_expired", about, ["cluster", "kind"], expired)
        yield self._findings()

    def _findings(self) -> Metric:
        counts: Count[tuple[str, ...]] = Count()
        for side in self._of.parts.sides:
            for finding in self._of.deciding.looks.findings(side).values():
                counts[side.name, finding.kind.value, finding.state.value] += 1
        about = "Findings as decided on, of watchers and alerts."
        return _gauge("sliceward_fleet_findings", about, ["cluster", "kind", "state"], _rows(counts))

    # ── what the leader works on ──────────────────────────────────────────────────────────────────────────────────────

    def _work(self) -> Iterator[Metric]:
        of, now = self._of, self._of.clock()
        open_now: Count[tuple[str, ...]] = Count()
        oldest: dict[tuple[str, ...], float] = {}
        runs: dict[tuple[str, ...], float] = {}
        for case in of.deciding.docket.cases.values():
            incident = case.incident
            key = (incident.cluster, incident.phase.value, incident.needs.value or "nothing")
            open_now[key] += 1
            oldest[key] = max(oldest.get(key, 0.0), (now - incident.opened).total_seconds())
            if case.run is not None and case.run.open:
                runs[key[:2]] = max(runs.get(key[:2], 0.0), (now - case.run.started).total_seconds())
        labels = ["cluster", "phase", "needs"]
        yield _gauge("sliceward_incidents_open", "Open incidents.", labels, _rows(open_now))
        yield _gauge("sliceward_incident_oldest_seconds", "Age of the oldest of them.", labels, oldest.items())
        yield _gauge("sliceward_run_oldest_seconds", "Since the oldest open run began.", labels[:2], runs.items())
        silences = [((), float(len(of.silencing.active(now))))]
        yield _gauge("sliceward_silences", "Silences and maintenance windows in force.", (), silences)
        held = [((), float(sum(bool(case.incident.silenced) for case in of.deciding.docket.cases.values())))]
        yield _gauge("sliceward_silenced_incidents", "Open incidents that one of them holds.", (), held)
        waiting = of.outbox.waiting
        depth = {(name,): 0.0 for name in of.parts.pagers} | {(name,): float(some.count) for name, some in waiting.items()}
        yield _gauge("sliceward_outbox_pages", "Pages that wait for delivery.", ["pager"], depth.items())
        ages = [((name,), (now - some.oldest).total_seconds()) for name, some in waiting.items()]
        yield _gauge("sliceward_outbox_oldest_seconds", "Age of the oldest page that waits.", ["pager"], ages)
        modes = [((one.name, one.mode.value), 1.0) for one in of.parts.book.playbooks]
        yield _gauge("sliceward_playbook_mode", "How far each playbook may go.", ["playbook", "mode"], modes)


def _rows(counts: Mapping[tuple[str, ...], int]) -> list[Row]:
    return [(key, float(count)) for key, count in sorted(counts.items())]


_NEVER_YET = {"bad_finding": 0, "bad_progress": 0, "bad_watcher": 0, "bad_event": 0}
"""Shown from the start: the rise of a series that begins at one is seen by nobody."""


def _messages(side: Side) -> Mapping[str, int]:
    return {**_NEVER_YET, **side.bus.counts, **side.presence.counts, **side.agents.counts}


def _out(side: Side) -> int:
    return sum(bool(host.our_marks) for host in side.fleet.hosts.values()) if side.fleet else 0


def _cordoned(side: Side) -> int:
    return sum(host.cordoned for host in side.fleet.hosts.values()) if side.fleet else 0


def _problems(side: Side) -> int:
    return len(side.fleet.problems) if side.fleet else 0


_BY_CLUSTER: Mapping[str, tuple[str, Callable[[Side], float]]] = {
    "sliceward_cluster_reachable": ("Whether the API server spoke lately.", lambda side: side.reachable),
    "sliceward_broker_connected": ("Whether there is a connection to the broker.", lambda side: side.bus.connected),
    "sliceward_watched": ("Whether a watcher spoke lately.", lambda side: side.watched),
    "sliceward_fleet_hosts": ("TPU hosts that are known.", lambda side: len(side.fleet.hosts) if side.fleet else 0),
    "sliceward_fleet_hosts_out": ("Hosts out of service by our mark.", _out),
    "sliceward_fleet_hosts_cordoned": ("Hosts that people cordoned.", _cordoned),
    "sliceward_cluster_set_aside": ("Objects of Kubernetes that cannot be read.", lambda side: len(side.set_aside)),
    "sliceward_fleet_problems": ("Contradictions and gaps in what Kubernetes says.", _problems),
}
