"""What would become of the fleet is what the same functions say of the fleet as it would be."""

from __future__ import annotations

import pytest

from sliceward.scheduling.candidates import Way
from sliceward.scheduling.changes import Add, Lose, LoseLink, LoseSwitch, applied
from sliceward.scheduling.fleet import snapshot_of
from sliceward.scheduling.gangs import request_of
from sliceward.scheduling.plan import Borrow, NoFit, Open, Plan, Release, Repair
from sliceward.scheduling.request import Request
from sliceward.scheduling.whatif import Consequences, what_if
from sliceward.topology.errors import Misconfigured
from sliceward.topology.fleet import joined
from sliceward.topology.ids import PodId
from sliceward.topology.links import links_of
from tests.builders import NOW, a_fleet, cube_id, gang_id, host_id
from tests.scheduling.grounds import pools

TWO = a_fleet().with_gang("llm", slices=2, tenant="ml").on("cube-0", "cube-1").with_gang("small", priority=5).on("cube-2")
FLEET = TWO.with_gang("late", slices=2).waiting().build()
SNAPSHOT = snapshot_of(FLEET, NOW)
BLOCK = PodId("c1", "c1-block-0")


def asked(name: str) -> Request:
    found = request_of(FLEET, FLEET.gangs[gang_id(name)], NOW, heals=name != "late")
    assert isinstance(found, Request)
    return found


def consequences(*events: object, waiting: tuple[str, ...] = ()) -> Consequences:
    requests = {gang_id(name): asked(name) for name in ("llm", "small")}
    return what_if(SNAPSHOT, events, requests, [asked(name) for name in waiting])  # type: ignore[arg-type] # tables of events


def drained(cube: str) -> Lose:
    return Lose(FLEET.cubes[cube_id(cube)].hosts, "drained")


def test_a_drained_cube_moves_the_slice_that_sits_in_it_and_no_other() -> None:
    (choice,) = consequences(drained("cube-0")).hurt
    assert choice.gang == gang_id("llm")
    assert [planned.index for planned in choice.best.slices] == [0]
    assert {cube.name for planned in choice.best.slices for cube in planned.cubes} == {"cube-3"}


def test_two_gangs_never_flee_into_the_same_cube_and_the_one_of_higher_priority_goes_first() -> None:
    found = consequences(drained("cube-0"), drained("cube-2"))
    assert [choice.gang.name for choice in found.hurt] == ["small", "llm"]
    assert {cube.name for planned in found.hurt[0].best.slices for cube in planned.cubes} == {"cube-3"}
    assert found.hurt[1].of(Way.MOVE) is None
    assert found.hurt[1].best.slices == ()


def test_a_lost_switch_slows_who_goes_through_it() -> None:
    found = consequences(LoseSwitch(BLOCK, "ocs-3"))
    assert {choice.gang.name for choice in found.hurt} == {"llm", "small"}
    assert all(not harm.stops for choice in found.hurt for harm in choice.harms)


def test_a_lost_link_hurts_the_gang_over_it() -> None:
    link = links_of(FLEET, cube_id("cube-2"))[0]
    (choice,) = consequences(LoseLink(BLOCK, link)).hurt
    assert choice.gang == gang_id("small")


def test_another_block_makes_room_for_who_waits() -> None:
    alone = consequences(waiting=("late",)).waiting[0]
    assert isinstance(alone.now, NoFit)
    assert isinstance(alone.then, NoFit)
    more = a_fleet().with_cubes(0).and_cubes(2, block="new", prefix="new").build()
    (ground,) = snapshot_of(more, NOW).grounds.values()
    late = request_of(joined([FLEET, more]), FLEET.gangs[gang_id("late")], NOW)
    assert isinstance(late, Request)
    found = what_if(SNAPSHOT, [Add(ground)], {}, [late])
    assert isinstance(found.waiting[0].then, Plan)
    assert {cube.name for cube in found.waiting[0].then.cubes} == {"cube-3", "new-0"}
    assert [each.chips for each in (*found.before, *found.after)] == [256, 384]
    assert found.hurt == ()


def test_who_waits_leaves_the_next_what_it_took() -> None:
    small = a_fleet().with_gang("a").waiting().with_gang("b").waiting().with_cubes(1)
    fleet = small.build()
    requests = [each for name in "ab" if isinstance(each := request_of(fleet, fleet.gangs[gang_id(name)], NOW), Request)]
    found = what_if(snapshot_of(fleet, NOW), [], {}, requests)
    assert [isinstance(each.then, Plan) for each in found.waiting] == [True, False]
    assert isinstance(found.waiting[1].now, Plan)


def test_what_is_there_already_is_not_told_anew() -> None:
    sick = snapshot_of(TWO.not_ready("cube-0-host-00", status="False").build(), NOW)
    assert what_if(sick, [], {}).hurt == ()
    assert [choice.gang.name for choice in what_if(sick, [drained("cube-2")], {}).hurt] == ["small"]


@pytest.mark.parametrize(
    "change",
    [
        Repair((host_id("cube-3-host-00"),)),
        Open((host_id("cube-3-host-01"),)),
        Release((gang_id("llm"),)),
        Borrow("ml", "tpu7x", 64),
        Lose((host_id("cube-3-host-02"),), "x"),
        LoseSwitch(BLOCK, "ocs-1"),
        Add(pools(1, pod="b7")),
    ],
    ids=lambda change: type(change).__name__,
)
def test_a_change_leaves_the_snapshot_as_it_was(change: object) -> None:
    before = fragmentation = SNAPSHOT.grounds[BLOCK].alive((4, 4, 4))
    applied(SNAPSHOT, change)  # type: ignore[arg-type] # a table of events
    assert SNAPSHOT.grounds[BLOCK].alive((4, 4, 4)) == before == fragmentation


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (Lose((host_id("no"),), "x"), "c1/host/no: does not exist"),
        (LoseSwitch(PodId("c1", "no"), "x"), "c1/pod/no: is no ground"),
        (Repair((host_id("no"),)), "c1/host/no: does not exist"),
        (Add(SNAPSHOT.grounds[BLOCK]), "c1/pod/c1-block-0: is there twice"),
    ],
    ids=["host", "switch", "repair", "block"],
)
def test_what_is_not_there_cannot_be_asked_about(event: object, said: str) -> None:
    with pytest.raises(Misconfigured, match=said):
        consequences(event)
