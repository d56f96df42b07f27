"""A coordinator on the bench, served over HTTP from a thread of its own: for whoever looks at it from outside.

`a_story` is what it shows: four cubes, two gangs, and an open incident about a link inside cube-0, as far as a fleet in
memory plays along (nobody ends the pods of the suspended gang).
"""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from sliceward.daemons import topics
from sliceward.daemons.coordinator.api import Api
from sliceward.daemons.coordinator.metrics import Figures
from sliceward.daemons.coordinator.tokens import Tokens
from sliceward.daemons.serving import serving
from sliceward.daemons.wire import Message
from sliceward.detectors.finding import Evidence, Finding, Kind
from sliceward.playbooks.load import load_book
from sliceward.playbooks.schema import Mode
from sliceward.playbooks.shipped import shipped
from sliceward.remediations.catalog import ACTIONS
from sliceward.scheduling.quota import Quota
from sliceward.topology.ids import ChipId, LinkId
from tests.builders import gang_id
from tests.daemons.coordinator.bench import Clock, World, a_bench, the_fleet
from tests.fakes.cluster import FakeCluster

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Sequence
    from pathlib import Path

    from aiohttp.web import RouteDef

    from sliceward.daemons.coordinator.settings import TokenSettings
    from tests.daemons.coordinator.bench import Bench

PATIENCE = 30
LINK = LinkId.between(ChipId("c1", "cube-0-host-05", 0), ChipId("c1", "cube-0-host-05", 1))
DOMAIN = [f"cube-0-host-{n:02}" for n in range(16)]

T = TypeVar("T")


@dataclass(eq=False)
class Stage:
    """A coordinator in another thread. ``address`` is where it serves."""

    address: str
    bench: Bench
    loop: asyncio.AbstractEventLoop

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something in the coordinator's thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE)

    async def rounds(self, count: int, *findings: Finding) -> None:
        """Let it decide and act; the findings are told again each time."""
        for _ in range(count):
            for finding in findings:
                self.bench.world.tell(finding)
            await self.bench.round()
            self.bench.world.clock.pass_(1)


def a_world(folder: Path, mode: Mode = Mode.ENFORCE) -> World:
    now = datetime.now(UTC).replace(microsecond=0)
    world = World(folder, clock=Clock(now), cluster=FakeCluster("c1", now=now), actions=ACTIONS)
    world.book = load_book(shipped(), ACTIONS, modes=mode)
    world.quota = Quota.from_mapping({"default": {"tpu7x": 256}})
    world.fill(the_fleet())
    return world


@contextmanager
def on_stage(world: World, *tokens: TokenSettings, routes: Sequence[RouteDef] = ()) -> Iterator[Stage]:
    """Serve it, with its figures and ``routes`` beside, until the block ends."""
    begun: list[Stage] = []
    ready, failed = threading.Event(), list[BaseException]()

    async def serve() -> None:
        async with a_bench(world) as bench:
            bench.coordinator.health.registry.register(Figures(bench.coordinator))
            app = Api(bench.coordinator, Tokens(tokens, world.clock.seconds)).application()
            app.add_routes(routes)
            async with serving(app, host="127.0.0.1", port=0) as port:
                ended = asyncio.Event()
                begun.append(Stage(f"http://127.0.0.1:{port}", bench, asyncio.get_running_loop()))
                enders.append(ended)
                ready.set()
                await ended.wait()
                bench.coordinator.bell.close()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:  # noqa: BLE001 (told to the test)
            failed.append(error)
        finally:
            ready.set()

    enders: list[asyncio.Event] = []
    thread = threading.Thread(target=run, name="stage", daemon=True)
    thread.start()
    assert ready.wait(PATIENCE)
    try:
        if not failed:
            yield begun[0]
    finally:
        if begun and thread.is_alive():
            begun[0].loop.call_soon_threadsafe(enders[0].set)
        thread.join(PATIENCE)
    if failed:
        raise failed[0]


def a_link_finding(world: World, kind: Kind = Kind.ICI_LINK_DEGRADED) -> Finding:
    at = world.clock()
    evidence = Evidence("ici_link_health", 4.0, 1.0, "1", at, str(LINK.ends[0]))
    return Finding(
        kind=kind,
        part=LINK,
        state=world.finding(LINK).state,
        severity=world.finding(LINK).severity,
        since=at,
        seen=at,
        score=0.97,
        detector="ici-link",
        version="1",
        text="ICI link health 4 of 10 seen from both ends",
        evidence=(evidence,),
        gang=gang_id("train"),
    )


def report_progress(stage: Stage, gang: str, *, step: int, rate: float) -> None:
    """Publish progress as the watcher does."""
    world = stage.bench.world
    body = {"gang": str(gang_id(gang)), "at": world.clock().isoformat(), "step": step, "rate": rate, "rate_before": rate}
    body |= {"checkpoint_step": step - 20, "checkpoint_age": 12.5, "members": 32}
    message = Message(topics.progress("c1", gang_id(gang).key), json.dumps(body).encode(), retain=True)

    async def publish() -> None:
        world.broker.publish(message)

    stage.do(publish())


def a_story(stage: Stage, *, rounds: int = 24) -> str:
    """Play the incident as far as it goes; gives its id."""
    world = stage.bench.world
    report_progress(stage, "train", step=1200, rate=2.5)
    report_progress(stage, "other", step=800, rate=1.25)
    finding = a_link_finding(world)
    stage.do(stage.rounds(rounds, finding))
    (found,) = stage.bench.coordinator.deciding.docket.cases
    return found


def hosts_of(rows: Sequence[dict[str, Any]]) -> set[str]:
    return {row["name"] for row in rows}
