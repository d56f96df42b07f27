"""Whatever a snapshot is made of: it is refused by name, or every question about it has an answer."""

from __future__ import annotations

from datetime import timedelta
from math import inf, nan
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sliceward.scheduling.costs import Costs
from sliceward.scheduling.cubes.block import block_of
from sliceward.scheduling.displacement import displaced, request_of
from sliceward.scheduling.fragmentation import fragmentation_of
from sliceward.scheduling.ground import Want
from sliceward.scheduling.occupancy import Grade, Standing, Window
from sliceward.scheduling.place import place
from sliceward.scheduling.repair import repair
from sliceward.scheduling.request import Request, SliceAsked
from sliceward.scheduling.snapshot import HeldSlice, Promise, Running, Snapshot
from sliceward.topology.errors import Misconfigured
from sliceward.topology.ids import ChipId, LinkId, PodId
from tests.builders import NOW, a_fleet, gang_id
from tests.scheduling.grounds import pools

FLEET = a_fleet().with_cubes(2, block="p0").build()
GROUNDS = (block_of(PodId("c1", "p0"), FLEET, FLEET.cubes.values()), pools(2))
HOSTS = [host for ground in GROUNDS for host in ground.hosts]
CUBES = [*GROUNDS[0].parts.values()]


def mostly(good: list[Any], bad: list[Any]) -> st.SearchStrategy[Any]:
    """Draw what is refused once in about twenty times, so that most of what is drawn is a snapshot."""
    return st.sampled_from(good * max(1, 20 * len(bad) // len(good)) + bad)


numbers = mostly([0, 1, 2, 64, 600.0], [-1, 10**13, 1e300, nan, inf, True])
shapes = mostly([(4, 4, 4), (4, 4, 8), (2, 2, 1), (2, 2, 2)], [(4, 4), (3, 3, 3), (), (0, 4)])
kinds = mostly(["tpu7x"], ["tpu-v6e-slice", "tpu9"])
names = st.sampled_from(["a", "b", "c"])
times = mostly([None, NOW, NOW - timedelta(days=9)], [NOW.replace(year=1), NOW.replace(year=9999), NOW.replace(tzinfo=None)])
some_hosts = st.one_of(st.sampled_from(CUBES), st.lists(st.sampled_from(HOSTS[:32]), max_size=1).map(tuple))


@st.composite
def gangs(draw: st.DrawFn) -> Running:
    number = draw(st.integers(0, 2))
    slices = tuple(HeldSlice("s", index, draw(shapes), draw(some_hosts)) for index in range(number))
    saved = draw(times)
    return Running(
        gang_id(draw(names), cluster=draw(mostly(["c1"], ["c2"]))),
        draw(st.sampled_from(["t", "u"])),
        draw(kinds),
        slices,
        priority=draw(mostly([0, 1, -5], [2**40])),
        checkpointed=saved,
        checkpoints_every=draw(st.one_of(st.none(), numbers)),
        lasts=draw(st.one_of(st.none(), numbers)),
        fewest=draw(mostly([0], [-1, 9])),
        most=draw(st.integers(0, 3)),
    )


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    costs = {
        name: draw(numbers)
        for name in draw(st.sets(st.sampled_from(["anchor", "spare", "weight", "planned", "back", "queue"]), max_size=2))
    }
    snapshot = Snapshot.of(
        NOW,
        GROUNDS,
        gangs=draw(st.lists(gangs(), max_size=2)),
        promises={host: Promise(gang_id(draw(names)), draw(times)) for host in draw(st.sets(st.sampled_from(HOSTS), max_size=2))},
        quota={("t", draw(kinds)): draw(numbers) for _ in range(draw(st.integers(0, 1)))},
        mix={draw(kinds): ((draw(shapes), draw(numbers)),) for _ in range(draw(st.integers(0, 1)))},
        costs=Costs(**costs),
    )
    for host in draw(st.sets(st.sampled_from(HOSTS), max_size=3)):
        window = Window(NOW, NOW + timedelta(hours=1)) if draw(st.booleans()) else None
        snapshot = snapshot.with_standing(
            host, Standing(draw(st.sampled_from(Grade)), "x", draw(mostly([0.0, 0.1, 1e12], [nan])), window)
        )
    if draw(st.booleans()):
        one, other = draw(st.sampled_from(HOSTS[:16])), draw(st.sampled_from(HOSTS[16:32]))
        link = LinkId.between(ChipId("c1", one.name, 0), ChipId("c1", other.name, 1))
        snapshot = snapshot.with_links(GROUNDS[draw(mostly([0], [1]))].id, [link])
    return snapshot.with_switches(GROUNDS[draw(mostly([0], [1]))].id, ["ocs-1"]) if draw(st.booleans()) else snapshot


@st.composite
def questions(draw: st.DrawFn) -> tuple[Snapshot, Request] | Misconfigured:
    try:
        snapshot = draw(snapshots())
        slices = tuple(SliceAsked("s", index, Want(draw(kinds), draw(shapes))) for index in range(draw(mostly([1, 2], [0]))))
        priority, fewest = draw(mostly([0, 5], [2**40])), draw(mostly([0, 1], [-1, 3]))
        return snapshot, Request(gang_id(draw(names)), "t", slices, fewest, priority, lasts=draw(st.one_of(st.none(), numbers)))
    except Misconfigured as refused:
        return refused


@settings(max_examples=60, deadline=None)
@given(asked=questions())
def test_what_is_not_refused_by_name_can_be_asked_everything(asked: tuple[Snapshot, Request] | Misconfigured) -> None:
    if isinstance(asked, Misconfigured):
        assert asked.where
        assert asked.why
        return
    snapshot, request = asked
    place(snapshot, request)
    displaced(snapshot, request)
    fragmentation_of(snapshot)
    for gang in snapshot.gangs.values():
        own = request_of(gang)
        if own is not None and all(held.hosts for held in gang.slices):
            repair(snapshot, own)
