"""Evidence is kept, bounded, and never holds up a remedy."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from sliceward.daemons.coordinator.together import all_at_once
from sliceward.remediations.evidence_keep import MOST_BYTES, MOST_EVENTS, KeepEvidence, bounded
from sliceward.remediations.ports import EVENT, JOBSET, NODE, Progress
from sliceward.topology.errors import Refused, Retry
from sliceward.topology.ids import ChipId, LinkId
from tests.builders import NOW
from tests.fakes.cluster import FakeCluster
from tests.remediations.scene import LLM, Scene, a_scene, default_fleet, done, waiting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sliceward.remediations.ports import Kind, Object

KEEP = KeepEvidence()
SICK = "cube-0-host-05"


def _event(scene: Scene, number: int, name: str = SICK) -> None:
    event: dict[str, Any] = {"metadata": {"name": f"e-{name}-{number}"}, "regarding": {"name": name}, "reason": "R"}
    scene.cluster.put(EVENT, event | {"note": "x" * 500, "eventTime": f"2026-09-01T12:00:{number:02}Z"})


async def test_taints_conditions_events_gang_and_progress_are_kept() -> None:
    scene = a_scene(default_fleet().tainted("a.test/b", SICK))
    scene.progress = Progress(LLM, NOW, 7, 1.0, 1.0, 5, 2.0, 32)
    _event(scene, 1)
    _event(scene, 2, "cube-1-host-00")
    _event(scene, 3, "llm")
    evidence = done(await scene.act(KEEP)).facts["evidence"]
    assert [taint["key"] for taint in evidence["hosts"][SICK]["taints"]] == ["google.com/tpu", "a.test/b"]
    assert evidence["hosts"][SICK]["conditions"]["Ready"].startswith("True")
    assert [event["about"] for event in evidence["events"]] == ["llm", SICK]
    assert evidence["gang"]["gang"] == str(LLM)
    assert evidence["progress"]["step"] == 7
    assert scene.cluster.writes == []


class AllOrNone(FakeCluster):
    """Answers reads only once this many are under way."""

    reads = asyncio.Barrier(6)

    async def get(self, kind: Kind, name: str, namespace: str = "") -> Object | None:
        await self.reads.wait()
        return await super().get(kind, name, namespace)

    async def list(self, kind: Kind, *, namespace: str = "", labels: str = "", fields: str = "") -> Sequence[Object]:
        await self.reads.wait()
        return await super().list(kind, namespace=namespace, labels=labels, fields=fields)


async def test_two_hosts_and_a_gang_with_their_events_are_read_at_once_for_a_mark_waits_for_them() -> None:
    scene, other = a_scene(), "cube-0-host-06"
    scene.part = LinkId.between(ChipId("c1", SICK, 1), ChipId("c1", other, 0))
    for number, name in enumerate((SICK, other, "llm")):
        _event(scene, number, name)
    cluster = AllOrNone("c1", now=NOW)
    for kind in (NODE, JOBSET, EVENT):
        cluster.put_all(kind, scene.cluster.of(kind))
    async with asyncio.timeout(20):
        outcome = await KEEP(scene.target(), replace(scene.ports, cluster=cluster, together=all_at_once))
    evidence = done(outcome).facts["evidence"]
    assert list(evidence)[-4:] == ["hosts", "gang", "progress", "events"]
    assert sorted(evidence["hosts"]) == [SICK, other]
    assert [event["about"] for event in evidence["events"]] == ["llm", other, SICK]


async def test_the_newest_events_are_kept_and_their_notes_are_cut() -> None:
    scene = a_scene()
    for number in range(40):
        _event(scene, number)
    events = done(await scene.act(KEEP)).facts["evidence"]["events"]
    assert len(events) == MOST_EVENTS
    assert events[0]["at"].endswith("39Z")
    assert len(events[0]["note"]) == 200


async def test_a_source_that_does_not_answer_is_waited_for_a_short_while_only() -> None:
    scene = a_scene()
    scene.cluster.fail("list", EVENT, error=Retry("time-out"))
    waiting(await scene.act(KEEP))
    scene.elapsed = timedelta(seconds=20)
    scene.cluster.fail("list", EVENT, error=Retry("time-out"))
    answer = done(await scene.act(KEEP))
    assert answer.facts["evidence"]["missed"] == ["events: time-out"]
    assert SICK in answer.facts["evidence"]["hosts"]


async def test_a_source_that_refuses_is_named() -> None:
    scene = a_scene()
    scene.cluster.fail("get", NODE, error=Refused("403"))
    assert "403" in done(await scene.act(KEEP)).text


async def test_a_node_or_gang_that_is_gone_is_said_to_be() -> None:
    scene = a_scene(default_fleet().without(SICK))
    scene.gang = None
    evidence = done(await scene.act(KEEP)).facts["evidence"]
    assert evidence["hosts"][SICK] == "no such node"
    assert evidence["gang"] == "no gang is hurt"


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=300) | st.lists(st.text(max_size=50), max_size=30), max_size=8))
def test_evidence_never_grows_beyond_its_bound(kept: dict[str, Any]) -> None:
    assert len(json.dumps(bounded(kept, 600)).encode()) <= 600
    assert bounded({"a": 1}) == {"a": 1}
    assert MOST_BYTES > 600
