"""A cluster that answers only what an action has declared, and notes what was asked: the right too few turns a test red."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from sliceward.remediations.action import Verb
    from sliceward.remediations.ports import Cluster, Kind, Object

OWN = "sliceward"
"""Where sliceward itself lives in these tests."""
Right = tuple[str, str, str, bool]
"""Group, resource, verb, and whether it is for sliceward's own namespace alone."""


def rights_of(verbs: Sequence[Verb]) -> set[Right]:
    """Give each single right that is declared."""
    return {(verb.group, verb.resource, name, verb.own) for verb in verbs for name in verb.verbs}


@dataclass
class DeclaredCluster:
    """A `Cluster` over another, for one action. ``used``: the declared rights that were needed."""

    behind: Cluster
    verbs: Sequence[Verb]
    used: set[Right] = field(default_factory=set)
    name: str = field(init=False)

    def __post_init__(self) -> None:
        self.name = self.behind.name

    async def get(self, kind: Kind, name: str, namespace: str = "") -> Object | None:
        self._need("get", kind, namespace)
        return await self.behind.get(kind, name, namespace)

    async def list(self, kind: Kind, *, namespace: str = "", labels: str = "", fields: str = "") -> Sequence[Object]:
        self._need("list", kind, namespace)
        return await self.behind.list(kind, namespace=namespace, labels=labels, fields=fields)

    async def create(self, kind: Kind, body: Object, namespace: str = "") -> Object:
        self._need("create", kind, namespace)
        self._need("get", kind, namespace)  # the one that is there already is read
        return await self.behind.create(kind, body, namespace)

    async def patch(self, kind: Kind, name: str, body: Object, namespace: str = "") -> Object:
        self._need("patch", kind, namespace)
        return await self.behind.patch(kind, name, body, namespace)

    async def delete(self, kind: Kind, name: str, namespace: str = "", *, uid: str = "", grace: timedelta | None = None) -> bool:
        self._need("delete", kind, namespace)
        if uid:
            self._need("get", kind, namespace)  # after a conflict, to see whether it is another by now
        return await self.behind.delete(kind, name, namespace, uid=uid, grace=grace)

    def _need(self, verb: str, kind: Kind, namespace: str) -> None:
        wide = (kind.api.rpartition("/")[0], kind.plural, verb, False)
        own = (*wide[:3], True)
        declared = rights_of(self.verbs)
        right = own if own in declared and namespace == OWN else wide
        assert right in declared, f"may not {verb} {kind.plural} in {namespace or 'all namespaces'}: it has not declared so"
        self.used.add(right)
