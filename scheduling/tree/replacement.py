"""New places for the pods of a lost host, all others staying where they are.

KEP-2724, "Node failures": the pods go to one domain of the required level again, or into the domain of the innermost slice that is
no longer whole; where slices were lost whole, or no level is required, wherever the gang's own request lets them. Any number of
hosts can be lost at once, where Kueue knows one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sliceward.scheduling.tree.ask import Ask, Failure, Layer, Required, Rules, StalePlace, Unconstrained
from sliceward.scheduling.tree.assignment import Assignment, Usage, merged, stale_seat, together
from sliceward.scheduling.tree.need import level_asked
from sliceward.scheduling.tree.placement import NotPlaced, Placed
from sliceward.scheduling.tree.search import Found, Terrain, search

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sliceward.scheduling.tree.tree import LabelTree


@dataclass(frozen=True, slots=True)
class Running:
    """Where a gang's pod sets are, and the hosts that it has lost. ``lone_pod``: one pod owns it, and no other can follow that."""

    assignments: Mapping[str, Assignment]
    lost_hosts: tuple[str, ...]
    lone_pod: bool = False


def replace_hosts(
    tree: LabelTree, asks: Sequence[Ask], running: Running, *, used: Usage | None = None, rules: Rules | None = None
) -> Placed | NotPlaced:
    """Give the gang's pod sets new places for the pods of its lost hosts, or say why there are none.

    ``used`` counts the pods that stay as well. A lone pod keeps its place, for it cannot move and nothing could follow it.
    """
    terrain = Terrain.of(tree, used, rules)
    found: dict[str, Assignment] = {}
    for ask in asks:
        sits = running.assignments.get(ask.name)
        if sits is None:
            continue
        if running.lone_pod and terrain.rules.keep_lone_pods:
            found[ask.name] = sits
            continue
        moved = _moved(terrain, ask, sits, running.lost_hosts)
        if not isinstance(moved, _Moved):
            return NotPlaced({ask.name: moved}, found)
        found[ask.name] = moved.all_pods
        terrain = replace(terrain, used=together((terrain.used, *(new.usage(ask.requests) for new in moved.new))))
    return Placed(found)


@dataclass(frozen=True, slots=True)
class _Moved:
    all_pods: Assignment
    new: tuple[Assignment, ...]


def _moved(terrain: Terrain, ask: Ask, sits: Assignment, lost_hosts: Sequence[str]) -> _Moved | Failure:
    """Place the pods of each lost host anew beside those that stay."""
    stays = sits
    for host in lost_hosts:
        stays = stays.without(host)
    gone = stale_seat(terrain.tree, stays)
    if gone is not None:
        return StalePlace(gone.values[0])
    new: list[Assignment] = []
    for missing in _batches(ask, sits, stays, lost_hosts):
        beside = replace(terrain, used=together((terrain.used, *(each.usage(ask.requests) for each in new))))
        found = _search(beside, ask, stays, missing)
        if not isinstance(found, Found):
            return found
        new.append(found.workers)
        stays = merged(terrain.tree, found.workers, stays)
    return _Moved(stays, tuple(new))


def _batches(ask: Ask, sits: Assignment, stays: Assignment, lost_hosts: Sequence[str]) -> list[int]:
    """Give the counts of pods to place, one search each: all at once, but where slices stay, host by host, each its own slice's."""
    if ask.layers and stays.seats:
        each = [sits.pods - sits.without(host).pods for host in lost_hosts]
    else:
        each = [sits.pods - stays.pods]
    return [missing for missing in each if missing]


def _search(terrain: Terrain, ask: Ask, stays: Assignment, missing: int) -> Found | Failure:
    short = replace(ask, count=missing, before=None)
    torn = all(layer.size for layer in ask.layers) and any(missing % layer.size for layer in ask.layers[:1])
    if not torn:
        return search(terrain, short, inside=_required_domain(terrain.tree, ask, stays))
    inside = _torn_domain(terrain.tree, ask, stays, missing)
    if inside is not None:
        whole = tuple(layer for layer in ask.layers if missing % layer.size == 0)[-1:]
        short = replace(short, layers=whole, where=ask.where or Unconstrained())
    return search(terrain, short, inside=inside)


def _required_domain(tree: LabelTree, ask: Ask, stays: Assignment) -> int | None:
    """Give the one domain that the gang must not leave; None where it may go anywhere, or nothing of it stays."""
    label = level_asked(tree, ask)
    level = tree.level_of(label) if label is not None else None
    if level is None or not stays.seats or not isinstance(ask.where, Required):
        return None
    return tree.above(tree.leaves[stays.seats[0].values], level)


def _torn_domain(tree: LabelTree, ask: Ask, stays: Assignment, missing: int) -> int | None:
    """Give the domain of the innermost slice that is no longer whole: where the missing pods make its pods whole slices again."""
    layer = _innermost_torn(ask.layers, missing)
    level = tree.level_of(layer.level)
    if level is None:
        return None
    pods: dict[int, int] = {}
    for seat in stays.seats:
        domain = tree.above(tree.leaves[seat.values], level)
        pods[domain] = pods.get(domain, 0) + seat.pods
    return next((domain for domain, left in sorted(pods.items()) if (left + missing) % layer.size == 0), None)


def _innermost_torn(layers: Sequence[Layer], missing: int) -> Layer:
    return next(layer for layer in reversed(layers) if missing % layer.size)
