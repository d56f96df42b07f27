"""Refusals as Kubernetes says them: a ``Status`` object with code, reason, message and details."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sliceward.simulation.kube.kinds import Kind

Json = dict[str, Any]
"""A JSON object."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One field that validation refuses: its path, the machine's reason and the message."""

    field: str
    reason: str
    message: str

    def as_json(self) -> Json:
        """Give it as an entry of ``details.causes``."""
        return {"reason": self.reason, "message": self.message, "field": self.field}


def invalid_value(where: str, value: object, why: str) -> Cause:
    """Say that a value is wrong."""
    return Cause(where, "FieldValueInvalid", f"Invalid value: {_quoted(value)}: {why}")


def unsupported_value(where: str, value: object, supported: Sequence[str]) -> Cause:
    """Say that a value is not one of a fixed set."""
    listed = ", ".join(f'"{name}"' for name in sorted(supported))
    return Cause(where, "FieldValueNotSupported", f"Unsupported value: {_quoted(value)}: supported values: {listed}")


def required_value(where: str, why: str = "") -> Cause:
    """Say that a field is missing."""
    return Cause(where, "FieldValueRequired", f"Required value: {why}" if why else "Required value")


def forbidden_value(where: str, why: str) -> Cause:
    """Say that a field may not be set or changed."""
    return Cause(where, "FieldValueForbidden", f"Forbidden: {why}")


def duplicate_value(where: str, value: object) -> Cause:
    """Say that a list holds an entry twice."""
    return Cause(where, "FieldValueDuplicate", f"Duplicate value: {_quoted(value)}")


def _quoted(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


@dataclass(slots=True, eq=False)
class Refusal(Exception):
    """A request that ends in a ``Status`` of failure."""

    code: int
    reason: str
    message: str
    details: Json = field(default_factory=dict)
    retry_after: int | None = None

    def __str__(self) -> str:
        """Give what a log line should say."""
        return f"{self.code} {self.reason}: {self.message}"

    def as_json(self) -> Json:
        """Give the ``Status`` object."""
        details = dict(self.details)
        if self.retry_after is not None:
            details["retryAfterSeconds"] = self.retry_after
        body: Json = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": self.message}
        if self.reason:
            body["reason"] = self.reason
        if details:
            body["details"] = details
        return body | {"code": self.code}


def success(kind: Kind | None = None, name: str = "", uid: str = "") -> Json:
    """Give the ``Status`` of an act that has no object to show."""
    body: Json = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    if kind is not None:
        body["details"] = details_of(kind, name) | ({"uid": uid} if uid else {})
    return body


def details_of(kind: Kind, name: str) -> Json:
    """Name an object the way details do."""
    details = {"name": name, "group": kind.group, "kind": kind.plural}
    return {key: value for key, value in details.items() if value}


def not_found(kind: Kind, name: str) -> Refusal:
    """Say that the object is not there."""
    return Refusal(404, "NotFound", f'{kind.resource} "{name}" not found', details_of(kind, name))


def no_such_path() -> Refusal:
    """Say that nothing is served under the path."""
    return Refusal(404, "NotFound", "the server could not find the requested resource")


def already_exists(kind: Kind, name: str) -> Refusal:
    """Say that the name is taken."""
    return Refusal(409, "AlreadyExists", f'{kind.resource} "{name}" already exists', details_of(kind, name))


def conflict(kind: Kind, name: str, why: str = "") -> Refusal:
    """Say that the write started from an old version, or met another state than it demanded."""
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {kind.resource} "{name}": {why}'
    return Refusal(409, "Conflict", message, details_of(kind, name))


def invalid(kind: Kind, name: str, causes: Sequence[Cause]) -> Refusal:
    """Say which fields are wrong."""
    said = [f"{cause.field}: {cause.message}" for cause in causes]
    listed = said[0] if len(said) == 1 else f"[{', '.join(said)}]"
    full_kind = f"{kind.kind}.{kind.group}" if kind.group else kind.kind
    details = {key: value for key, value in (("name", name), ("group", kind.group), ("kind", kind.kind)) if value}
    causes_json = {"causes": [cause.as_json() for cause in causes]}
    return Refusal(422, "Invalid", f'{full_kind} "{name}" is invalid: {listed}', details | causes_json)


def bad_request(why: str) -> Refusal:
    """Say that the request cannot be read."""
    return Refusal(400, "BadRequest", why)


def forbidden(kind: Kind, name: str, why: str) -> Refusal:
    """Say that the act is not allowed."""
    return Refusal(403, "Forbidden", f'{kind.resource} "{name}" is forbidden: {why}', details_of(kind, name))


def unsupported_media(why: str) -> Refusal:
    """Say that the body's encoding is not understood."""
    return Refusal(415, "UnsupportedMediaType", why)


def expired(why: str) -> Refusal:
    """Say that the asked version lies before what is remembered."""
    return Refusal(410, "Expired", why)


def too_large_version(asked: int, current: int) -> Refusal:
    """Say that the asked version has not happened yet."""
    message = f"Timeout: Too large resource version: {asked}, current: {current}"
    details = {"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]}
    return Refusal(504, "Timeout", message, details, retry_after=1)
