"""``explain finding/…``: why this part and not its neighbour."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from sliceward.daemons.cli.finding_story import HEIGHT, plot, story
from sliceward.detectors.finding import Evidence, Finding, Kind, Picture, State, to_json
from sliceward.topology.health import Severity
from sliceward.topology.ids import ChipId, GangId, HostId

if TYPE_CHECKING:
    from tests.daemons.cli.conftest import Sliceward, Told

AT = datetime(2026, 9, 1, 12, 10, tzinfo=UTC)
PART = ChipId("c1", "h-7", 2)
METRIC = "chip_duty_cycle_percent"
VALUES = (*(70.0,) * 6, math.nan, *(60.0,) * 5)
PICTURE = Picture(
    METRIC, "percent", AT, 10.0, VALUES, (69.0,) * 12, (70.0,) * 12, (71.0,) * 12, 63, 31.0, 20.4, "c1/host/h-7", 12.0
)
FINDING = Finding(
    Kind.PART_SUSPECT, PART, State.FIRING, Severity.INFO, AT, AT, 0.5, "statistics", "1", "differs from its peers",
    (Evidence(METRIC, 31.0, 20.4, "nats", AT, str(PART)), Evidence("other", math.nan, math.nan, "1", AT, "x", "Socket closed")),
    tuple(HostId("c1", f"h-{n}") for n in range(10)), GangId("c1", "ml", "JobSet", "llm"), labels={"offences": "2.4"}, picture=PICTURE,
)  # fmt: skip


def row(finding: Finding) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(to_json(finding))
    return found


def words(finding: Finding) -> str:
    return "\n".join(story(row(finding)))


def test_a_story_says_why_this_part_with_the_numbers_and_why_not_its_neighbour() -> None:
    text = words(FINDING)
    for said in (
        "PartSuspect on c1/chip/h-7/2 (info)",
        "nothing is drained for a suspect",
        "gang c1/gang/ml/JobSet/llm",
        "c1/host/h-7 and 2 more",
        "chip_duty_cycle_percent of c1/chip/h-7/2: 31 nats, limit 20.4",
        "other of x: unknown (Socket closed)",
        "at last it read 60; of 63 peers that do the same work eight in ten were between 69 and 71, the one in the middle at 70: it is below them",
        "31 nats of evidence, and 20 are needed",
        "accused 2.4 times lately",
        "c1/host/h-7 would explain 12 nats of it, c1/chip/h-7/2 31",
        "the last 2 minutes",
    ):
        assert said in text


@pytest.mark.parametrize(
    ("value", "where"), [pytest.param(75.0, "above", id="too much"), pytest.param(70.2, "within", id="as much as others")]
)
def test_a_story_says_on_which_side_of_its_peers_a_part_is(value: float, where: str) -> None:
    assert f"it is {where} them" in words(replace(FINDING, picture=replace(PICTURE, values=(value,) * 12)))


def test_what_is_not_known_is_not_told() -> None:
    text = words(replace(FINDING, kind=Kind.CHIP_LOST, picture=None, evidence=(), also=(), gang=None, labels={}))
    assert "Why this part" not in text
    assert "Who is hurt" not in text
    gap = (math.nan,) * 12
    empty = replace(PICTURE, values=gap, low=gap, middle=gap, high=gap, rival="", nats=900.0)
    text = words(replace(FINDING, picture=empty, labels={}))
    assert "at last" not in text
    assert "no other part that shares members" in text
    assert list(plot(row(replace(FINDING, picture=empty))["picture"])) == []
    assert "would explain less of it" in words(replace(FINDING, picture=replace(PICTURE, rival_nats=math.nan)))


def test_the_picture_shows_the_part_leaving_the_band_of_its_peers() -> None:
    lines = list(plot(row(FINDING)["picture"]))
    assert len(lines) == HEIGHT + 2
    assert lines[HEIGHT - 1].split("│")[1].rstrip() == " " * 7 + "●" * 5, "at the bottom, after a gap"
    assert "◉◉◉◉◉◉───" in "".join(lines), "in the middle of the band before"
    assert lines[-2].endswith("12:10:00")


def test_a_flat_line_is_drawn_too() -> None:
    flat = (5.0,) * 3
    lines = list(plot(row(replace(FINDING, picture=replace(PICTURE, values=flat, low=flat, middle=flat, high=flat)))["picture"]))
    assert "◉◉◉" in lines[HEIGHT - 1]


def test_explain_finds_a_finding_by_its_id(told: Told, sliceward: Sliceward) -> None:
    (line,) = sliceward("get", "findings", "-o", "name").lines[:1]
    ran = sliceward("explain", f"finding/{line}")
    assert ran.code == 0
    assert "IciLinkDegraded on " in ran.out
    assert json.loads(sliceward("explain", f"finding/{line}", "-o", "json").out)["kind"] == "IciLinkDegraded"
    assert told.incident
