"""What follows from a change without anybody asking: garbage collection, namespaces that empty, kinds that come and go.

Runs in the turn of the event loop after the change, as the real collectors run after it: a client can see the state between.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sliceward.simulation.kube import deletion, kinds
from sliceward.simulation.kube.deletion import FOREGROUND, ORPHAN, DeleteOptions
from sliceward.simulation.kube.writes import Call, Writer

if TYPE_CHECKING:
    from sliceward.simulation.kube.kinds import Kind
    from sliceward.simulation.kube.refusal import Json
    from sliceward.simulation.kube.store import Change, Item, Store

Place = tuple[str, str, str]
"""Where an object lives: group, plural and key."""

_MANAGER = "kube-controller-manager"


@dataclass(slots=True)
class Garbage:
    """Follows all changes of a store; knows who lives and who belongs to whom."""

    writer: Writer
    living: dict[str, Place] = field(default_factory=dict)
    children: dict[str, set[Place]] = field(default_factory=lambda: defaultdict(set))
    waiting: list[tuple[Kind, Change]] = field(default_factory=list)

    @property
    def store(self) -> Store:
        """The store that is followed."""
        return self.writer.store

    def notice(self, kind: Kind, change: Change) -> None:
        """Keep the index, and come back soon for what follows."""
        place = (kind.group, kind.plural, change.after.key)
        if change.before is not None:
            for owner in change.before.owners:
                self.children[owner].discard(place)
        if change.gone:
            self.living.pop(change.after.uid, None)
        else:
            self.living[change.after.uid] = place
            for owner in change.after.owners:
                self.children[owner].add(place)
        if kind == kinds.DEFINITION:
            self._serve(change)
        if change.gone or change.after.leaving or (change.after.owners and change.before is None):
            if not self.waiting:
                asyncio.get_running_loop().call_soon(self._collect)
            self.waiting.append((kind, change))

    def _serve(self, change: Change) -> None:
        definition = change.after.object()
        if change.gone:
            self.store.forget(definition["spec"]["group"], definition["spec"]["names"]["plural"])
            return
        for kind in kinds.of_definition(definition):
            self.store.serve(kind)

    def _collect(self) -> None:
        batch, self.waiting = self.waiting, []
        for kind, change in batch:
            self._follow(kind, change)

    def _follow(self, kind: Kind, change: Change) -> None:
        if change.gone:
            for place in sorted(self.children.pop(change.after.uid, ())):
                self._delete_if_ownerless(place)
            for owner in change.after.owners:
                self._release(owner)
            self._close_namespace(change.after.fields.get("metadata.namespace", ""))
        elif change.after.leaving:
            self._leave(kind, change.after)
        elif not any(owner in self.living for owner in change.after.owners):
            self._delete_if_ownerless((kind.group, kind.plural, change.after.key))

    def _leave(self, kind: Kind, item: Item) -> None:
        current = self.store.collection(kind).items.get(item.key)
        if current is None or not current.leaving:
            return
        if kind == kinds.NAMESPACE:
            self._empty_namespace(current.key)
        finalizers = current.object()["metadata"].get("finalizers", ())
        if ORPHAN in finalizers:
            for place in sorted(self.children.get(current.uid, ())):
                self._disown(place, current.uid)
            self._drop_finalizer(kind, current, ORPHAN)
        elif FOREGROUND in finalizers:
            for place in sorted(self.children.get(current.uid, ())):
                self._delete(place, DeleteOptions(propagation="Foreground" if self.children.get(self._uid(place)) else ""))
            self._release(current.uid)

    def _release(self, uid: str) -> None:
        """Let an owner go that waited in the foreground for its last dependent that blocks it."""
        place = self.living.get(uid)
        item = self._at(place) if place else None
        if place is None or item is None or not item.leaving:
            return
        blocking = [child for child in self.children.get(uid, ()) if self._blocks(child, uid)]
        kind = self._kind(place)
        if not blocking and kind is not None:
            self._drop_finalizer(kind, item, FOREGROUND)

    def _blocks(self, place: Place, uid: str) -> bool:
        item = self._at(place)
        owners = item.object()["metadata"].get("ownerReferences", ()) if item else ()
        return any(owner["uid"] == uid and owner.get("blockOwnerDeletion") for owner in owners)

    def _delete_if_ownerless(self, place: Place) -> None:
        item = self._at(place)
        if item is not None and item.owners and not any(owner in self.living for owner in item.owners):
            self._delete(place, DeleteOptions(propagation="Background"))

    def _delete(self, place: Place, options: DeleteOptions) -> None:
        item, kind = self._at(place), self._kind(place)
        if item is not None and kind is not None and not item.leaving:
            deletion.delete(self.writer, _call(kind, item), options)

    def _disown(self, place: Place, uid: str) -> None:
        item, kind = self._at(place), self._kind(place)
        if item is None or kind is None:
            return
        obj = item.object()
        obj["metadata"]["ownerReferences"] = [owner for owner in obj["metadata"]["ownerReferences"] if owner["uid"] != uid]
        self.writer.change(_call(kind, item), item, obj)

    def _drop_finalizer(self, kind: Kind, item: Item, finalizer: str) -> None:
        obj = item.object()
        finalizers = obj["metadata"].get("finalizers", [])
        if finalizer in finalizers:
            obj["metadata"]["finalizers"] = [name for name in finalizers if name != finalizer]
            self.writer.change(_call(kind, item), item, obj)

    def _empty_namespace(self, name: str) -> None:
        for collection in self.store.collections():
            if collection.kind.namespaced:
                for item in list(collection.within(name)):
                    if not item.leaving:
                        deletion.delete(self.writer, _call(collection.kind, item), DeleteOptions(propagation="Background"))
        self._close_namespace(name)

    def _close_namespace(self, name: str) -> None:
        item = self.store.find(kinds.NAMESPACE, "", name)
        if item is None or not item.leaving:
            return
        if any(collection.kind.namespaced and any(collection.within(name)) for collection in self.store.collections()):
            return
        obj: Json = item.object()
        if obj.get("spec", {}).pop("finalizers", None):
            self.writer.settle(_call(kinds.NAMESPACE, item), obj, item.ownership)

    def _at(self, place: Place) -> Item | None:
        kind = self._kind(place)
        return self.store.collection(kind).items.get(place[2]) if kind else None

    def _kind(self, place: Place) -> Kind | None:
        return next((kind for key, kind in self.store.kinds.items() if (key[0], key[2]) == place[:2]), None)

    def _uid(self, place: Place) -> str:
        item = self._at(place)
        return item.uid if item else ""


def _call(kind: Kind, item: Item) -> Call:
    return Call(kind, item.fields.get("metadata.namespace", ""), item.fields["metadata.name"], manager=_MANAGER)
