"""node.cordon: write ``spec.unschedulable``, remembering what was found; apart from our taint, for those who want it."""

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


class CordonNode:
    """Some clusters repair cordoned nodes by themselves, and a human's cordon over ours sends nothing: prefer domain.mark."""

    name: str = "node.cordon"
    about: str = "Cordon every host of the domain and note what was found, so that node.uncordon restores exactly that."
    irreversible: bool = False
    harm: bool = True
    inverse: str = "node.uncordon"
    parameters: Mapping[str, str] = {}
    verbs: tuple[Verb, ...] = (Verb("", "nodes", ("get", "patch")),)

    @answering
    async def __call__(self, target: Target, ports: Ports) -> Outcome:
        """Cordon what this incident has not cordoned yet; nothing at all where another incident has."""
        if not target.domain:
            return Failed(f"{target.part} lies in no failure domain that is known: nothing is cordoned")
        nodes, missing = await read_all(ports.cluster, (host.name for host in target.domain), together=ports.together)
        holders = {name: marks.annotation(node, marks.CORDON).get("incident") for name, node in nodes.items()}
        others = {name: holder for name, holder in holders.items() if holder not in (None, target.incident)}
        if others:
            return Failed(f"cordoned by another incident: {some(f'{name} by {holder}' for name, holder in others.items())}")
        written = await write_all(
            ports.cluster,
            nodes.values(),
            lambda node: marks.cordoned(node, incident=target.incident, since=target.started),
            together=ports.together,
        )
        if written.contested:
            text = f"{len(written.good)} hosts cordoned; changed by others meanwhile: {some(written.contested)}"
            return Wait(SOON, text)
        return Done(f"{len(written.good)} hosts cordoned", {"hosts_cordoned": written.good, "hosts_missing": missing})
