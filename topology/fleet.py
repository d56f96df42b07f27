"""The fleet snapshot: hosts, cubes, slices and gangs of one or many clusters at one instant, frozen.

Built by `sliceward.topology.reading` from plain mappings and by `sliceward.topology.plan` from a YAML file. What is
missing, unknown or contradictory is a `Problem` with a name, not a crash and not a guess.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, assert_never

from sliceward.topology.generations import GENERATIONS
from sliceward.topology.health import Health
from sliceward.topology.ids import ChipId, ClusterId, CubeId, DomainId, GangId, HostId, LinkId, PartId, PodId, SliceId, SwitchId

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from sliceward.topology.gangs import Gang


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in the sources that cannot be used as it is. ``name`` is CamelCase and stable, e.g. ``UnknownAccelerator``."""

    name: str
    about: str
    why: str
    what_to_do: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A taint on a host. ``owner`` is None where it is not ours; ours carry the incident's id in the value."""

    key: str
    value: str
    effect: str
    ours: bool


@dataclass(frozen=True, slots=True)
class Host:
    """A TPU host as Kubernetes shows it.

    ``index``: place of the host in its cube or slice (None: unknown, and then nothing is done to it by position).
    ``instance_id``: the provider's, "" where unknown. ``ready``: node condition Ready, three-valued.
    ``conditions``: type -> status text, as on the node. ``version``: the node's ``resourceVersion``.
    ``coordinates``: place of each chip, by index, in the cube (empty: unknown). ``available``: all marks and cordons allow new pods.
    """

    id: HostId
    generation: str
    chips: int
    cube: CubeId | None
    pod: PodId | None
    index: int | None
    instance_id: str
    boot_id: str
    ready: Health
    cordoned: bool
    marks: tuple[Mark, ...]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    conditions: Mapping[str, str] = field(default_factory=dict)
    version: str = ""
    coordinates: tuple[tuple[int, ...], ...] = ()

    @property
    def our_marks(self) -> tuple[Mark, ...]:
        """The marks that sliceward put on this host."""
        return tuple(m for m in self.marks if m.ours)

    @property
    def available(self) -> bool:
        """Whether a new gang may be planned here: Ready, not cordoned, and no mark that keeps TPU pods away.

        The taint ``google.com/tpu=present:NoSchedule`` is on every TPU node and does not count; the reader drops it.
        """
        return self.ready is Health.HEALTHY and not self.cordoned and not any(m.effect in _KEEPS_OUT for m in self.marks)


_KEEPS_OUT = frozenset({"NoSchedule", "NoExecute"})


@dataclass(frozen=True, slots=True)
class Cube:
    """A failure domain: a 4x4x4 partition, or on classic pools the node pool.

    ``shape`` in chips; ``hosts`` by index where known, else by name; ``state`` is Google's partition state where labelled.
    ``classic``: a node pool, whose shape is the slice's shape and cannot be divided or joined. ``spare``: kept free for repairs.
    """

    id: CubeId
    generation: str
    shape: tuple[int, ...]
    hosts: tuple[HostId, ...]
    expected_hosts: int
    state: str | None = None
    pod: PodId | None = None
    classic: bool = False
    spare: bool = False

    @property
    def complete(self) -> bool:
        """Whether every host that the shape asks for is there."""
        return len(self.hosts) == self.expected_hosts


@dataclass(frozen=True, slots=True)
class Slice:
    """Chips that ICI joins for one gang. ``cubes`` in the order of the slice's torus; ``shape`` in chips."""

    id: SliceId
    shape: tuple[int, ...]
    cubes: tuple[CubeId, ...]
    hosts: tuple[HostId, ...]
    gang: GangId | None
    role: str = ""
    index: int = 0


Scope = tuple[str, str]
"""``fleet``, ``cluster``, ``pod`` or ``cube``, and which one of them."""


@dataclass(frozen=True)
class Fleet:
    """Everything that exists at ``as_of``. Look-ups by id are O(1).

    ``strangers``: pods that hold chips and belong to no gang that sliceward knows (``namespace/name``), by host.
    """

    as_of: datetime
    hosts: Mapping[HostId, Host]
    cubes: Mapping[CubeId, Cube]
    slices: Mapping[SliceId, Slice]
    gangs: Mapping[GangId, Gang]
    problems: tuple[Problem, ...] = ()
    strangers: Mapping[HostId, tuple[str, ...]] = field(default_factory=dict)

    @cached_property
    def gangs_on(self) -> Mapping[HostId, tuple[GangId, ...]]:
        """Gangs with a member that has not ended on each host."""
        found: dict[HostId, list[GangId]] = {}
        for gang in self.gangs.values():
            for host in gang.hosts:
                found.setdefault(host, []).append(gang.id)
        return {host: tuple(sorted(gangs)) for host, gangs in found.items()}

    @cached_property
    def slices_in(self) -> Mapping[CubeId, tuple[SliceId, ...]]:
        """Slices that have chips in each cube, sorted."""
        found: dict[CubeId, list[SliceId]] = {}
        for one in self.slices.values():
            for cube in one.cubes:
                found.setdefault(cube, []).append(one.id)
        return {cube: tuple(sorted(slices)) for cube, slices in found.items()}

    @cached_property
    def marked(self) -> Mapping[HostId, tuple[Mark, ...]]:
        """Hosts that carry marks of ours, with those."""
        return {host.id: host.our_marks for host in self.hosts.values() if host.our_marks}

    @cached_property
    def scopes(self) -> Mapping[HostId, tuple[Scope, ...]]:
        """What each host counts in: the fleet, its cluster, and the pod and the cube that it lies in."""
        found: dict[tuple[str, PodId | None, CubeId | None], tuple[Scope, ...]] = {}

        def of(host: Host) -> tuple[Scope, ...]:
            place = (host.id.cluster, host.pod, host.cube)
            if place not in found:
                named = (("pod", host.pod), ("cube", host.cube))
                inner = tuple((kind, str(part)) for kind, part in named if part is not None)
                found[place] = (("fleet", ""), ("cluster", host.id.cluster), *inner)
            return found[place]

        return {host.id: of(host) for host in self.hosts.values()}

    @cached_property
    def hosts_in(self) -> Mapping[Scope, int]:
        """How many hosts count in each scope."""
        found: Counter[Scope] = Counter()
        for scopes, count in Counter(self.scopes.values()).items():
            for scope in scopes:
                found[scope] += count
        return found

    @cached_property
    def vacant(self) -> tuple[Cube, ...]:
        """Whole cubes that nobody uses and whose hosts are all in service."""

        def free(host: HostId) -> bool:
            return not self.gangs_on.get(host) and not self.strangers.get(host) and self.hosts[host].available

        return tuple(cube for cube in self.cubes.values() if cube.hosts and cube.complete and all(map(free, cube.hosts)))

    def counted(self) -> Fleet:
        """Give itself, with all counted by now that is asked of each snapshot: in the thread that read it, where there is an event loop.

        Else the loop would count, or wait: until Python 3.12 who counts something of one fleet lets nobody count it of another.
        """
        _ = self.gangs_on, self.slices_in, self.marked, self.scopes, self.hosts_in, self.vacant
        return self

    def chips_at(self, cube: CubeId) -> Mapping[tuple[int, ...], ChipId]:
        """Give the chips of a cube by their place in it, as far as places are known."""
        known = self._chips_at.get(cube)
        if known is None:
            hosts = [self.hosts[host] for host in self.cubes[cube].hosts if host in self.hosts] if cube in self.cubes else []
            known = {at: ChipId(host.id.cluster, host.id.name, n) for host in hosts for n, at in enumerate(host.coordinates)}
            self._chips_at[cube] = known
        return known

    @cached_property
    def _chips_at(self) -> dict[CubeId, Mapping[tuple[int, ...], ChipId]]:
        """What was asked for so far: for all of 10,000 hosts at once it takes a tenth of a second."""
        return {}

    def domain_of(self, part: PartId) -> tuple[HostId, ...]:
        """Give the hosts that leave service together when ``part`` is sick: those of its cube, else the part's own host.

        Empty where the part is unknown or is not inside one cube (a link between cubes, a gang, a cluster).
        """
        if isinstance(part, ClusterId | PodId | GangId | SwitchId | DomainId) or (
            isinstance(part, LinkId) and not self.is_inside_one_cube(part)
        ):
            return ()
        cubes = self.cubes_of(part)
        if len(cubes) == 1:
            return self.cubes[cubes[0]].hosts
        host = part.host_id if isinstance(part, ChipId) else part
        return (host,) if isinstance(host, HostId) and host in self.hosts else ()

    def cubes_of(self, part: PartId) -> tuple[CubeId, ...]:  # noqa: PLR0911 (one a kind of part)
        """Give the cubes that ``part`` touches, sorted: one for host, chip, inner link; two for a link between cubes."""
        match part:
            case CubeId():
                return (part,) if part in self.cubes else ()
            case HostId():
                return self._cubes_of_hosts((part,))
            case ChipId():
                return self._cubes_of_hosts((part.host_id,))
            case LinkId():
                return self._cubes_of_hosts(end.host_id for end in part.ends)
            case SliceId():
                return tuple(sorted(self.slices[part].cubes)) if part in self.slices else ()
            case GangId():
                return self._cubes_of_hosts(self.gangs[part].hosts) if part in self.gangs else ()
            case PodId():
                return tuple(sorted(cube.id for cube in self.cubes.values() if cube.pod == part))
            case ClusterId():
                return tuple(sorted(cube for cube in self.cubes if cube.cluster == part.name))
            case SwitchId() | DomainId():
                return ()
            case _:
                assert_never(part)

    def is_inside_one_cube(self, link: LinkId) -> bool:
        """Whether both ends are certainly neighbours inside one cube, so that the link is copper and the cube its domain.

        2D generations have no optical links: both ends in one node pool is enough. Unknown places give False.
        """
        one, other = (self.hosts.get(end.host_id) for end in link.ends)
        if one is None or other is None or one.cube is None or one.cube != other.cube or one.cube not in self.cubes:
            return False
        edges = GENERATIONS[one.generation].cube if one.generation in GENERATIONS else None
        if edges is None:
            return True
        places = [self.place_of(end) for end in link.ends]
        if places[0] is None or places[1] is None:
            return False
        blocks = [tuple(x // edge for x, edge in zip(place, edges, strict=True)) for place in places if place]
        apart = sum(abs(a - b) for a, b in zip(places[0], places[1], strict=True))
        return blocks[0] == blocks[1] and apart == 1

    def place_of(self, chip: ChipId) -> tuple[int, ...] | None:
        """Give the place of a chip in its cube, None where it is unknown."""
        host = self.hosts.get(chip.host_id)
        return host.coordinates[chip.index] if host is not None and chip.index < len(host.coordinates) else None

    def _cubes_of_hosts(self, hosts: Iterable[HostId]) -> tuple[CubeId, ...]:
        found = {self.hosts[host].cube for host in hosts if host in self.hosts}
        return tuple(sorted(cube for cube in found if cube is not None and cube in self.cubes))


def joined(fleets: Iterable[Fleet]) -> Fleet:
    """Give one fleet of several clusters' fleets; it is as old as the oldest of them.

    Raises:
        ValueError: there is none.
    """
    parts = tuple(fleets)
    return Fleet(
        as_of=min(fleet.as_of for fleet in parts),
        hosts={key: value for fleet in parts for key, value in fleet.hosts.items()},
        cubes={key: value for fleet in parts for key, value in fleet.cubes.items()},
        slices={key: value for fleet in parts for key, value in fleet.slices.items()},
        gangs={key: value for fleet in parts for key, value in fleet.gangs.items()},
        problems=tuple(problem for fleet in parts for problem in fleet.problems),
        strangers={key: value for fleet in parts for key, value in fleet.strangers.items()},
    )
