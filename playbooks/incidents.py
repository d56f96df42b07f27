"""Findings in, incidents out: one incident per cause (see module text below)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sliceward.detectors.finding import Finding
    from sliceward.playbooks.incident import Entry, Incident
    from sliceward.playbooks.load import Book
    from sliceward.topology.fleet import Fleet


@dataclass(frozen=True, slots=True)
class Folded:
    """All open incidents after folding (some may just have been folded away: ``closed`` is set), and lines for the story.

    ``changed``: ids of incidents that differ from before and must be saved.
    """

    incidents: tuple[Incident, ...]
    entries: tuple[Entry, ...]
    changed: frozenset[str]


def fold(incidents: Sequence[Incident], findings: Iterable[Finding], fleet: Fleet, book: Book, now: datetime) -> Folded:
    """Give the open incidents of one cluster for the findings as they stand now.

    ``findings``: the present state of every finding of the cluster, from the broker and from alerts. A finding of an
    incident that is no longer among them becomes unknown (absence is never resolution).
    """
    raise NotImplementedError
