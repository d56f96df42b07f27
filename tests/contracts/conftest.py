"""The two API servers that one suite of probes runs on: the emulated one, and a real one without fake kubelets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sliceward.simulation.kube.server import running_api
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
