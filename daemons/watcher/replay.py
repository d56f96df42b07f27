"""A recording through the very watcher: its panel, rules and statistics, in the time of the recording and beside no broker.

In: lines of JSON, one a frame or reading, or what Prometheus answered to ``query_range``. Out: the findings round by round.
A line is ``{"received": UNIX SECONDS, "frame": "HEX"}``, the bytes as the agent sent them, or what others said of a host:
``{"received": …, "host": "NAME", "readings": {"host_ready": 0}}``.
"""

from __future__ import annotations

import gzip
import io
import math
import zlib
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from sliceward.daemons import topics
from sliceward.daemons.loops import Loops
from sliceward.daemons.watcher.prometheus import ASKED, LOOK_BACK, PrometheusSource
from sliceward.daemons.watcher.surroundings import Surroundings
from sliceward.daemons.watcher.watcher import WARM_UP_PERIODS, Parts, Watcher
from sliceward.daemons.wire import Message
from sliceward.detectors.frame import MAX_FRAME_BYTES, BadFrame, decode
from sliceward.detectors.metrics import CATALOGUE
from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from sliceward.daemons.watcher.settings import WatcherSettings
    from sliceward.detectors.finding import Finding
    from sliceward.detectors.metrics import Metric
    from sliceward.detectors.rules import Rule
    from sliceward.topology.fleet import Fleet

MOST_LINE = 4 * MAX_FRAME_BYTES
MOST_GAP = timedelta(days=2)
"""A recording that leaps further is two, or one of its times is wrong."""
MOST_TIME = 2.0**33
"""Unix seconds beyond which nothing was recorded."""
MOST_UNPACKED = 1 << 30
"""Bytes of a whole answer, packed or not."""
_GZIP = b"\x1f\x8b"


class Line(msgspec.Struct, frozen=True):
    """One line of a recording."""

    received: float
    frame: str = ""
    host: str = ""
    readings: dict[str, float] = {}


_LINE = msgspec.json.Decoder(Line)


@dataclass(frozen=True, slots=True)
class Record:
    """One thing that was heard: a frame, or what others said of a host. ``place``: how far into the file, in bytes."""

    received: float
    frame: bytes = b""
    host: str = ""
    readings: Mapping[str, float] = field(default_factory=dict)
    place: int = 0


@dataclass
class Quiet:
    """A bus that is always connected and tells nobody."""

    connected: bool = True
    age: float = 0.0
    counts: Counter[str] = field(default_factory=lambda: Counter(connected=1))

    async def run(
        self, on_message: Callable[[Message], Awaitable[None] | None], on_connect: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Hear nothing."""

    async def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Keep it to itself."""


class Recorded(PrometheusSource):
    """A Prometheus that answers from a file; what it has of each metric by name."""

    def __init__(self, settings: WatcherSettings, series: Sequence[Mapping[str, Any]], *, clock: Callable[[], datetime]) -> None:
        """Sort the series by name."""
        super().__init__(settings.prometheus, clock=clock)
        self._series: dict[str, list[Mapping[str, Any]]] = {}
        for one in series:
            self._series.setdefault(one["metric"].get("__name__", ""), []).append(one)

    async def _ask(self, metric: Metric, start: datetime, end: datetime, step: float) -> list[Any]:
        """Answer as Prometheus does: at each step the last sample of the look-back, and nothing where there is none."""
        ticks = [start.timestamp() + step * n for n in range(round((end - start).total_seconds() / step) + 1)]
        answer = []
        for one in self._series.get(metric.prometheus, ()):
            values, given, place = one["values"], [], 0
            for tick in ticks:
                while place < len(values) and float(values[place][0]) <= tick:
                    place += 1
                if place and tick - float(values[place - 1][0]) < max(LOOK_BACK, 2 * step):
                    given.append([tick, values[place - 1][1]])
            if given:
                answer.append({"metric": one["metric"], "values": given})
        return answer


@dataclass
class Replay:
    """One recording through one watcher. ``counts``: lines that could not be used, by reason."""

    settings: WatcherSettings
    rules: Sequence[Rule]
    fleet: Fleet | None = None
    counts: Counter[str] = field(default_factory=Counter)
    now: float = 0.0
    began: float = 0.0
    rounds: int = 0

    def __post_init__(self) -> None:
        """Make the watcher, which takes its time from the recording, and keeps nothing on disk: the folder may be that of a live one."""
        statistics = self.settings.statistics.model_copy(update={"folder": None})
        self.settings = self.settings.model_copy(update={"statistics": statistics})
        around = Surroundings(self.settings.cluster.name, None)
        if self.fleet is not None:
            around.fleet = self.fleet
        parts = Parts(
            settings=self.settings, rules=self.rules, bus=Quiet(), surroundings=around, loops=Loops(self._time),
            clock=self._clock, monotonic=self._time, beside=_here,
        )  # fmt: skip
        self.watcher = Watcher(parts)

    def _time(self) -> float:
        return self.now

    def _clock(self) -> datetime:
        return datetime.fromtimestamp(self.now, UTC)

    async def frames(self, records: Iterable[Record]) -> AsyncIterator[tuple[datetime, list[Finding], int]]:
        """Go through the rounds: when, the findings, and how far into the recording."""
        period, following = self.settings.panel.period.total_seconds(), math.nan
        for record in records:
            if math.isnan(following):
                self._begin(record.received)
                following = record.received + period
            if record.received - self.now > MOST_GAP.total_seconds():
                self.counts["too far ahead"] += 1
                continue
            silent = 0
            while following <= record.received:
                if (silent := silent + 1) > self.settings.panel.rows:
                    # The window is empty by now, and nothing comes of more silence.
                    left = int((record.received - following) // period)
                    self.counts["silent rounds left out"] += left
                    following += left * period
                yield await self._round(following), self.watcher.findings, record.place
                following += period
            self.now = max(self.now, record.received)
            self._take(record)
        if not math.isnan(following):
            yield await self._round(following), self.watcher.findings, -1

    async def prometheus(self, series: Sequence[Mapping[str, Any]]) -> AsyncIterator[tuple[datetime, list[Finding], int]]:
        """As `frames`, of series that Prometheus answered with; the last number is a share in thousandths."""
        times = [float(at) for one in series for at, _ in one["values"]]
        first, last = min(times), max(times)
        self._begin(first)
        source = Recorded(self.settings, series, clock=self._clock)
        try:
            self.watcher.panel.expect(_hosts_in(series, self.settings.prometheus.host_label))
            period = self.settings.panel.period.total_seconds()
            asks = max(1, round(self.settings.prometheus.every.total_seconds() / period))
            for tick in self._ticks(series, first, last):
                self.now = first + tick * period
                if tick % asks == 0:
                    await self.watcher.ask(source)
                share = int(1000 * (self.now - first) / max(1.0, last - first))
                yield await self._round(self.now), self.watcher.findings, share
        finally:
            source.close()

    def _ticks(self, series: Sequence[Mapping[str, Any]], first: float, last: float) -> Iterator[int]:
        """Go through the ticks of a range but for those in the middle of a silence longer than the window."""
        period, rows = self.settings.panel.period.total_seconds(), self.settings.panel.rows
        heard = sorted({int((float(at) - first) // period) for one in series for at, _ in one["values"]})
        tick, end = 0, int((last - first) // period) + 2
        for spoken in [*heard, end]:
            if spoken - tick > rows:
                yield from range(tick, tick + rows)
                self.counts["silent rounds left out"] += spoken - tick - rows
                tick = spoken
            yield from range(tick, min(spoken + 1, end))
            tick = max(tick, spoken + 1)

    def _begin(self, first: float) -> None:
        self.now = self.began = first
        settings = self.settings
        self.watcher.ready_at = self._clock() + (settings.rules.warm_up or WARM_UP_PERIODS * settings.panel.period)

    async def _round(self, now: float) -> datetime:
        self.now = max(self.now, now)
        await self.watcher.round()
        await self.watcher.compare()
        await self.watcher.tell_compared()
        self.rounds += 1
        return self._clock()

    def _take(self, record: Record) -> None:
        if record.host:
            self.watcher.panel.expect([record.host])
            for name, value in record.readings.items():
                if name not in CATALOGUE or not self.watcher.panel.write(name, record.host, value, record.received):
                    self.counts["readings of no use"] += 1
            return
        try:
            host = decode(record.frame).host
        except BadFrame:
            self.counts["bad frames"] += 1
            return
        self.watcher.take(Message(topics.host(self.settings.cluster.name, host, topics.FRAME), record.frame, qos=0))


async def _here(work: Callable[[], None]) -> None:
    work()


def records_in(path: Path, counts: Counter[str]) -> Iterator[Record]:
    """Go through a recording, packed by gzip or not; lines that are none are counted.

    Raises:
        Misconfigured: it cannot be read.
    """
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == _GZIP
            raw.seek(0)
            lines = gzip.GzipFile(fileobj=raw) if packed else raw
            while line := lines.readline(MOST_LINE):
                record = _record(line, raw.tell())
                if record is not None:
                    yield record
                elif line.strip():
                    counts["bad lines"] += 1
    except (OSError, EOFError, zlib.error) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise Misconfigured(str(path), f"cannot be read: {why}", "Name a recording: JSON lines, packed by gzip or not") from None


def _record(line: bytes, place: int) -> Record | None:
    try:
        said = _LINE.decode(line)
        frame = bytes.fromhex(said.frame)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    if not (math.isfinite(said.received) and 0 <= said.received < MOST_TIME) or bool(frame) == bool(said.host):
        return None
    return Record(said.received, frame, said.host, said.readings, place)


def series_in(path: Path) -> list[Mapping[str, Any]] | None:
    """Give the series of a file that holds answers of Prometheus to ``query_range``; None where it holds none.

    Raises:
        Misconfigured: it cannot be read, or holds an answer of another kind.
    """
    try:
        raw = path.read_bytes() if path.stat().st_size < MOST_UNPACKED else b""
        text = gzip.GzipFile(fileobj=io.BytesIO(raw)).read(MOST_UNPACKED) if raw.startswith(_GZIP) else raw
        answer = msgspec.json.decode(text)
    except (OSError, EOFError, zlib.error) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise Misconfigured(str(path), f"cannot be read: {why}", "Name a recording") from None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    answers = answer if isinstance(answer, list) else [answer]
    if not all(isinstance(one, dict) and "data" in one for one in answers):
        return None
    found: list[Mapping[str, Any]] = []
    for one in answers:
        data = one["data"]
        if not isinstance(data, dict) or data.get("resultType") != "matrix":
            raise Misconfigured(str(path), "is an answer of Prometheus, and no range", "Ask /api/v1/query_range, not query")
        found += [series for series in data.get("result", ()) if _is_series(series)]
    if not any(one["metric"].get("__name__") in {metric.prometheus for metric in ASKED} for one in found):
        names = ", ".join(metric.prometheus for metric in ASKED)
        raise Misconfigured(str(path), "holds none of the device plugin's series", f"Ask for one of {names}")
    return found


def _is_series(one: object) -> bool:
    if not isinstance(one, dict) or not isinstance(one.get("metric"), dict) or not isinstance(one.get("values"), list):
        return False
    if not one["values"] or not all(isinstance(text, str) for text in one["metric"].values()):
        return False
    try:
        return all(0 <= float(at) < MOST_TIME and isinstance(value, str) and _is_number(value) for at, value in one["values"])
    except (TypeError, ValueError):
        return False


def _is_number(text: str) -> bool:
    """Whether a value is one as Prometheus writes it. Raises `ValueError`."""
    return not math.isnan(float(text)) or text == "NaN"


def _hosts_in(series: Iterable[Mapping[str, Any]], label: str) -> list[str]:
    return sorted({str(one["metric"][label]) for one in series if one["metric"].get(label)})
