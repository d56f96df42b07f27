"""A copy of all objects of one kind, kept fresh by list and watch: level in, level out.

The loop lists in pages, then watches from the list's version; a version that is too old (410) lists again; a cut or silent
connection is opened again from the last version after a jittered pause. What is held is always a state that the server
had, ``age`` seconds ago; while ``problem`` is not "" it grows older and callers decide what that means to them.

A process that holds a large fleet should freeze what its mirrors hold (`sliceward.daemons.collector`): one full garbage
collection over 10,000 nodes and 40,000 pods stalls the loop for 0.5 to 1.3 s, after a freeze it costs nothing.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from sliceward.remediations.kubernetes.calls import Answer, Calls, Status, error_of, path_of
from sliceward.remediations.kubernetes.slim import (
    DEEPEST,
    TOO_DEEP,
    UNREADABLE,
    Page,
    WatchEvent,
    decoder,
    saver,
    shallow,
    version_of,
)
from sliceward.topology.errors import Refused, Retry

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Callable, Collection

    from sliceward.remediations.ports import Kind, Object

PAGE = 500
"""Objects in one page of a list."""
LONGEST_LINE = 8 * 2**20
"""Bytes in one line of a watch: etcd holds objects of 1.5 MiB at most, and JSON may be larger than what is stored."""
MOST_OBJECTS = 500_000
"""Objects in one mirror: beyond, it stops with a problem that says so, before the process runs out of memory."""
_NOT_FOUND = 404
_GONE = 410
_MOST_SET_ASIDE = 100


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Clock (monotonic seconds), source of jitter, and the pauses of a mirror in seconds.

    ``watch``: a watch is opened anew after this long at the latest, so that ``age`` of a living mirror stays below it even
    where the server sends no bookmark. ``silence``: added to it before a connection counts as dead.
    """

    clock: Callable[[], float]
    random: random.Random
    first_pause: float = 0.25
    longest_pause: float = 30.0
    watch: float = 60.0
    silence: float = 10.0
    absent: float = 60.0

    def pause(self, failures: int) -> float:
        """Give the pause after so many failures in a row: doubling, jittered by half."""
        longest = min(self.longest_pause, self.first_pause * 2.0 ** min(failures - 1, 16))
        return self.random.uniform(0.5 * longest, longest)


class _Expired(Exception):
    """The version is of no use any more: list again."""


class _Forgotten(_Expired):
    """A watch was told that its version is too old (410)."""


class Mirror:
    """All objects of ``kind`` that match the selectors and are needed. Not changed in place: a change replaces the object's dict.

    ``needed``: which objects are worth their memory; of the others nothing is held, and no change of them wakes anybody.
    ``problem``: why the mirror is not being kept fresh now, "" while it is. ``absent``: the server does not know the kind,
    which counts as empty. ``set_aside``: objects that could not be read, name -> why. ``relists``, ``failures`` and ``expired`` (watches
    from a version that the server had forgotten) count.
    """

    def __init__(
        self,
        kind: Kind,
        selectors: dict[str, str],
        calls: Calls,
        rhythm: Rhythm,
        *,
        needed: Callable[[Object], bool] | None = None,
    ) -> None:
        """Make it with ``KubernetesCluster.mirror``."""
        self.kind = kind
        self.synced = False
        self.absent = False
        self.problem = "not listed yet"
        self.set_aside: dict[str, str] = {}
        self.relists = 0
        self.failures = 0
        self.expired = 0
        self._selectors = selectors
        self._calls = calls
        self._rhythm = rhythm
        self._needed = needed
        self._decode = decoder(kind)
        self._saved = saver(kind)
        self._objects: dict[tuple[str, str], Object] = {}
        self._version = ""
        self._heard = rhythm.clock()
        self._on_change: Callable[[], None] = lambda: None

    @property
    def objects(self) -> Collection[Object]:
        """The objects as they were ``age`` seconds ago."""
        return tuple(self._objects.values())

    def get(self, name: str, namespace: str = "") -> Object | None:
        """Give one object, as it was ``age`` seconds ago."""
        return self._objects.get((namespace, name))

    @property
    def age(self) -> float:
        """Seconds since the server last said anything that proves the copy fresh: list, event, bookmark, new watch."""
        return self._rhythm.clock() - self._heard

    async def run(self, on_change: Callable[[], None] | None = None) -> None:
        """Keep the copy fresh until cancelled. ``on_change`` wakes (never carries) after each batch of changes."""
        self._on_change = on_change or (lambda: None)
        in_a_row = 0
        while True:
            pause: float | None = None
            try:
                if await self._round():
                    in_a_row = 0
                    continue
                pause = self._rhythm.absent * self._rhythm.random.uniform(0.5, 1.0)
            except _Expired as error:
                self._version = ""
                self.expired += isinstance(error, _Forgotten)
                self.problem = "version too old, listing again"
                in_a_row += 1
            except (Retry, Refused) as error:
                self.failures += 1
                self.problem = str(error)
                in_a_row += 1
                pause = getattr(error, "after", None)
            await asyncio.sleep(pause if pause is not None else self._rhythm.pause(in_a_row))

    async def _round(self) -> bool:
        """List where no version is known, then watch once; False where the kind does not exist."""
        if not self._version and not await self._list():
            return False
        began = self._rhythm.clock()
        await self._watch()
        if self._rhythm.clock() - began < min(1.0, self._rhythm.watch):
            raise Retry(f"watch of {self.kind.plural}: closed at once by the server")
        return True

    async def _list(self) -> bool:
        self.relists += 1
        found: dict[tuple[str, str], Object] = {}
        aside: dict[str, str] = {}
        version, following = "", ""
        while True:
            query = {"limit": str(PAGE), "continue": following, **self._selectors}
            answer = await self._calls.read(path_of(self.kind), {key: value for key, value in query.items() if value})
            if answer.code == _NOT_FOUND:
                self._replace({}, {}, "", absent=True)
                return False
            page = self._page(answer)
            for raw in page.items:
                self._keep(raw, found, aside)
            version, following = page.metadata.version, page.metadata.following
            if not following:
                break
            # Pages are decoded whole; let others run between them.
            await asyncio.sleep(0)
        self._replace(found, aside, version, absent=False)
        return True

    def _page(self, answer: Answer) -> Page:
        what = f"list of {self.kind.plural}"
        if answer.code == _GONE:
            raise _Expired
        if not answer.good:
            raise error_of(answer, what)
        try:
            return _read(answer.body, Page)
        except UNREADABLE as error:
            raise Retry(f"{what}: not a list: {error}") from error

    def _replace(self, objects: dict[tuple[str, str], Object], aside: dict[str, str], version: str, *, absent: bool) -> None:
        changed = objects != self._objects or not self.synced
        self._objects, self.set_aside, self._version, self.absent = objects, aside, version, absent
        self.synced = True
        self._fresh()
        if changed:
            self._on_change()

    async def _watch(self) -> None:
        """Follow changes until the server closes the watch, which it is asked to do after a while."""
        lasts = self._rhythm.watch * self._rhythm.random.uniform(0.8, 1.0)
        query = {
            "watch": "true",
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(max(1, int(lasts))),
            **self._selectors,
        }
        async with self._calls.stream(path_of(self.kind), query, idle=lasts + self._rhythm.silence) as response:
            if response.status != 200:  # noqa: PLR2004 (HTTP)
                answer = await self._calls.whole(response)
                if answer.code == _GONE:
                    raise _Forgotten
                if answer.code == _NOT_FOUND:
                    raise _Expired
                raise error_of(answer, f"watch of {self.kind.plural}")
            self._fresh()
            async for lines in split_lines(response.content.iter_any()):
                self._apply_all(lines)
                self._fresh()

    def _fresh(self) -> None:
        self._heard = self._rhythm.clock()
        self.problem = ""

    def _apply_all(self, lines: list[bytes]) -> None:
        changed = False
        try:
            for line in lines:
                changed = self._apply(line) or changed
        finally:
            if changed:
                self._on_change()

    def _apply(self, line: bytes) -> bool:
        """Take over one event; give whether it changed anything."""
        try:
            event = _read(line, WatchEvent)
        except UNREADABLE as error:
            raise Retry(f"watch of {self.kind.plural}: not an event: {error}") from error
        match event.type:
            case "ADDED" | "MODIFIED":
                changed = self._keep(event.object, self._objects, self.set_aside)
            case "DELETED":
                changed = self._drop(event.object)
            case "BOOKMARK":
                changed = False
            case "ERROR":
                raise _error_event(event, self.kind)
            case _:
                return False
        try:
            self._version = version_of(event.object) or self._version
        except UNREADABLE as error:
            raise Retry(f"watch of {self.kind.plural}: an event without a version: {error}") from error
        return changed

    def _keep(self, raw: msgspec.Raw, objects: dict[tuple[str, str], Object], aside: dict[str, str]) -> bool:
        """Add or replace one object. One that cannot be read is set aside, and its last good copy is kept no longer."""
        try:
            found = self._decode(_not_too_deep(raw))
            key = _key(found)
        except (*UNREADABLE, KeyError) as error:
            name = _name(raw)
            objects.pop(name, None)
            if len(aside) < _MOST_SET_ASIDE:
                aside["/".join(filter(None, name))] = f"{type(error).__name__}: {error}"
            return True
        aside.pop("/".join(filter(None, key)), None)
        if self._needed is not None and not self._needed(found):
            return objects.pop(key, None) is not None
        known = objects.get(key)
        if known is None and len(objects) >= MOST_OBJECTS:
            raise Refused(f"more than {MOST_OBJECTS} {self.kind.plural}: narrow the selector of this mirror")
        objects[key] = self._saved(found)
        return known is None or known["metadata"].get("resourceVersion") != found["metadata"].get("resourceVersion")

    def _drop(self, raw: msgspec.Raw) -> bool:
        name = _name(raw)
        self.set_aside.pop("/".join(filter(None, name)), None)
        return self._objects.pop(name, None) is not None


async def split_lines(chunks: AsyncIterator[bytes], *, longest: int = LONGEST_LINE) -> AsyncIterator[list[bytes]]:
    """Give the whole lines of each chunk together; a last line without an end is dropped (the connection was cut in it).

    Raises:
        Retry: a line grew beyond ``longest`` bytes.
    """
    rest = bytearray()
    async for chunk in chunks:
        end = chunk.rfind(b"\n")
        if end < 0:
            rest += chunk
        else:
            rest += chunk[:end]
            yield [line for line in bytes(rest).split(b"\n") if line.strip()]
            rest = bytearray(chunk[end + 1 :])
        if len(rest) > longest:
            raise Retry(f"a line of a watch is longer than {longest} bytes")


_Document = TypeVar("_Document", Page, WatchEvent)


def _read(body: bytes, kind: type[_Document]) -> _Document:
    try:
        return msgspec.json.decode(body, type=kind)
    except RecursionError:
        return msgspec.json.decode(shallow(body), type=kind)


def _not_too_deep(raw: msgspec.Raw) -> msgspec.Raw:
    if TOO_DEEP in bytes(raw):
        raise msgspec.ValidationError(f"something in it is nested deeper than {DEEPEST} levels")
    return raw


class _Names(msgspec.Struct):
    name: Any = "(no name)"
    namespace: Any = ""


class _Named(msgspec.Struct):
    metadata: _Names


def _name(raw: msgspec.Raw) -> tuple[str, str]:
    try:
        names = msgspec.json.decode(raw, type=_Named).metadata
    except UNREADABLE:
        return "", "(no metadata)"
    return str(names.namespace), str(names.name)


def _key(found: Object) -> tuple[str, str]:
    metadata = found["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def _error_event(event: WatchEvent, kind: Kind) -> Exception:
    try:
        status = msgspec.json.decode(event.object, type=Status)
    except UNREADABLE:
        status = Status()
    if status.code == _GONE:
        return _Forgotten()
    return error_of(Answer(status.code or 500, bytes(event.object)), f"watch of {kind.plural}")
