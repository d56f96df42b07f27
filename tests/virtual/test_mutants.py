"""The seeds find a safety rule that is taken out: what they hold, they hold for a reason.

The seeds that found it are played first, so that this is quick; they tell another story once the product changes, and then others are
tried. Rules whose loss no seed finds reliably are named in docs/limits.md.
"""

from __future__ import annotations

import pytest

from tests.virtual.mutants import MUTANTS, Mutant
from tests.virtual.play import Result, played

SEEDS = 1_000
"""How many more a mutant may outlive where those that once found it do not any more."""


def _tells(result: Result, mutant: Mutant) -> bool:
    signs = [f"invariant {number} " for number in mutant.rules] or ["no end "]
    return any(what.startswith(sign) for sign in signs for what in result.broken)


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_a_safety_rule_that_is_taken_out_is_missed(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant.plant(monkeypatch)
    found = next((result for result in played((*mutant.seeds, *range(SEEDS))) if _tells(result, mutant)), None)
    assert found is not None, f"{SEEDS} seeds found nothing"
