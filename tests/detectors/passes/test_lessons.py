"""What the learned pass knows goes over to another watch: after a restart, and when hosts come or go."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from sliceward.detectors.passes import drift, learned, peers
from sliceward.detectors.passes.keeping import Kept, kept, take_over, without_evidence
from sliceward.detectors.passes.lessons import BadLessons
from sliceward.detectors.passes.sound import check
from sliceward.detectors.passes.verdicts import Standing
from sliceward.detectors.passes.watch import Watch
from tests.detectors.passes.test_keeping import NOBODY, laid_out

if TYPE_CHECKING:
    from sliceward.detectors.passes.fleet import Places

NAMES = {"chip": ("chip_duty_cycle_percent", "chip_throttle_score", "chip_hbm_correctable_total"), "link": ("link_health",)}
SUSPECTED = "c1/chip/cube-0-host-07/1"
NUMBER = 4 * 7 + 1


def a_watch(places: Places, names: dict[str, tuple[str, ...]] | None = None) -> Watch:
    watch = Watch(places.layout)
    watch.prepare(names or NAMES)
    return watch


def taught(places: Places) -> Watch:
    """Give a watch with a model of the chips of one slice, a history of three looks, and a suspect."""
    watch, dice = a_watch(places), np.random.default_rng(1)
    watch.tick = 4000
    evidence = watch.crowds["chip"]
    features, count = learned.features_of(evidence), len(evidence.crowd)
    fleet = watch.models["chip"] = learned.Fleet(looks=66)
    fleet.models[0] = learned.learn(dice.normal(0, 1, (50, len(features))), features, began=1000.0, ended=9000.0)
    for look in range(3):
        chosen = np.arange(look, count, 7)
        fleet.history.append((100.0 * look, chosen, np.tile(chosen[:, None], len(features)).astype(np.float32)))
    fleet.base, fleet.bank = peers.Baseline.new(1, count), drift.Bank.new(1, count)
    fleet.base.offset[0], fleet.base.ticks, fleet.bank.ticks = np.arange(count), 66, 50
    fleet.bank.nats[:, 0, NUMBER] = 12.0
    fleet.suspected[NUMBER] = learned.Suspected(1, 21.0, 1)
    watch.docket.standing[("chip", NUMBER)] = Standing(3000, "chip", fleet.told(evidence, NUMBER), 1, 21.0, learned=True)
    return watch


def test_under_other_numbers_models_history_and_suspects_are_those_of_before() -> None:
    places, fewer = laid_out(), laid_out(without=5)
    watch, new = taught(places), a_watch(fewer)
    take_over(new, fewer, kept(watch, places, NOBODY), NOBODY)
    before, now = watch.models["chip"], new.models["chip"]
    assert (now.looks, set(now.models), now.models[0].version) == (66, {0}, before.models[0].version)
    assert (now.models[0].began, now.models[0].ended, now.models[0].rows) == (1000.0, 9000.0, 50)
    key = fewer.label(SUSPECTED)
    assert key is not None
    assert set(new.docket.standing) == {key}
    assert new.docket.standing[key].learned
    assert asdict(now.suspected[key[1]]) == asdict(before.suspected[NUMBER])
    assert now.base is not None
    assert now.bank is not None
    assert np.array_equal(now.base.offset[0], np.arange(20, 256))
    assert now.bank.nats[0, 0, key[1]] == 12
    assert [at for at, _, _ in now.history] == [0.0, 100.0, 200.0]
    for _, chosen, rows in now.history:
        assert np.array_equal(rows[:, 0], chosen + 20.0), "each row is still of its member"


def test_from_disk_come_models_and_suspects_but_no_evidence() -> None:
    places = laid_out()
    before = without_evidence(kept(taught(places), places, NOBODY))
    before = replace(before, lessons=json.loads(json.dumps(before.lessons)))
    check(before)
    new = a_watch(places)
    take_over(new, places, before, NOBODY)
    now = new.models["chip"]
    assert now.bank is not None
    assert (set(now.models), set(now.suspected), now.bank.nats.max()) == ({0}, {NUMBER}, 0)


def test_a_role_that_is_another_and_features_that_are_others_are_learnt_anew() -> None:
    places = laid_out()
    before = kept(taught(places), places, NOBODY)
    arrays = {**before.arrays, "learned/chip/role": np.arange(256) % 3}
    new = a_watch(places)
    take_over(new, places, replace(before, arrays=arrays), NOBODY)
    assert (new.models["chip"].models, new.docket.standing) == ({}, {})
    other = a_watch(places, {"chip": ("chip_throttle_score",), "link": ("link_health",)})
    take_over(other, places, before, NOBODY)
    taken = a_watch(places)
    lessons = {"chip": {**before.lessons["chip"], "method": "plane 0"}}
    take_over(taken, places, replace(before, lessons=lessons), NOBODY)
    assert taken.models == {}


def spoilt(before: Kept, what: str) -> Kept:
    said: dict[str, Any] = dict(before.lessons["chip"])
    arrays = dict(before.arrays)
    match what:
        case "looks":
            said["looks"] = -1
        case "suspects":
            said["suspected"] = [[999, 0, 1.0, 0]]
        case "window":
            said["models"] = {"0": [5.0, 1.0, 3]}
        case "model/0/middle" | "base/offset" | "bank/moment":
            arrays[f"learned/chip/{what}"] = np.zeros((7, 9))
        case "model/0/spread":
            arrays[f"learned/chip/{what}"] = np.zeros_like(arrays[f"learned/chip/{what}"])
        case "history/members":
            arrays[f"learned/chip/{what}"] = arrays[f"learned/chip/{what}"] + 1000
        case _:
            arrays[f"learned/chip/{what}"] = arrays[f"learned/chip/{what}"][:5]
    return replace(before, arrays=arrays, lessons={"chip": said})


@pytest.mark.parametrize(
    "what",
    ["looks", "suspects", "window", "model/0/middle", "model/0/spread", "base/offset", "bank/moment", "history/members", "history/rows", "role"],
)  # fmt: skip
def test_lessons_that_nobody_gives_are_refused(what: str) -> None:
    places = laid_out()
    before = spoilt(kept(taught(places), places, NOBODY), what)
    with pytest.raises(BadLessons):
        take_over(a_watch(places), places, before, NOBODY)
