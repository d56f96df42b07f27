"""A fault before or after the effect of any single write leads to the same end, with no second irreversible call."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

from sliceward.remediations.catalog import ACTIONS
from sliceward.remediations.ports import JOBSET, NODE, POD, HostAnswer
from tests.builders import NOW, a_fleet
from tests.fakes.cluster import FakeCluster, stamp
from tests.remediations.scene import Scene, a_scene, done

if TYPE_CHECKING:
    from sliceward.remediations.ports import Kind

STORY = (
    "domain.mark",
    "gang.plan",
    "gang.suspend",
    "gang.end_dead",
    "gang.wait_gone",
    "gang.place",
    "gang.resume",
    "domain.give_back",
)
DEAD = "pool-0-host-01"


class FlakyCluster(FakeCluster):
    """Fails the write of one number, before or after its effect."""

    def __init__(self, number: int, *, after: bool) -> None:
        super().__init__("c1", now=NOW)
        self._number, self._after, self.count = number, after, 0

    async def _enter(self, verb: str, kind: Kind, name: str) -> None:
        if verb in ("patch", "delete", "create"):
            self.count += 1
            if self.count == self._number:
                self.fail(verb, kind, name, after=self._after)
        await super()._enter(verb, kind, name)


async def _tell(number: int, *, after: bool) -> tuple[Scene, FlakyCluster]:
    """Play the story with controllers that do their part between two calls."""
    pools = (
        a_fleet(generation="tpu-v5-lite-podslice")
        .with_gang("llm", slices=2)
        .on("pool-0", "pool-1")
        .with_gang("other")
        .on("pool-2")
    )
    scene = a_scene(pools.not_ready(DEAD).tainted("node.kubernetes.io/unreachable", DEAD), cube="pool-0")
    cluster = FlakyCluster(number, after=after)
    for kind in (NODE, POD, JOBSET):
        cluster.put_all(kind, scene.cluster.of(kind))
    scene.cluster = cluster
    scene.hosts.says["*"] = HostAnswer(ok=True)
    for index, name in enumerate(STORY):
        scene.operation = f"run-1.{index}"
        for _ in range(12):
            outcome = await scene.act(ACTIONS[name])
            if not hasattr(outcome, "retry_in"):
                break
            scene.elapsed += outcome.retry_in
            _controllers(scene)
        done(outcome)
    return scene, cluster


def _controllers(scene: Scene) -> None:
    """End the pods of a suspended gang where a kubelet lives; leave those of the dead host terminating."""
    if not scene.owner()["spec"].get("suspend"):
        return
    if not scene.owner().get("status"):
        scene.edit_owner({"status": {"conditions": [{"type": "Suspended", "status": "True"}]}})
    for pod in scene.pods():
        if pod["spec"]["nodeName"] != DEAD:
            scene.cluster.drop(POD, pod["metadata"]["name"], "default")
        elif "deletionTimestamp" not in pod["metadata"]:
            scene.cluster.edit(POD, pod["metadata"]["name"], {"metadata": {"deletionTimestamp": stamp(NOW)}}, "default")


def _end(scene: Scene) -> list[Any]:
    """Give what is left of the world but versions and the moment of the resume."""
    objects = [copy.deepcopy(found) for kind in (NODE, POD, JOBSET) for found in scene.cluster.of(kind)]
    for found in objects:
        for key in ("resourceVersion", "generation"):
            found["metadata"].pop(key)
        found["metadata"].get("annotations", {}).pop("sliceward.dev/resumed-by", None)
    return sorted(objects, key=lambda found: str(found["metadata"]["uid"]))


async def _writes_in_all() -> int:
    _, cluster = await _tell(0, after=False)
    return cluster.count


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_every_single_write(after: bool) -> None:  # noqa: FBT001 (pytest)
    calm, _ = await _tell(0, after=False)
    assert not any(taint["key"].startswith("sliceward.dev") for node in calm.cluster.of(NODE) for taint in node["spec"]["taints"])
    for number in range(1, await _writes_in_all() + 1):
        scene, cluster = await _tell(number, after=after)
        assert _end(scene) == _end(calm), number
        assert [write.name for write in cluster.writes if write.verb == "delete"] == [
            write.name for write in calm.cluster.writes if write.verb == "delete"
        ]
