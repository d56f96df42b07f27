"""Agents are asked until they answer or the deadline is over."""

from __future__ import annotations

from datetime import timedelta

from sliceward.remediations.asking import Request, ask_all
from sliceward.remediations.ports import HostAnswer
from tests.builders import NOW
from tests.remediations.scene import a_scene

REQUEST = Request("device-check", NOW + timedelta(seconds=30))


async def test_past_its_deadline_nobody_is_asked_but_an_answer_still_counts() -> None:
    scene = a_scene()
    names = scene.domain[:2]
    assert await ask_all(REQUEST, names, scene.target(), scene.hosts) == {}
    asked = [(host.name, "device-check", f"run-1.0.{host.name}") for host in names]
    assert scene.hosts.asked == asked
    scene.elapsed = timedelta(seconds=30)
    late = HostAnswer(ok=True)
    scene.hosts.says[names[0].name] = late
    assert await ask_all(REQUEST, names, scene.target(), scene.hosts) == {names[0].name: late}
    assert scene.hosts.asked == asked


async def test_what_an_earlier_step_was_told_is_no_answer_to_this_one() -> None:
    scene = a_scene()
    scene.hosts.says["*"] = HostAnswer(ok=True)
    await ask_all(REQUEST, scene.domain[:1], scene.target(), scene.hosts)
    scene.operation = "run-1.1"
    await ask_all(REQUEST, scene.domain[:1], scene.target(), scene.hosts)
    assert len(scene.hosts.asked) == 2
