"""What a rule may say beyond a single condition: units, hysteresis, for, sequence, overrides, silences; and what is refused where."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from sliceward.detectors.clauses import evidence, judge
from sliceward.detectors.look import NO, UNKNOWN, YES, Look
from sliceward.detectors.panel import Panel, PanelSize
from sliceward.detectors.rules import Rule, load_rules
from sliceward.detectors.rules.load import is_rules, read_rules
from sliceward.detectors.rules.units import in_unit
from sliceward.topology.errors import Misconfigured
from sliceward.topology.ids import HostId
from tests.builders import a_fleet
from tests.detectors.frames import START, Speaker
from tests.detectors.scene import Scene, shipped

NAN = float("nan")
RULE = """\
- name: hot
  kind: ChipThrottled
  part: host
  severity: warning
  says: hot
  when: {when}
"""


def rule_of(when: str, more: str = "") -> Rule:
    (rule,) = load_rules({"t.yaml": RULE.replace("{when}", when) + more})
    return rule


@dataclass
class Watched:
    """One rule over hosts that say what they are told to, round by round."""

    rule: Rule
    hosts: tuple[str, ...] = ("n1",)
    now: float = START
    panel: Panel = field(default_factory=lambda: Panel("c1", PanelSize(10.0, 60)))

    def __post_init__(self) -> None:
        self.speakers = {name: Speaker(name, readings={}) for name in self.hosts}

    def say(self, **readings: float) -> int:
        """Let every host say so once; give the verdict on the first."""
        self.now += 10
        self.panel.advance(self.now)
        for speaker in self.speakers.values():
            speaker.readings = dict(readings)
            self.panel.put(speaker.say(self.now), self.now)
        return self.verdict()

    def verdict(self, host: str = "n1") -> int:
        self.verdicts = judge(Look.at(self.panel, grace=60), self.rule)
        return int(self.verdicts[self.panel.slots[host]])


BUSY = '{threshold: {metric: host_cpu_percent, op: ">=", value: 90 %, k: 1, n: 1}'
FULL = '{threshold: {metric: host_memory_percent, op: ">=", value: 90, k: 1, n: 1}}'


# ── units ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("written", "unit", "value"),
    [
        (5, "seconds", 5),
        ("5", "seconds", 5),
        ("15m", "seconds", 900),
        ("1.5 h", "seconds", 5400),
        ("20 ms", "microseconds", 20_000),
        ("3 seconds", "seconds", 3),
        ("8 GiB", "bytes", 2**33),
        ("2 GB", "bytes", 2e9),
        ("2 %", "percent", 2),
        ("2 percent", "percent", 2),
        ("10 Gbit/s", "megabits per second", 10_000),
        ("1 error", "errors", 1),
        ("-1e-3", "1", -0.001),
    ],
)
def test_limits_are_told_in_the_unit_of_the_metric(written: object, unit: str, value: float) -> None:
    assert in_unit(written, unit) == pytest.approx(value)


@pytest.mark.parametrize(
    ("written", "unit", "why"),
    [
        ("soon", "seconds", "no limit: write a number"),
        (True, "seconds", "no limit"),
        ([1], "seconds", "no limit"),
        ("5 %", "seconds", "cannot become seconds"),
        ("5 GiB", "1", "bare number"),
        (float("nan"), "1", "finite"),
        ("1e999", "1", "finite"),
    ],
)
def test_a_limit_of_another_unit_is_refused(written: object, unit: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        in_unit(written, unit)


# ── for ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_for_wants_the_condition_to_hold_so_long_without_a_break() -> None:
    watched = Watched(rule_of(BUSY + ", for: 30s}"))
    assert [watched.say(host_cpu_percent=9) for _ in range(4)][-1] == NO
    assert [watched.say(host_cpu_percent=99) for _ in range(4)] == [NO, NO, NO, YES]
    assert [watched.say(host_cpu_percent=9) for _ in range(3)][-1] == NO
    assert [watched.say(host_cpu_percent=99) for _ in range(4)] == [NO, NO, NO, YES]


def test_for_is_not_broken_and_not_filled_by_a_time_in_which_nothing_is_known() -> None:
    watched = Watched(rule_of(BUSY + ", for: 30s}"))
    for _ in range(3):
        watched.say(host_cpu_percent=99)
    silent = [watched.say(host_cpu_percent=NAN) for _ in range(6)]
    assert silent[-1] == UNKNOWN
    assert YES not in silent[2:]
    assert [watched.say(host_cpu_percent=99) for _ in range(2)][-1] == YES


def test_a_round_that_is_judged_twice_counts_once() -> None:
    watched = Watched(rule_of(BUSY + ", for: 30s}"))
    for _ in range(4):
        watched.say(host_cpu_percent=9)
    for _ in range(3):
        watched.say(host_cpu_percent=99)
        assert {watched.verdict() for _ in range(9)} == {NO}


def test_after_a_restart_what_lasts_too_short_yet_is_unknown_for_it_may_have_begun_before() -> None:
    watched = Watched(rule_of(BUSY + ", for: 30s}"))
    assert [watched.say(host_cpu_percent=99) for _ in range(4)] == [UNKNOWN, UNKNOWN, UNKNOWN, YES]


def test_a_stall_of_our_own_is_no_time_in_which_anything_lasted() -> None:
    watched = Watched(rule_of(BUSY + ", for: 5m}"))
    watched.say(host_cpu_percent=99)
    watched.now += 600
    assert watched.say(host_cpu_percent=99) == NO


def test_another_boot_begins_what_lasts_anew() -> None:
    watched = Watched(rule_of(BUSY + ", for: 30s}"))
    for _ in range(3):
        watched.say(host_cpu_percent=99)
    watched.speakers["n1"] = Speaker("n1", boot_id="b-2", agent_start=watched.now, readings={})
    assert [watched.say(host_cpu_percent=99) for _ in range(4)] == [NO, NO, NO, YES]


def test_what_is_remembered_grows_with_the_hosts_and_goes_with_them() -> None:
    watched = Watched(rule_of(BUSY + ", for: 20s}"))
    watched.say(host_cpu_percent=99)
    watched.speakers |= {f"m{n}": Speaker(f"m{n}", readings={}) for n in range(40)}
    watched.say(host_cpu_percent=99)
    assert watched.say(host_cpu_percent=99) == YES
    assert watched.verdict("m39") == NO
    watched.panel.forget("n1")
    assert [watched.say(host_cpu_percent=99), watched.verdict("m39")] == [NO, YES]


# ── hysteresis ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_clear_keeps_a_fault_that_swings_about_its_limit() -> None:
    watched = Watched(rule_of(BUSY.replace("k: 1, n: 1", "clear: 80 %, k: 1, n: 1") + "}"))
    said = [50, 50, 85, 85, 95, 85, 85, 85, 75, 75, 85, 85]
    assert [watched.say(host_cpu_percent=value) for value in said] == [NO] * 4 + [YES] * 5 + [NO] * 3


def test_what_has_not_cleared_is_told_with_the_limit_that_it_must_clear() -> None:
    watched = Watched(rule_of(BUSY.replace("k: 1, n: 1", "clear: 80, k: 1, n: 1") + "}"))
    for value in (95, 85, 85):
        watched.say(host_cpu_percent=value)
    (number,) = evidence(Look.at(watched.panel, grace=60), watched.rule, 0)
    assert (number.value, number.limit) == (85, 80)


# ── sequence ──────────────────────────────────────────────────────────────────────────────────────────────────────────

THEN = f"{{sequence: {{first: {BUSY}}}, then: {FULL}, within: 60s}}}}"


def pairs(watched: Watched, *said: tuple[float, float]) -> list[int]:
    return [watched.say(host_cpu_percent=cpu, host_memory_percent=memory) for cpu, memory in said]


QUIET, FIRST, SECOND, BOTH = (1, 1), (99, 1), (1, 99), (99, 99)


def test_a_sequence_is_the_one_and_then_the_other() -> None:
    assert pairs(Watched(rule_of(THEN)), QUIET, FIRST, QUIET, QUIET, SECOND, SECOND)[-2:] == [YES, YES]


@pytest.mark.parametrize(
    "said",
    [
        pytest.param((*[QUIET] * 7, SECOND, SECOND, FIRST, BOTH), id="the other way round"),
        pytest.param((*[QUIET] * 7, BOTH, BOTH), id="both at once"),
        pytest.param((QUIET, FIRST, *[QUIET] * 8, SECOND, SECOND), id="too late"),
        pytest.param((*[QUIET] * 7, FIRST, FIRST, FIRST), id="only the first"),
    ],
)
def test_no_sequence(said: tuple[tuple[float, float], ...]) -> None:
    assert YES not in pairs(Watched(rule_of(THEN)), *said)


def test_what_may_have_been_first_before_anybody_looked_is_unknown() -> None:
    assert pairs(Watched(rule_of(THEN)), QUIET, SECOND)[-1] == UNKNOWN


def test_a_second_that_is_not_seen_makes_a_sequence_unknown() -> None:
    assert pairs(Watched(rule_of(THEN)), FIRST, (1, NAN), (1, NAN), (1, NAN))[-1] == UNKNOWN


def test_a_sequence_tells_the_numbers_of_both() -> None:
    watched = Watched(rule_of(THEN))
    pairs(watched, QUIET, FIRST, BOTH)
    found = evidence(Look.at(watched.panel, grace=60), watched.rule, 0)
    assert {number.metric for number in found} == {"host_cpu_percent", "host_memory_percent"}


# ── some hosts ────────────────────────────────────────────────────────────────────────────────────────────────────────

OVERRIDES = """\
  overrides:
    - {generations: [v5e], disabled: true}
    - {pools: ["batch-*"], when: {threshold: {metric: host_cpu_percent, op: ">=", value: 50, k: 1, n: 1}}}
    - {hosts: ["n?"], pools: ["*"], when: {threshold: {metric: host_cpu_percent, op: ">=", value: 20, k: 1, n: 1}}}
"""


@pytest.mark.parametrize(
    ("pool", "value", "expected"),
    [("batch-7", 60, YES), ("batch-7", 40, NO), ("live", 30, YES), ("live", 10, NO), ("", 60, NO), ("", 95, YES)],
)
def test_the_first_override_that_fits_a_host_decides(pool: str, value: float, expected: int) -> None:
    builder = a_fleet().with_cubes(1)
    host = "cube-0-host-00"
    fleet = builder.labelled({"cloud.google.com/gke-nodepool": pool or None}, host).build()
    text = OVERRIDES.replace('"n?"', '"cube-0-*"')
    watched = Watched(rule_of(BUSY + "}", text), hosts=(host,))
    watched.now += 10
    watched.panel.advance(watched.now)
    watched.speakers[host].readings = {"host_cpu_percent": value}
    watched.panel.put(watched.speakers[host].say(watched.now), watched.now)
    look = Look.at(watched.panel, grace=60, fleet=fleet)
    assert judge(look, watched.rule)[0] == expected
    assert {number.limit for number in evidence(look, watched.rule, 0)} <= {90, 50, 20}


def test_an_override_by_generation_can_switch_a_rule_off() -> None:
    scene = Scene(a_fleet().with_cubes(1).build())
    name = scene.fleet.hosts[HostId("c1", "cube-0-host-00")].generation
    rule = rule_of(BUSY + "}", f"  overrides: [{{generations: [{name}], disabled: true}}]\n")
    scene["cube-0-host-00"].readings["host_cpu_percent"] = 99
    scene.go(2)
    slot = scene.panel.slots["cube-0-host-00"]
    assert judge(Look.at(scene.panel, grace=60, fleet=scene.fleet), rule)[slot] == NO
    assert judge(Look.at(scene.panel, grace=60), rule)[slot] == YES


def silence(until: datetime, hosts: str = "n*") -> str:
    return f'- {{silence: hot, hosts: ["{hosts}"], until: {until.isoformat()}, why: the fan is replaced}}\n'


def test_a_silenced_rule_knows_nothing_of_its_hosts_until_the_silence_ends() -> None:
    end = datetime.fromtimestamp(START + 25, UTC)
    watched = Watched(rule_of(BUSY + "}", silence(end)), hosts=("n1", "m1"))
    assert watched.say(host_cpu_percent=99) == UNKNOWN
    assert watched.verdict("m1") == YES
    watched.say(host_cpu_percent=99)
    assert watched.say(host_cpu_percent=99) == YES


# ── what is refused, and where ────────────────────────────────────────────────────────────────────────────────────────

BAD = [
    ("  sevrity: error\n", "5:3: hot: sevrity", "did you mean 'severity'"),
    ("  score: high\n", "5:10: hot: score", "valid number"),
    ("  overrides: [{pols: [a], disabled: true}]\n", "5:16: hot: overrides.0.pols", "did you mean 'pools'"),
    ("  overrides: [{pools: [a]}]\n", "5:15: hot: overrides.0", "needs either when"),
    ("  overrides: [{disabled: true}]\n", "5:15: hot: overrides.0", "write generations, pools or hosts"),
    ("  overrides: [{generations: [v5], disabled: true}]\n", "5:29: hot: overrides.0.generations", "no generation 'v5'"),
    ("  silences: []\n", "5:3: hot: silences", "not a key"),
]


@pytest.mark.parametrize(("line", "where", "why"), BAD)
def test_a_bad_line_is_named_with_its_column(line: str, where: str, why: str) -> None:
    text = RULE.replace("{when}", BUSY + "}").replace("  says: hot\n", line + "  says: hot\n")
    error = read_rules({"r.yaml": text}).errors[0]
    assert error.where == f"r.yaml:{where}"
    assert why in error.why


@pytest.mark.parametrize(
    ("when", "column", "why"),
    [
        (BUSY.replace("90 %", "9 GiB") + "}", 65, "cannot become percent"),
        (BUSY.replace("90 %", "900") + "}", 21, "can never be: it is believed from 0 to 100"),
        (BUSY.replace('">=", value: 90 %', '"<", value: 0') + "}", 21, "can never be"),
        (BUSY.replace("k: 1", "clear: 95, k: 1") + "}", 21, "healthy side"),
        (BUSY.replace('">="', '"=="').replace("k: 1", "clear: 95, k: 1") + "}", 21, "healthy side"),
        (BUSY.replace('">="', '"=>"') + "}", 52, "did you mean '>"),
        ("{stalled: {metric: chip_throttle_score, after: 5m}}", 28, "no gauge of a host"),
        (THEN.replace("60s", "0s"), None, "no time at all"),
        (THEN.replace("within", "wihtin"), None, "did you mean 'within'"),
        ("{for: 5m}", 9, "has 0 conditions"),
    ],
)
def test_a_bad_clause_is_named_with_its_column(when: str, column: int | None, why: str) -> None:
    found = read_rules({"r.yaml": RULE.replace("{when}", when)}).errors
    error = next(one for one in found if why in one.why)
    line, place = error.where.split(":")[1:3]
    assert line == "6"
    assert column is None or int(place) == column


def test_all_that_is_wrong_is_told_at_once() -> None:
    texts = {"a.yaml": "a: [", "b.yaml": RULE.replace("{when}", "{}").replace("says", "sys") + "- 5\n", "c.yaml": ""}
    where = [error.where.split(": ")[0] for error in read_rules(texts).errors]
    assert where == ["a.yaml:1:5", "b.yaml:5:3", "b.yaml:6:9", "b.yaml:7:3"]


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("{silence: hott, hosts: [a], until: 2030-01-01T00:00:00Z, why: x}", "did you mean 'hot'"),
        ("{silence: hot, hosts: [a], until: 2030-01-01T00:00:00, why: x}", "timezone"),
        ("{silence: hot, hosts: [a], untill: 2030-01-01T00:00:00Z, why: x}", "did you mean 'until'"),
        ("{silence: hot, until: 2030-01-01T00:00:00Z, why: x}", "says nothing of where"),
    ],
)
def test_a_bad_silence_is_refused(entry: str, why: str) -> None:
    errors = read_rules({"r.yaml": RULE.replace("{when}", BUSY + "}") + f"- {entry}\n"}).errors
    assert any(why in str(error) for error in errors)
    assert all(error.where.startswith("r.yaml:7:") for error in errors)


@pytest.mark.parametrize(
    ("text", "where", "why", "what_to_do"),
    [
        ("- name: x\n\tkind: y\n", "r.yaml:2:1", "cannot start any token", "spaces"),
        ("a: &a [x]\nb: [*a]\n", "r.yaml:2:5", "aliases", "Write out"),
        ("- {name: x, name: y}\n", "r.yaml:1:13", "stands twice", "one of the two"),
        ("[" * 100, "r.yaml:1:25", "too deeply", "at most 24"),
        ("- a\n---\n- b\n", "r.yaml:2:1", "another document", "file of its own"),
        ("- !!python/object/apply:os.system [id]\n", "r.yaml:1:3", "tag", "Leave the tag"),
        ("- name: |\n   a\n   b\0c\n", "r.yaml:3:5", "#x0000", "Take it out"),
        ("#" * 300_000, "r.yaml:1:1", "larger than", "Split it"),
    ],
    ids=["a tab", "a bomb", "a key twice", "a hundred deep", "two documents", "a tag", "NUL", "too large"],
)
def test_what_is_no_yaml_of_ours_is_refused_by_its_place_with_a_way_out(text: str, where: str, why: str, what_to_do: str) -> None:
    (error,) = read_rules({"r.yaml": text}).errors
    assert error.where == where
    assert why in error.why
    assert what_to_do in error.what_to_do


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("  wehn: {}\n", ["wehn: is not a key that is known here; did you mean 'when'?"]),
        ("", ["when: is missing: write when:"]),
        ("  when: [{}]\n", ["when: is a list, and should be keys with values"]),
        ("  when: busy\n", ["when: is 'busy', and should be keys with values"]),
        (f"  when: {BUSY.replace('k: 1', 'k: 2.5')}}}\n", ["k: 2.5 is no whole number"]),
    ],
)
def test_each_mistake_is_told_once_in_words_of_the_file(line: str, why: list[str]) -> None:
    errors = [str(error) for error in read_rules({"r.yaml": RULE.replace("  when: {when}\n", line)}).errors]
    assert len(errors) == len(why)
    assert all(wanted in error for wanted, error in zip(why, errors, strict=True))


def test_a_name_that_is_none_comes_back_as_one_that_would_be() -> None:
    text = RULE.replace("{when}", BUSY + "}")
    (error,) = read_rules({"r.yaml": text.replace("name: hot", "name: Hot Chips!")}).errors
    assert "as in 'hot-chips'" in str(error)
    (error,) = read_rules({"r.yaml": text.replace("name: hot", 'name: "°"')}).errors
    assert "as in 'my-rule'" in str(error)


def test_a_rule_replaces_one_of_another_file_and_never_one_of_its_own() -> None:
    text = RULE.replace("{when}", BUSY + "}")
    read = read_rules({"a.yaml": text, "b.yaml": text})
    assert (read.errors, read.places["hot"]) == ([], "b.yaml:1:3")
    (error,) = read_rules({"a.yaml": text + text}).errors
    assert error.where == "a.yaml:7:9: hot"
    assert "another rule in this file, at a.yaml:1:3" in error.why


def test_a_start_tells_the_first_error() -> None:
    with pytest.raises(Misconfigured, match=r"t\.yaml:6:9: hot: when: has 0 conditions"):
        rule_of("{}")


@pytest.mark.parametrize(("name", "holds"), [("a.yaml", True), ("a.yml", True), ("a.test.yaml", False), ("a.md", False)])
def test_cases_beside_the_rules_are_no_rules(name: str, holds: bool) -> None:  # noqa: FBT001 (a table)
    assert is_rules(name) is holds


def test_every_gauge_that_may_stall_is_remembered_wherever_it_is_asked() -> None:
    stalled = "{stalled: {metric: host_step, after: 5m}}"
    assert rule_of(f"{{not: {{sequence: {{first: {BUSY}}}, then: {stalled}, within: 5m}}}}}}").stalled == {"host_step"}
    assert rule_of(BUSY + "}", f"  overrides: [{{pools: [a], when: {stalled}}}]\n").stalled == {"host_step"}
    assert rule_of(BUSY + "}").stalled == frozenset()


def test_hard_faults_that_a_reading_states_need_one_reading() -> None:
    stated = {"chip_present", "link_health", "host_slice_error", "host_slice_error_condition", "host_megascale_hang"}
    hard = {"chip-missing", "ici-link-down", "slice-error"}
    for rule in shipped():
        if rule.name in hard:
            for one in rule.when.every():
                assert one.threshold is None or (one.threshold.k == 1 or one.threshold.metric not in stated)
