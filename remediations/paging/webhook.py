"""Generic webhook, signed by Standard Webhooks 1.0.0: ``webhook-id``, ``webhook-timestamp``, ``webhook-signature``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sliceward.remediations.paging.delivery import Delivery, cut, post
from sliceward.remediations.paging.signing import Signer
from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from sliceward.remediations.page import Page
    from sliceward.remediations.paging.plan import PagerPlan, Surroundings

MOST_BYTES = 20_000
"""Standard Webhooks: keep a payload under 20 kB."""
SUMMARY = 1024
FACT = 1000
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
        self._signer = Signer.of(plan.secret, f"pagers.{plan.name}.secret")
        self._hide = (plan.url, *plan.secret.split())

    def __repr__(self) -> str:
        """Show the name alone."""
        return f"WebhookPager({self.name!r})"

    async def send(self, page: Page) -> None:
        """Deliver once. Raises `Retry` or `Refused`."""
        body = payload(page)
        headers = self._signer.headers(page.delivery_id, body, now=self._around.now())
        await post(self._around.session, Delivery(self.name, self._url, body, headers, self._hide))


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
