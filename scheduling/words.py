"""Words of a question as events: names of hosts, cubes, blocks, gangs and links looked up in a fleet, with the nearest one told."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sliceward.scheduling.changes import Event, Lose, LoseLink, LoseSwitch
from sliceward.scheduling.plan import Borrow, Open, Release, Repair
from sliceward.topology.errors import Misconfigured
from sliceward.topology.generations import GENERATIONS
from sliceward.topology.ids import GangId, LinkId, PodId, parse
from sliceward.topology.plan import fleet_of
from sliceward.topology.planned import ClusterPlan, CubePlan

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from sliceward.scheduling.ground import GroundId
    from sliceward.scheduling.snapshot import Snapshot
    from sliceward.topology.fleet import Fleet
    from sliceward.topology.gangs import Gang
    from sliceward.topology.ids import HostId

MOST_DIGITS = 12
MOST_CUBES = 1_000
"""So many cubes may be added in a question."""


@dataclass(frozen=True, slots=True)
class WhatIf:
    """Words of a question.

    ``drain`` and ``repair``: hosts or cubes, by name or id. ``switch``: ``BLOCK/NAME``. ``link``: id. ``add``: ``BLOCK=CUBES``, cubes
    like those of the fleet. ``release``: gangs. ``open``: hosts or cubes that others keep. ``borrow``: ``TENANT:GENERATION:CHIPS``.
    """

    drain: Sequence[str] = ()
    repair: Sequence[str] = ()
    switch: Sequence[str] = ()
    link: Sequence[str] = ()
    add: Sequence[str] = ()
    release: Sequence[str] = ()
    open: Sequence[str] = ()
    borrow: Sequence[str] = ()


def gang_named(fleet: Fleet, name: str) -> Gang:
    """Give the gang that goes by an id, ``namespace/name`` or a name.

    Raises:
        Misconfigured: none does, or several.
    """
    name = name.removeprefix("gang/")
    found = [gang for gang in fleet.gangs.values() if name in _names_of(gang.id)]
    if len(found) == 1:
        return found[0]
    if found:
        raise Misconfigured(
            f"gang {name!r}", f"means {len(found)} gangs", f"Say which: {', '.join(str(gang.id) for gang in found)}"
        )
    raise Misconfigured(f"gang {name!r}", "there is none", _near(name, (f"{g.namespace}/{g.name}" for g in fleet.gangs)))


def _names_of(gang: GangId) -> set[str]:
    return {str(gang), f"{gang.cluster}/{gang.namespace}/{gang.name}", f"{gang.namespace}/{gang.name}", gang.name, gang.key}


def events_of(fleet: Fleet, snapshot: Snapshot, asked: WhatIf) -> Iterator[Event]:
    """Give the events that are meant, but for blocks that are added.

    Raises:
        Misconfigured: something is not there, or is written in no way that is known.
    """
    yield from (Lose(_hosts(fleet, snapshot, name), "drained, what if") for name in asked.drain)
    yield from (Repair(_hosts(fleet, snapshot, name)) for name in asked.repair)
    yield from (Open(_hosts(fleet, snapshot, name)) for name in asked.open)
    yield from (_switch(snapshot, words) for words in asked.switch)
    yield from (_link(snapshot, words) for words in asked.link)
    yield from (Release((gang_named(fleet, name).id,)) for name in asked.release)
    yield from (_borrow(words) for words in asked.borrow)


def block_of_words(fleet: Fleet, now: datetime, words: str) -> Fleet:
    """Give the fleet of a block of new cubes, like those of the first cluster that has cubes.

    Raises:
        Misconfigured: there is nothing that they could be like, or the words are none.
    """
    name, _, count = words.partition("=")
    first = next((cube for cube in fleet.cubes.values() if not cube.classic and cube.hosts), None)
    if first is None:
        raise Misconfigured(f"block {name!r}", "the fleet has no cubes that could be added to", "Blocks are of cubes")
    if not _is_count(count) or not 0 < int(count) <= MOST_CUBES:
        raise Misconfigured(f"block {words!r}", "is not NAME=CUBES", f"For example new-block=4; at most {MOST_CUBES} cubes")
    if PodId(first.id.cluster, name) in {cube.pod for cube in fleet.cubes.values()}:
        raise Misconfigured(f"block {name!r}", "is there already", "Give the new one its own name")
    chips = fleet.hosts[first.hosts[0]].chips
    cubes = tuple(CubePlan(f"{name}-cube-{n}", first.shape, classic=False, block=name) for n in range(int(count)))
    return fleet_of(ClusterPlan(first.id.cluster, first.generation, chips, cubes), now)


def _switch(snapshot: Snapshot, words: str) -> LoseSwitch:
    block, slash, switch = words.rpartition("/")
    if not slash or not switch:
        raise Misconfigured(f"switch {words!r}", "is not BLOCK/NAME", "Name the block that it joins, and the switch")
    return LoseSwitch(_ground(snapshot, block), switch)


def _link(snapshot: Snapshot, words: str) -> LoseLink:
    link = parse(words)
    if not isinstance(link, LinkId):
        raise Misconfigured(f"link {words!r}", "is no link", "`sliceward get links` shows how links are written")
    where = snapshot.ground_of.get(link.ends[0].host_id)
    if where is None:
        raise Misconfigured(words, "there is no such host", _near(link.host_a, (host.name for host in snapshot.ground_of)))
    return LoseLink(where, link)


def _hosts(fleet: Fleet, snapshot: Snapshot, name: str) -> tuple[HostId, ...]:
    """Give the hosts of a host or cube by name or id."""
    name = name.removeprefix("host/").removeprefix("cube/")
    found: list[tuple[HostId, ...]] = [(host.id,) for host in fleet.hosts.values() if name in {host.id.name, str(host.id)}]
    found += [cube.hosts for cube in fleet.cubes.values() if name in {cube.id.name, str(cube.id)}]
    if len(found) != 1:
        why = f"means {len(found)} things" if found else "there is no host or cube of that name"
        names: Iterable[str] = (part.name for part in (*fleet.hosts, *fleet.cubes))
        raise Misconfigured(repr(name), why, "Give its id, with the cluster" if found else _near(name, names))
    apart = [
        host for host in found[0] if host not in snapshot.ground_of and host in fleet.hosts and fleet.hosts[host].cube is None
    ]
    if apart:
        raise Misconfigured(str(apart[0]), "lies in no cube that is known: nothing is placed there", "Correct its labels")
    return found[0]


def _ground(snapshot: Snapshot, name: str) -> GroundId:
    found = [key for key in snapshot.grounds if name in {key.name, str(key)}]
    if len(found) == 1:
        return found[0]
    raise Misconfigured(f"block {name!r}", "there is none", _near(name, (key.name for key in snapshot.grounds)))


def _borrow(words: str) -> Borrow:
    tenant, _, rest = words.partition(":")
    told, _, chips = rest.partition(":")
    known: Mapping[str, str] = {kind.name: label for label, kind in GENERATIONS.items()} | {label: label for label in GENERATIONS}
    if not tenant or told not in known or not _is_count(chips):
        raise Misconfigured(f"quota {words!r}", "is not TENANT:GENERATION:CHIPS", f"Generations: {', '.join(sorted(known))}")
    return Borrow(tenant, known[told], int(chips))


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name.rpartition("/")[2], sorted(set(known)), n=1)
    return f"Did you mean {near[0]!r}?" if near else "`sliceward get` lists what there is"
