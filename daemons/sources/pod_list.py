"""The one place of the agent that talks to Kubernetes: the TPU pods of this node, by one small GET a minute.

kubernetes-asyncio would cost the agent more memory than all its sources together.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import ssl
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import structlog

from sliceward.daemons.sources.fetch import Fetcher
from sliceward.daemons.sources.pods import Node, NodeFacts, PodsOnNode, read_pods
from sliceward.topology.errors import Misconfigured, Retry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sliceward.daemons.loops import Loop
    from sliceward.topology.names import Names

log = structlog.get_logger(__name__)

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_MOST_BYTES = 8 << 20
_OK, _FORBIDDEN, _UNAUTHORIZED = 200, 403, 401


@dataclass(frozen=True, slots=True)
class ApiServer:
    """Where the API server is and how we show who we are. The token file is read at each use: kubelets renew it."""

    url: str
    token_file: Path | None = None
    ca_file: Path | None = None

    @classmethod
    def in_cluster(cls, environ: Mapping[str, str] | None = None, account: Path = _ACCOUNT) -> ApiServer | None:
        """Give the API server that every pod is told of; None outside of a cluster."""
        found = os.environ if environ is None else environ
        host, port = found.get("KUBERNETES_SERVICE_HOST"), found.get("KUBERNETES_SERVICE_PORT", "443")
        if not host:
            return None
        place = f"[{host}]" if ":" in host else host
        return cls(f"https://{place}:{port}", account / "token", account / "ca.crt")

    def headers(self) -> dict[str, str]:
        """Give the headers of a request."""
        if self.token_file is None:
            return {}
        try:
            return {"Authorization": f"Bearer {self.token_file.read_text(encoding='utf-8').strip()}"}
        except OSError as error:
            raise Retry(f"token {self.token_file} cannot be read: {error.strerror}") from error

    def tls(self) -> ssl.SSLContext:
        """Give what the server's certificate is checked with: the CA file of the moment, else what the system trusts."""
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise Misconfigured(f"CA file {self.ca_file}", f"cannot be used: {error}", "Mount the service account") from error


async def get(fetcher: Fetcher, server: ApiServer, path: str, **parameters: str) -> dict[str, Any]:
    """Ask once for one JSON object.

    Raises:
        Retry: no answer, no JSON, or a refusal (its text says which permission is missing).
    """
    url = f"{server.url.rstrip('/')}{path}" + (f"?{urlencode(parameters)}" if parameters else "")
    answer = await fetcher.get(url, headers={"Accept": "application/json", **server.headers()}, tls=server.tls)
    if answer.status in (_UNAUTHORIZED, _FORBIDDEN):
        raise Retry(f"the API server answers {answer.status} to {path}: the agent's service account may not read it")
    if answer.status != _OK:
        raise Retry(f"the API server answers {answer.status} to {path}")
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        raise Retry(f"{path} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise Retry(f"{path} is no object")
    return found


EARLIEST, LOOK = 5.0, 1.0
"""Seconds between two lists at least, and between two looks whether one is wanted early."""


@dataclass(slots=True)
class PodList:
    """Keeps `Node.pods` fresh."""

    server: ApiServer
    cluster: str
    node: str
    names: Names
    every: float = 60.0
    timeout: float = 10.0
    _fetcher: Fetcher = field(init=False)

    def __post_init__(self) -> None:
        """Ask nothing yet."""
        self._fetcher = Fetcher(self.timeout, _MOST_BYTES)

    async def run(self, known: Node, loop: Loop) -> None:
        """Ask for ever; a failed list keeps the old one, whose age `PodsOnNode.as_of` tells."""
        while True:
            try:
                if not known.facts.labels:
                    known.facts = await self.node_facts()
                known.pods = await self.pods()
                loop.beat()
            except Retry as error:
                loop.retried(str(error))
                log.warning("pods unknown", node=self.node, why=str(error))
            # Ten thousand agents that were started together must not ask together for ever after.
            await self._rest(known, self.every * random.uniform(0.8, 1.2))  # noqa: S311 (spreads calls over time, keeps no secret)

    async def _rest(self, known: Node, seconds: float) -> None:
        """Wait for the next list; shorter where a pod began since the last."""
        least = min(seconds, EARLIEST)
        await asyncio.sleep(least)
        rested = least
        while rested < seconds and not known.is_behind:
            part = min(LOOK, seconds - rested)
            await asyncio.sleep(part)
            rested += part

    async def pods(self) -> PodsOnNode:
        """Give the TPU pods of this node now. Raises `Retry`."""
        selector = {"fieldSelector": f"spec.nodeName={self.node}", "resourceVersion": "0"}
        items = (await get(self._fetcher, self.server, "/api/v1/pods", **selector)).get("items")
        if not isinstance(items, list):
            raise Retry("the list of pods has no items")
        return read_pods(items, cluster=self.cluster, names=self.names, as_of=time.time())

    async def node_facts(self) -> NodeFacts:
        """Give labels and annotations of this node. Raises `Retry`."""
        meta = (await get(self._fetcher, self.server, f"/api/v1/nodes/{self.node}")).get("metadata") or {}
        return NodeFacts(dict(meta.get("labels") or {}), dict(meta.get("annotations") or {}))
