"""The port `Hosts` over MQTT: requests to agents on ``…/hosts/{host}/request``, answers from ``…/hosts/{host}/event``.

Answers live in memory only: after a restart the action asks again with the same id, and the agent answers again.
"""

from __future__ import annotations

import json
from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from sliceward.daemons import topics
from sliceward.daemons.complaints import Complaints
from sliceward.remediations.ports import HostAnswer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sliceward.daemons.wire import Bus, Message
    from sliceward.topology.ids import HostId

log = structlog.get_logger(__name__)

WHAT_TO_DO = "Bring agents and coordinator to one version; if they are, find who else may write there (docs/runbooks/messages-malformed.md)"
MOST_REQUESTS = 20_000


@dataclass(slots=True)
class _Request:
    host: str
    answer: HostAnswer | None = None


class WireHosts:
    """Agents of one cluster, asked over its broker."""

    def __init__(self, cluster: str, bus: Bus) -> None:
        """Begin with nothing asked."""
        self.counts: Counter[str] = Counter()
        self._cluster, self._bus = cluster, bus
        self._requests: OrderedDict[str, _Request] = OrderedDict()
        self._complaints = Complaints(log)

    async def ask(self, host: HostId, request: str, *, request_id: str, deadline: datetime, facts: Mapping[str, Any]) -> None:
        """Send the request; asking again with the same id is harmless. Raises `Retry` while the broker is away."""
        known = self._requests.setdefault(request_id, _Request(host.name))
        self._requests.move_to_end(request_id)
        while len(self._requests) > MOST_REQUESTS:
            self._requests.popitem(last=False)
        if known.answer is not None:
            return
        body = {"id": request_id, "request": request, "deadline": deadline.isoformat(), "facts": dict(facts)}
        await self._bus.publish(topics.host(self._cluster, host.name, topics.REQUEST), json.dumps(body, default=str).encode())

    async def answer(self, request_id: str) -> HostAnswer | None:
        """Give the answer if it has come."""
        request = self._requests.get(request_id)
        return None if request is None else request.answer

    def take(self, message: Message) -> bool:
        """Take in an event of an agent; gives whether it answers a request of ours."""
        address = topics.read(message.topic)
        if address is None or address.thing != "hosts" or address.leaf != topics.EVENT or not message.payload:
            return False
        try:
            row = json.loads(message.payload)
            if "request" not in row:
                return False  # an agent tells of a change; it answers nobody
            request = self._requests.get(row["id"])
            answer = HostAnswer(
                ok=row["ok"] is True,
                why=str(row.get("why") or ""),
                facts=dict(row.get("facts") or {}),
                instance_id=str(row.get("instance_id") or ""),
            )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            self.counts["bad_event"] += 1
            why = f"is no answer of an agent: {type(error).__name__}: {error}"
            self._complaints.tell("message refused", where=f"topic {message.topic}", why=why, what_to_do=WHAT_TO_DO)
            return False
        # Only the host that was asked may answer: an id that another host sends is a mistake or a lie.
        if request is None or request.host != address.name:
            self.counts["unasked_event"] += 1
            return False
        request.answer = answer
        return True
