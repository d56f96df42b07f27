"""One seed, played: a world in virtual time, and coordinators that live, die and are frozen over it until all is well again.

The coordinator's own parts decide, call, page and sweep; ports, store and broker are those of the simulation.
"""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from sliceward.daemons import topics
from sliceward.daemons.coordinator.alerts import AlertMap
from sliceward.daemons.coordinator.coordinator import Coordinator, Parts, Rests
from sliceward.daemons.coordinator.leadership import Candidacy, Leadership
from sliceward.daemons.coordinator.memo import NOWHERE, OnLease
from sliceward.daemons.coordinator.settings import PaceSettings
from sliceward.daemons.coordinator.side import Side, subscriptions
from sliceward.daemons.coordinator.stops import nobody_is_asked
from sliceward.daemons.loops import Loop, Loops
from sliceward.daemons.store import Unseated
from sliceward.daemons.wire import Message
from sliceward.detectors.finding import Kind, from_json, to_json
from sliceward.playbooks.load import Book, load_book
from sliceward.playbooks.shipped import shipped
from sliceward.remediations.catalog import ACTIONS
from sliceward.simulation.virtual.cluster import VirtualCluster
from sliceward.simulation.virtual.invariants import WATCHED, Invariants, Witness
from sliceward.simulation.virtual.loop import VirtualLoop
from sliceward.simulation.virtual.objects import Objects
from sliceward.simulation.virtual.people import People
from sliceward.simulation.virtual.repairs import VirtualPager, VirtualProvider
from sliceward.simulation.virtual.scenario import CLUSTER, Deed
from sliceward.simulation.virtual.timeline import Timeline
from sliceward.simulation.virtual.way import PROMPT, Life, Way
from sliceward.simulation.virtual.world import World
from sliceward.topology.errors import Refused, Retry
from tests.fakes.beside import at_once
from tests.virtual.bus import VirtualBroker, VirtualBus
from tests.virtual.store import MemoryStore, Records

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from sliceward.detectors.finding import Finding
    from sliceward.playbooks.load import Playbook
    from sliceward.remediations.action import Action, Target, Verb
    from sliceward.remediations.outcome import Outcome
    from sliceward.remediations.ports import Ports
    from sliceward.simulation.virtual.scenario import Death, Scenario
    from sliceward.topology.ids import GangId

PACE = PaceSettings(
    broker_grace=timedelta(seconds=1),
    sweep_every=timedelta(seconds=20),
    decide_every=timedelta(seconds=30),
    findings_told_within=timedelta(seconds=WATCHED),
)
SETTLE = timedelta(seconds=3)
RESTS = Rests(alerts=timedelta(seconds=40), outbox=timedelta(seconds=25), vigil=timedelta(seconds=45))
LASTS, RENEWED, GIVEN_UP = timedelta(seconds=8), timedelta(seconds=2), timedelta(seconds=6)
AGAIN = 1.0
RESTART = 1.0
BURST = 3.0
"""Most seconds by which changes wake the coordinator late."""


@cache
def _book() -> Book:
    return load_book(shipped(), ACTIONS, settle_at_most=SETTLE)


def book_of(scenario: Scenario) -> Book:
    """Give the shipped playbooks with the scenario's mode and budget, without the steps that it skips."""
    playbooks = tuple(_changed(one, scenario) for one in _book().playbooks)
    by_name = {one.name: one for one in playbooks}
    return Book(playbooks, {kind: tuple(by_name[one.name] for one in some) for kind, some in _book().by_kind.items()})


def _changed(playbook: Playbook, scenario: Scenario) -> Playbook:
    skipped = scenario.skipped - ({"end-dead"} if Kind.HOST_LOST in _kinds(playbook) else set())
    steps = tuple(step for step in playbook.steps if step.spec.name not in skipped)
    spec = playbook.spec.model_copy(update={"budget": scenario.budget})
    return replace(playbook, mode=scenario.mode, spec=spec, steps=steps or playbook.steps)


def _kinds(playbook: Playbook) -> set[Kind]:
    return {kind for selector in playbook.spec.trigger.findings for kind in selector.kinds}


@dataclass(eq=False)
class Watched:
    """An action at whose every call the invariants look."""

    real: Action
    stage: Stage
    witness: Witness
    name: str
    about: str
    irreversible: bool
    harm: bool
    inverse: str
    parameters: Mapping[str, str]
    verbs: tuple[Verb, ...]

    @classmethod
    def of(cls, real: Action, stage: Stage, witness: Witness) -> Watched:
        return cls(
            real, stage, witness, real.name, real.about, real.irreversible, real.harm, real.inverse, real.parameters, real.verbs
        )

    async def __call__(self, target: Target, ports: Ports) -> Outcome:
        key = object()
        self.stage.invariants.calling(key, self, target, self.witness)
        try:
            return await self.real(target, ports)
        finally:
            self.stage.invariants.called(key, self.witness)


@dataclass(eq=False)
class OnTheAir:
    """What watcher and agents say, as messages."""

    broker: VirtualBroker

    def finding(self, found: Finding) -> None:
        self.broker.publish(Message(topics.finding(CLUSTER, found.id), to_json(found), retain=True))

    def progress(self, gang: GangId, row: dict[str, Any]) -> None:
        self.broker.publish(Message(topics.progress(CLUSTER, gang.key), json.dumps(row).encode(), retain=True))

    def alive(self, row: dict[str, Any]) -> None:
        self.broker.publish(Message(topics.watcher(CLUSTER), json.dumps(row).encode(), retain=True))

    def answer(self, host: str, row: dict[str, Any]) -> None:
        self.broker.publish(Message(topics.host(CLUSTER, host, topics.EVENT), json.dumps(row).encode()))


class StrictLoops(Loops):
    """Loops of which none may meet what nobody expected: a guard that goes on must not hide a mistake of ours from a seed."""

    def __init__(self, clock: Callable[[], float], problem: Callable[[str], None]) -> None:
        super().__init__(clock)
        self._problem = problem

    def add(self, name: str, *, deadline: float) -> Loop:
        loop = super().add(name, deadline=deadline)
        strict = StrictLoop(loop.name, loop.deadline, loop.clock, last=loop.last, whole=loop.whole)
        strict.problem = self._problem
        self._loops[name] = strict
        return strict


class StrictLoop(Loop):
    """See `StrictLoops`. That another leads is no mistake."""

    problem: Callable[[str], None]

    def failed(self, error: str) -> None:
        super().failed(error)
        if not error.startswith((Refused.__name__, Unseated.__name__)):
            self.problem(f"loop {self.name} failed: {error}")


@dataclass(eq=False)
class Tenure:
    """One coordinator, from its begin to its end or death."""

    life: Life
    loop: VirtualLoop
    cluster: VirtualCluster
    bus: VirtualBus
    witness: Witness
    coordinator: Coordinator
    main: asyncio.Task[None] | None = None


@dataclass(eq=False)
class Stage:
    """The world and whoever coordinates it. ``actions``: those of the coordinators, for tests that plant a bug."""

    scenario: Scenario
    actions: Mapping[str, Action] = field(default_factory=lambda: ACTIONS)
    broker: VirtualBroker = field(default_factory=VirtualBroker)
    records: Records = field(default_factory=Records)
    book: Book = field(init=False)
    world: World = field(init=False)
    leases: Objects = field(init=False)
    timeline: Timeline = field(init=False)
    people: People = field(init=False)
    invariants: Invariants = field(init=False)
    tenures: list[Tenure] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    lives: int = 0
    _deaths: list[Death] = field(default_factory=list)
    _steps_left: int = 0

    def __post_init__(self) -> None:
        self.book = book_of(self.scenario)
        self.world = World(self.scenario, OnTheAir(self.broker))
        self.leases = Objects(self.world.clock)
        dice = random.Random(self.scenario.seed + 2)  # noqa: S311 (the point is that it can be repeated)
        self.timeline = Timeline(self.world.clock, self.world.agenda, dice)
        self.people = People(
            self.world, lambda: self.records.incidents, self._is_paused, self._ask, lambda one: self._ask(None, one)
        )
        self.invariants = Invariants(self.world, self.records, self.scenario.budget, self._alarm)
        self.invariants.watch()
        self.world.workshop.asked = self.invariants.repair_asked
        self.broker.ears.append(self._heard)
        for death in self.scenario.deaths:
            self.world.agenda.after(death.at, partial(self._doom, death))
        for begin, end in self.scenario.weather.away.get("broker", ()):
            self.world.agenda.after(begin, self.broker.restart)
            self.world.agenda.after(end + 1.0, self.world.connected)
        self.begin()

    # ── coordinators ──────────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self) -> None:
        """Let a coordinator begin."""
        self.lives += 1
        life, loop, witness = Life(), VirtualLoop(self.world.clock, self.timeline.dice), Witness()  # type: ignore[abstract]  # sockets and threads, which nobody asks it for
        cluster = VirtualCluster(CLUSTER, self.world.objects, self._way("cluster", life), self.scenario.lag)
        bus = VirtualBus(self.broker, self._way("broker", life), loop, subscriptions(CLUSTER))
        bus.taken = lambda message: self._told(witness, message)
        with loop.running():
            coordinator = self._coordinator(life, cluster, bus, witness)
            self._in_bursts(coordinator.parts.sides[0])
            tenure = Tenure(life, loop, cluster, bus, witness, coordinator)
            tenure.main = loop.create_task(self._live(coordinator))
            tenure.main.add_done_callback(lambda _main: self.world.agenda.after(0.0, lambda: self._end(tenure)))
        self.tenures.append(tenure)
        self.timeline.loops.append(loop)

    def _coordinator(self, life: Life, cluster: VirtualCluster, bus: VirtualBus, witness: Witness) -> Coordinator:
        clock = self.world.clock
        side = Side(
            name=CLUSTER,
            cluster=cluster,
            bus=bus,
            provider=VirtualProvider(self.world.workshop, self._way("provider", life)),
            pace=PACE,
            clock=clock,
            beside=at_once,
        )
        store = MemoryStore(
            self.records, replace(self._way("store", life), bad=PROMPT), lambda turn: self.invariants.saved(turn, witness)
        )
        loops = StrictLoops(lambda: clock.seconds, self._problem)
        leadership = self._leadership(life, loops) if self._by_lease else None
        coordinator = Coordinator(
            Parts(
                store=store,  # type: ignore[arg-type]  # it keeps the same contract (tests/virtual/test_store.py)
                sides=[side],
                book=self.book,
                actions={name: Watched.of(action, self, witness) for name, action in self.actions.items()},
                pagers={"virtual": VirtualPager(self.world.receiver, self._way("pager", life))},
                alerts=AlertMap(),
                pace=PACE,
                clock=clock,
                monotonic=lambda: clock.seconds,
                loops=loops,
                dice=self.timeline.dice,
                version="0.0.0",
                rests=RESTS,
                leadership=leadership,
                memo=NOWHERE if leadership is None else OnLease(leadership),
            )
        )
        if self.scenario.lease and leadership is None:
            # Who was frozen finds on waking that its time ran out.
            leads = partial(self._leads, store)
            coordinator.deciding.stops.leads = coordinator.outbox.leads = coordinator.vigil.leads = leads
            coordinator.deciding.stops.asks = nobody_is_asked
        return coordinator

    @property
    def _by_lease(self) -> bool:
        """Whether its coordinators agree by a real Lease: where one is frozen. Its renewals cost 4 % of a story."""
        return self.scenario.lease and any(death.frozen for death in self.scenario.deaths)

    def _leadership(self, life: Life, loops: Loops) -> Leadership:
        clock, own = self.world.clock, VirtualCluster("own", self.leases, self._way("cluster", life))
        of = Candidacy("coordinator", "sliceward", f"life-{self.lives}", "", LASTS, RENEWED, GIVEN_UP)
        return Leadership(own, of, lambda: clock.seconds, clock, loops.add("lease", deadline=60))

    def _leads(self, store: MemoryStore) -> bool:
        return 0 < store.epoch == self.records.epoch

    def _in_bursts(self, side: Side) -> None:
        """Let changes wake the coordinator a moment late, many of them at once: each wake is a whole round."""
        wake, agenda, dice, coming = side.wake, self.world.agenda, self.timeline.dice, list[bool]()

        def woken() -> None:
            coming.clear()
            wake()

        def later() -> None:
            if not coming:
                coming.append(True)
                agenda.after(BURST * dice.random(), woken)

        side.wake = later

    def _way(self, port: str, life: Life) -> Way:
        return Way(port, life, self.world.agenda, self.timeline.dice, self.scenario.weather)

    async def _live(self, coordinator: Coordinator) -> None:
        """Begin and run, as `sliceward.daemons.coordinator.run` does it for the only replica, or for one of several."""
        while coordinator.parts.leadership is None:
            try:
                await coordinator.begin()
            except Retry:
                await asyncio.sleep(AGAIN)
            else:
                break
        await coordinator.run()

    # ── death ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _doom(self, death: Death) -> None:
        """Let the coordinator of now die after so many more steps."""
        self._deaths.append(death)
        self._steps_left = death.steps if len(self._deaths) == 1 else self._steps_left
        self.timeline.each = self._may_step

    def _may_step(self, loop: VirtualLoop) -> bool:
        """Let a loop take its step, unless it dies right before it."""
        if not self.tenures or loop is not self.tenures[-1].loop:
            return True
        self._steps_left -= 1
        if self._steps_left >= 0:
            return True
        death = self._deaths.pop(0)
        self._steps_left = self._deaths[0].steps if self._deaths else 0
        self.timeline.each = self._may_step if self._deaths else None
        self._die(death)
        return False

    def _die(self, death: Death) -> None:
        tenure = self.tenures[-1]
        if death.gentle:
            with tenure.loop.running():
                tenure.coordinator.stop()
            return
        self.timeline.loops.remove(tenure.loop)
        self.invariants.stopped(tenure.witness)
        if death.frozen:
            self.world.agenda.after(death.frozen, lambda: self._thaw(tenure))
        else:
            self.bury(tenure)
        self.world.agenda.after(death.pause, self.begin)

    def _thaw(self, tenure: Tenure) -> None:
        self.timeline.loops.append(tenure.loop)

    def bury(self, tenure: Tenure) -> None:
        """Take away everything of a coordinator."""
        tenure.life.alive = False
        tenure.bus.lose()
        tenure.cluster.leave()
        tenure.loop.drop()
        for problem in tenure.loop.problems:
            self._problem(problem)
        self.tenures.remove(tenure)

    def _end(self, tenure: Tenure) -> None:
        """Bury who ended by itself: told to, or a leader that was replaced. Who is the last one is started again."""
        if tenure not in self.tenures:
            return
        if tenure is self.tenures[-1]:
            self.world.agenda.after(RESTART, self.begin)
        error = None if tenure.main is None else tenure.main.exception()
        replaced = tenure.coordinator.store.epoch != self.records.epoch or self._by_lease
        if error is not None and not (isinstance(error, Refused) and replaced):
            self._problem(f"a coordinator ended with {error!r}")
        self.timeline.loops = [loop for loop in self.timeline.loops if loop is not tenure.loop]
        self.bury(tenure)

    def _alarm(self) -> None:
        self.timeline.over = True

    def _problem(self, what: str) -> None:
        self.problems.append(what)
        self._alarm()

    # ── what is told, asked and saved ─────────────────────────────────────────────────────────────────────────────────

    def _told(self, witness: Witness, message: Message) -> None:
        """Note what a coordinator hears, as the invariants want to know it."""
        address = topics.read(message.topic)
        if address is None or address.thing == "hosts":
            return
        now = self.world.clock.seconds
        if not message.retain:
            witness.watcher = now
        if address.thing == "findings" and message.payload:
            found = from_json(message.payload)
            witness.hear(found.id, found.state, now)
            if message.retain:
                witness.watcher = max(witness.watcher, (found.seen - self.world.clock()).total_seconds() + now)

    def _heard(self, message: Message) -> None:
        """Let an agent hear what is asked of its host."""
        address = topics.read(message.topic)
        if address is not None and address.leaf == topics.REQUEST:
            self.world.request(address.name, json.loads(message.payload))

    def _is_paused(self) -> bool:
        return self.records.settings.get("paused", '""') != '""'

    def _ask(self, deed: Deed | None, incident: str) -> None:
        """Let a person ask something of the coordinator of now; it may be dead, or say no."""
        if not self.tenures:
            return
        tenure = self.tenures[-1]
        coordinator = tenure.coordinator
        match deed:
            case Deed.PAUSE:
                call: Callable[[], Awaitable[object]] = partial(coordinator.pause, "a storm", by="ann")
            case Deed.RESUME:
                call = partial(coordinator.resume, "it is over", by="ann")
            case Deed.ABORT:
                call = partial(coordinator.deciding.abort, incident, by="ann", reason="not now")
            case _:
                call = partial(coordinator.deciding.approve, incident, by="ann", reason="go on")
        with tenure.loop.running():
            tenure.loop.create_task(self._asked(call))

    async def _asked(self, call: Callable[[], Awaitable[object]]) -> None:
        try:
            await call()
        except (Retry, Refused, KeyError):
            return
