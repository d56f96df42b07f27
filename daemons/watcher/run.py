"""Put a watcher together from its settings and run it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import resources
from typing import TYPE_CHECKING

import structlog

from sliceward.daemons import topics
from sliceward.daemons.collector import keep_short
from sliceward.daemons.health import Dependency, Health, new_registry
from sliceward.daemons.loops import Loops
from sliceward.daemons.serving import application, serving
from sliceward.daemons.version import version
from sliceward.daemons.watcher.metrics import Figures
from sliceward.daemons.watcher.prometheus import PrometheusSource
from sliceward.daemons.watcher.surroundings import STALE_AFTER, Surroundings
from sliceward.daemons.watcher.watcher import Parts, Watcher, last_word, subscriptions, utc_now
from sliceward.daemons.wire import Message, Wire, WireOptions
from sliceward.detectors.rules import Rule, load_rules
from sliceward.detectors.rules.load import is_rules
from sliceward.remediations import kubernetes
from sliceward.topology.errors import Misconfigured
from sliceward.topology.names import override

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from sliceward.daemons.watcher.settings import RuleSettings, WatcherSettings

log = structlog.get_logger(__name__)


def read_rules(settings: RuleSettings) -> tuple[Rule, ...]:
    """Give the shipped rules with those of the configured folders over them. Raises `Misconfigured`."""
    shipped = resources.files("sliceward.detectors") / "rules"
    texts = {f"rules/{file.name}": file.read_text("utf-8") for file in shipped.iterdir() if is_rules(file.name)}
    for folder in settings.folders:
        files = sorted(file for file in folder.glob("*.y*ml") if is_rules(file.name))
        if not files:
            raise Misconfigured(f"rules.folders: {folder}", "holds no YAML file", "Name a folder with rules")
        texts |= {str(file): file.read_text("utf-8") for file in files}
    return load_rules(texts)


@asynccontextmanager
async def running(settings: WatcherSettings) -> AsyncIterator[tuple[Watcher, asyncio.Task[None], int]]:
    """Run a watcher with its health server inside the block; gives it, its task and the port."""
    async with AsyncExitStack() as stack:
        watcher = await built(settings, stack)
        health = health_of(watcher)
        listen = settings.health
        port = await stack.enter_async_context(serving(application(health), host=listen.host, port=listen.port))
        task = asyncio.create_task(watcher.run(), name=f"watcher of {settings.cluster.name}")
        try:
            yield watcher, task, port
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def built(settings: WatcherSettings, stack: AsyncExitStack) -> Watcher:
    """Make a watcher with its connections, which end with ``stack``; nothing runs yet."""
    cluster = settings.cluster
    rules = read_rules(settings.rules)
    link = None
    if settings.kubernetes:
        connection = kubernetes.connect(cluster.name, kubeconfig=cluster.kubeconfig, context=cluster.context)
        link = await stack.enter_async_context(connection)
    source = PrometheusSource(settings.prometheus, clock=utc_now) if settings.prometheus.url else None
    if source is not None:
        stack.callback(source.close)
    parts = Parts(
        settings=settings,
        rules=rules,
        bus=wire_of(settings),
        surroundings=Surroundings(cluster.name, link, names=override(settings.names)),
        loops=Loops(time.monotonic),
        clock=utc_now,
        monotonic=time.monotonic,
        prometheus=source,
    )
    return Watcher(parts)


async def serve(settings: WatcherSettings) -> None:
    """Run until SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stopped.set)
    async with running(settings) as (watcher, task, port):
        log.info("watching", cluster=settings.cluster.name, rules=len(watcher.parts.rules), port=port, version=version())
        ending = asyncio.create_task(stopped.wait(), name="signals")
        collecting = asyncio.create_task(keep_short(), name="collector")
        await asyncio.wait([ending, task], return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        collecting.cancel()
        log.info("stopping", asked=stopped.is_set())
        if task.done():
            task.result()


def wire_of(settings: WatcherSettings) -> Wire:
    """Give the watcher's connection to its broker, with the will that tells of its death. Raises `Misconfigured`."""
    name, broker = settings.cluster.name, settings.cluster.broker
    if not broker.url:
        raise Misconfigured("cluster.broker.url", "is needed", "Write mqtt://host:1883 there, or set SLICEWARD_MQTT_URL")
    client = f"sliceward-watcher-{name}-{socket.gethostname()}-{os.getpid()}"
    will = Message(topics.watcher(name), last_word("connection lost"), retain=True)
    wire = Wire(broker.url, client_id=client, subscribe=subscriptions(name), will=will, options=WireOptions.of(broker))
    wire.secrets()  # a mistake is told at the start; after it they are read at each connection
    return wire


def health_of(watcher: Watcher) -> Health:
    """Give what the watcher says of itself."""
    loops = watcher.parts.loops
    registry = new_registry(loops, version=version())
    registry.register(Figures(watcher))
    return Health(loops, lambda: _dependencies(watcher), registry, version())


def _dependencies(watcher: Watcher) -> Sequence[Dependency]:
    bus, around = watcher.parts.bus, watcher.parts.surroundings
    needs = [Dependency("broker", bus.connected, None if bus.age == float("inf") else bus.age, getattr(bus, "error", ""))]
    if around.mirrors:
        fresh = around.age is not None and around.age <= STALE_AFTER
        needs.append(Dependency("kubernetes", fresh, around.age, around.problem))
    source = watcher.parts.prometheus
    if source is not None:
        needs.append(Dependency("prometheus", source.fresh, source.age, source.problem))
    return needs
