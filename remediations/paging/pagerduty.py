"""PagerDuty Events API v2: one alert per deduplication key, triggered and resolved with the same routing key."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sliceward.remediations.page import PageEvent
from sliceward.remediations.paging.delivery import Delivery, cut, post
from sliceward.topology.errors import Misconfigured, Refused

if TYPE_CHECKING:
    from sliceward.remediations.page import Page
    from sliceward.remediations.paging.plan import PagerPlan, Surroundings

BASE_URL = "https://events.pagerduty.com"
"""Of the US region; ``url`` of the pager names another (EU, a proxy, a test)."""
SUMMARY = 1024
DEDUP_KEY = 255
MOST_BYTES = 512_000
MOST_FACTS = 20
FACT = 4000
_KEY_LENGTH = 32


class PagerDutyPager:
    """202 means queued, not paged. A resolve through another routing key is dropped there: never change it mid-incident."""

    def __init__(self, plan: PagerPlan, around: Surroundings) -> None:
        """Check the routing key's form."""
        self.name = plan.name
        if len(plan.secret) != _KEY_LENGTH or not plan.secret.isalnum():
            raise Misconfigured(
                f"pagers.{plan.name}.secret", "is no routing key (32 letters and digits)", "Copy the Events v2 integration key"
            )
        self._url = (plan.url or BASE_URL).rstrip("/") + "/v2/enqueue"
        self._key, self._around = plan.secret, around

    def __repr__(self) -> str:
        """Show the name alone."""
        return f"PagerDutyPager({self.name!r})"

    async def send(self, page: Page) -> None:
        """Deliver once. The deduplication key makes a repeated delivery an update of the same alert."""
        if len(page.dedup_key) > DEDUP_KEY:
            raise Refused(f"pager {self.name}: deduplication key of {len(page.dedup_key)} characters, at most {DEDUP_KEY}")
        body = payload(page, self._key)
        await post(self._around.session, Delivery(self.name, self._url, body, hide=(self._key, self._url)))


def payload(page: Page, routing_key: str) -> bytes:
    """Give the body, within PagerDuty's limits: summary 1,024 characters, 512 kB in all."""
    event: dict[str, Any] = {"routing_key": routing_key, "event_action": page.event.value, "dedup_key": page.dedup_key}
    if page.event is PageEvent.RESOLVE:
        return json.dumps(event).encode()
    facts = dict(list(page.facts.items())[:MOST_FACTS])
    event["payload"] = {
        "summary": cut(page.summary, SUMMARY),
        "source": page.source,
        "severity": page.severity.value,
        "timestamp": page.at.isoformat(),
        "component": page.component,
        "group": page.source,
        "class": page.kind,
        "custom_details": {key: cut(value, FACT) for key, value in facts.items()},
    }
    event["client"] = "sliceward"
    event["links"] = [{"href": address, "text": text} for text, address in page.links.items()]
    body = json.dumps(event).encode()
    if len(body) > MOST_BYTES:
        event["payload"]["custom_details"] = {"note": "the facts were too large for this page"}
        event["links"] = event["links"][:1]
        body = json.dumps(event).encode()
    return body
