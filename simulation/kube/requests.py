"""From HTTP to the words of this folder and back: routes, query options and answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from sliceward.simulation.kube import patches, refusal, selectors, translation
from sliceward.simulation.kube.listing import ListRequest
from sliceward.simulation.kube.watching import WatchRequest
from sliceward.simulation.kube.writes import Call

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sliceward.simulation.kube.kinds import Kind
    from sliceward.simulation.kube.refusal import Json
    from sliceward.simulation.kube.selectors import Selector
    from sliceward.simulation.kube.store import Item, Store

_ONE = {"GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "POST": "create"}
_ALL = {"GET": "list", "POST": "create", "DELETE": "deletecollection"}


@dataclass(frozen=True, slots=True)
class Route:
    """What a request wants: the verb as Kubernetes counts them, and where."""

    verb: str
    call: Call
    spoken: Kind


def flag(request: web.Request, name: str) -> bool:
    """Read a boolean of the query as the API server does: absent, ``false`` and ``0`` are no, all else is yes."""
    return request.query.get(name, "false").lower() not in {"false", "0"}


def number(request: web.Request, name: str) -> int:
    """Read a whole number of the query."""
    text = request.query.get(name) or "0"
    if not text.isdigit():
        raise refusal.bad_request(f"{name}: strconv.ParseInt: parsing {text!r}: invalid syntax")
    return int(text)


def parts(request: web.Request) -> list[str]:
    """Split the path; slashes at its end do not count."""
    return [part for part in request.path.split("/") if part]


def route(store: Store, request: web.Request) -> Route | None:
    """Find what the path names; None for discovery. Raise a 404 for a kind that is not served."""
    match parts(request):
        case ["api", version, *rest] if rest:
            return _route(store, request, ("", version), rest)
        case ["apis", group, version, *rest] if rest:
            return _route(store, request, (group, version), rest)
    return None


def _route(store: Store, request: web.Request, at: tuple[str, str], rest: list[str]) -> Route:
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in {"status", "finalize"}:  # noqa: PLR2004 - namespaces/NAME/...
        namespace, rest = rest[1], rest[2:]
    kind = store.kinds.get((*at, rest[0]))
    if kind is None or len(rest) > 3 or (namespace and not kind.namespaced):  # noqa: PLR2004 - KIND/NAME/DOOR
        raise refusal.no_such_path()
    name, subresource = (*rest[1:], "", "")[:2]
    doors = ("", *kind.subresources, *(("status",) if kind.status else ()))
    verb = (_ONE if name else _ALL).get(request.method)
    if subresource not in doors or (name and verb == "create" and not subresource):
        raise refusal.no_such_path() if subresource not in doors else _no_method()
    only_create = subresource in kind.subresources and subresource
    if verb is None or (only_create and verb != "create") or (kind.ephemeral and verb != "create"):
        raise _no_method()
    if verb == "list" and flag(request, "watch"):
        verb = "watch"
    if kind.namespaced and not namespace and verb in {"create", "deletecollection"}:
        raise _no_method()
    return Route(verb, _call(request, translation.kept_as(kind), namespace, name, subresource), spoken=kind)


def _no_method() -> refusal.Refusal:
    return refusal.Refusal(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")


def _call(request: web.Request, kind: Kind, namespace: str, name: str, subresource: str) -> Call:
    dry_run = request.query.get("dryRun", "")
    if dry_run not in {"", "All"}:
        raise refusal.bad_request(f"Invalid value: {dry_run!r}: dryRun must be All")
    agent = request.headers.get("User-Agent", "unknown").partition("/")[0]
    applies = request.content_type == patches.APPLY
    manager = request.query.get("fieldManager") or ("" if applies else agent)
    force = flag(request, "force")
    return Call(kind, namespace, name, subresource, manager=manager, dry_run=bool(dry_run), force=force)


def verb_of(request: web.Request) -> str:
    """Guess the verb for faults, before routing: by method, and whether the path names an object."""
    split = parts(request)
    depth = {"api": 2, "apis": 3}.get(split[0] if split else "", len(split))
    rest = split[depth:]
    if rest[:1] == ["namespaces"] and len(rest) > 2:  # noqa: PLR2004 - namespaces/NAME/...
        rest = rest[2:]
    verb = (_ONE if len(rest) > 1 else _ALL).get(request.method, "get")
    return "watch" if verb == "list" and flag(request, "watch") else verb


def selector(request: web.Request, kind: Kind) -> Selector:
    """Read both selectors."""
    fields = translation.fields_to_kept(request.path, request.query.get("fieldSelector", ""))
    return selectors.parse(kind, request.query.get("labelSelector", ""), fields)


def list_request(request: web.Request, call: Call) -> ListRequest:
    """Read the options of a list."""
    return ListRequest(
        selector=selector(request, call.kind),
        namespace=call.namespace,
        limit=number(request, "limit"),
        token=request.query.get("continue", ""),
        version=request.query.get("resourceVersion", ""),
        match=request.query.get("resourceVersionMatch", ""),
    )


def watch_request(request: web.Request, call: Call, bookmark_period: float) -> WatchRequest:
    """Read the options of a watch."""
    seconds = number(request, "timeoutSeconds")
    return WatchRequest(
        selector=selector(request, call.kind),
        namespace=call.namespace,
        version=request.query.get("resourceVersion", ""),
        match=request.query.get("resourceVersionMatch", ""),
        bookmarks=flag(request, "allowWatchBookmarks"),
        initial_events=flag(request, "sendInitialEvents") if "sendInitialEvents" in request.query else None,
        patience=float(seconds or 1800),
        bookmark_period=bookmark_period,
    )


def check_type(kind: Kind, obj: Json) -> None:
    """Raise a 400 where the body is of another kind than the path."""
    api_version, named = obj.get("apiVersion", kind.api_version), obj.get("kind", kind.kind)
    if api_version != kind.api_version:
        why = f"the API version in the data ({api_version}) does not match the expected API version ({kind.api_version})"
        raise refusal.bad_request(why)
    if named != kind.kind:
        raise refusal.bad_request(f"the kind in the data ({named}) does not match the expected kind ({kind.kind})")


def answered(raw: bytes, code: int = 200) -> web.Response:
    """Answer with encoded JSON."""
    return web.Response(body=raw, status=code, content_type="application/json")


def refused(no: refusal.Refusal) -> web.Response:
    """Answer with a ``Status`` of failure."""
    headers = {} if no.retry_after is None else {"Retry-After": str(no.retry_after)}
    return web.Response(body=msgspec.json.encode(no.as_json()), status=no.code, headers=headers, content_type="application/json")


def list_of(kind: Kind, items: Sequence[Item], version: int) -> bytes:
    """Encode some objects as a list."""
    head = {"kind": kind.list_kind, "apiVersion": kind.api_version, "metadata": {"resourceVersion": str(version)}}
    return msgspec.json.encode(head)[:-1] + b',"items":[' + b",".join(item.raw for item in items) + b"]}"
