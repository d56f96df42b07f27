"""Panel, rules and localisation together: what is seen, and the one part that is named."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from importlib import resources
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sliceward.daemons.watcher.surroundings import write_readings
from sliceward.detectors.finding import Finding, Kind, State, from_json, to_json
from sliceward.detectors.panel import Panel, PanelSize
from sliceward.detectors.rules import Rule, load_rules
from sliceward.detectors.run import evaluate
from sliceward.detectors.witness import write_own
from sliceward.topology.gangs import GangState
from sliceward.topology.health import Severity
from sliceward.topology.ids import ChipId, HostId, LinkId, parse
from sliceward.topology.links import is_between_cubes, link_at, links_of_chip, ports_of
from tests.builders import NOW, a_fleet, cube_id, gang_id
from tests.detectors.frames import START, Speaker, speakers_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sliceward.topology.fleet import Fleet

GRACE = timedelta(seconds=60)
H0, H1 = "cube-0-host-00", "cube-0-host-01"


def shipped() -> tuple[Rule, ...]:
    folder = resources.files("sliceward.detectors") / "rules"
    return load_rules({file.name: file.read_text("utf-8") for file in folder.iterdir() if file.name.endswith(".yaml")})


RULES = shipped()
FLEET = a_fleet().with_cubes(2).with_gang("llm", slices=2).on("cube-0", "cube-1").build()


@dataclass
class Scene:
    """A cluster that is watched, round by round, 10 s each."""

    fleet: Fleet = FLEET
    now: float = START
    silent: set[str] = field(default_factory=set)
    blind: bool = False
    findings: tuple[Finding, ...] = ()

    def __post_init__(self) -> None:
        self.panel = Panel("c1", PanelSize(10.0, 120), track=("host_step",))
        self.speakers = speakers_of(self.fleet)
        self.panel.advance(self.now)
        self.panel.expect(self.speakers)

    def __getitem__(self, host: str) -> Speaker:
        return self.speakers[host]

    def go(self, rounds: int = 6) -> Scene:
        for _ in range(rounds):
            self.now += 10.0
            self.panel.advance(self.now)
            for name, speaker in self.speakers.items():
                if name not in self.silent:
                    self.panel.put(speaker.say(self.now), self.now)
            if not self.blind:
                write_readings(self.panel, self.fleet)
            write_own(self.panel, self.fleet, grace=GRACE.total_seconds())
            self.findings = evaluate(self.panel, RULES, self.fleet, grace=GRACE, previous=self.findings)
        return self

    def of(self, *states: State) -> dict[str, Finding]:
        wanted = states or (State.FIRING,)
        return {f"{f.kind} {f.part}": f for f in self.findings if f.state in wanted}

    def sick_link(self, link: LinkId, health: float = 10, *, ends: Iterable[ChipId] | None = None) -> None:
        for end in ends if ends is not None else link.ends:
            port = next(p for p in ports_of(self.fleet, end) if link_at(self.fleet, end, p) == link)
            self.speakers[end.host].link(end.index, port, health)


def inner_link(host: str = H0, chip: int = 0) -> LinkId:
    return next(
        link
        for link in links_of_chip(FLEET, ChipId("c1", host, chip))
        if not is_between_cubes(FLEET, link) and link.host_a != link.host_b
    )


def test_a_healthy_fleet_has_no_finding() -> None:
    assert Scene().go().findings == ()


# ── links ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


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


# ── hosts ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_silence_alone_is_lost_telemetry_and_not_a_lost_host() -> None:
    scene = Scene().go(3)
    scene.silent.add(H0)
    (found,) = scene.go(9).of().values()
    assert (found.kind, found.part) == (Kind.TELEMETRY_LOST, HostId("c1", H0))


def test_silence_within_grace_is_nothing() -> None:
    scene = Scene().go(3)
    scene.silent.add(H0)
    assert scene.go(5).findings == ()


def test_silence_with_a_node_that_is_not_ready_is_a_lost_host() -> None:
    scene = Scene(a_fleet().with_cubes(1).with_gang("llm").on("cube-0").not_ready(H0).build()).go(3)
    scene.silent.add(H0)
    (found,) = scene.go(9).of().values()
    assert found.kind == Kind.HOST_LOST
    assert {number.metric for number in found.evidence} == {"host_frame_age_seconds", "host_ready"}
    assert found.gang == gang_id("llm")
    assert found.boot_id == scene[H0].boot_id


def test_the_providers_taint_on_a_silent_host_is_a_second_witness() -> None:
    scene = Scene(a_fleet().with_cubes(1).tainted("node.cloudprovider.kubernetes.io/shutdown", H0).build()).go(3)
    assert scene.findings == ()
    scene.silent.add(H0)
    assert [f.kind for f in scene.go(9).of().values()] == [Kind.HOST_LOST]


def test_a_node_that_is_not_ready_but_speaks_is_no_lost_host() -> None:
    assert Scene(a_fleet().with_cubes(1).not_ready(H0).build()).go(9).findings == ()


def test_peers_are_a_second_witness_and_their_dead_links_are_explained_by_the_host() -> None:
    scene = Scene().go(3)
    scene.silent.add(H0)
    for chip in range(4):
        for link in links_of_chip(FLEET, ChipId("c1", H0, chip)):
            scene.sick_link(link, ends=[end for end in link.ends if end.host != H0])
    (found,) = scene.go(12).of().values()
    assert (found.kind, found.part) == (Kind.HOST_LOST, HostId("c1", H0))
    assert len(found.also) == 16


def test_a_lost_host_explains_what_its_chips_showed() -> None:
    fleet = a_fleet().with_cubes(1).not_ready(H0).build()
    scene = Scene(fleet)
    scene[H0].chip("chip_present", 1, 0)
    scene.go()
    scene.silent.add(H0)
    scene.go(9)
    assert [f.kind for f in scene.of().values()] == [Kind.HOST_LOST]
    (chip,) = scene.of(State.UNKNOWN).values()
    assert chip.kind == Kind.CHIP_LOST


def test_without_kubernetes_there_is_no_second_witness() -> None:
    scene = Scene(a_fleet().with_cubes(1).not_ready(H0).build(), blind=True).go(3)
    scene.silent.add(H0)
    assert [f.kind for f in scene.go(9).of().values()] == [Kind.TELEMETRY_LOST]


def test_two_speakers_and_a_missing_identity_are_findings_about_the_host() -> None:
    scene = Scene()
    scene[H1].boot_id = ""
    twin = Speaker(H0, instance_id="i-twin", boot_id="b-9", agent_start=START)
    for _ in range(6):
        scene.panel.put(twin.say(scene.now + 5), scene.now + 5)
        scene.go(1)
    found = scene.of()
    assert set(found) == {f"IdentityConflict c1/host/{H0}", f"IdentityConflict c1/host/{H1}"}
    assert "i-twin" in found[f"IdentityConflict c1/host/{H0}"].text
    assert "boot id" in found[f"IdentityConflict c1/host/{H1}"].text


def test_memory_errors_of_a_host_are_counted_over_ten_minutes() -> None:
    scene = Scene()
    scene[H0].readings["host_edac_correctable_total"] = 1000
    scene.go(2)
    scene[H0].readings["host_edac_correctable_total"] = 1099
    assert scene.go(1).findings == ()
    scene[H0].readings["host_edac_correctable_total"] = 1100
    (found,) = scene.go(1).of().values()
    assert (found.kind, found.evidence[0].value) == (Kind.MEMORY_ERRORS_RISING, 100)


# ── chips ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("metric", "well", "sick", "kind"),
    [
        ("chip_present", 1, 0, Kind.CHIP_LOST),
        ("chip_hbm_uncorrectable_total", 3, 4, Kind.HBM_UNCORRECTABLE),
        ("chip_hbm_correctable_total", 0, 10, Kind.MEMORY_ERRORS_RISING),
        ("chip_throttle_score", 1, 3, Kind.CHIP_THROTTLED),
        ("chip_pcie_aer_fatal_total", 0, 1, Kind.PCIE_AER_STORM),
        ("chip_pcie_aer_nonfatal_total", 7, 8, Kind.PCIE_AER_STORM),
        ("chip_pcie_aer_correctable_total", 0, 1000, Kind.PCIE_AER_STORM),
        ("chip_foreign_holder", 0, 1, Kind.DEVICE_OCCUPIED),
    ],
)
def test_a_sick_chip_is_named(metric: str, well: float, sick: float, kind: Kind) -> None:
    scene = Scene()
    scene[H0].readings[metric] = well
    scene[H0].notes["holder/2"] = "pid 7 of an orphan"
    assert scene.go(3).findings == ()
    scene[H0].chip(metric, 2, sick)
    (found,) = scene.go(6).of().values()
    assert (found.kind, found.part) == (kind, ChipId("c1", H0, 2))
    assert found.instance_id == scene[H0].instance_id
    assert ("orphan" in found.text) == (kind is Kind.DEVICE_OCCUPIED)


def test_what_all_chips_of_a_host_show_is_named_once_on_the_host() -> None:
    scene = Scene()
    scene[H0].readings["chip_present"] = 0
    (found,) = scene.go().of().values()
    assert (found.kind, found.part) == (Kind.CHIP_LOST, HostId("c1", H0))
    assert len(found.also) == 4


def test_a_lost_chip_explains_its_links() -> None:
    scene, chip = Scene(), ChipId("c1", H0, 2)
    scene[H0].chip("chip_present", 2, 0)
    for link in links_of_chip(FLEET, chip)[:3]:
        scene.sick_link(link)
    (found,) = scene.go().of().values()
    assert (found.kind, found.part) == (Kind.CHIP_LOST, chip)
    assert set(found.also) == set(links_of_chip(FLEET, chip)[:3])


# ── jobs ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("duty", "stuck"), [(99, True), (2, True), (50, False)])
def test_a_gang_that_stands_while_its_chips_spin_or_idle_is_the_job_and_not_the_hardware(duty: float, stuck: bool) -> None:  # noqa: FBT001 (a table)
    scene = Scene(a_fleet().with_cubes(1).with_gang("llm").on("cube-0").build())
    for speaker in scene.speakers.values():
        speaker.readings |= {"host_step": 5, "host_step_age_seconds": 0, "chip_duty_cycle_percent": duty}
    scene.go(2)
    for n in range(95):
        for speaker in scene.speakers.values():
            speaker.readings["host_step_age_seconds"] = 10 * n
        scene.go(1)
    found = list(scene.of().values())
    assert [(f.kind, f.part) for f in found] == ([(Kind.COLLECTIVE_STUCK, gang_id("llm"))] if stuck else [])
    assert not stuck or "the job, not the hardware" in found[0].text


def test_a_slice_error_names_the_slice_with_its_text() -> None:
    scene = Scene(a_fleet().with_cubes(1).with_gang("llm").on("cube-0").with_condition("SliceErrorDetected", "True", H0).build())
    scene[H0].notes["slice_error"] = "SLICE_FAILURE_CHIP_DRIVER_ERROR"
    (found,) = scene.go().of().values()
    assert found.kind == Kind.SLICE_ERROR
    assert found.part.kind == "slice"  # type: ignore[union-attr]
    assert "SLICE_FAILURE_CHIP_DRIVER_ERROR" in found.text
    assert found.slice == found.part


def test_a_slice_error_on_a_host_of_no_slice_names_the_host() -> None:
    scene = Scene(a_fleet().with_cubes(1).with_condition("SliceErrorDetected", "True", H0).build())
    (found,) = scene.go().of().values()
    assert found.part == HostId("c1", H0)


def test_an_unhealthy_partition_is_one_finding_about_the_cube() -> None:
    scene = Scene(a_fleet().with_cubes(2).partition_state("cube-1", "UNHEALTHY").build())
    (found,) = scene.go().of().values()
    assert (found.kind, found.part) == (Kind.PARTITION_UNHEALTHY, cube_id("cube-1"))


# ── the life of a finding ─────────────────────────────────────────────────────────────────────────────────────────────


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
    fewer = [rule for rule in RULES if rule.name != "chip-missing"]
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
    def elsewhere(pod: dict[str, object]) -> None:
        pod["spec"]["nodeName"] = "cube-1-host-00"  # type: ignore[index]

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
