"""From kubeconfig or service account to a connected cluster."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import yaml
from kubernetes_asyncio import config as kube_config
from kubernetes_asyncio.client import ApiClient, Configuration

from sliceward.remediations.kubernetes.calls import Calls
from sliceward.remediations.kubernetes.cluster import KubernetesCluster
from sliceward.remediations.kubernetes.proxy import proxy_of
from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_USER_AGENT = "sliceward"
_TOKEN_INTERVAL = 60
_READ_AT_ONCE = 2**21
"""Bytes, as the library has it: an object of etcd may have 1.5 MiB."""
_UNUSABLE = (kube_config.ConfigException, OSError, yaml.YAMLError, TypeError, KeyError, AttributeError, ValueError)
"""What the library raises on a file that is empty, half written or of another shape."""


@asynccontextmanager
async def connect(
    name: str, *, kubeconfig: str | Path | None = None, context: str | None = None
) -> AsyncIterator[KubernetesCluster]:
    """Give the cluster ``name`` for as long as the block lasts; one `ApiClient` (one pool, one TLS context) in all.

    Without ``kubeconfig``: the pod's service account where there is one, else ``KUBECONFIG`` or ``~/.kube/config``.
    Nothing is called yet: a cluster that is down is `Retry` at the first call, not here.

    Raises:
        Misconfigured: the file cannot be read, or does not name the context, or its credentials cannot be loaded.
    """
    configuration = Configuration()
    loader = await _load(configuration, kubeconfig, context)
    configuration.proxy = configuration.proxy or proxy_of(str(configuration.host), os.environ)
    async with ApiClient(configuration) as client:
        client.user_agent = _USER_AGENT
        _use_no_threads(client)
        refreshing = asyncio.create_task(_keep_token_fresh(loader, configuration), name=f"token of {name}")
        try:
            yield KubernetesCluster(name, Calls(client))
        finally:
            refreshing.cancel()
            await asyncio.wait([refreshing])


def _use_no_threads(client: ApiClient) -> None:
    """Let calls ask the environment for nothing: aiohttp would do so in two threads for each, behind all else that waits for one."""
    rest = client.rest_client
    asking: aiohttp.ClientSession = rest.pool_manager
    rest.pool_manager = aiohttp.ClientSession(connector=asking.connector, read_bufsize=_READ_AT_ONCE)
    asking.detach()


async def _keep_token_fresh(loader: Any, configuration: Configuration) -> None:  # noqa: ANN401 (untyped in the library)
    """Ask a credential plug-in again each minute; the service account's token is read again by the library itself."""
    while loader is not None:
        try:
            await kube_config.refresh_token(loader, configuration, interval=_TOKEN_INTERVAL)
        except (kube_config.ConfigException, OSError):
            # The old token goes on being used; when it has ended, each call says so by a Retry (401).
            await asyncio.sleep(_TOKEN_INTERVAL)
        else:
            return


async def _load(configuration: Configuration, kubeconfig: str | Path | None, context: str | None) -> Any:  # noqa: ANN401 (the library has no types)
    where = str(kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config")
    in_cluster = kubeconfig is None and context is None and "KUBERNETES_SERVICE_HOST" in os.environ
    try:
        if in_cluster:
            where = "service account of the pod"
            kube_config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]  # library
            return None
        return await kube_config.load_kube_config(
            config_file=str(kubeconfig) if kubeconfig else None, context=context, client_configuration=configuration
        )
    except _UNUSABLE as error:
        raise Misconfigured(
            f"kubeconfig {where}" + (f", context {context}" if context else ""),
            f"cannot be used: {type(error).__name__}: {error}",
            "Name a kubeconfig file and context that `kubectl` accepts, or run inside the cluster with a service account",
        ) from error
