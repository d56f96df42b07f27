"""Writing to the hosts of a domain, one versioned patch each, until all are as wanted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sliceward.remediations.ports import NODE
from sliceward.topology.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sliceward.remediations.ports import Cluster, Object


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


async def read_all(cluster: Cluster, names: Iterable[str]) -> tuple[dict[str, Object], list[str]]:
    """Give the nodes of these names, fresh, and the names that no longer exist."""
    found: dict[str, Object] = {}
    missing: list[str] = []
    for name in sorted(set(names)):
        node = await cluster.get(NODE, name)
        if node is None:
            missing.append(name)
        else:
            found[name] = node
    return found, missing


async def write_all(cluster: Cluster, nodes: Iterable[Object], make: Callable[[Object], Object | None]) -> Written:
    """Patch each node as ``make`` says (None: it is as wanted). A conflict leaves that one for the next call."""
    written = Written()
    for node in nodes:
        name = node["metadata"]["name"]
        patch = make(node)
        if patch is None:
            written.already.append(name)
            continue
        try:
            await cluster.patch(NODE, name, patch)
        except Conflict:
            written.contested.append(name)
        else:
            written.changed.append(name)
    return written


def some(names: Iterable[str], most: int = 5) -> str:
    """Name the first few of many."""
    all_names = sorted(names)
    more = f" and {len(all_names) - most} more" if len(all_names) > most else ""
    return ", ".join(all_names[:most]) + more
