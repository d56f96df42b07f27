"""The fleet as it was read, as a snapshot to decide on.

What a cluster contains never raises here: gangs on hosts that do not exist, two gangs on one host, shapes that no generation has,
cubes and labels that contradict themselves are set aside so that nothing is planned on them, and named in `Snapshot.set_aside`. Partitions of a block are cubes with switches; a classic pool is a slice as it
stands, or a torus to cut slices from where its nodes are provisioned without one; a cluster for which levels are given is a tree.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import prod
from typing import TYPE_CHECKING

from sliceward.scheduling.aside import Aside
from sliceward.scheduling.beside import NOTHING_BESIDE
from sliceward.scheduling.cubes.block import block_of
from sliceward.scheduling.occupancy import Bar, Cause, Grade, Standing
from sliceward.scheduling.pools import Pool, Pools
from sliceward.scheduling.snapshot import HeldSlice, Promise, Snapshot
from sliceward.scheduling.standing import bars_of, standings_of
from sliceward.scheduling.torus.ground import TorusGround
from sliceward.scheduling.torus.lattice import Lattice
from sliceward.scheduling.torus.state import Site
from sliceward.scheduling.tree.ground import TreeGround
from sliceward.scheduling.tree.lie import Leaf, torn_domains
from sliceward.topology.checks import hosts_by_slice
from sliceward.topology.gangs import GangState
from sliceward.topology.generations import GENERATIONS
from sliceward.topology.health import Health
from sliceward.topology.ids import ClusterId, PodId
from sliceward.topology.names import NAMES, Names
from sliceward.topology.torus import Torus, index_at

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    from sliceward.scheduling.beside import Beside
    from sliceward.scheduling.ground import Ground, GroundId
    from sliceward.scheduling.snapshot import Running
    from sliceward.topology.fleet import Cube, Fleet
    from sliceward.topology.gangs import Gang
    from sliceward.topology.ids import CubeId, GangId, HostId, LinkId

PROVISION_ONLY = "PROVISION_ONLY"
"""Value of GKE's label for the topology mode of nodes that have no ICI until a slice is formed."""

ALIVE = frozenset({GangState.RUNNING, GangState.SUSPENDED})


def snapshot_of(fleet: Fleet, now: datetime, beside: Beside = NOTHING_BESIDE, *, names: Names = NAMES) -> Snapshot:
    """Give the snapshot of a fleet.

    Raises:
        Misconfigured: what stands beside it cannot be.
    """
    aside = Aside()
    empty = Snapshot.of(
        now,
        aside.each_host_once(_grounds(fleet, beside, names, aside)),
        quota=beside.quota.nominal if beside.quota is not None else {},
        protected=beside.protected,
        mix=beside.mix,
        costs=beside.costs,
    )
    placed = empty.ground_of
    risks = aside.numbers(beside.risks)
    known = standings_of(fleet, names, risks)
    known |= {host: Standing(Grade.SICK, why, risks.get(host, 0.0)) for host, why in beside.sick.items()}
    seen = empty.with_standings({host: each for host, each in known.items() if host in placed})
    closed = seen.with_bars({host: bar for host, bar in bars_of(fleet).items() if host in placed})
    condemned: dict[GroundId, set[LinkId]] = {}
    for link in beside.links:
        for end in link.ends:
            if end.host_id in placed:
                condemned.setdefault(placed[end.host_id], set()).add(link)
    for ground, links in condemned.items():
        closed = closed.with_links(ground, links)
    seated: list[Running] = []
    strays: dict[HostId, Bar] = {}
    taken: set[HostId] = set()
    for _, gang in sorted(fleet.gangs.items()):
        held = _held_by(gang, closed, taken, aside)
        if held and (running := aside.running(closed, gang, held, beside.told.get(gang.id))) is not None:
            seated.append(running)
        elif held:
            bar = Bar(Cause.HELD, f"held by {gang.id.name}, which contradicts itself")
            strays.update(dict.fromkeys((host for each in held for host in each.hosts), bar))
    snapshot = closed.with_gangs(seated).with_bars(strays).with_promises(_promises(fleet, beside.reserved, placed, names))
    return replace(snapshot, set_aside=aside.found)


def _held_by(gang: Gang, snapshot: Snapshot, taken: set[HostId], aside: Aside) -> tuple[HeldSlice, ...]:
    """Give what a gang holds, on hosts of the snapshot that nobody has ``taken`` before it; it takes them.

    While old pods end a slice may hold more hosts than its shape has: it has no shape then.
    """
    placed, roles = snapshot.ground_of, {role.name: role for role in gang.roles}
    kind = GENERATIONS.get(gang.generation or "")
    slices = []
    for (name, index), hosts in sorted(hosts_by_slice(gang).items()):
        free = tuple(sorted(host for host in hosts if host in placed and host not in taken))
        taken.update(free)
        role = roles.get(name)
        shape = role.topology if role is not None and role.topology is not None else ()
        shape = shape if kind is not None and kind.admits(shape) else ()
        chips = snapshot.chips_of(free)
        if shape and chips > prod(shape):
            why = f"slice {index} of role {name!r} holds {chips} chips, its shape has {prod(shape)}"
            aside.note("SliceTooLarge", gang.id, why, "It is placed anew once the pods that are too many have ended")
            shape = ()
        if free:
            slices.append(HeldSlice(name, index, shape, free))
    return tuple(slices)


def _promises(
    fleet: Fleet, reserved: Mapping[HostId, GangId], placed: Mapping[HostId, GroundId], names: Names
) -> dict[HostId, Promise]:
    """Give the hosts that runs keep, and those that carry the label which a living gang's templates select, pods there or not."""
    labels = {gang.placed_by_us: gang.id for gang in fleet.gangs.values() if gang.placed_by_us and gang.state in ALIVE}
    found = {host: Promise(gang) for host, gang in reserved.items() if host in placed}
    for host_id, host in fleet.hosts.items() if labels else ():
        labelled = labels.get(host.labels.get(names.gang, ""))
        if labelled is not None and host_id in placed:
            found.setdefault(host_id, Promise(labelled))
    return found


def _grounds(fleet: Fleet, beside: Beside, names: Names, aside: Aside) -> Iterator[Ground]:
    partitions: dict[tuple[GroundId, str], list[Cube]] = {}
    pools: dict[tuple[GroundId, str], list[Cube]] = {}
    for cube in fleet.cubes.values():
        if cube.id.cluster in beside.levels:
            continue
        if not cube.classic:
            partitions.setdefault((cube.pod or cube.id, cube.generation), []).append(_fitting(fleet, cube))
        elif _is_divisible(fleet, cube, names):
            yield from aside.made([cube], lambda those: _torus(fleet, those[0]))
        else:
            pools.setdefault((cube.pod or ClusterId(cube.id.cluster), cube.generation), []).append(cube)
    named = [key for key, _ in (*partitions, *pools)]
    for (key, _), cubes in partitions.items():
        # What Google says of a whole cube stands with its hosts, where a repair can be thought of.
        own, plain = _own(key, cubes[0], named), [replace(c, state=None) if c.state else c for c in cubes]
        yield from aside.made(plain, partial(block_of, own, fleet, names=names))
    for (key, _), cubes in pools.items():
        own = _own(key, cubes[0], named)
        yield from aside.made(cubes, partial(_pools, own, fleet))
    for cluster, levels in beside.levels.items():
        yield from _trees(fleet, cluster, levels, (names, aside))


def _fitting(fleet: Fleet, cube: Cube) -> Cube:
    """Leave out hosts of a cube for which it has no room: two Node objects for one place, or a wrong label.

    Those stay on which gangs run, and those that are Ready. Nothing new is planned there while its count is not right.
    """
    if len(cube.hosts) <= cube.expected_hosts:
        return cube

    def worth(host: HostId) -> tuple[bool, bool]:
        return bool(fleet.gangs_on.get(host)), fleet.hosts[host].ready is Health.HEALTHY

    kept = set(sorted(cube.hosts, key=worth, reverse=True)[: cube.expected_hosts])
    return replace(cube, hosts=tuple(host for host in cube.hosts if host in kept), expected_hosts=len(cube.hosts))


def _own(key: GroundId, cube: Cube, named: list[GroundId]) -> GroundId:
    """Name a ground by its block; where a block has several kinds of grounds, by the kind as well."""
    if named.count(key) == 1:
        return key
    name = key.name if isinstance(key, PodId) else "pools"
    return PodId(cube.id.cluster, f"{name}.{GENERATIONS[cube.generation].name}{'.pools' if cube.classic else ''}")


def _pools(key: GroundId, fleet: Fleet, cubes: list[Cube]) -> Pools:
    ordered = sorted(cubes, key=lambda cube: cube.id)
    chips = {host: fleet.hosts[host].chips for cube in ordered for host in cube.hosts}
    found = tuple(Pool(cube.id, cube.shape, cube.hosts, _expected(cube, chips), spare=cube.spare) for cube in ordered)
    pools = Pools(key, ordered[0].generation, found, chips)
    pools.check()
    return pools


def _expected(cube: Cube, chips: Mapping[HostId, int]) -> int:
    """Count the hosts that a pool should have. One whose hosts have lost chips is not whole, however many they are."""
    has = sum(chips[host] for host in cube.hosts)
    return cube.expected_hosts if has == prod(cube.shape) or not cube.complete else len(cube.hosts) + 1


def _is_divisible(fleet: Fleet, cube: Cube, names: Names) -> bool:
    """Whether a pool's nodes have no slice yet, and a place of their own each."""
    hosts = [fleet.hosts[host] for host in cube.hosts]
    alone = len({host.coordinates for host in hosts}) == len(hosts) and len({host.chips for host in hosts}) == 1
    return alone and all(host.labels.get(names.topology_mode) == PROVISION_ONLY and host.coordinates for host in hosts)


def _torus(fleet: Fleet, cube: Cube) -> TorusGround:
    kind = GENERATIONS[cube.generation]
    lattice = Lattice(Torus(cube.shape, kind.wrap(cube.shape)), kind.tray(fleet.hosts[cube.hosts[0]].chips))
    seats: list[HostId | None] = [None] * lattice.hosts.size
    for host in cube.hosts:
        corner = min(fleet.hosts[host].coordinates)
        seats[index_at(lattice.hosts.shape, tuple(a // b for a, b in zip(corner, lattice.tray, strict=True)))] = host
    parts: dict[CubeId, tuple[HostId, ...]] = {cube.id: cube.hosts}
    site = Site(lattice, tuple(seats), parts, frozenset(cube.hosts if cube.spare else ()))
    return TorusGround(cube.id, cube.generation, site)


def _trees(fleet: Fleet, cluster: str, levels: Sequence[str], how: tuple[Names, Aside]) -> Iterator[TreeGround]:
    names, aside = how
    leaves: dict[str, list[Leaf]] = {}
    for host in fleet.hosts.values():
        if host.id.cluster == cluster:
            labels = {names.hostname: host.id.name, **host.labels}
            leaves.setdefault(host.generation, []).append(Leaf(host.id, host.chips, labels))
    for generation, each in sorted(leaves.items()):
        key: GroundId = ClusterId(cluster)
        if len(leaves) > 1:
            key = PodId(cluster, f"{cluster}.{GENERATIONS[generation].name}")
        torn = torn_domains(levels, each)
        for (level, value), why in torn.items():
            aside.note(
                "DomainWithTwoParents",
                f"{cluster}/{level}={value}",
                why,
                "Correct the labels; its hosts lie in no domain until then",
            )
        whole = [leaf if _is_whole(leaf, torn) else replace(leaf, labels={}) for leaf in each]
        yield TreeGround.of(key, generation, whole, levels=levels, unit=levels[-1])


def _is_whole(leaf: Leaf, torn: Collection[tuple[str, str]]) -> bool:
    return not any(leaf.labels.get(level) == value for level, value in torn)
