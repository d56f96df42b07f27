"""A bare HTTP client for probes of an API server: what goes over the wire, and nothing else."""

from __future__ import annotations

import asyncio
import json
import ssl
import uuid
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import yaml

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

Json = dict[str, Any]

JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"

PATIENCE = 15.0
"""Seconds that anything on a real server may take on a busy machine."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    code: int
    body: Json
    headers: dict[str, str]

    @property
    def version(self) -> str:
        return str(self.body["metadata"]["resourceVersion"])

    @property
    def reason(self) -> str:
        return str(self.body.get("reason", ""))

    @property
    def causes(self) -> list[Json]:
        return list(self.body.get("details", {}).get("causes", ()))

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401 - JSON
        return self.body[key]


@dataclass(slots=True)
class Api:
    """One API server and a namespace of our own on it. ``real`` says which of the two servers it is."""

    session: aiohttp.ClientSession
    url: str
    kubeconfig: Path
    real: bool
    namespace: str = ""
    nodes: list[str] = field(default_factory=list)

    async def call(self, method: str, path: str, body: Any = None, *, type: str = "application/json", **query: Any) -> Answer:  # noqa: A002, ANN401 (JSON, and queries by name)
        asked = {key: str(value) for key, value in query.items()}
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": type, "Accept": "application/json"}
        async with (
            asyncio.timeout(PATIENCE),
            self.session.request(method, self.url + path, data=data, params=asked, headers=headers) as got,
        ):
            text = await got.text()
            parsed = json.loads(text) if text.startswith("{") else {"text": text}
            return Answer(got.status, parsed, dict(got.headers))

    async def get(self, path: str, **query: Any) -> Answer:  # noqa: ANN401 (queries by name)
        return await self.call("GET", path, **query)

    async def post(self, path: str, body: Json, **query: Any) -> Answer:  # noqa: ANN401 (queries by name)
        return await self.call("POST", path, body, **query)

    async def put(self, path: str, body: Json, **query: Any) -> Answer:  # noqa: ANN401 (queries by name)
        return await self.call("PUT", path, body, **query)

    async def patch(self, path: str, body: Any, type: str = MERGE, **query: Any) -> Answer:  # noqa: A002, ANN401 (JSON, and queries by name)
        return await self.call("PATCH", path, body, type=type, **query)

    async def delete(self, path: str, body: Json | None = None, **query: Any) -> Answer:  # noqa: ANN401 (queries by name)
        return await self.call("DELETE", path, body, **query)

    def at(self, plural: str, name: str = "", api: str = "v1") -> str:
        """Give the path of a kind, or of an object, in our namespace."""
        root = f"/api/{api}" if "/" not in api else f"/apis/{api}"
        return f"{root}/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")

    async def made(self, plural: str, body: Json, api: str = "v1") -> Json:
        """Create an object in our namespace and give it."""
        answer = await self.post(self.at(plural, api=api), body)
        assert answer.code == 201, answer
        return answer.body

    async def pod(self, name: str, *, node: str = "", ready: bool = False, **more: Any) -> Json:  # noqa: ANN401 (fields)
        """Create a pod; one with a node is bound, one that is ready runs. No scheduler looks at it."""
        spec = {"containers": [{"name": "main", "image": "nothing"}], "schedulerName": "nobody"} | more.pop("spec", {})
        if node:
            spec["nodeName"] = node
        made = await self.made("pods", {"metadata": {"name": name} | more, "spec": spec})
        if ready:
            status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
            answer = await self.patch(self.at("pods", f"{name}/status"), {"status": status})
            assert answer.code == 200, answer
            return answer.body
        return made

    async def node(self, **more: Any) -> str:  # noqa: ANN401 (fields)
        """Create a node of a name of its own; it is taken away at the end."""
        name = f"node-{uuid.uuid4().hex[:8]}"
        self.nodes.append(name)
        metadata = {"name": name, "labels": {"probe": self.namespace}} | more.pop("metadata", {})
        answer = await self.post("/api/v1/nodes", {"metadata": metadata} | more)
        assert answer.code == 201, answer
        return name

    @asynccontextmanager
    async def watch(self, path: str, **query: Any) -> AsyncIterator[Stream]:  # noqa: ANN401 (queries by name)
        """Open a watch."""
        asked = {key: str(value) for key, value in query.items()} | {"watch": "True"}
        async with self.session.get(self.url + path, params=asked) as got:
            yield Stream(got)


@dataclass(slots=True)
class Stream:
    """An open watch, read event by event."""

    response: aiohttp.ClientResponse

    async def next(self) -> tuple[str, Json]:
        """Give the next event as its type and object."""
        async with asyncio.timeout(PATIENCE):
            line = await self.response.content.readline()
        if not line:
            raise EOFError
        event = json.loads(line)
        return event["type"], event["object"]

    async def take(self, count: int) -> list[tuple[str, str]]:
        """Give the next events as type and name."""
        return [(kind, obj["metadata"]["name"]) for kind, obj in [await self.next() for _ in range(count)]]

    async def rest(self) -> list[tuple[str, Json]]:
        """Give all events until the server ends the watch."""
        found = []
        while True:
            try:
                found.append(await self.next())
            except EOFError:
                return found


async def until(look: Callable[[], Awaitable[bool]], patience: float = PATIENCE) -> None:
    """Wait until something asynchronous on the server has happened; fail where it does not."""
    async with asyncio.timeout(patience):
        while not await look():  # noqa: ASYNC110 - what is waited for is on a server
            await asyncio.sleep(0.02)


@asynccontextmanager
async def connected(kubeconfig: Path, *, real: bool) -> AsyncIterator[Api]:
    """Connect by a kubeconfig with a token, with a namespace of our own for as long as the block runs."""
    config = yaml.safe_load(await asyncio.to_thread(kubeconfig.read_text, encoding="utf-8"))
    url = config["clusters"][0]["cluster"]["server"]
    token = config["users"][0]["user"]["token"]
    tls = ssl.create_default_context()
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    connector = aiohttp.TCPConnector(ssl=tls)
    headers = {"Authorization": f"Bearer {token}", "User-Agent": "probe/1"}
    async with aiohttp.ClientSession(connector=connector, headers=headers, timeout=aiohttp.ClientTimeout()) as session:
        api = Api(session, url, kubeconfig, real)
        name = f"probe-{uuid.uuid4().hex[:8]}"
        answer = await api.post("/api/v1/namespaces", {"metadata": {"name": name}})
        assert answer.code == 201, answer
        api.namespace = name
        try:
            yield api
        finally:
            for node in api.nodes:
                await api.delete(f"/api/v1/nodes/{node}")
            await api.delete(api.at("pods"), gracePeriodSeconds=0)
            await api.delete(f"/api/v1/namespaces/{name}")
