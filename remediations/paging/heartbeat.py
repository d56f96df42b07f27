"""Heartbeats: a word to a receiver that pages when it does not come (a dead man's switch). Who is stuck cannot page for itself.

A webhook pager's heartbeat is signed as its pages are. Any other is a plain GET or POST to an address, with a token where the
service wants one. Answers mean what they mean for pages (`delivery`), but nothing is repeated: the next beat is the next word.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from sliceward.remediations.paging.delivery import Delivery, post
from sliceward.remediations.paging.signing import Signer
from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from datetime import datetime

    from sliceward.remediations.paging.plan import Surroundings

SHORTEST = timedelta(seconds=1)
TYPE = "sliceward.heartbeat"


@dataclass(frozen=True, slots=True)
class HeartbeatPlan:
    """What the configuration says of one. ``token``: the whole header ``Authorization``; ``secret``: signs, "" for none.

    None of address, token and secret is ever printed.
    """

    pager: str
    url: str = field(repr=False)
    every: timedelta
    method: str = "POST"
    token: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Beat:
    """One word. ``id`` is its own; ``source``: who lives."""

    id: str
    at: datetime
    source: str
    epoch: int


class Heartbeat(Protocol):
    """Where beats go. ``name``: of the pager."""

    name: str
    every: timedelta

    async def send(self, beat: Beat) -> None:
        """Deliver once. Raises `Retry` or `Refused`."""
        ...


class HttpHeartbeat:
    """A GET or POST, signed or not."""

    def __init__(self, plan: HeartbeatPlan, around: Surroundings) -> None:
        """Check address and secret, so that a mistake shows at the start. Raises `Misconfigured`."""
        where = f"pagers.{plan.pager}"
        if not plan.url.startswith(("http://", "https://")):
            raise Misconfigured(f"{where}.heartbeat.url", "is no http(s) address", "Give the receiver's address")
        if plan.every < SHORTEST:
            raise Misconfigured(f"{where}.heartbeat.every", f"is shorter than {SHORTEST}", "Write 1m")
        if any(not " " <= character <= "~" for character in plan.token):
            raise Misconfigured(f"{where}.heartbeat.token", "is no line of printable characters", "Write the header's value")
        self.name, self.every = plan.pager, plan.every
        self._plan, self._around = plan, around
        self._signer = Signer.of(plan.secret, f"{where}.secret") if plan.secret else None

    def __repr__(self) -> str:
        """Show the name alone."""
        return f"HttpHeartbeat({self.name!r})"

    async def send(self, beat: Beat) -> None:
        """Deliver once."""
        plan = self._plan
        body = payload(beat, plan.every) if plan.method == "POST" else b""
        headers = {"Authorization": plan.token} if plan.token else {}
        if self._signer is not None:
            headers |= self._signer.headers(beat.id, body, now=self._around.now())
        hide = (plan.url, plan.token, *plan.token.split(), *plan.secret.split())
        await post(self._around.session, Delivery(self.name, plan.url, body, headers, hide, plan.method))


def payload(beat: Beat, every: timedelta) -> bytes:
    """Give the body of a POST."""
    data = {"source": beat.source, "epoch": beat.epoch, "every_seconds": every.total_seconds()}
    return json.dumps({"type": TYPE, "timestamp": beat.at.isoformat(), "data": data}).encode()
