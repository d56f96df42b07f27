"""The watcher's figures say what is so: frames by what became of them, who is silent, what was found."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from sliceward.daemons import topics
from sliceward.daemons.watcher.metrics import Figures
from tests.daemons.watcher.stage import H0, Stage


async def test_silent_hosts_bad_frames_and_findings_are_told() -> None:
    stage = Stage()
    registry = CollectorRegistry()
    registry.register(Figures(stage.watcher))

    def read(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"sliceward_{name}", {"cluster": "c1", **labels})

    assert (read("frames_total", outcome="bad_frame"), read("broker_connected"), read("hosts_known")) == (0, 0, 0)
    async with stage.connected():
        await stage.rounds(8)
        assert (read("broker_connected"), read("cluster_reachable"), read("watcher_warm")) == (1, 1, 1)
        assert (read("hosts_known"), read("hosts_silent")) == (16, 0)
        assert read("frames_total", outcome="taken") == 8 * 16
        stage.say(topics.host("c1", H0, topics.FRAME), b"\xff nonsense")
        stage.silent = {H0}
        await stage.rounds(12)
        assert read("frames_total", outcome="bad_frame") == 1
        assert (read("hosts_known"), read("hosts_silent")) == (16, 1)
        assert read("findings", kind="TelemetryLost", state="firing") == 1
    assert read("broker_connected") == 0
