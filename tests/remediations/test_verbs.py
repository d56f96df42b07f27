"""What an action declares that it may do is what it does: a right too few ends any of its tests, a right too many this one."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from sliceward.remediations.catalog import ACTIONS
from sliceward.remediations.ports import JOB, JOBSET, NODE, POD, HostAnswer, Kind
from sliceward.topology.names import NAMES
from tests.builders import NOW, a_fleet
from tests.fakes.cluster import stamp
from tests.remediations.declared import DeclaredCluster, rights_of
from tests.remediations.scene import INCIDENT, Scene, a_scene

if TYPE_CHECKING:
    from sliceward.remediations.outcome import Outcome
    from tests.remediations.declared import Right

DEAD = "cube-0-host-05"
READY = {"type": "Ready", "status": "True"}


@dataclass
class Story:
    """One incident on a gang of one kind, told with every action; ``needed``: rights that each of them used."""

    kind: Kind
    scene: Scene
    needed: dict[str, set[Right]] = field(default_factory=lambda: defaultdict(set))

    async def act(self, name: str, **given: str) -> Outcome:
        self.scene.used = set()
        outcome = await self.scene.act(ACTIONS[name], **given)
        self.needed[name] |= self.scene.used
        return outcome


def _begin(kind: Kind) -> Story:
    fleet = a_fleet().with_gang("llm", kind="Job" if kind is JOB else "JobSet").on("cube-0")
    hosts = [host for cube in range(4) for host in fleet.hosts_of(f"cube-{cube}")]
    sick = fleet.not_ready(DEAD).tainted(NAMES.unreachable, DEAD).labelled({NAMES.gang: "ended-long-ago"}, *hosts)
    scene = a_scene(sick, kind="Job" if kind is JOB else "JobSet")
    scene.hosts.says["*"] = HostAnswer(ok=True)
    return Story(kind, scene)


async def _taken_out(story: Story) -> None:
    """Up to the suspension, whose pods still end, one of them on a dead host."""
    scene = story.scene
    for name in ("evidence.keep", "domain.mark", "node.cordon", "gang.plan", "gang.checkpoint", "gang.suspend"):
        await story.act(name)
    for pod in scene.pods():
        scene.cluster.edit(POD, pod["metadata"]["name"], {"metadata": {"deletionTimestamp": stamp(NOW)}}, "default")
    await story.act("gang.wait_gone")


async def _told(kind: Kind) -> Story:
    story = _begin(kind)
    scene = story.scene
    await _taken_out(story)
    await story.act("gang.end_dead", margin="0s")
    scene.suspended_by(INCIDENT, kind)
    await story.act("gang.place")
    await story.act("gang.resume")
    await story.act("gang.verify")
    await story.act("host.repair")
    scene.cluster.edit(NODE, DEAD, {"status": {"conditions": [READY]}})
    await story.act("host.burn_in", image="example.test/burn-in:1")
    for name in ("node.uncordon", "domain.give_back", "human.hand_over"):
        await story.act(name)
    return story


async def test_every_declared_right_is_needed_and_no_other() -> None:
    needed: dict[str, set[Right]] = defaultdict(set)
    for kind in (JOBSET, JOB):
        for name, rights in (await _told(kind)).needed.items():
            needed[name] |= rights
    assert dict(needed) == {name: rights_of(action.verbs) for name, action in ACTIONS.items()}


async def test_what_is_not_declared_is_refused() -> None:
    scene = a_scene()
    cluster = DeclaredCluster(scene.cluster, ACTIONS["gang.wait_gone"].verbs)
    assert await cluster.list(POD)
    with pytest.raises(AssertionError, match="may not get nodes"):
        await cluster.get(NODE, DEAD)


async def test_what_is_declared_for_our_own_namespace_holds_there_alone() -> None:
    scene = a_scene()
    cluster = DeclaredCluster(scene.cluster, ACTIONS["host.burn_in"].verbs)
    assert await cluster.get(JOB, "a", "sliceward") is None
    with pytest.raises(AssertionError, match="may not get jobs in default"):
        await cluster.get(JOB, "a", "default")
