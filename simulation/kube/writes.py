"""Create, replace and patch: what a write does to versions, generation, ownership and finalizers."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sliceward.simulation.kube import defaults, kinds, ownership, patches, refusal, schemas, validation
from sliceward.simulation.kube.ownership import Ownership
from sliceward.simulation.kube.store import Item, make_item, new_uid, stamp

if TYPE_CHECKING:
    from typing import Any

    from sliceward.simulation.kube.kinds import Kind
    from sliceward.simulation.kube.refusal import Json
    from sliceward.simulation.kube.store import Store

_SERVER_META = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")


@dataclass(frozen=True, slots=True)
class Call:
    """Where a request goes and how it wants to be taken."""

    kind: Kind
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    manager: str = "unknown"
    dry_run: bool = False
    force: bool = False

    @property
    def schema(self) -> Json | None:
        """The structural schema of a custom kind."""
        return self.kind.schema if self.kind.custom else None

    @property
    def writer(self) -> str:
        """The owner that ordinary writes are booked to; applies are booked to the manager itself."""
        return f"{self.manager}|Update"


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes objects into a store by the rules of the API server."""

    store: Store
    letters: random.Random = field(default_factory=random.Random)

    def get(self, call: Call) -> Item:
        """Give the object or raise a 404."""
        item = self.store.find(call.kind, call.namespace, call.name)
        if item is None:
            raise refusal.not_found(call.kind, call.name)
        return item

    def create(self, call: Call, obj: Json) -> Item:
        """Create an object; raise 404, 409 or 422."""
        obj = self._named(call, obj)
        self._check_namespace(call, obj)
        return self._born(call, obj, Ownership(default=call.writer))

    def replace(self, call: Call, obj: Json) -> tuple[Item, bool]:
        """Replace an object, or create it where its kind allows that; give it and whether it is new."""
        meta = _meta(obj)
        if meta.setdefault("name", call.name) != call.name:
            why = f"the name of the object ({meta['name']}) does not match the name on the URL ({call.name})"
            raise refusal.bad_request(why)
        old = self.store.find(call.kind, call.namespace, call.name)
        if old is None and call.kind.upsert and not call.subresource and not meta.get("resourceVersion"):
            return self.create(call, obj), True
        if old is None:
            raise refusal.not_found(call.kind, call.name)
        if call.kind.versioned and not meta.get("resourceVersion"):
            cause = refusal.invalid_value("metadata.resourceVersion", "0x0", "must be specified for an update")
            raise refusal.invalid(call.kind, call.name, [cause])
        return self.change(call, old, obj), False

    def patch(self, call: Call, patch: Any, content_type: str) -> tuple[Item, bool]:  # noqa: ANN401 - a patch is any JSON
        """Patch an object; an apply of a missing one creates it. Give it and whether it is new."""
        if content_type == patches.APPLY:
            return self._apply(call, patch)
        old = self.get(call)
        return self.change(call, old, patches.patched(call.kind, old.object(), patch, content_type)), False

    def change(self, call: Call, item: Item, wanted: Json, owned: Ownership | None = None) -> Item:
        """Make ``wanted`` the object's new state, as far as the door it came through lets it."""
        old = item.object()
        self._check_identity(call, item, old, _meta(wanted))
        new = self._through_door(call, old, wanted)
        new = schemas.completed(call.schema, defaults.tidied(call.kind, new))
        if call.kind == kinds.POD and not call.subresource:
            defaults.admitted(new)
        problems = validation.problems(call.kind, new, old=old, subresource=call.subresource)
        if problems:
            raise refusal.invalid(call.kind, call.name, problems)
        held = owned or (item.ownership or Ownership()).written(old, new, call.writer, call.schema)
        if new == old:
            return self._same(call, item, held)
        if call.kind.generation and _spec(new) != _spec(old):
            new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
        return self.settle(call, new, held)

    def settle(self, call: Call, new: Json, owned: Ownership | None) -> Item:
        """Store a new state, or let the object go where nothing holds it any more."""
        if call.dry_run:
            return make_item(call.kind, new, int(new["metadata"].get("resourceVersion", 0)), owned)
        return self.store.remove(call.kind, new) if is_free(call.kind, new) else self.store.put(call.kind, new, owned)

    def _same(self, call: Call, item: Item, held: Ownership) -> Item:
        """Keep the version of an object that a write did not change, and note who owns it now."""
        if not call.dry_run and held is not item.ownership:
            kept = make_item(call.kind, item.object(), item.version, held)
            self.store.collection(call.kind).items[item.key] = kept
            return kept
        return item

    def _named(self, call: Call, obj: Json) -> Json:
        meta = _meta(obj)
        if call.kind.namespaced:
            if meta.setdefault("namespace", call.namespace) != call.namespace:
                raise refusal.bad_request("the namespace of the provided object does not match the namespace sent on the request")
        elif meta.pop("namespace", ""):
            raise refusal.bad_request("namespace: Not allowed on this type")
        if meta.get("resourceVersion"):
            raise refusal.bad_request("resourceVersion should not be set on objects to be created")
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = meta["generateName"] + "".join(self.letters.choices("bcdfghjklmnpqrstvwxz2456789", k=5))
        if not meta.get("name"):
            cause = refusal.required_value("metadata.name", "name or generateName is required")
            raise refusal.invalid(call.kind, "", [cause])
        return obj

    def _check_namespace(self, call: Call, obj: Json) -> None:
        if not call.kind.namespaced:
            return
        home = self.store.find(kinds.NAMESPACE, "", call.namespace)
        if home is None:
            raise refusal.not_found(kinds.NAMESPACE, call.namespace)
        if home.leaving:
            why = f"unable to create new content in namespace {call.namespace} because it is being terminated"
            raise refusal.forbidden(call.kind, obj["metadata"]["name"], why)

    def _born(self, call: Call, obj: Json, owned: Ownership) -> Item:
        meta, name = obj["metadata"], obj["metadata"]["name"]
        for key in _SERVER_META:
            meta.pop(key, None)
        meta |= {"uid": new_uid(), "creationTimestamp": stamp(self.store.clock())}
        if call.kind.generation:
            meta["generation"] = 1
        if call.kind.status and not call.kind.given_status:
            obj.pop("status", None)
        obj = {"apiVersion": call.kind.api_version, "kind": call.kind.kind} | defaults.tidied(call.kind, obj)
        unfit = validation.shape_problems(call.kind, obj)
        if unfit:
            raise refusal.invalid(call.kind, name, unfit)
        obj = schemas.completed(call.schema, defaults.defaulted(call.kind, obj))
        problems = validation.problems(call.kind, obj, old=None)
        if problems:
            raise refusal.invalid(call.kind, name, problems)
        if self.store.find(call.kind, meta.get("namespace", ""), name) is not None:
            raise refusal.already_exists(call.kind, name)
        if call.dry_run:
            return make_item(call.kind, obj, 0, owned)
        return self.store.put(call.kind, obj, owned)

    def _apply(self, call: Call, wanted: Json) -> tuple[Item, bool]:
        meta = _meta(wanted)
        if meta.setdefault("name", call.name) != call.name:
            raise refusal.bad_request("the name of the object does not match the name on the URL")
        if wanted.get("apiVersion") != call.kind.api_version or wanted.get("kind") != call.kind.kind:
            raise refusal.bad_request(f"an apply must name its apiVersion and kind: {call.kind.api_version} {call.kind.kind}")
        if not call.manager:
            why = 'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch'
            raise refusal.Refusal(422, "Invalid", why, {"group": "meta.k8s.io", "kind": "PatchOptions"})
        item = self.store.find(call.kind, call.namespace, call.name)
        if item is None:
            if call.subresource:
                raise refusal.not_found(call.kind, call.name)
            first = ownership.apply({}, Ownership(), wanted, manager=call.manager, force=True, schema=call.schema)
            obj = self._named(call, wanted)
            self._check_namespace(call, obj)
            return self._born(call, obj, first.ownership), True
        self._check_version(call, item, meta)
        held = item.ownership or Ownership()
        done = ownership.apply(item.object(), held, wanted, manager=call.manager, force=call.force, schema=call.schema)
        return self.change(call, item, done.obj, done.ownership), False

    def _check_identity(self, call: Call, item: Item, old: Json, meta: Json) -> None:
        for part in ("name", "namespace"):
            if meta.setdefault(part, old["metadata"].get(part)) != old["metadata"].get(part):
                at = f"the {part} of the object ({meta[part]}) does not match the {part} on the URL ({old['metadata'].get(part)})"
                raise refusal.bad_request(at)
        if meta.get("namespace") is None:
            meta.pop("namespace", None)
        if meta.get("uid", item.uid) != item.uid:
            why = f"Precondition failed: UID in precondition: {meta['uid']}, UID in object meta: {item.uid}"
            raise refusal.conflict(call.kind, call.name, why)
        self._check_version(call, item, meta)

    def _check_version(self, call: Call, item: Item, meta: Json) -> None:
        if str(meta.get("resourceVersion") or item.version) != str(item.version):
            raise refusal.conflict(call.kind, call.name)

    def _through_door(self, call: Call, old: Json, wanted: Json) -> Json:
        """Let a status write change the status only, and an ordinary one everything else."""
        new = {key: value for key, value in wanted.items() if key not in {"apiVersion", "kind"}}
        new = {"apiVersion": old["apiVersion"], "kind": old["kind"]} | new
        if call.subresource == "status":
            meta = old["metadata"] if call.kind.custom else new["metadata"]
            owners = {"ownerReferences": old["metadata"].get("ownerReferences")}
            new = old | {"metadata": meta | owners, "status": new.get("status")}
            if new["status"] is None:
                del new["status"]
        elif call.kind.status:
            new.pop("status", None)
            if "status" in old:
                new["status"] = old["status"]
        meta = {key: value for key, value in new["metadata"].items() if key not in _SERVER_META}
        kept = {key: old["metadata"][key] for key in (*_SERVER_META, "resourceVersion") if key in old["metadata"]}
        return new | {"metadata": meta | kept}


def is_free(kind: Kind, obj: Json) -> bool:
    """Whether a leaving object is held by nothing: no grace, no finalizer, no content of a namespace."""
    meta = obj["metadata"]
    if "deletionTimestamp" not in meta or meta.get("finalizers"):
        return False
    if kind == kinds.NAMESPACE and obj.get("spec", {}).get("finalizers"):
        return False
    return not meta.get("deletionGracePeriodSeconds")


def _meta(obj: Json) -> Json:
    meta = obj.setdefault("metadata", {})
    if not isinstance(meta, dict):
        raise refusal.bad_request("metadata must be an object")
    for name in ("labels", "annotations"):
        of = meta.get(name)
        if of is not None and not (isinstance(of, dict) and all(isinstance(value, str | None) for value in of.values())):
            raise refusal.bad_request(f"json: cannot unmarshal into Go struct field ObjectMeta.metadata.{name} of type string")
    return meta


def _spec(obj: Json) -> Json:
    return {key: value for key, value in obj.items() if key not in {"metadata", "status"}}
