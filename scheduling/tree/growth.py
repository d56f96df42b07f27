"""A gang that grows or shrinks keeps its pods where they are: only what is new is placed, only the last are let go.

KEP-77 (workload slices) with KEP-2724. Where a place that pods had is gone, all are placed anew.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sliceward.scheduling.tree.assignment import merged, stale_seat, together
from sliceward.scheduling.tree.search import Found, Terrain, search

if TYPE_CHECKING:
    from sliceward.scheduling.tree.ask import Ask, Failure


def resized(terrain: Terrain, workers: Ask, leader: Ask | None) -> Found | Failure | None:
    """Give the places after a change of size; None where there was none before, or where one of those places is gone."""
    before = workers.before
    seated = leader.before if leader is not None else None
    if before is None or any(stale_seat(terrain.tree, old) for old in (before, seated) if old is not None):
        return None
    if workers.count > before.pods:
        return _grown(terrain, workers, leader)
    if leader is not None and seated is None:
        return None
    return Found(before.first(workers.count), seated)


def _grown(terrain: Terrain, workers: Ask, leader: Ask | None) -> Found | Failure:
    """Place what is more beside what stays; a leader that sits already stays."""
    stays = [ask for ask in (workers, leader) if ask is not None and ask.before is not None]
    taken = [ask.before.usage(ask.requests) for ask in stays if ask.before is not None]
    beside = replace(terrain, used=together((terrain.used, *taken)))
    new_leader = leader if leader is not None and leader.before is None else None
    had = workers.before
    if had is None:  # pragma: no cover (the caller looked)
        raise AssertionError
    found = search(beside, replace(workers, count=workers.count - had.pods), new_leader)
    if not isinstance(found, Found):
        return found
    sits = leader.before if leader is not None and leader.before is not None else found.leader
    return Found(merged(terrain.tree, found.workers, had), sits)
