"""Both ways to heal with the coordinator killed -9 before and after every effect that it has: the same end, and nothing done twice."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import pytest

from tests.flows.real.fleet import Pace, a_real_fleet
from tests.flows.real.healing import strike
from tests.flows.real.toll import Gate

if TYPE_CHECKING:
    from pathlib import Path

    from tests.flows.real.fleet import RealFleet

BOTH = ("before", "after")
CHECKPOINT = "request checkpoint"
"""Where a host of the gang cannot answer it is asked for during 5 s: who comes after may come too late to ask."""
ASKED = {"page trigger", CHECKPOINT, "repair", "request device-check", "page resolve"}
"""What a far end is asked for under an id. A repeat carries the same, and nothing more is done."""
WRITTEN = {
    "PATCH nodes taints mark",
    "PATCH jobsets suspend true",
    "PATCH nodes sliceward.dev/gang",
    "PATCH jobsets replicatedJobs",
    "PATCH jobsets suspend false",
    "PATCH nodes taints give back",
}
"""What stands for all to see. Who comes after sees it, and does not write it again."""
EFFECTS = {"link-degraded": ASKED | WRITTEN, "host-died": ASKED - {CHECKPOINT} | WRITTEN | {"DELETE pods"}}


def nothing_was_done_twice(fleet: RealFleet, gate: Gate) -> None:
    """Whoever died after an effect was followed by one who did not do it again; what was asked again, was asked under the same id."""
    passed, ids = Counter(gate.passed), defaultdict[str, set[str]](set)
    for effect in passed:
        ids[effect.kind].add(effect.of)
    again = {blow.effect: passed[blow.effect] for blow in gate.blows if blow.when == "after"}
    assert {effect.kind for effect, times in again.items() if times > 1} | {CHECKPOINT} == ASKED, again
    assert {times for effect, times in passed.items() if effect.kind in {"PATCH jobsets suspend true", "DELETE pods"}} == {1}, (
        passed
    )
    assert len(ids["repair"]) == len(fleet.world.provider.works), ids["repair"]
    assert [len(ids[kind]) for kind in ("page trigger", "page resolve")] == [1, 1], ids
    assert fleet.receiver.repeats == 2
    for kind in (CHECKPOINT, "request device-check"):
        # <operation>.<host>
        assert len({each.rpartition(".")[0] for each in ids[kind]}) <= 1, ids[kind]


@pytest.mark.parametrize("fault", EFFECTS)
async def test_a_coordinator_that_dies_before_and_after_each_effect_heals_all_the_same(
    fault: str, tmp_path: Path, kubectl: str
) -> None:
    gate = Gate()
    async with a_real_fleet(tmp_path, kubectl, gate=gate, pace=Pace(node_grace=20)) as fleet:
        healing = await strike(fleet, fault)
        await healing.marked()
        healing.check(await healing.healed())
        # Whoever sent the last page died once it was out: it comes again.
        await fleet.until(lambda: [each.kind for each in gate.passed].count("page resolve") == 2, "the last page comes again")
        assert gate.struck >= {(kind, when) for kind in EFFECTS[fault] for when in BOTH}
        assert {effect.kind for effect in gate.passed} <= EFFECTS[fault] | {CHECKPOINT}, "another effect has to be named here"
        nothing_was_done_twice(fleet, gate)
