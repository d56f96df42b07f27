"""A provider of repairs over HTTP; the wire is in docs/provider.md."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import aiohttp

from sliceward.remediations.ports import Repair
from sliceward.topology.errors import Misconfigured, Refused, Retry

if TYPE_CHECKING:
    from sliceward.remediations.providers.plan import ProviderPlan
    from sliceward.topology.ids import HostId

TIMEOUT = 15.0
STATES = frozenset({"requested", "running", "done", "failed"})
_LATER = frozenset({408, 409, 425, 429})
_MOST_WORDS = 300
_ID = re.compile(r"[A-Za-z0-9._~-]{1,200}")


class HttpProvider:
    """``Idempotency-Key`` is the operation id, so that asking again, also after a crash, is the same repair."""

    name = "http"

    def __init__(self, plan: ProviderPlan, session: aiohttp.ClientSession) -> None:
        """Check the address."""
        if not plan.url.startswith(("http://", "https://")):
            raise Misconfigured("provider.url", "is no http(s) address", "Write https://host; see docs/provider.md")
        self._url, self._token, self._session = plan.url.rstrip("/"), plan.token, session

    def __repr__(self) -> str:
        """Show neither address nor token: the address may hold a password."""
        return "HttpProvider()"

    async def request_repair(self, host: HostId, *, instance_id: str, behavior: str, text: str, operation_id: str) -> Repair:
        """POST /v1/repairs."""
        body = {
            "cluster": host.cluster,
            "host": host.name,
            "instance_id": instance_id,
            "behavior": behavior,
            "text": text[:_MOST_WORDS],
        }
        status, found = await self._call("POST", "/v1/repairs", body=body, key=operation_id)
        if found is None:
            raise Refused(f"provider: HTTP {status} to POST /v1/repairs: is provider.url the right address?")
        return _repair(found)

    async def repair(self, repair_id: str) -> Repair | None:
        """GET /v1/repairs/{id}."""
        if not _ID.fullmatch(repair_id):
            return None
        _, found = await self._call("GET", f"/v1/repairs/{repair_id}")
        return _repair(found) if found is not None else None

    async def _call(self, method: str, path: str, *, body: dict[str, str] | None = None, key: str = "") -> tuple[int, Any | None]:
        headers = {"Accept": "application/json", "User-Agent": "sliceward"}
        headers |= {"Authorization": f"Bearer {self._token}"} if self._token else {}
        headers |= {"Idempotency-Key": key} if key else {}
        try:
            async with self._session.request(
                method,
                self._url + path,
                json=body,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=TIMEOUT),
            ) as answer:
                raw, after = await answer.read(), answer.headers.get("Retry-After", "")
                if 200 <= answer.status < 300:  # noqa: PLR2004 (HTTP)
                    return answer.status, await answer.json(content_type=None)
                if answer.status == 404:  # noqa: PLR2004 (HTTP)
                    return answer.status, None
                words = raw.decode(errors="replace")
                raise _error(answer.status, words.replace(self._token, "***") if self._token else words, after)
        except TimeoutError:
            raise Retry(f"provider: no answer to {method} {path} in {TIMEOUT:.0f} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Retry(f"provider: {method} {path}: {type(error).__name__}") from None
        except ValueError:
            raise Retry(f"provider: {method} {path}: the answer is no JSON") from None


def _error(status: int, words: str, after: str) -> Retry | Refused:
    text = f"provider: HTTP {status} {' '.join(words.split())}"[:_MOST_WORDS]
    if status in _LATER or status >= 500:  # noqa: PLR2004 (HTTP)
        return Retry(text, after=float(after) if after.isdecimal() else None)
    return Refused(text)


def _repair(found: object) -> Repair:
    if (
        isinstance(found, dict)
        and isinstance(found.get("id"), str)
        and _ID.fullmatch(found["id"])
        and found.get("state") in STATES
    ):
        return Repair(found["id"], found["state"], str(found.get("text", ""))[:_MOST_WORDS])
    raise Retry("provider: the answer is no repair (docs/provider.md)")
