"""From what a host shows to a finding: a source reads it, a frame carries it, the panel takes it in, a trap names it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sliceward.daemons.agent.frames import FrameMaker
from sliceward.daemons.agent.identity import Identity
from sliceward.daemons.agent.rounds import Rounds
from sliceward.daemons.sources.devices import Devices
from sliceward.daemons.sources.holders import Holders
from sliceward.daemons.sources.pod_log import PodLog, shipped_patterns
from sliceward.daemons.sources.pods import Node, PodsOnNode, Seat, TpuPod
from sliceward.detectors.finding import Kind, State
from sliceward.detectors.frame import decode, encode
from sliceward.simulation.hosts import Holder
from tests.builders import a_fleet, gang_id
from tests.daemons.sources.builders import POD, TPU7X, a_host, a_job
from tests.detectors.scene import Scene

if TYPE_CHECKING:
    from pathlib import Path

    from sliceward.daemons.sources.source import Source
    from sliceward.detectors.frame import Frame

ALL = a_fleet().with_cubes(1).with_gang("llm").on("cube-0").build()
GANG = gang_id("llm")
HOST = min(host.name for host in ALL.hosts)
NODE = Node(PodsOnNode(0.0, (TpuPod(POD, "ml", "llm-0", "10.0.0.7", host_network=True, seat=Seat(GANG, "slice", 0, 0)),)))


class Watched(Scene):
    """A cluster of which one host's frames are made by its sources, as the agent makes them."""

    def frames_of(self, *sources: Source) -> None:
        speaker, host = self[HOST], next(host for host in ALL.hosts.values() if host.id.name == HOST)
        self.rounds = Rounds(sources, TPU7X, period=10.0, clock=lambda: self.now, wall=lambda: self.now)
        self.maker = FrameMaker(
            Identity(host.id, speaker.instance_id, speaker.boot_id, host.index, speaker.agent_start), TPU7X, 10.0, "test"
        )

    async def see(self, rounds: int = 1) -> set[Kind]:
        for _ in range(rounds):
            frame = decode(encode(self.maker.make(await self.rounds.read(), now=self.now + 10.0)))

            def say(at: float, frame: Frame = frame) -> Frame:
                return replace(frame, at=at)

            self[HOST].say = say  # type: ignore[method-assign]  # what its sources tell instead of what a test writes
            self.go(1)
        return {finding.kind for finding in self.findings if finding.state is State.FIRING}


async def test_a_line_of_a_training_pods_log_becomes_a_finding_about_its_gang(tmp_path: Path) -> None:
    folder = tmp_path / f"ml_llm-0_{POD}" / "train"
    folder.mkdir(parents=True)
    scene = Watched(ALL)
    scene.frames_of(PodLog(NODE, tmp_path, shipped_patterns()))
    assert await scene.see() == set()
    at = datetime.fromtimestamp(scene.now + 5, UTC).isoformat()
    line = "session_master.cc:539] The task with address w-38:8471 missed 3 health checks. UNAVAILABLE: failed to connect"
    (folder / "0.log").write_text(f"{at} stderr F {line}\n", encoding="utf-8")
    assert await scene.see(2) == {Kind.SLICE_FAILURE, Kind.GANG_FAILED}
    (finding,) = (finding for finding in scene.findings if finding.kind is Kind.SLICE_FAILURE)
    assert finding.part == GANG
    assert finding.evidence[0].text == line
    await scene.rounds.close()


async def test_a_process_at_the_coordinators_port_becomes_a_finding_about_its_host(tmp_path: Path) -> None:
    async with a_host(tmp_path) as host:
        await host.start_job(a_job())
        host.hold(2, Holder(66001, "python3"))
        (host.folder / "proc/66001/fd/9").symlink_to("socket:[4242]")
        (host.folder / "proc/1/net").mkdir(parents=True)
        row = "   0: 00000000:211C 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0 100 0 0 10 0\n"
        for name, rows in (("tcp", row), ("tcp6", "")):
            (host.folder / "proc/1/net" / name).write_text(f"sl\n{rows}", encoding="ascii")
        scene = Watched(ALL)
        scene.frames_of(Holders(TPU7X, Devices(TPU7X, host.folder), NODE, ports=frozenset({8476})))
        found = await scene.see(4)
    assert found == {Kind.PORT_HELD, Kind.DEVICE_OCCUPIED}
    (finding,) = (finding for finding in scene.findings if finding.kind is Kind.PORT_HELD)
    assert "8476: foreign: pid 66001 (python3), no pod" in finding.text
