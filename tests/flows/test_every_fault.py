"""Every fault of the simulation, through the real protocols and daemons, a frame every three seconds: named right, and what was promised."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from io import StringIO
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import async_playwright
from rich.console import Console

from sliceward.daemons.demo import plans
from sliceward.daemons.demo.outcome import checks
from sliceward.daemons.demo.run import Stage, raise_curtain, strike, until_over, until_training
from sliceward.daemons.demo.story import Story
from sliceward.simulation.controllers.client import NODES
from sliceward.simulation.faults import FAULTS, Fault, Promise
from tests.services.fixtures import CHROMIUM_ARGS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import Page

MOVED = [fault for fault in FAULTS.values() if fault.promise is Promise.MOVED_AND_GIVEN_BACK]
NAMED = [fault for fault in FAULTS.values() if fault.promise is Promise.NAMED_AND_HANDED_OVER]
CORDONED_BEFORE, CORDONED_DURING, STRANGERS = "cube-0-host-02", "cube-0-host-04", "cube-0-host-03"
STRANGE = {"key": "example.test/under-study", "value": "yes", "effect": "NoSchedule"}


@asynccontextmanager
async def a_stage(fault: Fault, folder: Path) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        options = plans.Options(fault, port=0, period="3s", stay=False)
        story = Story(Console(file=StringIO()), datetime.now(UTC))
        stage = await raise_curtain(stack, options, folder, story)
        assert await until_training(stage), "the gangs did not train"
        yield stage


async def mark_as_people_do(stage: Stage) -> None:
    node = await stage.world.client.call("GET", NODES.path(name=STRANGERS))
    await stage.world.client.patch(NODES, node, {"spec": {"taints": [*node["spec"].get("taints", ()), STRANGE]}})
    await cordon(stage, CORDONED_BEFORE)


async def cordon(stage: Stage, node: str) -> None:
    await stage.world.client.patch(NODES, {"metadata": {"name": node}}, {"spec": {"unschedulable": True}})


async def cordon_once_marked(stage: Stage) -> None:
    marked = await stage.watching.until(
        lambda fleet: any(not cube["in_service"] for cluster in fleet["clusters"] for cube in cluster["cubes"]),
        "fleet",
        within=180,
    )
    assert marked is not None, "no cube left service"
    await cordon(stage, CORDONED_DURING)


async def marks_of_people_stand(stage: Stage) -> None:
    strange = await stage.world.client.call("GET", NODES.path(name=STRANGERS))
    assert STRANGE in strange["spec"]["taints"]
    for name in (CORDONED_BEFORE, CORDONED_DURING):
        node = await stage.world.client.call("GET", NODES.path(name=name))
        assert node["spec"].get("unschedulable") is True, f"the cordon of {name} is gone"


async def others(stage: Stage, incident: str) -> str:
    """Tell the stories of the incidents that nobody expected."""
    rows = (await stage.watching.get("incidents?limit=500"))["items"]
    stories = [await stage.watching.get(f"incidents/{row['id']}") for row in rows if row["id"] != incident]
    return "\n".join(
        f"{story['id']} {entry['at']} {entry['kind']} {entry['text']}" for story in stories for entry in story["timeline"]
    )


@pytest.mark.parametrize("fault", MOVED, ids=lambda fault: fault.name)
async def test_the_gang_is_moved_and_the_part_given_back(fault: Fault, tmp_path: Path) -> None:
    async with a_stage(fault, tmp_path) as stage:
        await mark_as_people_do(stage)
        struck = await strike(stage, fault)
        await cordon_once_marked(stage)
        incident = await until_over(stage, fault)
        assert incident is not None, "no outcome in time"
        broken = [line.text for line in checks(fault, struck.named, struck.before, stage.world, incident) if not line.holds]
        assert not broken, incident["timeline"]
        await marks_of_people_stand(stage)
        told = [(one.key, one.events) for one in stage.receiver.incidents.values()]
        assert told == [(incident["id"], ["trigger", "resolve"])], await others(stage, incident["id"])
        assert stage.receiver.refused == 0


@pytest.mark.parametrize("fault", NAMED, ids=lambda fault: fault.name)
async def test_the_part_is_named_and_handed_to_a_human_and_nothing_is_drained(fault: Fault, tmp_path: Path) -> None:
    async with a_stage(fault, tmp_path) as stage:
        struck = await strike(stage, fault)
        incident = await until_over(stage, fault)
        assert incident is not None, "no outcome in time"
        broken = [line.text for line in checks(fault, struck.named, struck.before, stage.world, incident) if not line.holds]
        assert not broken, incident["timeline"]
        assert [one.events for one in stage.receiver.incidents.values()] == [["trigger"]]
        assert not [host for host in stage.world.fleet().hosts.values() if host.cordoned or host.our_marks]


async def test_the_page_shows_the_fault_where_it_is_and_the_gang_where_it_went(tmp_path: Path, chromium: str) -> None:
    fault, complaints = FAULTS["link-degraded"], list[str]()
    async with async_playwright() as playwright, a_stage(fault, tmp_path) as stage:
        browser = await playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM_ARGS))
        page = await browser.new_page(viewport={"width": 1500, "height": 1000})
        page.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto(f"{stage.watching.url}/")
        await page.wait_for_selector('[data-cube="cube-0"] [data-gang$="/llm"]')
        struck = await strike(stage, fault)
        await page.wait_for_selector(f'[data-cube="cube-0"] [data-link="{struck.named}"]', state="attached", timeout=60_000)
        incident = await until_over(stage, fault)
        assert incident is not None, "no outcome in time"
        await page.locator(f'[data-incident="{incident["id"]}"]').click()
        await page.wait_for_selector('.timeline [data-kind="closed"]', timeout=30_000)
        await page.wait_for_selector('[data-cube="cube-3"] [data-gang$="/llm"]', state="attached", timeout=30_000)
        assert await gangs_on(page, "cube-0") == set()
        assert await gangs_on(page, "cube-1") == {"llm"}
        assert await gangs_on(page, "cube-2") == {"vision"}
        assert await gangs_on(page, "cube-3") == {"llm"}
        await page.wait_for_selector('#decisions [data-playbook="ici-link-in-cube"]', state="attached", timeout=30_000)
        await browser.close()
    assert not complaints


async def gangs_on(page: Page, cube: str) -> set[str]:
    cells = page.locator(f'[data-cube="{cube}"] [data-chip]')
    names = await cells.evaluate_all("cells => cells.map(cell => cell.dataset.gang)")
    assert len(names) == 64
    return {name.rpartition("/")[2] for name in names if name}
