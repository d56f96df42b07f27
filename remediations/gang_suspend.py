"""gang.suspend: stop the gang whole by its owner object; half the price of an eviction, and no restart is spent."""

from __future__ import annotations

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


class SuspendGang:
    """``sliceward.dev/suspended-by`` on the owner, written in the same patch, says who may resume it.

    JobSet's webhook fails closed: while its manager is down each patch answers 500, which is `Wait`.
    """

    name: str = "gang.suspend"
    about: str = "Suspend the gang by its owner object and note on it that this incident did so."
    irreversible: bool = True
    harm: bool = True
    inverse: str = "gang.resume"
    parameters: Mapping[str, str] = {}
    verbs: tuple[Verb, ...] = (
        Verb("jobset.x-k8s.io", "jobsets", ("get", "patch")),
        Verb("batch", "jobs", ("get", "patch")),
        Verb("kueue.x-k8s.io", "workloads", ("list",)),
    )

    @answering
    async def __call__(self, target: Target, ports: Ports) -> Outcome:
        """Suspend once; then wait until the owner object says so. Its pods may still be ending: gang.wait_gone sees to that."""
        found = await hurt.movable(target, ports.cluster, to="suspend")
        if not isinstance(found, hurt.Hurt):
            return found
        return await _suspended(found, target, ports)


async def _suspended(found: hurt.Hurt, target: Target, ports: Ports) -> Outcome:
    state = found.kind.suspension(found.owner)
    if state is Suspension.NOT:
        return await _suspend(found, target, ports)
    by = noted(found.owner, SUSPENDED_BY)
    if by != target.incident:
        return Failed(f"{found.id} was suspended by {by or 'somebody else'}: left to them")
    facts = {"gang": str(found.id), "gang_uid": found.uid, "suspended": True}
    if state is Suspension.ASKED:
        return Wait(SOON, f"{found.id} is asked to suspend", facts)
    return Done(f"{found.id} is suspended", facts)


async def _suspend(found: hurt.Hurt, target: Target, ports: Ports) -> Outcome:
    if held := await hurt.held_by_workload(found, ports.cluster):
        return hurt.for_a_human(held)
    patch = found.kind.suspend(found.owner, {SUSPENDED_BY: target.incident, RESUMED_BY: None})
    await ports.cluster.patch(found.kind.kind, found.id.name, patch, found.id.namespace)
    return Wait(SOON, f"{found.id} is asked to suspend", {"gang": str(found.id), "gang_uid": found.uid, "suspended": True})
