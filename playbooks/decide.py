"""What to do about one incident now: first matching playbook, guards, budgets; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from sliceward.playbooks.decision import Decision
    from sliceward.playbooks.incident import Incident
    from sliceward.playbooks.load import Book
    from sliceward.playbooks.run import Run
    from sliceward.playbooks.world import World


def decide(incident: Incident, run: Run | None, book: Book, world: World, now: datetime) -> Decision:
    """Give what follows for ``incident`` now, with its whole record.

    ``run``: the incident's present or last run, if any. Call it each round for every open incident.
    """
    raise NotImplementedError
