"""`KubernetesCluster`: the port `sliceward.remediations.ports.Cluster` over a real API server, or one that looks like it."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import msgspec

from sliceward.remediations.kubernetes.calls import Answer, Calls, error_of, path_of
from sliceward.remediations.kubernetes.mirror import Mirror, Rhythm
from sliceward.remediations.kubernetes.slim import UNREADABLE, Page, decode_any
from sliceward.topology.errors import Conflict, Refused, Retry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime, timedelta

    from sliceward.remediations.ports import Kind, Object

PAGE = 500
"""Objects in one page of a list: 35 to 100 ms of the server's time at 10,000 nodes."""
_NOT_FOUND = 404
_GONE = 410


class KubernetesCluster:
    """One cluster, by one `ApiClient`. Reads are fresh; every call is bounded in time; at most 16 writes at once."""

    def __init__(self, name: str, calls: Calls) -> None:
        """Make it with `sliceward.remediations.kubernetes.connect`."""
        self.name = name
        self._calls = calls

    def __repr__(self) -> str:
        """Show the name alone."""
        return f"KubernetesCluster({self.name!r})"

    async def version(self) -> str:
        """Give the server's version, e.g. ``v1.36.3``: the cheapest proof that it answers."""
        answer = await self._calls.read("/version")
        if not answer.good:
            raise error_of(answer, "GET /version")
        return str(_object(answer).get("gitVersion", ""))

    async def clock(self) -> datetime | None:
        """Give the server's wall time, to the second; None where it does not say."""
        answer = await self._calls.read("/version")
        if not answer.good:
            raise error_of(answer, "GET /version")
        return answer.date

    async def get(self, kind: Kind, name: str, namespace: str = "") -> Object | None:
        """Give the object, or None where it (or its kind) does not exist."""
        path = path_of(kind, namespace, name)
        answer = await self._calls.read(path)
        if answer.code == _NOT_FOUND:
            return None
        if not answer.good:
            raise error_of(answer, f"GET {path}")
        return _object(answer)

    async def list(self, kind: Kind, *, namespace: str = "", labels: str = "", fields: str = "") -> Sequence[Object]:
        """Give all objects that match both selectors; empty where the kind does not exist."""
        path = path_of(kind, namespace)
        found: list[Object] = []
        following = ""
        while True:
            query = {"limit": str(PAGE), "labelSelector": labels, "fieldSelector": fields, "continue": following}
            answer = await self._calls.read(path, {key: value for key, value in query.items() if value})
            if answer.code == _NOT_FOUND:
                return ()
            if not answer.good:
                raise error_of(answer, f"GET {path}")
            try:
                page = msgspec.json.decode(answer.body, type=Page)
                found += [decode_any(item) for item in page.items]
            except UNREADABLE as error:
                raise Retry(f"GET {path}: something of the list cannot be read: {error}") from error
            following = page.metadata.following
            if not following:
                return found

    async def create(self, kind: Kind, body: Object, namespace: str = "") -> Object:
        """Create; if an object of that name exists already, give that one instead."""
        path = path_of(kind, namespace)
        answer = await self._calls.write("POST", path, body)
        if answer.good:
            return _object(answer)
        name = body.get("metadata", {}).get("name", "")
        if answer.status.reason == "AlreadyExists" and name:
            found = await self.get(kind, name, namespace)
            if found is None:
                raise Retry(f"POST {path}: {name} existed a moment ago and is gone")
            return found
        raise error_of(answer, f"POST {path}")

    async def patch(self, kind: Kind, name: str, body: Object, namespace: str = "") -> Object:
        """Merge-patch. With ``metadata.resourceVersion`` in ``body`` a stale version raises `Conflict`."""
        path = path_of(kind, namespace, name)
        answer = await self._calls.write("PATCH", path, body)
        if not answer.good:
            raise error_of(answer, f"PATCH {path}")
        return _object(answer)

    async def delete(self, kind: Kind, name: str, namespace: str = "", *, uid: str = "", grace: timedelta | None = None) -> bool:
        """Delete if it still has ``uid``; ``grace`` zero is force. Give whether there was something to delete."""
        path = path_of(kind, namespace, name)
        options: Object = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        if uid:
            options["preconditions"] = {"uid": uid}
        if grace is not None:
            options["gracePeriodSeconds"] = int(grace.total_seconds())
        answer = await self._calls.write("DELETE", path, options)
        if answer.good:
            return True
        if answer.code == _NOT_FOUND:
            return False
        error = error_of(answer, f"DELETE {path}")
        if isinstance(error, Conflict) and uid and await self._is_another(kind, name, namespace, uid):
            return False
        raise error

    async def _is_another(self, kind: Kind, name: str, namespace: str, uid: str) -> bool:
        now = await self.get(kind, name, namespace)
        return now is None or now["metadata"]["uid"] != uid

    def mirror(self, kind: Kind, *, fields: str = "", labels: str = "", needed: Callable[[Object], bool] | None = None) -> Mirror:
        """Give a copy of all objects of ``kind`` that match and are ``needed``, kept fresh while its ``run`` runs."""
        selectors = {key: value for key, value in {"fieldSelector": fields, "labelSelector": labels}.items() if value}
        return Mirror(kind, selectors, self._calls, Rhythm(time.monotonic, random.Random()), needed=needed)  # noqa: S311 (jitter)


def _object(answer: Answer) -> Object:
    try:
        return decode_any(answer.body)
    except UNREADABLE as error:
        raise Refused(f"the API server answered something that is not an object: {error}") from error
