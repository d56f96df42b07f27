"""domain.mark: take a failure domain out of service by our taint, all of its hosts, before anything moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sliceward.remediations import marks
from sliceward.remediations.action import Verb
from sliceward.remediations.answering import SOON, answering
from sliceward.remediations.nodes import read_all, some, write_all
from sliceward.remediations.outcome import Done, Failed, Outcome, Wait

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sliceward.remediations.action import Target
    from sliceward.remediations.ports import Ports


class MarkDomain:
    """A mark on one host moves no gang: the restarted gang goes back to the same pool and waits there. So: all hosts.

    ``spec.unschedulable`` is left to people: a human's ``kubectl cordon`` of a host that is cordoned sends nothing.
    """

    name: str = "domain.mark"
    about: str = "Put our NoSchedule taint, with the incident in its value and an annotation, on every host of the domain."
    irreversible: bool = False
    harm: bool = True
    inverse: str = "domain.give_back"
    parameters: Mapping[str, str] = {}
    verbs: tuple[Verb, ...] = (Verb("", "nodes", ("get", "patch")),)

    @answering
    async def __call__(self, target: Target, ports: Ports) -> Outcome:
        """Mark what is not marked yet; nothing at all where another incident holds a host."""
        if not target.domain:
            return Failed(f"{target.part} lies in no failure domain that is known: nothing is marked")
        nodes, missing = await read_all(ports.cluster, (host.name for host in target.domain), together=ports.together)
        others = {name: holder for name, node in nodes.items() for holder in marks.holders(node) - {target.incident}}
        if others:
            return Failed(f"held by another incident: {some(f'{name} by {holder}' for name, holder in others.items())}")
        if not nodes:
            return Failed(f"none of the domain's nodes exists any more: {some(missing)}")
        machines = target.facts.get("machines", {})
        strange = [name for name, node in nodes.items() if name in machines and marks.instance_of(node) != machines[name][0]]
        if strange:
            return Failed(f"other machines now than when this was decided: {some(strange)}; nothing is marked")
        why = target.text or str(target.part)
        written = await write_all(
            ports.cluster,
            nodes.values(),
            lambda node: marks.taken_out(node, incident=target.incident, why=why, since=target.started),
            together=ports.together,
        )
        facts = {"hosts_marked": written.good, "hosts_missing": missing}
        if written.contested:
            text = f"{len(written.good)} of {len(nodes)} hosts marked; changed by others meanwhile: {some(written.contested)}"
            return Wait(SOON, text, facts)
        gone = f"; no node any more: {some(missing)}" if missing else ""
        return Done(f"{len(written.good)} hosts out of service{gone}", facts)
