"""A tree of labels as ground for slices: whole hosts of one kind, all of a slice in one domain of the level that it must not leave.

Nothing is known of how its hosts are joined, so that any hosts of a domain are as good as any others but for what they cost. The
cheapest place and the cheapest victims are exact. What Kueue would do with the same labels is `tree.placement`'s to say.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations, islice
from math import inf, prod
from typing import TYPE_CHECKING

from sliceward.scheduling.cover import THOUSANDTHS, cheapest_cover, in_thousandths
from sliceward.scheduling.ground import GroundId, Mix, Seat, Seats, Shortage, Victims
from sliceward.scheduling.occupancy import Cause, Grade, Occupancy
from sliceward.scheduling.pricing import Facts, price_of
from sliceward.scheduling.tree.apart import Found, Pair, cheapest_apart, clash, ways_apart
from sliceward.scheduling.tree.lie import Leaf, Lie, Span
from sliceward.scheduling.tree.vacancies import Crew, Pick, Vacancies
from sliceward.topology.generations import GENERATIONS, Shape

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from sliceward.scheduling.ground import Terms, Want
    from sliceward.scheduling.tree.cheapest import Choice
    from sliceward.topology.ids import CubeId, GangId, HostId

    Freed = Mapping[tuple[Span, int], Mapping[GangId, list[int]]]  # by domain and kind, the places that each gang would open

_HELPED_FIRST = (Cause.SICK, Cause.UNKNOWN, Cause.RESERVED, Cause.HELD)


@dataclass(frozen=True)
class TreeGround:
    """One tree. Make it with `of`."""

    id: GroundId
    generation: str
    vacancies: Vacancies

    @classmethod
    def of(cls, ground: GroundId, generation: str, leaves: Iterable[Leaf], *, levels: Sequence[str], unit: str) -> TreeGround:
        """Lay out the hosts of one generation. ``unit``: the level that a slice must not leave if it does not say another.

        Raises:
            Misconfigured: as `Lie.of`.
        """
        return cls(ground, generation, Vacancies.of(Lie.of(levels, leaves, unit=unit)))

    @property
    def lie(self) -> Lie:
        """How its hosts lie."""
        return self.vacancies.lie

    @property
    def hosts(self) -> Mapping[HostId, int]:
        """All hosts with their chips."""
        return self.lie.chips_of

    @property
    def parts(self) -> Mapping[CubeId, tuple[HostId, ...]]:
        """None: a domain is neither a cube nor a pool."""
        return {}

    @property
    def occupancy(self) -> Occupancy:
        """Who sits where, and what is known."""
        return self.vacancies.occupancy

    @cached_property
    def memo(self) -> dict[tuple[object, ...], object]:
        """What was found out of just this ground."""
        return {}

    def changed(self, occupancy: Occupancy, hosts: Collection[HostId]) -> TreeGround:
        """Give the ground with another occupancy, which differs at these hosts alone."""
        return replace(self, vacancies=self.vacancies.changed(occupancy, hosts))

    def seats(self, want: Want) -> Seats:
        """Give every place for a slice, not priced: domain by domain, lowest hosts first."""
        pairs = self._pairs_for(want)
        found = [(self.vacancies.usable(span, crew), crew.hosts) for crew, span in self._rooms(want)]

        def each() -> Iterator[Seat]:
            ways = (places for usable, count in found for places in combinations(usable, count))
            return (self._seat(want, places) for places in ways if clash(places, pairs) is None)

        return Seats(sum(ways_apart(usable, count, pairs) for usable, count in found), each)

    def best(self, want: Want, terms: Terms) -> Seat | None:
        """Give the cheapest place; of equals the lowest."""
        best: Choice | None = None
        terms = replace(terms, mix=self._joinable(terms.mix))
        kind, least_of_all = -1, inf
        for crew, span in self._rooms(want):
            least = self.vacancies.least_lost(span, crew, terms)
            # Of the same kind a later domain is a higher place, which must be cheaper to be better.
            if least is not None and (best is None or least < best.cost + (crew.kind != kind)):
                choice = self._cheapest(span, crew, want, terms)
                least_of_all = min(least_of_all, choice.cost - choice.slack) if choice is not None else least_of_all
                if choice is not None and choice.beats(best):
                    best, kind = choice, crew.kind
        if best is None:
            return None
        slack = max(0.0, best.cost - least_of_all) / THOUSANDTHS
        return replace(self.priced(self._seat(want, best.places), want, terms), slack=slack)

    def _cheapest(self, span: Span, crew: Crew, want: Want, terms: Terms) -> Choice | None:
        """Give the cheapest hosts of a domain with no condemned link between them, or with one that slows the slice, if it may."""
        careful = None
        if not self._is_parted(want.shape):
            careful = self._apart(self.vacancies, (span, crew), terms, Pick(crew.hosts))
        if not want.broken_links or not self._is_broken(want.shape):
            return careful
        slow = self.vacancies.cheapest(span, crew, terms, Pick(crew.hosts, limps=True))
        return slow if slow is not None and slow.beats(careful) else careful

    def _apart(self, free: Vacancies, room: tuple[Span, Crew], terms: Terms, pick: Pick) -> Choice | None:
        def ask(without: frozenset[int]) -> Found[Choice] | None:
            choice = free.cheapest(*room, terms, replace(pick, without=pick.without | without))
            return Found((choice.cost,), choice.places, choice, choice.slack) if choice is not None else None

        found = cheapest_apart(ask, self.vacancies.pairs)
        return replace(found.choice, slack=found.slack) if found is not None else None

    def priced(self, seat: Seat, want: Want, terms: Terms) -> Seat:
        """Give a place with its price."""
        return self._priced(self.vacancies, want, terms, seat, self._places(seat.hosts))

    def seat_of(self, want: Want, hosts: Collection[HostId]) -> Seat | None:
        """Give the place that exactly these hosts make, whoever holds them."""
        places = self._places(hosts)
        if len(places) != len(set(hosts)):
            return None
        inside = any(crew.hosts == len(places) and self._are_of(places, crew, span) for crew, span in self._domains(want))
        return self._seat(want, places) if inside else None

    def mended(self, want: Want, held: Collection[HostId], out: Collection[HostId], terms: Terms) -> Seat | None:
        """Give the cheapest place that keeps these hosts but those that are out: others of their kind and domain join them."""
        stays, pairs = self._places(set(held) - set(out)), self._pairs_for(want)
        others = self.vacancies.without(self._places({*held, *out}))
        joined = frozenset(end for pair in pairs for end in pair if not set(stays).isdisjoint(pair))
        for crew, span in self._rooms(want) if stays and clash(stays, pairs) is None else ():
            if len(stays) <= crew.hosts and self._are_of(stays, crew, span):
                pick = Pick(crew.hosts - len(stays), joined)
                choice = self._apart(others, (span, crew), terms, pick) if pairs else others.cheapest(span, crew, terms, pick)
                if choice is None:
                    return None
                seat = self._seat(want, [*stays, *choice.places])
                return replace(self._priced(others, want, terms, seat, choice.places), slack=choice.slack / THOUSANDTHS)
        return None

    def room(self, want: Want) -> int:
        """Count slices that fit at once: exactly, or where links are condemned never too few."""
        pairs = self._pairs_for(want)
        return sum(self._count(span, crew, pairs) for crew, span in self._rooms(want))

    def alive(self, shape: Shape) -> int:
        """Count the slices of a shape that fit at once on healthy free hosts, each in a unit; as exactly as `room`."""
        return 0 if self._is_parted(shape) else self.vacancies.alive(prod(shape))

    def _count(self, span: Span, crew: Crew, pairs: Sequence[Pair]) -> int:
        count, hosts = self.vacancies.count(span, crew), crew.hosts
        if count < hosts or not pairs:
            return count // hosts
        usable = self.vacancies.usable(span, crew)

        def ask(without: frozenset[int]) -> Found[None] | None:
            first = tuple(islice((place for place in usable if place not in without), hosts))
            return Found((0,), first, None) if len(first) == hosts else None

        return count // hosts if cheapest_apart(ask, pairs) is not None else 0

    def loss(self, seat: Seat, mix: Mix) -> float:
        """Add up over the mix: probability x slices that fit no more."""
        return self.vacancies.lost_with(self._places(seat.hosts), self._joinable(mix))

    def largest(self) -> Shape | None:
        """Give the shape of most chips that has a place in a unit; of several of so many chips the first."""
        kind, free = GENERATIONS[self.generation], self.vacancies
        crews = {Crew(number, 1): size for number, size in enumerate(self.lie.sizes)}
        most = max((size * free.count(span, crew) for crew, size in crews.items() for span in free.units), default=0)
        small = {prod(shape) for shape in kind.small_shapes}
        cubes = range(prod(kind.cube), most + 1, prod(kind.cube)) if kind.cube is not None else ()
        for chips in sorted({*small, *cubes}, reverse=True):
            shapes = kind.shapes(chips) if chips <= most else []
            if shapes and self._has_place(shapes[0]):
                return shapes[0]
        return None

    def _has_place(self, shape: Shape) -> bool:
        crews = () if self._is_parted(shape) else self.vacancies.crews(prod(shape))
        return any(self._count(span, crew, self.vacancies.pairs) for crew in crews for span in self.vacancies.units)

    def victims(self, want: Want, prices: Mapping[GangId, float]) -> Victims | None:
        """Give the cheapest gangs whose going makes room, exactly; of equals the fewest, then those of the lowest domain."""
        freed = self._freed(want, prices)

        def ask(without: frozenset[int]) -> Found[tuple[GangId, ...]] | None:
            return self._cleared(want, prices, freed, without)

        found = cheapest_apart(ask, self._pairs_for(want))
        if found is None:
            return None
        cost = found.rank[0]
        gap = found.slack / (cost - found.slack) if found.slack and cost > found.slack else 0.0
        return Victims(found.choice, cost / THOUSANDTHS, self._seat(want, found.places), gap)

    def _cleared(
        self, want: Want, prices: Mapping[GangId, float], freed: Freed, without: frozenset[int]
    ) -> Found[tuple[GangId, ...]] | None:
        """Give the cheapest gangs whose going makes room beside some hosts."""
        best: Found[tuple[GangId, ...]] | None = None
        for crew, span in self._rooms(want):
            free = [place for place in self.vacancies.usable(span, crew) if place not in without]
            held = {
                gang: [place for place in places if place not in without]
                for gang, places in sorted(freed.get((span, crew.kind), {}).items())
            }
            gangs = [*held]
            costs = [in_thousandths(prices[gang]) for gang in gangs]
            cover = cheapest_cover([len(held[gang]) for gang in gangs], costs, crew.hosts - len(free))
            if cover is not None and (best is None or (cover.cost, len(cover.taken)) < best.rank):
                going = tuple(gangs[number] for number in cover.taken)
                places = self._healthy_first([*free, *(place for gang in going for place in held[gang])])
                best = Found((cover.cost, len(going)), tuple(sorted(places[: crew.hosts])), going)
        return best

    def short(self, want: Want) -> Shortage:
        """Say what keeps hosts closed, and the fewest that would have to open in the domain where that is fewest."""
        causes: Counter[Cause] = Counter()
        fitting = {
            place for crew, span in self._domains(want) for place in range(*span) if self.vacancies.kind_of(place) == crew.kind
        }
        for place, host in enumerate(self.lie.hosts):
            told = self.occupancy.why_not(host, want.worst)
            if told is not None or place not in fitting:
                causes[told[0] if told is not None else Cause.SHAPE] += 1
        nearest: list[int] = []
        for crew, span in self._rooms(want):
            closed, missing = self.vacancies.closed(span, crew), crew.hosts - self.vacancies.count(span, crew)
            if 0 < missing <= len(closed) and (not nearest or missing < len(nearest)):
                nearest = sorted(self._helped_first(closed, want)[:missing])
        hosts = tuple(self.lie.hosts[place] for place in nearest)
        return Shortage(dict(sorted(causes.items())), hosts, len(self.lie.hosts) - causes.total())

    def _rooms(self, want: Want) -> Iterator[tuple[Crew, Span]]:
        """Give the ways to make the slice, each with every domain; none where a switch is lost that would join it."""
        return self._domains(want) if want.broken_links or not self._is_parted(want.shape) else iter(())

    def _domains(self, want: Want) -> Iterator[tuple[Crew, Span]]:
        """Give the ways to make the slice, each with every domain that it must not leave; none where the tree has no such level."""
        level = self.lie.level_of(want.within)
        spans = self.lie.spans[level] if level is not None and want.generation == self.generation else ()
        return ((crew, span) for crew in self.vacancies.crews(want.chips, want.worst) for span in spans)

    def _pairs_for(self, want: Want) -> tuple[Pair, ...]:
        """Give the links that must not lie inside a slice."""
        return () if want.broken_links else self.vacancies.pairs

    def _is_parted(self, shape: Shape) -> bool:
        """Whether a lost optical switch joined the cubes of a shape: it is a lost link of every slice of whole cubes."""
        return bool(self.occupancy.switches) and GENERATIONS[self.generation].is_whole_cubes(shape)

    def _is_broken(self, shape: Shape) -> bool:
        return bool(self.vacancies.pairs) or self._is_parted(shape)

    def _joinable(self, mix: Mix) -> Mix:
        """Leave out the shapes that have no place anyway."""
        return tuple(each for each in mix if not self._is_parted(each[0])) if self.occupancy.switches else mix

    def _places(self, hosts: Iterable[HostId]) -> list[int]:
        return sorted(self.lie.place_of[host] for host in set(hosts) if host in self.lie.place_of)

    def _are_of(self, places: Sequence[int], crew: Crew, span: Span) -> bool:
        return all(span[0] <= place < span[1] and self.vacancies.kind_of(place) == crew.kind for place in places)

    def _helped_first(self, places: Iterable[int], want: Want) -> list[int]:
        """Sort closed hosts: first those that a repair opens, last those that another gang holds."""

        def rank(place: int) -> tuple[int, int]:
            told = self.occupancy.why_not(self.lie.hosts[place], want.worst)
            cause = told[0] if told is not None else None
            return _HELPED_FIRST.index(cause) if cause in _HELPED_FIRST else len(_HELPED_FIRST), place

        return sorted(places, key=rank)

    def _seat(self, want: Want, places: Iterable[int]) -> Seat:
        those = sorted(places)
        hosts = tuple(self.lie.hosts[place] for place in those)
        slow = any(self.occupancy.standing(host).grade is not Grade.HEALTHY for host in hosts) or self._limps(want, those)
        return Seat(self.id, hosts, grade=Grade.DEGRADED if slow else Grade.HEALTHY)

    def _healthy_first(self, places: Iterable[int]) -> list[int]:
        standing = self.occupancy.standing
        return sorted(places, key=lambda place: (standing(self.lie.hosts[place]).grade is not Grade.HEALTHY, place))

    def _freed(self, want: Want, prices: Mapping[GangId, float]) -> Freed:
        """Give, by domain and kind, the places that each gang with a price would open by its going."""
        open_to = replace(self.occupancy, holders={})
        span_of = {place: span for _, span in self._rooms(want) for place in range(*span)}
        found: dict[tuple[Span, int], dict[GangId, list[int]]] = {}
        for host, gang in self.occupancy.holders.items():
            place = self.lie.place_of[host]
            if gang in prices and place in span_of and open_to.is_usable(host, want.worst):
                domain = found.setdefault((span_of[place], self.vacancies.kind_of(place)), {})
                domain.setdefault(gang, []).append(place)
        return found

    def _limps(self, want: Want, places: Sequence[int]) -> bool:
        """Whether a condemned link or a lost switch slows a slice there."""
        return clash(places, self.vacancies.pairs) is not None or self._is_parted(want.shape)

    def _priced(self, free: Vacancies, want: Want, terms: Terms, seat: Seat, new: Collection[int]) -> Seat:
        """Give a place with what the cost of its ``new`` hosts is made of."""
        standings = tuple(free.occupancy.standing(free.lie.hosts[place]) for place in new)
        slow = any(standing.grade is not Grade.HEALTHY for standing in standings) or self._limps(want, self._places(seat.hosts))
        facts = Facts(free.lost_with(new, self._joinable(terms.mix)), standings, degraded=slow)
        return replace(seat, price=price_of(want, terms, facts))
