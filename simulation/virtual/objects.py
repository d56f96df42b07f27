"""What an API server holds, in memory: objects with versions, merge patches, graceful deletion, and who is told of changes.

Objects are never changed in place: a write makes a new one that shares what did not change, so that copies cost nothing. The rules of
versions, generations, status and grace are those of `tests/contracts/test_cluster.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sliceward.remediations.ports import POD, Kind, Object
from sliceward.simulation.kube import selectors
from sliceward.simulation.kube.patches import merge
from sliceward.topology.errors import Conflict, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

Key = tuple[str, str]

_FIELD = re.compile(r"([^!=]+)(!?=)=?(.*)")


@dataclass(slots=True)
class Objects:
    """``listeners`` are told of each change: kind, before, after, and whether it came through the port (ours)."""

    clock: Callable[[], datetime]
    listeners: list[Callable[[Kind, Object | None, Object | None, bool], None]] = field(default_factory=list)
    _kinds: dict[Kind, dict[Key, Object]] = field(default_factory=dict)
    _version: int = 1

    def all(self, kind: Kind) -> Sequence[Object]:
        """Give all objects of a kind, in the order in which they were made."""
        return tuple(self._kinds.get(kind, {}).values())

    def get(self, kind: Kind, name: str, namespace: str = "") -> Object | None:
        """Give one."""
        return self._kinds.get(kind, {}).get((namespace, name))

    def select(self, kind: Kind, *, namespace: str = "", labels: str = "", fields: str = "") -> Sequence[Object]:
        """Give all that match, sorted by name."""
        terms, wanted = _terms(labels), _fields(fields)
        found = []
        for (place, _), each in sorted(self._kinds.get(kind, {}).items()):
            own = each["metadata"].get("labels") or {}
            if (
                namespace in ("", place)
                and all(term.passes(own) for term in terms)
                and all((_at(each, path) == value) is same for path, same, value in wanted)
            ):
                found.append(each)
        return found

    def put(self, kind: Kind, body: Object, *, ours: bool = False) -> Object:
        """Make or replace an object whole, with its status."""
        meta = body["metadata"]
        place = (meta.get("namespace", "default") if kind.namespaced else "", meta["name"])
        self._version += 1
        own = {"uid": f"uid-{self._version}", "generation": 1, "creationTimestamp": stamp(self.clock()), **meta}
        if kind.namespaced:
            own["namespace"] = place[0]
        own["resourceVersion"] = str(self._version)
        return self._set(kind, place, {**body, "metadata": own}, ours=ours)

    def create(self, kind: Kind, body: Object, namespace: str = "") -> Object:
        """Create as a client does: the status is not taken; an object of that name is given instead."""
        known = self.get(kind, body["metadata"]["name"], namespace)
        if known is not None:
            return known
        fresh = {key: value for key, value in body.items() if key != "status"}
        if kind == POD:
            fresh["status"] = {"phase": "Pending"}
        fresh["metadata"] = {**body["metadata"], **({"namespace": namespace} if kind.namespaced else {})}
        return self.put(kind, fresh, ours=True)

    def patch(self, kind: Kind, name: str, body: Object, namespace: str = "", *, ours: bool = True) -> Object:
        """Merge-patch. Raises `Conflict` for a stale version, `Refused` where there is no such object."""
        known = self.get(kind, name, namespace)
        if known is None:
            raise Refused(f"PATCH {kind.plural}/{name}: 404 NotFound")
        version = body.get("metadata", {}).get("resourceVersion")
        if version is not None and version != known["metadata"]["resourceVersion"]:
            raise Conflict(f"PATCH {kind.plural}/{name}: 409 Conflict the object has been modified")
        if ours and "status" in body:
            body = {part: value for part, value in body.items() if part != "status"}
        new = merge(known, body)
        if new == known:
            return known
        self._version += 1
        meta = {**new["metadata"], "resourceVersion": str(self._version)}
        if new.get("spec") != known.get("spec"):
            meta["generation"] = known["metadata"].get("generation", 1) + 1
        return self._set(kind, (namespace, name), {**new, "metadata": meta}, ours=ours)

    def delete(self, kind: Kind, name: str, namespace: str = "", *, uid: str = "", grace: timedelta | None = None) -> bool:
        """Delete as a client does, with grace where a kubelet has a say."""
        known = self.get(kind, name, namespace)
        if known is None or (uid and known["metadata"]["uid"] != uid):
            return False
        seconds = _grace(kind, known, grace)
        if seconds or known["metadata"].get("finalizers"):
            ends = stamp(self.clock() + timedelta(seconds=seconds))
            own = {"deletionTimestamp": ends, "deletionGracePeriodSeconds": seconds}
            self.patch(kind, name, {"metadata": own}, namespace)
        else:
            self.drop(kind, name, namespace, ours=True)
        return True

    def drop(self, kind: Kind, name: str, namespace: str = "", *, ours: bool = False) -> None:
        """Remove at once, if it is there."""
        before = self._kinds.get(kind, {}).pop((namespace, name), None)
        if before is not None:
            self._version += 1
            self._tell(kind, before, None, ours=ours)

    def _set(self, kind: Kind, place: Key, new: Object, *, ours: bool) -> Object:
        held = self._kinds.setdefault(kind, {})
        before = held.get(place)
        held[place] = new
        self._tell(kind, before, new, ours=ours)
        return new

    def _tell(self, kind: Kind, before: Object | None, after: Object | None, *, ours: bool) -> None:
        for listener in self.listeners:
            listener(kind, before, after, ours)


def stamp(at: datetime) -> str:
    """Give a time as Kubernetes writes it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _grace(kind: Kind, known: Object, grace: timedelta | None) -> int:
    if kind != POD or not known.get("spec", {}).get("nodeName"):
        return 0
    if grace is not None:
        return int(grace.total_seconds())
    return int(known["spec"].get("terminationGracePeriodSeconds", 30))


@lru_cache(maxsize=1024)
def _terms(labels: str) -> tuple[selectors.Term, ...]:
    return selectors.parse_labels(labels)


@lru_cache(maxsize=1024)
def _fields(text: str) -> Iterable[tuple[tuple[str, ...], bool, str]]:
    terms = (_FIELD.fullmatch(term.strip()) for term in text.split(","))
    return tuple((tuple(term[1].split(".")), term[2] == "=", term[3]) for term in terms if term)


def _at(found: Any, path: tuple[str, ...]) -> str:  # noqa: ANN401 (any JSON)
    value = found
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    return str(value).lower() if isinstance(value, bool) else str(value if value is not None else "")
