"""The planned hosts and no others carry the gang's label, and its templates select it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sliceward.remediations.gang_place import PlaceGang
from sliceward.remediations.gang_plan import PlanGang
from sliceward.remediations.gangs.kind import selector_of
from sliceward.remediations.ports import JOB, JOBSET, NODE, POD, Kind
from sliceward.topology.names import NAMES
from tests.builders import NOW, a_fleet, gang_id, host_id
from tests.fakes.cluster import stamp
from tests.remediations.scene import LLM, Scene, a_scene, default_fleet, done, failed, waiting

if TYPE_CHECKING:
    from tests.builders import FleetBuilder

PLACE = PlaceGang()
PLAN = PlanGang()


async def _planned(builder: FleetBuilder | None = None) -> Scene:
    scene = a_scene(builder)
    done(await scene.act(PLAN))
    scene.facts["suspended"] = True
    scene.suspended_by()
    return scene


def _labelled(scene: Scene) -> set[str]:
    nodes = scene.cluster.of(NODE)
    return {node["metadata"]["name"] for node in nodes if node["metadata"]["labels"].get(NAMES.gang) == LLM.key}


async def test_labels_follow_the_plan_and_the_template_follows_the_labels() -> None:
    scene = await _planned(default_fleet().labelled({NAMES.gang: LLM.key}, "cube-0-host-00", "cube-1-host-00"))
    done(await scene.act(PLACE))
    assert _labelled(scene) == set(scene.facts["planned_hosts"])
    spec = scene.owner()["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    assert spec["nodeSelector"] == {NAMES.accelerator: "tpu7x", NAMES.gang: LLM.key}
    assert spec["containers"]
    assert scene.owner()["spec"]["suspend"] is True


async def test_a_planned_cube_that_falls_sick_before_the_gang_is_there_is_planned_round() -> None:
    scene = await _planned(default_fleet().with_cubes(5))
    assert "cube-3-host-00" in scene.facts["planned_hosts"]
    scene.sick = frozenset({host_id("cube-3-host-07")})
    assert "incident of its own" in done(await scene.act(PLACE)).text
    assert {name.rsplit("-", 2)[0] for name in _labelled(scene)} == {"cube-1", "cube-4"}


async def test_room_that_its_own_gang_has_come_back_to_is_planned_round() -> None:
    scene = await _planned(default_fleet().with_cubes(5))
    assert "cube-3-host-00" in scene.facts["planned_hosts"]
    for pod in scene.pods("other"):
        host = pod["spec"]["nodeName"].replace("cube-2", "cube-3")
        scene.cluster.put(POD, pod | {"spec": pod["spec"] | {"nodeName": host}})
    assert "others run there now" in done(await scene.act(PLACE)).text
    assert not any(name.startswith("cube-3") for name in _labelled(scene))


async def test_an_incident_where_a_slice_stays_moves_nothing() -> None:
    scene = await _planned()
    scene.sick = frozenset({host_id("cube-1-host-07")})
    done(await scene.act(PLACE))
    assert {name.rsplit("-", 2)[0] for name in _labelled(scene)} == {"cube-1", "cube-3"}


async def test_a_second_call_writes_nothing() -> None:
    scene = await _planned()
    await scene.act(PLACE)
    writes = len(scene.cluster.writes)
    done(await scene.act(PLACE))
    assert len(scene.cluster.writes) == writes


async def test_roles_without_tpus_are_not_bound_to_tpu_hosts() -> None:
    scene = await _planned()
    owner = scene.owner()
    driver = {"name": "driver", "replicas": 1, "template": {"spec": {"template": {"spec": {"containers": [{"name": "d"}]}}}}}
    owner["spec"]["replicatedJobs"].append(driver)
    scene.cluster.put(JOBSET, owner)
    done(await scene.act(PLACE))
    assert selector_of(scene.owner()["spec"]["replicatedJobs"][1]["template"]["spec"]["template"]) == {}


async def test_labels_stay_while_a_pod_is_left() -> None:
    scene = await _planned()
    pod = default_fleet().objects().pods[0]
    scene.cluster.put(POD, pod | {"metadata": pod["metadata"] | {"deletionTimestamp": stamp(NOW)}})
    waiting(await scene.act(PLACE))
    assert scene.cluster.writes == []


@pytest.mark.parametrize("by", ["", "inc-other"])
async def test_a_gang_that_we_did_not_suspend_is_not_placed(by: str) -> None:
    scene = await _planned()
    scene.suspended_by(by)
    if not by:
        scene.edit_owner({"metadata": {"annotations": {"sliceward.dev/suspended-by": None}}})
    failed(await scene.act(PLACE))
    assert scene.cluster.writes == []


async def test_without_a_plan_nothing_is_placed() -> None:
    scene = await _planned()
    del scene.facts["planned_hosts"]
    failed(await scene.act(PLACE))


async def test_a_gang_without_a_template_that_asks_for_tpus_is_not_placed() -> None:
    scene = await _planned()
    owner = scene.owner()
    owner["spec"]["replicatedJobs"] = []
    scene.cluster.put(JOBSET, owner)
    assert "nothing to place" in failed(await scene.act(PLACE)).why


async def test_a_planned_host_that_is_lost_meanwhile_makes_a_new_plan() -> None:
    scene = await _planned(a_fleet().with_cubes(5).with_gang("llm", slices=2).on("cube-0", "cube-1"))
    lost = next(name for name in scene.facts["planned_hosts"] if not name.startswith("cube-1"))
    scene.cluster.edit(NODE, lost, {"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}})
    answer = done(await scene.act(PLACE))
    assert "planned anew" in answer.text
    assert lost not in scene.facts["planned_hosts"]
    assert _labelled(scene) == set(scene.facts["planned_hosts"])


@pytest.mark.parametrize("how", ["cordoned", "tainted", "deleted", "labelled for another"])
async def test_without_other_room_it_waits_and_says_what_was_lost(how: str) -> None:
    scene = await _planned()
    lost = next(name for name in scene.facts["planned_hosts"] if name.startswith("cube-3"))
    match how:
        case "cordoned":
            scene.cluster.edit(NODE, lost, {"spec": {"unschedulable": True}})
        case "tainted":
            scene.cluster.edit(NODE, lost, {"spec": {"taints": [{"key": "a.test/b", "effect": "NoExecute"}]}})
        case "deleted":
            scene.cluster.drop(NODE, lost)
        case _:
            other = gang_id("other")
            owner = scene.cluster.see(JOBSET, "other", "default")
            template = owner["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]
            template["spec"]["nodeSelector"][NAMES.gang] = other.key
            scene.cluster.put(JOBSET, owner)
            scene.cluster.edit(NODE, lost, {"metadata": {"labels": {NAMES.gang: other.key}}})
    assert lost in waiting(await scene.act(PLACE)).why
    assert scene.cluster.writes == []


async def test_the_stale_label_of_a_gang_that_is_no_more_is_overwritten() -> None:
    scene = await _planned()
    scene.cluster.edit(NODE, "cube-3-host-00", {"metadata": {"labels": {NAMES.gang: "nobody-0123456789"}}})
    done(await scene.act(PLACE))
    assert "cube-3-host-00" in _labelled(scene)


@pytest.mark.parametrize("kind", [NODE, JOBSET], ids=lambda kind: kind.plural)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_lost_answer_to_any_write_leads_to_the_same_end(kind: Kind, after: bool) -> None:  # noqa: FBT001 (a table)
    scene = await _planned()
    scene.cluster.fail("patch", kind, after=after)
    waiting(await scene.act(PLACE))
    done(await scene.see(PLACE))
    assert _labelled(scene) == set(scene.facts["planned_hosts"])


async def test_an_indexed_job_is_placed_by_its_own_template() -> None:
    scene = a_scene(a_fleet().with_gang("llm", kind="Job").on("cube-0"), kind="Job")
    done(await scene.act(PLAN))
    scene.facts["suspended"] = True
    scene.suspended_by(kind=JOB)
    done(await scene.act(PLACE))
    assert scene.gang is not None
    assert selector_of(scene.owner(JOB)["spec"]["template"])[NAMES.gang] == scene.gang.key
