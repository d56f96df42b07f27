"""Which lists are merged by key, which are sets and which are replaced whole.

Built-in kinds: from the ``patchMergeKey`` and ``listType`` marks of the Kubernetes API types, as far as the emulated kinds
reach. Custom kinds: from ``x-kubernetes-list-type`` in their schema.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sliceward.simulation.kube.refusal import Json

Rule = tuple[str, ...]
"""Keys by which entries of a list are told apart; `ATOMIC` and `SET` are the two special cases."""

ATOMIC: Rule = ()
SET: Rule = ("",)

_BY_NAME: Mapping[str, Rule] = {
    "conditions": ("type",),
    "ownerReferences": ("uid",),
    "containers": ("name",),
    "initContainers": ("name",),
    "ephemeralContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "volumeMounts": ("mountPath",),
    "imagePullSecrets": ("name",),
    "schedulingGates": ("name",),
    "secrets": ("name",),
    "hostAliases": ("ip",),
    "podIPs": ("ip",),
    "addresses": ("type",),
    "resourceClaims": ("name",),
    "finalizers": SET,
}
_ONLY_APPLY: Mapping[str, Rule] = {
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "containerStatuses": ATOMIC,
}


def strategic(path: tuple[str, ...]) -> Rule:
    """Give the rule of a list of a built-in kind in a strategic merge; ``path`` is field names without list entries."""
    name = path[-1]
    if name == "ports":
        return ("containerPort",) if "containers" in path or "initContainers" in path else ("port",)
    if name == "topologySpreadConstraints":
        return ("topologyKey",)
    return _BY_NAME.get(name, ATOMIC)


def applied(path: tuple[str, ...], schema: Json | None) -> Rule:
    """Give the rule of a list in an apply; custom kinds bring their schema, metadata follows the built-in rules."""
    if schema is not None and path[0] != "metadata":
        return _from_schema(path, schema)
    if path[-1] in _ONLY_APPLY:
        return _ONLY_APPLY[path[-1]]
    if path[-1] == "ports" and "protocol" not in path:
        return ("containerPort", "protocol") if "containers" in path or "initContainers" in path else ("port", "protocol")
    return _BY_NAME.get(path[-1], ATOMIC)


def _from_schema(path: tuple[str, ...], schema: Json) -> Rule:
    node: Json = schema
    for name in path:
        node = node.get("items", node) if "items" in node else node
        node = node.get("properties", {}).get(name) or {}
    how = node.get("x-kubernetes-list-type", "atomic")
    if how == "map":
        return tuple(node["x-kubernetes-list-map-keys"])
    return SET if how == "set" else ATOMIC
