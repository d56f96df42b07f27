from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tpu_info.proto import tpu_metric_service_pb2 as pb

from sliceward.daemons.sources.distributions import Distribution, merged, since
from sliceward.daemons.sources.libtpu_wire import distributions_of
from sliceward.detectors.metrics import Statistic

COUNTS = st.lists(st.integers(0, 1000), min_size=6, max_size=6)


def a_distribution(counts: list[int], mean: float = 5.0) -> Distribution:
    return Distribution(sum(counts), mean * sum(counts), tuple(counts), 2.0, 1.0)


@given(COUNTS, COUNTS)
def test_an_interval_holds_what_came_between_and_its_quantiles_are_in_order(before: list[int], more: list[int]) -> None:
    now = [a + b for a, b in zip(before, more, strict=True)]
    interval = since(a_distribution(before), a_distribution(now))
    assert interval.count == sum(more)
    if sum(more):
        assert 0 <= interval.p50 <= interval.p99 <= 2.0**5
    else:
        assert math.isnan(interval.mean)


def test_the_median_of_one_bucket_lies_in_its_middle() -> None:
    interval = since(a_distribution([0] * 6), a_distribution([0, 0, 0, 10, 0, 0]))
    assert interval.p50 == 6.0  # between 4 and 8
    assert interval.mean == 5.0


def test_after_a_restart_of_the_process_everything_is_new() -> None:
    assert since(a_distribution([50] * 6), a_distribution([1, 1, 1, 1, 1, 1])).count == 6
    assert since(replace(a_distribution([]), count=50), replace(a_distribution([]), count=3, total=6.0)).mean == 2.0


def test_nothing_is_told_before_the_second_reading() -> None:
    assert since(None, a_distribution([1] * 6)).count == 0
    assert since(a_distribution([1] * 6), None).count == 0


def test_cores_add_up_and_a_core_with_other_buckets_is_left_out() -> None:
    other = Distribution(5, 5.0, (5,), 4.0, 1.0)
    both = merged([a_distribution([1] * 6), a_distribution([2] * 6), other])
    assert both is not None
    assert both.buckets == (3,) * 6
    assert merged([]) is None


def test_buckets_that_are_left_off_at_the_end_are_empty() -> None:
    short, full = replace(a_distribution([1, 1]), growth=2.0), a_distribution([1] * 6)
    assert merged([short, full]) == replace(a_distribution([2, 2, 1, 1, 1, 1]), count=8, total=40.0)
    assert (since(short, full).count, since(short, full).p99) == (4, 16.0)


@pytest.mark.parametrize("finite", [4, 30])
def test_buckets_that_libtpu_leaves_off_do_not_make_the_last_one_it_sends_endless(finite: int) -> None:
    answer = pb.MetricResponse()
    distribution = answer.metric.metrics.add().distribution
    distribution.count, distribution.mean = 10, 5.0
    buckets = distribution.bucket_options.exponential_buckets
    buckets.num_finite_buckets, buckets.growth_factor, buckets.scale = finite, 2.0, 1.0
    distribution.bucket_counts.extend([0, 0, 0, 10])
    (found,) = distributions_of(answer)
    assert len(found.buckets) == finite + 2
    assert since(replace(found, count=0, total=0.0, buckets=()), found).p50 == 6.0  # between 4 and 8, not 4


@pytest.mark.parametrize(
    ("before", "count"),
    [pytest.param([9] * 6, 6, id="a count that fell is a restart"), pytest.param([0] * 6, 0, id="nobody knows what is new")],
)
def test_other_bounds_than_before_are_told_only_after_a_restart(before: list[int], count: int) -> None:
    assert since(replace(a_distribution(before), scale=3.0), a_distribution([1] * 6)).count == count


def test_a_bucket_beyond_all_numbers_is_no_number() -> None:
    interval = since(a_distribution([0] * 3000), a_distribution([0] * 2000 + [5] + [0] * 999))
    assert math.isnan(interval.p99)
    assert interval.mean == 5.0


def test_each_number_of_an_interval_is_given_by_its_name() -> None:
    interval = since(a_distribution([0] * 6), a_distribution([1, 2, 3, 4, 5, 6]))
    assert [interval.value(statistic) for statistic in Statistic] == [interval.mean, interval.p50, interval.p99]
