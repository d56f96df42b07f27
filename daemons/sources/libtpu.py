"""libtpu's runtime metrics by gRPC, from the TPU pods of this node: duty cycle, HBM, idle time, programs, slice errors, Megascale.

The door is open only while a workload runs. Etiquette of GKE's own plugin: ask for the list of metrics first and only for
what is listed, wait at most one second, no oftener than each ten. The first port answers for the whole host where one
process holds all chips; else each process has its own.

Which distributions are asked for, and which of their numbers become columns, the catalogue of metrics says. Megascale
breaks its own down by size of buffer and kind of collective; a host's column holds all of them together.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import grpc
import grpc.aio

from sliceward.daemons.sources import libtpu_wire as wire
from sliceward.daemons.sources.distributions import Distribution, merged, since
from sliceward.daemons.sources.folding import folded
from sliceward.daemons.sources.source import Layout, Reading
from sliceward.detectors.metrics import CATALOGUE, Bad, Statistic
from sliceward.topology.errors import Retry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

_RELIST = 60.0
_MEGASCALE = "megascale."
_OPTIONS = (
    ("grpc.max_receive_message_length", 4 << 20),
    ("grpc.enable_http_proxy", 0),
    # A workload that has just started must be found in seconds, not after two minutes of back-off.
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 10_000),
    ("grpc.use_local_subchannel_pool", 1),
)
Answers = dict[str, Any]


def _distributions() -> dict[str, list[tuple[str, Statistic]]]:
    """Give the metrics that are numbers of each distribution, by libtpu's name of it."""
    found: dict[str, list[tuple[str, Statistic]]] = {}
    for metric in CATALOGUE.values():
        if metric.source == "libtpu" and metric.statistic is not None:
            found.setdefault(metric.door, []).append((metric.name, metric.statistic))
    return found


_DISTRIBUTIONS = _distributions()
_ASKED = tuple(dict.fromkeys((*wire.ASKED, *_DISTRIBUTIONS)))


@dataclass(slots=True)
class _Door:
    """One port of one pod, with what it offers as of ``listed`` (unix seconds). ``before``: its distributions, last time."""

    address: str
    channel: grpc.aio.Channel
    offered: frozenset[str] = frozenset()
    listed: float = -math.inf
    before: dict[str, Distribution] = field(default_factory=dict)

    async def ask(self, now: float) -> Answers:
        """Give the answer to each metric that the door offers."""
        if now - self.listed > _RELIST:
            call = self.channel.unary_unary(
                wire.SERVICE + "ListSupportedMetrics", wire.serialize_list_request, wire.read_list_answer
            )
            self.offered, self.listed = wire.names_in(await call(wire.list_request())), now
        call = self.channel.unary_unary(wire.SERVICE + "GetRuntimeMetric", wire.serialize_request, wire.read_answer)
        wanted = [name for name in _ASKED if name in self.offered]
        answers = await asyncio.gather(*(call(wire.metric_request(name)) for name in wanted), return_exceptions=True)
        got: Answers = {}
        for name, answer in zip(wanted, answers, strict=True):
            if isinstance(answer, grpc.aio.AioRpcError) and _is_not_there(name, answer.code()):
                continue
            if isinstance(answer, BaseException):
                raise answer
            got[name] = answer
        return got


@dataclass(slots=True)
class Libtpu:
    """The source. ``targets`` gives the addresses (without port) of the pods to ask, each time anew.

    ``patience``: seconds for one port to answer all that it is asked; ``timeout``: for the whole reading.
    """

    layout: Layout
    targets: Callable[[], Sequence[str]]
    ports: tuple[int, ...]
    floor: float = 10.0
    patience: float = 1.0
    timeout: float = 5.0
    name: str = "libtpu"
    age_metric: str = "host_source_age_libtpu_seconds"
    _doors: dict[str, _Door] = field(default_factory=dict)

    async def __aenter__(self) -> Self:
        """Open nothing yet: channels are opened as pods appear."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close all channels."""
        for door in self._doors.values():
            await door.channel.close(None)
        self._doors.clear()

    async def read(self, now: float) -> Reading:
        """Ask every target; `Retry` where none of them answers."""
        targets = tuple(dict.fromkeys(self.targets()))
        await self._forget(targets)
        if not targets:
            raise Retry("no TPU pod runs on this node")
        columns, notes = _Columns(self.layout), dict[str, str]()
        # All at once: a pod that ended and whose address answers no more must not cost the reading of its successor.
        errors = [
            error for pod in await asyncio.gather(*(self._ask_pod(t, columns, notes, now) for t in targets)) for error in pod
        ]
        if not columns.any:
            raise Retry("; ".join(errors[:2]) or "no port to ask")
        return Reading(columns.values, notes)

    async def _ask_pod(self, target: str, columns: _Columns, notes: dict[str, str], now: float) -> list[str]:
        """Ask a pod's ports in order until every chip is known; gives why those that did not answer did not."""
        errors = list[str]()
        for port in self.ports:
            address = f"{target}:{port}"
            try:
                answers = await self._ask(address, now)
            except Retry as error:
                errors.append(str(error))
                continue
            except TimeoutError:
                errors.append(f"{address} did not answer in {self.patience:g} s")
                break
            columns.take(answers, self._doors[address])
            notes |= _notes(answers)
            if columns.complete:
                break
        return errors

    async def _ask(self, address: str, now: float) -> Answers:
        if address not in self._doors:
            self._doors[address] = _Door(address, grpc.aio.insecure_channel(address, options=_OPTIONS))
        door = self._doors[address]
        try:
            async with asyncio.timeout(self.patience):
                return await door.ask(now)
        except grpc.aio.AioRpcError as error:
            door.offered, door.listed = frozenset(), -math.inf
            raise Retry(f"{address} answers {error.code().name}") from error

    async def _forget(self, targets: Sequence[str]) -> None:
        for address in [known for known in self._doors if known.rpartition(":")[0] not in targets]:
            await self._doors.pop(address).channel.close(None)


class _Columns:
    """Columns as the doors fill them."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.values: dict[str, list[float]] = {}
        self.any = False

    @property
    def complete(self) -> bool:
        """Whether every chip has told its memory: then nobody else holds chips on this host."""
        memory = self.values.get("chip_hbm_total_bytes", [math.nan])
        return not any(math.isnan(value) for value in memory)

    def take(self, answers: Answers, door: _Door) -> None:
        """Add what one door answered."""
        self.any = True
        for metric, name, per_device, add in _BY_CHIP:
            if name in answers:
                layout, values = self._layout, wire.values_by_device(answers[name])
                found = folded(values, chips=layout.chips, devices=layout.devices, per_device=per_device, add=add)
                self._fill(metric, found)
        if wire.QUEUE in answers:
            self._fill("host_hlo_queue_size", [max(wire.values_by_device(answers[wire.QUEUE]).values(), default=math.nan)])
        if wire.SLICE_ERROR in answers:
            self._fill("host_slice_error", [_worst(answers[wire.SLICE_ERROR], {})])
        if wire.MEGASCALE_ERROR in answers:
            self._fill("host_megascale_hang", [_worst(answers[wire.MEGASCALE_ERROR], {"error_type": "HANG_DETECTED"})])
        self._take_distributions(answers, door)

    def _take_distributions(self, answers: Answers, door: _Door) -> None:
        """Add what came since the door's last answer. Where nothing did no column is made: most jobs use no Megascale."""
        for name, wanted in _DISTRIBUTIONS.items():
            now = merged(wire.distributions_of(answers[name])) if name in answers else None
            if now is None:
                continue
            interval, door.before[name] = since(door.before.get(name), now), now
            for metric, statistic in wanted if interval.count else ():
                self._fill(metric, [interval.value(statistic)])

    def _fill(self, metric: str, found: Sequence[float]) -> None:
        """Take each value that is there; of two processes on a host the worse one counts, the larger where none is worse."""
        column = self.values.setdefault(metric, self._layout.column(metric))
        worst = min if CATALOGUE[metric].bad is Bad.LOW else max
        for place, value in enumerate(found):
            if not math.isnan(value):
                column[place] = value if math.isnan(column[place]) else worst(value, column[place])


# metric of the catalogue, libtpu's name, whether it counts devices rather than chips, whether devices add up
_BY_CHIP = (
    ("chip_hbm_used_bytes", wire.MEMORY_USED, True, True),
    ("chip_hbm_total_bytes", wire.MEMORY_TOTAL, True, True),
    ("chip_duty_cycle_percent", wire.DUTY_CYCLE, False, False),
    ("chip_hbm_bandwidth_percent", wire.BANDWIDTH, False, False),
    ("chip_idle_seconds", wire.IDLE, False, False),
)


def _is_not_there(name: str, code: grpc.StatusCode) -> bool:
    """Whether a refusal only says that the job is not multislice; libtpu says so of Megascale's metrics with either code."""
    unavailable = name.startswith(_MEGASCALE) and code is grpc.StatusCode.UNAVAILABLE
    return unavailable or code is grpc.StatusCode.NOT_FOUND


def _worst(answer: Any, wanted: Mapping[str, str]) -> float:  # noqa: ANN401 (protobufs without types)
    """Give the largest gauge among the entries whose attributes hold ``wanted``; 0 where there is none."""
    found = [
        wire.gauge_of(metric)
        for metric in answer.metric.metrics
        if wanted.items() <= wire.attributes_of(metric.attribute).items()
    ]
    return max((value for value in found if not math.isnan(value)), default=0.0)


def _notes(answers: Answers) -> dict[str, str]:
    """Give the texts of errors: ``slice_error`` and ``megascale_error``, as ``key=value`` pairs."""
    notes = {}
    for note, name in (("slice_error", wire.SLICE_ERROR), ("megascale_error", wire.MEGASCALE_ERROR)):
        texts = [
            ", ".join(f"{key}={text}" for key, text in sorted(wire.attributes_of(metric.attribute).items()))
            for metric in (answers[name].metric.metrics if name in answers else ())
            if wire.gauge_of(metric) > 0
        ]
        if texts:
            notes[note] = "; ".join(texts)[:4000]
    return notes
