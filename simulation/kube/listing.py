"""Lists: selectors, pages with ``limit`` and ``continue`` over one frozen state, and the version rules of reads."""

from __future__ import annotations

import base64
import binascii
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from sliceward.simulation.kube.refusal import bad_request, expired, too_large_version

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sliceward.simulation.kube.kinds import Kind
    from sliceward.simulation.kube.selectors import Selector
    from sliceward.simulation.kube.store import Item, Store

_KEPT_PAGES = 32
"""Lists whose later pages are kept at the same time; the oldest is forgotten first."""


class Bookmark(msgspec.Struct):
    """What a ``continue`` token says: which frozen list, and how far it was read."""

    state: int
    start: int


@dataclass(frozen=True, slots=True)
class ListRequest:
    """What a list asks for."""

    selector: Selector
    namespace: str = ""
    limit: int = 0
    token: str = ""
    version: str = ""
    match: str = ""


@dataclass(slots=True)
class Pages:
    """States of lists that are being read page by page."""

    frozen: OrderedDict[int, tuple[int, Sequence[Item]]] = field(default_factory=OrderedDict)
    drawn: int = 0

    def keep(self, version: int, items: Sequence[Item]) -> int:
        """Keep a state for its later pages."""
        self.drawn += 1
        self.frozen[self.drawn] = (version, items)
        while len(self.frozen) > _KEPT_PAGES:
            self.frozen.popitem(last=False)
        return self.drawn

    def forget(self) -> None:
        """Drop all states, as a compaction does."""
        self.frozen.clear()


def list_objects(store: Store, pages: Pages, kind: Kind, request: ListRequest) -> bytes:
    """Answer a list as encoded JSON; raise 400, 410 or 504 where it cannot be."""
    check_version(store, request.version)
    if request.match == "Exact" and request.version not in {"", str(store.version)}:
        raise expired(f"the resourceVersion for the provided list is too old: {request.version}")
    start, version, state = 0, store.version, 0
    if request.token:
        bookmark = _opened(request.token)
        if bookmark.state not in pages.frozen:
            raise expired("The provided continue parameter is too old to display a consistent list result.")
        start, state = bookmark.start, bookmark.state
        version, items = pages.frozen[state]
    else:
        items = [item for item in store.collection(kind).within(request.namespace) if item.selected(request.selector, "")]
    page = items[start : start + request.limit] if request.limit else items[start:]
    meta = {"resourceVersion": str(version)}
    left = len(items) - start - len(page)
    if left > 0:
        state = state or pages.keep(version, items)
        meta["continue"] = base64.urlsafe_b64encode(msgspec.json.encode(Bookmark(state, start + len(page)))).decode()
        if request.selector.empty:
            return _encoded(kind, meta, page, remaining=left)
    return _encoded(kind, meta, page, remaining=None)


def check_version(store: Store, version: str) -> int:
    """Read the version that a list or a watch asks for; raise 400 or 504 where it is none or in the future."""
    if not version.isdigit() and version:
        why = f'invalid resource version: resourceVersion: Invalid value: "{version}": strconv.ParseUint: parsing "{version}": invalid syntax'
        raise bad_request(why)
    asked = int(version or 0)
    if asked > store.version:
        raise too_large_version(asked, store.version)
    return asked


def _opened(token: str) -> Bookmark:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(token), type=Bookmark)
    except (binascii.Error, msgspec.DecodeError, ValueError) as error:
        raise bad_request("continue key is not valid") from error


def _encoded(kind: Kind, meta: dict[str, str], page: Sequence[Item], *, remaining: int | None) -> bytes:
    head = {"kind": kind.list_kind, "apiVersion": kind.api_version}
    full_meta = meta if remaining is None else meta | {"remainingItemCount": remaining}
    body = msgspec.json.encode(head | {"metadata": full_meta})
    return body[:-1] + b',"items":[' + b",".join(item.raw for item in page) + b"]}"
