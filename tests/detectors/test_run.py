"""Panel, rules and localisation together: what is seen of hosts, chips and jobs, and the one part that is named."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sliceward.detectors.finding import Kind, State
from sliceward.detectors.panel import Panel
from sliceward.detectors.run import evaluate
from sliceward.topology.ids import ChipId, HostId, SliceId
from sliceward.topology.links import links_of_chip
from sliceward.topology.reading import read_fleet
from tests.builders import a_fleet, cube_id, gang_id
from tests.detectors.frames import START, Speaker
from tests.detectors.scene import FLEET, H0, H1, Scene, shipped


def test_a_healthy_fleet_has_no_finding() -> None:
    assert Scene().go().findings == ()


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


def test_half_a_slice_that_falls_silent_at_once_is_the_network_or_the_broker() -> None:
    scene = Scene().go(3)
    hosts = sorted(scene.speakers)
    scene.silent |= set(hosts[:8])
    (found,) = scene.go(9).of().values()
    assert (found.kind, str(found.part)) == (Kind.TELEMETRY_LOST, "c1/slice/default.llm-slice-0")
    assert found.text.startswith("8 hosts fell silent at once, the first 9")
    assert found.also == tuple(HostId("c1", name) for name in hosts[:8])
    scene.silent = {hosts[0]}
    (alone,) = scene.go(9).of().values()
    assert alone.part == HostId("c1", hosts[0])
    scene.silent.clear()
    assert scene.go(9).of() == {}


def test_hosts_without_a_job_that_fall_silent_at_once_are_named_by_their_cube() -> None:
    scene = Scene(a_fleet().with_cubes(1).build()).go(3)
    scene.silent |= set(scene.speakers)
    (found,) = scene.go(9).of().values()
    assert (found.kind, str(found.part)) == (Kind.TELEMETRY_LOST, "c1/cube/cube-0")


def test_few_hosts_or_hosts_that_fall_silent_one_after_the_other_speak_for_themselves() -> None:
    few, slowly = Scene().go(3), Scene().go(3)
    few.silent |= set(sorted(few.speakers)[:7])
    assert len(few.go(9).of()) == 7
    for name in sorted(slowly.speakers)[:8]:
        slowly.silent.add(name)
        slowly.go(3)
    assert len(slowly.go(9).of()) == 8


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


def test_three_speakers_for_one_host_are_a_finding_that_names_them() -> None:
    scene = Scene()
    others = [Speaker(H0, instance_id=f"i-{n}", boot_id=f"b-{n}", agent_start=START - n) for n in (1, 2)]
    for _ in range(6):
        for n, other in enumerate(others):
            scene.panel.put(other.say(scene.now + 3 + 3 * n), scene.now + 3 + 3 * n)
        scene.go(1)
    (found,) = scene.of().values()
    assert (found.kind, found.part) == (Kind.IDENTITY_CONFLICT, HostId("c1", H0))
    assert found.text.startswith("3 agents speak for this host")
    assert all(name in found.text for name in ("i-1", "i-2", scene[H0].instance_id))


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
    assert isinstance(found.part, SliceId)
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


def test_a_cluster_without_any_host_has_no_finding_and_no_error() -> None:
    panel = Panel("c1", track={"host_step"})
    panel.advance(START)
    nothing = read_fleet("c1", nodes=[], pods=[], as_of=datetime.fromtimestamp(START, UTC))
    assert evaluate(panel, shipped(), nothing, grace=timedelta(minutes=1), previous=()) == ()
