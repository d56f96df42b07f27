"""No slice of a tree is made of hosts that a condemned link joins, and of all others the best are those of going through every one."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

from sliceward.scheduling.ground import Want
from sliceward.scheduling.occupancy import Grade, Occupancy
from sliceward.scheduling.place import place, planned
from sliceward.scheduling.plan import NoFit, Repair
from sliceward.scheduling.repair import repair
from sliceward.scheduling.request import Request, SliceAsked
from sliceward.scheduling.snapshot import HeldSlice, Running, Snapshot
from sliceward.scheduling.tree import apart
from sliceward.scheduling.tree.apart import Found, cheapest_apart, ways_apart
from sliceward.scheduling.tree.ground import TreeGround
from sliceward.scheduling.tree.lie import Leaf
from sliceward.topology.ids import ChipId, ClusterId, HostId, LinkId
from tests.builders import NOW, gang_id
from tests.scheduling.tree.builders import LEVELS
from tests.scheduling.tree.draws import V6E, Drawn, a_drawn_tree, a_want, dice_of, gang_named, host_named, some_terms

if TYPE_CHECKING:
    from random import Random

    import pytest

    from sliceward.scheduling.ground import Terms


def a_link(one: HostId, other: HostId) -> LinkId:
    return LinkId.between(ChipId(one.cluster, one.name, 0), ChipId(other.cluster, other.name, 1))


def with_links(dice: Random, drawn: Drawn) -> Drawn:
    hosts = sorted(drawn.leaves)
    links = [a_link(dice.choice(hosts), dice.choice(hosts)) for _ in range(dice.randint(1, 5))]
    return replace(drawn, ground=drawn.ground.changed(drawn.occupancy.with_links(links), ()))


def is_torn(drawn: Drawn, hosts: tuple[HostId, ...]) -> bool:
    return any(all(end.host_id in hosts for end in link.ends) for link in drawn.occupancy.links)


def cost(drawn: Drawn, hosts: tuple[HostId, ...], want: Want, terms: Terms) -> float:
    """What a place costs; a condemned link slows it like a degraded host does, once."""
    slow = any(drawn.occupancy.standing(host).grade is Grade.DEGRADED for host in hosts)
    limp = want.chips * terms.costs.slowdown * terms.lasts if is_torn(drawn, hosts) and not slow else 0.0
    return drawn.cost(hosts, want, terms) + limp


def test_places_best_places_and_counts_are_those_without_a_condemned_link_inside() -> None:
    torn = 0
    for seed in range(1_200):
        dice = dice_of(seed)
        drawn = with_links(dice, a_drawn_tree(dice))
        want, terms = replace(a_want(dice), broken_links=dice.random() < 0.3), some_terms(dice)
        every = [*drawn.places(want, drawn.occupancy)]
        places = [hosts for hosts in every if want.broken_links or not is_torn(drawn, hosts)]
        torn += len(places) < len(every)
        seats = drawn.ground.seats(want)
        assert sorted(seat.hosts for seat in seats) == sorted(places), seed
        assert seats.count == len(places), seed
        best = drawn.ground.best(want, terms)
        assert (best is None) is (not places), seed
        assert (drawn.ground.room(want) > 0) is bool(places), seed
        if best is not None:
            least = min(cost(drawn, hosts, want, terms) for hosts in places)
            assert best.cost == least == drawn.ground.priced(best, want, terms).cost, seed
            assert cost(drawn, best.hosts, want, terms) == least, seed
            assert (best.grade is Grade.DEGRADED) is (
                cost(drawn, best.hosts, want, terms) > drawn.cost(best.hosts, want, terms)
            ) or any(drawn.occupancy.standing(host).grade is Grade.DEGRADED for host in best.hosts)
    assert torn > 100


def test_victims_are_the_cheapest_whose_going_makes_a_place_without_a_condemned_link() -> None:
    for seed in range(800):
        dice = dice_of(seed)
        drawn, want = with_links(dice, a_drawn_tree(dice, gangs=5, held=0.7)), a_want(dice)
        prices = {
            gang: float(dice.randint(0, 9)) for gang in sorted(set(drawn.occupancy.holders.values())) if dice.random() < 0.8
        }

        def has_room(going: tuple[object, ...], drawn: Drawn = drawn, want: Want = want) -> bool:
            freed = drawn.occupancy.freed([host for host, gang in drawn.occupancy.holders.items() if gang in going])
            return any(not is_torn(drawn, hosts) for hosts in drawn.places(want, freed))

        enough = [
            sum(prices[gang] for gang in going)
            for size in range(len(prices) + 1)
            for going in combinations(sorted(prices), size)
            if has_room(going)
        ]
        victims = drawn.ground.victims(want, prices)
        assert (victims is None) is (not enough), seed
        if victims is not None:
            assert victims.cost == min(enough), seed
            assert has_room(victims.gangs)
            assert not is_torn(drawn, victims.seat.hosts)
            assert victims.gap == 0


def test_a_place_is_mended_by_hosts_that_no_condemned_link_joins_to_it() -> None:
    mended_ones = 0
    for seed in range(1_200):
        dice = dice_of(seed)
        drawn, want, terms = with_links(dice, a_drawn_tree(dice, gangs=0)), a_want(dice), some_terms(dice)
        start = next(drawn.places(want, Occupancy()), None)
        if start is None:
            continue
        ground = drawn.ground.changed(drawn.occupancy.taken(start, gang_named("me")), start)
        sits = Drawn(ground, drawn.leaves)
        out = set(dice.sample(start, dice.randint(0, len(start))))
        stays = tuple(host for host in start if host not in out)
        others = [host for host in ground.hosts if ground.occupancy.is_usable(host, want.worst)]
        news = [
            new
            for new in combinations(others, len(out))
            if stays and sits.alike((*stays, *new), want) and not is_torn(sits, (*stays, *new))
        ]
        mended = ground.mended(want, start, out, terms)
        assert (mended is None) is (not news), seed
        if mended is not None:
            mended_ones += 1
            assert not is_torn(sits, mended.hosts)
            assert mended.cost == min(sits.cost(new, want, terms) for new in news), seed
    assert mended_ones > 100


def a_rack(hosts: int, *links: tuple[int, int]) -> Snapshot:
    leaves = [Leaf(host_named(f"h{n}"), 4, {"block": "b0", "rack": "r0", LEVELS[-1]: f"h{n}"}) for n in range(hosts)]
    ground = TreeGround.of(ClusterId("c1"), V6E, leaves, levels=LEVELS, unit="rack")
    joined = [a_link(host_named(f"h{one}"), host_named(f"h{other}")) for one, other in links]
    return Snapshot.of(NOW, [ground]).with_links(ground.id, joined)


def asking(*shapes: tuple[int, int], broken: bool = False) -> Request:
    slices = [SliceAsked("s", n, Want(V6E, each, broken_links=broken)) for n, each in enumerate(shapes)]
    return Request(gang_id("a"), "red", tuple(slices))


def test_a_gang_that_fits_only_over_a_condemned_link_is_refused_and_told_which() -> None:
    snapshot = a_rack(4, (1, 2))
    assert planned(snapshot, asking((2, 4))) is not None
    no = place(snapshot, asking((4, 4)))
    assert isinstance(no, NoFit)
    (link,) = snapshot.grounds[ClusterId("c1")].occupancy.links
    assert no.helps == (Repair(links=(link,)),)
    slow = planned(snapshot, asking((4, 4), broken=True))
    assert slow is not None
    assert dict(slow.slices[0].price)["slowdown"] > 0


def test_a_slice_over_a_condemned_link_is_formed_anew_without_it() -> None:
    snapshot, request = a_rack(4), asking((2, 4))
    plan = planned(snapshot, request)
    assert plan is not None
    gang = Running(request.gang, "red", V6E, (HeldSlice("s", 0, (2, 4), plan.slices[0].hosts),))
    one, other = plan.slices[0].hosts
    hurt = snapshot.with_gang(gang).with_links(ClusterId("c1"), [a_link(one, other), a_link(one, host_named("h2"))])
    for way in repair(hurt, request).open:
        for piece in way.slices:
            assert not all(host in piece.hosts for host in (one, other))
            assert not {one, host_named("h2")} <= set(piece.hosts)


def test_of_very_many_links_one_end_each_is_left_out_and_it_is_said_how_much_dearer_that_may_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(apart, "MOST_ASKED", 3)
    costs = [1, 1, 1, 5, 5, 5]
    pairs = ((0, 3), (1, 4), (2, 5), (0, 1), (1, 2), (0, 2))

    def ask(without: frozenset[int]) -> Found[None] | None:
        left = [place for place in range(6) if place not in without][:3]
        return Found((sum(costs[place] for place in left),), tuple(left), None) if len(left) == 3 else None

    found = cheapest_apart(ask, pairs)
    assert found is not None
    assert not any(one in found.places and other in found.places for one, other in pairs)
    assert found.rank[0] - found.slack <= 11 <= found.rank[0]
    assert cheapest_apart(ask, tuple(combinations(range(6), 2))) is None


def test_sets_are_counted_and_of_too_many_links_never_too_few() -> None:
    for seed in range(300):
        dice = dice_of(seed)
        places = dice.sample(range(12), dice.randint(0, 9))
        pairs = [tuple(sorted((dice.randrange(12), dice.randrange(12)))) for _ in range(dice.randint(0, 14))]
        size = dice.randint(0, 5)
        true = sum(not any(set(pair) <= set(chosen) for pair in pairs) for chosen in combinations(places, size))
        found = ways_apart(places, size, [(a, b) for a, b in pairs])
        assert found == true if len(pairs) <= apart.MOST_COUNTED else found >= true
