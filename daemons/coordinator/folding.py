"""Findings folded together; where that cannot be, without those that cannot be folded even alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from sliceward.playbooks.incidents import fold

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sliceward.detectors.finding import Finding
    from sliceward.playbooks.incident import Incident
    from sliceward.playbooks.incidents import Folded
    from sliceward.playbooks.load import Book
    from sliceward.topology.fleet import Fleet

log = structlog.get_logger(__name__)


def folded(
    incidents: Sequence[Incident], found: Mapping[str, Finding], fleet: Fleet, book: Book, now: datetime
) -> tuple[Folded, dict[str, str]]:
    """Give what `fold` gives, and the findings that were left out: id -> why. Raises what it raises where nobody is to blame."""
    try:
        return fold(incidents, found.values(), fleet, book, now), {}
    except Exception:
        log.exception("findings cannot be folded together", findings=len(found))
        poisoned = _poisoned(found, fleet, book, now)
        if not poisoned:
            raise
    return fold(incidents, [one for key, one in found.items() if key not in poisoned], fleet, book, now), poisoned


def _poisoned(found: Mapping[str, Finding], fleet: Fleet, book: Book, now: datetime) -> dict[str, str]:
    bad: dict[str, str] = {}
    for key, finding in found.items():
        try:
            fold([], [finding], fleet, book, now)
        except Exception as error:  # noqa: BLE001 (the point is to find out who raises)
            bad[key] = f"{type(error).__name__}: {error}"
    return bad
