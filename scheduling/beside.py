"""What stands beside a fleet: all that is known and wanted and that the fleet itself does not say.

The coordinator builds it in one place, from its configuration, its store and what its clusters tell; whoever places, repairs, explains
or asks is given the same value. So what is said of a gang is what would be done with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sliceward.scheduling.costs import Costs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sliceward.scheduling.ground import Mix
    from sliceward.scheduling.quota import Account, Quota
    from sliceward.scheduling.rights import Displaced
    from sliceward.scheduling.told import Told
    from sliceward.topology.ids import GangId, HostId, LinkId

SURE = 0.999
"""How sure the spares make it, where nobody says, that every used cube is there or can be replaced."""


@dataclass(frozen=True, slots=True)
class Beside:
    """What is known beside the fleet itself.

    ``reserved``: hosts that runs keep for gangs; ``healing``: gangs of these runs, for which spares are; ``stopped``: those of them that
    hold nothing because a run stopped them.
    ``sick``: hosts of which more is known than the fleet says, and why; ``lost``: those of them that are surely dead.
    ``links``: condemned. ``risks``: failures of a host to be expected a day.
    ``quota``, ``protected``, ``mix``, ``costs``: as in `Snapshot`; ``elsewhere``: chips that tenants hold in clusters that the fleet has not.
    ``levels``: by cluster, the labels of its tree from the top, the slice's own last. ``sure``: how sure spares are to make it.
    ``told``: what gangs told of themselves. ``past``: who displaced whom lately. ``moved``: when gangs were moved lately.
    """

    reserved: Mapping[HostId, GangId] = field(default_factory=dict)
    healing: frozenset[GangId] = frozenset()
    stopped: frozenset[GangId] = frozenset()
    sick: Mapping[HostId, str] = field(default_factory=dict)
    lost: frozenset[HostId] = frozenset()
    links: frozenset[LinkId] = frozenset()
    risks: Mapping[HostId, float] = field(default_factory=dict)
    quota: Quota | None = None
    protected: frozenset[str] = frozenset()
    elsewhere: Mapping[Account, int] = field(default_factory=dict)
    mix: Mapping[str, Mix] = field(default_factory=dict)
    costs: Costs = field(default_factory=Costs)
    levels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    sure: float = SURE
    told: Mapping[GangId, Told] = field(default_factory=dict)
    past: tuple[Displaced, ...] = ()
    moved: Mapping[GangId, Sequence[datetime]] = field(default_factory=dict)


NOTHING_BESIDE = Beside()
