"""What one suite of tests runs on twice: an API server, emulated and real (without fake kubelets); a store in SQLite and PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sliceward.daemons.store import Store, open_store
from sliceward.simulation.kube.server import running_api
from tests.builders import NOW
from tests.contracts.kubernetes_api import Api, connected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture(params=["emulated", "real"])
async def api(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Api]:
    if request.param == "real":
        async with connected(request.getfixturevalue("bare_control_plane"), real=True) as real:
            yield real
        return
    async with running_api() as server, connected(server.write_kubeconfig(tmp_path / "kubeconfig"), real=False) as emulated:
        yield emulated


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres"))
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    async with open_store(url) as opened:
        await opened.lead("one", now=NOW)
        yield opened
