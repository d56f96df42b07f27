"""One event, one line, with its reason; libraries take the same way."""

from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING

import pytest
import structlog
from aiohttp.http_exceptions import BadHttpMessage

from sliceward.daemons.logs import configure
from sliceward.daemons.settings import LogSettings

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    structlog.reset_defaults()
    logging.root.handlers[:], logging.root.level = handlers, level


def test_an_event_is_one_json_line_with_its_facts() -> None:
    out = io.StringIO()
    configure(LogSettings(), stream=out)
    structlog.get_logger().info("held", incident="inc-1", why="cooling down")
    line = json.loads(out.getvalue())
    assert (line["event"], line["incident"], line["why"], line["level"]) == ("held", "inc-1", "cooling down", "info")


def test_lines_of_libraries_take_the_same_way_from_warning_on() -> None:
    out = io.StringIO()
    configure(LogSettings(format="json"), stream=out)
    logging.getLogger("aiohttp").info("chatter")
    logging.getLogger("aiohttp").warning("odd %s", "thing")
    line = json.loads(out.getvalue())
    assert (line["event"], line["logger"], line["level"]) == ("odd thing", "aiohttp", "warning")


def test_a_request_that_cannot_be_read_is_told_without_its_words() -> None:
    out = io.StringIO()
    configure(LogSettings(format="json"), stream=out)
    error = BadHttpMessage("Invalid header value char: b'Authorization: Bearer hunter2hunter2'")
    for _ in range(3):
        logging.getLogger("aiohttp.server").error("Error handling request from %s", "127.0.0.1", exc_info=error)
    line = json.loads(out.getvalue())  # one line: who sends one sends thousands
    assert (line["event"], line["level"]) == ("malformed request refused: BadHttpMessage", "warning")
    assert "client" in line["what_to_do"]
    assert "hunter2" not in out.getvalue()


def test_what_looks_like_a_secret_is_cut_out_of_a_librarys_line() -> None:
    out = io.StringIO()
    configure(LogSettings(format="json"), stream=out)
    logging.getLogger("urllib3").warning("retrying http://me:hunter2hunter2@host/ with Authorization: Bearer hunter2hunter2")
    assert "hunter2" not in out.getvalue()
    assert json.loads(out.getvalue())["event"].startswith("retrying http://me:***@host/")


def test_the_level_is_a_floor_and_the_console_form_is_text() -> None:
    out = io.StringIO()
    configure(LogSettings(level="error", format="console"), stream=out)
    structlog.get_logger().info("quiet")
    structlog.get_logger().error("loud", why="x")
    assert "quiet" not in out.getvalue()
    assert "loud" in out.getvalue()
