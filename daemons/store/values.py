"""What the store takes and gives, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sliceward.playbooks.incident import Incident
    from sliceward.playbooks.run import Run
    from sliceward.remediations.page import Page
    from sliceward.scheduling.rights import Displaced

MOST_ROWS = 500


@dataclass(frozen=True, slots=True)
class Case:
    """An incident with its present or last run."""

    incident: Incident
    run: Run | None


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a new leader has to know: open incidents, and which gangs had to go for which. ``set_aside``: what cannot be read, with why."""

    cases: tuple[Case, ...]
    set_aside: Mapping[str, str] = field(default_factory=dict)
    displaced: tuple[Displaced, ...] = ()


@dataclass(frozen=True, slots=True)
class Rows:
    """One page of rows as JSON values; ``next`` is the cursor of the page after it, None at the end."""

    items: tuple[Mapping[str, Any], ...]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class Intent:
    """An action that is about to be called, or was. ``result`` is None while nothing is known: ask the world."""

    operation: str
    cluster: str
    incident: str
    run: str
    step: str
    action: str
    irreversible: bool
    epoch: int
    at: datetime
    result: str | None = None
    result_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert of a webhook, as delivered. Its dedup key is receiver, fingerprint, starts_at, status and ends_at.

    ``receiver`` is the name in our path; ``cluster`` "" where the map could not tell; ``body`` the alert's JSON.
    """

    receiver: str
    fingerprint: str
    status: str
    starts_at: datetime
    ends_at: datetime | None
    body: Mapping[str, Any]
    cluster: str = ""


@dataclass(frozen=True, slots=True)
class Received:
    """An alert in the inbox. ``seq`` grows with arrival."""

    seq: int
    at: datetime
    alert: Alert


@dataclass(frozen=True, slots=True)
class Put:
    """What became of a delivery: alerts stored, and repeats that were known."""

    accepted: int
    duplicate: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """One page for one pager in the outbox. ``state`` is ``pending``, ``sent`` or ``failed``."""

    id: str
    cluster: str
    incident: str
    pager: str
    page: Page
    state: str
    attempts: int
    next_try: datetime
    why: str = ""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Deliveries of one pager that are not sent yet. ``oldest``: when the oldest of their pages was made."""

    count: int
    oldest: datetime
