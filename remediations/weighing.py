"""What each way out costs a gang that is hurt, for the record; and for the decision, where a playbook asks to weigh.

Comes in: what an action is about, with the gang's progress as its reporter told it. Goes out: the ways of
`sliceward.scheduling.repair` with their prices, each number with its source, or why they cannot be priced.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sliceward.scheduling.harm import Effect
from sliceward.scheduling.occupancy import Grade, Standing
from sliceward.scheduling.plan import NoFit
from sliceward.scheduling.repair import repair
from sliceward.scheduling.told import Told
from sliceward.topology.gangs import GangState

if TYPE_CHECKING:
    from sliceward.remediations.action import Target
    from sliceward.remediations.ports import Progress
    from sliceward.scheduling.candidates import Choice
    from sliceward.scheduling.harm import Part
    from sliceward.scheduling.request import Request
    from sliceward.scheduling.snapshot import Snapshot
    from sliceward.topology.gangs import Gang


def ways(target: Target, gang: Gang, snapshot: Snapshot, request: Request | NoFit) -> Choice | str:
    """Give the ways out for a running gang, the cheapest first, or say why they cannot be priced.

    The domain is what failed. A gang that told of steps a moment ago limps on it, unless a host of it is known to be dead.
    """
    running = snapshot.gangs.get(gang.id)
    if gang.state is not GangState.RUNNING or running is None or isinstance(request, NoFit):
        return "it does not run" if not isinstance(request, NoFit) else request.why
    if any(not held.shape for held in running.slices):
        return "the shape of a slice is unknown"
    known = dict.fromkeys(target.sick, "another incident") | dict.fromkeys(target.domain, target.text or target.incident)
    failed = {host: Standing(Grade.SICK, why) for host, why in known.items() if host in snapshot.ground_of}
    marked = snapshot.with_standings(failed)
    if target.progress is None:
        return repair(marked, request)
    told = told_by(target.progress)
    alive = target.domain if told.steps(target.now) else ()
    limps: dict[Part, Effect] = {host: Effect.SLOWS for host in alive if host not in target.lost}
    paced = replace(marked, gangs={**marked.gangs, gang.id: told.paced(running)})
    return repair(paced, request, told.seen(target.now, limps))


def told_by(progress: Progress) -> Told:
    """Give a gang's last word as the scheduler reads it."""
    return Told(progress.at, progress.rate, progress.rate_before, progress.checkpoint_age)


def facts_of(found: Choice | str) -> list[dict[str, Any]]:
    """Give the ways as JSON: open ones with their prices in chip-seconds and what these are made of, closed ones with why."""
    if isinstance(found, str):
        return []
    rows: list[dict[str, Any]] = [
        {
            "way": each.way.value,
            "price": round(each.price),
            "why": each.why,
            "bill": [str(line) for line in each.bill.lines if line.chip_seconds],
        }
        for each in found.open
    ]
    return rows + [{"way": each.way.value, "price": None, "why": each.why} for each in found.closed]


def in_words(found: Choice) -> str:
    """Say the cheapest ways in one line."""
    return ", ".join(f"{each.way} {each.price:,.0f}" for each in found.open[:3]) + " chip-seconds"
