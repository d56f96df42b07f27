"""Generic webhook, signed by Standard Webhooks 1.0.0: ``webhook-id``, ``webhook-timestamp``, ``webhook-signature``."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from typing import TYPE_CHECKING

from sliceward.remediations.paging.delivery import Delivery, cut, post
from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from sliceward.remediations.page import Page
    from sliceward.remediations.paging.plan import PagerPlan, Surroundings

MOST_BYTES = 20_000
"""Standard Webhooks: keep a payload under 20 kB."""
SUMMARY = 1024
FACT = 1000
_KEY_BYTES = range(24, 65)
_TYPES = {"trigger": "sliceward.incident.triggered", "resolve": "sliceward.incident.resolved"}


class WebhookPager:
    """Signs each attempt anew; ``webhook-id`` is the delivery id, the same over retries and restarts.

    ``secret`` may hold several secrets, apart by white space: all sign, so that a receiver can rotate without a gap.
    """

    def __init__(self, plan: PagerPlan, around: Surroundings) -> None:
        """Check address and secrets, so that a mistake shows at start and not at the first page."""
        self.name = plan.name
        if not plan.url.startswith(("http://", "https://")):
            raise Misconfigured(f"pagers.{plan.name}.url", "is no http(s) address", "Give the receiver's address")
        self._url, self._around = plan.url, around
        self._keys = tuple(_key(secret, plan.name) for secret in plan.secret.split())
        self._hide = (plan.url, *plan.secret.split())
        if not self._keys:
            raise Misconfigured(f"pagers.{plan.name}.secret", "is missing", "Make one: `whsec_` + 32 random bytes in base64")

    def __repr__(self) -> str:
        """Show the name alone."""
        return f"WebhookPager({self.name!r})"

    async def send(self, page: Page) -> None:
        """Deliver once. Raises `Retry` or `Refused`."""
        body = payload(page)
        stamp = str(int(self._around.now().timestamp()))
        signatures = " ".join(sign(key, message=page.delivery_id, timestamp=stamp, body=body) for key in self._keys)
        headers = {"webhook-id": page.delivery_id, "webhook-timestamp": stamp, "webhook-signature": signatures}
        await post(self._around.session, Delivery(self.name, self._url, body, headers, self._hide))


def sign(key: bytes, *, message: str, timestamp: str, body: bytes) -> str:
    """Give the ``v1`` signature: HMAC-SHA256 over ``id.timestamp.body``."""
    digest = hmac.digest(key, f"{message}.{timestamp}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(digest).decode()}"


def payload(page: Page) -> bytes:
    """Give the body; the longest facts are cut until it fits `MOST_BYTES`."""
    for most in (FACT, 200, 40, 0):
        data = {
            "event": page.event.value,
            "delivery_id": page.delivery_id,
            "dedup_key": page.dedup_key,
            "severity": page.severity.value,
            "summary": cut(page.summary, SUMMARY),
            "source": page.source,
            "component": page.component,
            "kind": page.kind,
            "facts": {key: cut(value, most) for key, value in page.facts.items()} if most else {},
            "links": dict(page.links) if most else {},
        }
        body = json.dumps({"type": _TYPES[page.event.value], "timestamp": page.at.isoformat(), "data": data}).encode()
        if len(body) < MOST_BYTES:
            break
    return body


def _key(secret: str, name: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        key = b""
    if len(key) not in _KEY_BYTES:
        raise Misconfigured(
            f"pagers.{name}.secret", "is not 24 to 64 bytes in base64", "Make one: `whsec_` + 32 random bytes in base64"
        )
    return key
