"""Watches: from a request to a stream of lines, each one JSON event.

The stream reads the log of its kind from its own position. Where the position has fallen below the log's floor (history
compacted, or the client too slow for the log's capacity), a new watch is answered one ``ERROR`` line with code 410 under
HTTP 200, as Kubernetes 1.36 does; a running one is simply closed.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from sliceward.simulation.kube.listing import check_version
from sliceward.simulation.kube.refusal import Cause, Refusal, expired

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from sliceward.simulation.kube.kinds import Kind
    from sliceward.simulation.kube.selectors import Selector
    from sliceward.simulation.kube.store import Change, Collection, Item, Store

_BATCH = 256
"""Changes written at once; bounds what a stalled client holds in memory."""

_BEFORE_END = 2.0
"""Seconds before the end at which a last bookmark is sent (``bookmarkFrequency`` in the API server's cacher)."""


@dataclass(frozen=True, slots=True)
class WatchRequest:
    """What a watch asks for; ``patience`` is its length in seconds, ``bookmark_period`` the time between bookmarks."""

    selector: Selector
    namespace: str = ""
    version: str = ""
    match: str = ""
    bookmarks: bool = False
    initial_events: bool | None = None
    patience: float = 1800.0
    bookmark_period: float = 60.0


def check(request: WatchRequest) -> None:
    """Raise a 500 or 422 where the options do not go together; to be called before the answer begins."""
    if request.version and not request.version.isdigit():
        why = (
            f'resourceVersion: Invalid value: "{request.version}": strconv.ParseUint: parsing "{request.version}": invalid syntax'
        )
        raise Refusal(500, "", why)
    if request.initial_events is not None and request.match != "NotOlderThan":
        where = "resourceVersionMatch"
        why = "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        cause = Cause(where, "FieldValueForbidden", why)
        message = f'ListOptions.meta.k8s.io "" is invalid: {where}: {why}'
        details = {"group": "meta.k8s.io", "kind": "ListOptions", "causes": [cause.as_json()]}
        raise Refusal(422, "Invalid", message, details)
    if request.match and request.initial_events is None:
        where = "resourceVersionMatch"
        why = "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        details = {"group": "meta.k8s.io", "kind": "ListOptions"}
        raise Refusal(422, "Invalid", f'ListOptions.meta.k8s.io "" is invalid: {where}: {why}', details)


async def events(store: Store, kind: Kind, request: WatchRequest) -> AsyncIterator[list[bytes]]:
    """Stream batches of lines until the patience ends or the position is lost; a last bookmark precedes a long watch's end."""
    collection = store.collection(kind)
    loop = asyncio.get_running_loop()
    end = loop.time() + request.patience
    position = _start(store, collection, request)
    if position is None:
        yield [_error_line(request.version, collection.floor)]
        return
    with _woken(collection) as waker:
        if _wants_state(request):
            for batch in _initial(kind, collection, request, store.version):
                yield batch
        next_bookmark = _bookmark_time(request, loop.time(), end)
        while loop.time() < end and position >= collection.lost:
            waker.clear()
            changes = collection.since(position, at_most=_BATCH)
            if changes:
                position = changes[-1].version
                lines = [line for change in changes for line in _seen(change, request)]
                if lines:
                    yield lines
                continue
            if request.bookmarks and loop.time() >= next_bookmark:
                next_bookmark = _bookmark_time(request, loop.time(), end)
                yield [bookmark_line(kind, store.version)]
                continue
            await _wait(waker, min(end, next_bookmark if request.bookmarks else end) - loop.time())


def _bookmark_time(request: WatchRequest, now: float, end: float) -> float:
    last = end - _BEFORE_END
    return min(now + request.bookmark_period, last) if now < last else now + request.bookmark_period


async def _wait(waker: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(max(seconds, 0)):
            await waker.wait()
    except TimeoutError:
        return


@contextmanager
def _woken(collection: Collection) -> Iterator[asyncio.Event]:
    waker = asyncio.Event()
    collection.wakers.add(waker)
    try:
        yield waker
    finally:
        collection.wakers.discard(waker)


def _wants_state(request: WatchRequest) -> bool:
    if request.initial_events is not None:
        return request.initial_events
    return request.version in {"", "0"}


def _start(store: Store, collection: Collection, request: WatchRequest) -> int | None:
    """Give the position to start from; None where it is forgotten. A version of the future waits in silence."""
    if request.version in {"", "0"} or request.initial_events:
        return store.version
    try:
        asked = check_version(store, request.version)
    except Refusal:
        return int(request.version)
    return asked if asked >= collection.floor else None


def _initial(kind: Kind, collection: Collection, request: WatchRequest, version: int) -> Iterator[list[bytes]]:
    items = [item for item in collection.within(request.namespace) if item.selected(request.selector, "")]
    for start in range(0, len(items), _BATCH):
        yield [_line(b"ADDED", item.raw) for item in items[start : start + _BATCH]]
    if request.initial_events and request.bookmarks:
        yield [bookmark_line(kind, version, {"k8s.io/initial-events-end": "true"})]


def _seen(change: Change, request: WatchRequest) -> list[bytes]:
    """Say what a change is to this watcher, for whom objects come and go by the selector too."""

    def sees(item: Item | None) -> bool:
        return item is not None and item.selected(request.selector, request.namespace)

    before = sees(change.before)
    after = not change.gone and sees(change.after)
    if before and after:
        return [_line(b"MODIFIED", change.after.raw)]
    if after:
        return [_line(b"ADDED", change.after.raw)]
    if before and change.gone:
        return [_line(b"DELETED", change.after.raw)]
    if before and change.before is not None:
        return [_line(b"DELETED", _under_version(change.before, change.version))]
    return []


def _under_version(item: Item, version: int) -> bytes:
    """Give the old state under the version of the change that made it leave the selection."""
    obj = item.object()
    obj["metadata"]["resourceVersion"] = str(version)
    return msgspec.json.encode(obj)


def _line(what: bytes, raw: bytes) -> bytes:
    return b'{"type":"' + what + b'","object":' + raw + b"}\n"


def bookmark_line(kind: Kind, version: int, annotations: dict[str, str] | None = None) -> bytes:
    """Say that everything up to this version was sent."""
    meta: dict[str, object] = {"resourceVersion": str(version), "creationTimestamp": None}
    if annotations:
        meta["annotations"] = annotations
    return _line(b"BOOKMARK", msgspec.json.encode({"kind": kind.kind, "apiVersion": kind.api_version, "metadata": meta}))


def _error_line(version: str, floor: int) -> bytes:
    return _line(b"ERROR", msgspec.json.encode(expired(f"too old resource version: {version} ({floor})").as_json()))
