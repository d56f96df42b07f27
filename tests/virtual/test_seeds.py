"""Whole stories in virtual time: faults, kills, outages, failing calls and people who meddle, each drawn from a number.

A seed that fails says how it is played again; CONTRIBUTING.md tells what to do with it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from tests.virtual.found import FOUND, OPEN
from tests.virtual.play import play, played

ROOT = Path(__file__).resolve().parents[2]
SEEDS = 2_000
PATIENCE = 900
"""Seconds; they take less than a minute on two cores that have nothing else to do."""


def _command(*words: str, hashing: int = 0) -> subprocess.Popen[str]:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / ".types"), str(ROOT)]), "PYTHONHASHSEED": str(hashing)}
    command = [sys.executable, "-m", "tests.virtual.play", *words]
    return subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # noqa: S603 (our own)


def _said(process: subprocess.Popen[str]) -> str:
    try:
        return process.communicate(timeout=PATIENCE)[0]
    finally:
        process.kill()


def test_two_thousand_seeds_keep_every_invariant_and_come_to_their_end() -> None:
    shares = os.cpu_count() or 1
    edges = [SEEDS * share // shares for share in range(shares + 1)]
    players = [_command(*_without_open(first, after)) for first, after in pairwise(edges)]
    told = [_said(player) for player in players]
    assert all(player.returncode == 0 for player in players), "\n".join(told)


def _without_open(first: int, after: int) -> list[str]:
    edges = [first - 1, *sorted(seed for seed in OPEN if first <= seed < after), after]
    return [f"{before + 1}-{end - 1}" for before, end in pairwise(edges) if before + 1 < end]


def test_the_seeds_that_are_known_to_end_badly_still_do() -> None:
    well = [seed for seed in OPEN if not play(seed).broken]
    assert not well, "they end well now: move them to FOUND, and take them out of docs/limits.md"


@pytest.mark.parametrize("seed", FOUND)
def test_a_seed_that_once_found_something_is_played_again(seed: int) -> None:
    result = play(seed)
    assert not result.broken, str(result)


def test_a_seed_tells_the_same_story_in_another_process() -> None:
    here, there = (_said(_command("-v", "0-9", hashing=hashing)).splitlines() for hashing in (1, 2))
    assert here[:-1] == there[:-1]
    assert [result.digest for result in played(range(10))] == [line.split()[-1] for line in here if line.startswith("  digest ")]


def test_stories_are_not_all_alike() -> None:
    results = list(played(range(40)))
    assert len({result.digest for result in results}) == len(results)
    assert any(result.lives > 1 for result in results)
