"""Structural schemas of custom kinds: pruning, defaults and validation, as far as the emulated definitions use them.

Understood: ``type``, ``properties``, ``items``, ``additionalProperties``, ``required``, ``enum``, ``minimum``, ``maximum``,
``minLength``, ``maxLength``, ``minItems``, ``maxItems``, ``pattern``, ``default``, ``nullable``,
``x-kubernetes-int-or-string``, ``x-kubernetes-preserve-unknown-fields``, and of the CEL rules the one that says "immutable".
"""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any

from sliceward.simulation.kube.refusal import Cause, forbidden_value, invalid_value, required_value, unsupported_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sliceward.simulation.kube.refusal import Json

_IMMUTABLE = "self == oldSelf"
_TYPES: Mapping[str, Callable[[object], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
}


def completed(schema: Json | None, obj: Json) -> Json:
    """Prune what the schema does not know and fill in its defaults; metadata is not the schema's business."""
    if schema is None:
        return obj
    identity = {key: obj[key] for key in ("apiVersion", "kind", "metadata") if key in obj}
    rest = {key: value for key, value in obj.items() if key not in identity}
    top = schema | {"properties": {k: v for k, v in schema.get("properties", {}).items() if k not in identity}}
    kept: Json = _completed(top, rest)
    return identity | kept


def _completed(schema: Json, value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, list) and "items" in schema:
        return [_completed(schema["items"], entry) for entry in value]
    if not isinstance(value, dict):
        return value
    properties, others = schema.get("properties", {}), schema.get("additionalProperties")
    result = {}
    for key, inner in value.items():
        if key in properties:
            if inner is not None or properties[key].get("nullable"):
                result[key] = _completed(properties[key], inner)
        elif isinstance(others, dict):
            result[key] = _completed(others, inner)
        elif others or schema.get("x-kubernetes-preserve-unknown-fields"):
            result[key] = inner
    for key, inner in properties.items():
        if key not in result and "default" in inner:
            result[key] = _completed(inner, copy.deepcopy(inner["default"]))
    return result


def problems(schema: Json | None, new: Json, old: Json | None) -> Iterator[Cause]:
    """Judge an object by its kind's schema."""
    for name, inner in (schema or {}).get("properties", {}).items():
        if name not in {"apiVersion", "kind", "metadata"} and (name in new or (old and name in old)):
            yield from _problems(inner, new.get(name), (old or {}).get(name), name)
    for name in (schema or {}).get("required", ()):
        if name not in new:
            yield required_value(name)


def _problems(schema: Json, new: Any, old: Any, where: str) -> Iterator[Cause]:  # noqa: ANN401 - JSON
    fixed = old is not None and any(rule["rule"] == _IMMUTABLE for rule in schema.get("x-kubernetes-validations", ()))
    if fixed and new not in (None, old):
        yield Cause(where, "FieldValueInvalid", "Invalid value: Value is immutable")
    if new is None:
        return
    if not _fits(schema, new):
        yield Cause(where, "FieldValueTypeInvalid", f"Invalid value: {new!r}: must be of type {schema['type']}")
        return
    yield from _limits(schema, new, where)
    if isinstance(new, dict):
        yield from _inner_problems(schema, new, old if isinstance(old, dict) else {}, where)
    elif isinstance(new, list) and "items" in schema:
        keys = schema.get("x-kubernetes-list-map-keys", ())
        for at, entry in enumerate(new):
            before = _counterpart(old, entry, keys) if isinstance(old, list) else None
            yield from _problems(schema["items"], entry, before, f"{where}[{at}]")


def _counterpart(old: list[Any], entry: Any, keys: list[str]) -> Any:  # noqa: ANN401 - JSON
    if not keys or not isinstance(entry, dict):
        return None
    return next((known for known in old if all(known.get(key) == entry.get(key) for key in keys)), None)


def _inner_problems(schema: Json, new: Json, old: Json, where: str) -> Iterator[Cause]:
    for name in schema.get("required", ()):
        if name not in new:
            yield required_value(f"{where}.{name}")
    properties, others = schema.get("properties", {}), schema.get("additionalProperties")
    for name, value in new.items():
        inner = properties.get(name) or (others if isinstance(others, dict) else None)
        if inner is not None:
            yield from _problems(inner, value, old.get(name), f"{where}.{name}")


def _fits(schema: Json, value: object) -> bool:
    if schema.get("x-kubernetes-int-or-string"):
        return isinstance(value, int | str)
    test = _TYPES.get(schema.get("type", ""))
    return test is None or test(value)


def _limits(schema: Json, value: Any, where: str) -> Iterator[Cause]:  # noqa: ANN401 - JSON
    if "enum" in schema and value not in schema["enum"]:
        yield unsupported_value(where, value, schema["enum"])
    if isinstance(value, int | float):
        if value < schema.get("minimum", value):
            yield invalid_value(where, value, f"should be greater than or equal to {schema['minimum']}")
        if value > schema.get("maximum", value):
            yield invalid_value(where, value, f"should be less than or equal to {schema['maximum']}")
    if isinstance(value, str):
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield invalid_value(where, value, f"should match '{schema['pattern']}'")
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
            yield invalid_value(where, value, "has the wrong length")
    if isinstance(value, list) and not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        yield forbidden_value(where, "has the wrong number of entries")
