"""A change of the world, applied to a snapshot: what would help, and what is asked about with "what if"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from sliceward.scheduling.occupancy import PLAIN, Grade, Standing
from sliceward.scheduling.plan import Borrow, Open, Release, Repair

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sliceward.scheduling.ground import Ground, GroundId
    from sliceward.scheduling.plan import Change
    from sliceward.scheduling.snapshot import Snapshot
    from sliceward.topology.ids import HostId, LinkId


@dataclass(frozen=True, slots=True)
class Lose:
    """These hosts break, or are drained: nothing new goes there, and what sits there has to go. ``why`` in words."""

    hosts: tuple[HostId, ...]
    why: str


@dataclass(frozen=True, slots=True)
class LoseSwitch:
    """An optical switch of a block breaks."""

    ground: GroundId
    switch: str


@dataclass(frozen=True, slots=True)
class LoseLink:
    """A link breaks."""

    ground: GroundId
    link: LinkId


@dataclass(frozen=True, slots=True)
class Add:
    """A block, pod or tree comes, on which nobody sits yet."""

    ground: Ground


Event = Lose | LoseSwitch | LoseLink | Add | Repair | Release | Open | Borrow


def applied(snapshot: Snapshot, event: Event) -> Snapshot:  # noqa: PLR0911 (one a kind of event)
    """Give the snapshot as it would be.

    Raises:
        Misconfigured: the event names something that is not there.
    """
    match event:
        case Lose(hosts, why):
            return snapshot.with_standings(dict.fromkeys(hosts, Standing(Grade.SICK, why)))
        case LoseSwitch(ground, switch):
            lost = snapshot.grounds[ground].occupancy.switches if ground in snapshot.grounds else frozenset[str]()
            return snapshot.with_switches(ground, lost | {switch})
        case LoseLink(ground, link):
            condemned = snapshot.grounds[ground].occupancy.links if ground in snapshot.grounds else frozenset()
            return snapshot.with_links(ground, condemned | {link})
        case Add(ground):
            return snapshot.with_grounds([ground])
        case Repair():
            return _repaired(snapshot, event)
        case Release(gangs):
            return snapshot.without_gangs(gangs)
        case Open(hosts):
            return snapshot.without_promises(hosts).without_bars(hosts)
        case Borrow(tenant, generation, chips):
            nominal = snapshot.quota.get((tenant, generation), 0)
            return snapshot.with_quota({(tenant, generation): nominal + chips})
        case _:
            assert_never(event)


def _repaired(snapshot: Snapshot, event: Repair) -> Snapshot:
    snapshot = snapshot.with_standings(dict.fromkeys(event.hosts, PLAIN))
    for key, ground in snapshot.grounds.items():
        links = ground.occupancy.links - set(event.links)
        switches = ground.occupancy.switches - {name for where, name in event.switches if where == key}
        if links != ground.occupancy.links:
            snapshot = snapshot.with_links(key, links)
        if switches != ground.occupancy.switches:
            snapshot = snapshot.with_switches(key, switches)
    return snapshot


def joined(parts: Sequence[Change]) -> tuple[Change, ...]:
    """Put parts of a kind together."""
    repairs = [part for part in parts if isinstance(part, Repair)]
    hosts = tuple(host for part in repairs for host in part.hosts)
    links = tuple(link for part in repairs for link in part.links)
    switches = tuple(switch for part in repairs for switch in part.switches)
    opened = tuple(host for part in parts if isinstance(part, Open) for host in part.hosts)
    gangs = tuple(gang for part in parts if isinstance(part, Release) for gang in part.gangs)
    found: list[Change] = [part for part in parts if isinstance(part, Borrow)]
    found += [Repair(hosts, links, switches)] if repairs else []
    found += [Open(opened)] if opened else []
    found += [Release(gangs)] if gangs else []
    return tuple(found)


def size_of(snapshot: Snapshot, changes: Iterable[Change]) -> int:
    """Count the chips that a change touches; a link or a switch counts as one."""
    chips = 0
    for change in changes:
        if isinstance(change, Repair):
            chips += snapshot.chips_of(change.hosts) + len(change.links) + len(change.switches)
        elif isinstance(change, Open):
            chips += snapshot.chips_of(change.hosts)
        elif isinstance(change, Borrow):
            chips += change.chips
        else:
            chips += sum(snapshot.sizes[gang] for gang in change.gangs)
    return chips
