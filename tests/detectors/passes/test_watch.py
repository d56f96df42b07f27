from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sliceward.detectors.passes.layout import Cabling, torus
from sliceward.detectors.passes.verdicts import Level, Verdict
from sliceward.detectors.passes.watch import Watch
from tests.detectors.passes.fleet import PERIOD, Fault, Readings, Torus, erring, healthy, named, run, shift, slow

TORUS = Torus()
ONSET, END = 90, 150


def members(of: np.ndarray[tuple[int], np.dtype[np.intp]], number: int) -> list[int]:
    return [int(one) for one in np.flatnonzero(of == number)]


FAULTS = [
    pytest.param(("chip", 17), [slow([17], 0.03, since=ONSET)], id="a slow chip"),
    pytest.param(("host", 5), [shift("infeed", members(TORUS.host, 5), 0.01, since=ONSET)], id="a host that feeds late"),
    pytest.param(("cube", 1), [shift("temp", members(TORUS.cube, 1), 2.0, since=ONSET)], id="a cube that is cooled badly"),
    pytest.param(("link", 40), [erring([40], 1.0, since=ONSET)], id="a link that errs"),
    pytest.param(("link", 124), [erring([124], 20.0, since=ONSET)], id="a link that errs much is not its switch"),
    pytest.param(("ocs", 35), [erring(members(TORUS.cabling.switch, 35), 1.0, since=ONSET)], id="a switch that errs"),
]


@pytest.mark.parametrize(("part", "faults"), FAULTS)
def test_a_sick_part_is_named_and_nothing_else_is(part: tuple[str, int], faults: list[Fault]) -> None:
    assert named(run(TORUS, END, *faults)) == [part]


def test_two_faults_at_once_are_named_both() -> None:
    faults = slow([17], 0.03, since=ONSET), slow([90], 0.04, since=ONSET), erring([40], 1.0, since=ONSET)
    assert set(named(run(TORUS, END, *faults))) == {("chip", 17), ("chip", 90), ("link", 40)}


def test_nothing_is_said_of_the_healthy_nor_before_baselines_are_known() -> None:
    assert run(TORUS, 300) == []
    assert run(TORUS, 55, slow([3], 0.2, since=30)) == []


def test_what_two_meters_say_is_condemned_and_what_one_says_is_not() -> None:
    two = run(TORUS, END, slow([17], 0.03, since=ONSET))
    one = run(TORUS, END, shift("busy", [17], 0.03, since=ONSET))
    assert named(two, Level.CONDEMNED) == [("chip", 17)]
    assert named(one) == [("chip", 17)]
    assert named(one, Level.CONDEMNED) == []


def test_a_part_that_recovers_is_cleared_and_counts_as_an_offender_when_it_comes_back() -> None:
    def ill(tick: int, readings: Readings) -> None:
        if ONSET <= tick < ONSET + 20 or tick >= 220:
            readings["chip"]["busy"][17] += 0.03

    told = run(TORUS, 260, ill)
    assert [(one.level, one.label) for one in told] == [(Level.SUSPECT, 17), (Level.CLEARED, 17), (Level.SUSPECT, 17)]
    assert told[0].offences == 1.0
    assert 1.9 < told[2].offences < 2.0


def test_a_part_that_was_borne_out_is_named_sooner_when_it_falls_ill_again() -> None:
    def told(*, forgiven: bool) -> Verdict:
        watch = Watch(TORUS.layout())

        def ill(tick: int, readings: Readings) -> None:
            slow([17], 0.03 * (ONSET <= tick < ONSET + 15), since=ONSET)(tick, readings)
            shift("busy", [17], 0.011, since=210)(tick, readings)
            if tick == 210:
                assert watch.docket.proven.keys() == {("chip", 17)}
                if forgiven:
                    watch.docket.proven.clear()
                    watch.docket.found = (0.0, 0)

        return next(one for one in run(TORUS, 260, ill, watch=watch) if one.at >= 210 * PERIOD)

    soon, late = told(forgiven=False), told(forgiven=True)
    assert (soon.kind, soon.label) == (late.kind, late.label) == ("chip", 17)
    assert soon.at < late.at
    assert soon.nats < late.nats


# ── invariants ────────────────────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_same_stream_gives_the_same_verdicts(seed: int) -> None:
    fault = slow([17], 0.02, since=ONSET)
    assert run(TORUS, 120, fault, seed=seed) == run(TORUS, 120, fault, seed=seed)


@settings(max_examples=3, deadline=None)
@given(cut=st.integers(70, 120), seed=st.integers(0, 2**32 - 1))
def test_what_comes_later_changes_nothing_that_was_said(cut: int, seed: int) -> None:
    fault = slow([17], 0.02, since=ONSET)
    whole = run(TORUS, 130, fault, seed=seed)
    other = run(TORUS, 130, fault, shift("temp", [3], 30.0, since=cut), seed=seed)
    assert [one for one in other if one.at < cut * PERIOD] == [one for one in whole if one.at < cut * PERIOD]


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_relabelled_fleet_gives_the_relabelled_verdicts(seed: int) -> None:
    dice = np.random.default_rng(seed)
    chips, links = dice.permutation(TORUS.chips), dice.permutation(TORUS.links)  # new number of each
    hosts, cubes = dice.permutation(TORUS.host.max() + 1), dice.permutation(2)
    old_chip, old_link = np.argsort(chips), np.argsort(links)
    cabling = Cabling(chips[TORUS.cabling.one][old_link], chips[TORUS.cabling.other][old_link], TORUS.cabling.switch[old_link])
    other = Watch(torus(hosts[TORUS.host][old_chip], cubes[TORUS.cube][old_chip], cabling))
    new = {"chip": chips, "host": hosts, "cube": cubes, "link": links, "ocs": np.arange(48)}
    watch, read = Watch(TORUS.layout()), healthy(TORUS, seed)
    ill = slow([17], 0.03, since=80), shift("infeed", members(TORUS.host, 5), 0.01, since=100), erring([40], 1.0, since=85)
    told, again = [], []
    for tick in range(120):
        readings = read(tick)
        for fault in ill:
            fault(tick, readings)
        told += watch.step(tick * PERIOD, readings)
        moved = {
            "chip": {name: column[old_chip] for name, column in readings["chip"].items()},
            "link": {"err": readings["link"]["err"][old_link]},
        }
        again += other.step(tick * PERIOD, moved)
    assert len(told) >= 3
    assert sorted((v.kind, v.label, v.level, v.at) for v in again) == sorted(
        (v.kind, int(new[v.kind][v.label]), v.level, v.at) for v in told
    )


# ── inputs that hurt ──────────────────────────────────────────────────────────────────────────────────────────────────


def restart(tick: int, readings: Readings) -> None:
    if tick >= ONSET:
        readings["chip"]["ecc"][members(TORUS.host, 5)] -= 400
        readings["link"]["err"][:60] %= 1000


def nonsense(tick: int, readings: Readings) -> None:
    if tick > 20:
        readings["chip"]["busy"][tick % 128] = np.inf
        readings["chip"]["temp"][(tick * 7) % 128] = -np.inf
        readings["chip"]["ecc"][(tick * 5) % 128] = np.nan
        readings["link"]["err"][(tick * 3) % 384] = np.inf


def gone(tick: int, readings: Readings) -> None:
    if tick >= ONSET:
        del readings["chip"]["temp"]
        del readings["link"]["err"]


def dropout(tick: int, readings: Readings) -> None:
    lost = np.random.default_rng(tick).random(128) < 0.3
    for column in readings["chip"].values():
        column[lost] = np.nan


def reboots(tick: int, readings: Readings) -> None:
    for host in range(32):
        chips, since = members(TORUS.host, host), ONSET + 2 * host
        for name, column in readings["chip"].items():
            if since <= tick < since + 6:
                column[chips] = np.nan
            elif name == "ecc" and tick >= since:
                column[chips] %= 7


def wave(tick: int, readings: Readings) -> None:
    load = 0.2 * np.sin(tick / 15)
    readings["chip"]["busy"] *= 1 + load
    readings["chip"]["temp"] += 12 * load


def replugged(tick: int, readings: Readings) -> None:
    if tick >= ONSET:
        for column in readings["chip"].values():
            column[[3, 77]] = column[[77, 3]]


def glitch(tick: int, readings: Readings) -> None:
    if tick % 20 == 0:
        readings["chip"]["infeed"][members(TORUS.host, tick // 20)] += 1.0
    if tick >= 100:
        readings["link"]["err"][7] += 500


HURTS = [restart, nonsense, gone, dropout, reboots, wave, glitch]


@pytest.mark.parametrize("hurt", HURTS, ids=lambda hurt: hurt.__name__)
def test_what_is_wrong_with_the_readings_accuses_nobody(hurt: Fault) -> None:
    assert run(TORUS, 220, hurt) == []


@pytest.mark.parametrize("seed", range(4))
def test_a_chip_under_another_index_condemns_nobody(seed: int) -> None:
    assert named(run(TORUS, 220, replugged, seed=seed), Level.CONDEMNED) == []


def test_ticks_that_come_twice_or_out_of_order_change_nothing() -> None:
    def told(*, twice: bool) -> list[Verdict]:
        watch, read, said = Watch(TORUS.layout()), healthy(TORUS, 5), list[Verdict]()
        before: Readings | None = None
        for tick in range(120):
            readings = read(tick)
            slow([17], 0.02, since=ONSET)(tick, readings)
            said += watch.step(tick * PERIOD, readings)
            if twice:
                said += watch.step(tick * PERIOD, readings)
                said += watch.step((tick - 1) * PERIOD, before or readings)
            before = readings
        return said

    assert told(twice=True) == told(twice=False) != []


def test_missing_is_never_healthy() -> None:
    def silent(tick: int, readings: Readings) -> None:
        if tick >= 120:
            for column in readings["chip"].values():
                column[:] = np.nan

    told = run(TORUS, 400, slow([17], 0.03, since=ONSET), silent)
    assert named(told) == [("chip", 17)]
    assert named(told, Level.CLEARED) == []


def test_a_fleet_that_never_spoke_is_not_judged() -> None:
    watch = Watch(TORUS.layout())
    nothing = {"chip": {"busy": np.full(128, np.nan), "ecc": np.full(128, np.nan)}, "link": {"err": np.full(384, np.nan)}}
    assert [watch.step(tick * PERIOD, nothing) for tick in range(100)] == [[]] * 100
