from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from sliceward.detectors.clauses import evidence, judge
from sliceward.detectors.finding import Kind
from sliceward.detectors.look import NO, UNKNOWN, YES, Look
from sliceward.detectors.metrics import CATALOGUE
from sliceward.detectors.panel import Panel, PanelSize
from sliceward.detectors.rules import Rule, Span, load_rules
from sliceward.detectors.traps.catalog import TRAPS
from sliceward.topology.errors import Misconfigured
from tests.detectors.frames import START, Speaker, feed
from tests.detectors.scene import shipped

if TYPE_CHECKING:
    from collections.abc import Mapping

GOOD = {
    "name": "hot",
    "kind": "ChipThrottled",
    "part": "chip",
    "severity": "warning",
    "says": "hot",
    "when": {"threshold": {"metric": "chip_throttle_score", "op": ">=", "value": 2}},
}


def a_rule(when: Mapping[str, object], part: str = "host", **more: object) -> Rule:
    (rule,) = load_rules({"t.yaml": json.dumps(GOOD | {"part": part, "when": when} | more)})
    return rule


def refused(**change: object) -> Misconfigured:
    with pytest.raises(Misconfigured) as error:
        load_rules({"t.yaml": json.dumps(GOOD | change)})
    return error.value


# ── loading ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_kind_but_those_that_no_rule_finds_has_a_shipped_rule_and_metrics_that_exist() -> None:
    rules = shipped()
    found = {rule.kind for rule in rules} | {trap.kind for trap in TRAPS.values()}
    assert found == set(Kind) - {Kind.PART_SUSPECT, Kind.PART_CONDEMNED}
    assert {name for rule in rules for name in rule.when.metrics()} <= set(CATALOGUE)
    assert all(rule.about and rule.limits and rule.sources and rule.advice for rule in rules)


def test_a_later_rule_replaces_one_of_its_name() -> None:
    (rule,) = load_rules({"a": json.dumps(GOOD), "b": json.dumps([GOOD | {"says": "very hot"}])})
    assert rule.says == "very hot"


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("90s", Span(90)),
        ("1.5m", Span(90)),
        ("2h", Span(7200)),
        ("1d", Span(86_400)),
        ("5 periods", Span(periods=5)),
        ("1 period", Span(periods=1)),
        ("grace", Span(grace=True)),
        (Span(3), Span(3)),
    ],
)
def test_spans(text: object, span: Span) -> None:
    assert Span.parse(text) == span


def test_a_span_in_seconds() -> None:
    assert [Span.parse(text).at(10, 60) for text in ("90s", "5 periods", "grace")] == [90, 50, 60]


THRESHOLD = json.loads(json.dumps(GOOD))["when"]["threshold"]


@pytest.mark.parametrize(
    ("change", "where", "why"),
    [
        pytest.param({"kind": "Nonsense"}, "hot: kind", "Input should be", id="kind"),
        pytest.param({"severitty": "error"}, "hot: severitty", "did you mean 'severity'", id="unknown key"),
        pytest.param({"name": "Bad Name"}, "Bad Name: name", "as in 'bad-name'", id="name"),
        pytest.param({"says": "{nobody}"}, "hot", "may use {metric}, {value}", id="text"),
        pytest.param({"lift": "gang"}, "hot", "lift is for rules about hosts", id="lift"),
        pytest.param({"part": "host", "fold": True}, "hot", "fold for rules about chips", id="fold"),
        pytest.param({"clear_for": "soon"}, "hot: clear_for", "write 90s", id="span"),
        pytest.param({"yields_to": ["hott"]}, "yields_to", "did you mean 'hot'", id="yields to nobody"),
        pytest.param({"when": {}}, "hot: when", "has 0 conditions", id="no condition"),
        pytest.param({"when": {"any": []}}, "hot: when", "empty list", id="empty list"),
        pytest.param(
            {"when": {"threshold": THRESHOLD, "any": [GOOD["when"]]}}, "hot: when", "has 2 conditions", id="two conditions"
        ),
        pytest.param({"when": {"treshold": {}}}, "hot: when.treshold", "did you mean 'threshold'", id="unknown condition"),
        pytest.param(
            {"when": {"threshold": THRESHOLD | {"metrik": 1}}},
            "when.threshold.metrik",
            "did you mean 'metric'",
            id="key of condition",
        ),
        pytest.param(
            {"when": {"threshold": THRESHOLD | {"metric": "chip_throtle_score"}}},
            "threshold.metric",
            "'chip_throttle_score'",
            id="metric",
        ),
        pytest.param({"when": {"threshold": THRESHOLD | {"k": 6}}}, "when.threshold", "can never be", id="k beyond n"),
        pytest.param(
            {"when": {"threshold": THRESHOLD | {"metric": "chip_hbm_correctable_total"}}},
            "when.threshold",
            "ask with rate",
            id="counter",
        ),
        pytest.param(
            {"when": {"rate": {"metric": "chip_throttle_score", "increase": 1, "within": "1m"}}},
            "when.rate",
            "ask with threshold",
            id="gauge",
        ),
        pytest.param(
            {"when": {"absent": {"metric": "host_step", "after": "1m", "periods": 2}}},
            "absent.periods",
            "greater",
            id="few periods",
        ),
        pytest.param(
            {"when": {"threshold": THRESHOLD | {"metric": "link_health"}}}, "hot", "write part: link", id="links of another part"
        ),
    ],
)
def test_a_rule_that_cannot_be_used_says_where_and_what_to_do(change: dict[str, object], where: str, why: str) -> None:
    error = refused(**change)
    assert where in error.where
    assert why in error.why


@pytest.mark.parametrize(
    ("text", "why"), [("a: [", "Correct the YAML on that line"), ("- 5", "is not a rule"), ("words", "is not a rule")]
)
def test_what_is_no_rule_is_refused_with_its_file(text: str, why: str) -> None:
    with pytest.raises(Misconfigured, match=why) as error:
        load_rules({"file.yaml": text})
    assert error.value.where.startswith("file.yaml")


# ── judging ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def panel_of(*series: float, metric: str = "host_cpu_percent", period: float = 10.0) -> Panel:
    """Give a panel with one host that said ``series``, one value each 10 s."""
    panel, one, now = Panel("c1", PanelSize(10.0, 40), track=("host_step",)), Speaker("n1", readings={}, period=period), START
    for value in series:
        one.readings[metric] = value
        now = feed(panel, [one], rounds=1, start=now)
    return panel


def verdict(panel: Panel, when: Mapping[str, object], part: str = "host") -> int:
    rule = a_rule(when, part)
    return int(judge(Look.at(panel, grace=60), rule)[0])


NAN = float("nan")


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        pytest.param((1, 1, 1, 1, 1), NO, id="well"),
        pytest.param((9, 9, 1, 9, 1), YES, id="three of five"),
        pytest.param((9, 9, 1, 1, 1), NO, id="two of five"),
        pytest.param((9, 9, 9, 1, 1, 1, 1, 1, 1), NO, id="long ago"),
        pytest.param((9, 9), UNKNOWN, id="too few and all bad"),
        pytest.param((9, 1), NO, id="few but one is good"),
        pytest.param((NAN, NAN), UNKNOWN, id="nothing read"),
        pytest.param((9, NAN, 9, NAN, 9), YES, id="with holes"),
    ],
)
def test_threshold_counts_k_of_the_last_n(series: tuple[float, ...], expected: int) -> None:
    when = {"threshold": {"metric": "host_cpu_percent", "op": ">=", "value": 5, "k": 3, "n": 5}}
    assert verdict(panel_of(*series), when) == expected


@pytest.mark.parametrize(("op", "hit", "miss"), [(">=", 5, 4), (">", 6, 5), ("<=", 5, 6), ("<", 4, 5), ("==", 5, 4)])
def test_operators(op: str, hit: float, miss: float) -> None:
    when = {"threshold": {"metric": "host_cpu_percent", "op": op, "value": 5, "k": 1, "n": 1}}
    assert verdict(panel_of(miss, miss, hit), when) == YES
    assert verdict(panel_of(hit, hit, miss, miss), when) == NO


def test_a_metric_that_never_came_is_unknown() -> None:
    panel = panel_of(1, 1)
    for when in (
        {"threshold": {"metric": "host_memory_percent", "op": ">", "value": 1}},
        {"rate": {"metric": "host_kernel_faults_total", "increase": 1, "within": "1m"}},
        {"absent": {"metric": "host_memory_percent", "after": "1m"}},
        {"stalled": {"metric": "host_step", "after": "1m"}},
    ):
        assert verdict(panel, when) == UNKNOWN


def test_a_silent_host_is_unknown_to_every_rule_but_silence() -> None:
    panel = panel_of(9, 9, 9, 9)
    for _ in range(6):
        panel.advance(panel.now + 10)
    assert verdict(panel, {"threshold": {"metric": "host_cpu_percent", "op": ">=", "value": 5, "k": 1, "n": 20}}) == UNKNOWN
    assert verdict(panel, {"absent": {"metric": "host_frame_age_seconds", "after": "grace"}}) == YES


@pytest.mark.parametrize(("steps", "expected"), [(5, NO), (6, YES)])
def test_grace_is_wall_time_and_at_least_three_periods(steps: int, expected: int) -> None:
    panel = panel_of(1, period=20.0)
    for _ in range(steps):
        panel.advance(panel.now + 10)
    assert verdict(panel, {"absent": {"metric": "host_frame_age_seconds", "after": "10s"}}) == expected


def test_a_metric_that_stops_coming_is_absent_while_the_host_speaks() -> None:
    when = {"absent": {"metric": "host_cpu_percent", "after": "40s"}}
    assert verdict(panel_of(1, 1, NAN, NAN), when) == NO
    panel = panel_of(1, 1, NAN, NAN, NAN, NAN, NAN)
    assert verdict(panel, when) == YES
    (number,) = evidence(Look.at(panel, grace=60), a_rule(when), 0)
    assert (number.value, number.limit) == (50, 40)


def test_a_gauge_that_stands_is_stalled_and_one_that_moves_or_is_missing_is_not() -> None:
    when = {"stalled": {"metric": "host_step", "after": "50s"}}
    assert verdict(panel_of(*range(9), metric="host_step"), when) == NO
    assert verdict(panel_of(1, NAN, NAN, NAN, NAN, NAN, metric="host_step"), when) == UNKNOWN
    panel = panel_of(*[7] * 9, metric="host_step")
    assert verdict(panel, when) == YES
    (number,) = evidence(Look.at(panel, grace=60), a_rule(when), 0)
    assert (number.value, number.limit) == (80, 50)


COLD, WARM = ({"threshold": {"metric": "host_cpu_percent", "op": ">=", "value": v, "k": 1, "n": 1}} for v in (90, 5))
NEVER = {"threshold": {"metric": "host_memory_percent", "op": ">", "value": 1}}


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ({"all": [WARM, WARM]}, YES),
        ({"all": [WARM, COLD]}, NO),
        ({"all": [WARM, NEVER]}, UNKNOWN),
        ({"all": [COLD, NEVER]}, NO),
        ({"any": [COLD, WARM]}, YES),
        ({"any": [COLD, NEVER]}, UNKNOWN),
        ({"any": [WARM, NEVER]}, YES),
        ({"not": WARM}, NO),
        ({"not": COLD}, YES),
        ({"not": NEVER}, UNKNOWN),
    ],
)
def test_conditions_are_joined_in_three_valued_logic(when: Mapping[str, object], expected: int) -> None:
    assert verdict(panel_of(50, 50), when) == expected


def test_conditions_under_not_are_no_evidence() -> None:
    panel = panel_of(50, 50)
    found = list(evidence(Look.at(panel, grace=60), a_rule({"all": [WARM, {"not": COLD}]}), 0))
    assert [(number.metric, number.value) for number in found] == [("host_cpu_percent", 50)]


@pytest.mark.parametrize(("over", "sick", "expected"), [("any", 1, YES), ("any", 0, NO), ("all", 1, NO), ("all", 4, YES)])
def test_metrics_of_chips_are_gathered_for_their_host(over: str, sick: int, expected: int) -> None:
    when = {"threshold": {"metric": "chip_duty_cycle_percent", "op": ">=", "value": 80, "k": 1, "n": 1, "over": over}}
    panel, one = Panel("c1", PanelSize(10.0, 40)), Speaker("n1", readings={"chip_duty_cycle_percent": 0})
    for chip in range(sick):
        one.chip("chip_duty_cycle_percent", chip, 90)
    feed(panel, [one], rounds=3)
    assert verdict(panel, when) == expected
    if expected == YES:
        (number,) = evidence(Look.at(panel, grace=60), a_rule(when), 0)
        assert number.entity == "c1/chip/n1/0"


def test_metrics_of_a_host_hold_for_all_its_chips() -> None:
    panel = panel_of(50, 50)
    assert list(judge(Look.at(panel, grace=60), a_rule(WARM, "chip"))[:4]) == [YES] * 4
    (number,) = evidence(Look.at(panel, grace=60), a_rule(WARM, "chip"), 2)
    assert number.entity == "c1/host/n1"


def test_hosts_of_other_periods_are_judged_by_their_own_readings() -> None:
    panel = Panel("c1", PanelSize(10.0, 60))
    slow, quick = Speaker("slow", period=30, readings={"host_cpu_percent": 9}), Speaker("quick", readings={"host_cpu_percent": 9})
    now = START
    for n in range(12):
        now += 10
        panel.advance(now)
        panel.put(quick.say(now), now)
        if n % 3 == 2:
            panel.put(slow.say(now), now)
    quick.readings["host_cpu_percent"] = 1
    feed(panel, [quick], rounds=6, start=now)
    rule = a_rule({"threshold": {"metric": "host_cpu_percent", "op": ">=", "value": 5, "k": 3, "n": 5}})
    verdicts = judge(Look.at(panel, grace=timedelta(minutes=5).total_seconds()), rule)
    assert (verdicts[panel.slots["quick"]], verdicts[panel.slots["slow"]]) == (NO, YES)


def test_all_over_a_host_without_chips_is_unknown() -> None:
    panel = Panel("c1")
    panel.advance(START)
    panel.expect(["n1"])
    when = {"threshold": {"metric": "chip_duty_cycle_percent", "op": ">=", "value": 80, "over": "all"}}
    assert verdict(panel, when) == UNKNOWN
