"""Label and field selectors: text in, a predicate over labels and fields out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sliceward.simulation.kube import naming
from sliceward.simulation.kube.refusal import bad_request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sliceward.simulation.kube.kinds import Kind

_ABSENT = object()
_SET_TERM = re.compile(r"^(?P<key>\S+)\s+(?P<how>in|notin)\s*\((?P<values>[^()]*)\)$")
_TERM = re.compile(r"^(?P<key>[^!=<>\s]+)\s*(?P<how>==|!=|=)\s*(?P<value>.*)$")
_FIELDS: Mapping[str, tuple[str, ...]] = {
    "pods": (
        "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork",
        "status.phase", "status.podIP", "status.nominatedNodeName",
    ),
    "nodes": ("spec.unschedulable",),
    "namespaces": ("status.phase",),
    "jobs": ("status.successful",),
    "secrets": ("type",),
    "events": (
        "involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
        "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath",
        "reason", "reportingComponent", "source", "type",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Term:
    """One requirement: the value at ``key`` is (``wanted``) or is not one of ``values``; no values means any."""

    key: str
    values: frozenset[str]
    wanted: bool
    absent_passes: bool

    def passes(self, values: Mapping[str, str]) -> bool:
        """Whether these labels or fields meet it."""
        found = values.get(self.key, _ABSENT)
        if found is _ABSENT:
            return self.absent_passes
        return (not self.values or found in self.values) is self.wanted


@dataclass(frozen=True, slots=True)
class Selector:
    """All requirements of a request on labels and on fields."""

    labels: tuple[Term, ...] = ()
    fields: tuple[Term, ...] = ()

    def matches(self, labels: Mapping[str, str], fields: Mapping[str, str]) -> bool:
        """Whether an object with these labels and fields is selected."""
        return all(term.passes(labels) for term in self.labels) and all(term.passes(fields) for term in self.fields)

    @property
    def empty(self) -> bool:
        """Whether everything is selected."""
        return not self.labels and not self.fields


def parse(kind: Kind, labels: str, fields: str) -> Selector:
    """Read both selectors of a request; raise a 400 where they make no sense."""
    return Selector(parse_labels(labels), _parse_fields(kind, fields))


def parse_labels(text: str) -> tuple[Term, ...]:
    """Read a label selector: ``a=b,c!=d,e,!f,g in (h,i)``."""
    return tuple(_label_term(part.strip()) for part in _split(text) if part.strip())


def from_object(selector: dict[str, Any] | None) -> tuple[Term, ...] | None:
    """Read a ``LabelSelector`` object; None (nothing given) selects nothing, an empty one everything."""
    if selector is None:
        return None
    equal = [
        Term(key, frozenset((value,)), wanted=True, absent_passes=False) for key, value in selector.get("matchLabels", {}).items()
    ]
    wanted = {"In": True, "NotIn": False, "Exists": True, "DoesNotExist": False}
    named = [
        Term(
            key=rule["key"],
            values=frozenset(rule.get("values") or ()),
            wanted=wanted[rule["operator"]],
            absent_passes=not wanted[rule["operator"]],
        )
        for rule in selector.get("matchExpressions", ())
    ]
    return (*equal, *named)


def fields_of(kind: Kind, obj: Mapping[str, Any]) -> dict[str, str]:
    """Give the values of the fields that selectors may ask for."""
    meta = obj["metadata"]
    fields = {"metadata.name": meta["name"]}
    if kind.namespaced:
        fields["metadata.namespace"] = meta["namespace"]
    if not kind.custom:
        for path in _FIELDS.get(kind.plural, ()):
            fields[path] = _at(obj, path)
    return fields


def _at(obj: Mapping[str, Any], path: str) -> str:
    if path == "source":
        return str(obj.get("source", {}).get("component", ""))
    value: object = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if path in {"spec.unschedulable", "spec.hostNetwork"}:
        return "true" if value else "false"
    if path == "status.successful":
        return str(obj.get("status", {}).get("succeeded", 0))
    return "" if value is None else str(value)


def _split(text: str) -> list[str]:
    """Split at commas outside parentheses."""
    return re.split(r",(?![^(]*\))", text)


def _label_term(text: str) -> Term:
    if found := _SET_TERM.match(text):
        wanted = found["how"] == "in"
        values = frozenset(value.strip() for value in found["values"].split(","))
        return _checked(Term(found["key"], values, wanted=wanted, absent_passes=not wanted), text)
    if found := _TERM.match(text):
        wanted = found["how"] != "!="
        return _checked(Term(found["key"], frozenset((found["value"].strip(),)), wanted=wanted, absent_passes=not wanted), text)
    if text.startswith("!"):
        return _checked(Term(text[1:].strip(), frozenset(), wanted=False, absent_passes=True), text)
    return _checked(Term(text, frozenset(), wanted=True, absent_passes=False), text)


def _checked(term: Term, text: str) -> Term:
    problems = naming.label_key_problems(term.key) + [p for value in term.values for p in naming.label_value_problems(value)]
    if problems:
        why = f"unable to parse requirement {text!r}: {problems[0]}"
        raise bad_request(why)
    return term


def _parse_fields(kind: Kind, text: str) -> tuple[Term, ...]:
    return tuple(_field_term(kind, part.strip()) for part in text.split(",") if part.strip())


def _field_term(kind: Kind, text: str) -> Term:
    found = _TERM.match(text)
    if found is None:
        why = f"invalid selector: {text!r}; can't understand {text!r}"
        raise bad_request(why)
    known = ["metadata.name"] + (["metadata.namespace"] if kind.namespaced else [])
    known += [] if kind.custom else _FIELDS.get(kind.plural, ())
    if found["key"] not in known:
        why = f"field label not supported: {found['key']}"
        raise bad_request(why)
    wanted = found["how"] != "!="
    return Term(found["key"], frozenset((found["value"],)), wanted=wanted, absent_passes=not wanted)
