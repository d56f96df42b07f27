"""What the configuration says of the provider of repairs."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ProviderPlan:
    """``token`` is never printed."""

    kind: str
    url: str = ""
    token: str = field(default="", repr=False)
