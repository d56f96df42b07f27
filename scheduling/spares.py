"""How many cubes of each block to keep free, so that what fails can be replaced at once with a probability that was chosen.

A spare may be used by favour: a gang of the lowest priority sits there until a repair needs it, and is then the cheapest to displace.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sliceward.scheduling.costs import DAY
from sliceward.scheduling.cubes.block import Block
from sliceward.scheduling.cubes.odds import healthy_of
from sliceward.scheduling.occupancy import Grade
from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sliceward.scheduling.ground import GroundId
    from sliceward.scheduling.snapshot import Snapshot
    from sliceward.topology.ids import GangId, HostId

USUAL_RISK = 0.0008
"""Failures of a host per day where nobody has counted them: 0.08 % of machines a day (Zu et al., NSDI 2024, 5.2)."""

LOWEST = 0
"""Gangs of less priority than this sit by favour: on spares and on what others are owed."""


@dataclass(frozen=True, slots=True)
class Spares:
    """The spares of one block.

    ``used``: cubes that gangs hold by right. ``kept``: whole spares that nobody holds by right; ``lent``: those of them on which
    somebody sits by favour. ``wanted``: so many make it as sure as was asked that every used cube is there or can be replaced;
    None: the block has not so many. ``odds``: how sure it is with those that are kept.
    """

    block: GroundId
    used: int
    kept: int
    lent: int
    wanted: int | None
    odds: float

    @property
    def short(self) -> bool:
        """Whether more should be kept."""
        return self.wanted is None or self.kept < self.wanted


def spares_of(snapshot: Snapshot, target: float = 0.999) -> tuple[Spares, ...]:
    """Give the spares of every block of cubes, in the order of their names.

    Raises:
        Misconfigured: ``target`` is no probability below 1.
    """
    if not 0 < target < 1:
        raise Misconfigured("target of spares", f"is {target}", "Give a probability above 0 and below 1, for example 0.999")
    favoured = {key for key, gang in snapshot.gangs.items() if gang.priority < LOWEST}
    blocks = (snapshot.grounds[key] for key in sorted(snapshot.grounds, key=str))
    return tuple(_of_block(block, snapshot, favoured, target) for block in blocks if isinstance(block, Block))


def _of_block(block: Block, snapshot: Snapshot, favoured: set[GangId], target: float) -> Spares:
    days = snapshot.costs.repair / DAY
    used, kept, idle = list[float](), list[float](), list[float]()
    lent = 0
    for room in block.rooms:
        holders = {block.occupancy.holders[host] for host in room.hosts if host in block.occupancy.holders}
        each = _is_there(block, room.hosts, days)
        well = not room.said and all(block.occupancy.standing(host).grade is Grade.HEALTHY for host in room.hosts)
        if holders - favoured:
            used.append(each)
        elif well and room.spare:
            kept.append(each)
            lent += bool(holders)
        elif well:
            idle.append(each)
    more = [*kept, *idle]
    wanted = next((count for count in range(len(more) + 1) if _odds(used, more[:count]) >= target), None)
    return Spares(block.id, len(used), len(kept), lent, wanted, _odds(used, kept))


def _odds(used: Sequence[float], spares: Sequence[float]) -> float:
    """Give the probability that as many cubes are there as are used."""
    return min(1.0, sum(healthy_of([*used, *spares])[len(used) :]))


def _is_there(block: Block, hosts: Sequence[HostId], days: float) -> float:
    """Give the share of time that a cube is whole: each host fails so often and is out so long."""
    share = 1.0
    for host in hosts:
        share /= 1 + (block.occupancy.standing(host).risk or USUAL_RISK) * days
    return share
