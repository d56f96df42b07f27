"""Lost history. A real server forgets when it restarts (its watch cache goes on serving through a compaction); ours on command."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sliceward.simulation.kube.server import running_api
from tests.contracts.kubernetes_api import Api, connected, until
from tests.services import servers

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.contracts.kubernetes_api import Json

LEASES = "coordination.k8s.io/v1"


async def two_leases(api: Api) -> str:
    """Give the version between two writes."""
    first = await api.made("leases", {"metadata": {"name": "a"}}, LEASES)
    await api.made("leases", {"metadata": {"name": "b"}}, LEASES)
    return str(first["metadata"]["resourceVersion"])


async def watched_from(api: Api, version: str) -> tuple[int, list[tuple[str, Json]]]:
    """Give the answer to a watch from a version: the code, and all events until its end."""
    async with api.watch(api.at("leases", api=LEASES), resourceVersion=version) as stream:
        return stream.response.status, await stream.rest()


def is_forgotten(told: tuple[int, list[tuple[str, Json]]]) -> bool:
    """Whether a watch was answered 200, one line of error, and the end."""
    code, events = told
    said = [(kind, of["kind"], of["code"], of["reason"], "too old resource version" in of["message"]) for kind, of in events]
    return (code, said) == (200, [("ERROR", "Status", 410, "Expired", True)])


async def test_the_emulator_forgets_on_command(tmp_path: Path) -> None:
    async with running_api() as server, connected(server.write_kubeconfig(tmp_path / "kubeconfig"), real=False) as api:
        version = await two_leases(api)
        page = await api.get(api.at("leases", api=LEASES), limit=1)
        server.compact()
        assert is_forgotten(await watched_from(api, version))
        gone = await api.get(api.at("leases", api=LEASES), limit=1, **{"continue": page["metadata"]["continue"]})
        assert (gone.code, gone.reason) == (410, "Expired")


async def test_a_real_server_forgets_when_it_restarts(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("restarted")
    with servers.control_plane(folder, kubelets=False) as kubeconfig:
        async with connected(kubeconfig, real=True) as api:
            version = await two_leases(api)
            await asyncio.to_thread(servers.end_api_server, folder)
            await asyncio.to_thread(servers.start_api_server, folder)
            await until(lambda: _answers(api), patience=60)
            await api.made("leases", {"metadata": {"name": "c"}}, LEASES)
            assert is_forgotten(await watched_from(api, version))


async def _answers(api: Api) -> bool:
    try:
        return (await api.get(api.at("leases", api=LEASES))).code == 200
    except OSError:
        return False
