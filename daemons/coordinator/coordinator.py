"""The coordinator itself: its parts side by side, and what the API shows of them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog
from prometheus_client import Counter

from sliceward.daemons.coordinator.deciding import Deciding
from sliceward.daemons.coordinator.desk import Desk
from sliceward.daemons.coordinator.displacing import Displacing
from sliceward.daemons.coordinator.events import Bell
from sliceward.daemons.coordinator.heartbeat import Beating, HeartbeatFigures, Pulse
from sliceward.daemons.coordinator.memo import NOWHERE
from sliceward.daemons.coordinator.orders import NO_ORDERS, Orders
from sliceward.daemons.coordinator.outbox import Outbox
from sliceward.daemons.coordinator.proof import Proof
from sliceward.daemons.coordinator.rounds import every
from sliceward.daemons.coordinator.rules import Rules
from sliceward.daemons.coordinator.silencing import Silencing
from sliceward.daemons.coordinator.sweep import Sweep
from sliceward.daemons.coordinator.views import Row, Sight, playbook_row
from sliceward.daemons.coordinator.vigil import Vigil
from sliceward.daemons.health import Dependency, Health, new_registry
from sliceward.daemons.store import Unseated
from sliceward.detectors.finding import storable
from sliceward.playbooks.incident import Entry, EntryKind
from sliceward.topology.errors import Refused, Retry

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from sliceward.daemons.coordinator.alerts import AlertMap
    from sliceward.daemons.coordinator.leadership import Leadership
    from sliceward.daemons.coordinator.memo import Memo
    from sliceward.daemons.coordinator.settings import PaceSettings
    from sliceward.daemons.coordinator.side import Side
    from sliceward.daemons.loops import Loop, Loops
    from sliceward.daemons.store import Store
    from sliceward.playbooks.load import Book
    from sliceward.playbooks.schema import BudgetSpec, Mode
    from sliceward.playbooks.silences import Window
    from sliceward.remediations.action import Action
    from sliceward.remediations.paging.heartbeat import Heartbeat
    from sliceward.remediations.ports import Pager
    from sliceward.topology.ids import HostId

log = structlog.get_logger(__name__)

FORGET_AFTER = timedelta(days=30)
FORGET_EVERY = timedelta(hours=6)
PULSE = timedelta(seconds=1)
MOST_ABOUT = 255
"""Characters of the audit's column."""


@dataclass(frozen=True, slots=True)
class Rests:
    """How long the loops beside the deciding one rest between two rounds where nobody wakes them."""

    alerts: timedelta = PULSE
    outbox: timedelta = PULSE
    vigil: timedelta = timedelta(seconds=5)


@dataclass(frozen=True)
class Parts:
    """What a coordinator is made of. ``ceiling``: no playbook acts above this mode. ``version``: of the program."""

    store: Store
    sides: Sequence[Side]
    book: Book
    actions: Mapping[str, Action]
    pagers: Mapping[str, Pager]
    alerts: AlertMap
    pace: PaceSettings
    clock: Callable[[], datetime]
    monotonic: Callable[[], float]
    loops: Loops
    dice: random.Random
    alerts_stale_after: timedelta = timedelta(hours=6)
    ceiling: Mode | None = None
    limits: BudgetSpec | None = None
    version: str = ""
    holder: str = "coordinator"
    public_url: str = ""
    windows: tuple[Window, ...] = ()
    heartbeats: tuple[Heartbeat, ...] = ()
    leadership: Leadership | None = None
    rests: Rests = Rests()
    orders: Orders = NO_ORDERS
    memo: Memo = NOWHERE


@dataclass(eq=False)
class Coordinator:
    """One coordinator. `run` keeps all loops going until `stop`, from the moment on at which it leads.

    The only replica leads at once (`begin`, before `run`); one of several watches the clusters until the Lease is its own.
    """

    parts: Parts
    started: datetime = field(init=False)
    bell: Bell = field(init=False, default_factory=Bell)
    desk: Desk = field(init=False)
    deciding: Deciding = field(init=False)
    silencing: Silencing = field(init=False)
    displacing: Displacing = field(init=False)
    proof: Proof | None = field(init=False, default=None)
    outbox: Outbox = field(init=False)
    sweep: Sweep = field(init=False)
    vigil: Vigil = field(init=False)
    beatings: tuple[Beating, ...] = field(init=False)
    health: Health = field(init=False)
    webhooks: Counter = field(init=False)
    answers: Counter = field(init=False)
    _alerts_waiting: asyncio.Event = field(init=False, default_factory=asyncio.Event)
    _pages_waiting: asyncio.Event = field(init=False, default_factory=asyncio.Event)
    _stopping: asyncio.Event = field(init=False, default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        """Put the parts together; nothing runs yet."""
        of = self.parts
        self.started = of.clock()
        sides = {side.name: side for side in of.sides}
        slowest = of.pace.decide_every.total_seconds() * 3 + 30
        self.desk = Desk(of.store, of.alerts, of.clock, self._loop("alerts", 60), of.alerts_stale_after)
        self.desk.woken, self.desk.machine = self._alerts_waiting.set, self._machine
        rules = Rules(
            book=of.book,
            actions=of.actions,
            orders=of.orders,
            ceiling=of.ceiling,
            limits=of.limits,
            pagers=tuple(of.pagers),
            call_timeout=of.pace.call_timeout,
            decide_every=of.pace.decide_every,
        )
        self.deciding = Deciding(of.store, sides, rules, of.dice, of.clock, self._loop("deciding", slowest))
        self.deciding.looks.alerts, self.deciding.stops.leads = self.desk.findings, lambda: self.leads
        self.deciding.stops.ends = self.stop
        of.store.unseated = self._unseated
        if of.leadership is None:
            self.proof = Proof(of.store, of.pace.broker_grace, of.monotonic, self.deciding.stops.fence)
            self.deciding.stops.asks = self.proof.look
        self.deciding.docket.told, self.deciding.docket.paging = self._told, self._pages_waiting.set
        self.silencing = Silencing(of.store, of.windows, of.clock, self.deciding.loop, self._told_and_decide)
        self.deciding.looks.silences = self.silencing.present
        self.displacing = Displacing(of.store, of.clock, set_aside=self.deciding.loop.set_aside)
        self.deciding.looks.past = self.displacing.past
        self.outbox = Outbox(of.store, of.pagers, of.clock, self._loop("outbox", 60), of.dice, of.pace.page_timeout)
        self.outbox.public_url = of.public_url
        self.outbox.leads, self.outbox.asks = lambda: self.leads, self._asks
        sweeps = of.pace.sweep_every.total_seconds() * 3 + 30
        self.sweep = Sweep(of.store, sides, self.deciding, of.clock, self._loop("sweep", sweeps))
        self.vigil = Vigil(
            of.store, of.sides, of.loops, of.pagers, of.clock, self._loop("vigil", 60 + of.pace.page_timeout.total_seconds() * 4),
            of.pace.silence_paged_after, of.pace.page_timeout, lambda: self.leads, of.memo, self._asks,
        )  # fmt: skip
        self.beatings = self._beatings()
        registry = new_registry(of.loops, version=of.version)
        self.webhooks = Counter(
            "sliceward_webhook_requests", "Posts of alerts, by code.", ["receiver", "code"], registry=registry
        )
        self.answers = Counter("sliceward_http_requests", "Requests that were answered, by code.", ["code"], registry=registry)
        registry.register(HeartbeatFigures(self.beatings))
        self.health = Health(of.loops, self.dependencies, registry, of.version)
        for side in of.sides:
            side.wake = self._changed

    @property
    def store(self) -> Store:
        """The store."""
        return self.parts.store

    @property
    def clock(self) -> Callable[[], datetime]:
        """Wall time."""
        return self.parts.clock

    @property
    def monotonic(self) -> Callable[[], float]:
        """Monotonic seconds."""
        return self.parts.monotonic

    async def begin(self) -> None:
        """Take the lead, and read what is open. Raises `Retry` where the store is away, or the Lease ran out meanwhile."""
        leadership = self.parts.leadership
        leads = (lambda: True) if leadership is None else (lambda: leadership.leads)
        epoch = await self.store.lead(self.parts.holder, now=self.clock(), leads=leads)
        if self.proof is not None:
            self.proof.begin()
        await self.deciding.load()
        await self.silencing.load()
        self.displacing.begin(self.deciding.docket.displaced)
        await self.desk.round()
        for loop in self.parts.loops:
            loop.begin()
        log.info(
            "leading", epoch=epoch, open_incidents=len(self.deciding.docket.cases), paused=self.deciding.stops.paused or None
        )

    @property
    def leads(self) -> bool:
        """Whether this replica decides now."""
        if self.store.epoch == 0 or self.deciding.stops.fenced:
            return False
        return self.parts.leadership is None or self.parts.leadership.leads

    async def run(self) -> None:
        """Run all loops until `stop`; then finish the calls under way and their saves.

        Raises:
            Refused: another coordinator took the lead.
        """
        async with asyncio.TaskGroup() as tasks:
            stopped = tasks.create_task(self._stopping.wait(), name="stop")
            endless = [tasks.create_task(side.run(), name=f"side {side.name}") for side in self.parts.sides]
            if self.parts.leadership is not None:
                taking = tasks.create_task(self._take_lead(self.parts.leadership, tasks, endless), name="taking the lead")
                endless.append(taking)
                await asyncio.wait([taking, stopped], return_when="FIRST_COMPLETED")
            if not self._stopping.is_set():
                await self._work(tasks, endless, stopped)
            for task in endless:
                task.cancel()
        if self.parts.leadership is not None:
            await self.parts.leadership.release()
        if self.deciding.stops.fenced:
            raise Refused(self.deciding.stops.fenced)

    async def _take_lead(self, leadership: Leadership, tasks: asyncio.TaskGroup, endless: list[asyncio.Task[None]]) -> None:
        """Stand by until the Lease is ours; from then on renew it, whatever else has to wait."""
        asking = tasks.create_task(every(self.parts.pace.sweep_every, self.store.ping, self.sweep.loop), name="store")
        try:
            await leadership.acquire()
        finally:
            asking.cancel()
        endless.append(tasks.create_task(self._keep_lead(leadership), name="lease"))
        while not self._stopping.is_set():
            try:
                await self.begin()
            except Retry as error:
                self.deciding.loop.retried(str(error))
                log.warning("cannot lead yet", why=str(error))
                await asyncio.sleep(PULSE.total_seconds())
            except Unseated:
                return  # another took the Lease, and the store, while this one was still reading
            else:
                return

    async def _keep_lead(self, leadership: Leadership) -> None:
        try:
            await leadership.keep()
        except Refused as error:
            self._unseated(error)

    def _unseated(self, error: Refused) -> None:
        self.deciding.stops.fence(str(error))

    async def _work(self, tasks: asyncio.TaskGroup, endless: list[asyncio.Task[None]], stopped: asyncio.Task[Any]) -> None:
        """Do what the leader does, until stopped."""
        pace, rests = self.parts.pace, self.parts.rests
        endless += [
            tasks.create_task(every(rests.alerts, self.desk.round, self.desk.loop, self._alerts_waiting), name="alerts"),
            tasks.create_task(every(rests.outbox, self.outbox.round, self.outbox.loop, self._pages_waiting), name="outbox"),
            tasks.create_task(every(pace.sweep_every, self.sweep.round, self.sweep.loop), name="sweep"),
            tasks.create_task(every(pace.sweep_every, self._displace, self.sweep.loop), name="displacing"),
            tasks.create_task(every(rests.vigil, self.vigil.round, self.vigil.loop), name="vigil"),
            tasks.create_task(self._forgetting(), name="forgetting"),
        ]
        endless += [tasks.create_task(every(PULSE, one.round, one.loop), name=one.loop.name) for one in self.beatings]
        deciding = tasks.create_task(self.deciding.run(), name="deciding")
        await asyncio.wait([deciding, stopped], return_when="FIRST_COMPLETED")
        self._stopping.set()
        # Who lost the lead finishes nothing: the next leader asks the world.
        patience = 0.0 if self.deciding.stops.fenced else pace.call_timeout.total_seconds()
        await asyncio.wait([deciding], timeout=patience)
        deciding.cancel()

    async def _displace(self) -> None:
        await self.displacing.round([side.fleet for side in self.parts.sides if side.fleet is not None])

    def stop(self) -> None:
        """Take no new step, finish what is under way, end."""
        self.deciding.stops.stopping = True
        self.deciding.wake()
        self.bell.close()
        self._stopping.set()

    async def audit(self, what: str, about: str, reason: str, *, by: str) -> None:
        """Write down who asks for what about whom, before it is done: what was refused is in the record too."""
        named = storable(about)[:MOST_ABOUT]
        await self.store.audit(who=by, what=what, about=named, reason=reason, now=self.clock())

    async def pause(self, reason: str, *, by: str) -> None:
        """Stop harm, never healing; it outlives a restart. It holds from now on, also what a look under way is about to call."""
        value = f"{by}: {reason}"
        with self.deciding.stops.pausing(value):
            await self._set_paused(value, EntryKind.PAUSED, f"paused by {by}: {reason}", by)

    async def resume(self, reason: str, *, by: str) -> None:
        """Let harm be done again."""
        await self._set_paused("", EntryKind.RESUMED, f"resumed by {by}: {reason}", by)

    async def _set_paused(self, value: str, kind: EntryKind, text: str, by: str) -> None:
        async with self.deciding.lock:
            await self.store.set_setting("paused", value, who=by, now=self.clock())
            self.deciding.stops.paused = value
            numbers = await self.store.append("", Entry(self.clock(), "", kind, text))
        self._told(numbers[-1])
        self.deciding.wake()

    # ── what is shown ─────────────────────────────────────────────────────────────────────────────────────────────────

    def sights(self, cluster: str = "") -> list[Sight]:
        """Give each cluster as it is known now."""
        return [self._sight(side) for side in self.parts.sides if cluster in ("", side.name)]

    def _sight(self, side: Side) -> Sight:
        incidents = [case.incident for case in self.deciding.docket.cases.values() if case.incident.cluster == side.name]
        return Sight(
            name=side.name,
            fleet=side.fleet,
            age=side.age,
            reachable=side.reachable,
            telemetry=side.watched,
            findings=tuple(self.deciding.looks.findings(side).values()),
            incidents=sorted(incidents, key=lambda one: one.opened),
            progress=side.presence.progress,
            quota=self.parts.orders.quota,
            problem=side.problem,
        )

    def status(self) -> Row:
        """Give the status of docs/api.md."""
        store = self.store.age
        buses = [side.bus for side in self.parts.sides]
        oldest = max((bus.age for bus in buses), default=0.0)
        return {
            "version": self.parts.version,
            "mode": self._mode(),
            "paused": bool(self.deciding.stops.paused),
            "why_paused": self.deciding.stops.paused,
            "started": self.started.isoformat(),
            "epoch": self.store.epoch,
            "leader": self.parts.holder if self.parts.leadership is None else self.parts.leadership.leader,
            "open_incidents": len(self.deciding.docket.cases),
            "silences": len(self.silencing.active(self.clock())),
            "silenced_incidents": sum(bool(case.incident.silenced) for case in self.deciding.docket.cases.values()),
            "heartbeats": [one.row() for one in self.beatings],
            "clusters": [self._cluster_status(side) for side in self.parts.sides],
            "store": {
                "ok": store < self._store_deadline,
                "age_seconds": round(store, 3),
                "why": "" if self.proof is None else self.proof.why,
            },
            "broker": {"ok": all(bus.connected for bus in buses), "age_seconds": _finite(oldest)},
        }

    def _mode(self) -> str:
        if self.parts.ceiling is not None:
            return str(self.parts.ceiling.value)
        modes = {playbook.mode.value for playbook in self.parts.book.playbooks}
        return modes.pop() if len(modes) == 1 else "mixed" if modes else "Observe"

    def _cluster_status(self, side: Side) -> Row:
        return {
            "name": side.name,
            "reachable": side.reachable,
            "age_seconds": None if side.age is None else round(side.age.total_seconds(), 3),
            "why": side.problem,
            "hosts": len(side.fleet.hosts) if side.fleet else 0,
            "broker": {"ok": side.bus.connected, "age_seconds": _finite(side.bus.age)},
            "watcher_age_seconds": None if side.presence.watcher_age is None else side.presence.watcher_age.total_seconds(),
            "watched": side.watched,
            "watcher_why": side.presence.watcher_why,
            "findings": len(side.presence.findings()),
            "bad_messages": {**side.presence.counts, **side.agents.counts},
        }

    def dependencies(self) -> list[Dependency]:
        """Give what readiness shows: the store, without which nothing can be answered, and each cluster's API server and broker."""
        found = [Dependency("store", self.store.age < self._store_deadline, self.store.age)]
        for side in self.parts.sides:
            age = None if side.age is None else side.age.total_seconds()
            found.append(Dependency(f"cluster {side.name}", side.reachable, age, side.problem, shown=True))
            why = "" if side.bus.connected else "not connected"
            found.append(Dependency(f"broker {side.name}", side.bus.connected, _finite(side.bus.age), why, shown=True))
        return found

    @property
    def _store_deadline(self) -> float:
        return self.parts.pace.sweep_every.total_seconds() * 3 + 30

    def playbook_rows(self) -> list[Row]:
        """Give the playbooks."""
        return [playbook_row(playbook) for playbook in self.parts.book.playbooks]

    def loop_rows(self) -> list[Row]:
        """Give the loops."""
        return [
            {
                "name": loop.name,
                "age": round(loop.age, 3),
                "deadline": loop.deadline,
                "late": loop.late,
                "beats": loop.beats,
                "error": loop.error,
                "set_aside": dict(loop.set_aside),
            }
            for loop in self.parts.loops
        ]

    # ── inside ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _loop(self, name: str, deadline: float) -> Loop:
        loop = self.parts.loops.add(name, deadline=deadline)
        loop.resting = self.parts.leadership is not None
        return loop

    def _machine(self, host: HostId) -> str:
        fleet = next((side.fleet for side in self.parts.sides if side.name == host.cluster), None)
        shown = None if fleet is None else fleet.hosts.get(host)
        return "" if shown is None else shown.instance_id

    def _changed(self) -> None:
        self.deciding.wake()
        self.bell.changed()

    def _told(self, seq: int) -> None:
        self.bell.entry(seq)
        self.bell.changed()

    def _beatings(self) -> tuple[Beating, ...]:
        of = self.parts
        pulse = Pulse(of.store, of.loops, lambda: self.leads, of.clock, of.monotonic, f"sliceward/{of.holder}")
        within = of.pace.page_timeout
        deadline = 60 + within.total_seconds()
        return tuple(Beating(one, pulse, self._loop(f"heartbeat {one.name}", deadline), within) for one in of.heartbeats)

    async def _asks(self) -> None:
        await self.deciding.stops.asks()

    def _told_and_decide(self, seq: int) -> None:
        self._told(seq)
        self.deciding.wake()

    async def _forgetting(self) -> None:
        while True:
            await asyncio.sleep(FORGET_EVERY.total_seconds())
            try:
                await self.store.forget(older_than=FORGET_AFTER, now=self.clock())
            except (Retry, Refused) as error:
                log.warning("old incidents kept", why=str(error))
            except Exception:
                log.exception("old incidents kept")


def _finite(age: float) -> float | None:
    return round(age, 3) if age != float("inf") else None
