"""Label and field selectors in Kubernetes syntax, for the fake cluster."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_SET = re.compile(r"(?P<key>[^\s!=,]+)\s+(?P<how>in|notin)\s+\((?P<values>[^)]*)\)")


def fits_labels(selector: str, labels: Mapping[str, str]) -> bool:
    """Whether labels fit a selector: ``a=b, c!=d, e, !f, g in (h,i), j notin (k)``."""
    rest = selector
    for found in _SET.finditer(selector):
        values = {value.strip() for value in found["values"].split(",")}
        inside = labels.get(found["key"]) in values
        if inside != (found["how"] == "in"):
            return False
        rest = rest.replace(found[0], "")
    return all(_fits(term.strip(), labels) for term in rest.split(",") if term.strip())


def fits_fields(selector: str, found: Mapping[str, Any]) -> bool:
    """Whether an object fits a field selector: ``spec.nodeName=a, status.phase!=Failed``."""
    terms = [term.strip() for term in selector.split(",") if term.strip()]
    return all(_fits(term, {_key(term): _field(found, _key(term))}) for term in terms)


def _key(term: str) -> str:
    return re.split(r"!=|==|=", term)[0]


def _field(found: Mapping[str, Any], path: str) -> str:
    value: Any = found
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return str(value).lower() if isinstance(value, bool) else str(value if value is not None else "")


def _fits(term: str, values: Mapping[str, str]) -> bool:
    if "!=" in term:
        key, _, value = term.partition("!=")
        return values.get(key) != value
    if "=" in term:
        key, _, value = term.replace("==", "=").partition("=")
        return values.get(key) == value
    return term[1:] not in values if term.startswith("!") else term in values
