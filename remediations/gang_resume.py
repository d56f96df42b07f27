"""gang.resume: let the gang start again, if it was this incident that suspended it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sliceward.remediations import hurt
from sliceward.remediations.action import Verb
from sliceward.remediations.answering import SOON, answering
from sliceward.remediations.gangs.kind import RESUMED_BY, SUSPENDED_BY, Suspension, noted
from sliceward.remediations.outcome import Done, Failed, Outcome, Wait

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sliceward.remediations.action import Target
    from sliceward.remediations.ports import Ports


class ResumeGang:
    """A gang that somebody else suspended stays suspended. Old pods must be gone first: a start beside them mixes slices."""

    name: str = "gang.resume"
    about: str = "Resume the gang if this incident suspended it and none of its old pods is left."
    irreversible: bool = False
    harm: bool = False
    inverse: str = ""
    parameters: Mapping[str, str] = {}
    verbs: tuple[Verb, ...] = (
        Verb("jobset.x-k8s.io", "jobsets", ("get", "patch")),
        Verb("batch", "jobs", ("get", "patch")),
        Verb("", "pods", ("list",)),
    )

    @answering
    async def __call__(self, target: Target, ports: Ports) -> Outcome:
        """Resume once; the note on the owner says afterwards that it was us, and when."""
        found = await hurt.movable(target, ports.cluster, to="resume")
        if not isinstance(found, hurt.Hurt):
            return found
        if found.kind.suspension(found.owner) is Suspension.NOT:
            return _running(found, target)
        by = noted(found.owner, SUSPENDED_BY)
        if by != target.incident and not target.facts.get("suspended"):
            return Done(f"{found.id} was suspended by {by or 'somebody else'}, never by this incident: left to them")
        if by != target.incident:
            return Failed(f"{found.id} was suspended by {by or 'somebody else'}: left to them")
        left = await hurt.pods_left(found.id, found.kind, ports.cluster)
        if left:
            return Wait(SOON, f"{len(left)} old pods of the gang are left")
        note = json.dumps({"incident": target.incident, "at": target.now.isoformat()})
        patch = found.kind.resume(found.owner, {SUSPENDED_BY: None, RESUMED_BY: note})
        await ports.cluster.patch(found.kind.kind, found.id.name, patch, found.id.namespace)
        return Done(f"{found.id} is resumed", {"resumed_at": target.now.isoformat()})


def _running(found: hurt.Hurt, target: Target) -> Done:
    """Tell who resumed it: we (the answer to our patch was lost), or somebody else."""
    try:
        note = json.loads(noted(found.owner, RESUMED_BY) or "{}")
    except ValueError:
        note = {}
    if isinstance(note, dict) and note.get("incident") == target.incident:
        return Done(f"{found.id} is resumed", {"resumed_at": str(note.get("at", target.now.isoformat()))})
    if not target.facts.get("suspended"):
        return Done(f"{found.id} runs: this incident has not suspended it", {})
    return Done(f"{found.id} was resumed by somebody else", {"resumed_at": target.started.isoformat()})
