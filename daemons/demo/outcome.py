"""Whether what a fault's playbook promises came true, read from the cluster and the API, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sliceward.daemons.demo.watching import when
from sliceward.simulation.faults import Promise

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sliceward.simulation.faults import Fault
    from sliceward.simulation.world import World
    from sliceward.topology.fleet import Fleet
    from sliceward.topology.ids import PartId


@dataclass(frozen=True, slots=True)
class Before:
    """How it stood when the fault struck: pods by gang, the step of the gang that suffers."""

    at: datetime
    fleet: Fleet
    pods: Mapping[str, frozenset[str]]
    executed: float
    lost: int


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the promise and whether it holds."""

    text: str
    holds: bool


def pods_by_gang(fleet: Fleet) -> dict[str, frozenset[str]]:
    """Give the uids of the pods of each gang."""
    return {gang.id.name: frozenset(member.uid for member in gang.members) for gang in fleet.gangs.values()}


def checks(fault: Fault, named: PartId, before: Before, world: World, incident: Mapping[str, Any]) -> list[Check]:
    """Compare what is with what the playbook promises."""
    fleet = world.fleet()
    marks = [host.id.name for host in fleet.hosts.values() if host.our_marks]
    hurt = {gang.id.name for gang in before.fleet.gangs.values() if set(before.fleet.domain_of(named)) & gang.hosts}
    now = pods_by_gang(fleet)
    others = [name for name in now if name not in hurt] if fault.promise is Promise.MOVED_AND_GIVEN_BACK else list(now)
    lines = [
        Check(f"the right part is named: {named}", incident["part"] == str(named) and incident["kind"] == fault.kind.value),
        Check(f"untouched: {', '.join(others)} (same pods)", all(now[name] == before.pods[name] for name in others)),
        Check("no mark of ours is left", not marks),
    ]
    if fault.promise is Promise.NAMED_AND_HANDED_OVER:
        handed = incident["phase"] == "handed-over" or incident["needs"] == "human"
        return [*lines, Check("handed to a human, nothing drained", handed and not _stepped(incident, "gang.suspend"))]
    return [
        *lines,
        Check("all hosts of the cube were marked, no others", _marked(incident) == _domain(before, named)),
        Check("the gang trains whole on healthy cubes", _whole(world, before, named)),
        Check("healed and given back", incident["how"] == "healed"),
    ]


def _stepped(incident: Mapping[str, Any], action: str) -> bool:
    return any(step["action"] == action and step["started"] for step in incident["steps"])


def _marked(incident: Mapping[str, Any]) -> set[str]:
    found = next((step for step in incident["steps"] if step["action"] == "domain.mark"), None)
    return set(found["facts"].get("hosts_marked", ())) if found else set()


def _domain(before: Before, named: PartId) -> set[str]:
    return {host.name for host in before.fleet.domain_of(named)}


def _whole(world: World, before: Before, named: PartId) -> bool:
    fleet, sick = world.fleet(), set(before.fleet.domain_of(named))
    trains = all(training.stepping for training in world.trainings.values())
    slices = [one for one in fleet.slices.values() if one.gang is not None]
    return trains and all(len(one.cubes) == len(before.fleet.cubes_of(named)) for one in slices) and _moved(fleet, before, sick)


def _moved(fleet: Fleet, before: Before, sick: set[Any]) -> bool:
    """Whether every gang runs whole, and the one that was on the sick domain left it at some time (its pods are others)."""
    now = pods_by_gang(fleet)
    hurt = [gang for gang in before.fleet.gangs.values() if sick & gang.hosts]
    complete = all(len(now[name]) == len(pods) for name, pods in before.pods.items())
    return complete and all(not now[gang.id.name] & before.pods[gang.id.name] for gang in hurt)


@dataclass(frozen=True, slots=True)
class Figures:
    """The summary's numbers; seconds since the fault struck, None where it did not come to that."""

    detected: float | None
    recovered: float | None
    closed: float | None
    steps_lost: int
    chip_seconds_lost: float
    pages: int


def figures(before: Before, world: World, incident: Mapping[str, Any], pages: int) -> Figures:
    """Read off what the fault cost. Chip-seconds lost: those of the hurt gang in which no new step came about."""
    verified = next((step["ended"] for step in incident["steps"] if step["action"] == "gang.verify" and step["ended"]), None)
    recovered = (when(verified) - before.at).total_seconds() if verified else None
    gang = next((gang for gang in before.fleet.gangs.values() if str(gang.id) == incident["gang"]), None)
    training = world.trainings[gang.id] if gang is not None else None
    lost = training.lost - before.lost if training is not None else 0
    seconds = 0.0
    if training is not None and gang is not None and recovered is not None and verified is not None:
        useful = at_step(training.history, when(verified)) - at_step(training.history, before.at)
        seconds = max(0.0, recovered - useful / training.program.rate) * gang.chips
    return Figures(
        detected=(when(incident["opened"]) - before.at).total_seconds(),
        recovered=recovered,
        closed=(when(incident["closed"]) - before.at).total_seconds() if incident["closed"] else None,
        steps_lost=lost,
        chip_seconds_lost=seconds,
        pages=pages,
    )


def at_step(history: list[tuple[datetime, float]], moment: datetime) -> float:
    """Give the step that a gang had reached at a moment."""
    return next((step for at, step in reversed(history) if at <= moment), 0.0)
