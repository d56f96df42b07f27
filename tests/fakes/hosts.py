"""Agents that answer what a test told them to, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sliceward.remediations.ports import HostAnswer
    from sliceward.topology.ids import HostId


class FakeHosts:
    """``says``: host name -> answer, ``*`` for all others; a host without one stays silent. ``asked``: each ask in order."""

    def __init__(self, says: Mapping[str, HostAnswer] | None = None) -> None:
        self.says: dict[str, HostAnswer] = dict(says or {})
        self.asked: list[tuple[str, str, str]] = []
        self.failing: Exception | None = None
        self._who: dict[str, str] = {}

    async def ask(self, host: HostId, request: str, *, request_id: str, deadline: datetime, facts: Mapping[str, Any]) -> None:
        del deadline, facts
        if self.failing is not None:
            raise self.failing
        self.asked.append((host.name, request, request_id))
        self._who[request_id] = host.name

    async def answer(self, request_id: str) -> HostAnswer | None:
        host = self._who.get(request_id)
        return self.says.get(host, self.says.get("*")) if host is not None else None
