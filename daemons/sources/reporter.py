"""In-job reporters: a socket on the host that training processes speak to (`sliceward.workload`), several at once.

Out come steps, checkpoints, link health and throttling of the gang that spoke last; requests for a checkpoint go the other
way. A reporter that falls silent ages out; a hostile one is cut off and costs nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import re
import socket
import struct
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, assert_never

import structlog

from sliceward.daemons.complaints import Complaints
from sliceward.daemons.sources.devices import text_in
from sliceward.daemons.sources.reports import Answer, BadReport, Event, Hello, State, read_report
from sliceward.daemons.sources.source import Layout, Reading
from sliceward.detectors.sightings import BURST, END_NOTE, KEPT, Line, Sighting, plain, to_note
from sliceward.topology.errors import Retry
from sliceward.workload.messages import MAX_LINE, line

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from sliceward.daemons.sources.pods import Node, Seat

log = structlog.get_logger(__name__)

_MOST_JOBS = 64
_MOST_OF_PEER = 16
"""Connections of one pod, process or address: eight chips a host, one process each, and each twice while it reconnects."""
_MOST_BAD = 10
_MOST_OF_END = 200
"""Characters of what a process says of its end that stand in frames; its event carries all."""
_MOST_EVENTS = 60
"""Events of one peer in a minute: each goes to the broker, by way of the disk."""
_POD = re.compile(r"pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12})")


@dataclass(eq=False, slots=True)
class Job:
    """One connected training process. Times are monotonic seconds."""

    writer: asyncio.StreamWriter
    peer: str
    pod_uid: str
    began: float
    heard: float
    hello: Hello | None = None
    state: State = field(default_factory=State)
    base: int | None = None


@dataclass(frozen=True, slots=True)
class Doors:
    """Where reporters are listened to; either may be absent."""

    socket: Path | None = None
    tcp: tuple[str, int] | None = None


@dataclass(slots=True)
class ReporterSource:
    """The source. ``stale``: seconds of silence after which a process no longer counts; ``hello_within``: seconds to say hello."""

    layout: Layout
    node: Node
    cluster: str
    doors: Doors
    proc: Path
    on_event: Callable[[str, str, str], None] = lambda _gang, _event, _text: None
    stale: float = 15.0
    hello_within: float = 5.0
    floor: float = 0.0
    timeout: float = 1.0
    name: str = "reporter"
    age_metric: str = "host_source_age_reporter_seconds"
    counts: Counter[str] = field(default_factory=Counter)
    _jobs: set[Job] = field(default_factory=set)
    _servers: list[asyncio.Server] = field(default_factory=list)
    _is_open: bool = False
    _answers: dict[tuple[str, int], asyncio.Future[Answer]] = field(default_factory=dict)
    _end: Sighting | None = None
    _heard: float = field(default_factory=time.monotonic)
    _minute: int = 0
    _told: Counter[str] = field(default_factory=Counter)
    _complaints: Complaints = field(default_factory=lambda: Complaints(log))

    async def __aenter__(self) -> Self:
        """Listen at all doors; `Retry` where one of them cannot be opened, and then at none."""
        try:
            await self._open()
        except OSError as error:
            raise Retry(f"no door for reporters: {error}") from error
        finally:
            if not self._is_open:
                await self.__aexit__(None, None, None)
        return self

    async def _open(self) -> None:
        if self.doors.socket is not None:
            self.doors.socket.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                self.doors.socket.unlink()  # left behind by an agent that was killed
            server = await asyncio.start_unix_server(self._serve, self.doors.socket, limit=MAX_LINE)
            # Training pods run as any user.
            self.doors.socket.chmod(0o666)
            self._servers.append(server)
        if self.doors.tcp is not None:
            host, port = self.doors.tcp
            self._servers.append(await asyncio.start_server(self._serve, host, port, limit=MAX_LINE))
        self._is_open = True

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Hang up on everybody."""
        for server in self._servers:
            server.close()
        for job in list(self._jobs):
            job.writer.close()
        for server in self._servers:
            await server.wait_closed()
        self._servers.clear()
        self._is_open = False
        if self.doors.socket is not None:
            with contextlib.suppress(OSError):
                self.doors.socket.unlink()

    async def read(self, now: float) -> Reading:  # noqa: ARG002 (ages come from the monotonic clock)
        """Give what the reporters of this host's gang said last; `Retry` where none speaks."""
        clock = time.monotonic()
        fresh = [job for job in self._jobs if job.hello is not None and clock - job.heard <= self.stale]
        if not fresh:
            if not (end := self._end_note):
                raise Retry("no training process reports")
            return Reading({"host_source_age_reporter_seconds": [clock - self._heard]}, end)
        # Two gangs at once mean that one is just leaving: the one that came last is the present.
        newest = max(fresh, key=lambda job: job.began)
        seat = self._seat(newest)
        jobs = [job for job in fresh if _gang(self._seat(job)) == _gang(seat)]
        return Reading(self._columns(jobs, clock), _notes(jobs, seat) | self._end_note)

    @property
    def reporting(self) -> int:
        """How many processes are connected and not stale."""
        clock = time.monotonic()
        return sum(1 for job in self._jobs if job.hello is not None and clock - job.heard <= self.stale)

    async def checkpoint(self, request: str, *, deadline: float, at_step: int = 0) -> Answer:
        """Ask every process for a checkpoint and wait until ``deadline`` (unix seconds); the oldest step counts."""
        jobs = [job for job in self._jobs if job.hello is not None]
        if not jobs:
            return Answer(request, ok=False, why="no training process reports on this host")
        waiting = {(request, id(job)): asyncio.get_running_loop().create_future() for job in jobs}
        self._answers |= waiting
        message = line({"say": "checkpoint", "id": request, "deadline": deadline, "at_step": at_step})
        try:
            for job in jobs:
                job.writer.write(message)
            async with asyncio.timeout(max(0.0, deadline - time.time())):
                answers: list[Answer] = await asyncio.gather(*waiting.values())
        except TimeoutError:
            return Answer(request, ok=False, why="no checkpoint before the deadline")
        finally:
            for key in waiting:
                self._answers.pop(key, None)
        refusal = next((answer for answer in answers if not answer.ok), None)
        steps = [answer.checkpoint_step for answer in answers if answer.checkpoint_step is not None]
        return refusal or Answer(request, ok=True, checkpoint_step=min(steps, default=None))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer, pod_uid = self._peer_of(writer)
        if len(self._jobs) >= _MOST_JOBS or sum(job.peer == peer for job in self._jobs) >= _MOST_OF_PEER:
            self.counts["refused_full"] += 1
            self._complain("reporter refused", peer, f"of {_MOST_JOBS} connections, {_MOST_OF_PEER} from one, none is free")
            writer.close()
            return
        clock = time.monotonic()
        job = Job(writer, peer, pod_uid, clock, clock)
        self._jobs.add(job)
        try:
            await self._listen(job, reader)
        except (OSError, ValueError, asyncio.IncompleteReadError) as error:
            # A TimeoutError is an OSError: whoever says no hello holds a place that a training process needs.
            self.counts["cut_off"] += 1
            why = str(error) or f"no hello within {self.hello_within:g} s"
            if isinstance(error, ConnectionError):  # a training process may be killed at any time
                log.info("reporter gone", peer=peer, why=why)
            else:
                self._complain("reporter cut off", peer, why)
        finally:
            self._jobs.discard(job)
            for key in [key for key in self._answers if key[1] == id(job)]:
                gone = Answer(key[0], ok=False, why="the training process hung up")
                if not self._answers[key].done():
                    self._answers[key].set_result(gone)
            writer.close()

    async def _listen(self, job: Job, reader: asyncio.StreamReader) -> None:
        bad, until = 0, asyncio.get_running_loop().time() + self.hello_within
        while True:
            async with asyncio.timeout_at(until if job.hello is None else None):
                raw = await reader.readline()
            if not raw:
                return
            job.heard = self._heard = time.monotonic()
            try:
                self._take(job, raw)
            except BadReport as error:
                bad += 1
                self.counts["bad_lines"] += 1
                self._complain("reporter speaks nonsense", job.peer, error.why)
                if bad > _MOST_BAD:
                    return

    def _take(self, job: Job, raw: bytes) -> None:
        match read_report(raw):
            case Hello() as hello:
                job.hello = hello
            case State() as state:
                job.state = state
                if state.step is not None and (job.base is None or not 0 <= state.step - job.base < 1 << 24):
                    job.base = state.step  # float32 counts single steps only to 2**24
            case Event(event=event, text=text):
                if event == "fatal":
                    self._note_end(job, text)
                if self._may_tell(job.peer):
                    self.on_event(str(_gang(self._seat(job)) or ""), event, text)
            case Answer() as answer:
                waiting = self._answers.get((answer.id, id(job)))
                if waiting is not None and not waiting.done():
                    waiting.set_result(answer)
            case None:
                self.counts["unknown_lines"] += 1
            case other:
                assert_never(other)

    def _note_end(self, job: Job, text: str) -> None:
        """Keep the first that a process of a gang says of its end: it dates the fault, and its connection ends with it."""
        seat, now = self._seat(job), time.time()
        before = self._end
        if before is None or before.seat != str(seat) or now - before.last > BURST:
            self._end = Sighting(Line.CRASHED, now, now, seat=str(seat or ""), pod=job.pod_uid, text=plain(text)[:_MOST_OF_END])

    @property
    def _end_note(self) -> dict[str, str]:
        told = self._end is not None and abs(time.time() - self._end.last) <= KEPT
        return {END_NOTE: to_note([self._end])} if told and self._end is not None else {}

    def _may_tell(self, peer: str) -> bool:
        """Whether one more event of a peer is passed on in this minute."""
        minute = int(time.monotonic() // 60)
        if minute != self._minute:
            self._minute, self._told = minute, Counter()
        self._told[peer] += 1
        if self._told[peer] <= _MOST_EVENTS:
            return True
        self.counts["dropped_events"] += 1
        self._complain("events of a reporter dropped", peer, f"it tells more than {_MOST_EVENTS} in a minute")
        return False

    def _complain(self, event: str, peer: str, why: str) -> None:
        what_to_do = "Find what speaks at the reporter's door there; sliceward.workload speaks right (docs/workload.md)"
        self._complaints.tell(event, where=peer, why=why, what_to_do=what_to_do)

    def _seat(self, job: Job) -> Seat | None:
        """Give the job's place: by the labels of its own pod, else by what it says, else by the only pod there is."""
        said = job.hello.job if job.hello is not None else None
        pods = self.node.pods
        uid = job.pod_uid or (said.pod_uid if said is not None else "")
        if pods is not None and uid in pods.by_uid:
            return pods.by_uid[uid].seat
        claimed = said.seat(self.cluster) if said is not None else None
        if claimed is None and pods is not None and len(pods.pods) == 1:
            return pods.pods[0].seat
        return claimed

    def _peer_of(self, writer: asyncio.StreamWriter) -> tuple[str, str]:
        """Give who speaks (pod, process or address), and the uid of its pod by its cgroup, "" where it cannot be told.

        It cannot over TCP and from another pid namespace.
        """
        end = writer.get_extra_info("socket")
        if end is None or end.family != socket.AF_UNIX:
            return f"address {(writer.get_extra_info('peername') or ('',))[0]}", ""
        pid, _, _ = struct.unpack("3i", end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
        # Simulated hosts live in this very process.
        found = _POD.search(text_in(self.proc / str(pid) / "cgroup")) if pid != os.getpid() else None
        uid = found[1].replace("_", "-") if found else ""
        return (f"pod {uid}" if uid else f"process {pid}"), uid

    def _columns(self, jobs: list[Job], clock: float) -> dict[str, list[float]]:
        layout = self.layout
        columns = {name: layout.column(name) for name in ("chip_throttle_score", "link_health")}
        for job in jobs:
            for key, score in job.state.throttle.items():
                _put(columns["chip_throttle_score"], _number(key), layout.chips, score)
            for key, score in job.state.links.items():
                chip, _, port = key.partition("/")
                if (end := _number(port)) is not None and end < layout.ports and (first := _number(chip)) is not None:
                    _put(columns["link_health"], first * layout.ports + end, layout.chips * layout.ports, score)
        columns["host_source_age_reporter_seconds"] = [min(clock - job.heard for job in jobs)]
        slowest = min((job for job in jobs if job.base is not None), key=_step, default=None)
        if slowest is not None and slowest.base is not None:
            columns["host_step"] = [float(_step(slowest) - min(_bases(jobs)))]
        ages = [(job.state.step_age, clock - job.heard) for job in jobs]
        columns["host_step_age_seconds"] = [max((age + since for age, since in ages if age is not None), default=math.nan)]
        columns["host_step_seconds"] = [_largest(job.state.step_seconds for job in jobs)]
        saved = [(job.state.checkpoint_age, clock - job.heard) for job in jobs]
        columns["host_checkpoint_age_seconds"] = [max((a + since for a, since in saved if a is not None), default=math.nan)]
        for activity in ("compile", "checkpoint", "input", "gc"):
            totals = [job.state.spent[activity] for job in jobs if activity in job.state.spent]
            # A process that never did it has done it for no time: the first time must not be lost.
            columns[f"host_{activity}_seconds_total"] = [max(totals, default=0.0)]
        return columns


def _gang(seat: Seat | None) -> Any:  # noqa: ANN401 (compared and printed only)
    return None if seat is None else seat.gang


def _step(job: Job) -> int:
    return job.state.step or 0


def _bases(jobs: list[Job]) -> list[int]:
    return [job.base for job in jobs if job.base is not None]


def _largest(values: Any) -> float:  # noqa: ANN401 (a generator of numbers and None)
    return max((value for value in values if value is not None), default=math.nan)


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 4 else None  # noqa: PLR2004 (no host has a thousand chips)


def _put(column: list[float], place: int | None, limit: int, score: float) -> None:
    """Set a score where it has a place; of two processes the worse one counts."""
    if place is not None and place < limit and not score <= column[place]:
        column[place] = float(score)


def _notes(jobs: list[Job], seat: Seat | None) -> dict[str, str]:
    notes = {} if seat is None else {"gang": str(seat)}
    told = next((job.hello.job.rendezvous for job in jobs if job.hello is not None and job.hello.job.rendezvous), "")
    if told:
        notes["rendezvous"] = told
    if bases := _bases(jobs):
        notes["step_base"] = str(min(bases))
    saved = [job.state.checkpoint_step for job in jobs if job.state.checkpoint_step is not None]
    if saved:
        notes["checkpoint_step"] = str(min(saved))
    places = next((job.state.coordinates for job in jobs if job.state.coordinates), None)
    if places:
        notes["coordinates"] = json.dumps(places, separators=(",", ":"))
    return notes
