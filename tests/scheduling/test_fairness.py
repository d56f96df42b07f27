"""Fair parts: the figures of Kueue's design, and what a tenant borrows."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sliceward.scheduling.fairness import Claim, borrowed, fair_part, fair_parts, own
from sliceward.topology.errors import Misconfigured
from tests.scheduling.grounds import V6E, a_snapshot, pools, running

ENOUGH = 1_000.0


def test_kep_1714_story_3_two_cohorts_share_300_and_one_divides_its_half_by_weights() -> None:
    ml = Claim("ml", members=(Claim("a", ENOUGH), Claim("b", ENOUGH), Claim("c", ENOUGH, weight=3.0)))
    parts = fair_parts(300.0, [ml, Claim("web", ENOUGH)])
    assert parts == pytest.approx({"ml": 150.0, "web": 150.0, "a": 30.0, "b": 30.0, "c": 90.0})


def test_who_wants_less_leaves_the_rest_to_the_others() -> None:
    assert fair_parts(300.0, [Claim("a", 50.0), Claim("b", ENOUGH), Claim("c", ENOUGH)]) == {"a": 50.0, "b": 125.0, "c": 125.0}


def test_what_is_guaranteed_comes_before_every_share() -> None:
    assert fair_parts(300.0, [Claim("a", ENOUGH, guaranteed=200.0), Claim("b", ENOUGH)]) == {"a": 250.0, "b": 50.0}
    assert fair_parts(300.0, [Claim("a", 10.0, guaranteed=200.0), Claim("b", ENOUGH)]) == {"a": 10.0, "b": 290.0}


def test_guarantees_that_are_more_than_there_is_shrink_alike() -> None:
    assert fair_parts(300.0, [Claim("a", 400.0, guaranteed=400.0), Claim("b", 200.0, guaranteed=200.0)]) == {
        "a": 200.0,
        "b": 100.0,
    }


@pytest.mark.parametrize(("wants", "weight", "kept"), [(1, 0, 0), (math.nan, 1, 0), (1, 1, -1), (1, math.inf, 0)])
def test_a_claim_that_is_none_is_refused_by_name(wants: float, weight: float, kept: float) -> None:
    with pytest.raises(Misconfigured, match="claim of a"):
        Claim("a", wants, weight, kept)


CLAIMS = st.lists(st.tuples(st.floats(0, 500), st.floats(0.1, 9), st.floats(0, 300)), min_size=1, max_size=6)


@given(st.floats(1, 1_000), CLAIMS)
def test_nobody_could_have_more_without_another_of_less_having_less(
    amount: float, told: list[tuple[float, float, float]]
) -> None:
    claims = [Claim(str(n), wants, weight, kept) for n, (wants, weight, kept) in enumerate(told)]
    parts = fair_parts(amount, claims)
    assert sum(parts.values()) == pytest.approx(min(amount, sum(claim.wants for claim in claims)))
    kept = sum(min(claim.wants, claim.guaranteed) for claim in claims)
    if kept > amount:
        return
    over = {claim.name: (parts[claim.name] - min(claim.wants, claim.guaranteed)) / claim.weight for claim in claims}
    for claim in claims:
        assert parts[claim.name] <= claim.wants + 1e-6
        assert parts[claim.name] >= min(claim.wants, claim.guaranteed) - 1e-6
        if parts[claim.name] < claim.wants - 1e-6:
            assert over[claim.name] >= max(over.values()) - 1e-6


def test_borrowed_is_what_is_beyond_a_quota_and_nothing_where_nobody_has_one() -> None:
    three = pools()
    snapshot = a_snapshot(three).with_gangs([running("a", three, slice(0, 4)), running("b", three, slice(4, 8), tenant="u")])
    assert own(snapshot, ("t", V6E)) is None
    assert borrowed(snapshot, ("t", V6E)) is None
    with_quota = snapshot.with_quota({("t", V6E): 12})
    assert (own(with_quota, ("u", V6E)), borrowed(with_quota, ("u", V6E))) == (0, 16)
    assert [borrowed(with_quota, ("t", V6E), more=more) for more in (-8, 0, 8)] == [0, 4, 12]
    assert borrowed(replace(with_quota, usage={}), ("t", V6E)) == 0


def test_a_fair_part_counts_what_the_others_hold() -> None:
    three = pools()
    snapshot = a_snapshot(three).with_gangs(
        [running("a", three, slice(0, 4)), running("b", three, slice(4, 12), tenant="u", topology="4x8")]
    )
    assert fair_part(snapshot, ("t", V6E)) == 16
    assert fair_part(snapshot, ("t", V6E), more=16) == 24
    assert fair_part(snapshot.with_quota({("u", V6E): 32}), ("t", V6E), more=16) == 16
