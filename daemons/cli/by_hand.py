"""What a person types to carry out what is only proposed: a gang moved to other hosts, or stopped so that another finds room.

The same that `gang.suspend`, `gang.place` and `gang.resume` do to a gang that is hurt, as commands of kubectl (and jq, which writes the
selector of a JobSet's roles by their names).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sliceward.remediations.gangs.catalog import GANG_KINDS
from sliceward.topology.gangs import ManagedBy
from sliceward.topology.ids import GangId, parse
from sliceward.topology.names import NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    Row = Mapping[str, Any]

PATIENCE = "15m"
"""So long pods are waited for to end: longer than a checkpoint of a large model takes."""


def moving(move: Row) -> Iterator[str]:
    """Give the commands for one move of a group, in their order."""
    gang = _gang(move["gang"])
    owner, pods = f"{gang.owner_kind.lower()} {gang.name}", GANG_KINDS[gang.owner_kind].pods(gang.name)
    here = f"kubectl --namespace {gang.namespace}"
    yield stopping(gang)
    yield f"{here} wait pod --selector {pods} --for delete --timeout {PATIENCE}"
    if move["leaves"]:
        yield f"kubectl label node {' '.join(move['leaves'])} {NAMES.gang}-"
    yield f"kubectl label node {' '.join(move['hosts'])} {NAMES.gang}={gang.key} --overwrite"
    if gang.owner_kind == "Job":
        selector = {"spec": {"template": {"spec": {"nodeSelector": {NAMES.gang: gang.key}}}}}
        yield f"{here} patch {owner} --type merge --patch '{json.dumps(selector)}'"
    else:
        yield f"{here} get {owner} --output json | jq '{_selecting(move['roles'], gang)}' | kubectl replace --filename -"
    yield _patched(gang, suspend=False)


def displacing(victim: Row) -> str:
    """Give the command that lets a gang go, or say who lets it go."""
    gang = _gang(victim["gang"])
    if victim["managed_by"] != ManagedBy.NOBODY or gang.owner_kind not in GANG_KINDS:
        return f"{gang.namespace}/{gang.name} is managed by {victim['managed_by']}, which decides when it goes"
    return stopping(gang)


def stopping(gang: GangId) -> str:
    """Give the command that suspends a gang."""
    return _patched(gang, suspend=True)


def _patched(gang: GangId, *, suspend: bool) -> str:
    body = json.dumps({"spec": {"suspend": suspend}})
    return f"kubectl --namespace {gang.namespace} patch {gang.owner_kind.lower()} {gang.name} --type merge --patch '{body}'"


def _selecting(roles: Sequence[str], gang: GangId) -> str:
    named = " or ".join(f".name == {json.dumps(role)}" for role in roles)
    selector = f"template.spec.template.spec.nodeSelector[{json.dumps(NAMES.gang)}]"
    return f"(.spec.replicatedJobs[] | select({named}).{selector}) = {json.dumps(gang.key)}"


def _gang(text: str) -> GangId:
    found = parse(text)
    if not isinstance(found, GangId):
        raise TypeError(f"{text} is no gang")
    return found
