"""Small pods, drawn from a number, and what their places are by the definition: every box, host by host and link by link."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise, permutations, product
from typing import TYPE_CHECKING

from sliceward.scheduling.costs import Costs
from sliceward.scheduling.ground import Terms, Want
from sliceward.scheduling.occupancy import Bar, Cause, Grade, Occupancy, Standing, Window
from sliceward.scheduling.torus.ground import TorusGround
from sliceward.scheduling.torus.lattice import Lattice
from sliceward.scheduling.torus.state import Site
from sliceward.topology.ids import ChipId, GangId, HostId, LinkId, PodId
from sliceward.topology.torus import Torus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sliceward.scheduling.ground import Mix

Shape = tuple[int, ...]

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FLAT: Mix = (((1, 1), 0.1), ((2, 2), 0.4), ((2, 4), 0.3), ((4, 4), 0.2))
DEEP: Mix = (((1, 1, 1), 0.05), ((2, 2, 1), 0.4), ((2, 2, 2), 0.25), ((2, 2, 4), 0.2), ((4, 4, 4), 0.1))
WINDOWS = (Window(NOW + timedelta(hours=1), NOW + timedelta(hours=2)), Window(NOW + timedelta(days=9), NOW + timedelta(days=10)))


def gang(number: int) -> GangId:
    return GangId("c", "ml", "JobSet", f"g{number}")


def a_site(shape: Shape, tray: Shape, wrap: tuple[bool, ...] | None = None, spares: int = 0) -> Site:
    lattice = Lattice(Torus(shape, wrap or tuple(length > 2 for length in shape)), tray)
    hosts = tuple(HostId("c", f"h{number:04}") for number in range(lattice.hosts.size))
    return Site(lattice, hosts, spares=frozenset(hosts[:spares]))


def a_pod(shape: Shape, tray: Shape, occupancy: Occupancy | None = None, generation: str = "tpu7x") -> TorusGround:
    return TorusGround(PodId("c", "p"), generation, a_site(shape, tray), occupancy or Occupancy())


@dataclass(frozen=True)
class Drawn:
    """An instance: a pod, a want, and the terms."""

    pod: TorusGround
    want: Want
    terms: Terms


def drawn(seed: int, *, gangs: int = 3) -> Drawn:
    draw = random.Random(seed)  # noqa: S311 (a story told again)
    generation = draw.choice(("tpu-v5-lite-podslice", "tpu7x"))
    flat = generation != "tpu7x"
    tray = draw.choice([(1, 1), (2, 2), (2, 4)] if flat else [(2, 2, 1), (1, 1, 1)])
    longest = {1: 4, 4: 4, 8: 3}[_chips(tray)] + flat
    lengths = tuple(part * draw.randint(1, longest) for part in tray)
    if not flat and _chips(tray) == 1:
        lengths = tuple(min(length, 4) for length in lengths)
    wrap = tuple(length > 2 and draw.random() < 0.6 for length in lengths)
    site = a_site(lengths, tray, wrap, spares=draw.choice((0, 0, 1, 2)) if min(lengths) > 1 else 0)
    if draw.random() < 0.3:
        gone = draw.randrange(len(site.seats))
        site = Site(site.lattice, tuple(None if n == gone else host for n, host in enumerate(site.seats)), {}, site.spares)
    mix = FLAT if flat else DEEP
    want = Want(
        generation,
        draw.choice(mix[1:])[0],
        turned=draw.random() < 0.7,
        worst=draw.choice((Grade.HEALTHY, Grade.DEGRADED)),
        broken_links=draw.random() < 0.3,
        heals=draw.random() < 0.3,
    )
    terms = Terms(
        Costs(slowdown=draw.choice((0.0, 0.01, 0.2)), soon=draw.choice((0.0, 0.25, 0.25, 1.0))),
        mix,
        NOW,
        draw.choice((600.0, 86_400.0)),
    )
    return Drawn(TorusGround(PodId("c", "p"), generation, site, an_occupancy(draw, site, gangs)), want, terms)


def an_occupancy(draw: random.Random, site: Site, gangs: int) -> Occupancy:
    busy = draw.choice((0.0, 0.1, 0.4))
    occupancy = Occupancy()
    for host in site.hosts:
        if draw.random() < busy:
            occupancy = occupancy.taken((host,), gang(draw.randrange(gangs)))
        if draw.random() < 0.15:
            grade = draw.choice([*Grade, Grade.HEALTHY, Grade.DEGRADED])
            standing = Standing(grade, "", draw.choice((0.0, 0.1, 0.3)), draw.choice((None, None, *WINDOWS)))
            occupancy = occupancy.marked(host, standing)
        if draw.random() < 0.03:
            occupancy = occupancy.barred({host: Bar(Cause.RESERVED, "promised")})
    links = [link for link in some_links(site) if draw.random() < draw.choice((0.0, 0.02))]
    return occupancy.with_links(links)


def some_links(site: Site) -> Iterator[LinkId]:
    by_place = chips_by_place(site)
    for one, other in site.lattice.chips.links():
        if one in by_place and other in by_place:
            yield LinkId.between(by_place[one], by_place[other])


def chips_by_place(site: Site) -> dict[Shape, ChipId]:
    return {
        site.lattice.chip_place(site.lattice.hosts.coordinate(number), chip): ChipId(host.cluster, host.name, chip)
        for number, host in enumerate(site.seats)
        if host is not None
        for chip in range(site.lattice.chips_a_host)
    }


@dataclass(frozen=True)
class Box:
    """A place by the definition: its chips lie beside each other; its hosts as a set of names, and the links inside."""

    at: Shape
    shape: Shape
    hosts: frozenset[HostId]
    links: frozenset[LinkId]


def every_box(site: Site, shape: Shape, *, turned: bool = True) -> list[Box]:
    """Give every box of whole hosts that are there, each once, chip by chip."""
    torus, by_place = site.lattice.chips, chips_by_place(site)
    found: dict[tuple[Shape, frozenset[HostId]], Box] = {}
    for lying in sorted(set(permutations(shape)), key=lambda one: (one != shape, one)) if turned else [shape]:
        for corner, spans in _spans(torus, lying):
            chips = [by_place.get(place) for place in product(*spans)]
            hosts = frozenset(chip.host_id for chip in chips if chip is not None)
            if None not in chips and len(hosts) * site.lattice.chips_a_host == len(chips):
                found.setdefault((lying, hosts), Box(corner, lying, hosts, frozenset(_inside(torus, by_place, spans))))
    return list(found.values())


def _spans(torus: Torus, lying: Shape) -> Iterator[tuple[Shape, list[list[int]]]]:
    """Give each corner from which a box lies in the torus, and its coordinates along each axis."""
    if len(lying) != len(torus.shape) or any(a > b for a, b in zip(lying, torus.shape, strict=True)):
        return
    for corner in _places(torus.shape):
        axes = list(zip(corner, lying, torus.shape, torus.wrap, strict=True))
        if all(at + length <= room or ring for at, length, room, ring in axes):
            yield corner, [[(at + n) % room for n in range(length)] for at, length, room, _ in axes]


def _inside(torus: Torus, by_place: dict[Shape, ChipId], spans: list[list[int]]) -> Iterator[LinkId]:
    """Give the links inside a box: from one chip to the next, and round a ring that it fills."""
    for axis, (span, room) in enumerate(zip(spans, torus.shape, strict=True)):
        steps = list(pairwise(span))
        if torus.wrap[axis] and len(span) == room:
            steps.append((span[-1], span[0]))
        for low, high in steps:
            for others in product(*(one for n, one in enumerate(spans) if n != axis)):
                one, other = ((*others[:axis], at, *others[axis:]) for at in (low, high))
                yield LinkId.between(by_place[one], by_place[other])


def _places(shape: Shape) -> Iterator[Shape]:
    for backwards in product(*(range(length) for length in reversed(shape))):
        yield backwards[::-1]


def _chips(tray: Shape) -> int:
    count = 1
    for part in tray:
        count *= part
    return count
