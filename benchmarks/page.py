"""Takes docs/page.png: ``python -m benchmarks.page``. A demo plays, and a browser looks at its page once the gang was moved.

Wants Chromium (``SLICEWARD_CHROMIUM``, or on ``PATH``).
"""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright

from tests.services.fixtures import CHROMIUM_ARGS
from tests.services.processes import find_program, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "page.png"
WIDTH, HEIGHT = 1280, 1000
PATIENCE = 120.0
"""Seconds for each thing that the demo does."""


@contextmanager
def a_demo() -> Iterator[str]:
    """Play a demo for as long as the block lasts; gives the address of its page."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    command = [sys.executable, "-m", "sliceward.daemons.cli", "demo", "--stay", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as demo:  # noqa: S603 (our own)
        try:
            _until_it_answers(url, demo)
            yield url
        finally:
            demo.terminate()


def _until_it_answers(url: str, demo: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE):  # noqa: S310 (our own address)
                return
        except OSError:
            if demo.poll() is not None or time.monotonic() > end:
                raise
            time.sleep(0.2)


def wait_for_the_move(page: Page) -> None:
    """Wait until the gang has left the sick cube, and runs on the spare; its incident is open and shown."""
    page.wait_for_selector('[data-cube="cube-0"] [data-gang$="/llm"]', state="attached", timeout=PATIENCE * 1000)
    page.wait_for_selector('[data-cube="cube-3"] [data-gang$="/llm"]', state="attached", timeout=PATIENCE * 1000)
    page.wait_for_selector('[data-cube="cube-0"] [data-gang$="/llm"]', state="detached", timeout=PATIENCE * 1000)
    page.locator("[data-incident]").first.click()
    page.wait_for_selector(".timeline [data-kind]", timeout=PATIENCE * 1000)
    page.wait_for_timeout(3_000)  # so that the gang's rate and the next step are there


def take() -> None:
    """Take the picture."""
    chromium = find_program("chromium", "chromium-browser", "google-chrome", variable="SLICEWARD_CHROMIUM")
    with a_demo() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM_ARGS))
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(url)
        wait_for_the_move(page)
        page.screenshot(path=PICTURE)
        browser.close()
    print(f"{PICTURE}: {PICTURE.stat().st_size:,} bytes")


if __name__ == "__main__":
    take()
