from __future__ import annotations

import math

import pytest

from sliceward.detectors.rules import load_rules
from sliceward.detectors.trials.cases import read_cases, samples
from sliceward.detectors.trials.trial import run_case

RULE = """\
- {name: hot, kind: ChipThrottled, part: chip, severity: warning, says: hot, clear_for: 1 period, overrides: [{pools: [cool-*], disabled: true}],
   when: {threshold: {metric: chip_throttle_score, op: ">=", value: 2, k: 1, n: 1}}}
"""


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (5, [5]),
        ("5", [5]),
        ("1x2 7", [1, 1, 1, 7]),
        ("0+5x3", [0, 5, 10, 15]),
        ("9-1.5x2", [9, 7.5, 6]),
        ("_x2 -1 _", [math.nan, math.nan, -1, math.nan]),
        ("1e3x1", [1000, 1000]),
    ],
)
def test_series_are_written_as_in_the_unit_tests_of_prometheus(written: object, expected: list[float]) -> None:
    assert samples(written) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("written", ["", "x3", "5x", "5 x3", "1+", "five", True, None, [5]])
def test_what_is_no_series_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="write"):
        samples(written)


def missed(case: str) -> list[str]:
    (placed,), errors = read_cases(case, "t.test.yaml")
    assert errors == []
    return [miss.why for miss in run_case(placed, load_rules({"t.yaml": RULE}), tried={"hot"})]


@pytest.mark.parametrize(
    "readings",
    [
        "{chip_throttle_score n1/1: 0x2 5}",
        "{chip_throttle_score n1/1: 0x2 5, chip_throttle_score n2/9: 5, link_health n2/9/9: 10}",
    ],
)
def test_one_chip_of_many_and_chips_that_are_not_there(readings: str) -> None:
    assert missed(f"- {{name: a, readings: {readings}, expect: [{{at: 40s, findings: [{{rule: hot, part: n1/1}}]}}]}}") == []


def test_a_state_that_is_named_is_looked_for() -> None:
    expect = "expect: [{at: 0, findings: []}, {at: 90s, findings: [{rule: hot, part: test/chip/n1/1, state: resolved}]}]"
    assert missed(f"- {{name: a, readings: {{chip_throttle_score n1/1: 5x2 0}}, {expect}}}") != []
    expect = expect.replace("[{at: 0, findings: []}, ", "[")
    assert missed(f"- {{name: a, readings: {{chip_throttle_score n1/1: 5x2 0}}, {expect}}}") == []


def test_a_case_can_say_what_a_host_is() -> None:
    hosts = "hosts: {n1: {chips: 1, generation: v5e, pool: cool-1}}"
    assert missed(f"- {{name: a, {hosts}, readings: {{chip_throttle_score n1: 5}}, expect: [{{at: 40s, findings: []}}]}}") == []


def test_moments_are_looked_at_in_the_order_of_time() -> None:
    expect = "expect: [{at: 90s, findings: []}, {at: 10s, findings: [{rule: hot, part: n1/0}]}]"
    assert missed(f"- {{name: a, hosts: {{n1: {{chips: 1}}}}, readings: {{chip_throttle_score n1: 5x2 0}}, {expect}}}") == []
