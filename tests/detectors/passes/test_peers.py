from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sliceward.detectors.passes import drift, peers


@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.floats(0, 0.6))
def test_the_median_is_that_of_what_is_there_to_half_a_rank(seed: int, count: int, lost: float) -> None:
    dice = np.random.default_rng(seed)
    role = dice.integers(0, 3, count)
    rows = dice.normal(size=(2, count)).astype(np.float32)
    rows[dice.random(rows.shape) < lost] = np.nan
    found = peers.Roles(role).distances(rows)
    for row in range(2):
        for one in np.unique(role):
            mine = rows[row, role == one]
            there = mine[~np.isnan(mine)]
            middle = found[row, role == one] * -1 + mine
            if len(there):
                half = (len(there) - 1) // 2, len(there) // 2
                low, high = max(0, half[0] - 1), min(len(there) - 1, half[1] + 1)
                if len(there) == len(mine):
                    low, high = half
                assert np.sort(there)[low] - 1e-5 <= middle[~np.isnan(mine)].min()
                assert middle[~np.isnan(mine)].max() <= np.sort(there)[high] + 1e-5
    assert (np.isnan(found) == np.isnan(rows)).all()


def test_peers_are_those_of_the_same_role() -> None:
    role = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    slower_by_design = np.array([[1, 1, 1, 1.5, 2, 2, 2, 2]], dtype=np.float32)
    assert peers.Roles(role).distances(slower_by_design)[0].tolist() == [0, 0, 0, 0.5, 0, 0, 0, 0]


def scores(readings: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    base, roles = peers.Baseline.new(1, readings.shape[1]), peers.Roles(np.zeros(readings.shape[1], dtype=np.intp))
    calm = np.ones((1, readings.shape[1]), dtype=bool)
    rows = [roles.distances(one[None].astype(np.float32)) for one in readings]
    return np.concatenate([peers.deviations(base, one, calm=calm, sample=roles.sample) for one in rows])


def test_scores_are_standard_whatever_the_unit_the_offset_and_the_load() -> None:
    dice = np.random.default_rng(3)
    usual, load = dice.normal(60, 5, 200), 10 * np.sin(np.arange(300) / 20)
    for unit in (1e-3, 1.0, 1e4):
        late = scores(unit * (usual + load[:, None] + dice.normal(0, 0.5, (300, 200))))[100:]
        assert abs(float(late.mean())) < 0.05
        assert 0.9 < float(late.std()) < 1.1


def test_noise_that_remembers_counts_for_less() -> None:
    dice, noise = np.random.default_rng(4), np.zeros((400, 200))
    for tick in range(1, 400):
        noise[tick] = 0.9 * noise[tick - 1] + dice.normal(0, 0.15, 200)
    sums = scores(noise)[200:].sum(axis=0) / np.sqrt(200)
    assert 0.6 < float(sums.std()) < 1.6  # sums of noise that is taken for independent would spread 4.4


def test_a_glitch_at_the_first_reading_is_forgotten() -> None:
    dice = np.random.default_rng(5)
    readings = dice.normal(0, 1, (200, 50))
    readings[0, 7] = 1000
    assert abs(float(scores(readings)[100:, 7].mean())) < 0.3


def test_missing_is_neither_good_nor_bad() -> None:
    dice = np.random.default_rng(6)
    readings = dice.normal(0, 1, (200, 50))
    readings[::3, 7] = np.nan
    found = scores(readings)
    assert np.isnan(found[::3, 7]).all()
    assert abs(float(np.nanmean(found[60:, 7]))) < 0.5


# ── drift ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def alarms(noise: np.ndarray[tuple[int, int, int], np.dtype[np.float64]], nats: float) -> int:
    """Count how often the bank passes ``nats``, beginning anew each time."""
    bank, found = drift.Bank.new(1, noise.shape[2]), 0
    everyone, calm = np.arange(noise.shape[2]), np.ones((1, noise.shape[2]), dtype=bool)
    for one in noise:
        drift.step(bank, np.clip(one, -4, 4).astype(np.float32), sample=everyone, learn=calm)
        over = bank.most >= nats
        found += int(over.sum())
        bank.nats[:, over] = 0
    return found


@pytest.mark.parametrize("name", ["normal", "heavy tails", "one-sided"])
def test_the_run_length_holds_whatever_the_noise(name: str) -> None:
    dice = np.random.default_rng(7)
    noise = {
        "normal": dice.normal(size=(1000, 1, 1000)),
        "heavy tails": dice.standard_t(4, (1000, 1, 1000)) / np.sqrt(2),
        "one-sided": (np.abs(dice.normal(size=(1000, 1, 1000))) - 0.798) / 0.603,
    }[name]
    assert alarms(noise, 7.0) <= 1_000_000 * np.exp(-7.0)


@pytest.mark.parametrize(("shift", "ticks"), [(1.0, 55), (2.0, 16), (4.0, 5)])
def test_evidence_grows_by_half_the_square_of_the_shift(shift: float, ticks: int) -> None:
    bank = drift.Bank.new(1, 1)
    for _ in range(ticks):
        drift.step(bank, np.array([[shift]], dtype=np.float32), sample=np.arange(1))
    assert bank.most[0, 0] >= 0.9 * min(60, ticks * shift**2 / 2)


def test_what_is_missing_changes_no_evidence() -> None:
    bank = drift.Bank.new(1, 2)
    for _ in range(10):
        drift.step(bank, np.array([[2.0, 2.0]], dtype=np.float32), sample=np.arange(2))
    before = bank.nats.copy()
    drift.step(bank, np.array([[np.nan, 0.0]], dtype=np.float32), sample=np.arange(2))
    assert (bank.nats[:, 0, 0] == before[:, 0, 0]).all()
    assert (bank.nats[:, 0, 1] < before[:, 0, 1]).all()
