"""One POST of a page (or one request of a heartbeat), and what the answer means; shared by all that speak HTTP here.

=========================================  ====================================================================
answer                                     what the outbox does
=========================================  ====================================================================
2xx                                        delivered
408, 425, 429, 5xx, time-out, broken line  `Retry`, after ``Retry-After`` where it says so; the same delivery id
3xx                                        `Refused`: a page never follows a redirect with its signature
410                                        `Refused`: the receiver is switched off
other 4xx                                  `Refused`
=========================================  ====================================================================

Errors name the pager and never its address, key or signature: any of them may let others write to the receiver.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aiohttp

from sliceward.topology.errors import Refused, Retry

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT = 15.0
"""Seconds for one delivery (Standard Webhooks advises 15 to 30)."""
_LATER = frozenset({408, 425, 429})
_MOST_WORDS = 200


@dataclass(frozen=True, slots=True)
class Delivery:
    """One attempt. ``hide``: secrets that are cut out of whatever the receiver says. A GET has no body."""

    pager: str
    url: str = field(repr=False)
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    hide: tuple[str, ...] = field(default=(), repr=False)
    method: str = "POST"


async def post(session: aiohttp.ClientSession, delivery: Delivery) -> None:
    """Deliver once. Raises `Retry` or `Refused` as in the table above."""
    pager, kind = delivery.pager, {"Content-Type": "application/json"} if delivery.body else {}
    try:
        async with session.request(
            delivery.method,
            delivery.url,
            data=delivery.body or None,
            headers={**kind, "User-Agent": "sliceward", **delivery.headers},
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=TIMEOUT),
        ) as answer:
            status, after = answer.status, answer.headers.get("Retry-After", "")
            words = (await answer.content.read(4 * _MOST_WORDS)).decode(errors="replace")
    except TimeoutError:
        raise Retry(f"pager {pager}: no answer in {TIMEOUT:.0f} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        # The message of the library holds the address, so only the kind of the error is told.
        raise Retry(f"pager {pager}: {type(error).__name__}") from None
    if 200 <= status < 300:  # noqa: PLR2004 (HTTP)
        return
    text = f"pager {pager}: HTTP {status} {_clean(words, delivery.hide)}".strip()
    if status in _LATER or status >= 500:  # noqa: PLR2004 (HTTP)
        raise Retry(text, after=float(after) if after.isdecimal() else None)
    raise Refused(text)


def _clean(words: str, hide: tuple[str, ...]) -> str:
    for secret in hide:
        words = words.replace(secret, "***") if secret else words
    return " ".join(words.split())[:_MOST_WORDS]


def cut(text: str, most: int) -> str:
    """Give a text in at most ``most`` characters, its end marked where it was cut."""
    return text if len(text) <= most else text[: most - 1] + "…"
