"""How the coordinator's HTTP server treats connections: every answer is counted, nothing is unpacked, nobody idles for ever.

Also what never becomes a request is answered (by aiohttp: 400 with the place in the line that is wrong) and counted here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp.abc import AbstractAccessLogger
from aiohttp.log import access_logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web
    from prometheus_client import Counter

IDLE = 75.0
"""Seconds without a whole request head after which a connection is closed."""


def door(counted: Counter) -> Mapping[str, Any]:
    """Give the arguments for the server's connections; their answers are counted by code."""

    class Counting(AbstractAccessLogger):
        """Sees each answer, also to what could not be read; logs nothing."""

        def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:  # noqa: ARG002 (aiohttp's)
            counted.labels(code=str(response.status)).inc()

    return {
        "access_log": access_logger,
        "access_log_class": Counting,
        # Nobody sends us anything packed; what swells when it is unpacked never does.
        "auto_decompress": False,
        "keepalive_timeout": IDLE,
    }
