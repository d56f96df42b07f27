from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from sliceward.detectors.metrics import EntityKind
from sliceward.detectors.passes.fleet import WATCHED, Places, Seen, places_of, read, reading
from sliceward.detectors.ring import Ring
from sliceward.topology.ids import ChipId, CubeId, DomainId, HostId, LinkId, SliceId, SwitchId
from sliceward.topology.links import links_of_chip, port_at
from tests.builders import a_fleet

if TYPE_CHECKING:
    from sliceward.topology.fleet import Fleet


def seen(fleet: Fleet) -> list[Seen]:
    return [Seen(host.name, slot, 0) for slot, host in enumerate(fleet.hosts)]


def laid_out(fleet: Fleet, *labels: str) -> Places:
    return places_of("c1", seen(fleet), fleet, domain_labels=labels)


TWO_CUBES = a_fleet().with_gang("llm", topology="4x4x8").on("cube-0", "cube-1").build()
FLEETS = [
    pytest.param(TWO_CUBES, id="two cubes of one slice and two idle ones"),
    pytest.param(a_fleet().with_cubes(1).with_gang("llm").on("cube-0").build(), id="a slice of one cube wraps to itself"),
    pytest.param(a_fleet(generation="tpu-v6e-slice").with_pools("4x4", 2).build(), id="flat pools"),
]


@pytest.mark.parametrize("fleet", FLEETS)
def test_the_links_are_those_that_the_topology_gives_one_by_one(fleet: Fleet) -> None:
    places = laid_out(fleet)
    cables = places.cables
    found = {places.part("link", number) for number in range(len(cables.one))}
    chips = [ChipId("c1", host.id.name, n) for host in fleet.hosts.values() for n in range(host.chips)]
    assert found == {link for chip in chips for link in links_of_chip(fleet, chip)} != set()
    for number in range(len(cables.one)):
        ends = {(places.part("chip", int(cables.one[number])), int(cables.port_one[number]))}
        ends |= {(places.part("chip", int(cables.other[number])), int(cables.port_other[number]))}
        for chip, port in ends:
            assert isinstance(chip, ChipId)
            link = places.part("link", number)
            assert isinstance(link, LinkId)
            assert port == port_at(fleet, chip, link) or len(cables.one) > len(found)


def test_every_part_is_found_by_the_name_that_it_is_given() -> None:
    fleet = TWO_CUBES
    host = next(iter(fleet.hosts.values()))
    fleet = replace(fleet, hosts={**fleet.hosts, host.id: replace(host, labels={**host.labels, "rack": "r-7"})})
    places = laid_out(fleet, "rack")
    named = {
        (kind, int(label))
        for kind, groups in places.layout.stands_on.items()
        for label in groups.label
    } | {("slice", 0)}  # fmt: skip
    assert {kind for kind, _ in named} == {"chip", "link", "host", "ocs", "cube", "domain", "slice"}
    for kind, label in named:
        part = places.part(kind, label)
        assert places.part(*places.label(str(part)) or ("host", 0)) == part
        assert places.hosts_of(kind, label)
    kinds = {type(places.part(kind, label)) for kind, label in named}
    assert kinds == {ChipId, LinkId, HostId, SwitchId, CubeId, DomainId, SliceId}
    for stranger in ("c1/host/x", "c1/chip/x/0", "c1/cube/x", "c1/gang/a/Job/b", f"c1/chip/{host.id.name}/9"):
        assert places.label(stranger) is None
    assert places.label(f"c1/link/{host.id.name}/0~x/0") is None


def test_peers_are_the_chips_of_one_slice_and_idle_chips_are_peers_of_each_other() -> None:
    places = laid_out(TWO_CUBES)
    role: dict[str, set[int]] = {}
    for number, name in enumerate(places.hosts):
        role.setdefault(name[:6], set()).add(
            int(places.layout.crowds["chip"].role[np.flatnonzero(places.chip_host == number)][0])
        )
    assert role["cube-0"] == role["cube-1"] != role["cube-2"] == role["cube-3"]


def test_small_slices_of_one_role_are_peers() -> None:
    fleet = a_fleet(generation="tpu-v6e-slice").with_pools("4x4", 2).with_gang("llm", slices=2).on("pool-0", "pool-1").build()
    assert len(fleet.slices) == 2
    assert len(set(laid_out(fleet).layout.crowds["chip"].role.tolist())) == 1


def test_a_host_that_nobody_but_its_agent_knows_is_watched_too() -> None:
    places = places_of("c1", [Seen("b", 1, 4), Seen("a", 0, 2)], replace(TWO_CUBES, hosts={}, cubes={}, slices={}))
    assert places.hosts == ("a", "b")
    assert places.chip_host.tolist() == [0, 0, 1, 1, 1, 1]
    assert sorted(places.layout.crowds) == ["chip", "host"]
    assert places_of("c1", [], replace(TWO_CUBES, hosts={})).layout.crowds == {}


def test_two_chips_at_one_place_have_no_links_there() -> None:
    host = TWO_CUBES.hosts[HostId("c1", "cube-0-host-00")]
    twins = replace(host, coordinates=(host.coordinates[0], *host.coordinates[:1], *host.coordinates[2:]))
    wrong = replace(TWO_CUBES, hosts={**TWO_CUBES.hosts, host.id: twins})
    assert len(laid_out(wrong).cables.one) == len(laid_out(TWO_CUBES).cables.one) - 11, "two chips of six links, one between them"


def test_readings_stand_at_their_members_and_both_ends_must_say_that_a_link_is_sick() -> None:
    places = laid_out(TWO_CUBES)
    ring = Ring(rows=4, period=10.0, max_bytes=1 << 24)
    ring.fit(hosts=len(places.hosts), chips=4, ports=6)
    ring.advance(1000.0)
    row = ring.row_at(1000.0)
    assert row is not None
    empty = read(places, ring, row)
    assert {kind: set(found) for kind, found in empty.items()} == {kind: set(names) for kind, names in WATCHED.items()}
    assert all(np.isnan(one).all() for found in empty.values() for one in found.values())
    duty, health = ring.column("chip_duty_cycle_percent"), ring.column("link_health")
    assert duty is not None
    assert health is not None
    label = places.label("c1/chip/cube-1-host-03/2")
    assert label is not None
    slot = int(places.slot[places.number_of["cube-1-host-03"]])
    duty[row, slot, 2] = 55.0
    found = reading(places, ring, "chip_duty_cycle_percent", row)
    assert np.flatnonzero(~np.isnan(found)).tolist() == [label[1]]
    assert found[label[1]] == 55.0
    one, port = int(places.cables.one[9]), int(places.cables.port_one[9])
    health[row] = 0.0
    health[row, places.slot[places.chip_host[one]], places.chip_index[one], port] = 7.0
    assert reading(places, ring, "link_health", row).max() == 0.0
    other, port = int(places.cables.other[9]), int(places.cables.port_other[9])
    health[row, places.slot[places.chip_host[other]], places.chip_index[other], port] = np.nan
    assert np.flatnonzero(reading(places, ring, "link_health", np.array([row]))[0]).tolist() == [9]


@pytest.mark.parametrize("name", ["chip_duty_cycle_percent", "link_health", "host_hlo_execution_p50_us"])
def test_some_members_read_what_they_read_among_all(name: str) -> None:
    places, dice = laid_out(TWO_CUBES), np.random.default_rng(1)
    ring = Ring(rows=8, period=10.0, max_bytes=1 << 26)
    ring.fit(hosts=len(places.hosts), chips=4, ports=6)
    column = ring.column(name)
    assert column is not None
    column[:] = dice.random(column.shape)
    rows, some = np.array([3, 5, 1]), np.array([40, 2, 2])
    assert np.array_equal(reading(places, ring, name, rows, of=some), reading(places, ring, name, rows)[:, some])
    assert reading(places, ring, name, rows[:0], of=some).shape == (0, 3)


def test_a_chip_for_which_the_panel_has_no_room_reads_nothing() -> None:
    places = places_of("c1", [Seen("a", 0, 4)], replace(TWO_CUBES, hosts={}, cubes={}, slices={}))
    ring = Ring(rows=2, period=10.0, max_bytes=1 << 20)
    ring.fit(hosts=1, chips=2, ports=0)
    column = ring.column("chip_duty_cycle_percent")
    assert column is not None
    column[:] = 3.0
    assert np.isnan(reading(places, ring, "chip_duty_cycle_percent", 0)).tolist() == [False, False, True, True]


def test_only_what_can_be_compared_is_watched() -> None:
    assert "chip_duty_cycle_percent" in WATCHED[EntityKind.CHIP]
    assert "host_megascale_tcp_min_rtt_p50_us" in WATCHED[EntityKind.HOST]
    for name in (
        "chip_present",
        "chip_idle_seconds",
        "chip_hbm_used_bytes",
        "host_step_age_seconds",
        "host_ready",
        "host_cpu_percent",
    ):
        assert not any(name in names for names in WATCHED.values())


def test_cubes_of_a_slice_stand_on_the_lines_of_its_grid_and_those_of_none_on_no_line() -> None:
    fleet = a_fleet().with_gang("llm", topology="8x8x4").on("cube-0", "cube-1", "cube-2", "cube-3").with_cubes(5).build()
    places = laid_out(fleet)
    chips = places.layout.crowds["chip"]
    cubes = next(one for one in chips.groups if one.kind == "cube")
    assert chips.lines is not None
    lines = {places.cubes[label]: tuple(chips.lines[:, place].tolist()) for place, label in enumerate(cubes.label.tolist())}
    (around,) = fleet.slices.values()
    first, second, third, fourth = (lines[cube.name] for cube in around.cubes)
    assert [a == b for a, b in zip(first, second, strict=True)] == [False, True, True]
    assert [a == b for a, b in zip(first, third, strict=True)] == [True, False, True]
    assert [a == b for a, b in zip(first, fourth, strict=True)] == [False, False, True]
    assert {lines[cube.name] for cube in fleet.cubes if cube not in around.cubes} == {(-1, -1, -1)}
