"""All providers of repairs by kind. A new provider is one file in this folder and one line below."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from sliceward.remediations.providers.http import HttpProvider
from sliceward.remediations.providers.nobody import NobodyProvider
from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import aiohttp

    from sliceward.remediations.ports import Provider
    from sliceward.remediations.providers.plan import ProviderPlan

PROVIDERS: Mapping[str, Callable[[ProviderPlan, aiohttp.ClientSession], Provider]] = {
    "http": HttpProvider,
    "nobody": NobodyProvider,
}
"""Kind in the configuration -> how to make it."""


def make(plan: ProviderPlan, session: aiohttp.ClientSession) -> Provider:
    """Make the provider that the configuration asks for. Raises `Misconfigured`."""
    if plan.kind not in PROVIDERS:
        near = difflib.get_close_matches(plan.kind, PROVIDERS, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known are {', '.join(PROVIDERS)}"
        raise Misconfigured("provider.kind", f"{plan.kind!r} is no kind of provider", hint)
    return PROVIDERS[plan.kind](plan, session)
