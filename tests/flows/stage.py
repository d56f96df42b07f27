"""A small fleet on an emulated Kubernetes, gangs that train, people who meddle, and coordinators that live and die over it.

What outlives a coordinator is real as far as it can be: API server and controllers, the database file, the broker in memory,
agents that answer over it, a provider, a pager. Time is the test's: it passes from one round to the next.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
from collections import defaultdict
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sliceward.daemons import topics
from sliceward.daemons.coordinator.alerts import AlertMap
from sliceward.daemons.coordinator.coordinator import Coordinator, Parts
from sliceward.daemons.coordinator.settings import PaceSettings
from sliceward.daemons.coordinator.side import Side, subscriptions
from sliceward.daemons.loops import Loops
from sliceward.daemons.store.connect import database
from sliceward.daemons.wire import Message
from sliceward.detectors.finding import Finding, Kind, State, to_json
from sliceward.playbooks.load import load_book
from sliceward.playbooks.schema import Mode
from sliceward.playbooks.shipped import shipped
from sliceward.remediations import kubernetes
from sliceward.remediations.catalog import ACTIONS
from sliceward.simulation import controllers
from sliceward.simulation.controllers.client import NODES, Refusal, connect
from sliceward.simulation.kube import kinds
from sliceward.simulation.kube.server import running_api
from sliceward.simulation.world import furnish
from sliceward.topology import ids
from sliceward.topology.health import Severity
from sliceward.topology.ids import ChipId, GangId, LinkId
from sliceward.topology.names import NAMES
from tests.fakes.pager import FakePager
from tests.fakes.provider import FakeProvider
from tests.fakes.wire import MemoryBroker
from tests.flows.invariants import Invariants
from tests.flows.mortal import Fate, MortalAction, MortalCluster, MortalPager, MortalProvider, MortalStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from sliceward.playbooks.load import Book
    from sliceward.remediations.ports import Repair
    from sliceward.simulation.controllers.client import Client
    from sliceward.simulation.kube.server import EmulatedApi
    from sliceward.topology.ids import HostId, PartId
    from sliceward.topology.planned import ClusterPlan
    from tests.builders import FleetBuilder

Json = dict[str, Any]

CLUSTER = "c1"
PATIENCE = 180.0
"""Seconds of real time for one incident from fault to end, on a busy machine."""
BREATH = 0.004
"""Real seconds between two rounds: the controllers' turn."""
FAST = replace(
    controllers.MEASURED.faster(100), heartbeat=timedelta(seconds=0.5), node_grace=timedelta(seconds=3), toleration_scale=0.01
)
RATE = 5.0
LOOKS = 2
"""How often a repair is asked about until it is done."""


@dataclass
class Clock:
    """Wall and monotonic time of everybody in the test."""

    now: datetime

    def __call__(self) -> datetime:
        return self.now

    def seconds(self) -> float:
        return (self.now - BEGIN).total_seconds()


@dataclass
class Repairs(FakeProvider):
    """A provider who mends each host a while after it was asked. ``asked``: each request, repeats too."""

    world: Stage
    asked: list[tuple[str, str]] = field(default_factory=list)
    looks: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def __post_init__(self) -> None:
        super().__init__()

    async def request_repair(self, host: HostId, *, instance_id: str, behavior: str, text: str, operation_id: str) -> Repair:
        self.world.invariants.repair_requested(host.name, operation_id)
        self.asked.append((host.name, operation_id))
        return await super().request_repair(
            host, instance_id=instance_id, behavior=behavior, text=text, operation_id=operation_id
        )

    async def repair(self, repair_id: str) -> Repair | None:
        self.looks[repair_id] += 1
        found = await super().repair(repair_id)
        if found is None or self.looks[repair_id] < LOOKS:
            return found
        number = int(repair_id.rpartition("-")[2])
        await self.world.mend([host for host, _, _ in self.requests.values()][number - 1])
        return replace(found, state="done")


@dataclass(eq=False)
class Stage:
    """Everything but the coordinator.

    ``faults``: sick parts and what is wrong with them, until they are ``mended``. ``watching``: whether the watcher speaks.
    ``chores``: what others do between two rounds, each until it gives True. ``present``: the coordinator of now.
    """

    folder: Path
    plan: ClusterPlan
    clock: Clock
    api: EmulatedApi
    client: Client
    broker: MemoryBroker
    pager: FakePager
    book: Book
    invariants: Invariants
    kubeconfig: Path
    provider: Repairs = field(init=False)
    faults: dict[PartId, Kind] = field(default_factory=dict)
    mended: set[PartId] = field(default_factory=set)
    watching: bool = True
    present: Life | None = None
    chores: list[Callable[[], Awaitable[bool]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.provider = Repairs(self)

    def as_it_stands(self) -> str:
        """Tell the gangs' objects, for a reader who wants to know why nothing goes on."""
        lines = []
        for kind in (kinds.JOB, kinds.POD):
            for one in self.api.store.list(kind):
                meta, spec, status = one["metadata"], one.get("spec", {}), one.get("status", {})
                shown = {key: spec[key] for key in ("suspend", "nodeName") if key in spec}
                gone = f" terminates since {meta['deletionTimestamp']}" if "deletionTimestamp" in meta else ""
                lines.append(f"{kind.kind} {meta['name']} uid {meta['uid']}{gone}: {json.dumps(shown)} {json.dumps(status)}")
        return "\n".join(lines)

    # ── what is there ─────────────────────────────────────────────────────────────────────────────────────────────────

    def nodes(self) -> dict[str, Json]:
        return {node["metadata"]["name"]: node for node in self.api.store.list(kinds.NODE)}

    def pods(self, gang: str) -> list[Json]:
        found = self.api.store.list(kinds.POD)
        return [pod for pod in found if pod["metadata"].get("labels", {}).get(NAMES.jobset_name) == gang]

    def pools_of(self, gang: str) -> dict[str, set[str]]:
        """Give the pools (or cubes) in which each slice of a gang has pods, by job index."""
        places: dict[str, set[str]] = defaultdict(set)
        for pod in self.pods(gang):
            places[pod["metadata"]["labels"][NAMES.job_index]].add(_pool(str(pod["spec"].get("nodeName", ""))))
        return dict(places)

    def whole(self, gang: str) -> bool:
        """Whether all pods of a gang run and are ready."""
        planned = next(one for one in self.plan.gangs if one.name == gang)
        hosts = self.plan.kind.hosts(planned.topology, self.plan.chips_a_host)
        pods = self.pods(gang)
        ready = [pod for pod in pods if pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]]
        return len(pods) == len(ready) == planned.slices * hosts

    def marked(self) -> dict[str, str]:
        """Give the hosts with a mark of ours, and the incident in it."""
        return {
            name: taint["value"]
            for name, node in self.nodes().items()
            for taint in node["spec"].get("taints", ())
            if taint["key"] == NAMES.out_of_service
        }

    def hosts_in(self, pool: str) -> list[str]:
        return sorted(name for name in self.nodes() if _pool(name) == pool)

    # ── what others do ────────────────────────────────────────────────────────────────────────────────────────────────

    async def edit(self, host: str, patch: Json) -> None:
        await self.client.patch(NODES, {"metadata": {"name": host}}, patch)

    async def taint(self, host: str, key: str) -> None:
        """Add a stranger's taint, with care for everybody else's: who finds the node changed reads it again."""
        while True:
            node = self.nodes()[host]
            taints = [*node["spec"].get("taints", ()), {"key": key, "value": "theirs", "effect": "NoSchedule"}]
            version = {"resourceVersion": node["metadata"]["resourceVersion"]}
            try:
                await self.edit(host, {"metadata": version, "spec": {"taints": taints}})
            except Refusal as error:
                if error.reason != "Conflict":
                    raise
            else:
                return

    async def meddle_before(self, pool: str) -> None:
        """Let a person cordon one host of the pool, and a stranger taint another."""
        first, second, *_ = self.hosts_in(pool)
        await self.edit(first, {"spec": {"unschedulable": True}})
        await self.taint(second, "team/before")

    async def meddle_during(self, pool: str) -> bool:
        """Let a person cordon another host, and a stranger taint it, once our mark is on it."""
        third = self.hosts_in(pool)[2]
        if third not in self.marked():
            return False
        await self.taint(third, "team/during")
        await self.edit(third, {"spec": {"unschedulable": True}})
        return True

    async def mend(self, host: str) -> None:
        """Repair what is broken on a host."""
        self.mended |= {part for part in self.faults if host in hosts_of(part)}
        if "kubelet" in self.nodes()[host]["metadata"]["labels"]:
            await self.edit(host, {"metadata": {"labels": {"kubelet": None}}})

    def tell(self) -> None:
        """Publish what the watcher would: findings and the gangs' progress."""
        if not self.watching:
            return
        for part, kind in self.faults.items():
            state = State.RESOLVED if part in self.mended else State.FIRING
            finding = a_finding(part, kind, state, self.clock())
            self.invariants.firing[part] = state is State.FIRING
            self.broker.publish(Message(topics.finding(CLUSTER, finding.id), to_json(finding), retain=True))
        for gang in self.plan.gangs:
            identity = GangId(CLUSTER, gang.namespace, gang.kind, gang.name)
            sick = bool(self._sick_pools() & self._pools(gang.name))
            row = {
                "gang": str(identity), "at": self.clock().isoformat(), "step": 100, "members": len(self.pods(gang.name)),
                "rate": RATE * (0.5 if sick else 1.0) if self.whole(gang.name) else 0.0, "rate_before": RATE,
                "checkpoint_step": 90, "checkpoint_age": 3.0,
            }  # fmt: skip
            self.broker.publish(Message(topics.progress(CLUSTER, identity.key), json.dumps(row).encode(), retain=True))

    def _pools(self, gang: str) -> set[str]:
        return set().union(*self.pools_of(gang).values())

    def _sick_pools(self) -> set[str]:
        return {_pool(host) for part in self.faults.keys() - self.mended for host in hosts_of(part)}

    async def answer(self, message: Message) -> None:
        """Answer a request as an agent does."""
        address = topics.read(message.topic)
        assert address is not None
        asked = json.loads(message.payload)
        facts = {"checkpoint_step": 100} if asked["request"] == "checkpoint" else {}
        said = {"id": asked["id"], "request": asked["request"], "ok": True, "why": "", "facts": facts}
        self.broker.publish(Message(topics.host(CLUSTER, address.name, topics.EVENT), json.dumps(said).encode()))


def a_finding(part: PartId, kind: Kind, state: State, now: datetime) -> Finding:
    """Give a finding as a rule of the watcher makes it."""
    return Finding(
        kind=kind, part=part, state=state, severity=Severity.ERROR, since=BEGIN, seen=now, score=0.99,
        detector="rule/test", version="1", text=f"{kind} on {part}",
    )  # fmt: skip


BEGIN = datetime.now(UTC).replace(microsecond=0)


def _pool(host: str) -> str:
    return host.partition("-host-")[0]


def hosts_of(part: PartId) -> set[str]:
    """Give the names of the hosts that carry a part."""
    return {host.name for host in ids.hosts_of(part)}


def sick_link(stage: Stage, pool: str) -> LinkId:
    """Give a link inside a pool, between two of its hosts."""
    first, second, *_ = stage.hosts_in(pool)
    return LinkId.between(ChipId(CLUSTER, first, 1), ChipId(CLUSTER, second, 0))


@asynccontextmanager
async def a_stage(folder: Path, fleet: FleetBuilder) -> AsyncIterator[Stage]:
    """Bring up cluster, controllers, gangs, broker and agents; all gangs run whole when the block begins."""
    clock = Clock(BEGIN)
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(running_api(clock=clock))
        await stack.enter_async_context(controllers.run(api.url, times=FAST))
        client = await stack.enter_async_context(connect(api.url))
        broker = MemoryBroker()
        stage = Stage(
            folder=folder,
            plan=fleet.plan,
            clock=clock,
            api=api,
            client=client,
            broker=broker,
            pager=FakePager(),
            book=load_book(shipped(), ACTIONS, modes=Mode.ENFORCE),
            invariants=Invariants(api.store, folder / "store.db"),
            kubeconfig=api.write_kubeconfig(folder / "kubeconfig"),
        )
        await furnish(client, fleet.plan)
        agents = broker.wire("agents", subscribe=(topics.host(CLUSTER, "+", topics.REQUEST),))
        answering = asyncio.create_task(agents.run(stage.answer))
        async with asyncio.timeout(PATIENCE):
            while not all(stage.whole(gang.name) for gang in fleet.plan.gangs):  # noqa: ASYNC110 (what is waited for is on a server)
                await asyncio.sleep(BREATH)
        stage.invariants.watch()
        try:
            yield stage
        finally:
            answering.cancel()
            await asyncio.wait([answering])


@dataclass(eq=False)
class Life:
    """One coordinator, from its begin to its end or death."""

    stage: Stage
    fate: Fate
    coordinator: Coordinator

    async def round(self) -> datetime | None:
        """One round of every loop."""
        coordinator = self.coordinator
        await coordinator.desk.round()
        due = await coordinator.deciding.round()
        await coordinator.deciding.idle()
        await coordinator.outbox.round()
        await coordinator.sweep.round()
        return due

    async def live(self) -> bool:
        """Go round until dead; gives False where it lived to see everything over."""
        while True:
            task = asyncio.create_task(self._one())
            death = asyncio.create_task(self.fate.dead.wait())
            try:
                await asyncio.wait([task, death], return_when=asyncio.FIRST_COMPLETED)
            finally:
                for each in (task, death):
                    each.cancel()
                await asyncio.wait([task, death])
            if self.fate.dead.is_set():
                return True
            if await task:
                return False

    async def _one(self) -> bool:
        stage = self.stage
        stage.tell()
        due = await self.round()
        stage.invariants.settled(self.coordinator.deciding.docket.cases)
        stage.chores = [chore for chore in stage.chores if not await chore()]
        await asyncio.sleep(BREATH)
        soonest = stage.clock() + timedelta(seconds=1)
        stage.clock.now = min(max(due or soonest, stage.clock() + timedelta(seconds=0.2)), soonest)
        return stage.mended == stage.faults.keys() and not self.coordinator.deciding.docket.cases and not stage.marked()


@asynccontextmanager
async def a_life(stage: Stage, fate: Fate) -> AsyncIterator[Life]:
    """Give a coordinator that leads. At the end it is gone as a killed process is: nothing of it does anything more."""
    clock = stage.clock
    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(database(f"sqlite:///{stage.folder / 'store.db'}"))
        cluster = await stack.enter_async_context(kubernetes.connect(CLUSTER, kubeconfig=stage.kubeconfig))
        pace = PaceSettings(broker_grace=timedelta(0))
        side = Side(
            name=CLUSTER,
            cluster=MortalCluster(cluster, fate, CLUSTER),
            bus=stage.broker.wire("coordinator", subscribe=subscriptions(CLUSTER)),
            provider=MortalProvider(stage.provider, fate),
            pace=pace,
            clock=clock,
        )
        coordinator = Coordinator(
            Parts(
                store=MortalStore(opened, fate),
                sides=[side],
                book=stage.book,
                actions={name: MortalAction.of(action, fate) for name, action in ACTIONS.items()},
                pagers={stage.pager.name: MortalPager(stage.pager, fate)},
                alerts=AlertMap(),
                pace=pace,
                clock=clock,
                monotonic=clock.seconds,
                loops=Loops(clock.seconds),
                dice=random.Random(1),  # noqa: S311 (jitter of a test)
                version="0.0.0",
            )
        )
        await coordinator.begin()
        if coordinator.proof is not None:
            coordinator.proof.begun = -math.inf  # whoever led before is dead
        running = asyncio.create_task(side.run())
        while not side.synced:  # noqa: ASYNC110 (a list on a server)
            await asyncio.sleep(BREATH)
        try:
            stage.present = Life(stage, fate, coordinator)
            yield stage.present
        finally:
            # Everything of it hangs where it was: sweeping its tasks away lets nothing more out.
            fate.dead.set()
            coordinator.bell.close()
            running.cancel()
            await asyncio.wait([running])
            await coordinator.deciding._calls.drop()  # noqa: SLF001 (nothing of a dead process goes on)
