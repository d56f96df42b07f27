"""A cluster in memory: the `Cluster` port and `mirror`, with faults before and after the effect.

It passes the same contract tests as `sliceward.remediations.kubernetes` on a real API server (tests/contracts/test_cluster.py).
``put``, ``edit`` and ``drop`` are the hands of everybody else: people, controllers, kubelets.
"""

from __future__ import annotations

import asyncio
import copy
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sliceward.remediations.ports import KINDS, POD, Kind, Object
from sliceward.topology.errors import Conflict, Refused, Retry
from tests.fakes.selectors import fits_fields, fits_labels

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence

BEGIN = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
_Key = tuple[Kind, str, str]


@dataclass(slots=True)
class Fault:
    """A fault in the next call that fits: ``before`` or after the effect."""

    verb: str
    kind: Kind | None
    name: str
    error: Exception
    before: bool


@dataclass(frozen=True, slots=True)
class Write:
    """A write that took effect."""

    verb: str
    kind: str
    name: str
    body: object


class FakeCluster:
    """``writes``: what took effect, in order. ``between``: awaited before each call, for others who act meanwhile."""

    def __init__(self, name: str = "c1", *, now: datetime = BEGIN) -> None:
        self.name = name
        self.now = now
        self.writes: list[Write] = []
        self.calls: Counter[str] = Counter()
        self.between: Callable[[str, Kind, str], Awaitable[None]] | None = None
        self._objects: dict[_Key, Object] = {}
        self._faults: list[Fault] = []
        self._version = 0
        self._mirrors: list[FakeMirror] = []

    # -- what others do

    def put(self, kind: Kind, found: Object) -> Object:
        """Set an object whole, status too; give it as stored."""
        found = copy.deepcopy(found)
        metadata = found.setdefault("metadata", {})
        self._version += 1
        metadata.setdefault("uid", f"uid-{self._version}")
        metadata.setdefault("generation", 1)
        metadata.setdefault("creationTimestamp", stamp(self.now))
        metadata["resourceVersion"] = str(self._version)
        if kind.namespaced:
            metadata.setdefault("namespace", "default")
        self._objects[(kind, metadata.get("namespace", ""), metadata["name"])] = found
        self._wake(kind)
        return copy.deepcopy(found)

    def put_all(self, kind: Kind, objects: Iterable[Object]) -> None:
        """Set many."""
        for found in objects:
            self.put(kind, found)

    def edit(self, kind: Kind, name: str, body: Object, namespace: str = "") -> None:
        """Merge-patch as somebody else: status too, no fault, no version check."""
        key = (kind, namespace, name)
        self._objects[key] = self._written(merged(self._objects[key], body), self._objects[key])
        self._wake(kind)

    def drop(self, kind: Kind, name: str, namespace: str = "") -> None:
        """Remove at once."""
        del self._objects[(kind, namespace, name)]
        self._version += 1
        self._wake(kind)

    def of(self, kind: Kind) -> Sequence[Object]:
        """Give copies of all objects of a kind."""
        return [copy.deepcopy(found) for key, found in self._objects.items() if key[0] == kind]

    def see(self, kind: Kind, name: str, namespace: str = "") -> Object:
        """Give a copy of one object without calling the port."""
        return copy.deepcopy(self._objects[(kind, namespace, name)])

    def fail(
        self,
        verb: str,
        kind: Kind | None = None,
        name: str = "",
        *,
        after: bool = False,
        error: Exception | None = None,
    ) -> None:
        """Let the next call that fits fail: before the effect, or ``after`` it."""
        self._faults.append(Fault(verb, kind, name, error or Retry("injected"), not after))

    # -- the port

    async def get(self, kind: Kind, name: str, namespace: str = "") -> Object | None:
        await self._enter("get", kind, name)
        return copy.deepcopy(self._objects.get((kind, namespace, name)))

    async def list(self, kind: Kind, *, namespace: str = "", labels: str = "", fields: str = "") -> Sequence[Object]:
        await self._enter("list", kind, "")
        return self._select(kind, namespace=namespace, labels=labels, fields=fields)

    async def create(self, kind: Kind, body: Object, namespace: str = "") -> Object:
        name = body["metadata"]["name"]
        await self._enter("create", kind, name)
        known = self._objects.get((kind, namespace, name))
        if known is not None:
            return copy.deepcopy(known)
        fresh = {key: value for key, value in body.items() if key != "status"}
        if kind == POD:
            fresh["status"] = {"phase": "Pending"}
        fresh["metadata"] = {**body["metadata"], **({"namespace": namespace} if kind.namespaced else {})}
        found = self.put(kind, fresh)
        self._wrote("create", kind, name, body)
        return found

    async def patch(self, kind: Kind, name: str, body: Object, namespace: str = "") -> Object:
        await self._enter("patch", kind, name)
        key = (kind, namespace, name)
        known = self._objects.get(key)
        if known is None:
            raise Refused(f"PATCH {kind.plural}/{name}: 404 NotFound")
        version = body.get("metadata", {}).get("resourceVersion")
        if version is not None and version != known["metadata"]["resourceVersion"]:
            raise Conflict(f"PATCH {kind.plural}/{name}: 409 Conflict the object has been modified")
        spec_only = {part: value for part, value in body.items() if part != "status"}
        self._objects[key] = self._written(merged(known, spec_only), known)
        self._wake(kind)
        self._wrote("patch", kind, name, body)
        return copy.deepcopy(self._objects[key])

    async def delete(self, kind: Kind, name: str, namespace: str = "", *, uid: str = "", grace: timedelta | None = None) -> bool:
        await self._enter("delete", kind, name)
        key = (kind, namespace, name)
        known = self._objects.get(key)
        if known is None or (uid and known["metadata"]["uid"] != uid):
            return False
        seconds = self._grace(kind, known, grace)
        if seconds or known["metadata"].get("finalizers"):
            ends = stamp(self.now + timedelta(seconds=seconds))
            self.edit(kind, name, {"metadata": {"deletionTimestamp": ends, "deletionGracePeriodSeconds": seconds}}, namespace)
        else:
            self.drop(kind, name, namespace)
        self._wrote("delete", kind, name, {"uid": uid, "grace": grace})
        return True

    def mirror(
        self, kind: Kind, *, fields: str = "", labels: str = "", needed: Callable[[Object], bool] | None = None
    ) -> FakeMirror:
        """Give a mirror that is fresh whenever ``run`` was entered."""
        mirror = FakeMirror(self, kind, fields=fields, labels=labels, needed=needed)
        self._mirrors.append(mirror)
        return mirror

    def _select(self, kind: Kind, *, namespace: str = "", labels: str = "", fields: str = "") -> Sequence[Object]:
        return [
            copy.deepcopy(found)
            for (known, place, _), found in sorted(self._objects.items(), key=lambda item: item[0][1:])
            if known == kind
            and namespace in ("", place)
            and fits_labels(labels, found["metadata"].get("labels", {}))
            and fits_fields(fields, found)
        ]

    async def _enter(self, verb: str, kind: Kind, name: str) -> None:
        self.calls[verb] += 1
        await asyncio.sleep(0)
        if self.between is not None:
            await self.between(verb, kind, name)
        self._raise(verb, kind, name, before=True)

    def _wrote(self, verb: str, kind: Kind, name: str, body: object) -> None:
        self.writes.append(Write(verb, kind.plural, name, copy.deepcopy(body)))
        self._raise(verb, kind, name, before=False)

    def _raise(self, verb: str, kind: Kind, name: str, *, before: bool) -> None:
        for fault in tuple(self._faults):
            fits = fault.verb == verb and fault.kind in (None, kind) and fault.name in ("", name) and fault.before == before
            if fits:
                self._faults.remove(fault)
                raise fault.error

    def _written(self, new: Object, old: Object) -> Object:
        metadata = new["metadata"]
        metadata["resourceVersion"] = old["metadata"]["resourceVersion"]
        if new == old:
            return old
        self._version += 1
        metadata["resourceVersion"] = str(self._version)
        if new.get("spec") != old.get("spec"):
            metadata["generation"] = old["metadata"].get("generation", 1) + 1
        return new

    @staticmethod
    def _grace(kind: Kind, known: Object, grace: timedelta | None) -> int:
        if kind != POD or not known.get("spec", {}).get("nodeName"):
            return 0
        if grace is not None:
            return int(grace.total_seconds())
        return int(known["spec"].get("terminationGracePeriodSeconds", 30))

    def _wake(self, kind: Kind) -> None:
        for mirror in self._mirrors:
            if mirror.kind == kind:
                mirror.wake()


class FakeMirror:
    """A mirror of a `FakeCluster`: as fresh as the cluster itself while it runs."""

    def __init__(
        self, cluster: FakeCluster, kind: Kind, *, fields: str, labels: str, needed: Callable[[Object], bool] | None
    ) -> None:
        self.kind = kind
        self.synced = False
        self.absent = False
        self.problem = "not listed yet"
        self.set_aside: dict[str, str] = {}
        self.expired = 0
        self.age = 0.0
        self._cluster = cluster
        self._selectors = {"fields": fields, "labels": labels}
        self._needed = needed
        self._on_change: Callable[[], None] = lambda: None
        self._held: Sequence[Object] = ()
        self._stale = False

    @property
    def objects(self) -> Collection[Object]:
        if self._stale:
            found = self._cluster._select(self.kind, **self._selectors)  # noqa: SLF001 (the fake's own other half)
            self._held = [one for one in found if self._needed is None or self._needed(one)]
            self._stale = False
        return tuple(self._held)

    def get(self, name: str, namespace: str = "") -> Object | None:
        wanted = (namespace, name)
        return next((o for o in self.objects if (o["metadata"].get("namespace", ""), o["metadata"]["name"]) == wanted), None)

    async def run(self, on_change: Callable[[], None] | None = None) -> None:
        self._on_change = on_change or self._on_change
        self.synced, self.problem = True, ""
        self.wake()
        await asyncio.Event().wait()

    def wake(self) -> None:
        if self.synced:
            self._stale = True
            self._on_change()


def merged(old: Any, patch: Any) -> Any:  # noqa: ANN401 (any JSON)
    """Give ``old`` after an RFC 7396 merge patch."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return copy.deepcopy(result)


def stamp(at: datetime) -> str:
    """Give a time as Kubernetes writes it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def time_of(text: str) -> datetime:
    """Read a time as Kubernetes writes it."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def kind_named(plural: str) -> Kind:
    """Give one of the kinds of the port by its plural."""
    return KINDS[plural]
