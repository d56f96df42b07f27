"""gang.place: bind the suspended gang to the planned hosts: they get its label, its templates select it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sliceward.remediations import hurt, marks, planning
from sliceward.remediations.action import Verb
from sliceward.remediations.answering import LATER, SOON, answering
from sliceward.remediations.gangs.kind import SUSPENDED_BY, Suspension, noted, selector_of, tolerated
from sliceward.remediations.labels import is_wanted
from sliceward.remediations.nodes import read_all, some, write_all
from sliceward.remediations.outcome import Done, Failed, Outcome, Wait
from sliceward.remediations.ports import NODE
from sliceward.scheduling.plan import NoFit
from sliceward.topology.names import NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sliceward.remediations.action import Target
    from sliceward.remediations.ports import Object, Ports
    from sliceward.topology.ids import GangId, HostId


class PlaceGang:
    """Old labels go only when no pod of the gang is left, new ones come before the template names them.

    A planned host that was lost meanwhile makes a new plan; exclusive topology keeps each slice whole on the labelled hosts.
    """

    name: str = "gang.place"
    about: str = "Label the planned hosts for the gang, take the label off all others, let the suspended templates select it."
    irreversible: bool = False
    harm: bool = True
    inverse: str = ""
    parameters: Mapping[str, str] = {}
    verbs: tuple[Verb, ...] = (
        Verb("", "nodes", ("get", "list", "patch")),
        Verb("", "pods", ("list",)),
        Verb("jobset.x-k8s.io", "jobsets", ("get", "list", "patch")),
        Verb("batch", "jobs", ("get", "list", "patch")),
    )

    @answering
    async def __call__(self, target: Target, ports: Ports) -> Outcome:
        """Bring labels and templates to the plan, or the plan to the present hosts."""
        found = await hurt.movable(target, ports.cluster, to="place")
        if not isinstance(found, hurt.Hurt):
            return found
        if found.kind.suspension(found.owner) is Suspension.NOT or noted(found.owner, SUSPENDED_BY) != target.incident:
            return Failed(f"{found.id} is not suspended by this incident: its placement is not touched")
        left = await hurt.pods_left(found.id, found.kind, ports.cluster)
        if left:
            return Wait(SOON, f"{len(left)} pods of the gang are left: labels stay until they are gone")
        return await _place(found, target, ports)


async def _place(found: hurt.Hurt, target: Target, ports: Ports) -> Outcome:
    facts: Mapping[str, Any] = target.facts
    if not found.kind.templates(found.owner):
        return Failed(f"no pod template of {found.id} asks for {NAMES.tpu_resource}: there is nothing to place")
    if not facts.get("planned_hosts"):
        return Failed("no plan to place the gang by (gang.plan comes first)")
    unfit = await _unfit(found, target, ports)
    if unfit:
        anew = _replanned(found, target, unfit)
        if not isinstance(anew, dict):
            return anew
        facts = anew
    hosts: Sequence[str] = facts["planned_hosts"]
    contested = await _label(found, hosts, ports)
    if contested:
        return Wait(SOON, f"changed by others meanwhile: {some(contested)}", facts if unfit else {})
    key = found.id.key
    if any(selector_of(template).get(NAMES.gang) != key for template in found.kind.templates(found.owner)):
        patch = found.kind.select(found.owner, NAMES.gang, key)
        await ports.cluster.patch(found.kind.kind, found.id.name, patch, found.id.namespace)
    anew_text = f" (planned anew: {_lost(unfit)})" if unfit else ""
    return Done(f"{found.id} will start on {some(hosts)}{anew_text}", {"gang_key": key, **(facts if unfit else {})})


async def _label(found: hurt.Hurt, hosts: Sequence[str], ports: Ports) -> list[str]:
    """Give the label to these hosts and to no others; give the hosts that somebody else wrote to meanwhile."""
    key = found.id.key
    nodes, missing = await read_all(ports.cluster, hosts)
    written = await write_all(ports.cluster, nodes.values(), lambda node: marks.labelled(node, NAMES.gang, key))
    others = [
        node for node in await ports.cluster.list(NODE, labels=f"{NAMES.gang}={key}") if node["metadata"]["name"] not in nodes
    ]
    taken = await write_all(ports.cluster, others, lambda node: marks.labelled(node, NAMES.gang, None))
    return [*written.contested, *taken.contested, *missing]


async def _unfit(found: hurt.Hurt, target: Target, ports: Ports) -> dict[str, str]:
    """Give the planned hosts that cannot be used any more, and why."""
    nodes, missing = await read_all(ports.cluster, map(str, target.facts["planned_hosts"]))
    fresh = {host.name for host in target.sick} - planning.held_before(target, target.gang)
    unfit = dict.fromkeys(missing, "no such node") | dict.fromkeys(fresh & nodes.keys(), "has an incident of its own now")
    unfit |= {host.name: "others run there now" for host in _taken(found.id, target) if host.name in nodes}
    return unfit | {name: why for name, node in nodes.items() if (why := await _why_unfit(node, found, ports))}


def _taken(gang: GangId, target: Target) -> set[HostId]:
    """Give the hosts on which others hold chips: one that looked free while its gang started anew is not free."""
    fleet = target.fleet
    return {host for host, gangs in fleet.gangs_on.items() if set(gangs) - {gang}} | {
        host for host, pods in fleet.strangers.items() if pods
    }


async def _why_unfit(node: Object, found: hurt.Hurt, ports: Ports) -> str:
    templates = found.kind.templates(found.owner)
    if why := marks.why_unfit(node, tolerates=frozenset.intersection(*map(tolerated, templates))):
        return why
    labels = node["metadata"].get("labels") or {}
    for template in templates:
        for name, value in selector_of(template).items():
            if name != NAMES.gang and labels.get(name) != value:
                return f"the gang selects {name}={value}"
    held = marks.label(node, NAMES.gang)
    if held not in (None, found.id.key) and await is_wanted(ports.cluster, str(held)):
        return f"labelled for another gang ({held})"
    return ""


def _replanned(found: hurt.Hurt, target: Target, unfit: Mapping[str, str]) -> dict[str, Any] | Wait | Failed:
    """Give the facts of a new plan beside the lost hosts, or why there is none."""
    why = f"planned hosts are lost: {_lost(unfit)}"
    if target.gang is None:
        return Failed(f"{why}; {found.id} is not in the fleet snapshot, so nothing else can be planned")
    plan = planning.plan(target, target.gang, avoid=unfit)
    if isinstance(plan, NoFit):
        return Wait(LATER, f"{why}; no other room yet: {planning.reasons_of(plan)}")
    return planning.facts_of(plan, target.gang, target)


def _lost(unfit: Mapping[str, str]) -> str:
    return some(f"{name} ({reason})" for name, reason in unfit.items())
