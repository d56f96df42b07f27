"""How often a host is expected to fail, by how often it has: who failed twice in a month fails again sooner than the others.

Each run that took hosts out of service counts as one failure, shared by its hosts. What is counted is drawn towards what is usual
(a gamma prior, as for any rare event that is counted), so that one failure makes nobody an offender for ever. What another machine
did under the same name is not held against the one that stands there now.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sliceward.scheduling.spares import USUAL_RISK

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from sliceward.topology.ids import HostId

REMEMBERED = timedelta(days=30)
"""Failures of so long ago count."""

PRIOR = timedelta(days=100)
"""What is usual weighs as much as so many days of one's own: with 0.08 % of machines a day, one failure in a month makes 0.8 %."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Hosts that failed together. ``gone``: those of them in whose place another machine stands now."""

    at: datetime
    hosts: Collection[HostId]
    gone: Collection[HostId] = ()


def risks_of(failures: Iterable[Failure], now: datetime) -> Mapping[HostId, float]:
    """Give failures expected per day for the hosts that failed of late; all others are as usual."""
    counts: dict[HostId, float] = {}
    for failure in failures:
        if now - REMEMBERED < failure.at <= now:
            for host in failure.hosts:
                if host not in failure.gone:
                    counts[host] = counts.get(host, 0.0) + 1 / len(failure.hosts)
    days, before = REMEMBERED / timedelta(days=1), PRIOR / timedelta(days=1)
    return {host: (USUAL_RISK * before + count) / (before + days) for host, count in counts.items()}
