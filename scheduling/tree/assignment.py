"""Where the pods of a pod set are: domains of the lowest level with a count of pods each, and arithmetic on that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sliceward.scheduling.tree.amounts import Amounts, checked_count, of_pods, plus
from sliceward.scheduling.tree.tree import HOSTNAME, LabelTree, Path
from sliceward.topology.errors import Misconfigured

Usage = Mapping[Path, Amounts]
"""What is taken of each leaf, by the values that name it in an assignment."""


@dataclass(frozen=True, slots=True)
class Seat:
    """So many pods in one domain. ``values``: one for each level that the assignment lists."""

    values: Path
    pods: int


@dataclass(frozen=True, slots=True)
class Assignment:
    """A place for every pod of a pod set, in the order of the domains' paths."""

    levels: tuple[str, ...]
    seats: tuple[Seat, ...]

    def __post_init__(self) -> None:
        """Refuse counts that are none, and seats that do not say a value for each level."""
        for seat in self.seats:
            checked_count(seat.pods, f"assignment: {' > '.join(seat.values)}")
            if not seat.values or (self.levels and len(seat.values) != len(self.levels)):
                why = f"{len(seat.values)} values for {len(self.levels)} levels"
                raise Misconfigured(f"assignment: {' > '.join(seat.values)}", why, "Give one value for each level")

    @property
    def pods(self) -> int:
        """How many pods it places."""
        return sum(seat.pods for seat in self.seats)

    @property
    def by_host(self) -> bool:
        """Whether its lowest level is the host."""
        return bool(self.levels) and self.levels[-1] == HOSTNAME

    def on_host(self, host: str) -> int:
        """Count the pods on a host; none where the lowest level is not the host."""
        return sum(seat.pods for seat in self.seats if self.by_host and seat.values[-1] == host)

    def without(self, last_value: str) -> Assignment:
        """Give the seats outside a lowest domain."""
        return Assignment(self.levels, tuple(seat for seat in self.seats if seat.values[-1] != last_value))

    def first(self, pods: int) -> Assignment:
        """Give the seats of the first so many pods (growing and shrinking gangs keep from the front: KEP-77)."""
        kept, left = [], pods
        for seat in self.seats:
            if left > 0:
                kept.append(Seat(seat.values, min(seat.pods, left)))
            left -= seat.pods
        return Assignment(self.levels, tuple(kept))

    def usage(self, request: Amounts) -> dict[Path, Amounts]:
        """Say what the pods take where, a slot each included."""
        found: dict[Path, Amounts] = {}
        for seat in self.seats:
            found[seat.values] = plus(found.get(seat.values, {}), of_pods(request, seat.pods))
        return found


def stale_seat(tree: LabelTree, assignment: Assignment) -> Seat | None:
    """Give the first seat whose domain is not in the tree any more; None: all are."""
    return next((seat for seat in assignment.seats if seat.values not in tree.leaves), None)


def merged(tree: LabelTree, one: Assignment, other: Assignment) -> Assignment:
    """Put two assignments of one tree together, in the order of the domains' paths; none may be stale."""
    pods: dict[Path, int] = {}
    for seat in (*one.seats, *other.seats):
        pods[seat.values] = pods.get(seat.values, 0) + seat.pods
    ordered = sorted(pods, key=lambda values: tree.leaves[values])
    return Assignment(one.levels, tuple(Seat(values, pods[values]) for values in ordered))


def together(usages: Iterable[Usage]) -> dict[Path, Amounts]:
    """Add up usages."""
    found: dict[Path, Amounts] = {}
    for usage in usages:
        for values, amounts in usage.items():
            found[values] = plus(found.get(values, {}), amounts)
    return found
