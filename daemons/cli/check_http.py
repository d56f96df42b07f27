"""What answers over HTTP from here, as lines of `sliceward check`: pagers, the provider, Prometheus.

Nobody is paged and nothing is repaired: a pager is asked with HEAD, the provider for a repair that does not exist.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import aiohttp

from sliceward.daemons.cli.check_files import mistake
from sliceward.daemons.cli.lines import Line, well, wrong
from sliceward.daemons.coordinator.heartbeat import heartbeat_plan
from sliceward.daemons.shown import address
from sliceward.remediations.paging import catalog as paging
from sliceward.remediations.paging.heartbeat import HttpHeartbeat
from sliceward.remediations.paging.plan import PagerPlan, Surroundings
from sliceward.remediations.providers import catalog as providers
from sliceward.remediations.providers.plan import ProviderPlan
from sliceward.topology.errors import Misconfigured, Refused, Retry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sliceward.daemons.coordinator.settings import PagerSettings, ProviderSettings
    from sliceward.daemons.setting_types import Secret

PATIENCE = 5.0
NO_SUCH_REPAIR = "sliceward-check"
_NOT_THERE = frozenset({404, 410})
_NOT_LET_IN = frozenset({401, 403, 407})
_REDIRECT, _CLIENT_ERROR, _SERVER_ERROR = 300, 400, 500


@asynccontextmanager
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """Give a session that does not wait for long."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE)) as made:
        yield made


async def pager(http: aiohttp.ClientSession, settings: PagerSettings) -> list[Line]:
    """Ask whether there is a receiver, without paging anybody."""
    heartbeat = [] if settings.heartbeat is None else [_heartbeat(http, settings)]
    return [await _pager(http, settings), *heartbeat]


async def _pager(http: aiohttp.ClientSession, settings: PagerSettings) -> Line:
    about = f"pager {settings.name}"
    try:
        plan = PagerPlan(settings.kind, settings.name, settings.url, settings.secret.reveal() if settings.secret else "")
        paging.make(plan, Surroundings(http, lambda: datetime.now(UTC), print))
    except Misconfigured as error:
        return mistake(about, error)
    if not settings.url:
        return well(about, f"{settings.kind}: its form is right; it is not asked")
    try:
        async with http.head(settings.url, allow_redirects=False) as answer:
            return _receiver(about, answer.status)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        # The library's message holds the address, which may hold a key.
        hint = "Start the receiver, or correct the pager's url; the coordinator must reach it too."
        return wrong(about, f"{address(settings.url)} does not answer: {_kind(error)}", hint)


def _heartbeat(http: aiohttp.ClientSession, settings: PagerSettings) -> Line:
    """Look at its form alone: to ask its receiver anything could count as a beat, and hide that nobody sends any."""
    about = f"heartbeat of {settings.name}"
    try:
        plan = heartbeat_plan(settings)
        if plan is not None:
            HttpHeartbeat(plan, Surroundings(http, lambda: datetime.now(UTC), print))
    except Misconfigured as error:
        return mistake(about, error)
    return well(about, "its form is right; its receiver is not asked, for that could count as a beat")


def _receiver(about: str, status: int) -> Line:
    if status in _NOT_THERE:
        return wrong(about, f"nobody takes pages at its address (HTTP {status})", "Correct the pager's url.")
    if status in _NOT_LET_IN:
        return wrong(about, f"it does not let us in (HTTP {status})", "Correct the key in its url, or the gateway before it.")
    if status >= _SERVER_ERROR:
        return wrong(about, f"it is not well (HTTP {status})", "See the receiver's log; pages wait meanwhile.")
    if _REDIRECT <= status < _CLIENT_ERROR:
        return wrong(about, f"it redirects (HTTP {status})", "Write the final address: pages follow no redirect.")
    return well(about, f"a receiver answers (HTTP {status} to HEAD)")


async def provider(http: aiohttp.ClientSession, settings: ProviderSettings) -> list[Line]:
    """Ask for a repair that does not exist: who says so is the provider."""
    return [await _provider(http, settings)]


async def _provider(http: aiohttp.ClientSession, settings: ProviderSettings) -> Line:
    about = "provider of repairs"
    try:
        made = providers.make(ProviderPlan(settings.kind, settings.url, settings.token.reveal() if settings.token else ""), http)
        await made.repair(NO_SUCH_REPAIR)
    except Misconfigured as error:
        return mistake(about, error)
    except Retry as error:
        return wrong(about, f"{address(settings.url)} does not answer: {error}", "Start it, or correct provider.url.")
    except Refused as error:
        return wrong(about, f"it says no: {error}", "Correct provider.token, or see the provider's log.")
    return well(about, "a human repairs" if settings.kind == "nobody" else f"{address(settings.url)} answers")


async def prometheus(http: aiohttp.ClientSession, url: str, token: Secret | None = None) -> Line:
    """Ask for its version."""
    about, hint = "Prometheus, from here", "Correct its url, or leave it out: frames alone are enough."
    try:
        headers = {"Authorization": f"Bearer {token.reveal()}"} if token else {}
        async with http.get(f"{url.rstrip('/')}/api/v1/status/buildinfo", headers=headers, allow_redirects=False) as answer:
            status, body = answer.status, await answer.text()
            found = await answer.json(content_type=None) if body.startswith("{") else {}
    except Misconfigured as error:
        return mistake(about, error)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return wrong(about, f"{address(url)} does not answer: {_kind(error)}", hint)
    if status in _NOT_LET_IN:
        return wrong(about, f"it does not let us in (HTTP {status})", "Correct prometheus.token.")
    version = found.get("data", {}).get("version") if isinstance(found.get("data"), dict) else None
    if version is None:
        return wrong(about, f"{address(url)} is no Prometheus (HTTP {status})", hint)
    return well(about, f"Prometheus {version} answers")


def _kind(error: Exception) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
