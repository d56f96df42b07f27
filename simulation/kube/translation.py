"""Events by their two names: kept as core ``v1``, spoken as ``events.k8s.io/v1`` to whoever asks there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from sliceward.simulation.kube import kinds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sliceward.simulation.kube.kinds import Kind
    from sliceward.simulation.kube.refusal import Json

_TO_NEW: Mapping[str, str] = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
_TO_CORE = {new: old for old, new in _TO_NEW.items()}


def kept_as(kind: Kind) -> Kind:
    """Give the kind under which objects of a kind are kept."""
    return kinds.EVENT if kind == kinds.NEW_EVENT else kind


def to_kept(spoken: Kind, body: object) -> object:
    """Translate what a client sent: an object or a merge patch."""
    if spoken != kinds.NEW_EVENT or not isinstance(body, dict):
        return body
    renamed = {_TO_CORE.get(key, key): value for key, value in body.items()}
    return renamed | ({"apiVersion": "v1"} if "apiVersion" in renamed else {})


def fields_to_kept(path: str, selector: str) -> str:
    """Translate the field selector of a request to ``path``."""
    if not path.startswith(f"/apis/{kinds.NEW_EVENT.api_version}/"):
        return selector
    terms = (re.sub(r"^regarding\.", "involvedObject.", term.strip()) for term in selector.split(","))
    return ",".join(re.sub(r"^reportingController\b", "reportingComponent", term) for term in terms)


def to_spoken(spoken: Kind, raw: bytes) -> bytes:
    """Translate what is sent to a client: an object, a list or a line of a watch."""
    if spoken != kinds.NEW_EVENT:
        return raw
    answer = msgspec.json.decode(raw)
    if "items" in answer:
        answer = answer | {"apiVersion": spoken.api_version, "items": [_renamed(item) for item in answer["items"]]}
    elif answer.get("type") in {"ADDED", "MODIFIED", "DELETED", "BOOKMARK"} and "object" in answer:
        return msgspec.json.encode(answer | {"object": _renamed(answer["object"])}) + b"\n"
    elif answer.get("kind") == "Event":
        answer = _renamed(answer)
    return msgspec.json.encode(answer)


def _renamed(event: Json) -> Json:
    return {_TO_NEW.get(key, key): value for key, value in event.items()} | {"apiVersion": kinds.NEW_EVENT.api_version}
