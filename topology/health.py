"""Three-valued health, and severity. Unknown is never treated as healthy nor, alone, as sick (invariant 8)."""

from __future__ import annotations

from enum import StrEnum


class Health(StrEnum):
    """What is known about a part."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"


def worst(healths: list[Health] | tuple[Health, ...]) -> Health:
    """Give the health of a whole from that of its parts: sick beats unknown beats healthy; nothing known is unknown."""
    if Health.UNHEALTHY in healths:
        return Health.UNHEALTHY
    if not healths or Health.UNKNOWN in healths:
        return Health.UNKNOWN
    return Health.HEALTHY


class Severity(StrEnum):
    """How bad, in the words of PagerDuty Events v2."""

    CRITICAL = "critical"
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"
