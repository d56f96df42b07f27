"""A provider of repairs and a receiver of pages: what they hold, and the ports to them over a `Way`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sliceward.remediations.ports import Repair

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from sliceward.remediations.page import Page
    from sliceward.simulation.virtual.agenda import Agenda
    from sliceward.simulation.virtual.way import Way
    from sliceward.topology.ids import HostId


@dataclass(eq=False, slots=True)
class Workshop:
    """One repair for each operation id, however often it is asked for. ``mend`` is called when one is done; some fail."""

    agenda: Agenda
    dice: random.Random
    takes: tuple[float, float]
    fails: float
    mend: Callable[[str], None]
    asked: Callable[[str, str], None] = lambda _host, _operation: None
    repairs: dict[str, Repair] = field(default_factory=dict)
    hosts: dict[str, str] = field(default_factory=dict)

    def request(self, host: str, operation: str) -> Repair:
        """Take in a request, or give the repair that it made before."""
        self.asked(host, operation)
        if operation not in self.repairs:
            self.hosts[operation] = host
            self.repairs[operation] = Repair(f"rep-{len(self.repairs)}", "requested")
            self.agenda.after(self.dice.uniform(*self.takes), lambda: self._end(operation))
        return self.repairs[operation]

    def named(self, repair: str) -> Repair | None:
        """Give a repair by its own id."""
        return next((one for one in self.repairs.values() if one.id == repair), None)

    def _end(self, operation: str) -> None:
        failed = self.dice.random() < self.fails
        if not failed:
            self.mend(self.hosts[operation])
        self.repairs[operation] = replace(self.repairs[operation], state="failed" if failed else "done")


@dataclass(eq=False, slots=True)
class VirtualProvider:
    """The port `Provider` of one coordinator."""

    workshop: Workshop
    way: Way
    name: str = "virtual"

    async def request_repair(self, host: HostId, *, instance_id: str, behavior: str, text: str, operation_id: str) -> Repair:
        """Ask for a repair."""
        del instance_id, behavior, text
        return await self.way.call(lambda: self.workshop.request(host.name, operation_id))

    async def repair(self, repair_id: str) -> Repair | None:
        """Ask how it stands."""
        return await self.way.call(lambda: self.workshop.named(repair_id))


@dataclass(eq=False, slots=True)
class Receiver:
    """What people on call hold: each page once by its delivery id, in the order in which they came."""

    pages: dict[str, Page] = field(default_factory=dict)

    def take(self, page: Page) -> None:
        """Take in a page; drop a repeat."""
        self.pages.setdefault(page.delivery_id, page)


@dataclass(eq=False, slots=True)
class VirtualPager:
    """The port `Pager` of one coordinator."""

    receiver: Receiver
    way: Way
    name: str = "virtual"

    async def send(self, page: Page) -> None:
        """Deliver a page."""
        await self.way.call(lambda: self.receiver.take(page))
