"""What a gang's slices are placed on: the protocol that the torus, the cubes with switches and the label tree fulfil.

A ground is one TPU pod, block, set of pools or label tree as its back-end sees it: immutable, and it knows what is free on it.
Grounds keep what they have found out about themselves, so that of sixteen pods only the one that changed is looked at again.

A new back-end: a class that has this protocol's methods, and one line where `snapshot_of` chooses by what the hosts are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from sliceward.scheduling.costs import DAY, Costs, checked_cost
from sliceward.scheduling.occupancy import Grade
from sliceward.topology.errors import Misconfigured
from sliceward.topology.generations import GENERATIONS, Shape, text_of
from sliceward.topology.ids import ClusterId, CubeId, PodId

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from datetime import datetime

    from sliceward.scheduling.occupancy import Cause, Occupancy, Window
    from sliceward.topology.generations import Generation
    from sliceward.topology.ids import GangId, HostId
    from sliceward.topology.torus import Coordinate

GroundId = PodId | CubeId | ClusterId
"""A TPU pod (block); a classic pool or a cube of which no pod is known; a cluster as a label tree."""

Mix = tuple[tuple[Shape, float], ...]
"""The requests that are expected: shapes in chips with their probabilities, which add up to 1 at most."""


def cluster_of(ground: GroundId) -> str:
    """Give the cluster that a ground lies in."""
    return ground.name if isinstance(ground, ClusterId) else ground.cluster


def checked_mix(mix: Mix, generation: str) -> Mix:
    """Give the mix of a generation back as it is.

    Raises:
        Misconfigured: the generation is unknown, a shape is none of it or is there twice, a probability is none, or together they
            are more than 1.
    """
    where, kind = f"mix of {generation}", generation_of(generation)
    for shape, probability in mix:
        checked_cost(probability, f"{where}: probability of {text_of(shape)}")
        if not is_shape_of(kind, shape):
            raise Misconfigured(where, f"expects {text_of(shape)}, which is no shape of {kind.name}", "See its table of shapes")
    kinds = {tuple(sorted(shape)) for shape, _ in mix}
    if len(kinds) < len(mix) or sum(probability for _, probability in mix) > 1 + 1e-9:
        raise Misconfigured(
            where, "names a shape twice, or its probabilities add up to more than 1", "Give shares of all requests"
        )
    return mix


def generation_of(label: str) -> Generation:
    """Give a generation by its label.

    Raises:
        Misconfigured: there is none.
    """
    if label not in GENERATIONS:
        raise Misconfigured(f"generation {label!r}", "is unknown", f"Known are {', '.join(GENERATIONS)}")
    return GENERATIONS[label]


def is_shape_of(kind: Generation, shape: Shape) -> bool:
    """Whether a generation has slices of a shape, however it lies."""
    whole = all(isinstance(length, int) and not isinstance(length, bool) and length > 0 for length in shape)
    return bool(shape) and whole and (kind.admits(shape) or kind.admits(tuple(sorted(shape))))


@dataclass(frozen=True, slots=True)
class Want:
    """One slice that needs a place.

    ``shape`` in chips. ``turned``: it may lie along the axes in any order. ``worst``: the worst grade of a host that is accepted,
    HEALTHY or DEGRADED. ``broken_links``: a condemned link may lie inside. ``heals``: it replaces a place that was lost, for which
    spares are kept. ``within``: label of the level of a tree that the slice must not leave, "" for the ground's own.
    """

    generation: str
    shape: Shape
    turned: bool = True
    worst: Grade = Grade.HEALTHY
    broken_links: bool = False
    heals: bool = False
    within: str = ""

    def __post_init__(self) -> None:
        """Refuse a shape that no generation allows, and a tolerance that is none."""
        kind = generation_of(self.generation)
        if not is_shape_of(kind, self.shape):
            raise Misconfigured(f"shape {text_of(self.shape)}", f"is none of {kind.name}", "Ask for a shape of its table")
        if self.worst not in {Grade.HEALTHY, Grade.DEGRADED}:
            raise Misconfigured(f"tolerance {self.worst}", "is none", "Only degraded parts can be accepted")

    @property
    def chips(self) -> int:
        """How many chips."""
        count = 1
        for length in self.shape:
            count *= length
        return count


@dataclass(frozen=True, slots=True)
class Terms:
    """What prices depend on beside the place: weights, the expected requests, and how long the gang will run (seconds)."""

    costs: Costs
    mix: Mix
    now: datetime
    lasts: float

    def failures(self, risk: float, chips: int) -> float:
        """Price so many expected failures a day for a gang of ``chips``: each of them stops all of it."""
        return risk * self.lasts / DAY * chips * self.costs.failure

    def meets(self, window: Window) -> bool:
        """Whether a window falls into the time that the gang runs."""
        return window.ends > self.now and (window.begins - self.now).total_seconds() < self.lasts

    def maintenance(self, windows: Iterable[Window], chips: int) -> float:
        """Price the windows of a place: the gang stops once for each, however many of its hosts share it."""
        return len({window for window in windows if self.meets(window)}) * chips * self.costs.planned

    def limp(self, chips: int) -> float:
        """Price a place with a degraded part for a slice of ``chips``."""
        return chips * self.costs.slowdown * self.lasts


@dataclass(frozen=True, slots=True)
class Seat:
    """A place for one slice.

    ``hosts`` in the order of the slice's places, ``cubes`` in the order of its torus. ``shape``: as it lies along the ground's
    axes, ``at``: its anchor, where the ground has axes. ``price``: what the cost is made of, by name, in chip-seconds.
    """

    ground: GroundId
    hosts: tuple[HostId, ...]
    cubes: tuple[CubeId, ...] = ()
    shape: Shape = ()
    at: Coordinate = ()
    grade: Grade = Grade.HEALTHY
    price: tuple[tuple[str, float], ...] = ()
    slack: float = 0.0

    @property
    def cost(self) -> float:
        """All that it costs."""
        return sum(amount for _, amount in self.price)


@dataclass(frozen=True, slots=True)
class Seats:
    """All places for a want: how many, and how to go through them, in an order that is always the same."""

    count: int
    each: Callable[[], Iterator[Seat]]

    def __iter__(self) -> Iterator[Seat]:
        """Go through them."""
        return self.each()


@dataclass(frozen=True, slots=True)
class Victims:
    """Gangs whose going makes room for ``seat``. ``gap``: at most so much dearer than the cheapest set, as a share; 0: none is."""

    gangs: tuple[GangId, ...]
    cost: float
    seat: Seat
    gap: float = 0.0


@dataclass(frozen=True, slots=True)
class Shortage:
    """Why a want finds no place.

    ``hosts``: those of the ground that cannot be used, counted by cause. ``nearest``: the fewest hosts that would have to become
    usable to make a place; empty where none would, whatever is done (the shape does not go into this ground). ``free``: hosts
    that can be used as they are.
    """

    hosts: Mapping[Cause, int] = field(default_factory=dict)
    nearest: tuple[HostId, ...] = ()
    free: int = 0


class Ground(Protocol):
    """One back-end's view of one pod, block, set of pools or tree. Nothing of it ever depends on the order of hashes."""

    @property
    def id(self) -> GroundId:
        """What it is called."""
        ...

    @property
    def generation(self) -> str:
        """The accelerator label of its hosts."""
        ...

    @property
    def hosts(self) -> Mapping[HostId, int]:
        """All its hosts with their chips, in the order of their places. Shared by all that come from one another."""
        ...

    @property
    def parts(self) -> Mapping[CubeId, tuple[HostId, ...]]:
        """Its cubes or pools with their hosts, for words and for what-if; one pool for a torus, none where there are none."""
        ...

    @property
    def occupancy(self) -> Occupancy:
        """Who sits where, and what is known."""
        ...

    @property
    def memo(self) -> dict[tuple[object, ...], object]:
        """What was found out of just this ground (`remembered`); nothing in it leads back here: who held a cycle would keep it for ever."""
        ...

    def changed(self, occupancy: Occupancy, hosts: Collection[HostId]) -> Ground:
        """Give the ground with another occupancy, which differs at these hosts (and in its links and switches) alone."""
        ...

    def seats(self, want: Want) -> Seats:
        """Give every place for a slice, not priced."""
        ...

    def best(self, want: Want, terms: Terms) -> Seat | None:
        """Give the cheapest of all places, priced; of equals the lowest; None where there is none.

        Where too many ways would have to be looked at it is one of the cheapest, and `Seat.slack` says by how much it may be dearer.
        """
        ...

    def priced(self, seat: Seat, want: Want, terms: Terms) -> Seat:
        """Give a place with its price."""
        ...

    def seat_of(self, want: Want, hosts: Collection[HostId]) -> Seat | None:
        """Give the place that exactly these hosts make, whoever holds them; None where they make none."""
        ...

    def mended(self, want: Want, held: Collection[HostId], out: Collection[HostId], terms: Terms) -> Seat | None:
        """Give the cheapest place that keeps what it can of these hosts without those that are ``out``: a repair piece by piece.

        The hosts count as held by nobody else; what is kept may be of any health. The price is that of the whole.
        None where nothing can be kept, or nothing free takes the place of what goes (on a torus a box is made anew or not at all).
        """
        ...

    def room(self, want: Want) -> int:
        """Count slices that fit at once: exactly, or a number that is never too small."""
        ...

    def alive(self, shape: Shape) -> int:
        """Count what is left for a shape: places of healthy free hosts, slices at once where all places are alike."""
        ...

    def loss(self, seat: Seat, mix: Mix) -> float:
        """Add up over the mix: probability x what `alive` would lose."""
        ...

    def largest(self) -> Shape | None:
        """Give the shape of most chips that has a place; None where none has."""
        ...

    def victims(self, want: Want, prices: Mapping[GangId, float]) -> Victims | None:
        """Give the cheapest gangs whose going makes room; who has no price is not displaced. None where no set does."""
        ...

    def short(self, want: Want) -> Shortage:
        """Say what is missing for a place."""
        ...


@runtime_checkable
class Bounded(Protocol):
    """A ground that can say at little cost how cheap a place it may have: of many grounds, those that are dearer are not looked at."""

    def floor(self, want: Want, terms: Terms) -> float:
        """Give what `Ground.best` never costs less than; infinite where there is no place."""
        ...


@runtime_checkable
class Checked(Protocol):
    """A ground that can say that it cannot be."""

    def check(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            Misconfigured: with the name of the object and what to do.
        """
        ...
