"""gang.checkpoint: ask the gang to save its state before it is stopped, and wait for the acknowledgement, not for ever."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sliceward.remediations import hurt
from sliceward.remediations.action import Verb
from sliceward.remediations.answering import SOON, answering
from sliceward.remediations.asking import Request, ask_all
from sliceward.remediations.given import duration
from sliceward.remediations.outcome import Done, Outcome, Wait
from sliceward.topology.health import Health

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sliceward.remediations.action import Target
    from sliceward.remediations.ports import Ports

DEADLINE = timedelta(seconds=60)
STANDS = timedelta(seconds=5)
"""Patience with a gang that stands still: a save is a collective, and one that is stuck ends none."""
FRESH = timedelta(seconds=30)


class CheckpointGang:
    """A save is collective in the frameworks that we know, so one member's acknowledgement stands for the gang.

    Without a reporter, or past the deadline, the pods' SIGTERM (which the suspension sends) is what is left: said, not hidden.
    """

    name: str = "gang.checkpoint"
    about: str = "Ask every member's host for a checkpoint and wait for the first acknowledgement or the deadline."
    irreversible: bool = False
    harm: bool = False
    inverse: str = ""
    parameters: Mapping[str, str] = {"deadline": "how long to wait for an acknowledgement, e.g. 90s (default 60s)"}
    verbs: tuple[Verb, ...] = (Verb("jobset.x-k8s.io", "jobsets", ("get",)), Verb("batch", "jobs", ("get",)))

    @answering
    async def __call__(self, target: Target, ports: Ports) -> Outcome:
        """Ask again as long as nobody answered: an agent that was away has never heard of it."""
        found = await hurt.movable(target, ports.cluster, to="save")
        if not isinstance(found, hurt.Hurt):
            return found
        return await _saved(target, ports)


async def _saved(target: Target, ports: Ports) -> Outcome:
    patience, stands = duration(target.given, "deadline", DEADLINE), _why_it_stands(target)
    deadline = target.started + (min(patience, STANDS) if stands else patience)
    members = target.gang.members if target.gang is not None else ()
    hosts = sorted({member.host for member in members if member.host is not None and not member.ended})
    if not hosts:
        return _without(target, "no member of the gang runs anywhere")
    request = Request("checkpoint", deadline, {"incident": target.incident})
    answers = list((await ask_all(request, hosts, target, ports.hosts)).values())
    acknowledged = [answer for answer in answers if answer.ok]
    if acknowledged:
        step = max((int(answer.facts.get("checkpoint_step", -1)) for answer in acknowledged), default=-1)
        text = f"saved at step {step}" if step >= 0 else "saved"
        facts = {"checkpoint_acknowledged": True} | ({"checkpoint_step": step} if step >= 0 else {})
        return Done(f"{text}, acknowledged by {len(acknowledged)} of {len(hosts)} hosts", facts)
    if len(answers) == len(hosts):
        return _without(target, f"no host could save: {answers[0].why or 'no reason given'}")
    if target.now >= deadline:
        waited = f"no acknowledgement in {(deadline - target.started).total_seconds():.0f} s"
        return _without(target, f"{waited}, as {stands}" if stands else waited)
    return Wait(min(SOON, deadline - target.now), f"asked {len(hosts)} hosts, {len(answers)} answered so far")


def _why_it_stands(target: Target) -> str:
    """Say why the gang cannot end a step, where that is known; "" where it may."""
    members = target.gang.members if target.gang is not None else ()
    for member in members:
        host = target.fleet.hosts.get(member.host) if member.host is not None else None
        if host is not None and host.ready is not Health.HEALTHY:
            return f"{host.id.name} of the gang is not ready"
    progress = target.progress
    if progress is not None and progress.rate == 0 and target.now - progress.at <= FRESH:
        return "the gang stands still"
    return ""


def _without(target: Target, why: str) -> Done:
    known = target.progress.checkpoint_step if target.progress is not None else None
    last = f"; last known checkpoint is step {known}" if known is not None else ""
    facts = {"checkpoint_acknowledged": False} | ({"checkpoint_step": known} if known is not None else {})
    return Done(f"{why}, relying on SIGTERM{last}", facts)
