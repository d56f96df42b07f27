"""Handing over touches nothing."""

from __future__ import annotations

from sliceward.remediations.human_hand_over import HandOver
from tests.remediations.scene import a_scene, done, failed


async def test_the_human_is_told_what_to_decide_and_nothing_is_touched() -> None:
    scene = a_scene()
    assert done(await scene.act(HandOver(), say="clean the fibre")).facts == {"needs": "human", "say": "clean the fibre"}
    assert "ICI link degraded" in done(await scene.act(HandOver())).text
    failed(await scene.act(HandOver(), say=3))
    assert scene.cluster.writes == []
    assert not scene.cluster.calls
