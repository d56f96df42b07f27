"""A plan says what each way out would cost; where the playbook asks to weigh, a gang for which staying is cheapest stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sliceward.playbooks.explain import explain
from sliceward.remediations.gang_plan import PlanGang
from sliceward.remediations.ports import Progress
from tests.builders import NOW, host_id
from tests.remediations.scene import LLM, Scene, a_scene, default_fleet, done, failed

if TYPE_CHECKING:
    from collections.abc import Mapping

PLAN = PlanGang()


def progress(rate: float, before: float = 1.0, age: float = 20.0) -> Progress:
    return Progress(LLM, NOW, 120, rate, before, 100, age, 32)


async def ways(scene: Scene) -> Mapping[str, float | None]:
    facts = done(await scene.act(PLAN)).facts
    return {way["way"]: way["price"] for way in facts["ways"]}


async def test_a_plan_notes_every_way_the_cheapest_first() -> None:
    found = await ways(a_scene())
    assert set(found) == {"stay", "limp", "swap", "re-stitch", "move", "shrink", "wait", "evict"}
    open_ = [price for price in found.values() if price is not None]
    assert open_ == sorted(open_)
    assert open_


async def test_a_gang_of_which_nobody_has_heard_is_taken_to_stand_still() -> None:
    found = await ways(a_scene())
    assert found["stay"] is None
    assert found["limp"] is None


async def test_a_gang_that_still_makes_steps_may_stay_at_the_price_of_its_slowness() -> None:
    scene = a_scene()
    scene.progress = progress(0.5)
    found = await ways(scene)
    half_a_day_of_all_its_chips = 128 * 86_400 * 0.5
    assert found["stay"] == pytest.approx(half_a_day_of_all_its_chips, rel=0.01)


async def test_a_gang_with_a_dead_host_does_not_stay_whatever_it_told_last() -> None:
    scene = a_scene()
    scene.progress = progress(1.0)
    scene.lost = frozenset({host_id("cube-0-host-05")})
    assert (await ways(scene))["stay"] is None


async def test_by_default_nothing_is_left_undone_because_it_is_cheap_to_stay() -> None:
    scene = a_scene()
    scene.progress = progress(1.0)
    found = await ways(scene)
    assert min(found, key=lambda way: float("inf") if found[way] is None else found[way] or 0.0) == "stay"


async def test_where_the_playbook_asks_to_weigh_a_gang_stays_for_which_that_is_cheapest() -> None:
    scene = a_scene()
    scene.progress = progress(1.0)
    answer = failed(await scene.act(PLAN, weigh="yes"))
    assert "stays where it is, which is cheapest: stay " in answer.why
    assert answer.facts["ways"][0]["way"] == "stay"
    assert "planned_hosts" not in scene.facts


async def test_where_the_playbook_asks_to_weigh_a_gang_that_loses_much_still_moves() -> None:
    scene = a_scene()
    scene.progress = progress(0.5)
    assert done(await scene.act(PLAN, weigh="yes")).facts["planned_hosts"]


async def test_a_plan_without_room_notes_the_ways_too() -> None:
    answer = failed(await a_scene(default_fleet().with_gang("third").on("cube-3")).act(PLAN))
    assert {way["way"] for way in answer.facts["ways"]} >= {"wait", "evict"}


async def test_each_number_of_a_price_says_where_it_is_from() -> None:
    scene = a_scene()
    scene.progress = progress(0.5)
    facts = done(await scene.act(PLAN)).facts
    stay = next(way for way in facts["ways"] if way["way"] == "stay")
    assert "x 0.5 (its step rate, 0 s old)" in " ".join(stay["bill"])


async def test_the_story_of_an_incident_tells_the_ways_and_their_prices() -> None:
    facts = done(await a_scene().act(PLAN)).facts
    step = {"name": "plan", "action": "gang.plan", "state": "done", "text": "2 slices fit", "facts": facts}
    told = explain({"id": "inc-1", "kind": "HostLost", "part": "p", "severity": "error", "steps": [step], "phase": "open"})
    best = facts["ways"][0]
    assert f"way {best['way']}: {best['price']:,} chip-seconds, {best['why']}" in told
    assert "way stay: closed, " in told
