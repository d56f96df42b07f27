"""What a daemon says about itself: ``/healthz`` (loop progress), ``/readyz`` (dependencies with their age), ``/metrics``.

Liveness is loop progress and nothing else: a broker that is away must not restart a daemon that waits for it.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from prometheus_client import Metric

    from sliceward.daemons.loops import Loops


@dataclass(frozen=True, slots=True)
class Dependency:
    """Something that a daemon needs. ``age``: seconds since it last answered; None: it never did."""

    name: str
    ok: bool
    age: float | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """All that the three paths show. ``dependencies`` is asked at each request; it must be quick and do no I/O."""

    loops: Loops
    dependencies: Callable[[], Sequence[Dependency]]
    registry: CollectorRegistry
    version: str = ""


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
        age = GaugeMetricFamily("sliceward_loop_age_seconds", "Seconds since the last whole round.", labels=["loop"])
        limit = GaugeMetricFamily("sliceward_loop_deadline_seconds", "Most seconds between rounds.", labels=["loop"])
        beats = CounterMetricFamily("sliceward_loop_beats", "Whole rounds done.", labels=["loop"])
        aside = GaugeMetricFamily("sliceward_loop_set_aside", "Rows or objects that the loop skips.", labels=["loop"])
        for loop in self._loops:
            age.add_metric([loop.name], loop.age)
            limit.add_metric([loop.name], loop.deadline)
            beats.add_metric([loop.name], loop.beats)
            aside.add_metric([loop.name], len(loop.set_aside))
        return (build, age, limit, beats, aside)


def routes(health: Health) -> list[web.RouteDef]:
    """Give the three routes, to be added to a daemon's own application."""

    async def healthz(_request: web.Request) -> web.Response:
        late = health.loops.late
        body = {
            "ok": not late,
            "version": health.version,
            "loops": [
                {
                    "name": loop.name,
                    "age_seconds": round(loop.age, 3),
                    "deadline_seconds": loop.deadline,
                    "late": loop.late,
                    "error": loop.error,
                    "set_aside": dict(loop.set_aside),
                }
                for loop in health.loops
            ],
        }
        return web.json_response(body, status=503 if late else 200)

    async def readyz(_request: web.Request) -> web.Response:
        needs = health.dependencies()
        ok = all(need.ok for need in needs)
        body = {
            "ok": ok,
            "dependencies": [
                {
                    "name": need.name,
                    "ok": need.ok,
                    "age_seconds": None if need.age is None else round(need.age, 3),
                    "why": need.why,
                }
                for need in needs
            ],
        }
        return web.json_response(body, status=200 if ok else 503)

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(health.registry), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )

    return [web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)]


def application(health: Health) -> web.Application:
    """Give an application with only the three paths, for a daemon that serves nothing else."""
    app = web.Application()
    app.add_routes(routes(health))
    return app


@asynccontextmanager
async def serving(app: web.Application, *, host: str, port: int) -> AsyncIterator[int]:
    """Serve ``app`` while inside; gives the port that was bound (a free one for 0)."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0, handle_signals=False)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
