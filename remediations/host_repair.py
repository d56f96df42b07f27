"""host.repair: ask the provider to repair the broken host, once it is ours, marked and empty; then wait for it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sliceward.remediations import hurt, marks
from sliceward.remediations.action import Verb
from sliceward.remediations.answering import LATER, answering
from sliceward.remediations.gangs.kind import asks_for_tpu
from sliceward.remediations.given import duration, text
from sliceward.remediations.nodes import read_all, some
from sliceward.remediations.outcome import Done, Failed, Outcome, Wait
from sliceward.remediations.ports import POD
from sliceward.topology.ids import hosts_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sliceward.remediations.action import Target
    from sliceward.remediations.ports import Object, Ports, Repair
    from sliceward.topology.ids import HostId

DRAINED = timedelta(minutes=15)
BEHAVIORS = ("PERFORMANCE", "SILENT_DATA_CORRUPTION", "CHIP_ERROR", "BEHAVIOR_UNSPECIFIED")
"""What Compute Engine's ``reportHostAsFaulty`` knows for TPU hosts."""


class RepairHost:
    """A repair may take the host for days and cannot be called back: no pod may hold its chips, and our mark must be on it.

    Asking again with the same operation id gives the same repair, so a crash between asking and noting costs nothing.
    """

    name: str = "host.repair"
    about: str = "Ask the provider to repair the host of the broken part, drained and marked by this incident, and wait for it."
    irreversible: bool = True
    harm: bool = True
    inverse: str = ""
    parameters: Mapping[str, str] = {
        "behavior": f"what is wrong, in the provider's words: {', '.join(BEHAVIORS)} (default BEHAVIOR_UNSPECIFIED)",
        "poll": "how often to ask how the repair stands (default 5s)",
        "drained": "how long pods that hold chips there are waited for before a human is asked (default 15m)",
    }
    verbs: tuple[Verb, ...] = (Verb("", "nodes", ("get",)), Verb("", "pods", ("list",)))

    @answering
    async def __call__(self, target: Target, ports: Ports) -> Outcome:
        """Ask where nothing was asked; else see how it stands."""
        behavior = text(target.given, "behavior", "BEHAVIOR_UNSPECIFIED", one_of=BEHAVIORS)
        poll = duration(target.given, "poll", LATER)
        hosts = hosts_of(target.part)
        if not hosts:
            return Failed(f"{target.part} is no part of one host: which host to repair is a human's to say")
        asked = dict(target.facts.get("repairs", {}))
        for host in hosts:
            if host.name not in asked and (why_not := await _why_not(host, target, ports)):
                return why_not
        repairs: dict[str, Repair] = {}
        for host in hosts:
            repairs[host.name] = await _repair(host, target, ports, behavior, str(asked.get(host.name, "")))
        return _state(repairs, poll)


async def _why_not(host: HostId, target: Target, ports: Ports) -> Outcome | None:
    nodes, _ = await read_all(ports.cluster, [host.name])
    node = nodes.get(host.name)
    if node is not None and target.incident not in marks.holders(node):
        return Failed(f"{host.name} is not out of service by this incident: no repair is asked for")
    known = target.fleet.hosts.get(host)
    if node is not None and known is not None and marks.instance_of(node) != known.instance_id:
        return Failed(f"{host.name} is another machine now ({marks.instance_of(node)}): no repair is asked for")
    if not _instance(host, target):
        return Failed(f"the instance id of {host.name} is not known: a name alone is no machine, so no repair is asked for")
    busy = [pod for pod in await ports.cluster.list(POD, fields=f"spec.nodeName={host.name}") if _holds_chips(pod)]
    if busy:
        why = f"{host.name} is not drained: {some(map(hurt.name_of, busy))}"
        # Who came after the plan was made (a gang that had no pod at that moment) is moved by no step of this run.
        late = target.now >= target.started + duration(target.given, "drained", DRAINED)
        return Failed(f"{why}, and nobody ends them: no repair is asked for") if late else Wait(LATER, why)
    return None


def _instance(host: HostId, target: Target) -> str:
    """Give the machine that was found sick: as noted when the run began, else as the fleet shows it."""
    noted, here = target.facts.get("machines", {}).get(host.name), target.fleet.hosts.get(host)
    return str(noted[0]) if noted else here.instance_id if here is not None else ""


def _holds_chips(pod: Object) -> bool:
    return asks_for_tpu(pod) and not hurt.has_ended(pod)


async def _repair(host: HostId, target: Target, ports: Ports, behavior: str, known: str) -> Repair:
    if known:
        found = await ports.provider.repair(known)
        if found is not None:
            return found
    return await ports.provider.request_repair(
        host,
        instance_id=_instance(host, target),
        behavior=behavior,
        text=target.text or str(target.part),
        operation_id=f"{target.operation}.{host.name}",
    )


def _state(repairs: Mapping[str, Repair], poll: timedelta) -> Outcome:
    facts = {"repairs": {name: repair.id for name, repair in repairs.items()}}
    failed = {name: repair for name, repair in repairs.items() if repair.state == "failed"}
    if failed:
        return Failed(f"repair failed: {some(f'{name}: {repair.text}' for name, repair in failed.items())}", facts)
    open_ = {name: repair for name, repair in repairs.items() if repair.state != "done"}
    if open_:
        return Wait(poll, f"repair under way: {some(f'{name} {repair.state}' for name, repair in open_.items())}", facts)
    return Done(f"repaired: {some(repairs)}", facts)
