"""A plan carried out on a snapshot: the gang sits where it was planned, and remembers that it was moved."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sliceward.scheduling.snapshot import HeldSlice

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sliceward.scheduling.plan import PlannedSlice
    from sliceward.scheduling.snapshot import Running, Snapshot


def reseated(gang: Running, slices: Iterable[PlannedSlice]) -> Running:
    """Give a gang with these slices in their new places and all others where they are."""
    anew = {(each.role, each.index): each for each in slices}
    held = []
    for old in gang.slices:
        planned = anew.get((old.role, old.index))
        held.append(old if planned is None else HeldSlice(old.role, old.index, planned.shape, planned.hosts))
    return replace(gang, slices=tuple(held))


def moved(snapshot: Snapshot, gang: Running, slices: Iterable[PlannedSlice]) -> Snapshot:
    """Give the snapshot in which a running gang's slices have moved: all at once, so that they may take each other's places.

    Raises:
        Misconfigured: somebody else holds a host of a new place.
    """
    anew = replace(reseated(gang, slices), displaced=(*gang.displaced, snapshot.now))
    return snapshot.without_gang(gang.id).with_gang(anew)
