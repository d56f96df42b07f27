"""From configuration to a running coordinator: everything is opened in one place and closed in the reverse order."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit, urlunsplit

import aiohttp
import structlog

from sliceward import playbooks
from sliceward.daemons.collector import keep_short
from sliceward.daemons.coordinator import configuration
from sliceward.daemons.coordinator.alerts import AlertMap, read_map
from sliceward.daemons.coordinator.api import Api
from sliceward.daemons.coordinator.coordinator import Coordinator, Parts
from sliceward.daemons.coordinator.heartbeat import heartbeat_plan
from sliceward.daemons.coordinator.leadership import Candidacy, Leadership
from sliceward.daemons.coordinator.memo import NOWHERE, InFile, OnLease
from sliceward.daemons.coordinator.metrics import Figures
from sliceward.daemons.coordinator.opening import until_it_answers
from sliceward.daemons.coordinator.orders import orders_of
from sliceward.daemons.coordinator.side import Side, subscriptions
from sliceward.daemons.coordinator.standby import standing_by
from sliceward.daemons.coordinator.tokens import Tokens
from sliceward.daemons.coordinator.unplaced import Unplaced
from sliceward.daemons.coordinator.windows import windows_of
from sliceward.daemons.loops import Loops
from sliceward.daemons.serving import serving
from sliceward.daemons.store import open_store
from sliceward.daemons.store.connect import parsed_url
from sliceward.daemons.version import version
from sliceward.daemons.wire import Wire, WireOptions
from sliceward.playbooks.load import load_book
from sliceward.playbooks.schema import Mode
from sliceward.remediations import kubernetes
from sliceward.remediations.catalog import ACTIONS
from sliceward.remediations.paging import catalog as paging
from sliceward.remediations.paging.heartbeat import HttpHeartbeat
from sliceward.remediations.paging.plan import PagerPlan, Surroundings
from sliceward.remediations.providers import catalog as providers
from sliceward.remediations.providers.plan import ProviderPlan
from sliceward.topology.errors import Misconfigured, Refused, Retry
from sliceward.topology.names import override

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sliceward.daemons.coordinator.memo import Memo
    from sliceward.daemons.coordinator.settings import (
        CoordinatorSettings,
        LeaderSettings,
        PlaybookSettings,
        StoreSettings,
    )
    from sliceward.daemons.settings import BrokerSettings, ClusterSettings
    from sliceward.playbooks.load import Book
    from sliceward.remediations.ports import Pager, Provider

log = structlog.get_logger(__name__)

SHIPPED = Path(playbooks.__file__).parent / "library"


@dataclass(frozen=True, slots=True)
class Running:
    """A coordinator that serves, and leads or stands by. ``port``: where its API listens; ``working`` ends when all loops have."""

    coordinator: Coordinator
    port: int
    working: asyncio.Task[None]


def now() -> datetime:
    """Give the wall time."""
    return datetime.now(UTC)


@asynccontextmanager
async def running(settings: CoordinatorSettings, *, write: Callable[[str], None] = print) -> AsyncIterator[Running]:
    """Open everything, take the lead, serve and decide for as long as the block lasts. ``write``: for the console pager.

    Raises:
        Misconfigured: something in the configuration cannot be used.
        Retry: the store does not answer.
    """
    async with built(settings, write=write) as coordinator, aiohttp.ClientSession(auto_decompress=False) as session:
        unplaced = Unplaced(coordinator.parts.sides, coordinator.deciding.looks.scene)
        coordinator.health.registry.register(unplaced)
        api = Api(coordinator, Tokens(settings.api.tokens, time.monotonic), unplaced)
        app = api.application(standing_by(coordinator, session))
        app.add_routes(configuration.routes(settings))
        async with serving(app, host=settings.api.host, port=settings.api.port) as port:
            working = asyncio.create_task(coordinator.run(), name="coordinator")
            looking = asyncio.create_task(unplaced.keep(), name="unplaced")
            try:
                yield Running(coordinator, port, working)
            finally:
                looking.cancel()
                coordinator.stop()
                await working


@asynccontextmanager
async def built(settings: CoordinatorSettings, *, write: Callable[[str], None] = print) -> AsyncIterator[Coordinator]:
    """Open everything, and take the lead where nobody else can want it; nothing runs yet."""
    book = read_book(settings.playbooks)
    orders = orders_of(settings)
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)))
        store = await stack.enter_async_context(open_store(store_url(settings.store)))
        loops, around = Loops(time.monotonic), Surroundings(session, now, write)
        provider, holder = _provider(settings, session), f"{socket.gethostname()}-{os.getpid()}"
        sides = [await _side(stack, settings, cluster, provider=provider, holder=holder) for cluster in settings.clusters]
        leadership = await _leadership(stack, settings.leader, holder=holder, loops=loops)
        coordinator = Coordinator(
            Parts(
                store=store,
                sides=sides,
                book=book,
                actions=ACTIONS,
                pagers=_pagers(settings, around),
                heartbeats=_heartbeats(settings, around),
                alerts=read_map(settings.alerts.map) if settings.alerts.map else AlertMap(),
                orders=orders,
                pace=settings.pace,
                clock=now,
                monotonic=time.monotonic,
                loops=loops,
                dice=random.Random(),  # noqa: S311 (jitter)
                alerts_stale_after=settings.alerts.stale_after,
                limits=settings.budget,
                version=version(),
                holder=holder,
                public_url=settings.api.public_url,
                windows=windows_of(settings.maintenance, (playbook.name for playbook in book.playbooks)),
                leadership=leadership,
                memo=memo_of(leadership, settings.store),
            )
        )
        coordinator.health.registry.register(Figures(coordinator))
        if coordinator.parts.leadership is None:
            await coordinator.begin()
        yield coordinator


async def serve(settings: CoordinatorSettings) -> None:
    """Run until SIGTERM or SIGINT: then no new step begins, what is under way is finished and saved.

    One of several replicas that lost the lead drops all it knows, opens everything anew and stands by. Where the store is away it
    waits, alive and not ready.
    """
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stopped.set)
    while not stopped.is_set():
        try:
            await _serve_once(settings, stopped)
        except Retry as error:
            log.warning("cannot begin yet", why=str(error))
            await until_it_answers(store_url(settings.store), settings.api, stopped)
        except Refused as error:
            if not settings.leader.lease:
                raise
            log.warning("stands by again", why=str(error))


async def _serve_once(settings: CoordinatorSettings, stopped: asyncio.Event) -> None:
    async with running(settings) as found:
        log.info("serving", host=settings.api.host, port=found.port, version=version())
        ending = asyncio.create_task(stopped.wait(), name="signals")
        collecting = asyncio.create_task(keep_short(), name="collector")
        await asyncio.wait([ending, found.working], return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        collecting.cancel()
        log.info("stopping", asked=stopped.is_set())


def read_book(settings: PlaybookSettings) -> Book:
    """Give the playbooks of the configured folders, or the shipped ones. Raises `Misconfigured`."""
    texts: dict[str, str] = {}
    for folder in settings.folders or [SHIPPED]:
        files = sorted((*folder.glob("*.yaml"), *folder.glob("*.yml")))
        if not files:
            raise Misconfigured(f"playbooks.folders: {folder}", "holds no YAML file", "Name a folder with playbooks")
        for file in files:
            try:
                texts[str(file)] = file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise Misconfigured(str(file), f"cannot be read: {error}", "Correct the file or its rights") from None
    modes = {name: Mode(mode) for name, mode in settings.modes.items()}
    if settings.mode is not None:
        modes = {"*": Mode(settings.mode), **modes}
    return load_book(texts, ACTIONS, modes=modes, settle_at_most=settings.settle_at_most)


def store_url(settings: StoreSettings) -> str:
    """Give the URL of the store with its password in it."""
    if settings.password is None:
        return settings.url
    parts = urlsplit(settings.url)
    if not parts.username:
        raise Misconfigured("store.password", "needs a user in store.url", "Write postgresql://USER@HOST/NAME")
    place = parts.netloc.rpartition("@")[2]
    user = parts.username
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(settings.password.reveal(), safe='')}@{place}"))


def memo_of(leadership: Leadership | None, settings: StoreSettings) -> Memo:
    """Give the place for what is told while the store is away."""
    if leadership is not None:
        return OnLease(leadership)
    store = parsed_url(settings.url)
    is_file = store.drivername.startswith("sqlite") and store.database
    return InFile(Path(f"{store.database}-told")) if is_file else NOWHERE


async def _leadership(stack: AsyncExitStack, settings: LeaderSettings, *, holder: str, loops: Loops) -> Leadership | None:
    if not settings.lease:
        return None
    own = kubernetes.connect("the coordinator's own cluster", kubeconfig=settings.kubeconfig, context=settings.context)
    candidacy = Candidacy(
        name=settings.lease,
        namespace=settings.namespace,
        holder=holder,
        address=settings.address,
        duration=settings.duration,
        renew_every=settings.renew_every,
        give_up_after=settings.give_up_after,
    )
    loop = loops.add("lease", deadline=60)
    return Leadership(await stack.enter_async_context(own), candidacy, time.monotonic, now, loop)


async def _side(
    stack: AsyncExitStack, settings: CoordinatorSettings, cluster: ClusterSettings, *, provider: Provider, holder: str
) -> Side:
    connection = kubernetes.connect(cluster.name, kubeconfig=cluster.kubeconfig, context=cluster.context)
    return Side(
        name=cluster.name,
        cluster=await stack.enter_async_context(connection),
        bus=_wire(cluster.name, cluster.broker, holder),
        provider=provider,
        pace=settings.pace,
        clock=now,
        names=override(settings.names),
    )


def _wire(cluster: str, broker: BrokerSettings, holder: str) -> Wire:
    if not broker.url:
        raise Misconfigured(
            f"clusters.{cluster}.broker.url", "is needed", "Write mqtt://host:1883 there, or set SLICEWARD_MQTT_URL"
        )
    client = f"sliceward-coordinator-{holder}-{cluster}"
    wire = Wire(broker.url, client_id=client, subscribe=subscriptions(cluster), options=WireOptions.of(broker))
    wire.secrets()  # a mistake is told at the start; after it they are read at each connection
    return wire


def _provider(settings: CoordinatorSettings, session: aiohttp.ClientSession) -> Provider:
    wanted = settings.provider
    token = wanted.token.reveal() if wanted.token else ""
    return providers.make(ProviderPlan(wanted.kind, wanted.url, token), session)


def _pagers(settings: CoordinatorSettings, around: Surroundings) -> dict[str, Pager]:
    plans = [
        PagerPlan(pager.kind, pager.name, pager.url, pager.secret.reveal() if pager.secret else "") for pager in settings.pagers
    ]
    return {plan.name: paging.make(plan, around) for plan in plans}


def _heartbeats(settings: CoordinatorSettings, around: Surroundings) -> tuple[HttpHeartbeat, ...]:
    plans = (heartbeat_plan(pager) for pager in settings.pagers)
    return tuple(HttpHeartbeat(plan, around) for plan in plans if plan is not None)
