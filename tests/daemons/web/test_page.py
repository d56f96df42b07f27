"""The page in a real browser, over a real coordinator: what stands on it is what is so, live, and nothing is broken."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from math import nan
from typing import TYPE_CHECKING, Literal, TypeAlias

import pytest
from playwright.sync_api import expect, sync_playwright

from sliceward.daemons.coordinator.settings import TokenSettings
from sliceward.daemons.settings import Secret
from sliceward.detectors.finding import Finding, Kind, Picture, State
from sliceward.playbooks.silences import Matches, Once, Window
from sliceward.topology.health import Severity
from sliceward.topology.ids import ChipId
from tests.daemons.stage import DOMAIN, LINK, a_story, a_world, on_stage, report_progress
from tests.services.fixtures import CHROMIUM_ARGS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from playwright.sync_api import Browser, Locator, Page

    from tests.daemons.stage import Stage

Scheme: TypeAlias = Literal["light", "dark"]
TOKEN = "t" * 32
NARROW, WIDE = 360, 1500
PATIENCE = 30_000
"""Milliseconds; a page that is right takes a fraction of a second, on a machine that has time for it."""


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM_ARGS))
        yield browser
        browser.close()


@dataclass
class Told:
    """A coordinator and the incident that is open there."""

    stage: Stage
    incident: str


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    with on_stage(a_world(tmp_path_factory.mktemp("coordinator"))) as stage:
        yield Told(stage, a_story(stage))


@dataclass
class Complaints:
    """What the browser complains of: console errors, exceptions, refused by the content security policy."""

    found: list[str] = field(default_factory=list)

    def of(self, page: Page) -> None:
        page.on("console", lambda message: self.found.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.found.append(str(error)))
        page.on("requestfailed", lambda request: self.found.append(f"{request.url}: {request.failure}"))


@contextmanager
def looking(browser: Browser, stage: Stage, *, width: int = WIDE, scheme: Scheme = "light") -> Iterator[Page]:
    """Open the page; whatever the browser complains of fails the test."""
    context = browser.new_context(viewport={"width": width, "height": 1000}, color_scheme=scheme)
    complaints = Complaints()
    try:
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        complaints.of(page)
        page.goto(stage.address + "/")
        yield page
        assert complaints.found == []
    finally:
        context.close()


def test_the_torus_shows_every_chip_the_sick_link_the_gangs_and_what_is_out_of_service(browser: Browser, told: Told) -> None:
    with looking(browser, told.stage) as page:
        expect(page.locator("[data-chip]")).to_have_count(256)
        (mark,) = page.locator("[data-link]").all()
        assert mark.get_attribute("data-link") == str(LINK)
        cubes = {cube.get_attribute("data-cube"): cube for cube in page.locator("[data-cube]").all()}
        assert {name: cube.get_attribute("data-in-service") for name, cube in cubes.items()} == {
            "cube-0": "false",
            "cube-1": "true",
            "cube-2": "true",
            "cube-3": "true",
        }
        assert cubes["cube-0"].locator("[data-link]").count() == 1
        assert cubes["cube-0"].locator(".hatch").count() == 64
        assert cubes["cube-3"].get_attribute("data-spare") == "true"
        gangs = {name: _gangs(cube) for name, cube in cubes.items()}
        train, other = "c1/gang/default/JobSet/train", "c1/gang/default/JobSet/other"
        assert gangs == {"cube-0": {train}, "cube-1": {train}, "cube-2": {other}, "cube-3": {""}}
        colours = {name: _colour(cubes[name]) for name in cubes}
        assert colours["cube-1"] == colours["cube-0"]
        assert len({colours["cube-1"], colours["cube-2"], colours["cube-3"]}) == 3
        assert page.locator("#totals").inner_text() == "256 chips, 0 sick, 0 unknown, 1 sick link · 4 cubes, 1 spare · 2 gangs"


def test_the_incident_tells_its_story_with_every_named_condition(browser: Browser, told: Told) -> None:
    with looking(browser, told.stage) as page:
        kinds = page.locator("#incident .timeline li")
        expect(kinds.first).to_be_visible()
        assert {entry.get_attribute("data-kind") for entry in kinds.all()} >= {"seen", "located", "decided", "step-done", "paged"}
        assert page.locator(".gantt [data-step='mark']").get_attribute("data-state") == "done"
        chosen = page.locator("#decisions [data-playbook='ici-link-in-cube'][open]")
        for wanted in ("inside-one-cube", "!finding.betweenCubes", "nobody-else-holds-it", "budget"):
            expect(chosen).to_contain_text(wanted)
        expect(page.locator("[data-finding='IciLinkDegraded']")).to_contain_text("ici_link_health")
        expect(page.locator("#incident")).to_contain_text(told.incident)


def test_gangs_quota_and_hosts_are_listed_and_hosts_can_be_searched(browser: Browser, told: Told) -> None:
    with looking(browser, told.stage) as page:
        expect(page.locator("[data-gang='c1/gang/default/JobSet/train'] td").nth(4)).to_have_text("1,200")
        expect(page.locator("[data-tenant='default']")).to_contain_text("192 of 256 chips")
        rows = page.locator("[data-host]")
        expect(rows).to_have_count(64)
        page.locator("#host-filter").fill("out of service")
        expect(rows).to_have_count(16)
        assert {row.get_attribute("data-host") for row in rows.all()} == set(DOMAIN)
        expect(rows.first).to_contain_text(f"ours: sliceward.dev/out-of-service={told.incident}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_it_fits_narrow_and_wide_by_day_and_by_night(browser: Browser, told: Told, width: int, scheme: Scheme) -> None:
    with looking(browser, told.stage, width=width, scheme=scheme) as page:
        expect(page.locator("[data-chip]")).to_have_count(256)
        expect(page.locator("#decisions details").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing is cut off at the side"
        paper, ink = page.evaluate("[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]")
        assert (_light(paper) > _light(ink)) is (scheme == "light")


def test_what_happens_is_shown_without_loading_again(browser: Browser, tmp_path: Path) -> None:
    with on_stage(a_world(tmp_path)) as stage, looking(browser, stage) as page:
        expect(page.locator("[data-chip]")).to_have_count(256)
        expect(page.locator("#incident")).to_contain_text("No incident yet")
        page.evaluate("window.stays = true")
        incident = a_story(stage)
        expect(page.locator(f"[data-incident='{incident}']")).to_be_visible()
        expect(page.locator("[data-link]")).to_have_count(1)
        expect(page.locator(".timeline [data-kind='decided']")).to_have_count(1)
        page.once("dialog", lambda dialog: dialog.accept("a person goes on"))
        page.get_by_role("button", name="Abort").click()
        expect(page.locator(".timeline [data-kind='aborted']")).to_contain_text("a person goes on")
        stage.do(stage.bench.coordinator.pause("storm", by="test"))
        expect(page.locator("#status")).to_contain_text("PAUSED")
        report_progress(stage, "other", step=4321, rate=1.5)
        stage.do(stage.rounds(1))
        expect(page.locator("[data-gang='c1/gang/default/JobSet/other'] td").nth(4)).to_have_text("4,321")
        assert page.evaluate("window.stays")


OPEN_OLD, OPEN_NEW = {"id": "open-old", "state": "open", "how": None}, {"id": "open-new", "state": "open", "how": None}
GIVEN_BACK, FOLDED = (
    {"id": "given-back", "state": "closed", "how": "given-back"},
    {"id": "folded", "state": "closed", "how": "folded"},
)


@pytest.mark.parametrize(
    ("newest_first", "shown", "wanted"),
    [
        ([], None, None),
        ([OPEN_NEW, OPEN_OLD, GIVEN_BACK], None, "open-new"),
        ([GIVEN_BACK, OPEN_OLD], "given-back", "open-old"),
        ([OPEN_NEW, GIVEN_BACK], "folded", "open-new"),
        ([FOLDED, GIVEN_BACK], None, "given-back"),
        ([FOLDED, GIVEN_BACK], "folded", "given-back"),
        ([GIVEN_BACK | {"id": "younger"}, GIVEN_BACK], "given-back", "given-back"),
        ([FOLDED], None, "folded"),
    ],
)
def test_until_the_reader_chooses_what_is_open_is_shown_then_what_was_and_never_what_is_told_elsewhere(
    browser: Browser, told: Told, newest_first: list[dict[str, str]], shown: str | None, wanted: str | None
) -> None:
    with looking(browser, told.stage) as page:
        script = "async ([incidents, shown]) => (await import('/js/incidents.js')).shownFirst(incidents, shown)"
        assert page.evaluate(script, [newest_first, shown]) == wanted


def test_what_is_silenced_is_shown_and_can_be_ended(browser: Browser, tmp_path: Path) -> None:
    world = a_world(tmp_path)
    begins = world.clock() + timedelta(days=1)
    world.windows = (Window("power", Matches(cubes=("cube-2",)), "power work", Once(begins, begins + timedelta(hours=1))),)
    with on_stage(world) as stage, looking(browser, stage) as page:
        expect(page.locator("[data-silence='window/power']")).to_contain_text("cubes cube-2")
        now, silencing = world.clock(), stage.bench.coordinator.silencing
        made = stage.do(silencing.add(Matches(cubes=("cube-0",)), now, now + timedelta(hours=2), by="ada", why="new optics"))
        expect(page.locator(f"[data-silence='{made.id}'][data-state='active']")).to_contain_text("new optics")
        expect(page.locator("#status")).to_contain_text("1 silence in force")
        incident = a_story(stage, rounds=14)
        expect(page.locator(f"[data-incident='{incident}']")).to_contain_text("silenced")
        expect(page.locator("[data-silenced]")).to_contain_text(f"silenced by {made.id} of ada until")
        expect(page.locator("#decisions")).to_contain_text("not-silenced")
        page.once("dialog", lambda dialog: dialog.accept("done early"))
        page.get_by_role("button", name="End", exact=True).click()
        expect(page.locator(f"[data-silence='{made.id}']")).to_have_count(0)
        stage.do(stage.rounds(2))
        expect(page.locator("[data-silenced]")).to_have_count(0)


def test_a_suspect_is_shown_on_the_torus_and_over_time_beside_its_peers(browser: Browser, tmp_path: Path) -> None:
    with on_stage(a_world(tmp_path)) as stage, looking(browser, stage) as page:
        stage.do(stage.rounds(14, a_suspect(stage.bench.world.clock())))
        chip = page.locator("[data-chip='cube-0-host-05/2']")
        expect(chip).to_have_attribute("data-health", "unknown")
        expect(chip.locator("title")).to_contain_text("chip_duty_cycle_percent 61, peers 69 to 71")
        expect(page.locator("[data-reading]")).to_have_count(1)
        picture = page.locator("#incident svg.picture[data-metric='chip_duty_cycle_percent']")
        expect(picture).to_contain_text("eight in ten of 63 peers")
        expect(picture.locator(".mine")).to_have_count(2)  # before and after the gap
        expect(picture.locator(".band")).to_have_count(1)
        expect(page.locator("#incident")).not_to_contain_text("domain.mark")


def a_suspect(at: datetime) -> Finding:
    """Give a chip that lately does less than its peers."""
    low, middle, high = ((value,) * 12 for value in (69.0, 70.0, 71.0))
    values = (*(70.0,) * 6, nan, *(61.0,) * 5)
    picture = Picture("chip_duty_cycle_percent", "percent", at, 10.0, values, low, middle, high, 63, 31.0, 20.4)
    part = ChipId("c1", "cube-0-host-05", 2)
    text = "differs from its peers"
    return Finding(Kind.PART_SUSPECT, part, State.FIRING, Severity.INFO, at, at, 0.5, "statistics", "1", text, picture=picture)


def test_a_token_is_asked_for_where_one_is_needed(browser: Browser, tmp_path: Path) -> None:
    token = TokenSettings(name="viewer", role="view", token=Secret(value=TOKEN))
    with on_stage(a_world(tmp_path), token) as stage:
        context = browser.new_context()
        page = context.new_page()
        page.goto(stage.address + "/")
        expect(page.locator("#status")).to_have_text("This coordinator asks for a token.")
        page.get_by_label("Token").fill(TOKEN)
        page.get_by_role("button", name="Show").click()
        expect(page.locator("[data-chip]")).to_have_count(256)
        expect(page.locator("#login")).to_be_hidden()
        context.close()


def _gangs(cube: Locator) -> set[str]:
    return set(cube.locator("[data-chip]").evaluate_all("chips => chips.map(chip => chip.dataset.gang)"))


def _colour(cube: Locator) -> str:
    return str(cube.locator("[data-chip]").first.evaluate("chip => getComputedStyle(chip).fill"))


def _light(colour: str) -> int:
    return sum(map(int, re.findall(r"\d+", colour)[:3]))
