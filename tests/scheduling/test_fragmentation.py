"""How much of the free room can be used, in four figures."""

from __future__ import annotations

import pytest

from sliceward.scheduling.beside import Beside
from sliceward.scheduling.fleet import snapshot_of
from sliceward.scheduling.fragmentation import Fragmentation, Stranding, fragmentation_of
from sliceward.scheduling.quota import Quota
from tests.builders import NOW, FleetBuilder, a_fleet

FOUR = a_fleet()


def figures(builder: FleetBuilder, beside: Beside | None = None) -> Fragmentation:
    (found,) = fragmentation_of(snapshot_of(builder.build(), NOW, beside or Beside()))
    return found


def test_an_empty_fleet_has_room_for_all() -> None:
    found = figures(FOUR)
    assert (found.cluster, found.generation, found.chips, found.free) == ("c1", "tpu7x", 256, 256)
    assert found.largest == (4, 8, 8)
    assert (found.alive[4, 4, 4], found.alive[2, 2, 1]) == (4, 64)
    assert (found.stranded, found.unusable) == ({}, 0.0)


def test_free_hosts_that_lie_apart_are_of_no_use_for_what_is_larger() -> None:
    found = figures(FOUR.with_cubes(1).cordoned("cube-0-host-00"))
    # Of 15 free hosts a whole cube can use none, 2x4x4 eight, 2x2x4 twelve, 2x2x2 fourteen, and one host all.
    parts = {64: 1.0, 32: 7 / 15, 16: 3 / 15, 8: 1 / 15, 4: 0.0}
    assert found.unusable == pytest.approx(sum(part / chips for chips, part in parts.items()) / sum(1 / chips for chips in parts))


def test_a_full_fleet_has_no_free_chip_to_strand() -> None:
    found = figures(FOUR.with_gang("llm", slices=4).on("cube-0", "cube-1", "cube-2", "cube-3"))
    assert (found.free, found.largest, found.unusable, found.stranded) == (0, None, 0.0, {})
    assert set(found.alive.values()) == {0}


@pytest.mark.parametrize(
    ("builder", "stranded"),
    [
        (FOUR.not_ready("cube-0-host-00", status="False"), {Stranding.SICK: 60}),
        (FOUR.not_ready("cube-0-host-00"), {Stranding.SICK: 60}),
        (FOUR.with_gang("a", topology="2x2x4", kind="Job").on("cube-1"), {Stranding.HELD: 48}),
        (FOUR.cordoned("cube-2-host-03"), {Stranding.CLOSED: 60}),
        (FOUR.with_cubes(1).and_cubes(1, block="b1", prefix="far"), {Stranding.BLOCK: 128}),
        (
            FOUR.cordoned("cube-2-host-03").not_ready("cube-2-host-04"),
            {Stranding.SICK: 56},
        ),
    ],
    ids=["sick", "unknown", "held", "cordoned", "two blocks", "sick and cordoned"],
)
def test_free_chips_are_stranded_by_what_takes_the_rest_of_their_cube(
    builder: FleetBuilder, stranded: dict[Stranding, int]
) -> None:
    assert figures(builder).stranded == stranded


def test_free_chips_that_no_tenant_may_take_are_stranded_by_quota() -> None:
    limited = Beside(quota=Quota({("ml", "tpu7x"): 64}))
    assert figures(FOUR, limited).stranded == {Stranding.QUOTA: 192}
    taken = FOUR.with_gang("a", tenant="other").on("cube-0")
    assert figures(taken, limited).stranded == {}


def test_pools_count_as_a_whole() -> None:
    found = figures(a_fleet(generation="tpu-v6e-slice").with_pools("4x4", 3).cordoned("pool-0-host-00"))
    assert (found.chips, found.free, found.largest, found.alive[4, 4]) == (48, 44, (4, 4), 2)
    assert found.stranded == {Stranding.CLOSED: 12}


def test_each_generation_of_each_cluster_has_its_own_figures() -> None:
    mixed = FOUR.labelled({"cloud.google.com/gke-tpu-accelerator": "tpu-v5p-slice"}, *FOUR.hosts_of("cube-3"))
    found = fragmentation_of(snapshot_of(mixed.build(), NOW))
    assert [(each.generation, each.chips) for each in found] == [("tpu-v5p-slice", 64), ("tpu7x", 192)]
