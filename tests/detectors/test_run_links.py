"""Panel, rules and localisation together: the one link, chip or host that links complain of."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sliceward.detectors.finding import Kind, State
from sliceward.topology.ids import ChipId, HostId, LinkId
from sliceward.topology.links import is_between_cubes, link_at, links_of_chip
from tests.builders import a_fleet, cube_id, gang_id
from tests.detectors.scene import FLEET, H0, Scene, inner_link


@pytest.mark.parametrize(("health", "kind"), [(6, "IciLinkDegraded"), (9, "IciLinkDegraded"), (10, "IciLinkDown")])
def test_a_sick_link_is_one_finding_about_the_link(health: float, kind: str) -> None:
    scene, link = Scene(), inner_link()
    scene.sick_link(link, health)
    (found,) = scene.go().of().values()
    assert (found.kind, found.part) == (kind, link)
    assert found.gang == gang_id("llm")
    assert found.slice is not None
    assert found.evidence[0].value == health
    assert len({number.entity for number in found.evidence}) == 2
    assert found.labels == {"between-cubes": "false"}


def test_transient_trouble_of_a_link_is_none() -> None:
    scene = Scene()
    scene.sick_link(inner_link(), 5)
    assert scene.go().findings == ()


def test_a_link_that_only_one_end_complains_of_is_named_and_less_sure() -> None:
    both, one, link = Scene(), Scene(), inner_link()
    both.sick_link(link)
    one.sick_link(link, ends=link.ends[:1])
    (sure,), (less,) = both.go().of().values(), one.go().of().values()
    assert sure.part == less.part == link
    assert sure.score > less.score
    assert sure.id == less.id


def test_a_link_between_cubes_says_so() -> None:
    link = next(
        link
        for host in FLEET.cubes[cube_id("cube-0")].hosts
        for chip in range(4)
        for link in links_of_chip(FLEET, ChipId("c1", host.name, chip))
        if is_between_cubes(FLEET, link)
    )
    scene = Scene()
    scene.sick_link(link)
    (found,) = scene.go().of().values()
    assert found.part == link
    assert found.labels == {"between-cubes": "true"}


def test_most_links_of_a_chip_are_the_chip() -> None:
    scene, chip = Scene(), ChipId("c1", H0, 3)
    links = links_of_chip(FLEET, chip)
    for link in links[:4]:
        scene.sick_link(link)
    (found,) = scene.go().of().values()
    assert found.part == chip
    assert set(found.also) == set(links[:4])


def test_two_links_of_a_chip_are_two_links() -> None:
    scene, chip = Scene(), ChipId("c1", H0, 3)
    for link in links_of_chip(FLEET, chip)[:2]:
        scene.sick_link(link)
    assert {f.part for f in scene.go().of().values()} == set(links_of_chip(FLEET, chip)[:2])


def test_all_links_of_all_chips_of_a_host_are_the_host() -> None:
    scene = Scene()
    for chip in range(4):
        for link in links_of_chip(FLEET, ChipId("c1", H0, chip)):
            scene.sick_link(link)
    (found,) = scene.go().of().values()
    assert found.part == HostId("c1", H0)
    assert len(found.also) == 20


def test_a_link_whose_other_end_is_unknown_is_named_by_chip_and_port() -> None:
    lone = a_fleet().with_cubes(1).build()
    chip = next(
        ChipId("c1", host.name, index)
        for host in lone.cubes[cube_id("cube-0")].hosts
        for index in range(4)
        if link_at(lone, ChipId("c1", host.name, index), 1) is None
    )
    scene = Scene(lone)
    scene[chip.host].link(chip.index, 1, 10)
    (found,) = scene.go().of().values()
    assert found.part == chip
    assert found.labels["port"] == "1"
    assert "port 1" in found.text


def test_a_degraded_link_that_goes_down_is_down_and_not_both() -> None:
    scene, link = Scene(), inner_link()
    scene.sick_link(link, 7)
    scene.go()
    scene.sick_link(link, 10)
    scene.go(12)
    assert [f.kind for f in scene.of().values()] == [Kind.ICI_LINK_DOWN]
    assert [f.kind for f in scene.of(State.RESOLVED).values()] == [Kind.ICI_LINK_DEGRADED]


@given(st.sets(st.integers(0, 191), min_size=1, max_size=8))
@settings(max_examples=15, deadline=None)
def test_every_sick_link_is_named_or_explained_and_nothing_healthy_is_named_as_a_link(picked: set[int]) -> None:
    links = sorted({link for n in range(64) for link in links_of_chip(FLEET, ChipId("c1", f"cube-0-host-{n // 4:02d}", n % 4))})
    sick = {links[n % len(links)] for n in picked}
    scene = Scene()
    for link in sick:
        scene.sick_link(link)
    firing = scene.go(5).of().values()
    named = {f.part for f in firing if isinstance(f.part, LinkId)}
    explained = {part for f in firing for part in f.also}
    assert named <= sick
    assert sick <= named | explained
