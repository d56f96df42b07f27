"""A TPU pod without optical switches as a ground: a slice is a box of hosts that lie beside each other.

Every place is known (`anchors`), priced by what it destroys (`outlook`) and by its hosts, and the cheapest of all is taken. A pod is
made of boards, so that another occupancy costs a few bits, and pods that are alike are looked at once.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from math import inf, prod
from typing import TYPE_CHECKING

from sliceward.scheduling.ground import Seat, Seats, Shortage, Victims
from sliceward.scheduling.occupancy import Grade, Occupancy
from sliceward.scheduling.pricing import Facts, price_of
from sliceward.scheduling.torus.anchors import anchors
from sliceward.scheduling.torus.board import places_on
from sliceward.scheduling.torus.burdens import Burdens
from sliceward.scheduling.torus.catalogue import legal_shapes
from sliceward.scheduling.torus.footprint import covered, footprint, oriented, turning, within
from sliceward.scheduling.torus.losses import UNIT, as_grids, box_sums, set_numbers
from sliceward.scheduling.torus.outlook import Prospect, Sight, alive, by_size, least_of_each, loss, losses_of, lowest, prospect
from sliceward.scheduling.torus.state import RISK, Site, State
from sliceward.scheduling.torus.victims import Sitting, cheapest_clearing
from sliceward.topology.generations import GENERATIONS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from sliceward.scheduling.ground import GroundId, Mix, Terms, Want
    from sliceward.topology.generations import Shape
    from sliceward.topology.ids import CubeId, GangId, HostId
    from sliceward.topology.torus import Coordinate, Torus


_ROUNDING = 1e-9
"""A share that is larger than what rounding may add to a bound, and smaller than any difference that matters."""


@dataclass(frozen=True)
class TorusGround:
    """One pod (a `Ground`). ``site`` never changes."""

    id: GroundId
    generation: str
    site: Site
    occupancy: Occupancy = field(default_factory=Occupancy)

    @property
    def hosts(self) -> Mapping[HostId, int]:
        """All hosts with their chips, in the order of their places."""
        return self.site.hosts

    @property
    def parts(self) -> Mapping[CubeId, tuple[HostId, ...]]:
        """The pools that the hosts are of."""
        return self.site.parts

    @cached_property
    def memo(self) -> dict[tuple[object, ...], object]:
        """What was found out of just this ground."""
        return {}

    @cached_property
    def state(self) -> State:
        """The occupancy as boards."""
        return State.of(self.site, self.occupancy)

    def changed(self, occupancy: Occupancy, hosts: Collection[HostId]) -> TorusGround:
        """Give the ground with another occupancy; what is known of all other hosts is kept."""
        anew = replace(self, occupancy=occupancy)
        if "state" in self.__dict__:
            anew.__dict__["state"] = self.state.changed(self.site, self.occupancy, occupancy, hosts)
        if "_boards" in self.__dict__:
            anew.__dict__["_boards"] = _sitting(self.site, occupancy, self._boards, hosts)
        return anew

    def seats(self, want: Want) -> Seats:
        """Give every place: box by box, lowest first."""
        fits = self._fits(want)
        return Seats(
            sum(board.bit_count() for board in fits.values()),
            lambda: (self._seat(want, box, at) for box, board in fits.items() for at in places_on(self._torus, board)),
        )

    def best(self, want: Want, terms: Terms) -> Seat | None:
        """Give the cheapest of all places; of equals that of the first box, then the lowest."""
        burdens = self._burdens(want, terms)
        key = (want, terms.costs.anchor, terms.costs.soon, terms.mix)
        if burdens is None and key in self._known:
            return self._known[key]
        seen, fits = by_size(self.site.lattice, self._joinable(terms.mix)), self._fits(want)
        whole = self._fits(replace(want, broken_links=False)) if want.broken_links and self._is_broken else fits
        best: tuple[float, int, float, Shape, int] | None = None
        for bound, order, box in self._bounds(want, terms):
            if best is not None and bound > best[0]:
                break
            more = burdens.of(self._torus, box, fits[box] & ~whole[box]) if burdens is not None else None
            cost, lost, number = self._cheapest(seen, box, fits[box], (terms, more))
            if best is None or (cost, order) < best[:2]:
                best = cost, order, lost, box, number
        seat = None
        if best is not None:
            seat = self._priced(self._seat(want, best[3], self._torus.coordinate(best[4])), want, terms, best[2] / UNIT)
        if burdens is None:
            self._known[key] = seat
        return seat

    def floor(self, want: Want, terms: Terms) -> float:
        """Give what the best place costs at least: what the likeliest shapes lose by it."""
        bounds = self._bounds(want, terms)
        return bounds[0][0] if bounds else inf

    def _bounds(self, want: Want, terms: Terms) -> list[tuple[float, int, Shape]]:
        """Give for each box that fits, in rising order, what its best place costs at least, and its number among the boxes."""
        seen = by_size(self.site.lattice, self._joinable(terms.mix))
        anchor = terms.costs.anchor / UNIT * (1 - _ROUNDING)
        fits = [(order, box, board) for order, (box, board) in enumerate(self._fits(want).items()) if board]
        if not fits or not anchor:
            return [(0.0, order, box) for order, box, _ in fits]
        lost = least_of_each(seen, self._sight(terms), tuple((box, board) for _, box, board in fits))
        return sorted((amount * anchor, order, box) for amount, (order, box, _) in zip(lost, fits, strict=True))

    def _cheapest(
        self, seen: Prospect, box: Shape, fits: int, price: tuple[Terms, NDArray[np.float64] | None]
    ) -> tuple[float, float, int]:
        """Give the least cost of a box in chip-seconds, what it takes in `UNIT`, and from where."""
        terms, more = price
        anchor, sight = terms.costs.anchor / UNIT, self._sight(terms)
        if more is None:
            lost, number = lowest(seen, sight, box, fits)
            return lost * anchor, lost, number
        numbers = set_numbers(self._torus, fits)
        if not anchor:
            least = int(more[numbers].argmin())
            return float(more[numbers[least]]), 0.0, int(numbers[least])
        lost_by = losses_of(seen, sight, box)[numbers]
        costs = lost_by * anchor + more[numbers]
        least = int(costs.argmin())
        return float(costs[least]), float(lost_by[least]), int(numbers[least])

    def priced(self, seat: Seat, want: Want, terms: Terms) -> Seat:
        """Give a place with its price."""
        return self._priced(seat, want, terms, self.destroyed(seat, terms))

    def _priced(self, seat: Seat, want: Want, terms: Terms, lost: float) -> Seat:
        room = self.site.board(seat.hosts) if self.state.told or self.site.kept else 0
        facts = Facts(
            loss=lost,
            standings=tuple(self.occupancy.standings[host] for host in self.site.hosts_on(room & self.state.told)),
            degraded=seat.grade is not Grade.HEALTHY,
            spare_chips=(room & self.site.kept).bit_count() * self.site.lattice.chips_a_host,
        )
        return replace(seat, price=price_of(want, terms, facts))

    def seat_of(self, want: Want, hosts: Collection[HostId]) -> Seat | None:
        """Give the box that these hosts are."""
        board = self.site.board(hosts)
        for box in self._boxes(want):
            if prod(box) == len(hosts) == board.bit_count():
                for at in places_on(self._torus, anchors(self._torus, frozenset({box}), board, {})[box]):
                    return self._seat(want, box, at)
        return None

    def mended(self, want: Want, held: Collection[HostId], out: Collection[HostId], terms: Terms) -> Seat | None:  # noqa: ARG002 (nothing of a box can be replaced)
        """Give none: a box is made anew or not at all."""
        return None

    def room(self, want: Want) -> int:
        """Give how many boxes the hosts that lie in any would make, if they could be parted so."""
        boxes = self._fits(want)
        together = 0
        for box, board in boxes.items():
            together |= covered(self._torus, box, board)
        return together.bit_count() * self.site.lattice.chips_a_host // want.chips

    def alive(self, shape: Shape) -> int:
        """Count the places of a shape, however it lies."""
        if self._is_parted(shape):
            return 0
        boxes = frozenset(self.site.lattice.boxes(shape))
        found = anchors(self._torus, boxes, self._expected, dict(self.state.between))
        return sum(board.bit_count() for board in self._unparted(found).values())

    def loss(self, seat: Seat, mix: Mix) -> float:
        """Add up over the mix: probability x places that overlap the seat."""
        seen = prospect(self.site.lattice, self._joinable(mix))
        return loss(seen, self._expected, self.state.between, self.site.board(seat.hosts))

    def largest(self) -> Shape | None:
        """Give the legal shape of most chips that has a place."""
        return next((shape for shape in reversed(legal_shapes(self.generation, self.site.lattice)) if self.alive(shape)), None)

    def victims(self, want: Want, prices: Mapping[GangId, float]) -> Victims | None:
        """Give the cheapest box by who sits in it: the cheapest of all, so without a gap."""
        if self._is_parted(want.shape) and not want.broken_links:
            return None
        state, suits = self.state, self._suiting(want)
        sits = sorted(((gang, board & suits) for gang, board in self._boards.items() if gang in prices), key=lambda one: one[0])
        found = cheapest_clearing(
            self._torus,
            partial(self._placed, want),
            suits & ~state.held,
            [Sitting(board, prices[gang]) for gang, board in sits],
        )
        if found is None:
            return None
        gangs = tuple(sits[number][0] for number in found.goes)
        seat = self._seat(want, found.box, self._torus.coordinate(found.number))
        return Victims(gangs, sum(prices[gang] for gang in gangs), seat)

    def short(self, want: Want) -> Shortage:
        """Say which box lacks the fewest hosts; where a condemned link lies inside, no host helps."""
        reasons = (self.occupancy.why_not(host, want.worst) for host in self.hosts)
        counts = Counter(reason[0] for reason in reasons if reason is not None)
        free = self._suiting(want) & ~self.state.held
        lacking = as_grids(self._torus, [~free & self.site.there])[0]
        there = self.site.there if want.broken_links else self.site.there & ~self.state.within
        there = 0 if self._is_parted(want.shape) and not want.broken_links else there
        best: tuple[float, Shape, Coordinate] | None = None
        for box, board in self._placed(want, there).items():
            if board:
                numbers = set_numbers(self._torus, board)
                bad = box_sums(self._torus, lacking, box)[numbers]
                least = int(bad.argmin())
                if best is None or bad[least] < best[0]:
                    best = (float(bad[least]), box, self._torus.coordinate(int(numbers[least])))
        nearest = footprint(self._torus, best[1], best[2]) & ~free if best else 0
        return Shortage(dict(counts), tuple(sorted(self.site.hosts_on(nearest))), free.bit_count())

    def destroyed(self, seat: Seat, terms: Terms) -> float:
        """Give the expected places that a seat destroys: those that are free, and in part those that would be once others are done."""
        seen = by_size(self.site.lattice, self._joinable(terms.mix))
        box = tuple(length // part for length, part in zip(seat.shape, self.site.lattice.tray, strict=True))
        return float(losses_of(seen, self._sight(terms), box)[self._torus.index(seat.at)]) / UNIT

    def maps(self, seen: Prospect) -> Mapping[Shape, int]:
        """Give the anchors of every box of a mix, as they are now."""
        return alive(seen, self._expected, self.state.between)

    # ── what the boards say ─────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def _torus(self) -> Torus:
        return self.site.lattice.hosts

    @property
    def _is_broken(self) -> bool:
        return bool(self.state.between or self.state.within or self.occupancy.switches)

    def _is_parted(self, shape: Shape) -> bool:
        """Whether a lost optical switch joined the cubes of a shape: it is a lost link of every slice of whole cubes."""
        return bool(self.occupancy.switches) and GENERATIONS[self.generation].is_whole_cubes(shape)

    def _joinable(self, mix: Mix) -> Mix:
        """Leave out the shapes that have no place anyway."""
        return tuple(each for each in mix if not self._is_parted(each[0])) if self.occupancy.switches else mix

    @property
    def _expected(self) -> int:
        """Hosts that future requests may use: healthy, free, no spare, no link condemned inside."""
        return self.state.fine & ~self.state.held & ~self.site.kept & ~self.state.within

    def _sight(self, terms: Terms) -> Sight:
        soon = terms.costs.soon
        if soon not in self._sights:
            state = self.state
            usable = (state.fine | state.ill) & ~self.site.kept & ~state.within
            sitting = tuple(sorted(self._boards.values()))
            self._sights[soon] = Sight(usable, state.ill & usable, sitting, state.between, soon)
        return self._sights[soon]

    @cached_property
    def _sights(self) -> dict[float, Sight]:
        """What prices depend on, by what a place counts that is not free yet."""
        return {}

    @cached_property
    def _boards(self) -> Mapping[GangId, int]:
        return _sitting(self.site, self.occupancy, {}, self.occupancy.holders)

    def _boxes(self, want: Want) -> tuple[Shape, ...]:
        return self.site.lattice.boxes(want.shape, turned=want.turned) if want.generation == self.generation else ()

    def _suiting(self, want: Want) -> int:
        """Give the hosts that the want puts up with, whoever sits on them."""
        hosts = self.state.passable if want.worst is Grade.DEGRADED else self.state.fine
        return hosts if want.broken_links else hosts & ~self.state.within

    def _fits(self, want: Want) -> Mapping[Shape, int]:
        key = (want.shape, want.turned, want.worst, want.broken_links, want.generation)
        if key not in self._fitting:
            free = 0 if self._is_parted(want.shape) and not want.broken_links else self._suiting(want) & ~self.state.held
            self._fitting[key] = self._placed(want, free)
        return self._fitting[key]

    def _placed(self, want: Want, free: int) -> Mapping[Shape, int]:
        """Give the anchors of the boxes of a want on some hosts, over links that it puts up with."""
        boxes = self._boxes(want)
        found = anchors(self._torus, frozenset(boxes), free, {} if want.broken_links else dict(self.state.between))
        found = {box: found[box] for box in boxes}
        return found if want.broken_links else self._unparted(found)

    def _unparted(self, found: Mapping[Shape, int]) -> Mapping[Shape, int]:
        """Leave out the places at which a box below a cube lies in two cubes, which a lost switch joined."""
        cube = GENERATIONS[self.generation].cube
        if not self.occupancy.switches or cube is None:
            return found
        part = self.site.lattice.in_hosts(cube)
        return {box: board & within(self._torus, box, part) for box, board in found.items()}

    @cached_property
    def _fitting(self) -> dict[tuple[Shape, bool, Grade, bool, str], Mapping[Shape, int]]:
        """What was found for wants; a ground never changes."""
        return {}

    @cached_property
    def _known(self) -> dict[tuple[Want, float, float, Mix], Seat | None]:
        """The best seats that were found where hosts add nothing to their prices."""
        return {}

    def _burdens(self, want: Want, terms: Terms) -> Burdens | None:
        """Give what hosts and links add to prices; None: nothing, wherever it is."""
        state, each = self.state, []
        if state.risks is not None:
            each.append((state.risks, terms.failures(RISK, want.chips)))
        if self.site.kept and not want.heals:
            each.append((as_grids(self._torus, [self.site.kept])[0], self.site.lattice.chips_a_host * terms.costs.spare))
        met = [(board, terms.maintenance((window,), want.chips)) for window, board in state.windows if terms.meets(window)]
        limps = (want.worst is Grade.DEGRADED and state.degraded) or (want.broken_links and self._is_broken)
        if not each and not met and not limps:
            return None
        return Burdens(tuple(each), tuple(met), (state.degraded, terms.limp(want.chips)))

    def _seat(self, want: Want, box: Shape, at: Coordinate) -> Seat:
        """Make a seat of a box: its hosts in the order of the slice's own axes."""
        lying = self.site.lattice.in_chips(box)
        numbers = oriented(self._torus, box, at, turning(want.shape, lying))
        hosts = tuple(host for number in numbers if (host := self.site.seats[number]) is not None)
        return Seat(self.id, hosts, (), lying, at, Grade.DEGRADED if self._is_poor(box, at) else Grade.HEALTHY)

    def _is_poor(self, box: Shape, at: Coordinate) -> bool:
        """Whether a host in a box is not healthy, or a condemned link lies inside."""
        if not self.state.told and not self._is_broken:
            return False
        if self._is_parted(self.site.lattice.in_chips(box)):
            return True
        room = footprint(self._torus, box, at)
        if any(self.occupancy.standings[host].grade is not Grade.HEALTHY for host in self.site.hosts_on(room & self.state.told)):
            return True
        whole = self._unparted(anchors(self._torus, frozenset({box}), room, dict(self.state.between)))
        return bool(room & self.state.within) or not whole[box]


def _sitting(site: Site, occupancy: Occupancy, before: Mapping[GangId, int], hosts: Collection[HostId]) -> Mapping[GangId, int]:
    """Give the board of each gang, from those before some hosts changed."""
    others = ~site.board(hosts) if before else 0
    found = {gang: left for gang, board in before.items() if (left := board & others)}
    for gang, mine in occupancy.crews(hosts).items():
        found[gang] = found.get(gang, 0) | site.board(mine)
    return found
