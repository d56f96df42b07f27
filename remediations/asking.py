"""Asking the agents of many hosts, again at each call of an action: an agent that was away has never heard of a request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sliceward.remediations.ports import HostAnswer
from sliceward.topology.errors import Refused, Retry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from sliceward.remediations.action import Target
    from sliceward.remediations.ports import Hosts
    from sliceward.topology.ids import HostId


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of each host: ``name`` as in `Hosts.ask`. Past its deadline nobody is asked any more."""

    name: str
    deadline: datetime
    facts: Mapping[str, Any] = field(default_factory=dict)


async def ask_all(request: Request, names: Iterable[HostId], target: Target, hosts: Hosts) -> dict[str, HostAnswer]:
    """Ask each host that has not answered this operation; give the answers by host. A broker that is away means fewer of them."""
    answers: dict[str, HostAnswer] = {}
    for host in names:
        request_id = f"{target.operation}.{host.name}"
        try:
            answer = await hosts.answer(request_id)
            if answer is None and target.now < request.deadline:
                await hosts.ask(host, request.name, request_id=request_id, deadline=request.deadline, facts=request.facts)
                answer = await hosts.answer(request_id)
        except Retry:
            continue
        except Refused as error:
            answer = HostAnswer(ok=False, why=str(error))
        if answer is not None:
            answers[host.name] = answer
    return answers
