"""What a daemon says about itself: ``/healthz`` (loop progress), ``/readyz`` (dependencies with their age), ``/metrics``.

Liveness is loop progress and nothing else: a broker that is away must not restart a daemon that waits for it. What is said
stands here, without a server: `sliceward.daemons.serving` says it for most, and the agent's own small one for the agent.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from prometheus_client import Metric

    from sliceward.daemons.loops import Loops


@dataclass(frozen=True, slots=True)
class Dependency:
    """Something that a daemon needs. ``age``: seconds since it last answered; None: it never did.

    ``shown``: it is told, and readiness does not depend on it: taking a process out of service helps nobody who asks it.
    """

    name: str
    ok: bool
    age: float | None
    why: str = ""
    shown: bool = False


@dataclass(frozen=True, slots=True)
class Health:
    """All that the three paths show. ``dependencies`` is asked at each request; it must be quick and do no I/O."""

    loops: Loops
    dependencies: Callable[[], Sequence[Dependency]]
    registry: CollectorRegistry
    version: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back to one who asks: the status of HTTP, the type of the body, the body."""

    status: int
    content_type: str
    body: bytes


def new_registry(loops: Loops, *, version: str = "") -> CollectorRegistry:
    """Give a registry of its own, with the progress of ``loops`` in it (``sliceward_loop_*``)."""
    registry = CollectorRegistry(auto_describe=True)
    registry.register(_LoopProgress(loops, version))
    return registry


class _LoopProgress(Collector):
    """Reads the loops at each scrape."""

    def __init__(self, loops: Loops, version: str) -> None:
        self._loops, self._version = loops, version

    def collect(self) -> Iterable[Metric]:
        build = GaugeMetricFamily("sliceward_build_info", "Version of sliceward, in a label.", labels=["version"])
        build.add_metric([self._version], 1)
        age = GaugeMetricFamily("sliceward_loop_age_seconds", "Seconds since the last round ended.", labels=["loop"])
        limit = GaugeMetricFamily("sliceward_loop_deadline_seconds", "Most seconds between rounds.", labels=["loop"])
        beats = CounterMetricFamily("sliceward_loop_beats", "Whole rounds done.", labels=["loop"])
        aside = GaugeMetricFamily("sliceward_loop_set_aside", "Rows or objects that the loop skips.", labels=["loop"])
        for loop in self._loops:
            age.add_metric([loop.name], loop.age)
            limit.add_metric([loop.name], loop.deadline)
            beats.add_metric([loop.name], loop.beats)
            aside.add_metric([loop.name], len(loop.set_aside))
        return (build, age, limit, beats, aside)


def _healthz(health: Health) -> Answer:
    late = health.loops.late
    loops = [
        {
            "name": loop.name,
            "age_seconds": round(loop.age, 3),
            "deadline_seconds": loop.deadline,
            "late": loop.late,
            "error": loop.error,
            "set_aside": dict(loop.set_aside),
        }
        for loop in health.loops
    ]
    return _told({"ok": not late, "version": health.version, "loops": loops}, ok=not late)


def _readyz(health: Health) -> Answer:
    needs = health.dependencies()
    ok = all(need.ok for need in needs if not need.shown)
    told = [
        {
            "name": need.name,
            "ok": need.ok,
            "age_seconds": None if need.age is None else round(need.age, 3),
            "why": need.why,
        }
        for need in needs
    ]
    return _told({"ok": ok, "dependencies": told}, ok=ok)


def _told(body: Mapping[str, object], *, ok: bool) -> Answer:
    return Answer(200 if ok else 503, "application/json; charset=utf-8", json.dumps(body).encode())


def _metrics(health: Health) -> Answer:
    return Answer(200, "text/plain; version=0.0.4; charset=utf-8", generate_latest(health.registry))


PATHS: Mapping[str, Callable[[Health], Answer]] = {"/healthz": _healthz, "/readyz": _readyz, "/metrics": _metrics}
"""All that is said, by path."""
