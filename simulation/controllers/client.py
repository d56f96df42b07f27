"""A small HTTP client for any Kubernetes API server, and mirrors of its objects kept by list and watch."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec
import yaml

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

Json = dict[str, Any]

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"

_CALL_SECONDS = 15
_WATCH_SECONDS = 300
_CLOSING = 0.05
_AT_ONCE = 16
"""Writes in flight: more only lengthen the server's queue."""


class Refusal(Exception):
    """An answer of 400 or more."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        """Keep what the ``Status`` said."""
        super().__init__(f"{code} {reason}: {message[:300]}")
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind as paths name it."""

    api: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str = "", name: str = "", door: str = "") -> str:
        """Give the path of all, of a namespace's, or of one object."""
        root = f"/apis/{self.api}" if "/" in self.api else f"/api/{self.api}"
        home = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return "/".join((f"{root}{home}/{self.plural}", *(part for part in (name, door) if part)))


NODES = Resource("v1", "nodes", namespaced=False)
PODS = Resource("v1", "pods")
JOBS = Resource("batch/v1", "jobs")
JOBSETS = Resource("jobset.x-k8s.io/v1alpha2", "jobsets")
DEFINITIONS = Resource("apiextensions.k8s.io/v1", "customresourcedefinitions", namespaced=False)


@dataclass(slots=True)
class Client:
    """Calls to one API server."""

    session: aiohttp.ClientSession
    url: str
    gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))

    async def call(self, method: str, path: str, body: object = None, *, kind: str = "application/json") -> Json:
        """Make one call; raise `Refusal` where the server refuses it."""
        data = None if body is None else msgspec.json.encode(body)
        headers = {"Content-Type": kind}
        async with (
            self.gate,
            asyncio.timeout(_CALL_SECONDS),
            self.session.request(method, self.url + path, data=data, headers=headers) as answer,
        ):
            raw = await answer.read()
        found: Json = msgspec.json.decode(raw) if raw[:1] == b"{" else {}
        if answer.status >= 400:  # noqa: PLR2004 - refusals begin here
            raise Refusal(answer.status, found.get("reason", ""), found.get("message", ""))
        return found

    async def create(self, resource: Resource, body: Json) -> Json:
        """Create an object in the namespace it names."""
        return await self.call("POST", resource.path(body["metadata"].get("namespace", "")), body)

    async def patch(self, resource: Resource, obj: Json, patch: Json, *, door: str = "", kind: str = MERGE) -> Json:
        """Patch an object that was read."""
        meta = obj["metadata"]
        return await self.call("PATCH", resource.path(meta.get("namespace", ""), meta["name"], door), patch, kind=kind)

    async def delete(self, resource: Resource, obj: Json, **options: object) -> None:
        """Delete the very object that was read; one that is gone or replaced already is no error."""
        meta = obj["metadata"]
        body = {"preconditions": {"uid": meta["uid"]}} | options
        try:
            await self.call("DELETE", resource.path(meta.get("namespace", ""), meta["name"]), body)
        except Refusal as no:
            if no.code not in {404, 409}:
                raise


@dataclass(slots=True)
class Mirror:
    """All objects of a kind by (namespace, name), never older than what this process wrote itself."""

    client: Client
    resource: Resource
    on_change: Callable[[], None]
    objects: dict[tuple[str, str], Json] = field(default_factory=dict)
    synced: asyncio.Event = field(default_factory=asyncio.Event)
    dead: deque[str] = field(default_factory=lambda: deque(maxlen=4096))

    def __iter__(self) -> Iterator[Json]:
        """Give the objects."""
        return iter(list(self.objects.values()))

    def get(self, name: str, namespace: str = "") -> Json | None:
        """Give an object."""
        return self.objects.get((namespace, name))

    def note(self, obj: Json) -> Json:
        """Take over an answer to a write of our own before the watch tells of it."""
        if obj.get("kind") != "Status" and obj["metadata"]["uid"] not in self.dead:
            self._keep(obj)
        return obj

    async def run(self) -> None:
        """List and watch for ever; after any break list again."""
        while True:
            try:
                version = await self._list()
                while True:
                    version = await self._watch(version)
            except (aiohttp.ClientError, TimeoutError, Refusal, EOFError, OSError):
                await asyncio.sleep(0.2)

    async def _list(self) -> str:
        found = await self.client.call("GET", self.resource.path())
        here = {_key(obj): obj for obj in found["items"]}
        for key in self.objects.keys() - here.keys():
            del self.objects[key]
        self.objects.update(here)
        self.synced.set()
        self.on_change()
        return str(found["metadata"]["resourceVersion"])

    async def _watch(self, version: str) -> str:
        """Watch once; give the version to go on from. Raise where that is lost."""
        asked = {
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        patience = aiohttp.ClientTimeout(total=None, sock_read=_WATCH_SECONDS + 30)
        async with self.client.session.get(self.client.url + self.resource.path(), params=asked, timeout=patience) as stream:
            if stream.status != 200:  # noqa: PLR2004 - a watch begins with 200 or not at all
                raise Refusal(stream.status, "", "watch refused")
            async for event in _events(stream.content):
                obj = event["object"]
                if event["type"] == "ERROR":
                    raise EOFError
                version = obj["metadata"]["resourceVersion"]
                if event["type"] == "DELETED":
                    self.dead.append(obj["metadata"]["uid"])
                    known = self.objects.get(_key(obj))
                    if known is not None and known["metadata"]["uid"] == obj["metadata"]["uid"]:
                        del self.objects[_key(obj)]
                elif event["type"] != "BOOKMARK":
                    self._keep(obj)
                self.on_change()
        return version

    def _keep(self, obj: Json) -> None:
        known = self.objects.get(_key(obj))
        if known is None or _version(obj) >= _version(known):
            self.objects[_key(obj)] = obj


async def _events(content: aiohttp.StreamReader) -> AsyncIterator[Json]:
    """Split a stream into lines without a bound on their length."""
    rest = b""
    async for chunk in content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield msgspec.json.decode(line)


def _key(obj: Json) -> tuple[str, str]:
    meta = obj["metadata"]
    return meta.get("namespace", ""), meta["name"]


def _version(obj: Json) -> int:
    return int(obj["metadata"]["resourceVersion"])


async def all_of(calls: Iterable[Any]) -> None:
    """Make calls together; what one refuses does not stop the others, and the first refusal is raised at the end."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result


@asynccontextmanager
async def connect(server: str | Path) -> AsyncIterator[Client]:
    """Connect to a URL, or by a kubeconfig file with a token; its current context decides."""
    url, token, tls = _address(server)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    connector = aiohttp.TCPConnector(ssl=tls, limit=0)
    async with aiohttp.ClientSession(connector=connector, headers=headers, auto_decompress=True) as session:
        yield Client(session, url)
    # Cancelled watches leave TLS transports that close a few turns of the loop later; a loop that ends now would complain.
    await asyncio.sleep(_CLOSING)


def _address(server: str | Path) -> tuple[str, str, ssl.SSLContext]:
    tls = ssl.create_default_context()
    if str(server).startswith("http"):
        return str(server).rstrip("/"), "", tls
    config = yaml.safe_load(Path(server).read_text(encoding="utf-8"))
    context = next(of["context"] for of in config["contexts"] if of["name"] == config["current-context"])
    cluster = next(of["cluster"] for of in config["clusters"] if of["name"] == context["cluster"])
    user = next(of["user"] for of in config["users"] if of["name"] == context["user"])
    if "certificate-authority-data" in cluster:
        tls.load_verify_locations(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    elif cluster.get("insecure-skip-tls-verify"):
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    return cluster["server"].rstrip("/"), user.get("token", ""), tls
