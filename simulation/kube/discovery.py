"""Discovery: which groups, versions and kinds are served, as clients and kubectl ask for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sliceward.simulation.kube.refusal import no_such_path

if TYPE_CHECKING:
    from sliceward.simulation.kube.kinds import Kind
    from sliceward.simulation.kube.refusal import Json
    from sliceward.simulation.kube.store import Store

VERSION = {"major": "1", "minor": "36", "gitVersion": "v1.36.0-sliceward", "platform": "linux/amd64"}
_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
_DOORS = {
    "eviction": ("policy", "v1", "Eviction"),
    "binding": ("", "v1", "Binding"),
    "token": ("authentication.k8s.io", "v1", "TokenRequest"),
}


def answer(store: Store, parts: list[str]) -> Json | str:  # noqa: PLR0911 - one return for each path
    """Answer a path that names no object: ``["apis", "batch", "v1"]``; raise a 404 where there is nothing."""
    match parts:
        case ["healthz" | "readyz" | "livez"]:
            return "ok"
        case ["version"]:
            return dict(VERSION)
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        case ["api", version]:
            return _resources(store, "", version)
        case ["apis"]:
            groups = sorted({kind.group for kind in store.kinds.values() if kind.group})
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(store, group) for group in groups]}
        case ["apis", group]:
            return {"apiVersion": "v1"} | _group(store, group) | {"kind": "APIGroup"}
        case ["apis", group, version]:
            return _resources(store, group, version)
        case _:
            raise no_such_path()


def _group(store: Store, group: str) -> Json:
    versions = sorted({kind.version for kind in store.kinds.values() if kind.group == group})
    if not versions:
        raise no_such_path()
    listed = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {"name": group, "versions": listed, "preferredVersion": listed[0]}


def _resources(store: Store, group: str, version: str) -> Json:
    served = [kind for kind in store.kinds.values() if (kind.group, kind.version) == (group, version)]
    if not served:
        raise no_such_path()
    resources = [entry for kind in sorted(served, key=lambda kind: kind.plural) for entry in _entries(kind)]
    group_version = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources}


def _entries(kind: Kind) -> list[Json]:
    base = {
        "name": kind.plural,
        "singularName": kind.singular or kind.kind.lower(),
        "namespaced": kind.namespaced,
        "kind": kind.kind,
    }
    if kind.short_names:
        base["shortNames"] = list(kind.short_names)
    entries = [base | {"verbs": ["create"] if kind.ephemeral else _VERBS}]
    if kind.status:
        status = {"name": f"{kind.plural}/status", "singularName": "", "namespaced": kind.namespaced, "kind": kind.kind}
        entries.append(status | {"verbs": ["get", "patch", "update"]})
    for door in kind.subresources:
        group, version, name = _DOORS[door]
        entry = {"name": f"{kind.plural}/{door}", "singularName": "", "namespaced": True, "kind": name, "verbs": ["create"]}
        entries.append(entry | ({"group": group, "version": version} if group else {}))
    return entries
