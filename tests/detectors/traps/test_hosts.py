"""Cases of production in which a host looked well and was not, or looked sick and was another."""

from __future__ import annotations

from sliceward.detectors.finding import Kind, State
from tests.builders import a_fleet
from tests.detectors.scene import H0, Scene

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
