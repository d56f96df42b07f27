"""One agent: a loop that reads and frames, a loop that sends, the pods of the node, and answers to requests.

Many agents can run in one process (a simulated fleet): nothing here is shared between them.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import time
from collections import Counter, deque
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import structlog

from sliceward.daemons import topics
from sliceward.daemons.agent.changes import changes
from sliceward.daemons.agent.frames import FrameMaker
from sliceward.daemons.agent.identity import Identity, identify, layout_of
from sliceward.daemons.agent.queue import EventQueue
from sliceward.daemons.agent.requests import BadRequest, Request, Requests, read_request
from sliceward.daemons.agent.rounds import Round, Rounds
from sliceward.daemons.complaints import Complaints
from sliceward.daemons.loops import Loops
from sliceward.daemons.sources.catalog import SOURCES, Surroundings
from sliceward.daemons.sources.devices import Devices
from sliceward.daemons.sources.pod_list import ApiServer, PodList
from sliceward.daemons.sources.pods import Node
from sliceward.daemons.sources.reporter import ReporterSource
from sliceward.daemons.version import version
from sliceward.daemons.wire import Message
from sliceward.detectors.frame import BadFrame, encode
from sliceward.topology.errors import Misconfigured, Refused, Retry
from sliceward.topology.names import override

if TYPE_CHECKING:
    from collections.abc import Callable

    from sliceward.daemons.agent.settings import AgentSettings
    from sliceward.daemons.wire import Bus

log = structlog.get_logger(__name__)

VERSION = version()
_ASKS_AT_START = 5
_LEAST_PERIOD, _MOST_PERIOD = 0.2, 600.0
_MOST_REQUESTS = 16


@dataclass(frozen=True, slots=True)
class Connection:
    """What a wire of this agent must have."""

    client_id: str
    subscribe: tuple[str, ...]
    will: Message


class Agent:
    """The agent of one host. ``connect`` makes its wire."""

    def __init__(self, settings: AgentSettings, connect: Callable[[Connection], Bus]) -> None:
        """Nothing is read or connected before `run`."""
        self.settings = settings
        self.period = settings.period.total_seconds()
        if not _LEAST_PERIOD <= self.period <= _MOST_PERIOD:
            raise Misconfigured("period", f"is {self.period:g} s", "Use 200ms to 10m")
        self.loops, self.counts = Loops(time.monotonic), Counter[str]()
        self.says_good_bye = True
        self.bus: Bus | None = None
        self.rounds: Rounds | None = None
        self.reporter: ReporterSource | None = None
        self._connect, self._start, self._version = connect, time.time(), VERSION
        self._names = override(settings.names)
        self._node = Node()
        self._pods = self._pod_list()
        self.queue = EventQueue(settings.state / "events.json", most=settings.most_events)
        self._frames: deque[bytes] = deque(maxlen=settings.most_frames)
        self._wake = asyncio.Event()
        self._numbered = 0
        self._identity: Identity | None = None
        self._complaints = Complaints(log)

    async def run(self) -> None:
        """Work until cancelled, then say good-bye.

        Raises:
            Misconfigured: what this host carries is not known, or a setting cannot be used.
        """
        await self._ask_node()
        identity = self._who()
        layout = layout_of(self.settings, self._node.facts, names=self._names)
        devices = Devices(layout, self.settings.sources.root)
        around = Surroundings(
            self.settings.sources,
            layout,
            devices,
            self._node,
            self.settings.cluster,
            self.settings.state,
            self._reporter_said,
            self._names,
        )
        sources = [SOURCES[name](around) for name in SOURCES if name in self.settings.sources.enabled]
        self.queue.load()
        for problem in identity.problems:
            log.warning("identity incomplete", host=str(identity.host), why=problem)
        async with AsyncExitStack() as stack:
            rounds = self.rounds = Rounds(sources, layout, period=self.period)
            stack.push_async_callback(rounds.close)
            await rounds.open()
            reporter = self.reporter = next((source for source in sources if isinstance(source, ReporterSource)), None)
            allowed = frozenset(self.settings.sources.holders.allowed)
            requests = Requests(devices=devices, node=self._node, reporter=reporter, allowed=allowed)
            maker = FrameMaker(identity, layout, self.period, self._version)
            await self._work(rounds, maker, requests)

    async def _work(self, rounds: Rounds, maker: FrameMaker, requests: Requests) -> None:
        answering: set[asyncio.Task[None]] = set()

        def on_message(message: Message) -> None:
            request = self._request_in(message, room=len(answering) < _MOST_REQUESTS)
            if request is None:
                return
            task = asyncio.create_task(self._answer(requests, request))
            answering.add(task)
            task.add_done_callback(answering.discard)

        bus = self.bus = self._connect(self.connection())
        async with asyncio.TaskGroup() as wires:
            wire = wires.create_task(bus.run(on_message, self._greet))
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._read_for_ever(rounds, maker))
                    tasks.create_task(self._send_for_ever(bus))
                    if self._pods is not None:
                        deadline = 4 * self._pods.every + 4 * self._pods.timeout
                        tasks.create_task(self._pods.run(self._node, self.loops.add("pods", deadline=deadline)))
            finally:
                for task in answering:
                    task.cancel()
                await self._say_good_bye(bus)
                await self.queue.save()
                wire.cancel()

    # ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _read_for_ever(self, rounds: Rounds, maker: FrameMaker) -> None:
        loop = self.loops.add("read", deadline=max(10.0, 5 * self.period))
        before: Round | None = None
        # Hosts that booted together must not speak together.
        await asyncio.sleep(random.uniform(0, self.period))  # noqa: S311 (spreads calls over time, keeps no secret)
        due = time.monotonic()
        while True:
            found = await rounds.read()
            maker.identity = self._who()
            try:
                self._keep(encode(maker.make(found, now=time.time())))
                loop.beat()
            except BadFrame as error:
                loop.failed(str(error))
                self.counts["bad_frames"] += 1
                log.error("frame not sent", why=str(error))  # noqa: TRY400 (why it was refused is all there is to know)
            for name, text in changes(before, found):
                self.event(name, text)
            before = found
            # A round that was late is not made up for: the next one keeps to the schedule.
            late = max(0, math.ceil((time.monotonic() - due) / self.period) - 1)
            due += (late + 1) * self.period
            self.counts["rounds_missed"] += late
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    def _keep(self, frame: bytes) -> None:
        if len(self._frames) == self._frames.maxlen:
            self.counts["frames_dropped"] += 1
        self._frames.append(frame)
        self._wake.set()

    # ── sending ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _send_for_ever(self, bus: Bus) -> None:
        """Send what waits, events first; while the broker is away the loop still turns."""
        loop = self.loops.add("send", deadline=max(60.0, 5 * self.period))
        while True:
            await self.queue.save()
            try:
                await self._send(bus)
                loop.beat()
            except Retry as error:
                loop.beat()
                loop.error = str(error)
                await asyncio.sleep(min(1.0, self.period))
                continue
            try:
                async with asyncio.timeout(5 * self.period):
                    await self._wake.wait()
            except TimeoutError:
                continue
            self._wake.clear()

    async def _send(self, bus: Bus) -> None:
        # No more than wait now: frames must have their turn however fast somebody makes events.
        for _ in range(len(self.queue)):
            event = self.queue.first()
            if event is None:
                break
            try:
                await bus.publish(self._topic(topics.EVENT), json.dumps(event).encode())
                self.counts["events_sent"] += 1
            except Refused as error:
                self.counts["events_refused"] += 1
                log.error("event cannot be sent", why=str(error))  # noqa: TRY400 (as for frames)
            self.queue.sent(event)
        while self._frames:
            frame = self._frames[0]
            await bus.publish(self._topic(topics.FRAME), frame, qos=0)
            if self._frames and self._frames[0] is frame:
                self._frames.popleft()
            self.counts["frames_sent"] += 1
        await self.queue.save()

    async def _greet(self) -> None:
        if self.bus is not None:
            await self.bus.publish(self._topic(topics.STATUS), self._status(online=True), retain=True)
        self._wake.set()

    async def _say_good_bye(self, bus: Bus) -> None:
        """Tell that we stop: a stopped agent is not a dead host."""
        if not (bus.connected and self.says_good_bye):
            return
        try:
            async with asyncio.timeout(2.0):
                await bus.publish(self._topic(topics.STATUS), self._status(online=False, why="stopped"), retain=True)
        except (Retry, TimeoutError) as error:
            log.info("good-bye not said", why=str(error))

    # ── events and requests ───────────────────────────────────────────────────────────────────────────────────────────

    def event(self, name: str, text: str) -> None:
        """Put an event into the queue."""
        self._numbered += 1
        fact = {"id": f"{self._start:.3f}-{self._numbered}", "event": name, "text": text[:4000]}
        self._put({**fact, "agent_start": self._start})

    def _put(self, event: dict[str, Any]) -> None:
        who = self._who()
        self.queue.put({**event, "at": time.time(), "instance_id": who.instance_id, "boot_id": who.boot_id})
        self._wake.set()

    def _reporter_said(self, gang: str, event: str, text: str) -> None:
        self.event(f"reporter-{event}"[:64], f"{gang}: {text}" if gang else text)

    def _request_in(self, message: Message, *, room: bool) -> Request | None:
        """Give what is asked; None, counted and told once, where it is nothing to answer to."""
        try:
            # A retained request would be asked again by every reconnection; nobody asks like that.
            if message.retain:
                count, why = "requests_retained", "the broker keeps it: it would be asked again at each connection"
            elif not room:
                read_request(message.payload)
                count, why = "requests_refused", f"{_MOST_REQUESTS} are being answered already"
            else:
                return read_request(message.payload)
        except BadRequest as error:
            count, why = "requests_malformed", error.why
        self.counts[count] += 1
        what_to_do = "Find who publishes there beside the coordinator, and let the broker's ACL keep all others out"
        self._complaints.tell(count.replace("_", " "), where=f"topic {message.topic}", why=why, what_to_do=what_to_do)
        return None

    async def _answer(self, requests: Requests, request: Any) -> None:  # noqa: ANN401 (Request; typed where it is read)
        try:
            answer = await requests.answer(request, now=time.time())
        except Exception:
            # One request that nobody foresaw must not end the agent.
            self.counts["requests_failed"] += 1
            log.exception("request failed", request=request.request, id=request.id)
            return
        if answer is not None:
            self._put(asdict(answer))

    # ── who we are ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _who(self) -> Identity:
        """Give the identity; taken again while something is missing, since the API server may answer late."""
        if self._identity is None or (self._identity.problems and self._node.facts.labels):
            self._identity = identify(self.settings, self._node.facts, names=self._names, start=self._start)
        return self._identity

    async def _ask_node(self) -> None:
        """Ask Kubernetes for this node's labels, unless settings tell all that they would tell."""
        settings = self.settings
        told = (settings.generation, settings.chips, settings.instance_id, settings.index)
        if self._pods is None or all(value not in (None, "") for value in told):
            return
        for wait in range(_ASKS_AT_START):
            try:
                self._node.facts = await self._pods.node_facts()
            except Retry as error:
                log.warning("node unknown", node=settings.node, why=str(error))
                await asyncio.sleep(2.0**wait * random.uniform(0.25, 0.5))  # noqa: S311 (spreads calls over time, keeps no secret)
            else:
                return

    def _pod_list(self) -> PodList | None:
        kubernetes = self.settings.kubernetes
        if not kubernetes.enabled:
            return None
        server = (
            ApiServer(kubernetes.url, kubernetes.token_file, kubernetes.ca_file) if kubernetes.url else ApiServer.in_cluster()
        )
        if server is None:
            return None
        every = kubernetes.every.total_seconds()
        return PodList(server, self.settings.cluster, self.settings.node, self._names, every=every)

    def _topic(self, leaf: str) -> str:
        return topics.host(self.settings.cluster, self.settings.node, leaf)

    def connection(self) -> Connection:
        """Give what this agent's wire must have."""
        will = Message(self._topic(topics.STATUS), self._status(online=False, why="connection lost"), retain=True)
        return Connection(f"sliceward-agent-{self.settings.cluster}-{self.settings.node}", (self._topic(topics.REQUEST),), will)

    def _status(self, *, online: bool, why: str = "") -> bytes:
        who = self._who()
        body = {
            "online": online,
            "instance_id": who.instance_id,
            "boot_id": who.boot_id,
            "agent_start": who.agent_start,
            "at": time.time(),
            "version": self._version,
            "problems": list(who.problems),
            **({"why": why} if why else {}),
        }
        return json.dumps(body).encode()
