"""What people configured for deciding: playbooks, actions, how far all may go, and what placement goes by."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from sliceward.daemons.coordinator.orders import NO_ORDERS, Orders

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sliceward.playbooks.load import Book
    from sliceward.playbooks.schema import BudgetSpec, Mode
    from sliceward.remediations.action import Action

LOOK_BACK = timedelta(days=1)


@dataclass(frozen=True)
class Rules:
    """Playbooks, actions, pagers, orders for placement; ``ceiling``: no playbook acts above this mode; ``limits``: budget of the whole fleet."""

    book: Book
    actions: Mapping[str, Action]
    orders: Orders = NO_ORDERS
    ceiling: Mode | None = None
    limits: BudgetSpec | None = None
    pagers: tuple[str, ...] = ()
    call_timeout: timedelta = timedelta(seconds=30)
    decide_every: timedelta = timedelta(seconds=5)

    @cached_property
    def look_back(self) -> timedelta:
        """How far back a start or an end can still matter to a budget."""
        budgets = [playbook.spec.budget for playbook in self.book.playbooks]
        budgets += [] if self.limits is None else [self.limits]
        windows = [one.rate.window for one in budgets if one.rate is not None]
        return max(LOOK_BACK, *windows, *(one.cooldown for one in budgets), timedelta(0))
