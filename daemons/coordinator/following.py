"""Whether calls still follow from what is known right before they are made: saving their intents took time, and the world went on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from sliceward.daemons.coordinator.folding import folded
from sliceward.playbooks.advance import withdrawn
from sliceward.playbooks.decide import decide
from sliceward.playbooks.decision import RunStep

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sliceward.daemons.coordinator.calls import Begun
    from sliceward.daemons.coordinator.seen import Seen
    from sliceward.detectors.finding import Finding
    from sliceward.playbooks.incident import Incident

log = structlog.get_logger(__name__)


def still(due: Collection[Begun], seen: Seen, findings: Mapping[str, Finding]) -> set[str]:
    """Give the incidents whose call harms nobody, or is what would be decided about them now, too. ``findings``: those that can be folded."""
    harming = {one.incident: one for one in due if one.call.step.irreversible or one.call.step.harm}
    good = {one.incident for one in due} - harming.keys()
    if not harming:
        return good
    mine = [case.incident for case in seen.known.cases if case.incident.id in harming]
    # What other open incidents tell of is theirs; folded anew before each call, a thousand of them would cost seconds.
    others = (case.incident for case in seen.known.cases if case.incident.id not in harming)
    theirs = {one.id for incident in others for one in incident.findings}
    theirs -= {one.id for incident in mine for one in incident.findings}
    found = {key: one for key, one in findings.items() if key not in theirs}
    try:
        result, _ = folded(mine, found, seen.fleet, seen.rules.book, seen.now)
    except Exception:  # noqa: BLE001 (logged where it was raised)
        return good
    known = (one for one in result.incidents if one.open and one.id in harming)
    return good | {one.id for one in known if _follows(one, harming[one.id], seen)}


def _follows(incident: Incident, begun: Begun, seen: Seen) -> bool:
    try:
        # The saved intent itself must not count as something begun, which is finished whatever the findings say.
        unbegun = withdrawn(begun.run, seen.now).run
        again = decide(incident, unbegun, seen.rules.book, seen.world, seen.now).verdict
    except Exception:
        log.exception("call taken back", incident=incident.id, step=begun.call.step.name)
        return False
    return isinstance(again, RunStep) and again.call.operation == begun.call.operation
