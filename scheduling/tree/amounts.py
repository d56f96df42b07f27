"""Amounts of resources in whole units: what a pod asks for, what a domain has left, how often one goes into the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sliceward.topology.errors import Misconfigured

Amounts = Mapping[str, int]
"""Whole units by resource: cpu in thousandths, bytes, chips, and slots for pods under ``pods``."""

POD_SLOTS = "pods"
ENDLESS = 2**31 - 1
"""How often a request for nothing fits: as many as a pod count can say."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How often a request fits, and the resource that is scarcest (first by name among equals)."""

    times: int
    scarcest: str


def checked(amounts: Mapping[str, int], where: str) -> dict[str, int]:
    """Give a copy of amounts that can be counted with.

    Raises:
        Misconfigured: an amount is no whole number (NaN and 1.5 are none), or is negative.
    """
    for resource, amount in amounts.items():
        if not isinstance(amount, int) or isinstance(amount, bool):
            raise Misconfigured(f"{where}: {resource}", f"{amount!r} is no whole number", "Give base units, cpu in thousandths")
        if amount < 0:
            raise Misconfigured(f"{where}: {resource}", f"{amount} is negative", "Give what there is; nothing is 0")
    return dict(amounts)


def checked_count(count: int, where: str, *, least: int = 0) -> int:
    """Give a count of things back, or refuse it.

    Raises:
        Misconfigured: it is no whole number, or below ``least``.
    """
    if not isinstance(count, int) or isinstance(count, bool):
        raise Misconfigured(where, f"{count!r} is no whole number", "Give a count")
    if count < least:
        raise Misconfigured(where, f"{count} is below {least}", "Give a count")
    return count


def plus(one: Amounts, other: Amounts) -> dict[str, int]:
    """Add two amounts."""
    return {resource: one.get(resource, 0) + other.get(resource, 0) for resource in {**one, **other}}


def minus(one: Amounts, other: Amounts) -> dict[str, int]:
    """Take one amount from another; what is owed is negative."""
    return {resource: one.get(resource, 0) - other.get(resource, 0) for resource in {**one, **other}}


def of_pods(request: Amounts, pods: int) -> dict[str, int]:
    """Give what so many pods take, with a slot for each."""
    return plus({resource: amount * pods for resource, amount in request.items()}, {POD_SLOTS: pods})


def fit(request: Amounts, room: Amounts) -> Fit:
    """Say how often a request goes into a room. A room that is owed more than it has takes nothing."""
    times, scarcest = min(
        (max(0, room.get(resource, 0) // amount) if amount else ENDLESS, resource) for resource, amount in request.items()
    )
    return Fit(min(times, ENDLESS), scarcest)
