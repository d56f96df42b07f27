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

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp

from sliceward.topology.errors import Refused, Retry

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT = 15.0
"""Seconds for one delivery (Standard Webhooks advises 15 to 30)."""
_LATER = frozenset({408, 425, 429})
_MOST_WORDS = 200
_MOST_BYTES = 4096
_SHORTEST_PIECE = 8


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
            raw = b""
            # One read gives what has come so far, and may end in the middle of a secret.
            while len(raw) < _MOST_BYTES and (piece := await answer.content.read(_MOST_BYTES - len(raw))):
                raw += piece
    except TimeoutError:
        raise Retry(f"pager {pager}: no answer in {TIMEOUT:.0f} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        # The message of the library holds the address, so only the kind of the error is told.
        raise Retry(f"pager {pager}: {type(error).__name__}") from None
    if 200 <= status < 300:  # noqa: PLR2004 (HTTP)
        return
    text = f"pager {pager}: HTTP {status} {_clean(raw, (*delivery.hide, *_pieces(delivery.url)))}".strip()
    if status in _LATER or status >= 500:  # noqa: PLR2004 (HTTP)
        raise Retry(text, after=float(after) if after.isdecimal() else None)
    raise Refused(text)


def _pieces(url: str) -> tuple[str, ...]:
    """Give the parts of an address that may be a key by themselves: receivers repeat the path that they were asked for."""
    parts = urlsplit(url)
    found = (parts.password or "", parts.path, parts.query, *parts.path.split("/"), *re.split(r"[&=]", parts.query))
    return tuple(piece for piece in found if len(piece) >= _SHORTEST_PIECE)


def _clean(raw: bytes, hide: tuple[str, ...]) -> str:
    words, secrets = raw.decode(errors="replace"), sorted(filter(None, hide), key=len, reverse=True)
    for secret in secrets:
        words = words.replace(secret, "***")
    if len(raw) >= _MOST_BYTES and secrets:
        # Where the answer was cut off a secret may have been cut in two.
        words = words[: 1 - len(secrets[0])]
    return " ".join(words.split())[:_MOST_WORDS]


def cut(text: str, most: int) -> str:
    """Give a text in at most ``most`` characters, its end marked where it was cut."""
    return text if len(text) <= most else text[: most - 1] + "…"
