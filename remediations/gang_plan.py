"""gang.plan: find healthy free room for the whole gang before anything is disturbed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sliceward.remediations import hurt, planning, weighing
from sliceward.remediations.action import Verb
from sliceward.remediations.answering import answering
from sliceward.remediations.given import text
from sliceward.remediations.nodes import some
from sliceward.remediations.outcome import Done, Failed, Outcome
from sliceward.scheduling.candidates import Way
from sliceward.scheduling.plan import NoFit
from sliceward.topology.gangs import GangState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sliceward.remediations.action import Target
    from sliceward.remediations.ports import Ports
    from sliceward.topology.gangs import Gang


class PlanGang:
    """Writes nothing. Its fact ``planned_hosts`` is what the coordinator keeps free of other runs."""

    name: str = "gang.plan"
    about: str = "Find healthy, free hosts outside the domain for the whole gang, within its quota, or say why there are none."
    irreversible: bool = False
    harm: bool = False
    inverse: str = ""
    parameters: Mapping[str, str] = {
        "weigh": "yes: give up where leaving the gang as it is costs least (default no)",
    }
    verbs: tuple[Verb, ...] = (
        Verb("jobset.x-k8s.io", "jobsets", ("get",)),
        Verb("batch", "jobs", ("get",)),
        Verb("kueue.x-k8s.io", "workloads", ("list",)),
    )

    @answering
    async def __call__(self, target: Target, ports: Ports) -> Outcome:
        """Plan on the snapshot in the target, for a gang that is there and ours to move."""
        found = await hurt.movable(target, ports.cluster, to="place")
        if not isinstance(found, hurt.Hurt):
            return found
        if held := await hurt.held_by_workload(found, ports.cluster):
            return hurt.for_a_human(held)
        if target.gang is None:
            return Failed(f"{found.id} is not in the fleet snapshot: nothing can be planned for it")
        return _planned(target, target.gang)


def _planned(target: Target, gang: Gang) -> Outcome:
    if gang.state is GangState.SUSPENDED and not target.facts.get("suspended"):
        return Failed(f"{gang.id} is suspended by somebody else: left to them")
    if why := planning.why_not_whole(gang):
        return Failed(f"held for a human: {why}")
    scene = planning.scene_of(target)
    if why := scene.short_of_quota(gang):
        return Failed(why)
    choice = scene.ways(gang, scene.request(gang))
    facts: dict[str, Any] = {"ways": weighing.facts_of(choice)}
    weighs = text(target.given, "weigh", "no", one_of=("yes", "no")) == "yes"
    if weighs and not isinstance(choice, str) and choice.best.way is Way.STAY:
        return Failed(f"{gang.id} stays where it is, which is cheapest: {weighing.in_words(choice)}", facts)
    found = planning.plan(target, gang, scene=scene)
    if isinstance(found, NoFit):
        return Failed(f"no room for {gang.id}: {planning.reasons_of(found)}", facts)
    facts |= planning.facts_of(found, gang, target) | _pace(target)
    return Done(f"{len(facts['planned_slices'])} slices fit on {some(facts['planned_hosts'])}", facts)


def _pace(target: Target) -> dict[str, Any]:
    """Note how fast the gang ran before, for the comparison after the move; of one that had just begun nobody knows."""
    progress = target.progress
    if progress is None:
        return {"reporter": False}
    return {"reporter": True, "rate_before": progress.rate_before, "step_before": progress.step}
