"""What people ask about a fleet that was read: why a gang waits or how it could be helped, how much room there is, what if.

Comes in: the fleet, what stands beside it, and words: names of hosts, cubes, blocks, gangs. Goes out: plain values (`rows`). The
command line asks it of a fleet in a file, the coordinator of the fleet that it watches.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sliceward.scheduling.changes import Add, Event
from sliceward.scheduling.defragment import defragment
from sliceward.scheduling.fleet import ALIVE, snapshot_of
from sliceward.scheduling.fragmentation import fragmentation_of
from sliceward.scheduling.gangs import request_of
from sliceward.scheduling.guarantees import kept
from sliceward.scheduling.plan import NoFit
from sliceward.scheduling.request import Request
from sliceward.scheduling.rows import (
    answer_row,
    choice_row,
    consequences_row,
    displacement_row,
    fragmentation_row,
    group_row,
    guarantee_row,
    problem_row,
    spares_row,
)
from sliceward.scheduling.spares import spares_of
from sliceward.scheduling.whatif import what_if
from sliceward.scheduling.words import MOST_CUBES, WhatIf, block_of_words, events_of, gang_named
from sliceward.topology.errors import Misconfigured
from sliceward.topology.fleet import joined
from sliceward.topology.gangs import GangState, ManagedBy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sliceward.scheduling.scene import Scene
    from sliceward.topology.gangs import Gang

Row = dict[str, Any]


def fragmentation_rows(scene: Scene) -> list[Row]:
    """Give the figures of every generation in every cluster."""
    return [fragmentation_row(each) for each in fragmentation_of(scene.snapshot)]


def guarantee_rows(scene: Scene) -> list[Row]:
    """Give how every guarantee stands: the quota that is given in cells."""
    cells = scene.beside.quota.cells if scene.beside.quota is not None else {}
    return [guarantee_row(each) for each in kept(scene.snapshot, cells)]


def spares_rows(scene: Scene) -> list[Row]:
    """Give the spares of every block."""
    return [spares_row(each) for each in spares_of(scene.snapshot, scene.beside.sure)]


def problem_rows(scene: Scene) -> list[Row]:
    """Give what contradicts itself in the fleets, and what placement cannot use of them: nothing new is placed there."""
    return [problem_row(problem) for problem in (*scene.fleet.problems, *scene.snapshot.set_aside)]


def explain_gang(scene: Scene, name: str) -> Row:
    """Say how a gang stands: where it sits, what hurts it and the ways out; or why it waits and what would help.

    Raises:
        Misconfigured: there is no such gang, or there are several.
    """
    gang, snapshot = gang_named(scene.fleet, name), scene.snapshot
    head: Row = {"gang": str(gang.id), "tenant": gang.tenant, "state": gang.state.value, "chips": gang.chips}
    running = snapshot.gangs.get(gang.id)
    request = scene.request(gang)
    if isinstance(request, NoFit):
        return head | {"stands": "unclear", "placement": answer_row(request)}
    if gang.state not in ALIVE:
        return head | {"stands": "over"}
    if running is not None and gang.state is GangState.RUNNING:
        head["hosts"] = sum(len(each.hosts) for each in running.slices)
        ways = scene.ways(gang, request) if scene.harms(gang.id) else ""
        if not isinstance(ways, str):
            there = answer_row(scene.placed(request))
            return head | {"stands": "hurt", "repair": choice_row(ways), "placement": there}
        if snapshot.chips_of(running.hosts) >= gang.chips:
            return head | {"stands": "runs"}
        del head["hosts"]
    answer = scene.placed(request)
    found = head | {"stands": "waits", "placement": answer_row(answer)}
    if isinstance(answer, NoFit):
        found["displacement"] = displacement_row(scene.displaced(request), scene.fleet.gangs)
    return found


def tidying_rows(scene: Scene) -> list[Row]:
    """Give the groups of moves that would be worth their price, cluster by cluster, in the order in which they would be made."""
    clusters = sorted({gang.id.cluster for gang in scene.fleet.gangs.values()})
    return [row for cluster in clusters for row in _tidying_of(scene, cluster)]


def _tidying_of(scene: Scene, cluster: str) -> Iterator[Row]:
    mine = (gang for key, gang in scene.fleet.gangs.items() if key.cluster == cluster and key in scene.snapshot.gangs)
    asked = ((gang.id, request_of(scene.fleet, gang, scene.now)) for gang in mine if _is_movable(gang))
    movable = {
        gang: replace(request, fewest=0) for gang, request in asked if isinstance(request, Request)
    }  # spares are not for it
    grounds = {
        key: ground for key, ground in scene.snapshot.grounds.items() if cluster in {key.name, getattr(key, "cluster", None)}
    }
    gangs = {key: gang for key, gang in scene.snapshot.gangs.items() if key.cluster == cluster}
    found = defragment(replace(scene.snapshot, grounds=grounds, gangs=gangs), movable)
    yield from (
        group_row(number, group, gangs, floor=scene.beside.costs.floor) for number, group in enumerate(found.groups, start=1)
    )


def _is_movable(gang: Gang) -> bool:
    """Whether sliceward may move a gang: it runs, nobody else places it, and its marks keep it where it is put."""
    theirs = gang.managed_by is not ManagedBy.NOBODY or any(role.tolerates_everything for role in gang.roles)
    return gang.state is GangState.RUNNING and not theirs


def ask_what_if(scene: Scene, asked: WhatIf) -> Row:
    """Say what would follow.

    Raises:
        Misconfigured: the question names what is not there, or nothing.
    """
    snapshot, grown = scene.snapshot, scene.fleet
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
    running, waiting, wide = {}, [], replace(scene, fleet=grown, made=snapshot)
    for gang in sorted(grown.gangs.values(), key=lambda gang: (-gang.priority, gang.id)):
        request = wide.request(gang) if gang.state in ALIVE else None
        if request is None or isinstance(request, NoFit):
            continue
        if gang.id in snapshot.gangs and gang.state is GangState.RUNNING:
            running[gang.id] = request
        else:
            waiting.append(request)
    seen = {gang: scene.seen(gang) for gang in running}
    return consequences_row(what_if(snapshot, events, running, waiting, seen=seen, past=scene.beside.past))
