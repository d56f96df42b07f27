"""Bytes of the API server into plain dicts that hold only what sliceward reads.

msgspec skips what a TypedDict does not name, and what is said again and again is held once, so nodes and pods of a mirror cost an
eighth of their full size. Objects of other kinds are kept whole but for ``managedFields``.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypedDict

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from sliceward.remediations.ports import Kind, Object


UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What reading bytes may raise: no JSON or another shape, a text that is no UTF-8, too many levels."""
DEEPEST = 100
"""Levels of a document that are read; a JobSet has 15."""
TOO_DEEP = b"(nested too deeply)"
LONGEST = 256
"""Characters of a text that is looked for among those that others said: a label's key has 317 at most, its value 63."""
_TOKENS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)


class OwnerReference(TypedDict, total=False):
    """Who owns an object."""

    kind: str
    name: str
    uid: str
    controller: bool


class Metadata(TypedDict, total=False):
    """Metadata."""

    name: str
    namespace: str
    uid: str
    resourceVersion: str
    deletionTimestamp: str
    labels: dict[str, str]
    annotations: dict[str, str]
    ownerReferences: list[OwnerReference]


class Condition(TypedDict, total=False):
    """A condition."""

    type: str
    status: str


class Taint(TypedDict, total=False):
    """A taint."""

    key: str
    value: str
    effect: str


class NodeSpec(TypedDict, total=False):
    """What somebody wants of a node."""

    taints: list[Taint]
    unschedulable: bool
    providerID: str


class NodeInfo(TypedDict, total=False):
    """The incarnation of a node."""

    bootID: str


class NodeStatus(TypedDict, total=False):
    """What a node is like."""

    conditions: list[Condition]
    nodeInfo: NodeInfo
    capacity: dict[str, str]


class Node(TypedDict, total=False):
    """A node."""

    metadata: Metadata
    spec: NodeSpec
    status: NodeStatus


class Resources(TypedDict, total=False):
    """What a container asks for."""

    requests: dict[str, str | int]
    limits: dict[str, str | int]


class Container(TypedDict, total=False):
    """A container."""

    resources: Resources


class PodSpec(TypedDict, total=False):
    """What somebody wants of a pod."""

    nodeName: str
    containers: list[Container]
    priority: int


class PodStatus(TypedDict, total=False):
    """What a pod is like."""

    phase: str
    conditions: list[Condition]


class Pod(TypedDict, total=False):
    """A pod."""

    metadata: Metadata
    spec: PodSpec
    status: PodStatus


class PageMeta(msgspec.Struct, rename={"following": "continue", "version": "resourceVersion"}):
    """Version of a list, and where its next page begins."""

    version: str = ""
    following: str = ""


class Page(msgspec.Struct):
    """One page of a list, its items still bytes."""

    metadata: PageMeta
    items: list[msgspec.Raw] = []


class WatchEvent(msgspec.Struct):
    """One line of a watch, its object still bytes."""

    type: str
    object: msgspec.Raw


class _Versioned(msgspec.Struct):
    metadata: PageMeta


_NODE = msgspec.json.Decoder(Node)
_POD = msgspec.json.Decoder(Pod)
_ANY = msgspec.json.Decoder(dict[str, Any])
_VERSION = msgspec.json.Decoder(_Versioned)


def decoder(kind: Kind) -> Callable[[bytes | msgspec.Raw], Object]:
    """Give the function that turns bytes of one object of ``kind`` into a slim dict; it raises msgspec's errors."""
    match (kind.api, kind.plural):
        case ("v1", "nodes"):
            return lambda raw: dict(_NODE.decode(raw))
        case ("v1", "pods"):
            return lambda raw: dict(_POD.decode(raw))
        case _:
            return decode_any


def saver(kind: Kind) -> Callable[[Object], Object]:
    """Give the function that makes what `decoder` gave take little room beside others of its kind, for those that are kept."""
    return _sparing if (kind.api, kind.plural) in {("v1", "nodes"), ("v1", "pods")} else lambda found: found


def _sparing(found: Object) -> Object:
    """Let what a fleet's nodes or pods say alike be one object each: they are never changed in place."""
    metadata, spec, status = found.get("metadata", {}), found.get("spec", {}), found.get("status", {})
    for key in ("labels", "annotations"):
        if key in metadata:
            metadata[key] = {_once(name): _once(text) for name, text in metadata[key].items()}
    for part, key in ((metadata, "ownerReferences"), (spec, "taints"), (status, "conditions")):
        if key in part:
            part[key] = [_alike(tuple(one.items())) for one in part[key]]
    if "capacity" in status:
        status["capacity"] = _alike(tuple(status["capacity"].items()))
    for container in spec.get("containers", ()):
        resources = container.get("resources", {})
        resources.update((key, _alike(tuple(asked.items()))) for key, asked in resources.items())
    return found


def _once(text: str) -> str:
    """Give the one string of this text, if it was said of late."""
    return _same(text) if len(text) <= LONGEST else text


# Not `sys.intern`: Python 3.12.0 to 3.12.6 keep for ever what it was given, and many texts belong to one pod alone.
_same = lru_cache(maxsize=8192)(str)


@lru_cache(maxsize=8192)
def _alike(items: tuple[tuple[str, object], ...]) -> dict[str, object]:
    """Give the one mapping of these items."""
    return dict(items)


def decode_any(raw: bytes | msgspec.Raw) -> Object:
    """Give an object whole, but for ``managedFields``."""
    found = _ANY.decode(raw)
    metadata = found.get("metadata")
    if isinstance(metadata, dict):
        metadata.pop("managedFields", None)
    return found


def shallow(raw: bytes) -> bytes:
    """Give JSON in which `TOO_DEEP` stands where something is nested deeper than `DEEPEST`; without recursion.

    The API server takes 10,000 levels, msgspec and Python less than 1,000: one such object must not cost its whole list.
    """
    found, depth, done, begin = [], 0, 0, 0
    for token in _TOKENS.finditer(raw):
        match token[0]:
            case b"{" | b"[":
                depth += 1
                begin = token.start() if depth == DEEPEST + 1 else begin
            case b"}" | b"]":
                depth -= 1
                if depth == DEEPEST:
                    found += [raw[done:begin], b'"', TOO_DEEP, b'"']
                    done = token.end()
            case _:
                pass  # a text, whose brackets are none
    return b"".join((*found, raw[done:]))


def version_of(raw: bytes | msgspec.Raw) -> str:
    """Give ``metadata.resourceVersion`` of an object, whatever its kind."""
    return _VERSION.decode(raw).metadata.version
