"""Which guarantees can no longer be kept: HiveD's doomed cells, for cubes, boxes inside them and slices of several."""

from __future__ import annotations

import random
from math import prod
from typing import TYPE_CHECKING

import pytest

from sliceward.scheduling.ground import Want
from sliceward.scheduling.guarantees import Doomed, doomed, owed
from sliceward.scheduling.occupancy import Grade, Standing
from sliceward.scheduling.quota import Quota
from sliceward.scheduling.snapshot import HeldSlice, Running, Snapshot
from sliceward.topology.errors import Misconfigured
from tests.scheduling.cubes.builders import BOXES, CUBE, NOW, calm_block, drawn, gang

if TYPE_CHECKING:
    from sliceward.scheduling.cubes.block import Block
    from sliceward.scheduling.guarantees import Cells
    from sliceward.scheduling.snapshot import Snapshot as Shot
    from sliceward.topology.generations import Shape

SICK = Standing(Grade.SICK, "x")
HALF, QUARTER, TWO = (2, 4, 4), (2, 2, 4), (4, 4, 8)


def promised(**tenants: dict[Shape, int]) -> Cells:
    return {(tenant, "tpu7x"): cells for tenant, cells in tenants.items()}


def with_sick(cubes: int, *sick: int) -> Shot:
    there = drawn(cubes)
    return Snapshot.of(NOW, [there.block]).with_standings({there.cubes[n].hosts[0]: SICK for n in sick})


def sitting(snapshot: Shot, cubes: tuple[int, ...], *, tenant: str, shape: Shape = CUBE, priority: int = 0) -> Shot:
    """One slice a cube, or one over all of them where the shape is larger than one."""
    parts = [hosts for ground in snapshot.grounds.values() for hosts in ground.parts.values()]
    if prod(shape) > 64:
        slices = [HeldSlice("s", 0, shape, tuple(host for n in cubes for host in parts[n]))]
    else:
        slices = [HeldSlice("s", n, shape, parts[n][: prod(shape) // 4]) for n in cubes]
    return snapshot.with_gang(Running(gang("-".join([tenant, *map(str, cubes)])), tenant, "tpu7x", tuple(slices), priority))


def test_while_all_is_well_nothing_is_doomed() -> None:
    assert doomed(with_sick(4), promised(a={CUBE: 2}, b={CUBE: 1, HALF: 2})) == ()


def test_when_cubes_fail_the_tenant_that_cannot_have_its_own_is_named() -> None:
    found = doomed(with_sick(4, 0, 1), promised(a={CUBE: 3}, b={CUBE: 1}))
    assert found == (Doomed("tpu7x", CUBE, {"a": 3, "b": 1}, 2, {"a": 1}),)
    assert found[0].short == 2


def test_what_a_tenant_holds_is_not_owed_again() -> None:
    shot = sitting(with_sick(4, 3), (0, 1), tenant="a")
    assert owed(shot, promised(a={CUBE: 3})) == {("a", "tpu7x"): {CUBE: 1}}
    assert doomed(shot, promised(a={CUBE: 3})) == ()
    assert doomed(shot, promised(a={CUBE: 4}))[0].owed == {"a": 2}


def test_small_slices_share_the_cell_that_they_sit_in() -> None:
    shot = sitting(with_sick(2), (0,), tenant="a", shape=QUARTER)
    assert owed(shot, promised(a={CUBE: 2})) == {("a", "tpu7x"): {CUBE: 1}}
    assert owed(shot, promised(a={CUBE: 1, QUARTER: 1})) == {("a", "tpu7x"): {CUBE: 1}}
    both = sitting(shot, (1,), tenant="a", shape=QUARTER)
    assert owed(both, promised(a={CUBE: 1})) == {("a", "tpu7x"): {}}


def test_who_sits_by_favour_stands_in_nobodys_way() -> None:
    shot = sitting(with_sick(2), (0, 1), tenant="b", priority=-1)
    assert doomed(shot, promised(a={CUBE: 2})) == ()
    assert doomed(sitting(with_sick(2), (0, 1), tenant="b"), promised(a={CUBE: 2}))[0].left == 0


def test_a_half_lives_on_in_a_cube_that_lost_a_host() -> None:
    assert doomed(with_sick(2, 0), promised(a={CUBE: 1, HALF: 1})) == ()
    assert doomed(with_sick(2, 0), promised(a={CUBE: 1, HALF: 2})) == (Doomed("tpu7x", HALF, {"a": 2}, 1, {}),)


def test_a_slice_of_two_cubes_is_owed_inside_one_block() -> None:
    blocks = [drawn(1, prefix="left").block, drawn(1, prefix="right").block]
    assert doomed(Snapshot.of(NOW, blocks), promised(a={TWO: 1})) == (Doomed("tpu7x", TWO, {"a": 1}, 0, {"a": 1}),)
    assert doomed(Snapshot.of(NOW, [*blocks, drawn(2).block]), promised(a={TWO: 1, CUBE: 2})) == ()


def fits(blocks: list[Block], cells: list[Shape]) -> bool:
    """Whether all cells, the largest first, can be had at once: every choice of whole cubes, any choice of boxes."""
    if not cells:
        return True
    want = Want("tpu7x", cells[0])
    for number, block in enumerate(blocks):
        for seat in block.seats(want):
            after = block.changed(block.occupancy.taken(seat.hosts, gang("x")), seat.hosts)
            if fits([*blocks[:number], after, *blocks[number + 1 :]], cells[1:]):
                return True
            if prod(cells[0]) < 64:
                return False
    return False


def test_nothing_is_doomed_if_and_only_if_all_that_is_owed_could_be_had_at_once() -> None:
    kept = 0
    for seed in range(250):
        draw = random.Random(seed)  # noqa: S311 (a story told again)
        blocks = [calm_block(draw, 2, prefix=f"b{n}").block for n in range(draw.randint(1, 2))]
        cells = {shape: draw.choice((0, 0, 1, 2)) for shape in (TWO, CUBE, *BOXES[:3])}
        found = doomed(Snapshot.of(NOW, blocks), promised(a=cells))
        wanted = [shape for shape, count in cells.items() for _ in range(count)]
        assert (found == ()) == fits(blocks, wanted), seed
        kept += found == () and len(wanted) > 1
    assert kept > 40


def test_quota_in_cells_is_quota_in_chips_and_a_guarantee() -> None:
    quota = Quota.from_mapping({"research": {"tpu7x": {"4x8x8": 2, "4x4x4": 6}}, "ml": {"v5p": {"2x2x4": 8}, "tpu7x": 64}})
    assert quota.nominal == {("research", "tpu7x"): 896, ("ml", "tpu-v5p-slice"): 128, ("ml", "tpu7x"): 64}
    assert quota.cells == {("research", "tpu7x"): {(4, 8, 8): 2, CUBE: 6}, ("ml", "tpu-v5p-slice"): {QUARTER: 8}}


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"a": {"tpu7x": {"4x4x5": 1}}}, "quota.a.tpu7x.4x4x5"),
        ({"a": {"v5p": {"cube": 1}}}, "quota.a.v5p.cube"),
        ({"a": {"tpu7x": {"4x4x4": -1}}}, "quota.a.tpu7x.4x4x4"),
        ({"a": {"tpu7x": {"4x4x4": "two"}}}, "quota.a.tpu7x.4x4x4"),
    ],
)
def test_what_is_no_guarantee_is_refused_with_its_path(wrong: object, where: str) -> None:
    with pytest.raises(Misconfigured) as error:
        Quota.from_mapping(wrong)
    assert error.value.where == where
