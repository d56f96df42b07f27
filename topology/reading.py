"""Plain Kubernetes JSON in, a frozen `Fleet` out.

Nothing here raises on what a cluster contains: an object that cannot be read, or that contradicts another, becomes a
`Problem` with a name, and the others are read as if it were not there. Problem names and what they mean:

=======================  ===========================================================================================
MalformedObject          a field has the wrong type, or a name is none; the object is set aside
UnknownAccelerator       a node (or a gang's selector) names a TPU generation that sliceward does not know
MissingLabel             a label that places the object is absent
ContradictoryLabels      labels disagree with each other, with the generation, or with the nodes beside them
MissingIndex             hosts without index, or pods without rank: nothing is done to them by position
DoubledIndex             one index on two hosts of a cube: neither is used by position
DoubledNode              two nodes of one name in one cluster
ContradictoryPositions   what chips report disagrees with itself or with the labels
IncompleteCube           a cube has fewer (or more) hosts than its shape
UnknownHost              a pod is bound to a node that does not exist
UnknownCube              a Slice names a partition that no node carries
UnknownGang              pods hold chips and belong to no gang that can be read
NotIndexed               a Job on several hosts without completion index
ToleratesEverything      a gang that no taint keeps away
=======================  ===========================================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeGuard

from sliceward.topology.fleet import Fleet
from sliceward.topology.members import read_members
from sliceward.topology.names import NAMES, Names
from sliceward.topology.nodes import read_nodes
from sliceward.topology.owners import read_owners
from sliceward.topology.problems import Desk, Memory
from sliceward.topology.slicing import read_slices

if TYPE_CHECKING:
    from datetime import datetime

    from sliceward.topology.ids import HostId
    from sliceward.topology.places import Positions


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads one cluster again and again: of what did not change since the last time, only the joining is done anew.

    For objects that are never changed in place, as mirrors hold them: an object is known again by being the same one. A few
    changes among 25,000 nodes and as many pods cost a tenth of the first reading. A nameless object keeps its first number.
    """

    cluster: str
    names: Names = NAMES
    _memory: Memory = field(default_factory=Memory)

    def read(  # noqa: PLR0913 (one argument a kind of object)
        self,
        *,
        nodes: Iterable[object],
        pods: Iterable[object],
        jobsets: Iterable[object] = (),
        jobs: Iterable[object] = (),
        slices: Iterable[object] = (),
        workloads: Iterable[object] = (),
        as_of: datetime,
        positions: Mapping[HostId, object] | None = None,
    ) -> Fleet:
        """Give what `read_fleet` would."""
        self._memory.turn()
        desk = Desk(self.cluster, self.names, self._memory)
        seen = read_nodes(desk, nodes, _checked(desk, positions or {}))
        owners = read_owners(desk, jobsets, jobs, workloads, as_of)
        crewed, strangers = read_members(desk, pods, owners, seen.hosts, seen.names)
        found, gangs = read_slices(desk, slices, seen, crewed)
        return Fleet(
            as_of=as_of,
            hosts=seen.hosts,
            cubes=seen.cubes,
            slices=found,
            gangs=gangs,
            problems=tuple(desk.problems),
            strangers=strangers,
        )


def read_fleet(  # noqa: PLR0913 (one argument a kind of object)
    cluster: str,
    *,
    nodes: Iterable[object],
    pods: Iterable[object],
    jobsets: Iterable[object] = (),
    jobs: Iterable[object] = (),
    slices: Iterable[object] = (),
    workloads: Iterable[object] = (),
    names: Names = NAMES,
    as_of: datetime,
    positions: Mapping[HostId, object] | None = None,
) -> Fleet:
    """Give the fleet of one cluster as its objects show it at ``as_of``.

    ``slices`` are ``accelerator.gke.io`` Slices, ``workloads`` Kueue's. ``positions``: what chips report, for each host the
    coordinates in its slice by chip index (``libtpu.sdk.slice.get_chip_coordinates``); kept over restarts by the caller.

    Raises:
        Misconfigured: ``cluster`` is no name. What the objects hold never raises.
    """
    return Reader(cluster, names).read(
        nodes=nodes,
        pods=pods,
        jobsets=jobsets,
        jobs=jobs,
        slices=slices,
        workloads=workloads,
        as_of=as_of,
        positions=positions,
    )


def _checked(desk: Desk, positions: Mapping[HostId, object]) -> dict[HostId, Positions]:
    """Positions come from inside users' jobs: nothing about their types is certain."""
    good: dict[HostId, Positions] = {}
    for host, chips in positions.items():
        if host.cluster != desk.cluster:
            continue
        places = desk.once(("positions", host), (chips,), partial(_places, desk, host, chips))
        if places is not None:
            good[host] = places
    return good


def _places(desk: Desk, host: HostId, chips: object) -> Positions | None:
    if _are_coordinates(chips):
        return tuple(tuple(at) for at in chips)
    desk.report("MalformedObject", str(host), "its chips' coordinates are no list of whole numbers", "They are not used")
    return None


def _are_coordinates(chips: object) -> TypeGuard[Sequence[Sequence[int]]]:
    if not isinstance(chips, Sequence) or isinstance(chips, str | bytes):
        return False
    return all(isinstance(at, Sequence) and not isinstance(at, str | bytes) and all(type(x) is int for x in at) for at in chips)
