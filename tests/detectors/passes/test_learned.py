from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sliceward.detectors.passes import drift, learned, peers
from sliceward.detectors.passes.evidence import Evidence
from sliceward.detectors.passes.layout import Crowd
from sliceward.detectors.passes.learned import Fleet, Lone, learn
from sliceward.detectors.passes.signals import Signal
from sliceward.detectors.passes.verdicts import Level, Verdict
from sliceward.detectors.passes.watch import Watch
from tests.detectors.passes.fleet import PERIOD, Fault, Torus, healthy, named, slow

FEATURES = 6
NAMES = tuple(f"f{one}" for one in range(FEATURES))


def together(rows: int, seed: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Give readings that all follow one load."""
    dice = np.random.default_rng(seed)
    return dice.normal(0, 1, (rows, 1)) * np.linspace(0.5, 1.5, FEATURES) + dice.normal(0, 0.1, (rows, FEATURES))


MODEL = learn(together(2000, 1), NAMES, began=0.0, ended=2000.0)


# ── a model ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_high_load_is_not_odd_and_readings_that_never_stood_together_are() -> None:
    load = np.full((1, FEATURES), 2.0) * np.linspace(0.5, 1.5, FEATURES)
    torn = load * np.array([1, -1, 1, -1, 1, -1])  # each of them well within what was seen
    usual = MODEL.oddity(together(500, 2))
    assert MODEL.oddity(load)[0] < np.quantile(usual, 0.999)
    assert MODEL.oddity(torn)[0] > 5 * usual.max()


def test_what_is_missing_is_not_odd_and_a_row_of_nothing_says_nothing() -> None:
    rows = together(3, 3)
    rows[1, 2], rows[2] = np.nan, np.inf
    odd = MODEL.oddity(rows)
    assert odd[1] <= np.quantile(MODEL.oddity(together(500, 2)), 0.999)
    assert np.isnan(odd).tolist() == [False, False, True]


def test_a_model_says_what_it_was_learnt_from_and_the_same_history_gives_the_same_one() -> None:
    again, other = (learn(together(2000, seed), NAMES, began=0.0, ended=2000.0) for seed in (1, 9))
    assert (MODEL.rows, MODEL.began, MODEL.ended, MODEL.features) == (2000, 0.0, 2000.0, NAMES)
    assert MODEL.version == again.version != other.version
    assert MODEL.version.startswith(learned.METHOD)


@pytest.mark.parametrize(
    "history",
    [
        pytest.param(np.zeros((0, FEATURES)), id="none"),
        pytest.param(np.full((50, FEATURES), np.nan), id="nothing but holes"),
        pytest.param(np.ones((50, FEATURES)), id="nothing ever changed"),
        pytest.param(together(3, 4), id="fewer rows than features"),
        pytest.param(together(50, 4)[:, :2], id="two features"),
    ],
)
def test_a_poor_history_makes_a_model_without_a_plane(history: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> None:
    model = learn(history, NAMES[: history.shape[1]], began=0.0, ended=0.0)
    assert model.components.shape == (0, history.shape[1])
    assert np.isfinite(model.oddity(np.ones((2, history.shape[1])))).all()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), unit=st.sampled_from([1.0, 1e3]))
def test_a_whole_tick_is_scored_as_its_rows_are(seed: int, unit: float) -> None:
    rows = together(20, seed) * unit
    assert np.allclose(MODEL.oddity(rows), [MODEL.oddity(row[None])[0] for row in rows], rtol=1e-4, atol=1e-4)


def test_who_only_judges_does_not_load_scikit_learn() -> None:
    code = "import sys, sliceward.detectors.passes.learned; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # noqa: S603 (our own code)


# ── one machine ───────────────────────────────────────────────────────────────────────────────────────────────────────

MINUTE = 60.0


def test_a_machine_that_is_odd_is_told_once_for_a_while_and_the_same_history_is_not_told_of() -> None:
    lone = Lone.learn(together(4 * 1440, 5), period=MINUTE)
    readings = together(1000, 6)
    readings[500:510, 1::2] *= -1
    readings[500:510] *= 2
    told = np.array([lone.step(one) for one in readings])
    above = np.flatnonzero(told >= lone.told)
    assert above.min() in range(500, 504)
    assert above.max() in range(509 + lone.hold - 5, 509 + lone.hold + 5)
    assert told[:500].max() <= lone.watched


def test_a_reading_that_is_none_changes_nothing_and_what_comes_later_neither() -> None:
    readings = together(60, 8)
    readings[30] = np.nan
    one, other = (Lone.learn(together(1440, 5), period=MINUTE) for _ in range(2))
    whole = [one.step(row) for row in readings]
    assert [other.step(row) for row in readings[:40]] == whole[:40]
    assert whole[30] == whole[29]


# ── a fleet ───────────────────────────────────────────────────────────────────────────────────────────────────────────

MEMBERS, LOOKS, NEED = 200, 2 * learned.ENOUGH + learned.ENOUGH + 40, 18.0
ROLES = np.repeat([0, 1], MEMBERS // 2)


def a_crowd(role: np.ndarray[tuple[int], np.dtype[np.intp]] = ROLES) -> Evidence:
    return Evidence.new(Crowd("chip", role), tuple(Signal(name, meter=name) for name in NAMES))


def looked(evidence: Evidence, fleet: Fleet, *, since: int = LOOKS, until: int = LOOKS, looks: int = LOOKS) -> list[Verdict]:
    told = []
    for look in range(looks):
        rows = together(MEMBERS, 1000 + look)
        if since <= look < until:
            rows[17] *= np.array([1, -1, 1, -1, 1, -1])
        evidence.base.short = rows.T.astype(np.float32)
        evidence.scores = evidence.base.short
        told += fleet.look(evidence, 60.0 * look, NEED)
    return told


@pytest.mark.parametrize("role", [ROLES, np.zeros(MEMBERS, dtype=np.intp)], ids=["two roles", "one role"])
def test_a_member_whose_readings_never_stood_together_so_is_a_suspect_and_no_more_and_is_cleared(
    role: np.ndarray[tuple[int], np.dtype[np.intp]],
) -> None:
    fleet = Fleet()
    told = looked(a_crowd(role), fleet, since=LOOKS - 30, until=LOOKS, looks=LOOKS + 60)
    assert [(one.level, one.kind, one.label) for one in told] == [(Level.SUSPECT, "chip", 17), (Level.CLEARED, "chip", 17)]
    assert told[0].signals[0][0].startswith(f"learned ({learned.METHOD} ")
    assert "rows from 0 to" in told[0].signals[0][0]


def test_those_that_another_pass_accuses_teach_nothing_and_are_not_named_twice() -> None:
    evidence, fleet = a_crowd(), Fleet()
    evidence.most[0, 17] = 40.0
    assert looked(evidence, fleet, since=0, until=LOOKS) == []
    assert all(17 not in members for _, members, _ in fleet.history)


def test_nothing_is_said_before_enough_is_known() -> None:
    assert looked(a_crowd(), Fleet(), since=LOOKS - 70, until=LOOKS - 60, looks=LOOKS - 60) == []


def test_a_fleet_of_which_nobody_is_calm_learns_later() -> None:
    evidence, fleet = a_crowd(), Fleet()
    evidence.most[:] = 40.0
    assert looked(evidence, fleet, looks=learned.ENOUGH + 3) == []
    assert fleet.models == {}
    evidence.most[:] = 0.0
    looked(evidence, fleet, looks=1)
    assert set(fleet.models) == {0, 1}


def test_a_machine_that_takes_the_place_of_another_is_learnt_anew_and_held_back() -> None:
    evidence, fleet = a_crowd(), Fleet()
    looked(evidence, fleet, since=LOOKS - 5)
    assert fleet.base is not None
    assert fleet.bank is not None
    fleet.suspected[17] = learned.Suspected(0, 20.0)
    fleet.anew(np.array([17]))
    assert fleet.bank.nats[:, 0, 17].max() == fleet.base.seen[0, 17] == 0
    assert fleet.suspected == {}
    Fleet().anew(np.array([3]))


# ── in a watch ────────────────────────────────────────────────────────────────────────────────────────────────────────


def convinced(watch: Watch, chip: int) -> None:
    """Let the learned pass have enough against a chip, as after hours."""
    chips = watch.crowds["chip"]
    fleet = watch.models["chip"] = Fleet(base=peers.Baseline.new(1, len(chips.crowd)), bank=drift.Bank.new(1, len(chips.crowd)))
    rows = chips.base.short.T
    fleet.models[0] = learn(rows, tuple(one.called for one in chips.signals[: chips.gauges]), began=0.0, ended=600.0)
    assert fleet.base is not None
    assert fleet.bank is not None
    fleet.base.seen[:], fleet.base.ticks, fleet.looks = 500, 500, 500
    fleet.base.scale[:] = 1
    fleet.bank.nats[:, 0, chip] = 40


def watched(ticks: int, *faults: Fault, convinced_at: int) -> tuple[Watch, list[Verdict]]:
    tori = Torus()
    watch, read, told = Watch(tori.layout()), healthy(tori, 1), list[Verdict]()
    for tick in range(ticks):
        readings = read(tick)
        for fault in faults:
            fault(tick, readings)
        if tick == convinced_at:
            convinced(watch, 17)
        told += [*watch.step(tick * PERIOD, readings), *watch.look()]
    return watch, told


def test_the_learned_pass_makes_suspects_and_condemns_nobody() -> None:
    watch, told = watched(126, convinced_at=110)
    assert named(told) == [("chip", 17)]
    assert named(told, Level.CONDEMNED) == []
    assert watch.docket.standing["chip", 17].learned
    assert not watch.crowds["chip"].muted.any()


def test_a_suspect_of_the_learned_pass_is_condemned_when_the_others_say_so_by_themselves() -> None:
    watch, told = watched(165, slow([17], 0.03, since=122), convinced_at=110)
    assert named(told) == [("chip", 17), ("chip", 17)]
    assert named(told, Level.CONDEMNED) == [("chip", 17)]
    assert not watch.docket.standing["chip", 17].learned


def test_a_look_now_and_then_asks_for_less_than_all_series_each_tick() -> None:
    assert learned.need(0.5, 10.0) < 20
