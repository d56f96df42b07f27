"""What would become of the fleet is what the same functions say of the fleet as it would be."""

from __future__ import annotations

import pytest

from sliceward.scheduling.beside import Beside
from sliceward.scheduling.candidates import Way
from sliceward.scheduling.changes import Add, Lose, LoseLink, LoseSwitch, applied
from sliceward.scheduling.costs import Costs
from sliceward.scheduling.fleet import snapshot_of
from sliceward.scheduling.gangs import request_of
from sliceward.scheduling.ground import Want
from sliceward.scheduling.plan import Borrow, NoFit, Open, Plan, Release, Repair
from sliceward.scheduling.request import Request, SliceAsked
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
SICK = Lose((host_id("cube-0-host-00"),), "dead")


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


def waiting_for(shape: tuple[int, ...], *names: str) -> list[Request]:
    return [Request(gang_id(name), "t", (SliceAsked("s", 0, Want("tpu7x", shape)),)) for name in names]


def stands(found: Consequences) -> list[tuple[bool, bool]]:
    return [(isinstance(each.now, Plan), isinstance(each.then, Plan)) for each in found.waiting]


def test_who_waits_leaves_the_next_what_it_took_as_things_are_and_as_they_would_be() -> None:
    snapshot = snapshot_of(a_fleet().with_cubes(1).build(), NOW)
    both = waiting_for((4, 4, 4), "a", "b")
    assert stands(what_if(snapshot, [], {}, both)) == [(True, True), (False, False)]
    assert stands(what_if(snapshot, [Borrow("nobody", "tpu7x", 1)], {}, both)) == [(True, True), (False, False)]
    more = a_fleet().with_cubes(0).and_cubes(1, block="new", prefix="new").build()
    (ground,) = snapshot_of(more, NOW).grounds.values()
    assert stands(what_if(snapshot, [Add(ground)], {}, both)) == [(True, True), (False, True)]


def test_a_gang_that_ends_gives_its_room_to_who_waits() -> None:
    fleet = (
        a_fleet().with_cubes(4, block="p0").with_gang("llm", topology="4x4x16").on("cube-0", "cube-1", "cube-2", "cube-3").build()
    )
    ended = what_if(
        snapshot_of(fleet, NOW, Beside(costs=Costs(queue=1.0))), [SICK], {}, waiting_for((4, 4, 4), "a", "b", "c", "d")
    )
    assert [choice.best.way for choice in ended.hurt] == [Way.EVICT]
    assert stands(ended) == [(False, True), (False, True), (False, True), (False, False)]
    kept = what_if(snapshot_of(fleet, NOW), [SICK], {}, waiting_for((4, 4, 4), "a"))
    assert [choice.best.way for choice in kept.hurt] == [Way.WAIT]
    assert stands(kept) == [(False, False)]


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
