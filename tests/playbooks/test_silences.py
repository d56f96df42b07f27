"""Silences hold harm and the opening page, never healing, taking back or a resolve; windows follow the clock on the wall."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sliceward.detectors.finding import Kind, State
from sliceward.playbooks import record
from sliceward.playbooks.decide import decide
from sliceward.playbooks.decision import Hold
from sliceward.playbooks.explain import explain
from sliceward.playbooks.incident import How, Needs, Phase
from sliceward.playbooks.silences import Matches, Once, Silence, Stand, Weekly, Window, covering, silence_id
from sliceward.remediations.outcome import Failed
from sliceward.remediations.page import PageEvent
from sliceward.topology.ids import CubeId, HostId
from tests.builders import NOW
from tests.playbooks.stage import LINK, Stage, a_finding, chip, done, seconds
from tests.playbooks.test_modes import APPROVED

if TYPE_CHECKING:
    from sliceward.detectors.finding import Finding
    from sliceward.playbooks.run import Call
    from sliceward.remediations.outcome import Outcome

BERLIN = ZoneInfo("Europe/Berlin")
HOUR = timedelta(hours=1)


def a_silence(*, lasts: timedelta = HOUR, begins: datetime = NOW, **matches: tuple[str, ...]) -> Silence:
    return Silence("sil-1", Matches(**(matches or {"cubes": ("cube-0",)})), begins, begins + lasts, "ada", "new optics", begins)


# ── what is covered ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("matches", "covered"),
    [
        ({"hosts": ("cube-0-host-07",)}, True),
        ({"hosts": ("c1/host/cube-0-host-07",)}, True),
        ({"hosts": ("cube-1-*", "cube-0-host-1?")}, True),
        ({"hosts": ("c1/host/*",)}, True),
        ({"hosts": ("cube-1-host-07",)}, False),
        ({"hosts": ("c2/*",)}, False),
        ({"hosts": ("cube-0",)}, False),
        ({"hosts": ("CUBE-0-*",)}, False),
        ({"cubes": ("cube-0",)}, True),
        ({"cubes": ("c1/cube/cube-0",)}, True),
        ({"cubes": ("cube-[1-9]",)}, False),
        ({"cubes": ("cube-0",), "gangs": ("default/llm",)}, True),
        ({"gangs": ("default/llm",)}, True),
        ({"gangs": ("c1/gang/default/JobSet/llm",)}, True),
        ({"gangs": ("default/*",)}, True),
        ({"gangs": ("default/vision",)}, False),
        ({"playbooks": ("ici-link-in-cube",)}, True),
        ({"playbooks": ("ici-*",)}, True),
        ({"playbooks": ("host-or-chip-lost",)}, False),
        ({"cubes": ("cube-0",), "playbooks": ("ici-*",)}, True),
        ({"cubes": ("cube-0",), "playbooks": ("host-*",)}, False),
        ({"cubes": ("cube-1",), "playbooks": ("ici-*",)}, False),
        ({}, False),
    ],
    ids=str,
)
def test_a_silence_holds_what_it_names_and_nothing_else(matches: dict[str, tuple[str, ...]], covered: bool) -> None:  # noqa: FBT001 (a table)
    silence = replace(a_silence(), matches=Matches(**matches))
    stage = Stage(more={"silences": (silence,)}).see(LINK).play(15)
    assert (stage.actions == []) is covered
    guard = next(one for one in stage.decisions[0].guards if one.name == "not-silenced")
    assert guard.ok is not covered
    assert covered is bool(stage.incident.silenced)


def test_a_hold_says_who_silenced_it_why_and_until_when_and_ends_with_it() -> None:
    silence = a_silence()
    stage = Stage(more={"silences": (silence,)}).see(LINK).play(15)
    text = "silenced by sil-1 of ada until 2026-09-01 13:00 UTC: new optics"
    assert (stage.incident.phase, stage.incident.needs, stage.incident.why) == (Phase.HELD, Needs.NOTHING, text)
    assert stage.decisions[0].silenced == text
    stage.fold()
    verdict = decide(stage.incident, None, stage.book, stage.world(), stage.now).verdict
    assert isinstance(verdict, Hold)
    assert verdict.until == silence.ends
    row = record.plain(stage.decisions[0]) | {"outcome": "hold", "why": text}
    told = explain(record.incident_row(stage.incident) | {"decisions": [row], "timeline": [], "steps": [], "pages": []})
    assert f"guard not-silenced: NO, {text}" in told


@pytest.mark.parametrize(
    ("begins", "lasts", "acts"),
    [(timedelta(0), HOUR, False), (HOUR, HOUR, True), (-2 * HOUR, HOUR, True)],
    ids=["in force", "still to come", "over"],
)
def test_a_silence_holds_only_while_it_is_in_force(begins: timedelta, lasts: timedelta, acts: bool) -> None:  # noqa: FBT001 (a table)
    stage = Stage(more={"silences": (a_silence(begins=NOW + begins, lasts=lasts),)}).see(LINK).play(15)
    assert bool(stage.actions) is acts


def test_of_several_the_one_that_lasts_longest_holds() -> None:
    short, long = a_silence(), replace(a_silence(lasts=3 * HOUR), id="sil-2")
    stage = Stage(more={"silences": (long, short)}).see(LINK).play(15)
    assert "sil-2" in stage.incident.why


def test_one_that_was_ended_early_holds_no_more() -> None:
    stage = Stage(more={"silences": (a_silence(),)}).see(LINK).play(15)
    stage.more["silences"] = (replace(a_silence(), ended=stage.now, ended_by="bob", ended_why="done"),)
    stage.play(3)
    assert stage.actions != []
    assert stage.incident.silenced == ""


# ── what is never held ────────────────────────────────────────────────────────────────────────────────────────────────


def test_invariant_10_a_silence_stops_harm_and_never_healing() -> None:
    silenced = {"silences": (a_silence(lasts=20 * HOUR),)}
    moving = Stage().see(LINK).until("gang.suspend")
    moving.more |= silenced
    moving.play(30)
    assert moving.actions[-1] == "gang.verify", "a gang that we stopped runs again; the repair waits"
    assert moving.incident.phase is Phase.HELD
    moving.more["silences"] = ()
    moving.become(State.UNKNOWN).play(30)
    assert moving.incident.how is How.HEALED
    repaired = Stage().see(LINK).until("host.repair")
    repaired.more |= silenced
    repaired.become(State.UNKNOWN).play(30)
    assert repaired.incident.how is How.HEALED, "what is repaired is proven and given back under a silence"


def test_a_silence_never_holds_taking_back() -> None:
    stage = Stage().see(LINK).until("domain.mark")
    stage.more["silences"] = (a_silence(lasts=20 * HOUR),)
    stage.play(3)
    assert "gang.suspend" not in stage.actions
    stage.become(State.RESOLVED).play(10)
    assert stage.actions[-1] == "domain.give_back"
    assert stage.incident.how is How.RESOLVED_ITSELF
    assert [page.event for page in stage.pages] == [PageEvent.TRIGGER, PageEvent.RESOLVE], "a resolve always goes out"


def test_while_it_is_silenced_nobody_is_asked_for_approval() -> None:
    stage = Stage(book=APPROVED, more={"silences": (a_silence(),)}).see(LINK).play(15)
    needs = [stage.incident.needs]
    stage.more["silences"] = ()
    stage.play(3)
    needs.append(stage.incident.needs)
    assert needs == [Needs.NOTHING, Needs.APPROVAL]


# ── pages ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_silenced_incident_opens_its_page_when_the_silence_ends() -> None:
    stage = Stage(more={"silences": (a_silence(lasts=timedelta(minutes=30)),)}).see(LINK).play(29, seconds(60))
    assert stage.pages == []
    stage.play(3, seconds(60))
    assert [page.event for page in stage.pages] == [PageEvent.TRIGGER]


def test_what_is_over_before_the_silence_ends_is_no_page_at_all() -> None:
    stage = Stage(more={"silences": (a_silence(),)}).see(LINK).play(20, seconds(30))
    stage.become(State.RESOLVED).play(5)
    assert stage.incident.how is How.RESOLVED_ITSELF
    assert stage.incident.silenced == ""
    assert stage.pages == []


@pytest.mark.parametrize(
    "finding",
    [
        a_finding(Kind.TELEMETRY_LOST, HostId("c1", "cube-0-host-03")),
        a_finding(Kind.CHIP_THROTTLED, chip("cube-0-host-03")),
        a_finding(Kind.SLICE_MIXED, CubeId("c1", "cube-0")),
    ],
    ids=["a playbook without harm", "one that hands over", "no playbook"],
)
def test_what_harms_nobody_goes_on_in_silence_and_pages_afterwards(finding: Finding) -> None:
    loud, quiet = Stage(), Stage(more={"silences": (a_silence(lasts=timedelta(minutes=40)),)})
    for stage in (loud, quiet):
        stage.see(finding).play(30, seconds(60))
    assert quiet.actions == loud.actions
    assert (len(loud.pages), len(quiet.pages)) == (1, 0)
    assert "silenced by sil-1" in quiet.decisions[0].silenced
    quiet.play(20, seconds(60))
    assert len(quiet.pages) == 1


def test_the_record_tells_of_a_page_that_waits() -> None:
    stage = Stage(more={"silences": (a_silence(),)}).see(a_finding(Kind.SLICE_MIXED, CubeId("c1", "cube-0"))).play(5, seconds(60))
    assert any("no page yet: silenced by sil-1" in entry.text for entry in stage.entries)


def test_a_run_that_stops_for_a_human_half_way_is_told_in_a_silence_too() -> None:
    stage = Stage().see(LINK).until("gang.suspend")
    stage.more["silences"] = (a_silence(lasts=20 * HOUR),)

    def fails(call: Call) -> Outcome:
        return Failed("the quota is gone") if call.step.action == "gang.resume" else done(call)

    stage.answer = fails
    stage.play(30)
    assert stage.incident.needs is Needs.HUMAN
    assert len(stage.pages) == 2


# ── windows ───────────────────────────────────────────────────────────────────────────────────────────────────────────

SATURDAY = Weekly(frozenset({5}), time(2), time(6), BERLIN)


def window(when: Weekly | Once) -> Window:
    return Window("power", Matches(cubes=("cube-0",)), "power work", when)


@pytest.mark.parametrize(
    ("when", "now", "begins", "ends"),
    [
        (SATURDAY, "2026-06-06T00:30:00Z", "2026-06-06T00:00:00Z", "2026-06-06T04:00:00Z"),
        (SATURDAY, "2026-06-06T04:00:00Z", "2026-06-13T00:00:00Z", "2026-06-13T04:00:00Z"),
        (SATURDAY, "2026-12-05T00:59:59Z", "2026-12-05T01:00:00Z", "2026-12-05T05:00:00Z"),
        # Over midnight: Saturday's occurrence is in force on Sunday morning.
        (replace(SATURDAY, begins=time(22)), "2026-06-07T03:00:00Z", "2026-06-06T20:00:00Z", "2026-06-07T04:00:00Z"),
        # From a midnight to the next.
        (replace(SATURDAY, begins=time(0), ends=time(0)), "2026-06-06T12:00:00Z", "2026-06-05T22:00:00Z", "2026-06-06T22:00:00Z"),
        # Clocks go forward at 2:00 on 29 March 2026: three hours of the clock are two.
        (replace(SATURDAY, days=frozenset({6}), begins=time(1), ends=time(4)), "2026-03-28T12:00:00Z",
         "2026-03-29T00:00:00Z", "2026-03-29T02:00:00Z"),
        # 2:30 is never on that night: the earlier reading begins, the later one ends.
        (replace(SATURDAY, days=frozenset({6}), begins=time(2, 30), ends=time(3, 30)), "2026-03-28T12:00:00Z",
         "2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z"),
        # Clocks go back at 3:00 on 25 October 2026: 2:30 is twice, and both count.
        (replace(SATURDAY, days=frozenset({6}), begins=time(2), ends=time(2, 30)), "2026-10-24T12:00:00Z",
         "2026-10-25T00:00:00Z", "2026-10-25T01:30:00Z"),
    ],
    ids=["in force", "over until next week", "in winter", "over midnight", "a whole day", "forward", "never", "twice"],
)  # fmt: skip
def test_a_weekly_window_is_in_force_by_the_clock_on_the_wall(when: Weekly, now: str, begins: str, ends: str) -> None:
    found = window(when).occurrence(datetime.fromisoformat(now))
    assert (found.begins, found.ends) == (datetime.fromisoformat(begins), datetime.fromisoformat(ends))
    assert found.text.startswith("silenced by window power until ")


ZONES = st.sampled_from(
    ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC", "Africa/Casablanca"]
)
TIMES = st.times(timezones=st.none()).map(lambda at: at.replace(second=0, microsecond=0))


@given(
    ZONES,
    TIMES,
    TIMES,
    st.sets(st.integers(0, 6), min_size=1),
    st.datetimes(datetime(2020, 1, 1), datetime(2037, 1, 1)),  # noqa: DTZ001 (made aware below)
)
@settings(max_examples=400)
def test_a_window_is_in_force_whenever_the_wall_says_so(
    zone: str, begins: time, ends: time, days: set[int], at: datetime
) -> None:
    now = at.replace(tzinfo=UTC)
    found = window(Weekly(frozenset(days), begins, ends, ZoneInfo(zone))).occurrence(now)
    assert found.begins < found.ends
    assert found.ends > now
    assert found.ends - found.begins <= timedelta(hours=25)
    wall = now.astimezone(ZoneInfo(zone))
    clock, day = wall.time().replace(fold=0), wall.weekday()
    if begins < ends:
        shown = day in days and begins <= clock < ends
    else:
        shown = (day in days and clock >= begins) or ((day - 1) % 7 in days and clock < ends)
    if shown:
        assert found.stand(now) is Stand.ACTIVE


def test_a_window_that_happens_once_is_over_afterwards() -> None:
    once = window(Once(NOW, NOW + HOUR))
    stands = [once.occurrence(NOW + at).stand(NOW + at) for at in (-HOUR, timedelta(0), HOUR)]
    assert stands == [Stand.PENDING, Stand.ACTIVE, Stand.ENDED]


def test_a_window_holds_as_a_silence_does() -> None:
    found = window(Once(NOW, NOW + HOUR)).occurrence(NOW)
    stage = Stage(more={"silences": (found,)}).see(LINK).play(15)
    assert stage.actions == []
    assert stage.incident.why == "silenced by window power until 2026-09-01 13:00 UTC: power work"


# ── as values ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.lists(st.text(st.sampled_from("ab*?[]!-/\\.^$+("), max_size=12), max_size=4))
def test_any_pattern_can_be_asked(patterns: list[str]) -> None:
    matches = Matches(hosts=tuple(patterns))
    assert matches.fits("hosts", ["a" * 300 + "b"]) in (True, False)
    if "**" in patterns or "*" in patterns:
        assert matches.fits("hosts", ["anything"])


def test_two_silences_of_one_person_have_two_ids_and_print_what_they_match() -> None:
    matches = Matches(hosts=("a", "b-*"), playbooks=("p",))
    ids = {silence_id(matches, NOW, NOW + HOUR, by="ada", made=NOW + n * HOUR) for n in range(2)}
    assert len(ids) == 2
    assert str(matches) == "hosts a, b-*; playbooks p"


def test_nothing_is_covered_by_nothing() -> None:
    stage = Stage().see(LINK).play(1)
    assert decide(stage.incident, None, stage.book, stage.world(), stage.now).silenced == ""
    assert covering((), None, NOW) is None  # type: ignore[arg-type]  # never asked


def test_an_incident_of_before_there_were_silences_is_read() -> None:
    stage = Stage().see(LINK).play(3)
    body = record.text(stage.incident).replace('"silenced":"",', "").replace(',"silenced":""', "")
    assert "silenced" not in body
    assert record.incident(body) == stage.incident
