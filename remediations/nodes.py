"""Writing to the hosts of a domain, one versioned patch each, until all are as wanted."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from sliceward.remediations.ports import NODE, one_after_another
from sliceward.topology.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sliceward.remediations.ports import Cluster, Object, Together


@dataclass(slots=True)
class Written:
    """How far a round of writing came. ``changed`` and ``already``: as wanted now; ``contested``: somebody else wrote first."""

    changed: list[str] = field(default_factory=list)
    already: list[str] = field(default_factory=list)
    contested: list[str] = field(default_factory=list)

    @property
    def good(self) -> list[str]:
        """Names of the hosts that are as wanted."""
        return sorted(self.changed + self.already)


async def read_all(
    cluster: Cluster, names: Iterable[str], *, together: Together = one_after_another
) -> tuple[dict[str, Object], list[str]]:
    """Give the nodes of these names, fresh, and the names that no longer exist."""
    wanted = sorted(set(names))
    nodes = await together([partial(cluster.get, NODE, name) for name in wanted])
    found = {name: node for name, node in zip(wanted, nodes, strict=True) if isinstance(node, dict)}
    return found, [name for name in wanted if name not in found]


async def write_all(
    cluster: Cluster,
    nodes: Iterable[Object],
    make: Callable[[Object], Object | None],
    *,
    together: Together = one_after_another,
) -> Written:
    """Patch each node as ``make`` says (None: it is as wanted). A conflict leaves that one for the next call."""
    patches = {str(node["metadata"]["name"]): make(node) for node in nodes}
    due = {name: patch for name, patch in patches.items() if patch is not None}
    answers = await together([partial(cluster.patch, NODE, name, patch) for name, patch in due.items()])
    contested = [name for name, answer in zip(due, answers, strict=True) if isinstance(answer, Conflict)]
    return Written(
        changed=[name for name in due if name not in contested],
        already=[name for name in patches if name not in due],
        contested=contested,
    )


def some(names: Iterable[str], most: int = 5) -> str:
    """Name the first few of many."""
    all_names = sorted(names)
    more = f" and {len(all_names) - most} more" if len(all_names) > most else ""
    return ", ".join(all_names[:most]) + more
