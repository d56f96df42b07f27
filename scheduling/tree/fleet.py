"""A fleet as a tree, as one gang sees it, and what that gang asks of it.

The other folders speak of hosts, gangs and chips; here they become domains, pod sets and amounts. A host that is not surely free
for the gang takes none of its pods.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sliceward.scheduling.occupancy import Grade
from sliceward.scheduling.tree.amounts import POD_SLOTS
from sliceward.scheduling.tree.ask import Ask, Layer
from sliceward.scheduling.tree.suiting import Host, Template
from sliceward.scheduling.tree.tree import LabelTree
from sliceward.topology.names import NAMES, Names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sliceward.scheduling.seating import Room
    from sliceward.scheduling.tree.ask import Where
    from sliceward.topology.fleet import Fleet
    from sliceward.topology.gangs import Gang


def tree_of(fleet: Fleet, room: Room, levels: Sequence[str], names: Names = NAMES) -> LabelTree:
    """Give the tree of the hosts in the gang's cluster: chips by host, and a slot for a pod with each chip.

    ``room``: the grounds as the gang sees them; what is not usable there takes no pod.

    Raises:
        Misconfigured: as `LabelTree.of`.
    """
    grounds = room.views[0].values()
    free = {host for ground in grounds for host in ground.hosts if ground.occupancy.is_usable(host, Grade.DEGRADED)}
    return LabelTree.of(
        levels,
        [
            Host(
                name=host.id.name,
                labels={names.hostname: host.id.name, **host.labels},
                allocatable={names.tpu_resource: host.chips, POD_SLOTS: host.chips},
                usable=host.id in free,
            )
            for host in fleet.hosts.values()
            if host.id.cluster == room.gang.cluster
        ],
    )


def asks_of(gang: Gang, *, where: Where | None = None, slices_at: str | None = None, names: Names = NAMES) -> list[Ask]:
    """Give one pod set for each role of a gang. ``slices_at``: the level that no slice must leave; None: slices may be torn.

    Labels that hosts only get once the gang is planned are not asked for.
    """
    later = {names.gang, names.slice, names.slice_topology}
    return [
        Ask(
            name=role.name,
            count=role.slices * role.hosts,
            requests={names.tpu_resource: role.chips_per_host},
            where=where,
            layers=(Layer(slices_at, role.hosts),) if slices_at is not None else (),
            template=Template({key: value for key, value in role.node_selector.items() if key not in later}),
        )
        for role in gang.roles
    ]
