"""A gang is placed on a tree of its fleet's labels, on what is surely free for it alone."""

from __future__ import annotations

from sliceward.scheduling.fleet import snapshot_of
from sliceward.scheduling.gangs import request_of
from sliceward.scheduling.place import room_of
from sliceward.scheduling.plan import NoFit
from sliceward.scheduling.tree.ask import Required, Unconstrained
from sliceward.scheduling.tree.fleet import asks_of, tree_of
from sliceward.scheduling.tree.placement import NotPlaced, Placed, place
from sliceward.topology.names import NAMES
from tests.builders import NOW, FleetBuilder, a_fleet, gang_id

LEVELS = (NAMES.block, NAMES.partition_id, NAMES.hostname)
LLM = a_fleet().with_cubes(3).with_gang("llm", slices=2).waiting()


def placed(builder: FleetBuilder) -> Placed | NotPlaced:
    fleet = builder.build()
    gang = fleet.gangs[gang_id("llm")]
    request = request_of(fleet, gang, NOW)
    assert not isinstance(request, NoFit)
    tree = tree_of(fleet, room_of(snapshot_of(fleet, NOW), request), LEVELS)
    return place(tree, asks_of(gang, where=Required(NAMES.block), slices_at=NAMES.partition_id))


def cubes_of(builder: FleetBuilder, answer: Placed | NotPlaced) -> set[str]:
    assert isinstance(answer, Placed)
    hosts = {seat.values[-1] for assignment in answer.assignments.values() for seat in assignment.seats}
    return {host.cube.name for host in builder.build().hosts.values() if host.id.name in hosts and host.cube is not None}


def test_each_slice_gets_a_cube_of_one_block() -> None:
    assert cubes_of(LLM, placed(LLM)) == {"cube-0", "cube-1"}


def test_a_cube_with_a_host_that_is_not_ready_is_not_used() -> None:
    sick = LLM.not_ready(LLM.hosts_of("cube-0")[3])
    assert cubes_of(sick, placed(sick)) == {"cube-1", "cube-2"}


def test_where_too_few_cubes_are_free_the_gang_is_not_placed_at_all() -> None:
    held = LLM.with_stranger(LLM.hosts_of("cube-0")[0]).cordoned(LLM.hosts_of("cube-1")[0])
    answer = placed(held)
    assert isinstance(answer, NotPlaced)
    assert [failure.why for failure in answer.failures.values()] == ["1 of 2 slices fit"]


def test_without_a_level_slices_may_be_torn() -> None:
    fleet = LLM.build()
    assert all(ask.layers == () and ask.anywhere for ask in asks_of(fleet.gangs[gang_id("llm")], where=Unconstrained()))
