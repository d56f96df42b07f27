"""What people ask about a fleet that was read: why a gang waits or how it could be helped, how much room there is, what if.

Comes in: the fleet, what stands beside it, and words: names of hosts, cubes, blocks, gangs. Goes out: plain values (`rows`). The
command line asks it of a fleet in a file, the coordinator of the fleet that it watches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sliceward.scheduling.changes import Add, Event
from sliceward.scheduling.displacement import displaced
from sliceward.scheduling.fleet import snapshot_of
from sliceward.scheduling.fragmentation import fragmentation_of
from sliceward.scheduling.gangs import crossed, request_of
from sliceward.scheduling.guarantees import kept
from sliceward.scheduling.harm import Seen, harms_of
from sliceward.scheduling.place import place
from sliceward.scheduling.plan import NoFit, Plan
from sliceward.scheduling.repair import repair
from sliceward.scheduling.rows import (
    answer_row,
    choice_row,
    consequences_row,
    displacement_row,
    fragmentation_row,
    guarantee_row,
    spares_row,
)
from sliceward.scheduling.spares import spares_of
from sliceward.scheduling.whatif import what_if
from sliceward.scheduling.words import MOST_CUBES, WhatIf, block_of_words, events_of, gang_named
from sliceward.topology.errors import Misconfigured
from sliceward.topology.fleet import joined
from sliceward.topology.gangs import GangState

if TYPE_CHECKING:
    from datetime import datetime

    from sliceward.scheduling.beside import Beside
    from sliceward.scheduling.snapshot import Snapshot
    from sliceward.topology.fleet import Fleet

Row = dict[str, Any]

_ALIVE = frozenset({GangState.RUNNING, GangState.SUSPENDED})


@dataclass(frozen=True, slots=True)
class Scene:
    """A fleet, and what is known beside it."""

    fleet: Fleet
    now: datetime
    beside: Beside

    def snapshot(self) -> Snapshot:
        """Give the snapshot to ask about."""
        return snapshot_of(self.fleet, self.now, self.beside)


def fragmentation_rows(scene: Scene) -> list[Row]:
    """Give the figures of every generation in every cluster."""
    return [fragmentation_row(each) for each in fragmentation_of(scene.snapshot())]


def guarantee_rows(scene: Scene) -> list[Row]:
    """Give how every guarantee stands: the quota that is given in cells."""
    cells = scene.beside.quota.cells if scene.beside.quota is not None else {}
    return [guarantee_row(each) for each in kept(scene.snapshot(), cells)]


def spares_rows(scene: Scene) -> list[Row]:
    """Give the spares of every block."""
    return [spares_row(each) for each in spares_of(scene.snapshot())]


def explain_gang(scene: Scene, name: str) -> Row:
    """Say how a gang stands: where it sits, what hurts it and the ways out; or why it waits and what would help.

    Raises:
        Misconfigured: there is no such gang, or there are several.
    """
    gang, snapshot = gang_named(scene.fleet, name), scene.snapshot()
    head: Row = {"gang": str(gang.id), "tenant": gang.tenant, "state": gang.state.value, "chips": gang.chips}
    running = snapshot.gangs.get(gang.id)
    request = request_of(scene.fleet, gang, scene.now, heals=running is not None)
    if isinstance(request, NoFit):
        return head | {"stands": "unclear", "placement": answer_row(request)}
    if gang.state not in _ALIVE:
        return head | {"stands": "over"}
    if running is not None and gang.state is GangState.RUNNING:
        told = scene.beside.told.get(gang.id)
        seen = Seen() if told is None else told.seen(scene.now)
        harms = all(held.shape for held in running.slices) and harms_of(snapshot, running, seen)
        held = sum(len(each.hosts) for each in running.slices)
        if harms:
            return head | {"stands": "hurt", "hosts": held, "repair": choice_row(repair(snapshot, request, seen))}
        if snapshot.chips_of(running.hosts) >= gang.chips:
            return head | {"stands": "runs", "hosts": held}
    answer = place(snapshot, request)
    answer = crossed(request, answer) or answer if isinstance(answer, Plan) else answer
    found = head | {"stands": "waits", "placement": answer_row(answer)}
    if isinstance(answer, NoFit):
        found["displacement"] = displacement_row(displaced(snapshot, request))
    return found


def ask_what_if(scene: Scene, asked: WhatIf) -> Row:
    """Say what would follow.

    Raises:
        Misconfigured: the question names what is not there, or nothing.
    """
    snapshot, grown = scene.snapshot(), scene.fleet
    events: list[Event] = []
    for words in asked.add:
        more = block_of_words(scene.fleet, scene.now, words)
        grown = joined([grown, more])
        if len(grown.cubes) - len(scene.fleet.cubes) > MOST_CUBES:
            raise Misconfigured("what if", f"adds more than {MOST_CUBES} cubes", "Ask about fewer blocks at once")
        events += (
            Add(ground) for _, ground in sorted(snapshot_of(more, scene.now).grounds.items(), key=lambda item: str(item[0]))
        )
    events += events_of(grown, snapshot, asked)
    if not events:
        raise Misconfigured(
            "what if", "nothing", "Say what: --drain, --lose-switch, --add-block ... (`sliceward what-if --help`)"
        )
    running, waiting = {}, []
    for gang in sorted(grown.gangs.values(), key=lambda gang: (-gang.priority, gang.id)):
        request = request_of(grown, gang, scene.now, heals=gang.id in snapshot.gangs) if gang.state in _ALIVE else None
        if request is None or isinstance(request, NoFit):
            continue
        if gang.id in snapshot.gangs and gang.state is GangState.RUNNING:
            running[gang.id] = request
        else:
            waiting.append(request)
    return consequences_row(what_if(snapshot, events, running, waiting))
