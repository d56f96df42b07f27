"""node.uncordon: restore what node.cordon found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sliceward.remediations import marks
from sliceward.remediations.action import Verb
from sliceward.remediations.answering import SOON, answering
from sliceward.remediations.nodes import read_all, some, write_all
from sliceward.remediations.outcome import Done, Outcome, Wait

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sliceward.remediations.action import Target
    from sliceward.remediations.ports import Ports


class UncordonNode:
    """Only hosts whose cordon this incident set; one that was cordoned before us stays cordoned."""

    name: str = "node.uncordon"
    about: str = "Take back the cordons that this incident set; cordons that were there before stay."
    irreversible: bool = False
    harm: bool = False
    inverse: str = ""
    parameters: Mapping[str, str] = {}
    verbs: tuple[Verb, ...] = (Verb("", "nodes", ("get", "patch")),)

    @answering
    async def __call__(self, target: Target, ports: Ports) -> Outcome:
        """Restore each host of the domain."""
        noted = (str(name) for name in target.facts.get("hosts_cordoned", ()))
        nodes, _ = await read_all(ports.cluster, {host.name for host in target.domain} | set(noted))
        written = await write_all(ports.cluster, nodes.values(), lambda node: marks.uncordoned(node, incident=target.incident))
        if written.contested:
            return Wait(SOON, f"changed by others meanwhile: {some(written.contested)}")
        return Done(f"{len(written.changed)} hosts restored", {"hosts_restored": sorted(written.changed)})
