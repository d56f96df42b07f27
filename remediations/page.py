"""A page: what a pager gets. Made by `sliceward.playbooks`; each pager turns it into its own wire form."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sliceward.topology.health import Severity


class PageEvent(StrEnum):
    """What happened to the incident."""

    TRIGGER = "trigger"
    RESOLVE = "resolve"


@dataclass(frozen=True, slots=True)
class Page:
    """One message about one incident.

    ``delivery_id`` stays the same over retries and restarts (receiver's idempotency key); ``dedup_key`` is the same for
    trigger and resolve of one incident (at most 255 characters, PagerDuty). ``facts``: what is broken, who is hurt,
    what was done, what a human must decide. ``links``: text -> address.
    """

    delivery_id: str
    dedup_key: str
    event: PageEvent
    severity: Severity
    summary: str
    source: str
    component: str
    kind: str
    at: datetime
    facts: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
