"""Safety checks that no playbook can switch off. Each gives a `Guard` with its reason, also when it allows.

Fresh, firing now, the same machine, one owner, whole domain, one movable gang, not paused, not silenced: invariants 2, 3, 6, 7
and 8.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sliceward.detectors.finding import Kind, State
from sliceward.playbooks.decision import Guard
from sliceward.playbooks.incident import Needs
from sliceward.playbooks.silences import about, covering
from sliceward.topology.gangs import ManagedBy
from sliceward.topology.ids import hosts_of

if TYPE_CHECKING:
    from datetime import datetime

    from sliceward.detectors.finding import Finding
    from sliceward.playbooks.incident import Incident
    from sliceward.playbooks.run import Run
    from sliceward.playbooks.world import World
    from sliceward.topology.ids import GangId, HostId

STALE = timedelta(minutes=2)
"""A watcher that is silent for longer is no ground to act on: twelve missed rounds of 10 s."""

NOT_SILENCED = "not-silenced"


@dataclass(frozen=True, slots=True)
class Intent:
    """What is about to be done by ``playbook``: because of ``finding``, to ``domain``, moving ``gang``."""

    incident: Incident
    finding: Finding
    domain: tuple[HostId, ...]
    gang: GangId | None
    playbook: str


def guards(intent: Intent, world: World, now: datetime) -> tuple[Guard, ...]:
    """Give every check on beginning to harm; all must be ok."""
    return (
        not_paused(world),
        not_silenced(intent, world, now),
        _fresh(intent, world),
        _firing(intent),
        _same_machine(intent, world),
        _clear_identity(intent, world),
        _whole_domain(intent),
        _one_owner(intent, world),
        _movable(intent, world),
        _one_gang(intent, world),
    )


def not_paused(world: World) -> Guard:
    """Whether nobody stopped harm."""
    return Guard("not-paused", not world.paused, f"paused: {world.paused}" if world.paused else "nobody paused")


def not_silenced(intent: Intent, world: World, now: datetime) -> Guard:
    """Whether no silence in force asks to leave these hosts, this gang or this playbook alone; held until it ends."""
    hosts, gang, playbook = intent.domain, intent.gang, intent.playbook
    found = None
    if world.silences:
        found = covering(world.silences, about(intent.incident, world.fleet, hosts=hosts, gang=gang, playbook=playbook), now)
    if found is None:
        return Guard(NOT_SILENCED, ok=True, why="nobody asked to leave it alone")
    return Guard(NOT_SILENCED, ok=False, why=found.text, until=found.until)


def _fresh(intent: Intent, world: World) -> Guard:
    name = "fresh"
    if world.fleet_age > world.fleet_stale_after:
        return Guard(name, ok=False, why="the fleet snapshot is stale; Kubernetes does not answer")
    watched = intent.finding.source == "watcher"
    if watched and (world.watcher_age is None or world.watcher_age > STALE):
        return Guard(name, ok=False, why="the watcher is silent, so its findings are unknown, not firing")
    return Guard(name, ok=True, why="fleet and watcher are fresh")


def _firing(intent: Intent) -> Guard:
    state = intent.finding.state
    return Guard("firing-now", state is State.FIRING, f"{intent.finding.kind} on {intent.finding.part} is {state}")


def _same_machine(intent: Intent, world: World) -> Guard:
    finding, name = intent.finding, "same-machine"
    for host in hosts_of(finding.part):
        shown = world.fleet.hosts.get(host)
        if shown is None:
            return Guard(name, ok=False, why=f"{host} is not in the fleet", needs=Needs.HUMAN)
        if not shown.instance_id:
            why = f"{host} has no instance id, so nobody can tell which machine it is"
            return Guard(name, ok=False, why=why, needs=Needs.HUMAN)
        if finding.instance_id and finding.instance_id != shown.instance_id:
            why = f"{host} is instance {shown.instance_id} now; the finding is about {finding.instance_id}"
            return Guard(name, ok=False, why=why, needs=Needs.HUMAN)
        if finding.boot_id and shown.boot_id and finding.boot_id != shown.boot_id:
            return Guard(name, ok=False, why=f"{host} was started again since: what it showed before says nothing of it now")
    return Guard(name, ok=True, why="the machine that showed the fault is the one in the fleet")


def unchanged(run: Run, world: World) -> Guard:
    """Whether every host of the domain is the machine that it was when the run began."""
    for host in run.domain:
        noted, shown = run.machines.get(host.name, ("", ""))[0], world.fleet.hosts.get(host)
        if noted and shown is not None and shown.instance_id != noted:
            why = f"{host} is instance {shown.instance_id or 'unknown'} now; it was {noted} when the run began"
            return Guard("same-machines", ok=False, why=why, needs=Needs.HUMAN)
    return Guard("same-machines", ok=True, why="the hosts of the domain are the machines that they were")


def another_machine(run: Run, world: World) -> str:
    """Say which host of the broken part was replaced or started again since the run began; "" where none was."""
    for host in hosts_of(run.part):
        noted, shown = run.machines.get(host.name), world.fleet.hosts.get(host)
        if noted is None or shown is None:
            continue
        for what, was, now in (("instance", noted[0], shown.instance_id), ("boot", noted[1], shown.boot_id)):
            if was and now and was != now:
                return f"{host} is another than the one that was found sick: {what} {now} now, {was} then"
    return ""


def _clear_identity(intent: Intent, world: World) -> Guard:
    doubled = any(f.kind is Kind.IDENTITY_CONFLICT for f in intent.incident.firing) or bool(world.unclear & {*intent.domain})
    why = "two speak for one host, or one without a name" if doubled else "nobody else speaks for it"
    return Guard("clear-identity", not doubled, why, Needs.HUMAN if doubled else Needs.NOTHING)


def _whole_domain(intent: Intent) -> Guard:
    if intent.domain:
        return Guard("one-domain", ok=True, why=f"{len(intent.domain)} hosts leave service together")
    why = f"{intent.finding.part} is not inside one failure domain, so nothing can be taken out for it"
    return Guard("one-domain", ok=False, why=why, needs=Needs.HUMAN)


def _one_owner(intent: Intent, world: World) -> Guard:
    name = "one-owner"
    for host in intent.domain:
        owner = world.usage.owners.get(host)
        if owner is not None and owner != intent.incident.id:
            return Guard(name, ok=False, why=f"{host} is out of service for {owner}")
    for run in world.runs:
        if run.incident == intent.incident.id or not (run.open and run.harms and run.moving):
            continue
        if intent.gang is not None and run.gang == intent.gang:
            return Guard(name, ok=False, why=f"{intent.gang} is being moved for {run.incident}")
        taken = set(run.promised) & set(intent.domain)
        if taken:
            return Guard(name, ok=False, why=f"{min(taken)} is promised to {run.gang} by {run.incident}")
    return Guard(name, ok=True, why="no other incident has these hosts or this gang")


def _movable(intent: Intent, world: World) -> Guard:
    gang = None if intent.gang is None else world.fleet.gangs.get(intent.gang)
    if gang is None or gang.managed_by is ManagedBy.NOBODY:
        return Guard("movable", ok=True, why="nobody else places the gang" if gang else "no gang to move")
    why = f"{gang.id} is placed by {gang.managed_by}; only a human or {gang.managed_by} may move it"
    return Guard("movable", ok=False, why=why, needs=Needs.HUMAN)


def _one_gang(intent: Intent, world: World) -> Guard:
    others = {gang for host in intent.domain for gang in world.fleet.gangs_on.get(host, ())} - {intent.gang}
    if others:
        names = ", ".join(str(gang) for gang in sorted(others))
        return Guard("one-gang", ok=False, why=f"others run in the same failure domain: {names}", needs=Needs.HUMAN)
    strangers = sorted(pod for host in intent.domain for pod in world.fleet.strangers.get(host, ()))
    if strangers:
        why = f"pods that belong to no known gang hold chips there: {', '.join(strangers[:5])}"
        return Guard("one-gang", ok=False, why=why, needs=Needs.HUMAN)
    return Guard("one-gang", ok=True, why="no other gang runs in the failure domain")
