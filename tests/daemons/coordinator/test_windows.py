"""Maintenance windows as a person writes them: read as values, or refused with the path of the key and what to write."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from sliceward.daemons.coordinator.settings import CoordinatorSettings
from sliceward.daemons.coordinator.windows import WindowSettings, windows_of
from sliceward.daemons.settings import load
from sliceward.playbooks.silences import Matches, Once, Weekly
from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """
clusters: [{name: prod-eu, broker: {url: "mqtt://broker:1883"}}]
maintenance:
- name: power
  why: power work
  matches: {cubes: ["prod-eu/cube/4x4x4-a*"], playbooks: [host-or-chip-lost]}
  weekly: {days: [sat, sun], from: "22:00", to: "24:00", zone: Europe/Berlin}
- name: rack-move
  matches: {hosts: [gke-tpu-1]}
  once: {from: 2026-12-01T08:00:00+01:00, to: 2026-12-01 18:00:00Z}
"""


def read(text: str, folder: Path) -> CoordinatorSettings:
    (folder / "coordinator.yaml").write_text(text)
    return load(CoordinatorSettings, file=folder / "coordinator.yaml", environ={})


def test_windows_are_read_as_they_are_meant(tmp_path: Path) -> None:
    power, rack = windows_of(read(GOOD, tmp_path).maintenance, ["host-or-chip-lost"])
    assert (power.name, power.why) == ("power", "power work")
    assert power.matches == Matches(cubes=("prod-eu/cube/4x4x4-a*",), playbooks=("host-or-chip-lost",))
    assert power.when == Weekly(frozenset({5, 6}), time(22), time(0), ZoneInfo("Europe/Berlin"))
    assert rack.when == Once(datetime(2026, 12, 1, 7, tzinfo=UTC), datetime(2026, 12, 1, 18, tzinfo=UTC))
    assert rack.why == "maintenance"


WEEKLY = 'weekly: {days: [sat, sun], from: "22:00", to: "24:00", zone: Europe/Berlin}'
ONCE = "once: {from: 2026-12-01T08:00:00+01:00, to: 2026-12-01 18:00:00Z}"
MISTAKES = {
    "no time": (WEEKLY, WEEKLY.replace("22:00", "25:00"), "maintenance[0].weekly.from", "no time of day"),
    "a number": (WEEKLY, WEEKLY.replace('"24:00"', "99999"), "maintenance[0].weekly.to", "no time of day"),
    "as long as nothing": (WEEKLY, WEEKLY.replace("24:00", "22:00"), "maintenance[0].weekly", "a whole day is from"),
    "from the end": (WEEKLY, WEEKLY.replace("22:00", "24:00"), "maintenance[0].weekly", "a whole day is from"),
    "no such day": (WEEKLY, WEEKLY.replace("sat", "saturday"), "maintenance[0].weekly.days[0]", "'sat'"),
    "no day": (WEEKLY, WEEKLY.replace("sat, sun", ""), "maintenance[0].weekly.days", "at least 1"),
    "no such zone": (WEEKLY, WEEKLY.replace("Berlin", "Bonn"), "maintenance[0].weekly.zone", "Europe/Berlin"),
    "a folder of zones": (WEEKLY, WEEKLY.replace("Europe/Berlin", "Europe"), "maintenance[0].weekly.zone", "no time zone"),
    "a path for a zone": (WEEKLY, WEEKLY.replace("Europe/Berlin", "../../etc/passwd"), "maintenance[0].weekly.zone", "no time zone"),
    "an unknown key": (WEEKLY, WEEKLY.replace("from:", "form: a, from:"), "maintenance[0].weekly.form", "Did you mean from?"),
    "no begin": (WEEKLY, 'weekly: {days: [sat], to: "24:00"}', "maintenance[0].weekly.from", "is needed"),
    "no time at all": (WEEKLY, "", "maintenance[0]", "either weekly or once"),
    "two times": (WEEKLY, f"{WEEKLY}\n  {ONCE}", "maintenance[0]", "either weekly or once"),
    "no offset": (ONCE, ONCE.replace("+01:00", ""), "maintenance[1].once.from", "timezone"),
    "backwards": (ONCE, ONCE.replace("2026-12-01T", "2026-12-03T"), "maintenance[1].once", "ends before it begins"),
    "matches nothing": ("{hosts: [gke-tpu-1]}", "{}", "maintenance[1].matches", "names nothing"),
    "an unknown kind": ("{hosts: [gke-tpu-1]}", "{host: [a]}", "maintenance[1].matches.host", "Did you mean hosts?"),
    "no pattern": ("{hosts: [gke-tpu-1]}", '{hosts: [""]}', "maintenance[1].matches.hosts[0]", ""),
    "a name twice": ("name: rack-move", "name: power", "maintenance", "stands twice"),
    "a name that is none": ("name: rack-move", 'name: "a b"', "maintenance[1].name", ""),
}  # fmt: skip


def test_a_time_of_day_needs_no_quotes(tmp_path: Path) -> None:
    assert read(GOOD.replace('"22:00"', "22:00"), tmp_path).maintenance == read(GOOD, tmp_path).maintenance


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_refused_with_its_key_and_what_to_write(name: str, tmp_path: Path) -> None:
    right, wrong, where, said = MISTAKES[name]
    assert right in GOOD
    with pytest.raises(Misconfigured) as caught:
        read(GOOD.replace(right, wrong), tmp_path)
    assert where in str(caught.value)
    assert said in str(caught.value)


def test_a_playbook_that_nobody_has_is_refused_with_the_nearest(tmp_path: Path) -> None:
    windows = read(GOOD, tmp_path).maintenance
    with pytest.raises(Misconfigured, match=r"maintenance\[0\].matches.playbooks\[0\].*Did you mean host-or-chip-gone"):
        windows_of(windows, ["host-or-chip-gone", "other"])
    assert windows_of(windows, ["host-or-chip-lost"])


def test_a_glob_of_playbooks_must_fit_one() -> None:
    settings = WindowSettings.model_validate_json(
        '{"name": "a", "matches": {"playbooks": ["ici-*"]}, "once": {"from": "2026-12-01T08:00:00Z", "to": "2026-12-01T09:00:00Z"}}'
    )
    assert windows_of([settings], ["ici-link-in-cube"])
    with pytest.raises(Misconfigured, match="There are other"):
        windows_of([settings], ["other"])
