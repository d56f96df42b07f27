"""``get``, ``describe`` and ``explain`` against a coordinator in the middle of a story."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml

from sliceward.daemons.cli.get import COLUMNS
from tests.daemons.stage import DOMAIN, LINK

if TYPE_CHECKING:
    from tests.daemons.cli.conftest import Sliceward, Told

EMPTY = {"alerts", "audit"}


@pytest.mark.parametrize("kind", sorted(COLUMNS))
def test_every_kind_is_listed_with_its_headings(told: Told, sliceward: Sliceward, kind: str) -> None:
    ran = sliceward("get", kind)
    assert (ran.code, ran.err) == (0, "")
    if kind in EMPTY:
        assert ran.lines == ["none"]
    else:
        assert all(heading in ran.lines[0] for heading in COLUMNS[kind])
        assert len(ran.lines) > 1
    assert told.stage.address


def test_hosts_say_what_is_out_of_service_and_why(told: Told, sliceward: Sliceward) -> None:
    rows = {line.split()[0]: line for line in sliceward("get", "hosts").lines[1:]}
    assert len(rows) == 64
    out = {name for name, line in rows.items() if f"sliceward.dev/out-of-service={told.incident}" in line}
    assert out == set(DOMAIN)
    assert "default/JobSet/train" in rows["cube-1-host-00"]


def test_cubes_gangs_links_and_quota_are_as_they_are(told: Told, sliceward: Sliceward) -> None:
    cubes = {line.split()[0]: line for line in sliceward("get", "cubes").lines[1:]}
    assert "unhealthy" in cubes["cube-0"]
    assert told.incident in cubes["cube-0"]
    assert "(spare)" in cubes["cube-3"]
    gangs = {line.split()[0]: line for line in sliceward("get", "gangs").lines[1:]}
    assert "cube-0, cube-1" in gangs["default/train"]
    assert "1200" in gangs["default/train"]
    assert "2.50" in gangs["default/train"]
    (link,) = sliceward("get", "links").lines[1:]
    assert link.split()[:3] == ["cube-0-host-05/0~cube-0-host-05/1", "IciLinkDegraded", "firing"]
    (quota,) = sliceward("get", "quota").lines[1:]
    assert quota.split() == ["default", "tpu7x", "256", "192"]


@pytest.mark.usefixtures("told")
def test_output_is_for_programs_too(sliceward: Sliceward) -> None:
    rows = json.loads(sliceward("get", "cubes", "-o", "json").out)
    assert [row["name"] for row in rows] == ["cube-0", "cube-1", "cube-2", "cube-3"]
    assert yaml.safe_load(sliceward("get", "cubes", "-o", "yaml").out) == rows
    assert sliceward("get", "cubes", "-o", "name").lines == [row["id"] for row in rows]
    assert sliceward("get", "pages", "-o", "name").lines != []


@pytest.mark.usefixtures("told")
def test_filters_and_limits(sliceward: Sliceward) -> None:
    ran = sliceward("get", "hosts", "-l", "cube=c1/cube/cube-0", "-l", "cluster=c1", "-o", "name")
    assert ran.lines == [f"c1/host/{name}" for name in DOMAIN]
    assert len(sliceward("get", "hosts", "--limit", "5", "-o", "name").lines) == 5
    assert sliceward("get", "incidents", "-l", "state=closed").lines == ["none"]
    assert sliceward("get", "incidents", "-l", "state=open", "-o", "name").code == 0


def test_lists_longer_than_a_page_are_read_to_the_end(told: Told, monkeypatch: pytest.MonkeyPatch, sliceward: Sliceward) -> None:
    monkeypatch.setattr("sliceward.daemons.cli.client.MOST_ROWS", 10)
    names = sliceward("get", "hosts", "-o", "name").lines
    assert len(names) == len(set(names)) == 64
    assert told.incident


WRONG = {
    "an unknown kind": (("get", "rockets"), 2, "hosts"),
    "an unknown filter": (("get", "hosts", "-l", "colour=red"), 2, "Filter by one of"),
    "no pair": (("get", "hosts", "-l", "colour"), 2, "KEY=VALUE"),
    "no rows": (("get", "hosts", "--limit", "0"), 2, "limit"),
    "an unknown thing": (("describe", "host/nobody"), 1, "sliceward get hosts"),
    "no kind": (("describe", "nobody"), 2, "kind/name"),
    "an unknown incident": (("explain", "inc-none"), 1, "sliceward get incidents"),
    "an unknown command": (("gte",), 2, "'get'"),
}


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told_with_the_next_step(sliceward: Sliceward, name: str) -> None:
    arguments, code, hint = WRONG[name]
    ran = sliceward(*arguments)
    assert (ran.code, ran.out) == (code, "")
    assert hint in ran.err
    assert "Traceback" not in ran.err


NAMES = [
    "host/cube-0-host-05",
    "c1/host/cube-0-host-05",
    "cube/cube-3",
    "gang/default/train",
    "gang/train",
    "c1/gang/default/JobSet/train",
    f"link/{str(LINK).removeprefix('c1/link/')}",
    str(LINK),
    "playbook/ici-link-in-cube",
]


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("name", NAMES)
def test_a_thing_is_found_by_every_name_that_it_has(sliceward: Sliceward, name: str) -> None:
    ran = sliceward("describe", name)
    assert (ran.code, ran.err) == (0, "")
    assert ran.lines[0] == name
    row = json.loads(sliceward("describe", name, "-o", "json").out)
    assert str(row.get("id") or row["name"]).endswith(name.rpartition("/")[2])


def test_describing_shows_what_stands_in_the_row(told: Told, sliceward: Sliceward) -> None:
    text = sliceward("describe", "host/cube-0-host-05").out
    assert "in_service: False" in text
    assert f"key=sliceward.dev/out-of-service, value={told.incident}, effect=NoSchedule, ours=True" in text
    assert "cube-3-host-00" in sliceward("describe", "cube/cube-3").out


def test_explain_tells_the_record_from_finding_to_page(told: Told, sliceward: Sliceward) -> None:
    text = sliceward("explain", told.incident).out
    assert sliceward("explain", f"incident/{told.incident}").out == text
    for wanted in (
        f"IciLinkDegraded on {LINK}",
        "ici_link_health of c1/chip/cube-0-host-05/0 was 4.0",
        "condition inside-one-cube: true",
        "budget ",
        "mark (domain.mark): done",
        "trigger to fake: sent",
        "open, acting",
    ):
        assert wanted in text
    data = json.loads(sliceward("explain", told.incident, "-o", "json").out)
    assert {"findings", "decisions", "steps", "pages", "timeline"} <= data.keys()
