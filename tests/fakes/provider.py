"""A provider that repairs when a test says so."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sliceward.remediations.ports import Repair

if TYPE_CHECKING:
    from sliceward.topology.ids import HostId


class FakeProvider:
    """``requests``: operation id -> (host, instance id, behaviour); one repair per operation id, however often asked."""

    name = "fake"

    def __init__(self) -> None:
        self.requests: dict[str, tuple[str, str, str]] = {}
        self.calls = 0
        self.fail_before: Exception | None = None
        self.fail_after: Exception | None = None
        self._repairs: dict[str, Repair] = {}

    async def request_repair(self, host: HostId, *, instance_id: str, behavior: str, text: str, operation_id: str) -> Repair:
        del text
        self.calls += 1
        self._raise("fail_before")
        if operation_id not in self.requests:
            self.requests[operation_id] = (host.name, instance_id, behavior)
            self._repairs[operation_id] = Repair(f"rep-{len(self.requests)}", "requested")
        self._raise("fail_after")
        return self._repairs[operation_id]

    async def repair(self, repair_id: str) -> Repair | None:
        return next((repair for repair in self._repairs.values() if repair.id == repair_id), None)

    def now_all(self, state: str, text: str = "") -> None:
        """Bring every repair to a state."""
        self._repairs = {key: replace(repair, state=state, text=text) for key, repair in self._repairs.items()}

    def _raise(self, which: str) -> None:
        error = getattr(self, which)
        if error is not None:
            setattr(self, which, None)
            raise error
