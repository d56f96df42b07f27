"""The cubes of one block as they stand: what is whole, what limps, what is joined, and what a place among them costs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from sliceward.scheduling.cubes.boxes import alive, lost, lost_later, starts, whole_later
from sliceward.scheduling.cubes.expected import expected, whole_cubes
from sliceward.scheduling.ground import Seat
from sliceward.scheduling.occupancy import Grade
from sliceward.scheduling.pricing import Facts, price_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from sliceward.scheduling.cubes.room import Now, Room
    from sliceward.scheduling.ground import GroundId, Mix, Terms, Want
    from sliceward.scheduling.occupancy import Occupancy
    from sliceward.topology.generations import Shape
    from sliceward.topology.ids import CubeId, HostId


@dataclass(frozen=True, slots=True)
class Kind:
    """Cubes that are built and stand alike, so that what holds of the first, its ``room`` and ``now``, holds of all ``numbers``."""

    numbers: tuple[int, ...]
    room: Room
    now: Now


@dataclass(frozen=True)
class Stock:
    """``rooms`` in the order of their names, and by the same numbers how they stand ``now``.

    ``formed``: numbers of the cubes that are joined now, in the order of each slice's torus: what stays joined needs no switching.
    """

    id: GroundId
    generation: str
    rooms: tuple[Room, ...]
    formed: tuple[tuple[int, ...], ...]
    occupancy: Occupancy
    now: tuple[Now, ...]

    @cached_property
    def hosts(self) -> Mapping[HostId, int]:
        """All hosts with their chips, cube by cube."""
        return {host: room.chips for room in self.rooms for host in room.hosts}

    @cached_property
    def parts(self) -> Mapping[CubeId, tuple[HostId, ...]]:
        """The cubes with their hosts."""
        return {room.id: room.hosts for room in self.rooms}

    @cached_property
    def memo(self) -> dict[tuple[object, ...], object]:
        """What was found out of just this ground."""
        return {}

    @cached_property
    def places(self) -> Mapping[HostId, tuple[int, int]]:
        """The cube and the seat of each host."""
        return {
            host: (number, seat)
            for number, room in enumerate(self.rooms)
            for host, seat in zip(room.hosts, room.seats, strict=True)
        }

    @cached_property
    def kinds(self) -> tuple[Kind, ...]:
        """The cubes by kind, those of which something is to be expected each by itself, in the order of their first numbers.

        In a block of 144 there are few kinds: free as a whole, held as a whole, and what is left.
        """
        found: dict[object, list[int]] = {}
        for number, (room, now) in enumerate(zip(self.rooms, self.now, strict=True)):
            own = (
                number
                if now.burdens
                else (room.nest.runs, room.sound, room.shaky, now.torn, now.free, now.poor, now.back, room.spare)
            )
            found.setdefault(own, []).append(number)
        return tuple(Kind(tuple(each), self.rooms[each[0]], self.now[each[0]]) for each in found.values())

    @cached_property
    def whole(self) -> int:
        """Count the clean cubes, spares left out."""
        return sum(alive(kind.room, kind.now)[0] * len(kind.numbers) for kind in self.kinds if not kind.room.spare)

    def cubes_of(self, want: Want) -> int:
        """Count the whole cubes that a want takes; 0 where it is a box, or nothing that stands here."""
        return whole_cubes(self.generation, want.shape) if want.generation == self.generation else 0

    def usable(self, want: Want) -> Iterator[tuple[Kind, bool]]:
        """Give the cubes that may be part of a slice, and whether they limp."""
        for kind in self.kinds:
            clean, limping = starts(kind.room, kind.now, 0, want)
            if clean or limping:
                yield kind, not clean

    def usable_numbers(self, want: Want) -> list[int]:
        """Give the numbers of the cubes that may be part of a slice."""
        return sorted(number for kind, _ in self.usable(want) for number in kind.numbers)

    def level_of(self, room: Room, want: Want) -> int:
        """Give the level of the boxes that a want takes in a cube; 0 where none stands there."""
        return room.nest.level_of(want.shape, turned=want.turned) or 0 if want.generation == self.generation else 0

    def alive(self, shape: Shape) -> int:
        """Count the slices of a shape that fit at once on clean hosts, spares left out."""
        count = whole_cubes(self.generation, shape)
        if count:
            return self.whole // count
        return sum(
            alive(kind.room, kind.now)[level] * len(kind.numbers)
            for kind in self.kinds
            if not kind.room.spare and (level := kind.room.nest.level_of(shape)) is not None
        )

    def loss(self, seat: Seat, mix: Mix) -> float:
        """Add up over the mix: probability x slices that `alive` would lose."""
        gone, loss = 0, 0.0
        for number, bits in self.bits_of(seat.hosts).items():
            room, now = self.rooms[number], self.now[number]
            if not room.spare:
                destroyed = lost(room, now, bits)
                gone += destroyed[0]
                loss += expected(self.generation, room.nest.boxes, mix).of_boxes(destroyed)
        return loss + expected(self.generation, (), mix).of_cubes(self.whole, gone)

    def destroyed(self, seat: Seat, terms: Terms) -> float:
        """Give the expected places that a seat destroys: now, and where it is below a cube, once what is sick is well again.

        A small slice in a cube with a sick host costs nobody a cube today, but when the host is back.
        """
        now = self.loss(seat, terms.mix)
        bits = self.bits_of(seat.hosts)
        if len(bits) > 1 or any(each == self.rooms[number].nest.full for number, each in bits.items()):
            return now
        ((number, box),) = bits.items()
        room, then = self.rooms[number], 0.0
        if not room.spare:
            gone = lost_later(room, self.now[number], box)
            reads = expected(self.generation, room.nest.boxes, terms.mix)
            then = reads.of_boxes(gone) + reads.of_cubes(self.whole_later, gone[0])
        return now + terms.costs.back * (then - now)

    @cached_property
    def whole_later(self) -> int:
        """Count the cubes that are free as a whole once all that is nobody's is well again, spares left out."""
        return sum(whole_later(kind.room, kind.now) * len(kind.numbers) for kind in self.kinds if not kind.room.spare)

    def joined(self, numbers: Collection[int], want: Want) -> Seat:
        """Give the place that whole cubes make, in the order in which most of them are joined already."""
        rooms = [self.rooms[number] for number in self._in_order(numbers)]
        limps = any(self.limps(number, self.rooms[number].nest.full, 0) for number in numbers)
        return Seat(
            self.id,
            tuple(host for room in rooms for host in room.hosts),
            tuple(room.id for room in rooms),
            want.shape,
            grade=Grade.DEGRADED if limps else Grade.HEALTHY,
        )

    def boxed(self, number: int, bits: int) -> Seat:
        """Give the place that a box inside one cube makes."""
        room = self.rooms[number]
        level = room.nest.runs.index(bits.bit_count())
        corner = room.nest.corner_of((bits & -bits).bit_length() - 1)
        grade = Grade.DEGRADED if self.limps(number, bits, level) else Grade.HEALTHY
        return Seat(self.id, room.hosts_in(bits), (room.id,), room.nest.boxes[level], corner, grade)

    def priced(self, seat: Seat, want: Want, terms: Terms) -> Seat:
        """Give a place with its price."""
        known, numbers = self.occupancy.standings, list(self.bits_of(seat.hosts))
        facts = Facts(
            loss=self.destroyed(seat, terms),
            standings=tuple(known[host] for host in seat.hosts if host in known),
            degraded=seat.grade is not Grade.HEALTHY,
            spare_chips=sum(self.spared(number) for number in numbers),
            ports=self._switched(numbers) if self.cubes_of(want) else 0,
        )
        return replace(seat, price=price_of(want, terms, facts))

    def spared(self, number: int) -> int:
        """Count the chips of a spare that would be whole no more; 0 where the cube is none, or is not whole as it is."""
        room, now = self.rooms[number], self.now[number]
        return room.chips * room.nest.hosts if room.spare and now.free | now.poor == room.nest.full else 0

    @cached_property
    def formed_with(self) -> Mapping[int, int]:
        """The slice that is joined now by cube, as its place in ``formed``."""
        return {number: place for place, numbers in enumerate(self.formed) for number in numbers}

    def bits_of(self, hosts: Collection[HostId]) -> dict[int, int]:
        """Give the seats of hosts by cube."""
        bits: dict[int, int] = {}
        for host in hosts:
            number, seat = self.places[host]
            bits[number] = bits.get(number, 0) | 1 << seat
        return dict(sorted(bits.items()))

    def _switched(self, numbers: Collection[int]) -> int:
        """Count the optical ports that have to be switched: all faces of the cubes that are not joined so already."""
        return sum(ports_of(self.rooms[number]) for number in set(numbers).difference(self._joined_most(numbers)))

    def _joined_most(self, numbers: Collection[int]) -> tuple[int, ...]:
        """Give the slice of the same size that shares most cubes with these, () where none shares any."""
        counts = Counter(self.formed_with[number] for number in numbers if number in self.formed_with)
        alike = [(count, -place) for place, count in counts.items() if len(self.formed[place]) == len(numbers)]
        return self.formed[-max(alike)[1]] if alike else ()

    def _in_order(self, numbers: Collection[int]) -> list[int]:
        """Leave what is joined already where it is in the torus; what is new takes the gaps, lowest first."""
        joined = self._joined_most(numbers)
        new = sorted(set(numbers).difference(joined))
        if not joined:
            return new
        gaps = iter(new)
        return [number if number in numbers else next(gaps) for number in joined]

    def limps(self, number: int, bits: int, level: int) -> bool:
        """Whether a box of a level, or a whole cube, has a degraded part, whoever holds it."""
        room, now = self.rooms[number], self.now[number]
        first = bits & -bits
        if not first & room.sound[level] or first & now.torn[level]:
            return True
        odd = bits & ~(now.free | now.held)
        return odd != 0 and any(self.occupancy.standing(host).grade is not Grade.HEALTHY for host in room.hosts_in(odd))


def ports_of(room: Room) -> int:
    """Count the optical ports of a cube: one for each chip on each of its faces."""
    x, y, z = room.nest.boxes[0]
    return 2 * (x * y + y * z + z * x)
