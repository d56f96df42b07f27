"""All pagers by kind. A new pager is one file in this folder and one line below."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from sliceward.remediations.paging.console import ConsolePager
from sliceward.remediations.paging.pagerduty import PagerDutyPager
from sliceward.remediations.paging.webhook import WebhookPager
from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sliceward.remediations.paging.plan import PagerPlan, Surroundings
    from sliceward.remediations.ports import Pager

PAGERS: Mapping[str, Callable[[PagerPlan, Surroundings], Pager]] = {
    "console": ConsolePager,
    "pagerduty": PagerDutyPager,
    "webhook": WebhookPager,
}
"""Kind in the configuration -> how to make it."""


def make(plan: PagerPlan, around: Surroundings) -> Pager:
    """Make the pager that the configuration asks for. Raises `Misconfigured`."""
    if plan.kind not in PAGERS:
        near = difflib.get_close_matches(plan.kind, PAGERS, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known are {', '.join(PAGERS)}"
        raise Misconfigured(f"pagers.{plan.name}.kind", f"{plan.kind!r} is no kind of pager", hint)
    return PAGERS[plan.kind](plan, around)
