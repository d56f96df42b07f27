"""Gone means: no pod is left that holds anything."""

from __future__ import annotations

from sliceward.remediations.gang_wait_gone import WaitGone
from sliceward.remediations.ports import JOBSET, POD
from sliceward.topology.errors import Retry
from tests.builders import NOW
from tests.fakes.cluster import stamp
from tests.remediations.scene import a_scene, done, waiting

GONE = WaitGone()


async def test_every_pod_counts_also_one_that_is_ending() -> None:
    scene = a_scene()
    assert "32 pods" in waiting(await scene.act(GONE)).why
    first, *others = scene.pods()
    for pod in others:
        scene.cluster.drop(POD, pod["metadata"]["name"], "default")
    scene.cluster.edit(POD, first["metadata"]["name"], {"metadata": {"deletionTimestamp": stamp(NOW)}}, "default")
    assert "1 pods" in waiting(await scene.act(GONE)).why
    scene.drop_pods()
    done(await scene.act(GONE))


async def test_a_pod_kept_for_inspection_after_it_ended_holds_nothing() -> None:
    scene = a_scene()
    for pod in scene.pods():
        scene.cluster.edit(POD, pod["metadata"]["name"], {"status": {"phase": "Failed"}}, "default")
    done(await scene.act(GONE))


async def test_a_list_that_fails_is_not_an_empty_one() -> None:
    scene = a_scene()
    scene.drop_pods()
    scene.cluster.fail("list", POD, error=Retry("time-out"))
    waiting(await scene.act(GONE))


async def test_a_new_gang_of_the_same_name_counts_only_on_the_domain() -> None:
    scene = a_scene()
    scene.facts |= {"gang": str(scene.gang), "gang_uid": "the-old-one"}
    assert "16 pods" in waiting(await scene.act(GONE)).why
    for pod in scene.pods():
        if pod["spec"]["nodeName"].startswith("cube-0"):
            scene.cluster.drop(POD, pod["metadata"]["name"], "default")
    done(await scene.act(GONE))


async def test_a_deleted_gang_is_gone_with_its_pods() -> None:
    scene = a_scene()
    scene.facts |= {"gang": str(scene.gang)}
    scene.cluster.drop(JOBSET, "llm", "default")
    waiting(await scene.act(GONE))
    scene.drop_pods()
    done(await scene.act(GONE))
