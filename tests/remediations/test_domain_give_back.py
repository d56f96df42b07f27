"""Our own marks go, all of them and no other."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sliceward.remediations import marks
from sliceward.remediations.domain_give_back import GiveBackDomain
from sliceward.remediations.domain_mark import MarkDomain
from sliceward.remediations.ports import JOBSET, NODE, Kind, Object
from sliceward.topology.names import NAMES
from tests.builders import NOW
from tests.fakes.cluster import merged
from tests.remediations.scene import INCIDENT, LLM, a_scene, default_fleet, done, waiting

BACK = GiveBackDomain()
MARK = MarkDomain()


async def test_marking_and_giving_back_leaves_every_node_as_it_was() -> None:
    scene = a_scene(default_fleet().tainted("example.test/theirs", "cube-0-host-05").cordoned("cube-0-host-06"))
    before = [(node["spec"], node["metadata"]["annotations"]) for node in scene.cluster.of(NODE)]
    await scene.act(MARK)
    done(await scene.act(BACK))
    assert [(node["spec"], node["metadata"]["annotations"]) for node in scene.cluster.of(NODE)] == before


async def test_a_cordon_and_a_taint_that_came_after_our_mark_stay() -> None:
    scene = a_scene()
    await scene.act(MARK)
    theirs = {"key": "example.test/late", "effect": "NoExecute"}
    taints = scene.node("cube-0-host-05")["spec"]["taints"]
    scene.cluster.edit(NODE, "cube-0-host-05", {"spec": {"unschedulable": True, "taints": [*taints, theirs]}})
    done(await scene.act(BACK))
    node = scene.node("cube-0-host-05")
    assert node["spec"]["unschedulable"] is True
    assert scene.keys("cube-0-host-05") == {NAMES.tpu_taint, "example.test/late"}


async def test_the_mark_of_another_incident_stays() -> None:
    scene = a_scene(default_fleet().marked("inc-other", "cube-0-host-09"))
    done(await scene.act(BACK))
    assert NAMES.out_of_service in scene.keys("cube-0-host-09")
    assert NAMES.incident in scene.node("cube-0-host-09")["metadata"]["annotations"]


async def test_a_host_that_left_the_domain_is_found_by_the_mark_it_carries() -> None:
    scene = a_scene(default_fleet().marked(INCIDENT, "cube-3-host-01"))
    done(await scene.act(BACK))
    assert scene.keys("cube-3-host-01") == {NAMES.tpu_taint}


async def test_an_annotation_without_its_taint_goes_too() -> None:
    scene = a_scene()
    await scene.act(MARK)
    scene.cluster.edit(NODE, "cube-0-host-05", {"spec": {"taints": []}})
    done(await scene.act(BACK))
    assert NAMES.incident not in scene.node("cube-0-host-05")["metadata"]["annotations"]


async def test_somebody_who_writes_meanwhile_costs_one_more_call() -> None:
    scene = a_scene()
    await scene.act(MARK)

    async def meanwhile(verb: str, kind: Kind, name: str) -> None:
        if (verb, kind, name) == ("patch", NODE, "cube-0-host-05"):
            scene.cluster.edit(NODE, name, {"metadata": {"labels": {"theirs": "1"}}})
            scene.cluster.between = None

    scene.cluster.between = meanwhile
    waiting(await scene.act(BACK))
    done(await scene.see(BACK))
    assert scene.keys("cube-0-host-05") == {NAMES.tpu_taint}


@pytest.mark.parametrize(
    ("selects", "ended", "stays"),
    [(True, False, True), (True, True, False), (False, False, False)],
    ids=["living gang selects it", "gang has ended", "template selects another label"],
)
async def test_a_placement_label_goes_only_when_no_gang_wants_it(selects: bool, ended: bool, stays: bool) -> None:  # noqa: FBT001 (a table)
    scene = a_scene(default_fleet().labelled({NAMES.gang: LLM.key}, "cube-0-host-05"))
    owner = scene.owner()
    if selects:
        owner["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]["nodeSelector"][NAMES.gang] = LLM.key
    if ended:
        owner["status"] = {"terminalState": "Completed"}
    scene.cluster.put(JOBSET, owner)
    done(await scene.act(BACK))
    assert (NAMES.gang in scene.node("cube-0-host-05")["metadata"]["labels"]) is stays


_TAINT = st.fixed_dictionaries(
    {
        "key": st.sampled_from([NAMES.out_of_service, "a.test/x", "b.test/y", NAMES.unschedulable]),
        "value": st.sampled_from([INCIDENT, "inc-other", ""]),
        "effect": st.sampled_from(["NoSchedule", "NoExecute", "PreferNoSchedule"]),
    }
)


@given(st.lists(_TAINT, max_size=6, unique_by=lambda taint: (taint["key"], taint["effect"])))
def test_taking_out_and_giving_back_never_touches_a_mark_of_others(taints: list[dict[str, str]]) -> None:
    node: Object = {"metadata": {"name": "n", "resourceVersion": "1"}, "spec": {"taints": taints}}
    others = [taint for taint in taints if (taint["key"], taint["value"]) != (NAMES.out_of_service, INCIDENT)]
    out = marks.taken_out(copy.deepcopy(node), incident=INCIDENT, why="", since=NOW)
    assert out is not None
    taken = merged(node, out)
    assert [taint for taint in taken["spec"]["taints"] if taint in others] == others
    back = marks.given_back(taken, incident=INCIDENT)
    assert back is not None
    given_back = merged(taken, back)
    assert (given_back["spec"].get("taints") or []) == others
    assert marks.given_back(given_back, incident=INCIDENT) is None
