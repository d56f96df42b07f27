"""Server-side apply: who owns which leaf of an object, when an apply conflicts, and what it changes.

A path names fields and, inside keyed lists, entries: ``("status", "conditions", (("type", "Ready"),), "status")``. Most
leaves belong to whoever created the object, so only the exceptions are stored.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sliceward.simulation.kube import merge_keys
from sliceward.simulation.kube.refusal import Cause, Json, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Path = tuple[Any, ...]
_IDENTITY = frozenset((("apiVersion",), ("kind",), ("metadata", "name"), ("metadata", "namespace")))
_SERVER_META = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "deletionTimestamp")


@dataclass(frozen=True, slots=True)
class Ownership:
    """Owners of the leaves: ``default`` owns what ``exceptions`` does not name."""

    default: str = ""
    exceptions: Mapping[Path, frozenset[str]] = field(default_factory=dict)

    def of(self, path: Path) -> frozenset[str]:
        """Give the owners of a leaf."""
        found = self.exceptions.get(path)
        if found is not None:
            return found
        return frozenset((self.default,)) if self.default else frozenset()

    def held_by(self, manager: str) -> frozenset[Path]:
        """Give the leaves that a manager applied."""
        return frozenset(path for path, owners in self.exceptions.items() if manager in owners)

    def written(self, old: Json, new: Json, manager: str, schema: Json | None) -> Ownership:
        """Give the ownership after an ordinary write: changed leaves belong to the writer alone."""
        changed = dict(_changes(old, new, (), schema))
        if not changed:
            return self
        exceptions = dict(self.exceptions)
        for path, present in changed.items():
            if not present or (manager == self.default and path not in exceptions):
                exceptions.pop(path, None)
            else:
                exceptions[path] = frozenset((manager,))
        return Ownership(self.default, exceptions)


@dataclass(frozen=True, slots=True)
class Applied:
    """What an apply makes of an object."""

    obj: Json
    ownership: Ownership


def apply(  # noqa: PLR0913 - both sides of an apply, and how it is meant
    live: Json, owned: Ownership, wanted: Json, *, manager: str, force: bool, schema: Json | None
) -> Applied:
    """Apply a configuration; raise a 409 that names each leaf which another manager holds with another value."""
    wanted = _without_server_meta(wanted)
    leaves = {path: value for path, value in _leaves(wanted, (), schema) if path not in _IDENTITY}
    have = dict(_leaves(live, (), schema))
    lost = [path for path, value in leaves.items() if path in have and have[path] != value and owned.of(path) - {manager}]
    if lost and not force:
        raise _conflicts(lost, owned, manager, str(wanted.get("apiVersion", "")))
    result = _merged(live, wanted, (), schema)
    dropped = [path for path in owned.held_by(manager) - leaves.keys() if owned.of(path) == {manager}]
    for path in sorted(dropped, key=lambda path: (-len(path), _is_key(path))):
        _drop(result, path)
    exceptions = {path: owners - {manager} for path, owners in owned.exceptions.items() if path not in dropped}
    for path in leaves:
        others = frozenset() if path in lost else owned.of(path) if path in have else frozenset()
        exceptions[path] = others | {manager}
    return Applied(result, Ownership(owned.default, {path: owners for path, owners in exceptions.items() if owners}))


def _without_server_meta(wanted: Json) -> Json:
    meta = {key: value for key, value in wanted.get("metadata", {}).items() if key not in _SERVER_META}
    return wanted | {"metadata": meta}


def _conflicts(lost: list[Path], owned: Ownership, manager: str, api_version: str) -> Refusal:
    causes = [
        Cause(_printed(path), "FieldManagerConflict", f'conflict with "{other.partition("|")[0]}" using {api_version}')
        for path in lost
        for other in sorted(owned.of(path) - {manager})
    ]
    count = f"{len(causes)} conflict" + ("s" if len(causes) > 1 else "")
    said = ", ".join(f"{cause.message}: {cause.field}" for cause in causes)
    details = {"causes": [cause.as_json() for cause in causes]}
    return Refusal(409, "Conflict", f"Apply failed with {count}: {said}", details)


def _printed(path: Path) -> str:
    def part(name: Any) -> str:  # noqa: ANN401 - a part is a name or the keys of an entry
        return f".{name}" if isinstance(name, str) else "[" + ",".join(f'{key}="{value}"' for key, value in name) + "]"

    return "".join(part(name) for name in path)


def _names(path: Path) -> tuple[str, ...]:
    return tuple(part for part in path if isinstance(part, str))


def _entries(values: list[Any], rule: merge_keys.Rule) -> Iterator[tuple[Path, Any]]:
    """Give the entries of a keyed list or a set, each with the part of the path that names it."""
    for value in values:
        if rule is merge_keys.SET:
            yield ((("", value),),), None
        else:
            yield (tuple((key, value.get(key)) for key in rule),), value


def _leaves(value: Any, path: Path, schema: Json | None) -> Iterator[tuple[Path, Any]]:  # noqa: ANN401 - JSON
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key), schema)
        return
    if isinstance(value, list):
        rule = merge_keys.applied(_names(path), schema)
        if rule is not merge_keys.ATOMIC:
            for name, inner in _entries(value, rule):
                yield from _leaves(inner, path + name, schema)
            return
    yield path, value


def _changes(old: Any, new: Any, path: Path, schema: Json | None) -> Iterator[tuple[Path, bool]]:  # noqa: ANN401 - JSON
    """Give the leaves that differ, and whether each is there now; equal branches are not entered."""
    if path[:1] == ("metadata",) and path[1:2] and path[1] in _SERVER_META:
        return
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old.keys() | new.keys():
            yield from _changes(old.get(key), new.get(key), (*path, key), schema)
        return
    before = dict(_leaves(old, path, schema)) if old is not None else {}
    after = dict(_leaves(new, path, schema)) if new is not None else {}
    for leaf in before.keys() | after.keys():
        if leaf not in after or leaf not in before or before[leaf] != after[leaf]:
            yield leaf, leaf in after


def _merged(live: Any, wanted: Any, path: Path, schema: Json | None) -> Any:  # noqa: ANN401 - JSON
    if isinstance(live, dict) and isinstance(wanted, dict):
        return live | {key: _merged(live.get(key), value, (*path, key), schema) for key, value in wanted.items()}
    if isinstance(live, list) and isinstance(wanted, list):
        rule = merge_keys.applied(_names(path), schema)
        if rule is merge_keys.SET:
            return live + [value for value in wanted if value not in live]
        if rule is not merge_keys.ATOMIC:
            mine = dict(_entries(wanted, rule))
            kept = {
                name: _merged(value, mine[name], path + name, schema) if name in mine else value
                for name, value in _entries(live, rule)
            }
            return list((mine | kept).values()) if not kept else [*kept.values(), *(v for n, v in mine.items() if n not in kept)]
    return wanted


def _is_key(path: Path) -> bool:
    """Whether a leaf is what its list entry is known by."""
    return len(path) > 1 and not isinstance(path[-2], str) and path[-1] in dict(path[-2])


def _drop(obj: Json, path: Path) -> None:
    """Remove a leaf, and the list entries and maps round it that hold nothing any more."""
    holders: list[tuple[Any, Any]] = []
    node: Any = obj
    for part in path:
        if node is None:
            return
        holders.append((node, part))
        if isinstance(part, str):
            node = node.get(part) if isinstance(node, dict) else None
        else:
            node = next((entry for entry in node if _is_named(entry, part)), None) if isinstance(node, list) else None
    if not _is_key(path):
        _unlink(*holders[-1])
    for (holder, part), (inner, _) in zip(holders[-2::-1], holders[:0:-1], strict=True):
        only_keys = not isinstance(part, str) and isinstance(inner, dict) and inner.keys() <= dict(part).keys()
        if inner and not only_keys:
            return
        _unlink(holder, part)


def _is_named(entry: Any, part: Path) -> bool:  # noqa: ANN401 - JSON
    return all((entry if key == "" else entry.get(key)) == value for key, value in part)


def _unlink(holder: Any, part: Any) -> None:  # noqa: ANN401 - JSON
    if isinstance(part, str):
        holder.pop(part, None)
    else:
        holder[:] = [entry for entry in holder if not _is_named(entry, part)]
