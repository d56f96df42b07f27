"""Cases of production that looked like sick hardware and were none: each names who is to blame, and no hardware."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from sliceward.detectors.finding import Kind, State
from sliceward.detectors.panel import Panel, PanelSize
from sliceward.detectors.run import evaluate
from sliceward.detectors.traps.catalog import TRAPS
from sliceward.topology.gangs import GangState, Member
from sliceward.topology.ids import GangId, HostId
from tests.builders import a_fleet, gang_id
from tests.detectors.frames import START
from tests.detectors.scene import GRACE, Scene

if TYPE_CHECKING:
    from sliceward.detectors.finding import Finding
    from sliceward.topology.fleet import Fleet

ALL = a_fleet().with_cubes(1).with_gang("llm").on("cube-0").build()
GANG = gang_id("llm")
HOSTS = tuple(sorted(host.name for host in ALL.hosts))


def of_kind(scene: Scene, kind: Kind, state: State = State.FIRING) -> list[str]:
    return [finding.text for finding in scene.findings if finding.kind is kind and finding.state is state]


# ── members that disagree ─────────────────────────────────────────────────────────────────────────────────────────────


def gang_that_was_told(*told: str) -> Scene:
    """Give a gang whose hosts were told so, the last word holding for the rest."""
    scene = Scene(ALL)
    for number, name in enumerate(HOSTS):
        scene[name].notes = {"gang": f"{GANG}|slice|0|{number}", "rendezvous": told[min(number, len(told) - 1)]}
    return scene


def test_half_of_a_gang_in_another_attempt_is_the_job() -> None:
    scene = gang_that_was_told("10.0.0.1:8476|0|1", "10.0.0.1:8476|0|1", "10.0.0.2:8476|1|1").go(11)
    assert of_kind(scene, Kind.GANG_DISAGREES) == []
    (text,) = of_kind(scene.go(4), Kind.GANG_DISAGREES)
    assert text.startswith(f"members disagree on the coordinator: 10.0.0.1:8476 on {HOSTS[0]}, {HOSTS[1]}; 10.0.0.2:8476 on ")
    assert [finding.part for finding in scene.findings] == [GANG]
    assert scene.findings[0].gang == GANG


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (("|0|1", "|1|1"), "members disagree on the attempt: 0 on"),
        (("a||3", "a||2"), "members disagree on the number of slices: 3 on"),
        (("a||3",), "members were told of 3 slices, and the gang has 1"),
    ],
)
def test_what_members_disagree_on_is_told(told: tuple[str, ...], why: str) -> None:
    (text,) = of_kind(gang_that_was_told(*told).go(15), Kind.GANG_DISAGREES)
    assert text.startswith(why)


@pytest.mark.parametrize("told", [("a|0|1",), ("a|0|1", "|0|", ""), ("a||many",), ("",)])
def test_members_that_agree_or_say_nothing_are_no_finding(told: tuple[str, ...]) -> None:
    assert of_kind(gang_that_was_told(*told).go(15), Kind.GANG_DISAGREES) == []


def test_a_gang_that_is_formed_anew_is_well_at_once_and_a_start_is_no_disagreement() -> None:
    scene = gang_that_was_told("a|0|1", "b|1|1").go(15)
    assert len(of_kind(scene, Kind.GANG_DISAGREES)) == 1
    for speaker in scene.speakers.values():
        speaker.notes["rendezvous"] = "c|2|1"
    assert of_kind(scene.go(2), Kind.GANG_DISAGREES, State.RESOLVED) != []
    scene[HOSTS[0]].notes["rendezvous"] = "d|3|1"
    assert of_kind(scene.go(8), Kind.GANG_DISAGREES) == []


def test_while_the_odd_member_is_silent_nothing_is_known() -> None:
    scene = gang_that_was_told("a|0|1", "b|1|1").go(15)
    scene.silent.add(HOSTS[0])
    assert len(of_kind(scene.go(5), Kind.GANG_DISAGREES, State.UNKNOWN)) == 1
    scene.silent.clear()
    assert len(of_kind(scene.go(2), Kind.GANG_DISAGREES)) == 1


def test_a_silent_member_of_a_gang_that_agreed_is_no_finding() -> None:
    scene = gang_that_was_told("a|0|1").go(3)
    scene.silent.add(HOSTS[0])
    scene.go(5)
    assert not any(finding.kind is Kind.GANG_DISAGREES for finding in scene.findings)


def test_a_host_that_holds_no_member_any_more_has_no_word() -> None:
    scene = gang_that_was_told("a|0|1", "b|1|1")
    members = tuple(one for one in ALL.gangs[GANG].members if one.host is None or one.host.name != HOSTS[0])
    scene.fleet = replace(ALL, gangs={GANG: replace(ALL.gangs[GANG], members=members)})
    assert of_kind(scene.go(15), Kind.GANG_DISAGREES) == []


def test_a_gang_that_is_gone_is_remembered_no_more_and_one_of_its_name_begins_anew() -> None:
    scene = gang_that_was_told("a|0|1", "b|1|1").go(15)
    assert len(of_kind(scene, Kind.GANG_DISAGREES)) == 1
    scene.fleet = replace(ALL, gangs={GANG: replace(ALL.gangs[GANG], uid="another")})
    assert of_kind(scene.go(8), Kind.GANG_DISAGREES) == []
    assert len(of_kind(scene.go(8), Kind.GANG_DISAGREES)) == 1
    for speaker in scene.speakers.values():
        del speaker.notes["gang"]
    scene.go(1)
    assert not scene.panel.memory.spells
    for name in HOSTS:
        scene[name].notes["gang"] = f"{GANG}|slice|0|0"
    assert of_kind(scene.go(8), Kind.GANG_DISAGREES) == []


# ── short deaths ──────────────────────────────────────────────────────────────────────────────────────────────────────

BAD, FINE = HostId("c1", HOSTS[0]), tuple(HostId("c1", name) for name in HOSTS[1:4])
JOBS = tuple(GangId("c1", "default", "JobSet", f"job-{number}") for number in range(4))


def cluster(*running: tuple[GangId, dict[HostId, tuple[str, str]]]) -> Fleet:
    """Give a fleet of gangs whose members stand so: host -> (uid, how it is)."""
    gangs = {}
    for gang, members in running:
        made = tuple(
            Member(f"{uid}-pod", uid, "slice", 0, None, host, ready=True, terminating="going" in state, ended="ended" in state)
            for host, (uid, state) in members.items()
        )
        gangs[gang] = replace(ALL.gangs[GANG], id=gang, members=made)
    return replace(ALL, gangs=gangs)


@dataclass(frozen=True)
class How:
    """How an attempt goes. ``others``: how its peers stand at its end; ``before``: at its beginning."""

    ends: str = "ended"
    lives: float = 20.0
    others: str = ""
    before: str = ""
    state: GangState = GangState.RUNNING


class Story:
    """Rounds of 10 s over changing fleets."""

    def __init__(self) -> None:
        self.panel, self.now = Panel("c1", PanelSize(10.0, 60)), START
        self.findings: tuple[Finding, ...] = ()
        self.panel.advance(self.now)

    def look(self, fleet: Fleet, *, after: float = 10.0) -> list[str]:
        self.now += after
        self.panel.advance(self.now)
        self.findings = evaluate(self.panel, (), fleet, grace=GRACE, previous=self.findings)
        return [str(f.part) for f in self.findings if f.kind is Kind.SHORT_DEATHS and f.state is State.FIRING]

    def attempt(self, gang: GangId, turn: int, how: How | None = None) -> list[str]:
        """Let one attempt of a gang begin and end on the bad host."""
        how = how or How()

        def standing(bad: str, rest: str) -> dict[HostId, tuple[str, str]]:
            return {BAD: (f"{gang.name}-{turn}", bad)} | {host: (f"{gang.name}-{turn}-{host.name}", rest) for host in FINE}

        self.look(cluster((gang, standing("", how.before))))
        fleet = cluster((gang, standing(how.ends, how.others)))
        fleet = replace(fleet, gangs={gang: replace(fleet.gangs[gang], state=how.state)})
        return self.look(fleet, after=how.lives)


def test_a_host_on_which_attempts_of_different_gangs_die_alone_is_named() -> None:
    story = Story()
    assert story.attempt(JOBS[0], 0) == []
    assert story.attempt(JOBS[0], 1) == []
    assert story.attempt(JOBS[1], 2) == [str(BAD)]
    (finding,) = [f for f in story.findings if f.kind is Kind.SHORT_DEATHS]
    assert finding.text == "3 attempts of 2 gangs died here within 20 s while their peers went on"
    assert (finding.evidence[0].value, finding.evidence[0].limit) == (3, 3)
    assert story.look(cluster(), after=3700) == []


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(How(lives=61.0), id="they lived for a minute"),
        pytest.param(How(ends="going"), id="they were told to go"),
        pytest.param(How(ends="ended going"), id="they ended when told to go"),
        pytest.param(How(others="ended"), id="their peers died too"),
        pytest.param(How(before="ended", others="ended"), id="their peers died before"),
        pytest.param(How(state=GangState.FINISHED), id="they were done"),
        pytest.param(How(ends=""), id="they did not die"),
    ],
)
def test_what_is_no_black_hole(how: How) -> None:
    story = Story()
    assert [story.attempt(gang, turn, how) for turn, gang in enumerate(JOBS)] == [[]] * 4


def test_one_gang_that_dies_is_its_program() -> None:
    story = Story()
    assert [story.attempt(JOBS[0], turn) for turn in range(5)] == [[]] * 5


def test_what_had_ended_before_anybody_looked_counts_for_nothing() -> None:
    ended = [(gang, {BAD: (gang.name, "ended")}) for gang in JOBS]
    story = Story()
    assert story.look(cluster(*ended)) == []
    assert story.look(cluster(*ended)) == []


def test_a_pod_that_began_and_ended_between_two_looks_died_at_once() -> None:
    story = Story()
    story.look(cluster())
    for turn, gang in enumerate(JOBS[:3]):
        named = story.look(cluster((gang, {BAD: (f"quick-{turn}", "ended")})))
    assert named == [str(BAD)]


def test_a_pod_without_a_place_or_a_name_is_left_out() -> None:
    story = Story()
    bare = cluster((JOBS[0], {BAD: ("", "ended")}))
    assert story.look(bare) == []
    assert story.look(bare) == []


def test_a_trap_has_words_for_its_page_and_few_accuse_hardware() -> None:
    for name, trap in TRAPS.items():
        assert name == trap.name
        assert trap.about
        assert trap.limits
        assert trap.sources
        assert trap.advice
        assert trap.accuses is (trap.kind in {Kind.CHIP_FATAL, Kind.CHIP_HUNG})
