"""One demo from beginning to end: bring up, break, watch it heal, sum up."""

from __future__ import annotations

import asyncio
import signal
import socket
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

from sliceward.daemons.broker import running_broker
from sliceward.daemons.coordinator import run as coordinator
from sliceward.daemons.demo import plans, summary
from sliceward.daemons.demo.agents import running_agents
from sliceward.daemons.demo.effects import DemoEffects
from sliceward.daemons.demo.outcome import Before, checks, figures, pods_by_gang
from sliceward.daemons.demo.story import Story
from sliceward.daemons.demo.watching import Watching
from sliceward.daemons.watcher import run as watcher
from sliceward.simulation.faults import Promise
from sliceward.simulation.receiver import running_receiver
from sliceward.simulation.training import Program
from sliceward.simulation.world import running_world

if TYPE_CHECKING:
    from rich.console import Console

    from sliceward.daemons.demo.agents import Agents
    from sliceward.daemons.demo.plans import Options
    from sliceward.simulation.faults import Fault
    from sliceward.simulation.receiver import Receiver
    from sliceward.simulation.world import World
    from sliceward.topology.ids import PartId

UP_WITHIN, HEALED_WITHIN = 120.0, 240.0
CALM = 1.0
"""Seconds of steady training before the fault strikes."""
STEADY = 0.8
"""Share of full speed from which training counts as steady."""


@dataclass(slots=True)
class Stage:
    """Everything that runs."""

    world: World
    agents: Agents
    watching: Watching
    receiver: Receiver
    story: Story


async def play(options: Options, console: Console) -> bool:
    """Play the demo. Gives whether the outcome came that the fault's playbook promises."""
    begun = datetime.now(UTC)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sliceward-")))
        stage = await raise_curtain(stack, options, folder, Story(console, begun))
        good = await act(stage, options)
        if options.stay:
            console.print(f"\nThe page stays at {stage.watching.url}/ until Ctrl-C.")
            await until_interrupted()
    return good


async def until_interrupted() -> None:
    """Wait for Ctrl-C or SIGTERM, which then only end the waiting: the outcome is known, and everything ends in order."""
    asked = asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(each, asked.set)
    await asked.wait()


async def raise_curtain(stack: AsyncExitStack, options: Options, folder: Path, story: Story) -> Stage:
    """Bring up the world and the daemons; all of it ends with ``stack``."""
    broker = await stack.enter_async_context(running_broker())
    world = await stack.enter_async_context(running_world(plans.fleet_plan(), folder, pacing=plans.pacing()))
    receiver = await stack.enter_async_context(running_receiver(plans.SECRET))
    agents = await stack.enter_async_context(running_agents(world, broker=broker, period=options.period))
    doors = plans.Doors(folder, world.kubeconfig, broker, world.provider.url, receiver.url)
    await stack.enter_async_context(watcher.running(plans.watcher_settings(doors, options.period)))
    settings = plans.coordinator_settings(doors, port=free_port(options.port))
    running = await stack.enter_async_context(coordinator.running(settings, write=lambda _page: None))
    session = await stack.enter_async_context(aiohttp.ClientSession())
    watching = Watching(f"http://127.0.0.1:{running.port}", session)
    summary.opening(story.console, watching.url, options)
    following = asyncio.create_task(watching.follow(lambda entry: _tell(story, entry)), name="story")
    stack.push_async_callback(_end, following)
    return Stage(world, agents, watching, receiver, story)


async def act(stage: Stage, options: Options) -> bool:
    """Break something and see it through."""
    story = stage.story
    up = await until_training(stage)
    if up is None:
        story.tell(datetime.now(UTC), "stuck", f"the gangs do not train after {UP_WITHIN:.0f} s", "bold red")
        return False
    rates = ", ".join(f"{g['namespace']}/{g['name']} on {_cubes(g)}" for c in up["clusters"] for g in c["gangs"])
    story.tell(datetime.now(UTC), "training", f"{len(stage.world.hosts)} agents report; {rates}; spare: {_spares(up)}", "green")
    struck = await strike(stage, options.fault)
    story.tell(struck.before.at, "FAULT", f"{options.fault.about} ({struck.named})", "bold red")
    incident = await until_over(stage, options.fault)
    if incident is None:
        story.tell(datetime.now(UTC), "nothing", f"no outcome after {HEALED_WITHIN:.0f} s", "bold red")
        return False
    lines = checks(options.fault, struck.named, struck.before, stage.world, incident)
    summary.closing(story.console, options.fault, lines, figures(struck.before, stage.world, incident, stage.receiver.sent))
    return all(line.holds for line in lines)


async def until_training(stage: Stage) -> dict[str, Any] | None:
    """Wait until the coordinator shows every gang at its full rate; gives the fleet as it shows it."""
    return await stage.watching.until(_all_step, "fleet", within=UP_WITHIN)


@dataclass(frozen=True, slots=True)
class Struck:
    """A fault that was injected: the part that must be named, and how it stood before."""

    named: PartId
    before: Before


async def strike(stage: Stage, fault: Fault) -> Struck:
    """Let it train a moment longer, then inject the fault."""
    await asyncio.sleep(CALM)
    place = plans.where(fault, stage.world)
    before = take_note(stage.world)
    await fault.inject(stage.world.hosts, place, DemoEffects(stage.world, stage.agents))
    return Struck(fault.named(plans.CLUSTER, place), before)


def take_note(world: World) -> Before:
    """Write down how it stands just before the fault."""
    fleet = world.fleet()
    lost = sum(training.lost for training in world.trainings.values())
    executed = sum(training.executed for training in world.trainings.values())
    return Before(datetime.now(UTC), fleet, pods_by_gang(fleet), executed, lost)


async def until_over(stage: Stage, fault: Fault) -> dict[str, Any] | None:
    """Wait until the incident is closed, or with a human, and its page is out."""

    def over(shown: dict[str, Any]) -> bool:
        rows = [row for row in shown["items"] if row["how"] != "folded"]
        if fault.promise is Promise.NAMED_AND_HANDED_OVER:
            return bool(rows) and all(row["needs"] == "human" or row["state"] == "closed" for row in rows)
        return bool(rows) and all(row["state"] == "closed" for row in rows)

    if await stage.watching.until(over, "incidents?limit=500", within=HEALED_WITHIN) is None:
        return None
    wanted = 1 if fault.promise is Promise.NAMED_AND_HANDED_OVER else 2
    for _ in range(40):
        if stage.receiver.sent >= wanted and all(t.stepping for t in stage.world.trainings.values()):
            break
        await asyncio.sleep(0.25)
    return await stage.watching.incident()


def _tell(story: Story, entry: dict[str, Any]) -> None:
    story.entry(datetime.fromisoformat(entry["at"]), entry)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _all_step(shown: dict[str, Any]) -> bool:
    gangs = [gang for cluster in shown["clusters"] for gang in cluster["gangs"]]
    return bool(gangs) and all(gang["progress"] and (gang["progress"]["rate"] or 0) >= STEADY * Program().rate for gang in gangs)


def _cubes(gang: dict[str, Any]) -> str:
    names = [cube.rpartition("/")[2] for one in gang["slices"] for cube in one["cubes"]]
    return " and ".join(names) + f" at {gang['progress']['rate']:.1f} steps/s"


def _spares(shown: dict[str, Any]) -> str:
    return ", ".join(cube["name"] for cluster in shown["clusters"] for cube in cluster["cubes"] if cube["spare"]) or "none"


def free_port(wanted: int) -> int:
    """Give the wanted port where it is free, else 0: any."""
    try:
        with socket.create_server(("127.0.0.1", wanted)):
            return wanted
    except OSError:
        return 0
