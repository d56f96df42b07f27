"""Requests to this host: ``checkpoint`` and ``device-check``, each answered once an id, before its deadline or with a no."""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from sliceward.daemons.sources.holders import find_holders
from sliceward.daemons.sources.reports import RequestId  # noqa: TC001 (msgspec reads it)
from sliceward.daemons.sources.threads import OneAtATime
from sliceward.topology.errors import Retry

if TYPE_CHECKING:
    from sliceward.daemons.sources.devices import Devices
    from sliceward.daemons.sources.pods import Node
    from sliceward.daemons.sources.reporter import ReporterSource

_REMEMBERED = 256
_MOST_SECONDS = 86_400.0
_MOST_STEP = 1 << 53
_LONGEST_WHY = 200

RequestName = Annotated[str, Meta(max_length=64)]


class Request(msgspec.Struct, frozen=True):
    """What the coordinator asks. ``deadline``: ISO 8601 with zone, or unix seconds."""

    id: RequestId
    request: RequestName
    deadline: datetime | float
    facts: dict[str, Any] = {}

    @property
    def until(self) -> float:
        """The deadline in unix seconds."""
        if isinstance(self.deadline, datetime):
            zoned = self.deadline if self.deadline.tzinfo else self.deadline.replace(tzinfo=UTC)
            return zoned.timestamp()
        return float(self.deadline)


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back."""

    id: str
    request: str
    ok: bool
    why: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


_DECODER = msgspec.json.Decoder(Request)


class BadRequest(ValueError):
    """A message that is no request, and why: there is no id to answer to."""

    def __init__(self, why: str) -> None:
        """Keep the reason."""
        super().__init__(why)
        self.why = why


def read_request(payload: bytes) -> Request:
    """Give the request.

    Raises:
        BadRequest: no JSON, a wrong type, an id or a name that is too long.
    """
    try:
        return _DECODER.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BadRequest(str(error)[:_LONGEST_WHY]) from None


class Requests:
    """Answers requests; the same id is never done twice and always gets the same answer."""

    def __init__(self, *, devices: Devices, node: Node, reporter: ReporterSource | None, allowed: frozenset[str]) -> None:
        """Begin with nothing asked; ``reporter`` is None where that source is switched off; ``allowed`` as for the holders source."""
        self._devices, self._node, self._reporter, self._allowed = devices, node, reporter, allowed
        self._done: OrderedDict[str, Answer] = OrderedDict()
        self._doing: set[str] = set()
        self._thread = OneAtATime()

    async def answer(self, request: Request, *, now: float) -> Answer | None:
        """Do what is asked and give the answer; None while the same request is being done already."""
        if request.id in self._done:
            return self._done[request.id]
        if request.id in self._doing:
            return None
        self._doing.add(request.id)
        try:
            answer = await self._do(request, now)
        except (Retry, OSError, TimeoutError) as error:
            answer = Answer(request.id, request.request, ok=False, why=str(error) or "took too long")
        finally:
            self._doing.discard(request.id)
        self._done[request.id] = answer
        while len(self._done) > _REMEMBERED:
            self._done.popitem(last=False)
        return answer

    async def _do(self, request: Request, now: float) -> Answer:
        left = request.until - now
        if not 0 < left <= _MOST_SECONDS:
            return Answer(request.id, request.request, ok=False, why="the deadline has passed, or is more than a day away")
        match request.request:
            case "checkpoint":
                return await self._checkpoint(request)
            case "device-check":
                async with asyncio.timeout(left):
                    return await self._check_devices(request, now)
            case _:
                return Answer(request.id, request.request, ok=False, why="this agent does not know the request")

    async def _checkpoint(self, request: Request) -> Answer:
        if self._reporter is None:
            return Answer(request.id, request.request, ok=False, why="the reporter source is switched off")
        at_step = request.facts.get("at_step")
        told = await self._reporter.checkpoint(
            request.id, deadline=request.until, at_step=at_step if isinstance(at_step, int) and 0 <= at_step <= _MOST_STEP else 0
        )
        facts = {} if told.checkpoint_step is None else {"checkpoint_step": told.checkpoint_step}
        return Answer(request.id, request.request, ok=told.ok, why=told.why, facts=facts)

    async def _check_devices(self, request: Request, now: float) -> Answer:
        """Check that every chip's device is there, held by nobody, and opens."""
        found = await self._thread.run(lambda: self._look(now))
        bad = {chip: text for chip, text in found.items() if text != "free"}
        why = "; ".join(f"chip {chip}: {text}" for chip, text in bad.items())
        return Answer(request.id, request.request, ok=not bad, why=why[:2000], facts={"chips": found})

    def _look(self, now: float) -> dict[str, str]:
        self._devices.look()
        holders, _ = find_holders(self._devices, self._node.pods, allowed=self._allowed, now=now)
        held = {holder.chip: str(holder) for holder in holders if holder.command not in self._allowed}
        return {
            str(chip): f"held by {held[chip]}" if chip in held else self._open(chip) for chip in range(self._devices.layout.chips)
        }

    def _open(self, chip: int) -> str:
        """Give ``free`` where every device file of a chip opens, else why not (EBUSY: somebody we cannot see has it)."""
        for file in self._devices.files(chip):
            try:
                os.close(os.open(self._devices.under(file), os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
            except OSError as error:
                return f"{file}: {error.strerror}"
        return "free"
