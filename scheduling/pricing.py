"""The price of one seat, item by item: the one formula that all grounds use, so that their seats can be compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sliceward.scheduling.ground import Terms, Want
    from sliceward.scheduling.occupancy import Standing

Price = tuple[tuple[str, float], ...]
"""Chip-seconds by name; what costs nothing is left out."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a ground knows of a seat.

    ``loss``: expected places destroyed (`Ground.loss`). ``standings``: of its hosts, as far as they are not plain. ``degraded``: a
    part of it, host or link, is. ``spare_chips``: chips of spares in it. ``ports``: optical ports that have to be switched.
    """

    loss: float = 0.0
    standings: tuple[Standing, ...] = ()
    degraded: bool = False
    spare_chips: int = 0
    ports: int = 0


def price_of(want: Want, terms: Terms, facts: Facts) -> Price:
    """Give what a seat costs.

    places: what it destroys for expected requests; risk: failures that are to be expected; maintenance: windows while it runs;
    slowdown: of a degraded part; spares: kept for repairs, free for them; switching: of optical ports.
    """
    costs = terms.costs
    items = (
        ("places", facts.loss * costs.anchor),
        ("risk", terms.failures(sum(standing.risk for standing in facts.standings), want.chips)),
        ("maintenance", terms.maintenance((standing.window for standing in facts.standings if standing.window), want.chips)),
        ("slowdown", terms.limp(want.chips) if facts.degraded else 0.0),
        ("spares", 0.0 if want.heals else facts.spare_chips * costs.spare),
        ("switching", facts.ports * costs.port),
    )
    return tuple((name, amount) for name, amount in items if amount)


def total(price: Iterable[tuple[str, float]]) -> float:
    """Add it up."""
    return sum(amount for _, amount in price)
