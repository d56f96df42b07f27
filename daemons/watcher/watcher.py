"""The watcher of one cluster: frames in, rounds of detection, findings and gang progress out.

A round is: let the panel's time pass, put in what Kubernetes and the watcher itself say, evaluate, tell what changed.
State is compared with state; a message never decides anything by itself. After a start nothing is told before the panel
has filled, and what the broker still holds of our own findings is taken over first.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from sliceward.daemons import topics
from sliceward.daemons.complaints import Complaints
from sliceward.daemons.version import version
from sliceward.daemons.watcher.comparing import Comparing
from sliceward.daemons.watcher.shelf import Shelf
from sliceward.daemons.watcher.sight import Sight
from sliceward.daemons.watcher.statistics import Statistics
from sliceward.daemons.watcher.surroundings import write_readings
from sliceward.detectors import progress
from sliceward.detectors.finding import Kind, State
from sliceward.detectors.frame import BadFrame, decode
from sliceward.detectors.panel import Panel, PanelSize, notes_of
from sliceward.detectors.passes.told import DETECTOR as STATISTICS
from sliceward.detectors.run import evaluate
from sliceward.detectors.witness import write_own
from sliceward.topology.errors import Refused, Retry
from sliceward.topology.ids import ChipId

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Container, Iterable, Iterator, Sequence

    from sliceward.daemons.loops import Loop, Loops
    from sliceward.daemons.watcher.prometheus import PrometheusSource
    from sliceward.daemons.watcher.settings import WatcherSettings
    from sliceward.daemons.watcher.surroundings import Surroundings
    from sliceward.daemons.wire import Bus, Message
    from sliceward.detectors.finding import Finding
    from sliceward.detectors.rules import Rule
    from sliceward.topology.fleet import Fleet
    from sliceward.topology.ids import GangId

log = structlog.get_logger(__name__)

TELL_AT_ONCE = 64
WARM_UP_PERIODS = 6
AHEAD = 60.0
"""Seconds of the future beyond which the clock of a host, or ours, is wrong."""
MOST_CLOCKS = 100
"""Hosts of which that is told: where it is ours, all of them seem to be ahead."""
OWN_STEP = 3
"""Periods by which our own clock may be set, back or forward, before everything begins anew."""
LEAST_STEP = 1.0
"""Seconds below which nothing is called a step: two clocks are never read at the same instant."""
HANGS = 3600.0
"""Seconds without a comparison with peers after which it hangs: a restart ends it, and keeps rules from speaking for a minute."""
GOOD_BYE = 2.0
"""Seconds to say good-bye in."""
VERSION = version()


def subscriptions(cluster: str) -> tuple[str, ...]:
    """Give the topics that a watcher hears: frames, and its own retained words from before a start."""
    return (topics.host(cluster, "+", topics.FRAME), topics.finding(cluster, "+"), topics.progress(cluster, "+"))


def last_word(why: str) -> bytes:
    """Give what is told retained when a watcher is gone: by itself when it stops, by the broker when it dies."""
    return json.dumps({"online": False, "why": why, "version": VERSION}).encode()


@dataclass(frozen=True)
class Parts:
    """What a watcher is made of. ``clock`` gives the wall time, which can be set; ``monotonic`` seconds that nobody sets.

    ``beside`` calls something that takes long, so that frames are taken in meanwhile: in a thread, where there are threads.
    """

    settings: WatcherSettings
    rules: Sequence[Rule]
    bus: Bus
    surroundings: Surroundings
    loops: Loops
    clock: Callable[[], datetime]
    monotonic: Callable[[], float]
    prometheus: PrometheusSource | None = None
    beside: Callable[[Callable[[], None]], Awaitable[None]] = asyncio.to_thread


@dataclass(eq=False)
class Watcher:
    """One cluster's watcher. ``counts``: what was refused, by reason; `Panel.counts` has the frames'."""

    parts: Parts
    panel: Panel = field(init=False)
    shelf: Shelf = field(init=False)
    comparing: Comparing = field(init=False)
    counts: Counter[str] = field(default_factory=Counter)
    paces: dict[GangId, progress.Pace] = field(default_factory=dict)
    ready_at: datetime | None = None
    _complaints: Complaints = field(default_factory=lambda: Complaints(log))
    _ahead: Complaints = field(default_factory=lambda: Complaints(log, most=MOST_CLOCKS))
    _told_progress: dict[GangId, float] = field(default_factory=dict)
    _told_alive: datetime | None = None
    _ended: set[GangId] = field(default_factory=set)
    _connections: int = 0
    _attended: bool = False
    _listed: bool = False
    _clocks: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Make panel and shelf."""
        settings = self.parts.settings
        self.panel = self._new_panel()
        self.shelf = Shelf(settings.cluster.name, settings.rules.refresh, settings.rules.keep_resolved)
        period, steady = settings.panel.period.total_seconds(), self.parts.monotonic
        on = settings.statistics.enabled
        statistics = Statistics(settings.cluster.name, settings.statistics, period, self.counts, steady) if on else None
        self.comparing = Comparing(statistics, self.parts.beside, self.counts, steady, period, settings.rules.keep_resolved)

    def _new_panel(self) -> Panel:
        settings = self.parts.settings
        size = PanelSize(
            settings.panel.period.total_seconds(), settings.panel.rows, settings.panel.max_hosts, settings.panel.max_bytes
        )
        tracked = {name for rule in self.parts.rules for name in rule.stalled}
        return Panel(settings.cluster.name, size, track=tracked)

    @property
    def warm(self) -> bool:
        """Whether the panel has filled since the start, so that findings may be told."""
        return self.ready_at is not None and self.parts.clock() >= self.ready_at

    @property
    def statistics(self) -> Statistics | None:
        """What compares parts with their peers; None where that is switched off."""
        return self.comparing.statistics

    @property
    def findings(self) -> list[Finding]:
        """Every finding as it stands."""
        return self.shelf.findings

    # ── running ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Run all loops until cancelled."""
        async with asyncio.TaskGroup() as wires:
            wire = wires.create_task(self.parts.bus.run(self.take, self._greet), name="broker")
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self.parts.surroundings.run(), name="kubernetes")
                    tasks.create_task(self._rounds(), name="rounds")
                    if self.statistics is not None:
                        tasks.create_task(self._comparisons(), name="comparisons")
                    if self.parts.prometheus is not None:
                        tasks.create_task(self._asking(self.parts.prometheus), name="prometheus")
            finally:
                await self._say_good_bye()
                wire.cancel()

    async def _say_good_bye(self) -> None:
        if not self.parts.bus.connected:
            return
        try:
            async with asyncio.timeout(GOOD_BYE):
                await self.parts.bus.publish(topics.watcher(self.panel.cluster), last_word("stopped"), qos=1, retain=True)
        except (Retry, TimeoutError) as error:
            log.info("good-bye not said", why=str(error))

    async def _rounds(self) -> None:
        period = self.panel.size.period
        loop = self.parts.loops.add("detect", deadline=max(30.0, 6 * period))
        while True:
            try:
                await self.round()
                loop.beat()
            except Retry as error:
                # The broker is away: it is shown by readiness, and is no reason to restart the watcher.
                log.info("not everything could be told", why=str(error))
                loop.beat()
            except Exception as error:
                log.exception("round failed", loop=loop.name)
                loop.failed(f"{type(error).__name__}: {error}")
            await self._pause(period, loop)

    async def _pause(self, seconds: float, loop: Loop) -> None:
        """Wait for the next round; meanwhile tell what a comparison finds, so that one task alone tells."""
        ends = self.parts.monotonic() + seconds
        while (left := ends - self.parts.monotonic()) > 0:
            try:
                async with asyncio.timeout(left):
                    await self.comparing.news.wait()
            except TimeoutError:
                return
            self.comparing.news.clear()
            try:
                await self.tell_compared()
            except Retry as error:
                log.info("not everything could be told", why=str(error))
            except Exception as error:
                log.exception("telling failed", loop=loop.name)
                loop.failed(f"{type(error).__name__}: {error}")

    async def _comparisons(self) -> None:
        period = self.panel.size.period
        loop = self.parts.loops.add("statistics", deadline=max(HANGS, 360 * period))
        while True:
            began = self.parts.monotonic()
            why = await self.compare()
            # One that fails goes round, and rules with it: no reason to restart the watcher.
            loop.retried(why) if why else loop.beat()
            await asyncio.sleep(max(period / 10, period - (self.parts.monotonic() - began)))

    async def _asking(self, source: PrometheusSource) -> None:
        every = self.parts.settings.prometheus.every.total_seconds()
        loop = self.parts.loops.add("prometheus", deadline=10 * every + 60)
        while True:
            pause = every
            try:
                pause = every if await self.ask(source) else min(every, self.panel.size.period)
                loop.beat()
            except Retry as error:
                # A Prometheus that is away is missing readings, not a watcher that hangs.
                self.counts["prometheus_failed"] += 1
                loop.beat()
                loop.error = str(error)
            except Exception as error:
                log.exception("round failed", loop=loop.name)
                loop.failed(f"{type(error).__name__}: {error}")
            await asyncio.sleep(pause)

    async def ask(self, source: PrometheusSource) -> bool:
        """Ask Prometheus once, unless the hosts are not known yet: the back-fill is asked for once and must find its places.

        Raises:
            Retry: it did not answer.
        """
        if not self._listed:
            return False
        await source.read(self.panel, self.parts.surroundings.fleet, lost=tuple(self._lost_chips()))
        return True

    def _lost_chips(self) -> Iterator[ChipId]:
        """Go through the chips that are called lost, so that a start of ours does not forget that there should be more."""
        for finding in self.findings:
            if finding.kind is Kind.CHIP_LOST and finding.state is not State.RESOLVED:
                yield from (part for part in (finding.part, *finding.also) if isinstance(part, ChipId))

    # ── in ────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def take(self, message: Message) -> None:
        """Take in one message of the broker."""
        address = topics.read(message.topic)
        if address is None or address.cluster != self.panel.cluster:
            self.counts["wrong_topic"] += 1
        elif address.thing == "hosts":
            self._take_frame(address.name, message.payload)
        elif not self.warm and address.thing == "findings":
            self.shelf.recall(address.name, message.payload)
        elif not self.warm and message.payload:
            self._recall_progress(message.payload)

    def _take_frame(self, host: str, payload: bytes) -> None:
        try:
            frame = decode(payload)
        except BadFrame as error:
            self._complain(
                host, "bad_frame", str(error), "Look at the agent of this host, and whether its version fits the watcher's"
            )
            return
        if frame.cluster != self.panel.cluster or frame.host != host:
            why = f"a frame of {frame.cluster}/{frame.host} came on the topic of {host}"
            self._complain(
                host, "wrong_speaker", why, "Give each agent its own node's name and broker user, and the broker its ACL"
            )
            return
        now = self.parts.clock().timestamp()
        if frame.at - now > AHEAD:
            self.counts["clock_ahead"] += 1
            self._ahead.tell(
                "clock of a host is ahead", where=f"host {host}", why=f"its frame is {frame.at - now:.0f} s from the future",
                what_to_do="Set its clock, or ours where many hosts seem to be ahead (NTP); until then its readings count from when they come in",
            )  # fmt: skip
        self.panel.put(frame, now)

    def _complain(self, host: str, count: str, why: str, what_to_do: str) -> None:
        self.counts[count] += 1
        self._complaints.tell("frame refused", where=f"host {host}", why=why, what_to_do=what_to_do)

    def _recall_progress(self, payload: bytes) -> None:
        try:
            pace = progress.from_json(payload)
        except ValueError:
            self.counts["bad_progress"] += 1
            return
        if pace.gang.cluster == self.panel.cluster and pace.gang not in self.paces:
            self.paces[pace.gang] = pace
            self._told_progress[pace.gang] = pace.at

    async def _greet(self) -> None:
        """Notice a connection: everything is told again, for the broker may have come back empty."""
        if self.ready_at is None:
            self._warm_up(self.parts.clock())

    def _warm_up(self, now: datetime) -> None:
        self.ready_at = now + (self.parts.settings.rules.warm_up or WARM_UP_PERIODS * self.parts.settings.panel.period)

    # ── a round ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def round(self) -> None:
        """Detect once and tell what changed.

        Raises:
            Retry: not everything could be told; the next round goes on with it.
        """
        # Before the time is taken: a first reading of a large fleet takes seconds, in which frames go on coming in.
        fleet = await self.parts.surroundings.read(notes_of(self.panel), self.parts.clock())
        now = self.parts.clock()
        step, back = self._own_step(now), now.timestamp() - self.panel.now
        if max(abs(step), -back) > max(OWN_STEP * self.panel.size.period, LEAST_STEP):
            self._begin_anew(now, min(step, back) if back < 0 else step)
        else:
            self.panel.shift(step)
        self._detect(fleet, now)
        self._take_compared(now)
        connections = self.parts.bus.counts["connected"]
        if connections != self._connections:
            self._connections = connections
            # What was recalled on the first connection the broker has; one that came back may be empty.
            if connections > 1:
                self._forget_telling()
        if self.warm and self.parts.bus.connected:
            await self._tell(now)

    async def compare(self) -> str:
        """Compare parts with their peers once, beside the loop; give why not, "" where it was done. What is found `tell_compared` tells."""
        if not self._listed:
            # Peers and links are not known: what is known of them would be lost.
            return "the cluster was not read yet"
        return await self.comparing.round(self._sight)

    def _sight(self) -> Sight:
        grace = self.parts.settings.rules.grace.total_seconds()
        known = self.comparing.with_found(self.shelf.findings)
        return Sight.of(self.panel, self.parts.surroundings.fleet, known, grace=grace, telling=self.warm)

    async def tell_compared(self) -> None:
        """Tell what a comparison found, as a round tells what rules find; never while a round tells.

        Raises:
            Retry: not everything could be told; the next round goes on with it.
        """
        now = self.parts.clock()
        self._take_compared(now)
        if self.warm and self.parts.bus.connected:
            await self._tell(now)

    def _take_compared(self, now: datetime) -> None:
        if self.warm:
            self.shelf.take(self.comparing.take(self.shelf.findings, now), now)

    def _forget_telling(self) -> None:
        self.shelf.forget_telling()
        self._told_progress.clear()
        self._told_alive = None

    def _own_step(self, now: datetime) -> float:
        """Give the seconds by which our wall clock was set since the last round: what it moved more than the steady one."""
        wall, steady = now.timestamp(), self.parts.monotonic()
        before, self._clocks = self._clocks or (wall, steady), (wall, steady)
        return wall - before[0] - (steady - before[1])

    def _begin_anew(self, now: datetime, step: float) -> None:
        """Do as after a start: our own clock was set.

        Readings from its future would stand still until it is there; on one that went forward each frame would look late.
        """
        self.counts["own_clock_steps"] += 1
        log.warning("own clock was set", seconds=round(step))
        self.panel, self._attended = self._new_panel(), False
        if self.statistics is not None:
            self.statistics.set_clock()
        self.paces = {gang: replace(pace, at=min(pace.at, now.timestamp()), marks=()) for gang, pace in self.paces.items()}
        if self.ready_at is not None:
            self._warm_up(now)
        self._forget_telling()

    def _detect(self, fleet: Fleet, now: datetime) -> None:
        panel, around, grace = self.panel, self.parts.surroundings, self.parts.settings.rules.grace
        # Time counts as attended only if there was a connection at both its ends: nobody ages while we could not hear.
        connected = self.parts.bus.connected
        panel.advance(now.timestamp(), attending=connected and self._attended)
        self._attended = connected
        panel.expect(host.name for host in fleet.hosts if host.cluster == panel.cluster)
        self._listed = self._listed or around.synced
        if around.fresh:
            write_readings(panel, fleet, self.parts.surroundings.names)
            self._forget_the_gone({host.name for host in fleet.hosts}, grace.total_seconds())
            self._forget_the_ended(fleet.gangs, now.timestamp())
        write_own(panel, fleet, grace=grace.total_seconds())
        self.paces = progress.follow(panel, self.paces)
        if self.warm:
            self.shelf.not_after(now)
            previous = [finding for finding in self.shelf.findings if finding.detector != STATISTICS]
            self.shelf.take(evaluate(panel, self.parts.rules, fleet, grace=grace, previous=previous), now)

    def _forget_the_gone(self, there: set[str], grace: float) -> None:
        gone = [name for name, slot in self.panel.slots.items() if name not in there and self.panel.silence(slot) > grace]
        for name in gone:
            self.panel.forget(name)

    def _forget_the_ended(self, there: Container[GangId], now: float) -> None:
        """Drop gangs that are long gone, and what the broker keeps of them: names of jobs are made anew each day."""
        keep = self.parts.settings.rules.keep_resolved.total_seconds()
        gone = [gang for gang, pace in self.paces.items() if gang not in there and now - pace.at >= keep]
        for gang in gone:
            del self.paces[gang]
            self._told_progress.pop(gang, None)
        self._ended.update(gone)

    async def _tell(self, now: datetime) -> None:
        due = self.shelf.due(now)
        for first in range(0, len(due), TELL_AT_ONCE):
            batch = due[first : first + TELL_AT_ONCE]
            answers = await asyncio.gather(*(self._publish(message) for _, message in batch), return_exceptions=True)
            for (key, message), answer in zip(batch, answers, strict=True):
                if not isinstance(answer, BaseException):
                    self.shelf.confirmed(key, message, now)
            _raise_first(answers)
        for gang, pace in list(self.paces.items()):
            if self._told_progress.get(gang) != pace.at:
                topic = topics.progress(self.panel.cluster, gang.key)
                await self.parts.bus.publish(topic, progress.to_json(pace), qos=1, retain=True)
                self._told_progress[gang] = pace.at
        for gang in sorted(self._ended - self.paces.keys()):
            await self.parts.bus.publish(topics.progress(self.panel.cluster, gang.key), b"", qos=1, retain=True)
        self._ended.clear()
        # Who does not know yet which hosts there should be must not say that the others are well.
        if self.parts.surroundings.synced and (
            self._told_alive is None or now - self._told_alive >= self.parts.settings.rules.refresh
        ):
            await self.parts.bus.publish(topics.watcher(self.panel.cluster), self._alive(now), qos=1, retain=True)
            self._told_alive = now

    def _alive(self, now: datetime) -> bytes:
        late = [loop.name for loop in self.parts.loops.late]
        return json.dumps({"online": True, "at": now.isoformat(), "version": VERSION, "loops_late": late}).encode()

    async def _publish(self, message: Message) -> None:
        try:
            await self.parts.bus.publish(message.topic, message.payload, qos=message.qos, retain=message.retain)
        except Refused as error:
            # One finding that cannot be sent must not keep the others from being told.
            self.counts["finding_refused"] += 1
            log.warning("finding cannot be told", topic=message.topic, why=str(error))


def _raise_first(answers: Iterable[BaseException | None]) -> None:
    for answer in answers:
        if answer is not None:
            raise answer


def utc_now() -> datetime:
    """Give the wall time."""
    return datetime.now(UTC)
