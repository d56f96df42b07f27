from __future__ import annotations

import numpy as np
import pytest

from sliceward.detectors.passes import verdicts
from sliceward.detectors.passes.layout import Groups
from sliceward.detectors.passes.localise import Candidate, cost, name
from sliceward.detectors.passes.signals import Form, signals_of
from sliceward.detectors.passes.verdicts import Docket, Standing


def candidate(kind: str, label: int, nats: float, *members: int, signal: str = "temp") -> Candidate:
    return Candidate((kind, label), "chip", signal, signal, nats, frozenset(members), 0)


HOST = candidate("host", 1, 90.0, 4, 5, 6, 7)
CHIPS = [candidate("chip", chip, 24.0, chip) for chip in (4, 5, 6, 7)]


@pytest.mark.parametrize(
    ("seen", "parts"),
    [
        pytest.param([HOST, *CHIPS], [("host", 1)], id="all its chips are sick: the host"),
        pytest.param([CHIPS[0], candidate("host", 1, 21.0, 4, 5, 6, 7)], [("chip", 4)], id="one of its chips is: the chip"),
        pytest.param([CHIPS[0], candidate("chip", 9, 30.0, 9)], [("chip", 9), ("chip", 4)], id="two that share nothing: both"),
        pytest.param([candidate("chip", 3, 19.0, 3)], [], id="too little: nobody"),
        pytest.param([HOST, candidate("host", 1, 25.0, 4, 5, 6, 7, signal="busy")], [("host", 1)], id="two signals: one cause"),
    ],
)
def test_the_part_that_explains_most_is_named(seen: list[Candidate], parts: list[tuple[str, int]]) -> None:
    assert [one.key for one in name(seen, lambda _, place: 20.0 - np.log(place))] == parts


def test_a_near_rival_makes_unsure_and_a_far_one_does_not() -> None:
    near, far = candidate("host", 1, 23.5, 4, 5, 6, 7), candidate("host", 1, 10.0, 4, 5, 6, 7)
    assert [name([CHIPS[0], rival], lambda *_: 20.0)[0].sure for rival in (near, far)] == [False, True]


def test_what_breaks_rarely_costs_more() -> None:
    assert cost("host") == 0 < cost("ocs") < cost("chip") < cost("cube") < cost("link") == cost("never heard of")


def test_a_tenth_of_the_budget_asks_for_log_ten_more() -> None:
    assert verdicts.need(0.1, 10, 10.0) - verdicts.need(1.0, 10, 10.0) == pytest.approx(np.log(10))
    assert 19 < verdicts.need(1.0, 10, 10.0) < 21  # facts: one a day over 80,000 series asks for 20.4


def test_suspects_that_come_to_nothing_ask_for_more_from_the_next_until_the_budget_has_paid() -> None:
    docket, budget = Docket(), verdicts.Budget(suspects=1.0)
    verdicts.tighten(docket, Standing(0, "chip", "temp", 0, 20.0))
    assert docket.stricter == verdicts.STRICTER
    verdicts.tighten(docket, Standing(0, "chip", "temp", 0, 20.0, corroborated=True))
    assert docket.stricter == verdicts.STRICTER
    for _ in range(8640):  # a day of 10,000 chips
        verdicts.relax(docket, chips=10_000, budget=budget, period=10.0)
    assert docket.stricter == pytest.approx(0, abs=1e-6)


def test_suspects_that_were_named_together_and_come_to_nothing_are_paid_for_once_and_only_so_much_is_ever_asked() -> None:
    docket = Docket()
    for since in (100, 100, 103, 100 + verdicts.TOGETHER - 1):
        verdicts.tighten(docket, Standing(since, "chip", "temp", 0, 20.0))
    assert docket.stricter == verdicts.STRICTER
    for event in range(100):
        verdicts.tighten(docket, Standing(1000 * event, "chip", "temp", 0, 20.0))
    assert docket.stricter == verdicts.MOST_STRICTER


def test_what_was_made_stricter_eases_by_itself_in_days_where_the_fleet_is_small() -> None:
    docket = Docket(stricter=4.0)
    for _ in range(8640):
        verdicts.relax(docket, chips=64, budget=verdicts.Budget(), period=10.0)
    assert docket.stricter == pytest.approx(4 / np.e, rel=0.01)


def test_what_was_borne_out_lowers_what_the_next_needs_as_if_it_were_of_the_same_tick_and_what_comes_to_nothing_does_not() -> (
    None
):
    docket = Docket()
    other = "chip", 2
    assert verdicts.less(docket, other, 2, 0) == pytest.approx(np.log(2))
    assert verdicts.most_less(docket, 0) == 0
    verdicts.tighten(docket, Standing(0, "chip", "temp", 0, 20.0))
    assert verdicts.less(docket, other, 1, 0) == 0
    verdicts.bear_out(docket, ("chip", 1), 0)
    assert verdicts.less(docket, other, 1, 0) == pytest.approx(np.log(2))
    assert verdicts.less(docket, other, 1, 8640) == pytest.approx(np.log(1 + 1 / np.e))
    for _ in range(50):
        verdicts.bear_out(docket, ("chip", 1), 0)
    assert verdicts.less(docket, other, 1, 0) == pytest.approx(np.log(1 + verdicts.MOST_FOUND))
    assert verdicts.less(docket, ("chip", 1), 1, 0) == pytest.approx(verdicts.most_less(docket, 0))


def test_a_part_that_was_borne_out_before_needs_less_for_a_while() -> None:
    docket = Docket()
    verdicts.bear_out(docket, ("chip", 1), 0)
    spared = [
        verdicts.less(docket, ("chip", 1), 1, tick) - verdicts.less(docket, ("chip", 2), 1, tick) for tick in (0, 8640, 86400)
    ]
    assert spared == [pytest.approx(np.log(3)), pytest.approx(np.log(1 + 2 / np.e)), pytest.approx(0, abs=1e-3)]


@pytest.mark.parametrize(
    ("nats", "second", "witnessed"),
    [((11.0,), True, False), ((9.0,), False, False), ((6.0, 5.0, 4.5, 0.0), True, True), ((40.0, 0.0, 0.0, 0.0), False, False)],
)
def test_corroboration_takes_a_second_signal_or_most_members(nats: tuple[float, ...], *, second: bool, witnessed: bool) -> None:
    assert (verdicts.second(np.array(nats)), verdicts.witnessed(np.array(nats))) == (second, witnessed)


def test_offences_fade() -> None:
    docket = Docket()
    counted = [verdicts.offence(docket, ("chip", 1), tick) for tick in (0, 0, 8640)]
    assert counted == [1.0, 2.0, pytest.approx(1 + 2 / np.e)]


def test_groups_hold_what_they_were_given() -> None:
    groups = Groups.of("link", ([7, 7, 3, -1], [0, 1, 1, 2]))
    assert groups.label.tolist() == [3, 7]
    assert groups.members(1).tolist() == [0, 1]
    assert groups.place(4) is None
    rows = np.array([[1.0, 10.0, 100.0]], dtype=np.float32)
    assert groups.totals(rows).tolist() == [[10.0, 11.0]]
    assert groups.totals_of(1, (np.array([0, 0]), np.array([1, 2])), np.array([10.0, 100.0])).tolist() == [[10.0, 10.0]]
    even = Groups.by("host", [0, 1, 0, 1])
    assert even.totals(np.array([1.0, 2.0, 3.0, 4.0], dtype=np.float32)).tolist() == [4.0, 6.0]


def test_signals_come_from_the_catalogue_and_what_nobody_knows_is_bad_both_ways() -> None:
    assert [one.sense for one in signals_of("wait")] == [-1]
    assert signals_of("ecc")[0].form is Form.TOTAL
    assert signals_of("chip_hbm_correctable_total")[0].form is Form.INCREASE
    assert [one.sense for one in signals_of("chip_throttle_score")] == [1]
    assert [one.sense for one in signals_of("never heard of")] == [1, -1]
