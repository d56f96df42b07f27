"""Patches of an object by merge, strategic merge and JSON patch: old object and patch in, new object out."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import jsonpatch
import jsonpointer

from sliceward.simulation.kube import merge_keys
from sliceward.simulation.kube.refusal import Json, Refusal, bad_request, unsupported_media

if TYPE_CHECKING:
    from sliceward.simulation.kube.kinds import Kind

JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"

_ORDER = "$setElementOrder/"
_DROP = "$deleteFromPrimitiveList/"


def patched(kind: Kind, old: Json, patch: Any, content_type: str) -> Json:  # noqa: ANN401 - a patch is any JSON
    """Apply a patch that is not an apply; raise 400, 415 or 422 where it cannot be."""
    if content_type == JSON_PATCH:
        return _json_patched(old, patch)
    if not isinstance(patch, dict):
        raise bad_request("cannot unmarshal the patch into a JSON object")
    if content_type == MERGE:
        merged: Json = merge(old, patch)
        return merged
    if content_type == STRATEGIC and not kind.custom:
        return _strategic_map(old, patch, ())
    supported = [JSON_PATCH, MERGE, APPLY] if kind.custom else [JSON_PATCH, MERGE, STRATEGIC, APPLY]
    why = f"the body of the request was in an unknown format - accepted media types include: {', '.join(supported)}"
    raise unsupported_media(why)


def merge(old: Any, patch: Any) -> Any:  # noqa: ANN401 - JSON of any shape
    """Merge by RFC 7396: null removes, objects merge, all else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def _json_patched(old: Json, patch: Any) -> Json:  # noqa: ANN401 - a patch is any JSON
    if not isinstance(patch, list):
        raise bad_request("cannot unmarshal the patch into a list of operations")
    try:
        result = jsonpatch.JsonPatch(patch).apply(copy.deepcopy(old))
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError, KeyError, AttributeError) as error:
        raise Refusal(422, "Invalid", f"the server rejected our request due to an error in our request: {error}") from error
    if not isinstance(result, dict):
        raise bad_request("the patched object is no object")
    return result


def _strategic(old: Any, patch: Any, path: tuple[str, ...]) -> Any:  # noqa: ANN401 - JSON of any shape
    if isinstance(patch, dict):
        return _strategic_map(old if isinstance(old, dict) else {}, patch, path)
    if isinstance(patch, list):
        return _strategic_list(old if isinstance(old, list) else [], patch, path)
    return patch


def _strategic_map(old: Json, patch: Json, path: tuple[str, ...]) -> Json:
    directive = patch.get("$patch")
    if directive == "delete":
        return {}
    if directive == "replace":
        return {key: value for key, value in patch.items() if key != "$patch"}
    result = dict(old)
    if (kept := patch.get("$retainKeys")) is not None:
        result = {key: value for key, value in result.items() if key in kept}
    for key, value in patch.items():
        if key.startswith(_DROP):
            name = key.removeprefix(_DROP)
            result[name] = [entry for entry in result.get(name, []) if entry not in value]
        elif key.startswith("$"):
            continue
        elif value is None:
            result.pop(key, None)
        else:
            result[key] = _strategic(result.get(key), value, (*path, key))
    for key, order in patch.items():
        if key.startswith(_ORDER):
            name = key.removeprefix(_ORDER)
            result[name] = _ordered(result.get(name, []), order, merge_keys.strategic((*path, name)))
    return result


def _strategic_list(old: list[Any], patch: list[Any], path: tuple[str, ...]) -> list[Any]:
    rule = merge_keys.strategic(path)
    if rule is merge_keys.ATOMIC or any(isinstance(entry, dict) and entry.get("$patch") == "replace" for entry in patch):
        return [entry for entry in patch if not (isinstance(entry, dict) and "$patch" in entry)]
    if rule is merge_keys.SET:
        return old + [entry for entry in patch if entry not in old]
    result = list(old)
    for entry in patch:
        if any(key not in entry for key in rule):
            missing = next(key for key in rule if key not in entry)
            why = f"map: {entry} does not contain declared merge key: {missing}"
            raise Refusal(500, "InternalError", why)
        place = next((at for at, known in enumerate(result) if all(known.get(key) == entry[key] for key in rule)), None)
        if entry.get("$patch") == "delete":
            result = [known for at, known in enumerate(result) if at != place]
        elif place is None:
            result.append(_strategic({}, entry, path))
        else:
            result[place] = _strategic(result[place], entry, path)
    return result


def _ordered(entries: list[Any], order: list[Any], rule: tuple[str, ...]) -> list[Any]:
    """Put entries into the asked order; what the order does not name keeps its place at the end."""

    def named(entry: Any) -> Any:  # noqa: ANN401 - JSON of any shape
        return tuple(entry.get(key) for key in rule) if isinstance(entry, dict) else entry

    places = {named(entry): at for at, entry in enumerate(order)}
    return sorted(entries, key=lambda entry: places.get(named(entry), len(places)))
