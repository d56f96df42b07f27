"""Who failed of late is expected to fail sooner than the others; and what was asked for is expected again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sliceward.scheduling.mix import counted_mix, usual_mix
from sliceward.scheduling.risk import Failure, risks_of
from sliceward.scheduling.spares import USUAL_RISK
from tests.builders import NOW, a_fleet, host_id

DAY = timedelta(days=1)
ONE, TWO = host_id("one"), host_id("two")


def test_one_failure_in_a_month_makes_a_host_ten_times_as_likely_to_fail_and_not_an_offender_for_ever() -> None:
    found = risks_of([Failure(NOW - DAY, {ONE})], NOW)
    assert found == {ONE: pytest.approx((0.08 + 1) / 130)}
    assert 10 < found[ONE] / USUAL_RISK < 11
    assert risks_of([Failure(NOW - 31 * DAY, {ONE})], NOW) == {}


def test_failures_add_up_and_a_run_is_one_failure_shared_by_its_hosts() -> None:
    found = risks_of([Failure(NOW - DAY, {ONE, TWO}), Failure(NOW - 2 * DAY, {ONE})], NOW)
    assert found[ONE] == pytest.approx((0.08 + 1.5) / 130)
    assert found[TWO] == pytest.approx((0.08 + 0.5) / 130)


def test_another_machine_of_the_same_name_is_as_usual_and_the_others_share_as_before() -> None:
    found = risks_of([Failure(NOW - DAY, {ONE, TWO}, gone={ONE}), Failure(NOW - 2 * DAY, {TWO})], NOW)
    assert found == {TWO: pytest.approx((0.08 + 1.5) / 130)}


def test_a_start_that_is_still_to_come_counts_for_nothing() -> None:
    assert risks_of([Failure(NOW + DAY, {ONE})], NOW) == {}


def test_what_gangs_ask_for_is_expected_the_more_the_more_of_them_there_are() -> None:
    few = a_fleet().with_gang("llm", slices=2).on("cube-0", "cube-1").build()
    many = a_fleet().with_gang("llm", slices=200).waiting().build()
    shares = [dict(counted_mix([fleet])["tpu7x"])[4, 4, 4] for fleet in (few, many)]
    assert dict(usual_mix("tpu7x"))[4, 4, 4] < shares[0] < 0.2
    assert shares[1] > 0.9
    assert sum(probability for _, probability in counted_mix([few])["tpu7x"]) == pytest.approx(1)


def test_a_fleet_without_gangs_says_nothing() -> None:
    assert counted_mix([a_fleet().build()]) == {}
