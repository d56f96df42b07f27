"""What an interruption costs, item by item."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sliceward.scheduling import prices
from sliceward.scheduling.costs import DAY
from sliceward.scheduling.prices import Bill, Figure, Item, Line, Pace, line
from sliceward.topology.errors import Misconfigured


def told(seconds: float, age: float | None = None) -> Figure:
    return Figure(seconds, "told", age)


PACE = Pace(
    saved=told(120, 3),
    interval=told(300),
    step=told(4),
    left=told(86_400),
    drain=told(30),
    place=told(5),
    form=told(60),
    restart=told(240),
    reconfigure=told(40),
)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.0])
def test_a_figure_that_is_no_cost_is_refused(value: float) -> None:
    with pytest.raises(Misconfigured, match="is no cost"):
        Figure(value, "told")


@pytest.mark.parametrize("age", [math.nan, math.inf, -1.0])
def test_a_figure_from_the_future_is_refused(age: float) -> None:
    with pytest.raises(Misconfigured, match="s old"):
        Figure(1.0, "told", age)


def test_a_figure_without_a_source_is_refused() -> None:
    with pytest.raises(Misconfigured, match="has no source"):
        Figure(1.0, "")


def test_a_stop_costs_each_chip_all_times_and_the_steps_since_the_checkpoint() -> None:
    stop, lost = prices.stop_and_start(9_216, PACE), prices.lost_steps(9_216, PACE)
    assert (stop + lost).total == 9_216 * (30 + 5 + 60 + 240 + 120)
    assert [each.item for each in stop.lines] == [Item.DRAIN, Item.PLACE, Item.FORM, Item.RESTART]
    assert (stop + lost).of(Item.LOST) == lost.total == 9_216 * 120


def test_a_limp_costs_the_share_that_is_lost() -> None:
    assert line(Item.LIMP, 1_000, told(600), prices.slower(0.9, "rate")).chip_seconds == pytest.approx(60_000)


@pytest.mark.parametrize(("ratio", "share"), [(0.0, 1.0), (0.75, 0.25), (1.0, 0.0), (1.2, 0.0)])
def test_what_is_lost_is_what_the_rate_fell_by(ratio: float, share: float) -> None:
    assert prices.slower(ratio, "rate", 4.0) == Figure(share, "rate", 4.0)


@pytest.mark.parametrize("ratio", [math.nan, math.inf, -0.1])
def test_a_rate_that_is_none_is_refused(ratio: float) -> None:
    with pytest.raises(Misconfigured, match="is no rate"):
        prices.slower(ratio, "rate")


def test_a_line_says_where_its_numbers_are_from() -> None:
    assert str(line(Item.LOST, 64, told(240, 3.2))) == "lost steps 15,360: 64 chips x 240 (told, 3 s old)"
    slow = line(Item.LIMP, 64, Figure(600, "assumed"), Figure(0.25, "rate", 9))
    assert str(slow) == "limping 9,600: 64 chips x 600 (assumed) x 0.25 (rate, 9 s old)"
    assert str(Line(Item.PLACES, 3_600.0, (Figure(1, "expected requests"),))) == "places 3,600: 1 (expected requests)"


def test_a_part_that_fails_once_a_day_fails_within_a_day_with_the_probability_of_that() -> None:
    assert prices.failing(Figure(1.0, "history", 60), DAY) == Figure(1 - math.exp(-1), "history", 60)
    assert prices.failing(Figure(0.0, "history"), DAY).value == 0


def test_the_first_of_equal_figures_is_named() -> None:
    one, same, more = told(1), Figure(1, "other"), told(2)
    assert prices.least(one, same) is one
    assert prices.most([one, same], none=more) is one
    assert prices.most([], none=more) is more


seconds = st.floats(0, 1e7)
lines = st.builds(line, st.sampled_from(Item), st.integers(0, 10**6), st.builds(Figure, seconds, st.just("told")))


@given(st.lists(lines, max_size=8), st.randoms(use_true_random=False))
def test_a_bill_does_not_depend_on_the_order_of_its_lines(drawn: list[Line], dice: object) -> None:
    mixed = list(drawn)
    dice.shuffle(mixed)  # type: ignore[attr-defined]  # a Random of hypothesis
    assert Bill(tuple(mixed)).total == Bill(tuple(drawn)).total


@given(st.lists(lines, max_size=8), st.lists(lines, max_size=8))
def test_bills_add_up(one: list[Line], other: list[Line]) -> None:
    both = Bill(tuple(one)) + Bill(tuple(other))
    assert both.total == pytest.approx(Bill(tuple(one)).total + Bill(tuple(other)).total)
    assert both.total == pytest.approx(sum(both.of(item) for item in Item))
