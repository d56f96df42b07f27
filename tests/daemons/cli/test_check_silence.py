"""``check`` tells of heartbeats and silences; it looks at a heartbeat's form and never sends one."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from sliceward.daemons.cli.check_http import pager
from sliceward.daemons.coordinator.settings import PagerSettings
from sliceward.playbooks.silences import Matches
from sliceward.topology.errors import Refused
from tests.contracts.test_pagers import receiver
from tests.daemons.coordinator.test_heartbeat import FakeHeart
from tests.daemons.stage import a_world, on_stage, report_progress

if TYPE_CHECKING:
    from pathlib import Path

    from tests.contracts.test_pagers import Receiver
    from tests.daemons.cli.conftest import Sliceward

__all__ = ["receiver"]
SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()


def test_heartbeats_and_silences_have_a_line(tmp_path: Path, sliceward: Sliceward, monkeypatch: pytest.MonkeyPatch) -> None:
    world, heart = a_world(tmp_path), FakeHeart("on-call")
    world.heartbeats = (heart,)
    with on_stage(world) as stage:
        monkeypatch.setenv("SLICEWARD_SERVER", stage.address)
        report_progress(stage, "train", step=1, rate=1.0)
        stage.do(stage.bench.settle())
        coordinator, now = stage.bench.coordinator, world.clock()
        never = sliceward("check")
        assert (never.code, "✗ heartbeat of on-call: never accepted: none was sent yet" in never.lines) == (1, True)
        (beating,) = coordinator.beatings
        stage.do(beating.round())
        stage.do(coordinator.silencing.add(Matches(hosts=("a",)), now, now + timedelta(hours=1), by="ada", why="x"))
        well = sliceward("check")
        assert well.code == 0, well.out
        assert "✓ heartbeat of on-call: accepted 0.0 s ago, sent every 60 s" in well.lines
        assert "✓ silences: 1 in force; 0 open incidents are held by them" in well.lines
        heart.failing = [Refused("pager on-call: HTTP 401")]
        world.clock.pass_(60)
        for loop in coordinator.parts.loops:
            loop.beat()
        stage.do(beating.round())
        wrong = sliceward("check")
        assert "✗ heartbeat of on-call: accepted 60.0 s ago, sent every 60 s: pager on-call: HTTP 401" in wrong.lines


@pytest.mark.parametrize(
    ("heartbeat", "ok", "said"),
    [
        ({}, True, "its form is right"),
        ({"every": "1ms"}, False, "pagers.on-call.heartbeat.every"),
        ({"url": "hc.example"}, False, "pagers.on-call.heartbeat.url"),
        ({"token": {"env": "NOBODY_SET_THIS"}}, False, "NOBODY_SET_THIS"),
    ],
    ids=str,
)
async def test_the_form_of_a_heartbeat_is_looked_at_and_none_is_sent(
    receiver: Receiver,
    heartbeat: dict[str, Any],
    ok: bool,  # noqa: FBT001 (a table)
    said: str,
) -> None:
    given = {"name": "on-call", "kind": "webhook", "url": receiver.url, "secret": {"value": SECRET}}
    settings = PagerSettings.model_validate(given | {"heartbeat": {"url": f"{receiver.url}/beat"} | heartbeat})
    async with aiohttp.ClientSession() as session:
        _, line = await pager(session, settings)
    assert (line.about, line.ok) == ("heartbeat of on-call", ok)
    assert said in f"{line.found} {line.what_to_do}"
    assert [path for path, _, _ in receiver.got if "beat" in path] == []
