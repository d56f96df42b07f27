from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from sliceward.daemons.sources.distributions import Distribution, merged, since

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


def test_nothing_is_told_before_the_second_reading() -> None:
    assert since(None, a_distribution([1] * 6)).count == 0
    assert since(a_distribution([1] * 6), None).count == 0


def test_cores_add_up_and_a_core_with_other_buckets_is_left_out() -> None:
    other = Distribution(5, 5.0, (5,), 4.0, 1.0)
    both = merged([a_distribution([1] * 6), a_distribution([2] * 6), other])
    assert both is not None
    assert both.buckets == (3,) * 6
    assert merged([]) is None
