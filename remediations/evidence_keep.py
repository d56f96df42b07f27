"""evidence.keep: copy what the cluster knows about the broken part into the record, before repair wipes it."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from sliceward.remediations import hurt
from sliceward.remediations.action import Verb
from sliceward.remediations.answering import SOON
from sliceward.remediations.nodes import read_all
from sliceward.remediations.outcome import Done, Outcome, Wait
from sliceward.remediations.ports import EVENT
from sliceward.topology.errors import Misconfigured, Refused, Retry
from sliceward.topology.ids import hosts_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from sliceward.remediations.action import Target
    from sliceward.remediations.ports import Cluster, Object, Ports

PATIENCE = timedelta(seconds=20)
"""How long reading may be tried again: evidence never holds up a remedy."""
MOST_BYTES = 16_384
MOST_EVENTS = 20
NODE_EVENTS = "default"
"""Namespace of the events of what has none (client-go, ``tools/record``). Of all namespaces the server reads every event of the cluster."""
_LONGEST_TEXT = 200


class KeepEvidence:
    """Always `Done`: what could not be read is named in the evidence."""

    name: str = "evidence.keep"
    about: str = "Keep taints, conditions and events of the broken hosts and the state of the gang in the incident's record."
    irreversible: bool = False
    harm: bool = False
    inverse: str = ""
    parameters: Mapping[str, str] = {}
    verbs: tuple[Verb, ...] = (
        Verb("", "nodes", ("get",)),
        Verb("events.k8s.io", "events", ("list",)),
        Verb("jobset.x-k8s.io", "jobsets", ("get",)),
        Verb("batch", "jobs", ("get",)),
    )

    async def __call__(self, target: Target, ports: Ports) -> Outcome:
        """Read each source once, all at once: a mark waits for it. Try again for a short while where one did not answer."""
        late = target.now - target.started >= PATIENCE
        try:
            answers = await ports.together([partial(_read, name, target, ports, late=late) for name in SOURCES])
        except Retry as error:
            return Wait(SOON, str(error))
        found = {name: answer for name, answer in zip(SOURCES, answers, strict=True) if isinstance(answer, dict)}
        missed = [f"{name}: {answer['missed']}"[:_LONGEST_TEXT] for name, answer in found.items() if "missed" in answer]
        kept: dict[str, Any] = {"part": str(target.part), "text": target.text, "at": target.now.isoformat()}
        kept |= {name: answer["kept"] for name, answer in found.items() if "kept" in answer}
        if missed:
            kept["missed"] = missed
        text = "evidence kept" + (f", but not {'; '.join(missed)}" if missed else "")
        return Done(text, {"evidence": bounded(kept)})


async def _read(name: str, target: Target, ports: Ports, *, late: bool) -> Object:
    """Give what a source holds as ``kept``, or why it could not be read as ``missed``. Raises `Retry` where it is not ``late`` yet."""
    try:
        return {"kept": await SOURCES[name](target, ports)}
    except Retry as error:
        if not late:
            raise Retry(str(error)) from error  # no conflict, which would pass for an answer
        return {"missed": str(error)}
    except (Refused, Misconfigured) as error:
        return {"missed": str(error)}


def _sick(target: Target) -> list[str]:
    return [host.name for host in hosts_of(target.part) or target.domain[:1]]


async def _hosts(target: Target, ports: Ports) -> dict[str, Any]:
    names = _sick(target)
    nodes, _ = await read_all(ports.cluster, names, together=ports.together)
    return {name: _node(nodes[name]) if name in nodes else "no such node" for name in names}


def _node(node: Object) -> dict[str, Any]:
    conditions = node.get("status", {}).get("conditions") or []
    return {
        "taints": node.get("spec", {}).get("taints") or [],
        "unschedulable": bool(node.get("spec", {}).get("unschedulable")),
        "providerID": node.get("spec", {}).get("providerID", ""),
        "bootID": node.get("status", {}).get("nodeInfo", {}).get("bootID", ""),
        "conditions": {
            str(item.get("type")): f"{item.get('status')} {item.get('reason', '')} {item.get('message', '')}"[:_LONGEST_TEXT]
            for item in conditions
        },
    }


async def _gang(target: Target, ports: Ports) -> Any:  # noqa: ANN401 (JSON)
    match await hurt.find(target, ports.cluster):
        case hurt.Hurt() as found:
            status = found.owner.get("status", {})
            keys = ("restarts", "terminalState", "active", "ready", "failed", "replicatedJobsStatus")
            return {"gang": str(found.id), **{key: status[key] for key in keys if key in status}}
        case hurt.Gone(why) | hurt.Held(why):
            return why


async def _progress(target: Target, ports: Ports) -> Any:  # noqa: ANN401 (JSON)
    del ports
    progress = target.progress
    if progress is None:
        return None
    return {
        "at": progress.at.isoformat(),
        "step": progress.step,
        "rate": progress.rate,
        "rate_before": progress.rate_before,
        "checkpoint_step": progress.checkpoint_step,
    }


async def _events(target: Target, ports: Ports) -> list[dict[str, str]]:
    about = [(NODE_EVENTS, name) for name in _sick(target)]
    gang = hurt.gang_id(target)
    if gang is not None:
        about.append((gang.namespace, gang.name))
    answers = await ports.together([partial(_told, ports.cluster, namespace, name) for namespace, name in about])
    found = [event for answer in answers if isinstance(answer, dict) for event in answer["items"]]
    found.sort(key=_when, reverse=True)
    return [
        {
            "at": _when(event),
            "about": str(event.get("regarding", {}).get("name", "")),
            "reason": str(event.get("reason", "")),
            "note": str(event.get("note", ""))[:_LONGEST_TEXT],
        }
        for event in found[:MOST_EVENTS]
    ]


async def _told(cluster: Cluster, namespace: str, name: str) -> Object:
    return {"items": await cluster.list(EVENT, namespace=namespace, fields=f"regarding.name={name}")}


SOURCES: Mapping[str, Callable[[Target, Ports], Awaitable[Any]]] = {
    "hosts": _hosts,
    "gang": _gang,
    "progress": _progress,
    "events": _events,
}


def _when(event: Object) -> str:
    series = event.get("series") or {}
    told = series.get("lastObservedTime") or event.get("eventTime") or event.get("deprecatedLastTimestamp")
    return str(told or event["metadata"].get("creationTimestamp") or "")


def bounded(kept: dict[str, Any], most: int = MOST_BYTES) -> dict[str, Any]:
    """Give the evidence in at most ``most`` bytes of JSON: the longest entries go first, named."""
    kept, cut = dict(kept), []
    while len(json.dumps(kept).encode()) > most:
        longest = max((key for key in kept if key != "cut"), key=lambda key: len(json.dumps(kept[key])))
        if isinstance(kept[longest], list) and len(kept[longest]) > 1:
            kept[longest] = kept[longest][: len(kept[longest]) // 2]
        else:
            kept.pop(longest)
        cut.append(longest)
        kept["cut"] = sorted(set(cut))
    return kept
