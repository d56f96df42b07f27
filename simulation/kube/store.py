"""Objects and their history in memory: one global version, one log of changes for each kind, bytes encoded once.

Writers hand in complete objects (`Store.put`, `Store.remove`); readers get `Item`s, whose bytes are never changed. A
watcher is no queue of its own: it keeps a position in the log and is woken, so a stalled one costs nothing and simply
falls behind the floor of the log.
"""

from __future__ import annotations

import uuid
from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from sliceward.simulation.kube import kinds, selectors

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator, Mapping

    from sliceward.simulation.kube.kinds import Kind
    from sliceward.simulation.kube.ownership import Ownership
    from sliceward.simulation.kube.refusal import Json

LOG_CAPACITY = 20_000
"""Changes remembered for each kind; the real server's watch cache holds at least 100 and at most 102,400."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def now_utc() -> datetime:
    """Tell the time for time stamps; a server can be given another clock."""
    return datetime.now(UTC)


def stamp(moment: datetime) -> str:
    """Print a moment the way Kubernetes does, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class Item:
    """One version of one object: its bytes, and what selectors and garbage collection ask of it."""

    key: str
    version: int
    raw: bytes
    labels: Mapping[str, str]
    fields: Mapping[str, str]
    uid: str
    owners: tuple[str, ...]
    leaving: bool
    ownership: Ownership | None

    def object(self) -> Json:
        """Give a copy of the object that may be changed."""
        return _decode(self.raw)

    def selected(self, selector: selectors.Selector, namespace: str) -> bool:
        """Whether a request for this namespace (or all) and selector sees it."""
        if namespace and self.fields.get("metadata.namespace") != namespace:
            return False
        return selector.matches(self.labels, self.fields)


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the log: ``before`` None is a birth; ``gone`` is a death, whose ``after`` carries the last version."""

    version: int
    before: Item | None
    after: Item
    gone: bool = False


@dataclass(slots=True)
class Collection:
    """All objects of a kind, in the order of their keys, and the log of their changes.

    ``floor``: the oldest version from which a new watch can start. ``lost``: the newest change that is forgotten, which a
    running watch must have passed.
    """

    kind: Kind
    capacity: int
    items: dict[str, Item] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)
    log: list[Change] = field(default_factory=list)
    floor: int = 0
    lost: int = 0
    wakers: set[asyncio.Event] = field(default_factory=set)

    def record(self, change: Change) -> None:
        """Append to the log, forget what is too old, wake the watchers."""
        self.log.append(change)
        if len(self.log) >= 2 * self.capacity:
            self.floor = self.lost = self.log[self.capacity - 1].version
            del self.log[: self.capacity]
        for waker in self.wakers:
            waker.set()

    def since(self, version: int, *, at_most: int) -> list[Change]:
        """Give the changes after a version, oldest first."""
        start = bisect_right(self.log, version, key=lambda change: change.version)
        return self.log[start : start + at_most]

    def within(self, namespace: str) -> Iterator[Item]:
        """Give the objects of a namespace, or all, in the order of their keys."""
        if not namespace:
            yield from (self.items[key] for key in self.keys)
            return
        start = bisect_left(self.keys, f"{namespace}/")
        for key in self.keys[start:]:
            if not key.startswith(f"{namespace}/"):
                return
            yield self.items[key]


class Store:
    """The whole cluster state. Every write happens within one turn of the event loop, so it is atomic."""

    def __init__(self, *, clock: Callable[[], datetime] = now_utc, log_capacity: int = LOG_CAPACITY) -> None:
        """Start with the built-in kinds and namespaces."""
        self.clock = clock
        self.version = 1
        self.listeners: list[Callable[[Kind, Change], None]] = []
        self._log_capacity = log_capacity
        self._collections: dict[tuple[str, str], Collection] = {}
        self.kinds: dict[tuple[str, str, str], Kind] = {}
        for kind in kinds.BUILT_IN:
            self.serve(kind)

    def serve(self, kind: Kind) -> None:
        """Add a kind, or replace how it is served."""
        self.kinds[kind.group, kind.version, kind.plural] = kind
        slot = (kind.group, kind.plural)
        if slot not in self._collections:
            self._collections[slot] = Collection(kind, self._log_capacity, floor=self.version)
        self._collections[slot].kind = kind

    def forget(self, group: str, plural: str) -> None:
        """Stop serving a kind and drop its objects."""
        self._collections.pop((group, plural), None)
        self.kinds = {key: kind for key, kind in self.kinds.items() if (key[0], key[2]) != (group, plural)}

    def collection(self, kind: Kind) -> Collection:
        """Give the objects of a kind."""
        return self._collections[kind.group, kind.plural]

    def collections(self) -> list[Collection]:
        """Give all kinds' objects."""
        return list(self._collections.values())

    def find(self, kind: Kind, namespace: str, name: str) -> Item | None:
        """Give an object if it is there."""
        return self.collection(kind).items.get(key_of(kind, namespace, name))

    def get(self, kind: Kind, name: str, namespace: str = "") -> Json | None:
        """Give a copy of an object's JSON if it is there: for tests and in-process readers."""
        item = self.find(kind, namespace, name)
        return item.object() if item else None

    def list(self, kind: Kind, namespace: str = "") -> list[Json]:
        """Give copies of all objects of a kind: for tests and in-process readers."""
        return [item.object() for item in self.collection(kind).within(namespace)]

    def put(self, kind: Kind, obj: Json, ownership: Ownership | None) -> Item:
        """Make this the object's newest version, with the next global version in it."""
        self.version += 1
        collection = self.collection(kind)
        item = make_item(kind, obj, self.version, ownership)
        before = collection.items.get(item.key)
        if before is None:
            insort(collection.keys, item.key)
        collection.items[item.key] = item
        self._publish(collection, Change(self.version, before, item))
        return item

    def remove(self, kind: Kind, obj: Json) -> Item:
        """Take the object away; what is remembered of it carries the version of its death."""
        self.version += 1
        collection = self.collection(kind)
        item = make_item(kind, obj, self.version, None)
        before = collection.items.pop(item.key)
        del collection.keys[bisect_left(collection.keys, item.key)]
        self._publish(collection, Change(self.version, before, item, gone=True))
        return item

    def compact(self, kind: Kind | None = None) -> None:
        """Forget all history, so that watches from older versions are answered 410."""
        for collection in [self.collection(kind)] if kind else self.collections():
            if collection.log:
                collection.lost = collection.log[-1].version
            collection.log.clear()
            collection.floor = self.version

    def _publish(self, collection: Collection, change: Change) -> None:
        collection.record(change)
        for listener in self.listeners:
            listener(collection.kind, change)


def key_of(kind: Kind, namespace: str, name: str) -> str:
    """Give the key of an object inside its kind."""
    return f"{namespace}/{name}" if kind.namespaced else name


def make_item(kind: Kind, obj: Json, version: int, ownership: Ownership | None) -> Item:
    """Encode an object under a version."""
    meta = obj["metadata"]
    meta["resourceVersion"] = str(version)
    return Item(
        key=key_of(kind, meta.get("namespace", ""), meta["name"]),
        version=version,
        raw=_encode(obj),
        labels=meta.get("labels") or {},
        fields=selectors.fields_of(kind, obj),
        uid=meta["uid"],
        owners=tuple(owner["uid"] for owner in meta.get("ownerReferences", ())),
        leaving="deletionTimestamp" in meta,
        ownership=ownership,
    )


def new_uid() -> str:
    """Draw an identity that no object ever had."""
    return str(uuid.uuid4())
