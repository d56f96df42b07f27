"""A sick link with the coordinator killed -9 right before every effect that it has: the end must be the same, and nothing done twice."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tests.flows.real.fleet import Pace, a_real_fleet
from tests.flows.real.healing import strike
from tests.flows.real.toll import Gate

if TYPE_CHECKING:
    from pathlib import Path

    from tests.flows.real.fleet import RealFleet

HASTE = {"leader": {"duration": "4s", "renew_every": "1s", "give_up_after": "3s"}}
"""So that the other replica does not wait long for each death."""
EFFECTS = {
    "page trigger",
    "PATCH nodes taints mark",
    "request checkpoint",
    "PATCH jobsets suspend true",
    "repair",
    "request device-check",
    "PATCH nodes taints give back",
    "page resolve",
}


def nothing_was_done_twice(fleet: RealFleet, gate: Gate) -> None:
    """One suspension; one repair and one key a host; one end by force a pod; each page under one id."""
    once = Counter(
        (effect.kind, effect.of) for effect in gate.passed if effect.kind.startswith(("PATCH jobsets suspend true", "DELETE"))
    )
    assert set(once.values()) <= {1}, once
    asked = {effect.of for effect in gate.passed if effect.kind == "repair"}
    assert len(asked) == len(fleet.world.provider.works), asked
    pages = {(effect.kind, effect.of) for effect in gate.passed if effect.kind.startswith("page")}
    assert sorted(kind for kind, _ in pages) == ["page resolve", "page trigger"], pages


async def test_a_coordinator_that_dies_before_each_effect_heals_a_sick_link_all_the_same(tmp_path: Path, kubectl: str) -> None:
    gate = Gate("before")
    async with a_real_fleet(tmp_path, kubectl, gate=gate, pace=Pace(more=HASTE)) as fleet:
        healing = await strike(fleet, "link-degraded")
        await healing.marked()
        healing.check(await healing.healed())
        assert set(gate.struck) >= EFFECTS, gate.struck
        nothing_was_done_twice(fleet, gate)
