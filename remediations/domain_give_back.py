"""domain.give_back: remove our own marks of this incident, and no mark of anybody else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sliceward.remediations import marks
from sliceward.remediations.action import Verb
from sliceward.remediations.answering import SOON, answering
from sliceward.remediations.labels import is_wanted
from sliceward.remediations.nodes import read_all, some, write_all
from sliceward.remediations.outcome import Done, Outcome, Wait
from sliceward.topology.names import NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sliceward.remediations.action import Target
    from sliceward.remediations.ports import Cluster, Object, Ports


class GiveBackDomain:
    """Healing: never stopped by a pause or a budget. Strangers' taints, people's cordons and other incidents' marks stay."""

    name: str = "domain.give_back"
    about: str = "Remove our taint and annotation of this incident, and placement labels that no gang wants any more."
    irreversible: bool = False
    harm: bool = False
    inverse: str = ""
    parameters: Mapping[str, str] = {}
    verbs: tuple[Verb, ...] = (
        Verb("", "nodes", ("get", "patch")),
        Verb("jobset.x-k8s.io", "jobsets", ("list",)),
        Verb("batch", "jobs", ("list",)),
    )

    @answering
    async def __call__(self, target: Target, ports: Ports) -> Outcome:
        """Unmark every host that this incident marked, wherever the mark is seen."""
        nodes, missing = await read_all(ports.cluster, _where(target), together=ports.together)
        written = await write_all(
            ports.cluster,
            nodes.values(),
            lambda node: marks.given_back(node, incident=target.incident),
            together=ports.together,
        )
        nodes, _ = await read_all(ports.cluster, nodes, together=ports.together)
        unlabelled = await _take_labels(ports.cluster, nodes.values())
        if contested := sorted({*written.contested, *unlabelled}):
            return Wait(SOON, f"{len(written.good)} hosts given back; changed by others meanwhile: {some(contested)}")
        gone = f"; no node any more: {some(missing)}" if missing else ""
        return Done(f"{len(written.good)} hosts given back{gone}", {"hosts_given_back": written.good})


def _where(target: Target) -> set[str]:
    """Give the hosts of the domain, those that the first steps noted, and those that carry the mark in the snapshot."""
    names = {host.name for host in target.domain} | {str(name) for name in target.facts.get("hosts_marked", ())}
    seen = {host.id.name for host in target.fleet.hosts.values() if any(mark.value == target.incident for mark in host.our_marks)}
    return names | seen


async def _take_labels(cluster: Cluster, nodes: Iterable[Object]) -> list[str]:
    """Remove placement labels of gangs that have ended or select another label; give the nodes that were contested."""
    labelled = [node for node in nodes if marks.label(node, NAMES.gang) is not None]
    keys = {key: await is_wanted(cluster, key) for key in {str(marks.label(node, NAMES.gang)) for node in labelled}}
    stale = [node for node in labelled if not keys[str(marks.label(node, NAMES.gang))]]
    written = await write_all(cluster, stale, lambda node: marks.labelled(node, NAMES.gang, None))
    return written.contested
