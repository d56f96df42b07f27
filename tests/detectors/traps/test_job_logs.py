"""Cases of production, replayed from what members of a gang printed: who is named, and that nobody else is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from msgspec import structs

from sliceward.detectors.finding import Kind, State
from sliceward.detectors.sightings import END_NOTE, NOTE, Line, Sighting, to_note
from sliceward.detectors.traps import crashes
from sliceward.topology.gangs import GangState
from sliceward.topology.ids import ChipId, GangId, HostId
from tests.builders import a_fleet, gang_id
from tests.detectors.scene import Scene

if TYPE_CHECKING:
    from sliceward.detectors.finding import Finding

ALL = a_fleet().with_cubes(1).with_gang("llm").on("cube-0").build()
GANG = gang_id("llm")
HOSTS = tuple(sorted(host.name for host in ALL.hosts))
OTHER = GangId("c1", "default", "JobSet", "eval")


def two_programs() -> Scene:
    """Give a cluster whose hosts are of one gang, and that knows of another."""
    return Scene(replace(ALL, gangs={**ALL.gangs, OTHER: replace(ALL.gangs[GANG], id=OTHER)}))


def says(scene: Scene, host: str, *lines: Sighting, gang: GangId = GANG) -> None:
    """Let the log of a member hold these lines, dated in seconds from now by the host's own clock."""
    seat = f"{gang}|slice|0|0"
    told = [
        structs.replace(one, first=one.first + scene.now, last=one.last + scene.now, seat=seat, pod=f"{gang.name}-0")
        for one in lines
    ]
    scene[host].notes = {"gang": seat, NOTE: to_note(told)}


def line(kind: Line, at: float = 0.0, what: str = "", chips: str = "", text: str = "") -> Sighting:
    return Sighting(kind, at, at, 1, what, chips, text=text or f"{kind} was printed")


def found(scene: Scene, kind: Kind, state: State = State.FIRING) -> list[Finding]:
    return [finding for finding in scene.findings if finding.kind is kind and finding.state is state]


def hardware(scene: Scene) -> set[Kind]:
    """Give what is said of hardware."""
    return {finding.kind for finding in scene.findings if finding.state is State.FIRING and not isinstance(finding.part, GangId)}


# ── slice failures ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_who_missed_and_who_reports_are_both_kept_and_are_not_the_same() -> None:
    """The sample of the facts: missed = 38, reporting = 15, first check 20 s after the start."""
    scene = Scene(ALL).go(3)
    member = ALL.gangs[GANG].members[3]
    says(
        scene, HOSTS[0], line(Line.MISSED, -5, member.pod), line(Line.REPORTS, -5, "w-15", "tpu31:pe4:3, tpu31:pe4:2"),
        line(Line.SLICE_FAILURE, -4, "CHIP_DRIVER_ERROR"),
    )  # fmt: skip
    scene.go(2)
    (finding,) = found(scene, Kind.SLICE_FAILURE)
    assert member.host is not None
    assert finding.part == GANG
    assert finding.text == (
        "CHIP_DRIVER_ERROR: the slice fails by a chip fault or an ICI link that is down;"
        f" {member.pod} on {member.host.name} missed health checks; w-15 reports; reporting chips tpu31:pe4:3, tpu31:pe4:2;"
        " suspects are who missed, the reporting chips, the link between"
    )
    assert {one.metric for one in finding.evidence} == {"log: missed", "log: reports", "log: slice_failure"}
    assert hardware(scene) == set()


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("FLAPPING_TASK_ERROR", "back off and try again, it blames nobody"),
        ("SW_INJECT_ERROR", "it blames no hardware"),
        ("INIT_ERROR", "look at the placement and the TPU environment first"),
        ("WORKER_UNAVAILABLE", "look at the one that missed"),
        ("NEW_ERROR", "for a reason that we do not know"),
    ],
)
def test_a_code_says_what_it_means(code: str, why: str) -> None:
    scene = Scene(ALL).go(2)
    says(scene, HOSTS[0], line(Line.SLICE_FAILURE, -1, code), line(Line.REPORTS, -1, "w-1"))
    (finding,) = found(scene.go(2), Kind.SLICE_FAILURE)
    assert why in finding.text
    assert "suspects" not in finding.text
    assert hardware(scene) == set()


def test_without_a_code_the_session_fails_and_later_codes_are_consequences() -> None:
    scene = Scene(ALL).go(2)
    says(scene, HOSTS[0], *[line(Line.MISSED, -9 + number, f"w-{number}") for number in range(6)])
    (finding,) = found(scene.go(2), Kind.SLICE_FAILURE)
    assert finding.text.startswith(
        "the slice's session fails; w-0, w-1, w-2, w-3 and 2 more missed health checks; suspects are who missed"
    )
    says(scene, HOSTS[1], line(Line.SLICE_FAILURE, 1, "WORKER_UNAVAILABLE"), line(Line.SLICE_FAILURE, 2, "FLAPPING_TASK_ERROR"))
    (finding,) = found(scene.go(2), Kind.SLICE_FAILURE)
    assert "; then FLAPPING_TASK_ERROR" in finding.text


def test_pods_in_two_slices_are_told_before_any_hardware() -> None:
    fleet = a_fleet().with_cubes(2).with_gang("llm").on("cube-0").build()
    members = fleet.gangs[GANG].members
    strayed = replace(members[0], host=next(host for host in fleet.hosts if host.name.startswith("cube-1")))
    scene = Scene(replace(fleet, gangs={GANG: replace(fleet.gangs[GANG], members=(strayed, *members[1:]))}))
    says(scene, "cube-0-host-01", line(Line.SLICE_FAILURE, -1, "CHIP_DRIVER_ERROR"))
    (finding,) = found(scene.go(2), Kind.SLICE_FAILURE)
    assert "; but its pods are placed wrongly, which gives the same: " in finding.text


def test_a_member_that_steps_again_ends_it() -> None:
    scene = Scene(ALL).go(2)
    says(scene, HOSTS[0], line(Line.SLICE_FAILURE, -1, "UNKNOWN"), line(Line.PEER_LOST, -1))
    scene[HOSTS[3]].readings["host_step_age_seconds"] = 60.0
    scene.go(2)
    assert (len(found(scene, Kind.SLICE_FAILURE)), len(found(scene, Kind.GANG_FAILED))) == (1, 1)
    scene[HOSTS[3]].readings["host_step_age_seconds"] = 0.5
    scene.go(3)
    assert len(found(scene, Kind.SLICE_FAILURE, State.RESOLVED)) == 1
    assert len(found(scene, Kind.GANG_FAILED, State.RESOLVED)) == 1


def test_lines_of_a_gang_that_is_done_or_that_nobody_shows_are_left_out() -> None:
    scene = Scene(replace(ALL, gangs={GANG: replace(ALL.gangs[GANG], state=GangState.FINISHED)}))
    says(scene, HOSTS[0], line(Line.SLICE_FAILURE), line(Line.PEER_LOST))
    says(scene, HOSTS[1], line(Line.SLICE_FAILURE), line(Line.PEER_LOST), gang=OTHER)
    scene[HOSTS[2]].notes = {NOTE: to_note([line(Line.PEER_LOST, scene.now)])}
    assert scene.go(2).of() == {}


def test_a_note_that_cannot_be_read_is_counted_and_harms_nobody() -> None:
    scene = Scene(ALL)
    for name, bad in zip(HOSTS, ("[", '[{"line":"gone","first":1,"last":1}]', "[1]", "null"), strict=False):
        scene[name].notes = {NOTE: bad}
    says(scene, HOSTS[9], line(Line.SLICE_FAILURE, 0, "UNKNOWN"))
    assert len(found(scene.go(2), Kind.SLICE_FAILURE)) == 1
    assert scene.panel.counts["sightings_set_aside"] > 0


# ── the root of a gang's failure ──────────────────────────────────────────────────────────────────────────────────────


def test_the_root_is_the_earliest_anomaly_and_whoever_tells_of_a_lost_peer_is_no_suspect() -> None:
    scene = Scene(ALL).go(3)
    for name in HOSTS[:-1]:
        says(scene, name, line(Line.PEER_LOST, -2, text='grpc_message:"Socket closed"'))
    says(scene, HOSTS[-1], line(Line.CRASHED, -7, text="RuntimeError: bad batch"))
    (finding,) = found(scene.go(2), Kind.GANG_FAILED)
    assert finding.part == GANG
    assert finding.text.startswith(f"began on {HOSTS[-1]} at ")
    assert finding.text.endswith(
        f": RuntimeError: bad batch; {len(HOSTS) - 1} others tell of a lost peer, which counts against nobody"
    )
    assert hardware(scene) == set()


def test_what_a_process_said_of_its_end_itself_dates_it_too() -> None:
    scene = Scene(ALL).go(3)
    says(scene, HOSTS[0], line(Line.CRASHED, -2, text="XlaRuntimeError: INTERNAL"), line(Line.PEER_LOST, -1))
    says(scene, HOSTS[1], line(Line.CRASHED, -9, text="loss is NaN"))
    scene[HOSTS[1]].notes[END_NOTE] = scene[HOSTS[1]].notes.pop(NOTE)
    (finding,) = found(scene.go(2), Kind.GANG_FAILED)
    assert finding.text.startswith(f"began on {HOSTS[1]} at ")
    assert ": loss is NaN" in finding.text


@pytest.mark.parametrize("wrong", [-300.0, 300.0])
def test_clocks_of_hosts_are_aligned_before_they_are_compared(wrong: float) -> None:
    scene = Scene(ALL)
    off, first = HOSTS[0], HOSTS[1]
    say = scene[off].say
    scene[off].say = lambda at: say(at + wrong)  # type: ignore[method-assign]  # its clock is wrong, and it does not know
    scene.go(3)
    says(scene, off, line(Line.CRASHED, wrong - 2, text="ValueError: second"))
    says(scene, first, line(Line.CRASHED, -8, text="ValueError: first"))
    says(scene, HOSTS[2], line(Line.PEER_LOST, -1))
    (finding,) = found(scene.go(2), Kind.GANG_FAILED)
    assert finding.text.startswith(f"began on {first} at ")
    assert [one.entity for one in finding.evidence] == [f"c1/host/{first}", f"c1/host/{off}"]
    assert finding.evidence[1].value == pytest.approx(6.0, abs=1.0)


def test_a_host_that_died_without_a_word_is_the_root_of_what_its_peers_print() -> None:
    scene = Scene(ALL).go(6)
    scene.silent.add(HOSTS[4])
    scene.go(4)
    for name in HOSTS[:4]:
        says(scene, name, line(Line.PEER_LOST, -1))
    says(scene, HOSTS[5], line(Line.CRASHED, -3, text="XlaRuntimeError: INTERNAL"))
    (finding,) = found(scene.go(2), Kind.GANG_FAILED)
    assert finding.text.startswith(f"began on {HOSTS[4]} at ")
    assert "its agent fell silent" in finding.text


def test_a_fault_of_a_kernel_before_all_that_was_printed_is_the_root() -> None:
    scene = Scene(ALL)
    scene[HOSTS[7]].readings["host_kernel_faults_total"] = 0
    scene.go(6)
    scene[HOSTS[7]].readings["host_kernel_faults_total"] = 1
    scene.go(4)
    says(scene, HOSTS[0], line(Line.PEER_LOST, -1))
    (finding,) = found(scene.go(2), Kind.GANG_FAILED)
    assert finding.text.startswith(f"began on {HOSTS[7]} at ")
    assert "its kernel told of a fault" in finding.text


def test_what_clocks_cannot_tell_apart_is_told_together() -> None:
    scene = Scene(ALL).go(3)
    says(scene, HOSTS[0], line(Line.CRASHED, -4.0, text="E: one"))
    says(scene, HOSTS[1], line(Line.CRASHED, -3.5, text="E: two"))
    says(scene, HOSTS[2], line(Line.PEER_LOST, -1))
    (finding,) = found(scene.go(2), Kind.GANG_FAILED)
    assert f", and within 1 s on {HOSTS[1]}: E: one" in finding.text


def test_where_all_tell_of_lost_peers_those_that_say_nothing_are_named_and_nobody_is_blamed() -> None:
    scene = Scene(ALL).go(2)
    for name in HOSTS[2:]:
        says(scene, name, line(Line.PEER_LOST, -1))
    (finding,) = found(scene.go(2), Kind.GANG_FAILED)
    assert finding.text == (
        f"all that is told is of lost peers ({len(HOSTS) - 2} members), which counts against nobody;"
        f" only {HOSTS[0]}, {HOSTS[1]} printed nothing of the kind"
    )
    assert finding.evidence[0].metric == "log: peer_lost"


def test_an_error_that_is_printed_while_the_gang_goes_on_is_no_failure() -> None:
    scene = Scene(ALL).go(2)
    says(scene, HOSTS[0], line(Line.CRASHED, -1))
    assert scene.go(2).of() == {}


def test_a_failure_of_before_is_not_the_root_of_the_next() -> None:
    scene = Scene(ALL).go(80)
    says(scene, HOSTS[0], line(Line.CRASHED, -780), line(Line.PEER_LOST, -1))
    says(scene, HOSTS[1], line(Line.CRASHED, -5))
    (finding,) = found(scene.go(2), Kind.GANG_FAILED)
    assert finding.text.startswith(f"began on {HOSTS[1]} at ")


# ── chip or compiler ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_one_program_that_ends_at_one_place_again_and_again_proves_nothing() -> None:
    scene = two_programs()
    for _ in range(3):
        says(scene, HOSTS[0], line(Line.CHIP_FATAL, -1, "tpu3:pe2:2"))
        scene.go(2)
    assert found(scene, Kind.CHIP_FATAL) == found(scene, Kind.PROGRAM_FATAL) == []


@pytest.mark.parametrize(
    ("place", "part"),
    [("tpu3:pe2:2", HostId("c1", HOSTS[0])), ("/dev/accel1", ChipId("c1", HOSTS[0], 1)), ("/dev/accel9", HostId("c1", HOSTS[0]))],
)
def test_the_same_place_with_different_programs_is_the_chip(place: str, part: HostId | ChipId) -> None:
    scene = two_programs()
    says(scene, HOSTS[0], line(Line.CHIP_FATAL, -1, place))
    scene.go(2)
    says(scene, HOSTS[0], line(Line.CHIP_FATAL, -1, place), gang=OTHER)
    (finding,) = found(scene.go(2), Kind.CHIP_FATAL)
    assert finding.part == part
    assert finding.text == f"errors of a chip ended 2 different programs here at {place}: the chip, not the programs"
    assert found(scene, Kind.PROGRAM_FATAL) == []


def test_different_places_of_a_host_are_different_places() -> None:
    scene = two_programs()
    says(scene, HOSTS[0], line(Line.CHIP_FATAL, -1, "tpu3:pe2:2"))
    scene.go(2)
    says(scene, HOSTS[0], line(Line.CHIP_FATAL, -1, "tpu3:pe2:3"), gang=OTHER)
    assert found(scene.go(2), Kind.CHIP_FATAL) == []


def test_the_same_program_at_different_places_is_the_compiler() -> None:
    scene = two_programs()
    says(scene, HOSTS[0], line(Line.CHIP_FATAL, -1, "tpu3:pe2:2"))
    scene.go(2)
    says(scene, HOSTS[5], line(Line.CHIP_FATAL, -1, "tpu9:pe1:0"))
    (finding,) = found(scene.go(2), Kind.PROGRAM_FATAL)
    assert finding.part == GANG
    assert (
        finding.text
        == f"errors of chips ended this program on 2 hosts ({HOSTS[0]}, {HOSTS[5]}): the compiler or the program, not the chips"
    )
    assert hardware(scene) == set()


def test_a_machine_that_was_replaced_begins_anew() -> None:
    scene = two_programs()
    says(scene, HOSTS[0], line(Line.CHIP_FATAL, -1, "tpu3:pe2:2"))
    scene.go(2)
    scene[HOSTS[0]].instance_id, scene[HOSTS[0]].boot_id = "another", "b-2"
    says(scene, HOSTS[0], line(Line.CHIP_FATAL, -1, "tpu3:pe2:2"), gang=OTHER)
    assert found(scene.go(2), Kind.CHIP_FATAL) == []


def test_crashes_are_forgotten_after_a_day_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = two_programs()
    says(scene, HOSTS[0], line(Line.CHIP_FATAL, -1, "tpu3:pe2:2"))
    scene.go(2)
    scene[HOSTS[0]].notes = {}
    scene.now += 24 * 3600.0
    scene.go(1)
    assert scene.panel.memory.crashes == {}
    monkeypatch.setattr(crashes, "MOST", 2)
    for place in ("a", "b", "c"):
        says(scene, HOSTS[0], line(Line.CHIP_FATAL, -1, place))
        scene.go(2)
    assert sorted(crash.place for crash in scene.panel.memory.crashes) == ["b", "c"]


# ── a hang is a symptom ───────────────────────────────────────────────────────────────────────────────────────────────

WORKER = ALL.gangs[GANG].members[3]


def digest(counter: str, *more: Sighting, who: str = WORKER.pod) -> tuple[Sighting, ...]:
    return line(Line.HANG_CHIP, -3), line(Line.CULPRIT, -3, who), line(Line.COUNTER, -3, who, counter), *more


def test_one_digest_that_suspects_a_chip_is_a_suspicion_and_the_same_host_after_a_restart_counts() -> None:
    scene = Scene(ALL).go(2)
    says(scene, HOSTS[0], *digest("0x1f0"))
    (finding,) = found(scene.go(2), Kind.CHIP_HUNG)
    assert finding.part == WORKER.host
    assert (
        finding.text == f"Megascale suspects a bad chip at {WORKER.pod} in a hang of llm: once, which is a suspicion and no more"
    )
    (again,) = found(scene.go(1), Kind.CHIP_HUNG)
    assert again.text == finding.text
    seat = f"{GANG}|slice|0|0"
    told = [
        structs.replace(one, first=scene.now - 1, last=scene.now - 1, seat=seat, pod="llm-next-attempt")
        for one in digest("0x1f0")
    ]
    scene[HOSTS[0]].notes = {"gang": seat, NOTE: to_note(told)}
    (finding,) = found(scene.go(2), Kind.CHIP_HUNG)
    assert finding.text.endswith(": 2 hangs in a day name this host: let a burn-in decide")
    assert hardware(scene) == {Kind.CHIP_HUNG}
    scene[HOSTS[0]].notes = {}
    scene.now += 25 * 3600.0
    scene.go(1)
    assert scene.panel.memory.hangs == {}


def test_a_program_counter_of_0_waits_for_its_input_whatever_the_digest_suspects() -> None:
    scene = Scene(ALL).go(2)
    says(scene, HOSTS[0], *digest("0x0"))
    (finding,) = found(scene.go(2), Kind.INPUT_STARVED)
    assert finding.part == GANG
    assert finding.text == f"it hangs with a program counter of 0 on {WORKER.pod}: it waits for its input, not for the hardware"
    assert hardware(scene) == set()


def test_programs_that_differ_are_the_job_whatever_else_the_digest_says() -> None:
    scene = Scene(ALL).go(2)
    says(scene, HOSTS[0], *digest("0x1f0", line(Line.HANG_PROGRAM, -3)))
    (finding,) = found(scene.go(2), Kind.PROGRAMS_DIFFER)
    assert (finding.part, hardware(scene)) == (GANG, set())
    assert f"the digest names {WORKER.pod}" in finding.text


def test_a_digest_that_names_nobody_of_the_gang_accuses_no_host() -> None:
    scene = Scene(ALL).go(2)
    says(scene, HOSTS[0], *digest("0x1f0", who="stranger-7"), line(Line.CULPRIT, -2, ""))
    assert scene.go(2).of() == {}
    says(scene, HOSTS[0], line(Line.CULPRIT, -2, WORKER.pod))
    assert scene.go(2).of() == {}
