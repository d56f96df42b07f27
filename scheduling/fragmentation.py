"""How much of the free room can be used: four figures for each generation of each cluster, from what the grounds know.

The largest shape that has a place; what is alive for each expected shape; the share of the free chips that a random request cannot
use (Weng et al., "Beware of Fragmentation", ATC 2023, with shapes for sizes); and the chips that are healthy and free and yet no
part of a whole cube or pool, by what strands them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from math import prod
from typing import TYPE_CHECKING

from sliceward.scheduling.ground import Want, cluster_of
from sliceward.scheduling.occupancy import Cause, Grade, Occupancy
from sliceward.topology.generations import GENERATIONS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sliceward.scheduling.ground import Ground, Mix
    from sliceward.scheduling.snapshot import Snapshot
    from sliceward.topology.generations import Shape
    from sliceward.topology.ids import HostId


class Stranding(StrEnum):
    """What strands free chips, in the order in which it is asked for: a chip counts once."""

    SICK = "sick host in its cube"
    HELD = "partly used cube"
    CLOSED = "closed host in its cube"
    BLOCK = "block boundary"
    QUOTA = "quota"


@dataclass(frozen=True, slots=True)
class Fragmentation:
    """The figures of one generation in one cluster.

    ``chips``: all of them; ``free``: healthy, held by nobody and closed to nobody. ``largest``: None where no shape has a place.
    ``alive``: by expected shape what `Ground.alive` counts, spares left out. ``unusable``: share of free chips, 0 to 1.
    ``stranded``: free chips by cause.
    """

    cluster: str
    generation: str
    chips: int
    free: int
    largest: Shape | None
    alive: Mapping[Shape, int]
    unusable: float
    stranded: Mapping[Stranding, int]


def fragmentation_of(snapshot: Snapshot) -> tuple[Fragmentation, ...]:
    """Give the figures of every generation in every cluster, in the order of their names."""
    kinds: dict[tuple[str, str], list[Ground]] = {}
    for key in sorted(snapshot.grounds, key=str):
        ground = snapshot.grounds[key]
        kinds.setdefault((cluster_of(key), ground.generation), []).append(ground)
    return tuple(_figures(snapshot, each, kinds[each]) for each in sorted(kinds))


def _figures(snapshot: Snapshot, kind: tuple[str, str], grounds: Sequence[Ground]) -> Fragmentation:
    cluster, generation = kind
    mix = snapshot.terms(generation, None).mix
    free = sum(chips for ground in grounds for host, chips in ground.hosts.items() if ground.occupancy.is_usable(host))
    shapes = [shape for ground in grounds if (shape := ground.largest()) is not None]
    stranded = _stranded(grounds)
    stranded[Stranding.BLOCK] = round(_at_boundaries(grounds, generation, mix))
    stranded[Stranding.QUOTA] = _without_quota(snapshot, generation, free)
    return Fragmentation(
        cluster=cluster,
        generation=generation,
        chips=sum(chips for ground in grounds for chips in ground.hosts.values()),
        free=free,
        largest=max(shapes, key=lambda shape: (prod(shape), shape), default=None),
        alive={shape: sum(ground.alive(shape) for ground in grounds) for shape, _ in mix},
        unusable=_unusable(grounds, generation, mix, free),
        stranded={cause: stranded[cause] for cause in Stranding if stranded[cause]},
    )


def _unusable(grounds: Sequence[Ground], generation: str, mix: Mix, free: int) -> float:
    """Give the share of free chips that slices of a random shape, as many as fit, would leave.

    Shapes that would not fit if all were healthy and free are no matter of fragmentation, and left out.
    """
    if not free:
        return 0.0
    empty = [ground.changed(Occupancy(), tuple(ground.hosts)) for ground in grounds]
    left = all_of = 0.0
    for shape, probability in mix:
        want = Want(generation, shape)
        if any(ground.room(want) for ground in empty):
            used = sum(ground.room(want) for ground in grounds) * want.chips
            left += probability * max(0.0, 1 - used / free)
            all_of += probability
    return left / all_of if all_of else 0.0


def _stranded(grounds: Sequence[Ground]) -> Counter[Stranding]:
    """Count free chips in cubes and pools that are not free as a whole, by what takes the rest."""
    found: Counter[Stranding] = Counter()
    for ground in grounds:
        for hosts in ground.parts.values():
            free = [host for host in hosts if ground.occupancy.is_usable(host)]
            if 0 < len(free) < len(hosts):
                found[_why(ground.occupancy, hosts)] += sum(ground.hosts[host] for host in free)
    return found


def _why(occupancy: Occupancy, hosts: Collection[HostId]) -> Stranding:
    reasons = {reason[0] for host in hosts if (reason := occupancy.why_not(host, Grade.HEALTHY)) is not None}
    if reasons & {Cause.SICK, Cause.UNKNOWN}:
        return Stranding.SICK
    return Stranding.HELD if Cause.HELD in reasons else Stranding.CLOSED


def _at_boundaries(grounds: Sequence[Ground], generation: str, mix: Mix) -> float:
    """Count the chips that expected slices of several cubes would use if their blocks could be joined, and cannot."""
    kind = GENERATIONS[generation]
    if kind.cube is None:
        return 0.0
    cubes = [ground.room(Want(generation, kind.cube)) for ground in grounds]
    lost = all_of = 0.0
    for shape, probability in mix:
        count = prod(shape) // prod(kind.cube)
        if 1 < count <= sum(cubes):
            apart = sum(ground.room(Want(generation, shape)) for ground in grounds)
            lost += probability * max(0, sum(cubes) // count - apart) * prod(shape)
            all_of += probability
    return lost / all_of if all_of else 0.0


def _without_quota(snapshot: Snapshot, generation: str, free: int) -> int:
    """Count free chips that no tenant with a quota may take; none where nobody has one, or somebody who runs has no limit."""
    limited = {tenant for tenant, each in snapshot.quota if each == generation}
    running = {gang.tenant for gang in snapshot.gangs.values() if gang.generation == generation}
    if not limited or running - limited:
        return 0
    left = sum(max(0, snapshot.quota_left((tenant, generation)) or 0) for tenant in limited)
    return max(0, free - left)
