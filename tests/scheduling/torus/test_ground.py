"""A pod as a ground, against the definition: all boxes, host by host and link by link, and the cheapest of them by counting."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from math import ceil, inf
from typing import TYPE_CHECKING

import numpy as np
import pytest

from sliceward.scheduling.ground import Want
from sliceward.scheduling.occupancy import Cause, Grade, Occupancy, Standing
from sliceward.scheduling.pricing import Facts, price_of, total
from sliceward.scheduling.request import Over, SliceAsked
from sliceward.scheduling.seating import Room, Seating, seat_all
from sliceward.scheduling.torus.ground import TorusGround
from sliceward.scheduling.torus.losses import SHADES, STEPS
from sliceward.topology.errors import Misconfigured
from sliceward.topology.ids import HostId, LinkId, PodId
from tests.scheduling.torus.builders import (
    DEEP,
    Box,
    Drawn,
    a_pod,
    a_site,
    an_occupancy,
    chips_by_place,
    drawn,
    every_box,
    gang,
)

if TYPE_CHECKING:
    from sliceward.scheduling.ground import Mix


def fits(pod: TorusGround, want: Want, box: Box) -> bool:
    usable = all(pod.occupancy.is_usable(host, want.worst) for host in box.hosts)
    return usable and (want.broken_links or not box.links & pod.occupancy.links)


def expected(pod: TorusGround, mix: Mix) -> list[tuple[float, frozenset[HostId]]]:
    """What is alive, by the definition: with its probability, the hosts of each place."""
    return [(probability, hosts) for probability, hosts in soon(pod, mix, 0.0) if probability]


def soon(pod: TorusGround, mix: Mix, worth: float) -> list[tuple[float, frozenset[HostId]]]:
    """What is alive or will be, by the definition: what is not free counts ``worth``, halved for each gang and each ill host in it."""
    occupancy, spares = pod.occupancy, pod.site.spares
    size = Counter(occupancy.holders.values())
    found = []
    for shape, probability in mix:
        for box in every_box(pod.site, shape):
            if box.hosts & spares or box.links & occupancy.links or any(host in occupancy.bars for host in box.hosts):
                continue
            inside = Counter(occupancy.holders[host] for host in box.hosts if host in occupancy.holders)
            others = sum((Fraction(count, size[gang]) for gang, count in inside.items()), Fraction())
            others += sum(occupancy.standing(host).grade is not Grade.HEALTHY for host in box.hosts)
            steps = ceil(others * STEPS)
            counts = round(SHADES * worth / 2 ** (steps / STEPS)) / SHADES if steps else 1.0
            found.append((probability * counts, box.hosts))
    return found


def price(case: Drawn, box: Box, alive: list[tuple[float, frozenset[HostId]]]) -> float:
    occupancy = case.pod.occupancy
    standings = tuple(occupancy.standing(host) for host in box.hosts)
    facts = Facts(
        loss=sum(probability for probability, hosts in alive if hosts & box.hosts),
        standings=standings,
        degraded=any(standing.grade is not Grade.HEALTHY for standing in standings) or bool(box.links & occupancy.links),
        spare_chips=len(box.hosts & case.pod.site.spares) * case.pod.site.lattice.chips_a_host,
    )
    return total(price_of(case.want, case.terms, facts))


@pytest.mark.parametrize("part", range(8))
def test_the_best_place_is_the_cheapest_that_counting_finds(part: int) -> None:
    placed = 0
    for seed in range(250 * part, 250 * (part + 1)):
        case = drawn(seed)
        boxes = [
            box for box in every_box(case.pod.site, case.want.shape, turned=case.want.turned) if fits(case.pod, case.want, box)
        ]
        seats = case.pod.seats(case.want)
        assert {(seat.shape, frozenset(seat.hosts)) for seat in seats} == {(box.shape, box.hosts) for box in boxes}, seed
        assert seats.count == len(boxes), seed
        best = case.pod.best(case.want, case.terms)
        if not boxes:
            assert best is None, seed
            assert case.pod.floor(case.want, case.terms) == inf
            continue
        alive = soon(case.pod, case.terms.mix, case.terms.costs.soon)
        prices = [price(case, box, alive) for box in boxes]
        assert best is not None
        assert best.cost == pytest.approx(min(prices), rel=1e-6, abs=1e-3), seed
        assert case.pod.floor(case.want, case.terms) <= best.cost, seed
        mine = next(cost for cost, box in zip(prices, boxes, strict=True) if box.hosts == frozenset(best.hosts))
        assert mine == pytest.approx(best.cost, rel=1e-6, abs=1e-3), seed
        placed += 1
    assert placed > 80


@pytest.mark.parametrize("seed", range(100))
def test_what_is_alive_and_what_a_seat_takes_is_what_counting_finds(seed: int) -> None:
    case = drawn(seed)
    boxes = expected(case.pod, tuple((shape, 1.0) for shape, _ in case.terms.mix))
    assert sum(case.pod.alive(shape) for shape, _ in case.terms.mix) == len(boxes)
    seat = next(iter(case.pod.seats(case.want)), None)
    if seat is not None:
        after = case.pod.changed(case.pod.occupancy.taken(seat.hosts, gang(9)), seat.hosts)
        lost = sum(probability * (case.pod.alive(shape) - after.alive(shape)) for shape, probability in case.terms.mix)
        assert case.pod.loss(seat, case.terms.mix) == pytest.approx(lost, abs=1e-6)


@pytest.mark.parametrize("seed", range(150))
def test_a_pod_that_is_changed_step_by_step_is_the_pod_that_is_read_at_once(seed: int) -> None:
    case, draw = drawn(seed), random.Random(seed)  # noqa: S311 (a story told again)
    pod = case.pod
    assert pod.state
    hosts = list(pod.hosts)
    for _ in range(6):
        other = an_occupancy(draw, pod.site, 3)
        some = draw.sample(hosts, min(len(hosts), draw.randint(1, 5)))
        now = pod.occupancy
        mixed = Occupancy(
            {**{h: g for h, g in now.holders.items() if h not in some}, **{h: g for h, g in other.holders.items() if h in some}},
            {
                **{h: s for h, s in now.standings.items() if h not in some},
                **{h: s for h, s in other.standings.items() if h in some},
            },
            {**{h: b for h, b in now.bars.items() if h not in some}, **{h: b for h, b in other.bars.items() if h in some}},
            draw.choice((now.links, other.links)),
        )
        pod = pod.changed(mixed, some)
        fresh = TorusGround(pod.id, pod.generation, pod.site, mixed)
        assert replace(pod.state, risks=None) == replace(fresh.state, risks=None)
        none = np.zeros(pod.site.lattice.hosts.size)
        told, read = (none if state.risks is None else state.risks for state in (pod.state, fresh.state))
        assert np.array_equal(told, read)
        assert pod.best(case.want, case.terms) == fresh.best(case.want, case.terms)


@pytest.mark.parametrize("seed", range(200))
def test_a_host_that_falls_sick_never_makes_room(seed: int) -> None:
    case = drawn(seed)
    before = case.pod.seats(case.want).count
    for host in list(case.pod.hosts)[::3]:
        sick = case.pod.changed(case.pod.occupancy.marked(host, Standing(Grade.SICK, "dead")), (host,))
        unknown = case.pod.changed(case.pod.occupancy.marked(host, Standing(Grade.UNKNOWN)), (host,))
        assert sick.seats(case.want).count <= before
        assert unknown.seats(case.want).count <= before
        assert all(host not in seat.hosts for seat in (*sick.seats(case.want), *unknown.seats(case.want)))


@pytest.mark.parametrize("seed", range(150))
def test_the_cheapest_victims_are_those_that_counting_finds(seed: int) -> None:
    case, draw = drawn(seed, gangs=8), random.Random(seed)  # noqa: S311 (a story told again)
    prices = {gang(n): float(draw.randint(0, 50)) for n in range(8) if draw.random() < 0.8}
    occupancy = case.pod.occupancy
    costs = []
    for box in every_box(case.pod.site, case.want.shape, turned=case.want.turned):
        sits = {occupancy.holders[host] for host in box.hosts if host in occupancy.holders}
        emptied = replace(case.pod, occupancy=occupancy.freed(box.hosts))
        if fits(emptied, case.want, box) and sits <= prices.keys():
            costs.append(sum(prices[one] for one in sits))
    found = case.pod.victims(case.want, prices)
    assert (found is None) == (not costs)
    if found is not None:
        assert found.cost == sum(prices[one] for one in found.gangs) == min(costs)
        assert found.gap == 0
        assert set(found.gangs) == {occupancy.holders[host] for host in found.seat.hosts if host in occupancy.holders}


@pytest.mark.parametrize("seed", range(150))
def test_the_smallest_change_is_the_fewest_hosts_that_make_a_place(seed: int) -> None:
    case = drawn(seed)
    short, occupancy = case.pod.short(case.want), case.pod.occupancy
    lacking = [
        sum(not occupancy.is_usable(host, case.want.worst) for host in box.hosts)
        for box in every_box(case.pod.site, case.want.shape, turned=case.want.turned)
        if case.want.broken_links or not box.links & occupancy.links
    ]
    assert len(short.nearest) == min(lacking, default=0)
    assert all(not occupancy.is_usable(host, case.want.worst) for host in short.nearest)
    within = (
        set()
        if case.want.broken_links
        else {host for host in case.pod.hosts if case.pod.state.within & case.pod.site.board((host,))}
    )
    assert short.free == sum(occupancy.is_usable(host, case.want.worst) and host not in within for host in case.pod.hosts)


@pytest.mark.parametrize("seed", range(100))
def test_room_is_never_less_than_what_can_be_placed_one_after_the_other(seed: int) -> None:
    case = drawn(seed)
    pod, count = case.pod, 0
    room = pod.room(case.want)
    while (seat := pod.best(case.want, case.terms)) is not None:
        pod = pod.changed(pod.occupancy.taken(seat.hosts, gang(count)), seat.hosts)
        count += 1
    assert count <= room
    assert (room > 0) == (count > 0)


@pytest.mark.parametrize("seed", range(60))
def test_the_place_that_hosts_make_is_found_whoever_holds_them(seed: int) -> None:
    case = drawn(seed)
    for box in every_box(case.pod.site, case.want.shape, turned=case.want.turned)[:10]:
        seat = case.pod.seat_of(case.want, sorted(box.hosts))
        assert seat is not None
        assert frozenset(seat.hosts) == box.hosts
        assert case.pod.seat_of(case.want, sorted(box.hosts)[1:]) is None


def test_hosts_are_told_in_the_order_of_the_slice_also_where_it_is_turned() -> None:
    pod = a_pod((4, 4, 8), (1, 1, 1))
    seats = list(pod.seats(Want("tpu7x", (2, 2, 4))))
    straight, turned = (
        next(seat for seat in seats if seat.shape == shape and seat.at == (0, 0, 0)) for shape in ((2, 2, 4), (4, 2, 2))
    )
    numbers = pod.site.numbers
    places = [[pod.site.lattice.hosts.coordinate(numbers[host]) for host in seat.hosts] for seat in (straight, turned)]
    assert places[0][:5] == [(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0), (0, 0, 1)]
    assert [place[0] for place in places[1]] == [n // 4 for n in range(16)]


@pytest.mark.parametrize("seed", range(12))
def test_of_many_pods_the_one_with_the_cheapest_place_is_found_without_looking_into_all(seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311 (a story told again)
    terms = replace(drawn(1).terms, mix=((((1, 1, 1)), 0.02), *DEEP[1:], ((4, 4, 8), 0.05)))
    pods = []
    for number in range(6):
        pod = replace(a_pod((8, 8, 8), (2, 2, 1)), id=PodId("c", f"p{number}"))
        hosts = [HostId("c", f"p{number}-{host.name}") for host in pod.hosts]
        pod = replace(pod, site=replace(pod.site, seats=tuple(hosts)))
        some = [host for host in hosts if draw.random() < number / 8]
        pods.append(pod.changed(pod.occupancy.taken(some, gang(1)), some))
    want = Want("tpu7x", (2, 2, 2))
    asked = SliceAsked("main", 0, want)
    room = Room(gang(2), ({pod.id: pod for pod in pods},), {"main": 0})
    found = seat_all(room, (asked,), terms, Over.CHEAPEST)
    assert isinstance(found, Seating)
    seats = [seat for pod in pods if (seat := pod.best(want, terms)) is not None]
    assert found.seats[asked.key] == min(seats, key=lambda seat: seat.cost)


def test_equal_places_are_taken_lowest_first() -> None:
    seat = a_pod((8, 8, 8), (2, 2, 1)).best(Want("tpu7x", (2, 2, 2)), drawn(1).terms)
    assert seat is not None
    assert (seat.at, seat.shape) == ((0, 0, 0), (2, 2, 2))


def test_a_place_beside_what_is_taken_is_cheaper_than_one_in_the_open() -> None:
    terms = replace(drawn(1).terms, mix=DEEP)
    pod, want = a_pod((8, 8, 8), (2, 2, 1)), Want("tpu7x", (2, 2, 4))
    first = pod.best(want, terms)
    assert first is not None
    pod = pod.changed(pod.occupancy.taken(first.hosts, gang(1)), first.hosts)
    second = pod.best(want, terms)
    assert second is not None
    assert second.cost < first.cost
    apart = max(pod.seats(want), key=lambda seat: pod.priced(seat, want, terms).cost)
    assert pod.priced(apart, want, terms).cost > second.cost


def test_the_largest_shape_shrinks_with_what_is_sick() -> None:
    pod = a_pod((8, 8, 8), (2, 2, 1))
    assert pod.largest() == (8, 8, 8)
    host = next(iter(pod.hosts))
    assert pod.changed(pod.occupancy.marked(host, Standing(Grade.SICK)), (host,)).largest() == (4, 8, 8)
    everywhere = Occupancy(standings=dict.fromkeys(pod.hosts, Standing(Grade.SICK)))
    assert pod.changed(everywhere, pod.hosts).largest() is None


def test_another_generation_finds_nothing_here() -> None:
    pod, want = a_pod((8, 8, 8), (2, 2, 1)), Want("tpu-v5p-slice", (2, 2, 1))
    assert pod.best(want, drawn(1).terms) is None
    assert pod.seats(want).count == pod.room(want) == 0
    assert pod.short(want).nearest == ()
    assert pod.victims(want, {}) is None
    assert pod.mended(want, (), (), drawn(1).terms) is None


def test_causes_are_counted() -> None:
    pod = a_pod((4, 4, 4), (2, 2, 1))
    one, two, three = list(pod.hosts)[:3]
    occupancy = Occupancy().taken((one,), gang(1)).marked(two, Standing(Grade.SICK)).marked(three, Standing(Grade.UNKNOWN))
    short = pod.changed(occupancy, (one, two, three)).short(Want("tpu7x", (4, 4, 4)))
    assert dict(short.hosts) == {Cause.HELD: 1, Cause.SICK: 1, Cause.UNKNOWN: 1}
    assert short.nearest == (one, two, three)


def test_a_condemned_link_whose_ends_are_no_neighbours_closes_their_hosts() -> None:
    pod = a_pod((8, 8, 8), (2, 2, 1))
    chips = chips_by_place(pod.site)
    link = LinkId.between(chips[0, 0, 0], chips[4, 4, 4])
    torn = pod.changed(pod.occupancy.with_links((link,)), ())
    assert pod.alive((2, 2, 1)) - torn.alive((2, 2, 1)) == 2


def test_a_host_cannot_sit_twice_and_every_place_is_told() -> None:
    site = a_site((4, 4, 4), (2, 2, 1))
    with pytest.raises(Misconfigured, match="sits on two places"):
        replace(site, seats=(site.seats[0], *site.seats[:-1]))
    with pytest.raises(Misconfigured, match="15 places for 16 hosts"):
        replace(site, seats=site.seats[:-1])
