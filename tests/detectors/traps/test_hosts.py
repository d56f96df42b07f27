"""Cases of production in which a host looked well and was not, or looked sick and was another."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sliceward.detectors.finding import Kind, State
from sliceward.detectors.sightings import Line, Sighting, to_note
from sliceward.topology.ids import HostId
from tests.builders import a_fleet, gang_id
from tests.detectors.scene import H0, H1, Scene

# ── a host that dies while its heartbeat goes on ──────────────────────────────────────────────────────────────────────


def test_a_node_that_is_ready_with_a_locked_up_kernel_is_dying_and_no_lost_host() -> None:
    """07-29: soft lockup, KernelDeadlock=True, the node Ready=True; CI waited for an hour."""
    scene = Scene()
    scene[H0].readings["host_kernel_faults_total"] = 0
    scene.go(3)
    scene.fleet = (
        a_fleet()
        .with_cubes(2)
        .with_gang("llm", slices=2)
        .on("cube-0", "cube-1")
        .with_condition("KernelDeadlock", "True", H0)
        .build()
    )
    (finding,) = scene.go(3).of().values()
    assert finding.kind is Kind.HOST_DYING
    assert finding.text == "the host dies while its heartbeat goes on: host_kernel_deadlock_condition is 1 (limit 1)"
    scene.silent.add(H0)
    scene.go(12)
    assert {f.kind for f in scene.of().values()} == {Kind.TELEMETRY_LOST}
    assert scene.of(State.UNKNOWN, State.RESOLVED)[f"HostDying c1/host/{H0}"]


def test_lines_of_a_lockup_are_a_dying_host_though_nobody_sets_a_condition() -> None:
    scene = Scene()
    scene[H0].readings["host_kernel_faults_total"] = 0
    scene.go(3)
    for count in (1, 2):
        scene[H0].readings["host_kernel_faults_total"] = count
        assert scene.go(2).of() == {}
    scene[H0].readings["host_kernel_faults_total"] = 3
    assert [f.kind for f in scene.go(2).of().values()] == [Kind.HOST_DYING]


# ── a port that is held ───────────────────────────────────────────────────────────────────────────────────────────────

HELD = "8476: foreign: pid 66001 (python3), no pod, since 2026-07-26T10:00:00Z"


def taken(scene: Scene, at: float) -> str:
    seat = f"{gang_id('llm')}|slice|0|0"
    return to_note(
        [Sighting(Line.PORT_TAKEN, scene.now + at, scene.now + at, 1, "8476", "", seat, "llm-0", "Failed to add port")]
    )


def test_the_holder_of_the_coordinators_port_is_named_and_no_hardware() -> None:
    """#5470, #5572: old processes of the previous gang still bound JAX's port; two gangs ground each other for 707 retries."""
    scene = Scene()
    scene[H0].readings["host_port_foreign"], scene[H0].notes = 1, {"ports": HELD}
    assert scene.go(2).of() == {}
    (finding,) = scene.go(1).of().values()
    assert (finding.kind, str(finding.part)) == (Kind.PORT_HELD, f"c1/host/{H0}")
    assert finding.text == f"a process outside of all TPU pods of the node listens there: {HELD}"
    scene[H0].notes["sightings"] = taken(scene, -5)
    finding = scene.go(1).of()[f"PortHeld c1/host/{H0}"]
    assert finding.text == f"llm-0 could not listen at port 8476: {HELD}"
    assert finding.evidence[0].text == "Failed to add port"
    scene.silent.add(H0)
    scene.go(5)
    assert f"PortHeld c1/host/{H0}" in scene.of(State.UNKNOWN)
    scene.silent.clear()
    scene[H0].readings["host_port_foreign"], scene[H0].notes = 0, {}
    assert scene.go(6).of() == {}
    assert f"PortHeld c1/host/{H0}" in scene.of(State.RESOLVED)


def test_a_line_of_a_job_alone_leads_there_for_a_while() -> None:
    scene = Scene().go(1)
    scene[H0].notes = {"sightings": taken(scene, -5)}
    found = scene.go(2).of()
    assert set(found) == {f"GangFailed {gang_id('llm')}", f"PortHeld c1/host/{H0}"}
    finding = found[f"PortHeld c1/host/{H0}"]
    assert finding.text == "llm-0 could not listen at port 8476: who holds it is not known"
    assert finding.evidence[-1].value == 0.0
    assert set(scene.go(20).of()) == {f"GangFailed {gang_id('llm')}"}


# ── another machine under this name ───────────────────────────────────────────────────────────────────────────────────


def numbered(instance: str = "1001") -> Scene:
    """Give a cluster of which one node and its agent tell the provider's id as a number."""
    scene = Scene()
    host = HostId("c1", H0)
    scene.fleet = replace(scene.fleet, hosts={**scene.fleet.hosts, host: replace(scene.fleet.hosts[host], instance_id="1001")})
    scene[H0].instance_id = instance
    return scene


def unclear(scene: Scene, *states: State) -> dict[str, str]:
    return {str(f.part): f.text for f in scene.of(*states).values() if f.kind is Kind.IDENTITY_CONFLICT}


def test_a_new_machine_under_a_dead_ones_name_is_named_and_its_good_health_is_not_believed() -> None:
    """#6445: a dead worker's address went to a new VM, which answered 'healthy' for 16 hours."""
    scene = numbered("2002").go(58)
    assert unclear(scene) == {}
    assert unclear(scene.go(5)) == {f"c1/host/{H0}": "machine 2002 answers for this host, and its node is machine 1001"}
    scene.silent.add(H0)
    assert f"c1/host/{H0}" in unclear(scene.go(5), State.UNKNOWN)
    scene.silent.clear()
    scene[H0].instance_id = "1001"
    scene[H0].seq += 100
    assert f"c1/host/{H0}" in unclear(scene.go(4), State.RESOLVED)


def test_a_boot_that_the_node_does_not_know_is_told_only_after_the_kubelet_had_time_to_tell() -> None:
    scene = Scene().go(3)
    scene[H0].boot_id = "b-2"
    assert unclear(scene.go(30)) == {}
    (text,) = unclear(scene.go(36)).values()
    assert text.startswith("boot b-2 answers for this host, and its node is Ready in boot ")


@pytest.mark.parametrize("instance", ["1001", "gce://project/zone/name", ""])
def test_ids_that_agree_or_cannot_be_compared_are_no_conflict(instance: str) -> None:
    scene = numbered(instance).go(65)
    assert not any("machine" in text for text in unclear(scene).values())


# ── two hosts at one place ────────────────────────────────────────────────────────────────────────────────────────────


def test_two_hosts_that_both_are_worker_0_are_named_and_how_many_are_told_apart() -> None:
    """#8743: 256 machines were healthy, one without a worker index was read as worker 0, and the gang waited for ever."""
    scene, gang = Scene(), gang_id("llm")
    hosts = sorted(name for name in scene.speakers if name.startswith("cube-0"))
    for rank, name in enumerate(hosts):
        scene[name].notes = {"gang": f"{gang}|slice|0|{0 if rank == 5 else rank}"}
    assert unclear(scene.go(12)) == {}
    found = unclear(scene.go(4))
    assert set(found) == {f"c1/host/{hosts[0]}", f"c1/host/{hosts[5]}"}
    assert found[f"c1/host/{hosts[5]}"] == (
        f"says that it is worker 0 of slice slice-0 of llm, and so does {hosts[0]}; 15 of 16 workers of that slice are told apart"
    )
    scene[hosts[5]].notes = {"gang": f"{gang}|slice|0|5"}
    assert unclear(scene.go(4)) == {}


def test_members_without_a_number_or_of_a_gang_that_nobody_shows_are_not_compared_by_it() -> None:
    scene = Scene()
    scene[H0].notes = scene[H1].notes = {"gang": f"{gang_id('llm')}|slice|0|"}
    assert unclear(scene.go(15)) == {}
    scene[H0].notes = scene[H1].notes = {"gang": "no|gang|at|0"}
    assert unclear(scene.go(15)) == {}
    scene[H0].notes = scene[H1].notes = {"gang": "c1/gang/ns/JobSet/unknown|slice|0|0"}
    assert len(unclear(scene.go(18))) == 2
    scene.silent.add(H1)
    assert unclear(scene.go(5)) == {}
    assert len(unclear(scene, State.UNKNOWN)) == 2
