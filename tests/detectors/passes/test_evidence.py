from __future__ import annotations

import numpy as np
import pytest

from sliceward.detectors.passes.equals import Equals, slow
from sliceward.detectors.passes.layout import Cabling, Crowd, Groups, Layout, torus
from sliceward.detectors.passes.verdicts import Level
from sliceward.detectors.passes.watch import Watch
from tests.detectors.passes.fleet import PERIOD, Readings, Torus, erring, healthy, named, run, shift
from tests.detectors.passes.fleet import slow as slowed

TORUS = Torus()
ONSET = 90


# ── one crowd ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_kind_of_part_that_holds_no_members_accuses_nobody() -> None:
    cabling = TORUS.cabling
    copper = Cabling(cabling.one, cabling.other, np.full(TORUS.links, -1))  # no link passes a switch
    watch = Watch(torus(TORUS.host, TORUS.cube, copper))
    told = run(TORUS, 130, erring([40], 1.0, since=ONSET), watch=watch)
    assert named(told) == [("link", 40)]
    assert len(watch.crowds["link"].members(("ocs", 35))) == 0
    assert watch.crowds["link"].against(("ocs", 35)) is None


def test_members_behind_whom_another_machine_stands_are_learnt_anew_and_held_back_until_known() -> None:
    watch, read = Watch(TORUS.layout()), healthy(TORUS, 1)
    other = np.flatnonzero(TORUS.host == 5)
    told = []
    for tick in range(240):
        readings = read(tick)
        if tick >= ONSET:  # a machine that was always slower, and has erred more
            shift("busy", other, 0.03, since=ONSET)(tick, readings)
            readings["chip"]["ecc"][other] += 900
        if tick == ONSET:
            watch.anew("chip", other)
        told += watch.step(tick * PERIOD, readings)
    assert told == []
    watch.anew("nothing of the kind", other)  # and what was never read needs no forgetting


def test_evidence_against_those_that_are_replaced_is_gone() -> None:
    watch, read = Watch(TORUS.layout()), healthy(TORUS, 1)
    for tick in range(ONSET + 4):
        readings = read(tick)
        for fault in (shift("infeed", [17], 0.015, since=ONSET), slowed([17], 0.012, since=ONSET)):
            fault(tick, readings)
        watch.step(tick * PERIOD, readings)
    chips = watch.crowds["chip"]
    assert chips.most[:, 17].max() > 5
    watch.anew("chip", np.array([17]))
    assert (chips.most[:, 17] == 0).all()
    assert all(
        (held.most[:, held.groups.place(int(of[17]))] == 0).all()
        for held, of in zip(chips.held, (TORUS.host, TORUS.cube), strict=True)
    )


def test_a_member_that_says_nothing_keeps_its_standing() -> None:
    def silent(tick: int, readings: Readings) -> None:
        if tick >= 130:
            readings["link"]["err"][40] = np.nan

    watch = Watch(TORUS.layout())
    assert named(run(TORUS, 240, erring([40], 1.0, since=ONSET), silent, watch=watch)) == [("link", 40)]
    assert list(watch.docket.standing) == [("link", 40)]


def test_what_nobody_reads_of_a_kind_is_no_crowd() -> None:
    watch = Watch(TORUS.layout())
    assert watch.step(0.0, {"chip": {}, "fan": {"speed": np.ones(3)}}) == []
    assert watch.crowds == {}
    assert not watch.warm


def test_budgets_are_counted_a_chip_and_where_there_are_none_by_the_greatest_crowd() -> None:
    disks = Layout({"disk": Crowd("disk", np.zeros(24, dtype=np.intp))})
    watch, dice = Watch(disks), np.random.default_rng(3)
    told = []
    for tick in range(160):
        latency = dice.normal(10, 0.3, 24)
        latency[7] += 2.0 * (tick >= ONSET)
        told += watch.step(tick * PERIOD, {"disk": {"latency": latency}})
    assert named(told) == [("disk", 7)]
    assert named(told, Level.CONDEMNED) == []  # one clock, and no second meter


def test_a_part_that_stands_accused_by_counts_is_condemned_when_a_second_meter_says_so() -> None:
    faults = shift("temp", [17], 6.0, since=ONSET), slowed([17], 0.03, since=ONSET)

    def ecc(tick: int, readings: Readings) -> None:
        readings["chip"]["ecc"][17] += 2.0 * max(0, tick - ONSET)

    told = run(TORUS, 150, *faults, ecc)
    assert named(told, Level.CONDEMNED) == [("chip", 17)]
    assert {name for one in told for name, _ in one.signals} >= {"temp", "busy", "ecc"}


def test_a_cube_is_condemned_when_a_second_meter_says_so_of_it_as_a_whole() -> None:
    chips = np.flatnonzero(TORUS.cube == 1)

    def late(tick: int, readings: Readings) -> None:
        readings["chip"]["infeed"][chips] += 0.004 * (tick >= ONSET)  # too little to be seen of one chip

    told = run(TORUS, 150, shift("temp", chips, 0.8, since=ONSET), late)
    assert named(told, Level.CONDEMNED) == [("cube", 1)]


# ── layout ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("part", "chips"),
    [
        pytest.param(("chip", 9), [9], id="a chip stands on itself"),
        pytest.param(("host", int(TORUS.host[9])), np.flatnonzero(TORUS.host == TORUS.host[9]).tolist(), id="a host on its four"),
        pytest.param(("link", 9), sorted({9, int(TORUS.cabling.other[9])}), id="a link on both its ends"),
        pytest.param(("host", 4711), [], id="none of that number"),
        pytest.param(("pump", 1), [], id="nobody told of pumps"),
    ],
)
def test_a_part_stands_on_chips(part: tuple[str, int], chips: list[int]) -> None:
    assert TORUS.layout().chips(*part).tolist() == chips


def test_groups_of_nobody_sum_to_nothing() -> None:
    nobody = Groups.by("ocs", np.full(5, -1))
    assert nobody.totals(np.ones((2, 5), dtype=np.float32)).shape == (2, 0)
    assert nobody.place(3) is None


# ── a few equals ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_who_is_slow_among_equals_is_told_the_slowest_first_and_nobody_else() -> None:
    dice, equals = np.random.default_rng(2), Equals.new(np.zeros(12, dtype=np.intp))
    times = dice.lognormal(0, 0.02, (40, 10, 12))
    times[20:, :, 3] *= 1.0 + 0.2 * (np.arange(20)[:, None] % 5 > 0)  # not always
    times[20:, :, 8] *= 2.5
    times[:, :, 5] = np.nan
    evidence = np.array([equals.step(window) for window in times])
    assert slow(evidence[:20]).tolist() == []
    assert slow(evidence[20:]).tolist() == [8, 3]
    assert np.isnan(evidence[:, 5]).all()


def test_a_load_that_all_share_hides_nobody_and_accuses_nobody() -> None:
    dice, equals = np.random.default_rng(3), Equals.new(np.zeros(12, dtype=np.intp))
    load = dice.choice([1.0, 6.0], (120, 20, 1))
    times = load * dice.lognormal(0, 0.02, (120, 20, 12))
    times[dice.random(times.shape) < 0.3] = np.nan  # of each another half of the load is seen
    times[80:, :, 4] *= 1.1
    evidence = np.array([equals.step(window) for window in times])
    assert evidence[40:, [one for one in range(12) if one != 4]].mean(axis=0).max() < 0.3
    assert evidence[80:, 4].mean() > 2
