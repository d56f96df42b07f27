"""All members run, and no step comes: what the gang waits for is told apart, and no hardware is blamed for it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sliceward.detectors.finding import Kind, State
from sliceward.topology.gangs import GangState
from tests.builders import a_fleet, gang_id
from tests.detectors.scene import Scene

if TYPE_CHECKING:
    from collections.abc import Mapping

ALL = a_fleet().with_cubes(1).with_gang("llm").on("cube-0").build()
GANG = gang_id("llm")
HOSTS = tuple(sorted(host.name for host in ALL.hosts))
SPINS: Mapping[str, float] = {"chip_duty_cycle_percent": 100, "host_hlo_queue_size": 1}
IDLES: Mapping[str, float] = {"chip_duty_cycle_percent": 0, "host_hlo_queue_size": 0}
COUNTERS = ("compile", "checkpoint", "input", "gc")


class Job:
    """A gang of 16 hosts whose processes report. ``busy``: share of its time that a host spends on something, by activity."""

    def __init__(self) -> None:
        self.scene = Scene(ALL)
        self.busy: dict[tuple[str, str], float] = {}
        self.totals: dict[tuple[str, str], float] = {}
        self.step, self.age, self.stands = 7.0, 0.5, False
        self.has_stepped = True
        for rank, name in enumerate(HOSTS):
            self.scene[name].notes = {"gang": f"{GANG}|slice|0|{rank}"}
            self.scene[name].readings |= SPINS

    def go(self, rounds: int) -> Job:
        for _ in range(rounds):
            self.age = self.age + 10 if self.stands else 0.5
            self.step += 0 if self.stands else 10
            for name in HOSTS:
                said = self.scene[name].readings
                said["host_source_age_reporter_seconds"] = 1.0
                if self.has_stepped:
                    said |= {"host_step": self.step, "host_step_age_seconds": self.age}
                for activity in COUNTERS:
                    key = (name, activity)
                    self.totals[key] = self.totals.get(key, 0.0) + 10 * self.busy.get(key, 0.0)
                    said[f"host_{activity}_seconds_total"] = self.totals[key]
            self.scene.go(1)
        return self

    def stands_still(self, minutes: float = 14.5) -> Job:
        """Let no step come for nearly as long as is believed."""
        self.stands, self.age = True, 60 * minutes
        return self.go(6)

    def says(self, *states: State) -> dict[Kind, str]:
        return {finding.kind: finding.text for finding in self.scene.of(*states).values()}


@pytest.mark.parametrize(
    ("activity", "kind", "words"),
    [
        ("compile", Kind.COMPILE_STALLED, "compile"),
        ("checkpoint", Kind.CHECKPOINT_STALLED, "save a checkpoint"),
        ("input", Kind.INPUT_STARVED, "wait for input"),
    ],
)
def test_one_host_for_which_all_others_spin_is_named_with_what_it_is_at(activity: str, kind: Kind, words: str) -> None:
    """#7344: all members RUNNING, no error, no restart, last step 16.5 minutes ago; 100 % busy was a spinning collective."""
    job = Job().go(3)
    job.busy[HOSTS[3], activity] = 1.0
    job.scene[HOSTS[3]].readings |= IDLES
    job.stands_still()
    (text,) = job.says().values()
    assert set(job.says()) == {kind}
    assert text == f"no step for {job.age:.0f} s: {HOSTS[3]} {words}, and 15 others wait for them: the job, not the hardware"
    (finding,) = job.scene.of().values()
    assert (finding.part, finding.gang) == (GANG, GANG)


def test_before_a_quarter_of_an_hour_nothing_is_said_and_a_step_ends_it() -> None:
    job = Job().go(3)
    job.busy = {(name, "compile"): 0.9 for name in HOSTS}
    assert job.stands_still(13).says() == {}
    assert set(job.go(7).says()) == {Kind.COMPILE_STALLED}
    assert job.says()[Kind.COMPILE_STALLED].endswith(" and 12 more compile: the job, not the hardware")
    job.stands = False
    assert job.go(2).says() == {}
    assert Kind.COMPILE_STALLED in job.says(State.RESOLVED)


def test_what_rules_said_before_the_cause_was_known_is_explained_by_it() -> None:
    job = Job().go(90)
    job.stands = True
    job.go(95)
    assert set(job.says()) == {Kind.COLLECTIVE_STUCK}
    job.busy[HOSTS[0], "checkpoint"] = 1.0
    assert set(job.go(6).says()) == {Kind.CHECKPOINT_STALLED}
    assert job.says(State.RESOLVED)[Kind.COLLECTIVE_STUCK] == f"explained by CheckpointStalled of {GANG}"


def test_a_gang_of_which_one_host_idles_waits_for_its_input_and_is_not_stuck_in_a_collective() -> None:
    job = Job().go(90)
    job.scene[HOSTS[5]].readings |= IDLES
    job.stands = True
    assert set(job.go(95).says()) == {Kind.INPUT_STARVED}


def test_an_activity_of_before_or_a_little_of_one_is_no_cause() -> None:
    job = Job().go(3)
    job.busy[HOSTS[0], "compile"] = 1.0
    job.go(3)
    job.busy[HOSTS[0], "compile"] = 0.4
    job.go(2)
    job.stands_still(20)
    assert Kind.COMPILE_STALLED not in job.says()


def test_while_a_member_is_silent_its_gangs_stall_is_unknown() -> None:
    job = Job().go(3)
    job.busy = {(name, "compile"): 1.0 for name in HOSTS}
    job.stands_still()
    job.scene.silent.add(HOSTS[0])
    job.go(4)
    assert Kind.COMPILE_STALLED in job.says(State.UNKNOWN)


def test_a_gang_that_never_stepped_is_told_after_half_an_hour_with_what_its_hosts_are_at() -> None:
    """07-26: half the gang joined attempt 0's address, half attempt 1's; all 'running', no step."""
    job = Job()
    job.has_stepped = False
    for name in HOSTS[:3]:
        job.scene[name].readings |= IDLES
    job.scene[HOSTS[4]].readings["chip_duty_cycle_percent"] = 50
    assert job.go(175).says() == {}
    assert job.go(10).says() == {
        Kind.NO_FIRST_STEP: (
            f"no first step for {job.scene.now - job.scene.panel.memory.spells[f'no-step/{GANG}']:.0f} s while all members run"
            " (12 spin in a collective; 3 idle with nothing queued; 1 do what nobody tells): the job, not the hardware"
        )
    }
    job.scene.silent.add(HOSTS[9])
    assert Kind.NO_FIRST_STEP in job.go(4).says(State.UNKNOWN)
    job.scene.silent.clear()
    job.has_stepped = True
    assert job.go(2).says() == {}


def test_a_first_step_that_is_waited_for_by_a_compilation_is_its() -> None:
    job = Job()
    job.has_stepped = False
    job.busy = {(name, "compile"): 1.0 for name in HOSTS}
    job.go(185)
    assert set(job.says()) == {Kind.COMPILE_STALLED}
    assert job.says()[Kind.COMPILE_STALLED].startswith("no first step for ")


def test_a_gang_that_is_suspended_or_unknown_stands_still_rightly() -> None:
    job = Job().go(3)
    job.busy = {(name, "compile"): 1.0 for name in HOSTS}
    job.scene.fleet = replace(ALL, gangs={GANG: replace(ALL.gangs[GANG], state=GangState.SUSPENDED)})
    assert job.stands_still(20).says() == {}
    for name in HOSTS:
        job.scene[name].notes = {"gang": "no gang"}
    assert job.go(3).says() == {}


# ── slow steps that are the job's own ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("activity", "words"),
    [
        ("gc", "collecting garbage"),
        ("input", "waiting for input"),
        ("compile", "compiling"),
        ("checkpoint", "saving checkpoints"),
    ],
)
def test_a_host_that_is_slow_for_its_job_is_told_as_the_job(activity: str, words: str) -> None:
    job = Job()
    job.busy[HOSTS[2], activity] = 0.3
    job.busy[HOSTS[1], activity] = 0.1
    assert job.go(28).says() == {}
    job.go(40)
    (text,) = job.says().values()
    assert set(job.says()) == {Kind.JOB_PAUSES}
    assert text == f"{words} takes up to 30% of the time on {HOSTS[2]}: slow steps are the job, not the hardware"
    job.busy.clear()
    assert job.go(60).says() == {}


def test_compiling_before_the_first_step_is_no_pause() -> None:
    job = Job()
    job.has_stepped = False
    job.busy = {(name, "compile"): 1.0 for name in HOSTS}
    job.go(30)
    job.has_stepped = True
    job.busy.clear()
    assert job.go(40).says() == {}


def test_pauses_of_a_gang_that_nobody_shows_or_names_are_left_out() -> None:
    job = Job()
    job.busy = {(name, "gc"): 0.5 for name in HOSTS}
    job.scene.fleet = replace(ALL, gangs={})
    assert job.go(40).says() == {}
    for name in HOSTS:
        job.scene[name].notes = {}
    assert job.go(10).says() == {}
