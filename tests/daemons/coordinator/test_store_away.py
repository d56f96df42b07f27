"""A database that is away, at the start and in the middle, over a real process: it says so, is not ready, lives, and goes on."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

from tests.daemons.coordinator.test_running import environ
from tests.flows.real.services import a_database
from tests.services.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["environ"]
ROOT = Path(__file__).parents[3]
PATIENCE = 240.0


async def ask(session: aiohttp.ClientSession, url: str) -> tuple[int, str]:
    """Give status and text; status 0 where nobody answers (yet)."""
    try:
        async with session.get(url, timeout=aiohttp.ClientTimeout(total=10)) as answer:
            return answer.status, await answer.text()
    except (aiohttp.ClientError, TimeoutError):
        return 0, ""


async def until(session: aiohttp.ClientSession, url: str, good: Callable[[int, str], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not good(*await ask(session, url)):  # noqa: ASYNC110 (the progress of another process)
            await asyncio.sleep(0.2)


async def test_it_waits_for_its_store_at_the_start_and_outlives_an_outage(environ: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "pg"
    folder.mkdir()
    database, port = a_database(folder), free_port()
    url = database.start().url
    await database.away()
    more = {
        "PYTHONPATH": str(ROOT / ".types"),
        "SLICEWARD_STORE_URL": url.replace("postgresql+asyncpg", "postgresql"),
        "SLICEWARD_API__PORT": str(port),
        "SLICEWARD_PACE__SWEEP_EVERY": "1s",
    }
    with (tmp_path / "log").open("wb") as log:
        command = (sys.executable, "-m", "sliceward.daemons.cli", "coordinator")
        process = await asyncio.create_subprocess_exec(*command, env=os.environ | environ | more, stdout=log, stderr=log)
    base = f"http://127.0.0.1:{port}"
    try:
        async with aiohttp.ClientSession() as session:
            await until(session, f"{base}/readyz", lambda status, text: status == 503 and "did not answer" in text)
            assert (await ask(session, f"{base}/healthz"))[0] == 200
            assert "sliceward_leading 0.0" in (await ask(session, f"{base}/metrics"))[1]
            await database.back()
            await until(session, f"{base}/readyz", lambda status, _text: status == 200)
            await until(session, f"{base}/api/v1/status", lambda _status, text: '"epoch": 1' in text)
            await database.away()
            # The deadline of the store is longer than that of the loop that decides: whoever counts no attempt is late by now.
            await until(session, f"{base}/readyz", lambda status, _text: status == 503)
            status, text = await ask(session, f"{base}/healthz")
            assert (status, process.returncode) == (200, None), text
            assert "did not answer" in text
            await database.back()
            await until(session, f"{base}/readyz", lambda status, _text: status == 200)
            assert '"epoch": 1' in (await ask(session, f"{base}/api/v1/status"))[1], "it is the same process that goes on"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        await database.away()
    assert process.returncode == 0
