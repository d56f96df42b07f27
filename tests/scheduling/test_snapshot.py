"""What contradicts itself is refused by name; what is changed leaves the rest as it was."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from sliceward.scheduling.costs import Costs
from sliceward.scheduling.cubes.block import block_of
from sliceward.scheduling.ground import Want
from sliceward.scheduling.occupancy import Bar, Cause, Grade, Occupancy, Standing, Window
from sliceward.scheduling.pools import Pool, Pools
from sliceward.scheduling.request import Request, SliceAsked
from sliceward.scheduling.snapshot import HeldSlice, Promise, Running, Snapshot
from sliceward.topology.errors import Misconfigured
from sliceward.topology.ids import ChipId, CubeId, HostId, LinkId, PodId
from tests.builders import NOW, a_fleet, gang_id, host_id
from tests.scheduling.grounds import V6E, a_snapshot, pools, running

if TYPE_CHECKING:
    from collections.abc import Callable

    from sliceward.topology.fleet import Cube, Fleet


def a_pool(size: tuple[int, ...] = (4, 4), *, hosts: int = 4, chips: int = 4, cluster: str = "c1", times: int = 1) -> Pools:
    """Give a pool of so many hosts, which is taken for whole."""
    ids = tuple(HostId(cluster, f"h{n}") for n in range(hosts))
    pool = Pool(CubeId("c1", "p"), size, ids, hosts)
    return Pools(PodId("c1", "b"), V6E, (pool,) * times, dict.fromkeys(ids, chips))


THREE = pools()
CUBES = a_fleet().with_cubes(2, block="p0").build()
BLOCK = block_of(PodId("c1", "p0"), CUBES, CUBES.cubes.values())
CUBE_HOSTS = tuple(next(iter(BLOCK.parts.values())))
FIRST = next(iter(THREE.hosts))
WANT = Want(V6E, (4, 4))
NAN, INFINITE = float("nan"), float("inf")
NO_ZONE = datetime(2026, 9, 1, 12)  # noqa: DTZ001 (what is refused)


def on_cube(generation: str = "tpu7x") -> Running:
    return Running(gang_id("a"), "t", generation, (HeldSlice("s", 0, (4, 4, 4), CUBE_HOSTS),))


def moved(*, at: int | None = None, chips: int = 4) -> tuple[Fleet, list[Cube]]:
    """Give the fleet with its second host in another place, or of another size."""
    second = CUBES.hosts[CUBE_HOSTS[1]]
    places = (
        second.coordinates if at is None else tuple((x - second.coordinates[0][0] + at, *more) for x, *more in second.coordinates)
    )
    changed = replace(CUBES, hosts={**CUBES.hosts, second.id: replace(second, coordinates=places, chips=chips)})
    return changed, [*changed.cubes.values()]


WRONG: list[tuple[str, Callable[[], object], str]] = [
    (
        "overlapping gangs",
        lambda: Snapshot.of(NOW, [THREE], gangs=[running("a", THREE, slice(0, 4)), running("b", THREE, slice(3, 7))]),
        "c1/host/pool-0-host-3: is held by c1/gang/default/JobSet/a and by c1/gang/default/JobSet/b",
    ),
    (
        "a gang over one that sits there",
        lambda: a_snapshot(THREE).with_gang(running("a", THREE, slice(0, 4))).with_gang(running("b", THREE, slice(0, 4))),
        "c1/host/pool-0-host-0: is held by c1/gang/default/JobSet/a and by c1/gang/default/JobSet/b",
    ),
    (
        "a gang on a host twice",
        lambda: a_snapshot(THREE).with_gang(Running(gang_id("a"), "t", V6E, (HeldSlice("s", 0, (4, 4), (FIRST, FIRST)),))),
        "c1/host/pool-0-host-0: is held by c1/gang/default/JobSet/a and by c1/gang/default/JobSet/a",
    ),
    (
        "a gang twice",
        lambda: a_snapshot(THREE).with_gangs([running("a", THREE, slice(0, 4)), running("a", THREE, slice(4, 8))]),
        "c1/gang/default/JobSet/a: runs already",
    ),
    (
        "a gang on chips that do not exist",
        lambda: a_snapshot(pools(1)).with_gang(running("a", THREE, slice(8, 12))),
        "c1/gang/default/JobSet/a: c1/host/pool-2-host-0 does not exist",
    ),
    (
        "a shape that its generation has not",
        lambda: Running(gang_id("a"), "t", V6E, (HeldSlice("s", 0, (3, 4), (FIRST,)),)),
        "c1/gang/default/JobSet/a: has shape 3x4, which v6e has not",
    ),
    ("a wanted shape that is none", lambda: Want(V6E, (3, 4)), "shape 3x4: is none of v6e"),
    ("a wanted shape without lengths", lambda: Want(V6E, ()), "shape : is none of v6e"),
    ("a generation that is none", lambda: Want("tpu9", (4, 4)), "generation 'tpu9': is unknown"),
    ("a tolerance that is none", lambda: Want(V6E, (4, 4), worst=Grade.UNKNOWN), "tolerance unknown: is none"),
    ("negative quota", lambda: Snapshot.of(NOW, [THREE], quota={("t", V6E): -1}), f"quota of t for {V6E}: is -1"),
    ("quota that is no number", lambda: a_snapshot(THREE).with_quota({("t", V6E): True}), f"quota of t for {V6E}: is True"),
    ("a cost that is no number", lambda: Costs(anchor=NAN), "cost anchor: is nan"),
    ("a negative cost", lambda: Costs(spare=-1.0), "cost spare: is -1.0"),
    ("an infinite cost", lambda: Costs(failure=INFINITE), "cost failure: is inf"),
    ("a slowdown by more than all", lambda: Costs(slowdown=1.5), "cost slowdown: is 1.5"),
    ("a risk that is no number", lambda: Standing(risk=NAN), "risk of a host: is nan"),
    ("maintenance that ends before it begins", lambda: Window(NOW, NOW), "window"),
    (
        "a mix of more than all",
        lambda: Snapshot.of(NOW, [THREE], mix={V6E: (((4, 4), 0.6), ((2, 4), 0.6))}),
        f"mix of {V6E}: names",
    ),
    (
        "a shape twice in a mix",
        lambda: Snapshot.of(NOW, [THREE], mix={V6E: (((4, 4), 0.1), ((4, 4), 0.1))}),
        f"mix of {V6E}: names",
    ),
    ("a mix of no numbers", lambda: Snapshot.of(NOW, [THREE], mix={V6E: (((4, 4), NAN),)}), f"mix of {V6E}: probability of 4x4"),
    ("a time without a zone", lambda: Snapshot.of(NO_ZONE, [THREE]), "snapshot: has a time without a zone"),
    ("a pool of too few chips", lambda: a_snapshot(a_pool(hosts=2)), "c1/cube/p: is whole with 8 chips, its shape 4x4 has 16"),
    ("a pool without hosts", lambda: a_snapshot(a_pool(hosts=0)), "c1/cube/p: is whole with 0 chips"),
    ("a pool of no shape", lambda: a_snapshot(a_pool((3, 5))), "c1/cube/p: has shape 3x5, which v6e has not"),
    ("a pool of another shape", lambda: a_snapshot(a_pool((4, 4, 4))), "c1/cube/p: has shape 4x4x4, which v6e has not"),
    ("a pool twice", lambda: a_snapshot(a_pool(times=2)), "c1/cube/p: is there twice"),
    ("a ground of no generation", lambda: a_snapshot(replace(a_pool(), generation="tpu9")), "generation 'tpu9': is unknown"),
    ("hosts without chips", lambda: a_snapshot(a_pool(chips=0)), "c1/host/h0: has 0 chips"),
    ("hosts of less than no chips", lambda: a_snapshot(a_pool(chips=-4)), "c1/host/h0: has -4 chips"),
    ("a host of another cluster", lambda: a_snapshot(a_pool(cluster="c2")), "c2/host/h0: has 4 chips, in c1/pod/b"),
    ("a part of hosts that are not there", lambda: a_snapshot(replace(a_pool(), hosts={})), "c1/host/h0: is none of c1/pod/b"),
    ("a pod twice", lambda: Snapshot.of(NOW, [THREE, pools(1)]), "c1/pod/b0: is there twice"),
    ("a host in two pods", lambda: Snapshot.of(NOW, [THREE, pools(1, pod="b1")]), "c1/host/pool-0-host-0: lies in"),
    (
        "health of a host that is not there",
        lambda: a_snapshot().with_standing(host_id("no"), Standing()),
        "c1/host/no: does not exist",
    ),
    (
        "a promise of a host that is not there",
        lambda: a_snapshot().with_promises({host_id("no"): Promise(gang_id("a"))}),
        "c1/gang/default/JobSet/a: c1/host/no does not exist",
    ),
    (
        "a promise without a zone",
        lambda: a_snapshot().with_promises({FIRST: Promise(gang_id("a"), NO_ZONE)}),
        "c1/host/pool-0-host-0: is promised until a time without a zone",
    ),
    ("links of a pod that is not there", lambda: a_snapshot().with_links(pools(pod="b9").id, ()), "c1/pod/b9: is no ground"),
    (
        "an elastic range that is none",
        lambda: replace(running("a", THREE, slice(0, 4)), fewest=3, most=2),
        "c1/gang/default/JobSet/a: can",
    ),
    (
        "a checkpoint without a zone",
        lambda: replace(running("a", THREE, slice(0, 4)), checkpointed=NO_ZONE),
        "c1/gang/default/JobSet/a: has",
    ),
    (
        "a restart that takes no number",
        lambda: replace(running("a", THREE, slice(0, 4)), restarts_in=NAN),
        "c1/gang/default/JobSet/a: sec",
    ),
    *(
        (f"a mix with {what}", lambda mix=mix: Snapshot.of(NOW, [BLOCK], mix=mix), said)
        for what, mix, said in (
            ("a shape that is none", {"tpu7x": (((3, 3, 3), 0.5),)}, "mix of tpu7x: expects 3x3x3"),
            ("a shape of another kind", {"tpu7x": (((4, 4), 0.5),)}, "mix of tpu7x: expects 4x4"),
            ("a shape without lengths", {"tpu7x": (((), 0.5),)}, "mix of tpu7x: expects "),
            ("a shape and the same turned", {V6E: (((2, 4), 0.1), ((4, 2), 0.1))}, f"mix of {V6E}: names a shape twice"),
            ("a generation that is none", {"tpu9": ()}, "generation 'tpu9': is unknown"),
        )
    ),
    ("quota for what is none", lambda: a_snapshot().with_quota({("t", "tpu9"): 1}), "quota of t for tpu9: is for an unknown"),
    ("more quota than there can be", lambda: a_snapshot().with_quota({("t", V6E): 10**13}), f"quota of t for {V6E}: is 1000"),
    (
        "a gang of another generation than its hosts",
        lambda: Snapshot.of(NOW, [BLOCK], gangs=[on_cube(generation="tpu-v5p-slice")]),
        "c1/gang/default/JobSet/a: is of tpu-v5p-slice and holds c1/host/cube-0-host-00 of tpu7x",
    ),
    (
        "a gang of a generation that is none",
        lambda: on_cube(generation="nope"),
        "c1/gang/default/JobSet/a: is of generation 'nope'",
    ),
    (
        "a gang of another cluster than its hosts",
        lambda: Snapshot.of(NOW, [BLOCK], gangs=[replace(on_cube(), id=gang_id("a", cluster="far"))]),
        "far/gang/default/JobSet/a: holds c1/host/cube-0-host-00 of another cluster",
    ),
    (
        "more chips than the shape has",
        lambda: Snapshot.of(NOW, [BLOCK], gangs=[replace(on_cube(), slices=(HeldSlice("s", 0, (2, 4, 4), CUBE_HOSTS),))]),
        "c1/gang/default/JobSet/a: slice 0 of role 's' holds 64 chips for a shape of 2x4x4",
    ),
    (
        "a slice twice",
        lambda: replace(on_cube(), slices=(HeldSlice("s", 0, (), CUBE_HOSTS[:1]), HeldSlice("s", 0, (), CUBE_HOSTS[1:2]))),
        "c1/gang/default/JobSet/a: has slice 0 of role 's' twice",
    ),
    (
        "a priority that is no number",
        lambda: replace(on_cube(), priority="high"),  # type: ignore[arg-type]  # what is refused
        "c1/gang/default/JobSet/a: has priority 'high'",
    ),
    (
        "a request of no priority",
        lambda: Request(gang_id("a"), "t", (SliceAsked("s", 0, WANT),), priority=2**40),
        "c1/gang/default/JobSet/a: has priority 1099511627776",
    ),
    (
        "a ground on which a gang sits that does not run",
        lambda: Snapshot.of(NOW, [BLOCK.changed(BLOCK.occupancy.taken(CUBE_HOSTS, gang_id("ghost")), CUBE_HOSTS)]),
        "c1/host/cube-0-host-00: is held by c1/gang/default/JobSet/ghost, which does not run",
    ),
    (
        "a ground of which more is said than it has",
        lambda: Snapshot.of(NOW, [replace(THREE, occupancy=Occupancy(standings={host_id("no"): Standing(Grade.SICK)}))]),
        "c1/host/no: is none of c1/pod/b0",
    ),
    (
        "a host in two pools of a ground",
        lambda: Snapshot.of(NOW, [replace(THREE, pools=(*THREE.pools, replace(THREE.pools[0], id=CubeId("c1", "again"))))]),
        "c1/host/pool-0-host-0: lies in c1/cube/pool-0 and in c1/cube/again",
    ),
    (
        "a host in two cubes",
        lambda: block_of(
            PodId("c1", "p0"), CUBES, (one := [*CUBES.cubes.values()]) and [one[0], replace(one[1], hosts=CUBE_HOSTS)]
        ),
        "c1/host/cube-0-host-00: lies in c1/cube/cube-0 and in c1/cube/cube-1",
    ),
    (
        "two hosts at one place",
        lambda: block_of(PodId("c1", "p0"), *moved(at=0)),
        "cube c1/cube/cube-0: c1/host/cube-0-host-00 and",
    ),
    ("a host beside its cube", lambda: block_of(PodId("c1", "p0"), *moved(at=8)), "c1/host/cube-0-host-01: lies outside of"),
    (
        "hosts of two sizes in a cube",
        lambda: block_of(PodId("c1", "p0"), *moved(chips=1)),
        "cube c1/cube/cube-0: has hosts of 1 and 4",
    ),
    (
        "a promise over another's",
        lambda: a_snapshot(THREE).with_promises({FIRST: Promise(gang_id("one"))}).with_promises({FIRST: Promise(gang_id("two"))}),
        "c1/host/pool-0-host-0: is promised to c1/gang/default/JobSet/one and to c1/gang/default/JobSet/two",
    ),
    (
        "a link of elsewhere",
        lambda: a_snapshot(THREE).with_links(THREE.id, [LinkId.between(ChipId("c1", "no", 0), ChipId("c1", "no", 1))]),
        "c1/link/no/0~no/1: has no end in c1/pod/b0",
    ),
    (
        "a switch where there are none",
        lambda: a_snapshot(THREE).with_switches(THREE.id, ["ocs-1"]),
        "c1/pod/b0: is of v6e, which has no",
    ),
    ("a price that grows beyond all numbers", lambda: Costs(weight=1e200), "cost weight: is 1e+200"),
    ("a step of priority that is too much", lambda: Costs(weight=1e6), "cost weight: is 1000000.0"),
    ("a time before all history", lambda: Snapshot.of(NOW.replace(year=1), [THREE]), "snapshot: has the time 0001"),
    ("a time at the end of all", lambda: Snapshot.of(NOW.replace(year=9999), [THREE]), "snapshot: has the time 9999"),
    (
        "an elastic range of parts",
        lambda: replace(running("a", THREE, slice(0, 4)), fewest=0.5, most=2),  # type: ignore[arg-type]  # what is refused
        "c1/gang/default/JobSet/a: can do with 0.5",
    ),
    ("a request for nothing", lambda: Request(gang_id("a"), "t", ()), "c1/gang/default/JobSet/a: asks for no slice"),
    (
        "a request for one slice twice",
        lambda: Request(gang_id("a"), "t", (SliceAsked("s", 0, WANT), SliceAsked("s", 0, WANT))),
        "c1/gang/default/JobSet/a: asks for one slice of a role twice",
    ),
    (
        "a request that needs more than it asks for",
        lambda: Request(gang_id("a"), "t", (SliceAsked("s", 0, WANT),), fewest=2),
        "c1/gang/default/JobSet/a: can do with 2 of 1 slices",
    ),
    (
        "a request of two generations",
        lambda: Request(gang_id("a"), "t", (SliceAsked("s", 0, WANT), SliceAsked("r", 0, Want("tpu7x", (4, 4, 4))))),
        "c1/gang/default/JobSet/a: asks for two generations",
    ),
]


@pytest.mark.parametrize(("make", "said"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_what_cannot_be_is_refused_with_its_name_and_what_to_do(make: Callable[[], object], said: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        make()
    assert str(caught.value).startswith(said)
    assert caught.value.what_to_do


def test_a_gang_that_sits_down_takes_its_hosts_and_gives_them_back() -> None:
    empty = a_snapshot(THREE)
    held = empty.with_gang(running("a", THREE, slice(0, 4)))
    ground = held.grounds[THREE.id]
    assert ground.room(WANT) == 2
    assert held.usage == {("t", V6E): 16}
    assert held.without_gang(gang_id("a")).usage == {("t", V6E): 0}
    assert empty.grounds[THREE.id].room(WANT) == 3
    assert held.without_gang(gang_id("a")).grounds[THREE.id].room(WANT) == 3
    assert held.without_gang(gang_id("b")) is held


@pytest.mark.parametrize("grade", [Grade.SICK, Grade.UNKNOWN, Grade.DEGRADED])
def test_a_host_that_is_not_surely_healthy_is_no_room(grade: Grade) -> None:
    sick = a_snapshot(THREE).with_standing(FIRST, Standing(grade, "because"))
    assert sick.grounds[THREE.id].room(WANT) == 2
    assert sick.with_standing(FIRST, Standing()).grounds[THREE.id].room(WANT) == 3


def test_promised_hosts_are_closed_until_the_promise_runs_out() -> None:
    promised = a_snapshot(THREE).with_promises({FIRST: Promise(gang_id("a"), NOW + timedelta(minutes=5))})
    assert promised.grounds[THREE.id].occupancy.why_not(FIRST) == (Cause.RESERVED, "promised to a")
    assert promised.later(299).grounds[THREE.id].room(WANT) == 2
    assert promised.later(300).grounds[THREE.id].room(WANT) == 3
    assert promised.later(300).promises == {}
    past = a_snapshot(THREE).with_promises({FIRST: Promise(gang_id("a"), NOW)})
    assert past.grounds[THREE.id].room(WANT) == 3


def test_what_is_closed_to_all_a_promise_does_not_open() -> None:
    closed = a_snapshot(THREE).with_bars({FIRST: Bar(Cause.HELD, "held by pod x/y")})
    promised = closed.with_promises({FIRST: Promise(gang_id("a"))})
    occupancy = promised.grounds[THREE.id].occupancy
    assert occupancy.bars[FIRST].kept_for is None
    assert not promised.without_promises([FIRST]).grounds[THREE.id].occupancy.is_usable(FIRST)
    opened = promised.without_bars([FIRST]).grounds[THREE.id].occupancy
    assert opened.bars[FIRST].kept_for == gang_id("a")


def test_a_change_shares_all_else() -> None:
    two = a_snapshot(THREE, pools(2, pod="b1", prefix="far"))
    other = pools(pod="b1").id
    changed = two.with_standing(FIRST, Standing(Grade.SICK, "dead"))
    assert changed.grounds[other] is two.grounds[other]
    assert changed.ground_of is two.ground_of
    assert changed.gangs is two.gangs


def test_quota_left_may_be_negative_and_without_quota_there_is_no_limit() -> None:
    held = a_snapshot(THREE).with_gang(running("a", THREE, slice(0, 4)))
    assert held.quota_left(("t", V6E)) is None
    assert held.with_quota({("t", V6E): 10}).quota_left(("t", V6E)) == -6


def test_what_a_gang_pays_for_pods_to_come_is_its_own_until_they_come_or_it_goes() -> None:
    account, one = ("t", V6E), running("a", THREE, slice(0, 4))
    held = a_snapshot(THREE).with_quota({account: 64}).with_gang(one).paying([(one.id, account, 16), (gang_id("b"), account, 8)])
    assert (held.counted(one.id), held.counted(gang_id("b")), held.quota_left(account)) == (32, 8, 24)
    come = held.with_gang(running("b", THREE, slice(4, 8)))
    assert (come.counted(gang_id("b")), come.quota_left(account)) == (16, 16)
    gone = come.without_gang(one.id)
    assert (gone.counted(one.id), gone.quota_left(account)) == (0, 48)
