"""Nobody repairs by wire: a repair is a human's."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from sliceward.topology.errors import Refused

if TYPE_CHECKING:
    import aiohttp

    from sliceward.remediations.ports import Repair
    from sliceward.remediations.providers.plan import ProviderPlan
    from sliceward.topology.ids import HostId


class NobodyProvider:
    """Says no, so that a playbook hands over with the host still out of service."""

    name = "nobody"

    def __init__(self, plan: ProviderPlan, session: aiohttp.ClientSession) -> None:
        """Need nothing."""

    async def request_repair(self, host: HostId, *, instance_id: str, behavior: str, text: str, operation_id: str) -> NoReturn:
        """Refuse."""
        del instance_id, behavior, text, operation_id
        raise Refused(f"no provider of repairs is configured: the repair of {host.name} is a human's")

    async def repair(self, repair_id: str) -> Repair | None:
        """Know no repair."""
        del repair_id
        return None
