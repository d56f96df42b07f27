"""``GET /api/v1/configuration``: what this replica was started with, for people who look for a mistake. No secret is in it."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import TYPE_CHECKING

from aiohttp import web

from sliceward.daemons.shown import shown
from sliceward.daemons.version import version

if TYPE_CHECKING:
    from sliceward.daemons.coordinator.settings import CoordinatorSettings

PACKAGES = (
    "aiohttp", "aiomqtt", "aiosqlite", "alembic", "asyncpg", "cel-expr-python", "grpcio", "kubernetes-asyncio", "msgspec", "numpy",
    "paho-mqtt", "prometheus-client", "pydantic", "sqlalchemy", "structlog", "tpu-info",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Give the versions of the program, of Python, of the machine, and of the packages that are here."""
    found = {"sliceward": version(), "python": platform.python_version(), "machine": platform.platform()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def routes(settings: CoordinatorSettings) -> list[web.RouteDef]:
    """Give the route. Secrets are looked at again at each request: a file may have come since."""

    async def configuration(_request: web.Request) -> web.Response:
        return web.json_response({"settings": shown(settings), "versions": versions()})

    return [web.get("/api/v1/configuration", configuration)]
