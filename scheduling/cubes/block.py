"""A block of cubes that optical switches join, behind the interface.

Any n whole cubes of one block make a slice of n cubes, contiguous or not, so that whether one fits is a count and the choice is one
of price. A slice below a cube is a box inside one. Blocks are never joined (GKE: a slice lies in one reservation block). What is
found out of a cube is kept until that cube changes.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from math import comb, prod
from typing import TYPE_CHECKING

from sliceward.scheduling.cubes.boxes import alive, boxes, starts
from sliceward.scheduling.cubes.cheapest import CubePrices, cheapest_box
from sliceward.scheduling.cubes.emptying import victims_for_box, victims_for_cubes
from sliceward.scheduling.cubes.expected import compact, whole_cubes
from sliceward.scheduling.cubes.room import now_of, room_of, torn_in
from sliceward.scheduling.cubes.shortage import shortage
from sliceward.scheduling.cubes.stock import Stock
from sliceward.scheduling.ground import Seats
from sliceward.scheduling.occupancy import Occupancy
from sliceward.scheduling.remembered import remembered
from sliceward.topology.errors import Misconfigured
from sliceward.topology.generations import GENERATIONS
from sliceward.topology.names import NAMES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from sliceward.scheduling.cubes.choosing import Choice
    from sliceward.scheduling.ground import GroundId, Seat, Shortage, Terms, Victims, Want
    from sliceward.topology.fleet import Cube, Fleet
    from sliceward.topology.generations import Shape
    from sliceward.topology.ids import GangId, HostId
    from sliceward.topology.names import Names


class Block(Stock):
    """Cubes that can be joined (a `Ground`). Make it with `block_of`."""

    def changed(self, occupancy: Occupancy, hosts: Collection[HostId]) -> Block:
        """Look again at the cubes of these hosts; at all of them where links or switches are others."""
        torn = torn_in(self.rooms, self.places, occupancy)
        same = (occupancy.links, occupancy.switches) == (self.occupancy.links, self.occupancy.switches)
        touched = {self.places[host][0] for host in hosts} if same else range(len(self.rooms))
        now = list(self.now)
        for number in touched:
            now[number] = now_of(self.rooms[number], occupancy, torn.get(number, ()))
        anew = replace(self, occupancy=occupancy, now=tuple(now))
        anew.__dict__.update(hosts=self.hosts, parts=self.parts, places=self.places)
        return anew

    def seats(self, want: Want) -> Seats:
        """Give every place: every choice of so many usable cubes, or every box."""
        count = self.cubes_of(want)
        if count:
            usable = self.usable_numbers(want)
            return Seats(comb(len(usable), count), lambda: (self.joined(each, want) for each in combinations(usable, count)))
        found = [
            (number, box.bits)
            for number, (room, now) in enumerate(zip(self.rooms, self.now, strict=True))
            if (level := self.level_of(room, want))
            for box in boxes(room, now, level, want)
        ]
        return Seats(len(found), lambda: (self.boxed(number, bits) for number, bits in found))

    def best(self, want: Want, terms: Terms) -> Seat | None:
        """Give the cheapest place; of equals that of the lowest cubes and seats. Exact, but for windows that many cubes share."""
        return remembered(self, ("best", want, terms), lambda: self._best(want, terms))

    def _best(self, want: Want, terms: Terms) -> Seat | None:
        if self.cubes_of(want):
            return self._made_of(CubePrices(self, want, terms).cheapest(), want, terms)
        found = cheapest_box(self, want, terms)
        return self.priced(self.boxed(*found), want, terms) if found is not None else None

    def mended(self, want: Want, held: Collection[HostId], out: Collection[HostId], terms: Terms) -> Seat | None:
        """Give the cheapest place that keeps the cubes in which nothing is out; a box inside a cube is made anew or not at all.

        A cube of which the slice does not hold all is kept only where the rest of it may be used.
        """
        torn = {
            host
            for number in {self.places[host][0] for host in held if host in self.places}
            for host in self.rooms[number].hosts
            if host not in held and not self.occupancy.is_usable(host, want.worst)
        }
        count, gone = self.cubes_of(want), frozenset(self.places[host][0] for host in (*out, *torn) if host in self.places)
        kept = sorted({self.places[host][0] for host in held if host in self.places} - gone)
        if not 0 < len(kept) < count:
            return None
        return self._made_of(CubePrices(self, want, terms, tuple(kept)).cheapest(gone), want, terms)

    def _made_of(self, choice: Choice | None, want: Want, terms: Terms) -> Seat | None:
        """Give the place of whole cubes, priced."""
        if choice is None:
            return None
        return replace(self.priced(self.joined(choice.numbers, want), want, terms), slack=choice.slack)

    def seat_of(self, want: Want, hosts: Collection[HostId]) -> Seat | None:
        """Give the place that exactly these hosts make, whoever holds them and however they are."""
        if want.generation != self.generation or not hosts or not all(host in self.places for host in hosts):
            return None
        bits = self.bits_of(hosts)
        count = self.cubes_of(want)
        if count:
            whole = len(bits) == count and all(bits[number] == self.rooms[number].nest.full for number in bits)
            return self.joined(bits, want) if whole else None
        ((number, those), *others) = bits.items()
        room = self.rooms[number]
        level = self.level_of(room, want)
        if others or not level or those not in room.nest.standing(level) or those & ~room.placed:
            return None
        return self.boxed(number, those)

    def room(self, want: Want) -> int:
        """Count the slices that fit at once, exactly: whole cubes are all alike, and boxes of one size do not overlap."""
        count = self.cubes_of(want)
        if count:
            return sum(len(kind.numbers) for kind, _ in self.usable(want)) // count
        found = 0
        for kind in self.kinds:
            level = self.level_of(kind.room, want)
            clean, limping = starts(kind.room, kind.now, level, want) if level else (0, 0)
            found += (clean | limping).bit_count() * len(kind.numbers)
        return found

    def largest(self) -> Shape | None:
        """Give the shape of most chips that has a place on clean hosts."""
        kind = GENERATIONS[self.generation]
        found = [(alive(kind.room, kind.now), kind) for kind in self.kinds]
        whole = sum(counts[0] * len(kind.numbers) for counts, kind in found)
        below = (box for counts, kind in found for count, box in zip(counts, kind.room.nest.boxes, strict=True) if count)
        return compact(kind, whole) or max(below, key=lambda box: (prod(box), box), default=None)

    def victims(self, want: Want, prices: Mapping[GangId, float]) -> Victims | None:
        """Give the cheapest gangs whose going makes room: exact, but for gangs that share very many cubes, where the gap is told."""
        return victims_for_cubes(self, want, prices) if self.cubes_of(want) else victims_for_box(self, want, prices)

    def short(self, want: Want) -> Shortage:
        """Say what is missing: the fewest hosts, over all cubes or boxes."""
        return shortage(self, want)


def block_of(
    ground: GroundId, fleet: Fleet, cubes: Iterable[Cube], names: Names = NAMES, occupancy: Occupancy | None = None
) -> Block:
    """Lay out the partitions of one block, on which nobody sits unless ``occupancy`` says so.

    Slices that stand in the fleet are joined now.

    Raises:
        Misconfigured: one of them is no partition, or they are not all of one generation.
    """
    ordered = sorted(cubes, key=lambda cube: cube.id)
    kinds = sorted({cube.generation for cube in ordered})
    if len(kinds) != 1:
        told = f"has cubes of {', '.join(kinds)}" if kinds else "has no cube"
        raise Misconfigured(f"block {ground}", told, "Give each generation a block of its own")
    rooms = tuple(room_of(fleet, cube, names) for cube in ordered)
    number = {room.id: n for n, room in enumerate(rooms)}
    formed = tuple(
        tuple(number[cube] for cube in one.cubes)
        for _, one in sorted(fleet.slices.items())
        if one.cubes and all(cube in number for cube in one.cubes) and whole_cubes(kinds[0], one.shape) == len(one.cubes)
    )
    known = occupancy or Occupancy()
    places: dict[HostId, tuple[int, int]] = {}
    for n, room in enumerate(rooms):
        for host, seat in zip(room.hosts, room.seats, strict=True):
            if host in places:
                why = f"lies in {rooms[places[host][0]].id} and in {room.id}"
                raise Misconfigured(str(host), why, "A host has one place")
            places[host] = n, seat
    torn = torn_in(rooms, places, known)
    now = tuple(now_of(room, known, torn.get(n, ())) for n, room in enumerate(rooms))
    return Block(ground, kinds[0], rooms, formed, known, now)
