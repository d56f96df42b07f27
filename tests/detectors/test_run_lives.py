"""The life of a finding: begun, kept, unknown, resolved, explained."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sliceward.detectors.finding import Finding, Kind, State, from_json, to_json
from sliceward.detectors.run import evaluate
from sliceward.topology.gangs import GangState
from sliceward.topology.health import Severity
from sliceward.topology.ids import ChipId, LinkId, parse
from sliceward.topology.links import links_of_chip
from tests.builders import NOW, a_fleet, gang_id
from tests.detectors.scene import FLEET, GRACE, H0, H1, RULES, Scene, inner_link


def test_a_fault_that_ends_is_resolved_after_its_hysteresis_and_since_is_kept_until_then() -> None:
    scene, link = Scene(), inner_link()
    scene.sick_link(link)
    (first,) = scene.go().of().values()
    (later,) = scene.go().of().values()
    assert later.since == first.since
    assert later.seen > first.seen
    scene.sick_link(link, 0)
    assert list(scene.go(3).of()) == [f"IciLinkDown {link}"]
    scene.go(8)
    assert scene.of() == {}
    (over,) = scene.of(State.RESOLVED).values()
    assert over.since == first.since


def test_a_fault_that_comes_back_after_it_was_resolved_begins_anew() -> None:
    scene, link = Scene(), inner_link()
    scene.sick_link(link)
    (first,) = scene.go().of().values()
    scene.sick_link(link, 0)
    scene.go(12)
    scene.sick_link(link)
    (again,) = scene.go().of().values()
    assert again.id == first.id
    assert again.since > first.since


def test_lost_telemetry_makes_a_finding_unknown_and_never_resolved() -> None:
    scene = Scene()
    scene[H0].chip("chip_present", 1, 0)
    scene.go()
    scene.silent.add(H0)
    scene.go(60)
    assert f"ChipLost c1/chip/{H0}/1" in scene.of(State.UNKNOWN)
    scene.silent.clear()
    assert f"ChipLost c1/chip/{H0}/1" in scene.go(5).of()


def test_a_reading_that_is_missing_keeps_a_finding_unknown_while_the_host_speaks() -> None:
    scene, link = Scene(), inner_link()
    scene.sick_link(link)
    scene.go()
    for end in link.ends:
        scene[end.host].readings["link_health"] = float("nan")
    scene.go(30)
    (found,) = scene.of(State.UNKNOWN).values()
    assert found.part == link


def test_a_finding_that_nobody_can_judge_after_a_restart_is_unknown_until_data_tell() -> None:
    before, link = Scene(), inner_link()
    before.sick_link(link)
    (told,) = before.go().of().values()
    after = Scene(findings=(from_json(to_json(told)),), now=before.now + 30, silent={end.host for end in link.ends})
    (found,) = after.go(2).findings
    assert (found.state, found.since) == (State.UNKNOWN, told.since)
    after.silent.clear()
    after.go(12)
    assert [f.state for f in after.findings] == [State.RESOLVED]


def test_another_boot_without_the_fault_resolves_at_once() -> None:
    scene = Scene()
    scene[H0].chip("chip_hbm_uncorrectable_total", 1, 0)
    scene.go(2)
    scene[H0].chip("chip_hbm_uncorrectable_total", 1, 1)
    assert len(scene.go(2).of()) == 1
    scene[H0].boot_id, scene[H0].agent_start = "b-2", scene.now
    scene.go(3)
    assert [f.state for f in scene.findings] == [State.RESOLVED]


def test_a_host_that_no_longer_exists_takes_its_findings_with_it() -> None:
    scene = Scene()
    scene.silent.add(H0)
    scene.go(9)
    scene.fleet = a_fleet().with_cubes(2).without(H0).build()
    scene.panel.forget(H0)
    scene.go(1)
    (found,) = scene.findings
    assert (found.state, "no longer exists" in found.text) == (State.RESOLVED, True)


def test_links_that_turn_out_to_be_a_chip_are_resolved_as_explained() -> None:
    scene, chip = Scene(), ChipId("c1", H0, 3)
    links = links_of_chip(FLEET, chip)
    scene.sick_link(links[0])
    scene.go()
    for link in links[:4]:
        scene.sick_link(link)
    scene.go(5)
    assert {f.part for f in scene.of().values()} == {chip}
    (over,) = scene.of(State.RESOLVED).values()
    assert "explained by" in over.text


def test_a_finding_of_a_rule_that_is_gone_is_unknown() -> None:
    scene = Scene()
    scene[H0].chip("chip_present", 1, 0)
    scene.go()
    fewer = [rule for rule in RULES if "chip-missing" not in (rule.name, *rule.yields_to)]
    (found,) = evaluate(scene.panel, fewer, FLEET, grace=GRACE, previous=scene.findings)
    assert found.state is State.UNKNOWN


def test_the_gang_that_was_moved_away_stays_in_the_finding() -> None:
    scene, link = Scene(), inner_link()
    scene.sick_link(link)
    scene.go()
    scene.fleet = a_fleet().with_cubes(2).build()
    (found,) = scene.go(2).of().values()
    assert found.gang == gang_id("llm")


def test_pods_of_one_slice_in_two_cubes_are_a_finding_that_ends_with_it() -> None:
    def elsewhere(pod: dict[str, Any]) -> None:
        pod["spec"]["nodeName"] = "cube-1-host-00"

    builder = a_fleet().with_cubes(2).with_gang("llm").on("cube-0")
    first = builder.objects().pods[0]["metadata"]["name"]
    scene = Scene(builder.pod_edited(first, elsewhere).build())
    (found,) = scene.go(1).of().values()
    assert (found.kind, found.part) == (Kind.SLICE_MIXED, gang_id("llm"))
    (again,) = scene.go(1).of().values()
    assert again.since == found.since
    scene.fleet = builder.build()
    assert [f.state for f in scene.go(1).findings] == [State.RESOLVED]


def test_the_same_scene_gives_the_same_findings() -> None:
    def play() -> tuple[Finding, ...]:
        scene = Scene()
        scene.sick_link(inner_link())
        scene[H1].chip("chip_present", 0, 0)
        return scene.go(8).findings

    assert play() == play()


def test_ids_of_findings_can_be_read_back() -> None:
    scene = Scene()
    scene.sick_link(inner_link())
    for found in scene.go().findings:
        assert parse(str(found.part)) == found.part
        assert from_json(to_json(found)) == found


def test_chips_and_links_of_a_host_that_no_longer_exists_are_no_trouble_any_more() -> None:
    scene, link = Scene(), inner_link()
    scene.sick_link(link)
    scene[H0].chip("chip_present", 2, 0)
    assert {type(finding.part) for finding in scene.go().of().values()} == {ChipId, LinkId}
    scene.fleet = replace(scene.fleet, hosts={id_: host for id_, host in scene.fleet.hosts.items() if id_.name != H0})
    scene.silent.add(H0)
    scene.panel.forget(H0)
    former = [finding for finding in scene.go(1).findings if H0 in str(finding.part)]
    assert [(finding.state, finding.text) for finding in former] == [
        (State.RESOLVED, f"{finding.part} no longer exists") for finding in former
    ]


def test_a_gang_that_has_ended_is_stuck_no_more() -> None:
    scene = Scene()
    stuck = Finding(
        Kind.COLLECTIVE_STUCK, gang_id("llm"), State.FIRING, Severity.ERROR, NOW, NOW, 0.9, "collective-stuck", "1", "stands"
    )
    scene.findings = (stuck,)
    ended = replace(FLEET.gangs[gang_id("llm")], state=GangState.FINISHED)
    scene.fleet = replace(FLEET, gangs={**FLEET.gangs, gang_id("llm"): ended})
    (found,) = scene.go(1).findings
    assert (found.state, found.text) == (State.RESOLVED, f"{gang_id('llm')} has ended")
