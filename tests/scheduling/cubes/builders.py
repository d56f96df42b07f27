"""Blocks of cubes for tests, and what holds of them by definition: chip by chip, choice by choice, without any of the short cuts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import combinations, product
from math import prod
from typing import TYPE_CHECKING, Any

from sliceward.scheduling.costs import DAY, Costs
from sliceward.scheduling.cubes.block import Block, block_of
from sliceward.scheduling.ground import Mix, Terms, Want
from sliceward.scheduling.occupancy import Bar, Cause, Grade, Occupancy, Standing, Window
from sliceward.topology.fleet import Cube, Fleet, Host, Slice
from sliceward.topology.generations import GENERATIONS, Shape, text_of
from sliceward.topology.health import Health
from sliceward.topology.ids import ChipId, CubeId, GangId, HostId, LinkId, PodId, SliceId
from sliceward.topology.torus import coordinate_at

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

NOW = datetime(2026, 9, 1, 12, 0, tzinfo=UTC)
BLOCK = PodId("c1", "block-0")
KIND = GENERATIONS["tpu7x"]
CUBE: Shape = (4, 4, 4)
BOXES: tuple[Shape, ...] = ((2, 4, 4), (2, 2, 4), (2, 2, 2), (2, 2, 1))
WINDOWS = tuple(Window(NOW + timedelta(hours=h), NOW + timedelta(hours=h + 2)) for h in (1, 5, 9, 100))


Part = tuple[Cube, frozenset[HostId], Grade]


def gang(name: str) -> GangId:
    return GangId("c1", "ml", "JobSet", name)


def want(*shape: int, **more: Any) -> Want:  # noqa: ANN401 (fields of Want)
    return replace(Want("tpu7x", shape), **more)


def terms(mix: Mix = (), costs: Costs | None = None, lasts: float = DAY) -> Terms:
    return Terms(costs or Costs(), mix, NOW, lasts)


def host_of(cube: str, index: int, *, placed: bool = True, labels: dict[str, str] | None = None) -> Host:
    """The host at a place of the cube, x fastest, as the reader of nodes makes it."""
    corner = [at * part for at, part in zip(coordinate_at((2, 2, 4), index), (2, 2, 1), strict=True)]
    chips = tuple(tuple(a + b for a, b in zip(corner, (n % 2, n // 2, 0), strict=True)) for n in range(4))
    return Host(
        id=HostId("c1", f"{cube}-h{index:02}"),
        generation=KIND.label,
        chips=4,
        cube=CubeId("c1", cube),
        pod=BLOCK,
        index=index if placed else None,
        instance_id="",
        boot_id="",
        ready=Health.HEALTHY,
        cordoned=False,
        marks=(),
        labels=labels or {},
        annotations={},
        coordinates=chips if placed else (),
    )


@dataclass(frozen=True)
class Drawn:
    """A block as it is drawn: the truth that the block is built from and that the definitions look at."""

    cubes: tuple[Cube, ...]
    hosts: dict[HostId, Host]
    occupancy: Occupancy = field(default_factory=Occupancy)
    slices: tuple[Slice, ...] = ()
    id: PodId = BLOCK
    patched: bool = False

    @cached_property
    def block(self) -> Block:
        fleet = Fleet(NOW, self.hosts, {cube.id: cube for cube in self.cubes}, {each.id: each for each in self.slices}, {})
        return block_of(self.id, fleet, self.cubes, occupancy=self.occupancy)

    def with_occupancy(self, occupancy: Occupancy) -> Drawn:
        return replace(self, occupancy=occupancy)

    # by definition

    def chips_of(self, cube: Cube) -> dict[tuple[int, ...], HostId]:
        return {at: host for host in cube.hosts for at in self.hosts[host].coordinates}

    def boxes(self, cube: Cube, shape: Shape) -> Iterator[frozenset[HostId]]:
        """The hosts of each box that stands at multiples of itself."""
        chips = self.chips_of(cube)
        for corner in product(*(range(0, 4, edge) for edge in shape)):
            places = [tuple(a + b for a, b in zip(corner, at, strict=True)) for at in product(*map(range, shape))]
            if all(place in chips for place in places):
                yield frozenset(chips[place] for place in places)

    def word(self, cube: Cube, hosts: frozenset[HostId], shape: Shape) -> Grade | None:
        """Google's word on a box or a whole cube; None where it must not be used."""
        words = {None: Grade.HEALTHY, "HEALTHY": Grade.HEALTHY, "DEGRADED": Grade.DEGRADED}
        label = f"cloud.google.com/gke-tpu-partition-{text_of(shape)}-state"
        own = [self.hosts[host].labels[label] for host in hosts if label in self.hosts[host].labels]
        if shape != CUBE and own:
            told = [words.get(word) for word in own]
            return None if None in told else max((word for word in told if word), key=list(Grade).index)
        complete = len(cube.hosts) == cube.expected_hosts or (self.patched and shape != CUBE)
        return words.get(cube.state) if complete else None

    def is_torn(self, hosts: frozenset[HostId], shape: Shape) -> bool:
        """Whether a condemned link lies inside."""
        whole = shape == CUBE
        for link in self.occupancy.links:
            ends = [(end.host_id, end.index) for end in link.ends]
            if whole and any(host in hosts for host, _ in ends):
                return True
            if all(host in hosts for host, _ in ends):
                one, other = (self.hosts[host].coordinates[index] for host, index in ends)
                if sum(abs(a - b) for a, b in zip(one, other, strict=True)) == 1:
                    return True
        return whole and bool(self.occupancy.switches)

    def grade(self, cube: Cube, hosts: frozenset[HostId], shape: Shape, asked: Want) -> Grade | None:
        """How a box or a whole cube is for a want; None where it must not be used."""
        word = self.word(cube, hosts, shape)
        if word is None or not all(self.occupancy.is_usable(host, asked.worst) for host in hosts):
            return None
        torn = self.is_torn(hosts, shape)
        if (torn and not asked.broken_links) or (word is Grade.DEGRADED and asked.worst is Grade.HEALTHY):
            return None
        grades = {self.occupancy.standing(host).grade for host in hosts}
        return Grade.HEALTHY if not torn and word is Grade.HEALTHY and grades == {Grade.HEALTHY} else Grade.DEGRADED

    def parts(self, asked: Want) -> list[Part]:
        """All usable boxes, or whole cubes."""
        if asked not in self._parts:
            self._parts[asked] = self._parts_of(asked)
        return self._parts[asked]

    @cached_property
    def _parts(self) -> dict[Want, list[Part]]:
        return {}

    def _parts_of(self, asked: Want) -> list[Part]:
        shape = next((box for box in BOXES if asked.turned and sorted(box) == sorted(asked.shape)), asked.shape)
        found = []
        for cube in self.cubes:
            whole = KIND.is_whole_cubes(shape)
            for hosts in [frozenset(cube.hosts)] if whole else self.boxes(cube, shape):
                grade = self.grade(cube, hosts, CUBE if whole else shape, asked)
                if grade is not None:
                    found.append((cube, hosts, grade))
        return found

    def places(self, asked: Want) -> list[list[Part]]:
        count = prod(asked.shape) // 64 if KIND.is_whole_cubes(asked.shape) else 1
        return [list(each) for each in combinations(self.parts(asked), count)]

    def alive(self, shape: Shape, gone: frozenset[HostId] = frozenset()) -> int:
        mine = [part for part in self.parts(want(*shape)) if not part[0].spare and not part[1] & gone]
        return len(mine) // (prod(shape) // 64 if KIND.is_whole_cubes(shape) else 1)

    @cached_property
    def well(self) -> Drawn:
        """The block once all that is nobody's is well again, and Google has no word against it."""
        known = self.occupancy
        hosts = {host: replace(each, labels={}) for host, each in self.hosts.items()}
        sick = {host: each for host, each in known.standings.items() if host in known.holders}
        cubes = tuple(replace(cube, state=None) for cube in self.cubes)
        return replace(self, cubes=cubes, hosts=hosts, occupancy=Occupancy(known.holders, sick, known.bars), patched=True)

    def price(self, place: list[Part], asked: Want, by: Terms) -> float:
        hosts = frozenset(host for _, each, _ in place for host in each)
        known = [self.occupancy.standing(host) for host in sorted(hosts)]
        loss = sum(p * (self.alive(shape) - self.alive(shape, hosts)) for shape, p in by.mix)
        if not KIND.is_whole_cubes(asked.shape):
            then = sum(p * (self.well.alive(shape) - self.well.alive(shape, hosts)) for shape, p in by.mix)
            loss += by.costs.back * (then - loss)
        cost = loss * by.costs.anchor + sum(each.risk for each in known) * by.lasts / DAY * asked.chips * by.costs.failure
        met = {each.window for each in known if each.window and by.meets(each.window)}
        cost += len(met) * asked.chips * by.costs.planned
        if any(grade is not Grade.HEALTHY for _, _, grade in place):
            cost += asked.chips * by.costs.slowdown * by.lasts
        if not asked.heals:
            lenient = want(4, 4, 4, worst=Grade.DEGRADED, broken_links=True)
            idle = {c.id for c in self.cubes if all(self.occupancy.is_usable(host, lenient.worst) for host in c.hosts)}
            cost += sum(64 * by.costs.spare for cube, _, _ in place if cube.spare and cube.id in idle)
        if KIND.is_whole_cubes(asked.shape):
            cubes = {cube.id for cube, _, _ in place}
            same = [len(cubes.intersection(s.cubes)) for s in self.slices if len(s.cubes) == len(cubes)]
            cost += 96 * by.costs.port * (len(cubes) - max(same, default=0))
        return cost


def drawn(cubes: int, *, prefix: str = "cube", **states: str) -> Drawn:
    """A block of so many sound cubes ``cube-0`` .."""
    names = [f"{prefix}-{n}" for n in range(cubes)]
    hosts = {host.id: host for name in names for host in (host_of(name, n) for n in range(16))}
    made = [
        Cube(CubeId("c1", n), KIND.label, CUBE, tuple(h for h in hosts if h.name.startswith(f"{n}-h")), 16, pod=BLOCK)
        for n in names
    ]
    told = tuple(replace(cube, state=states.get(cube.id.name)) for cube in made)
    return Drawn(told, hosts, id=PodId("c1", f"block-{prefix}"))


def any_block(draw: random.Random, most: int = 5, *, prefix: str = "cube") -> Drawn:
    """A block with a bit of everything: words of Google, spares, sick and degraded hosts, gangs, bars, windows, links."""
    names = [f"{prefix}-{n}" for n in range(draw.randint(1, most))]
    hosts: dict[HostId, Host] = {}
    cubes = []
    for name in names:
        missing = {draw.randrange(16)} if draw.random() < 0.08 else set()
        homeless = set(draw.sample(range(16), draw.choice((1, 3, 16)))) if draw.random() < 0.1 else set()
        labels: dict[int, dict[str, str]] = {n: {} for n in range(16)}
        if draw.random() < 0.2:
            box = draw.choice(BOXES)
            word = draw.choice(("HEALTHY", "DEGRADED", "UNHEALTHY"))
            for n in range(16):
                if draw.random() < 0.5:
                    labels[n][f"cloud.google.com/gke-tpu-partition-{text_of(box)}-state"] = word
        mine = [host_of(name, n, placed=n not in homeless, labels=labels[n]) for n in range(16) if n not in missing]
        hosts |= {host.id: host for host in mine}
        state = draw.choice((None, "HEALTHY", "HEALTHY", "HEALTHY", "HEALTHY", "DEGRADED", "UNHEALTHY", "UNSET", "INCOMPLETE"))
        spare = draw.random() < 0.2
        cubes.append(Cube(CubeId("c1", name), KIND.label, CUBE, tuple(h.id for h in mine), 16, state, BLOCK, spare=spare))
    bare = Drawn(tuple(cubes), hosts, id=PodId("c1", f"block-{prefix}"))
    return replace(bare, occupancy=any_occupancy(draw, bare), slices=_any_slices(draw, cubes))


def calm_block(draw: random.Random, most: int = 3, *, prefix: str = "cube") -> Drawn:
    """A block of mostly free cubes: some spares, risks, shared maintenance, a sick host here and there."""
    there = drawn(draw.randint(1, most), prefix=prefix)
    standings: dict[HostId, Standing] = {}
    for cube in there.cubes:
        mood = draw.random()
        if mood < 0.1:
            standings[cube.hosts[3]] = Standing(Grade.SICK, "sick")
        elif mood < 0.2:
            standings |= dict.fromkeys(cube.hosts, Standing(window=WINDOWS[draw.randrange(2)]))
        elif mood < 0.5:
            standings[cube.hosts[5]] = Standing(risk=draw.choice((0.01, 0.05)))
        elif mood < 0.6:
            standings[cube.hosts[7]] = Standing(Grade.DEGRADED, "slow")
    cubes = [replace(cube, spare=draw.random() < 0.2) for cube in there.cubes]
    return replace(there, cubes=tuple(cubes), occupancy=Occupancy(standings=standings), slices=_any_slices(draw, cubes))


def any_occupancy(draw: random.Random, bare: Drawn) -> Occupancy:
    holders: dict[HostId, GangId] = {}
    standings: dict[HostId, Standing] = {}
    bars: dict[HostId, Bar] = {}
    gangs = [gang(f"g{n}") for n in range(draw.randint(1, 4))]
    for cube in bare.cubes:
        mood = draw.random()
        if mood < 0.2:
            holders |= dict.fromkeys(cube.hosts, draw.choice(gangs))
        elif mood < 0.4:
            for hosts in bare.boxes(cube, draw.choice(BOXES[:3])):
                if draw.random() < 0.4:
                    holders |= dict.fromkeys(hosts, draw.choice(gangs))
        window = draw.choice((None, None, *WINDOWS))
        for host in cube.hosts:
            risk = draw.choice((0.0, 0.0, 0.01, 0.2)) if mood > 0.7 else 0.0
            grade = draw.choices((Grade.HEALTHY, Grade.DEGRADED, Grade.UNKNOWN, Grade.SICK), (60, 2, 1, 1))[0]
            own = draw.choice(WINDOWS) if draw.random() < 0.02 else window
            if (grade, risk, own) != (Grade.HEALTHY, 0.0, None):
                standings[host] = Standing(grade, str(grade), risk, own)
            if draw.random() < 0.01:
                bars[host] = Bar(Cause.RESERVED, "promised")
    links = {_any_link(draw, list(bare.hosts.values())) for _ in range(draw.choice((0, 0, 0, 1, 3)))}
    switches = frozenset({"ocs-7"}) if draw.random() < 0.05 else frozenset[str]()
    return Occupancy(holders, standings, bars, frozenset(link for link in links if link), switches)


def _any_link(draw: random.Random, hosts: list[Host]) -> LinkId | None:
    one = draw.choice([host for host in hosts if host.coordinates] or hosts)
    near = [h for h in hosts if h.cube == one.cube and h.coordinates] if draw.random() < 0.8 else hosts
    if not near or not one.coordinates:
        return None
    ends = [
        (i, other, j)
        for other in near
        if other.coordinates
        for i, at in enumerate(one.coordinates)
        for j, there in enumerate(other.coordinates)
        if (other.id, j) != (one.id, i)
        and (other.cube != one.cube or sum(abs(a - b) for a, b in zip(at, there, strict=True)) in {1, 3})
    ]
    if not ends:
        return None
    i, other, j = draw.choice(ends)
    return LinkId.between(ChipId("c1", one.id.name, i), ChipId("c1", other.id.name, j))


def _any_slices(draw: random.Random, cubes: list[Cube]) -> tuple[Slice, ...]:
    free = [cube.id for cube in cubes]
    draw.shuffle(free)
    found: list[Slice] = []
    while free and draw.random() < 0.7:
        size = draw.randint(1, len(free))
        mine, free = tuple(free[:size]), free[size:]
        found.append(Slice(SliceId("c1", f"s{len(found)}"), (4, 4, 4 * size), mine, (), None))
    return tuple(found)


def any_want(draw: random.Random) -> Want:
    shape = draw.choice((*BOXES, (4, 4, 4), (4, 4, 8), (4, 4, 12), (4, 8, 8), (2, 4, 2)))
    return want(
        *shape,
        worst=draw.choice((Grade.HEALTHY, Grade.DEGRADED)),
        broken_links=draw.random() < 0.3,
        heals=draw.random() < 0.3,
    )


def any_terms(draw: random.Random) -> Terms:
    shapes = draw.sample((*BOXES, CUBE, (4, 4, 8), (4, 4, 12), (8, 8, 8)), 4)
    weights = [draw.random() for _ in shapes]
    costs = Costs(
        anchor=draw.choice((0.0, 3600.0, 1e6)),
        back=draw.choice((0.0, 0.9, 1.0)),
        spare=draw.choice((0.0, DAY)),
        port=draw.choice((0.0, 1.0, 1e4)),
    )
    return terms(tuple((s, w / sum(weights)) for s, w in zip(shapes, weights, strict=True)), costs, draw.choice((3600.0, DAY)))
