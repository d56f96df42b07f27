"""The support bundle: what is in it, what is not, and that it is made with whatever can be had."""

from __future__ import annotations

import json
import stat
import tarfile
from typing import TYPE_CHECKING

import pytest
import yaml

from sliceward.daemons.cli.support_bundle import LISTS, TEXTS
from sliceward.daemons.coordinator import configuration
from sliceward.daemons.coordinator.settings import CoordinatorSettings, TokenSettings
from sliceward.daemons.settings import Secret, load
from tests.daemons.stage import a_story, a_world, on_stage

if TYPE_CHECKING:
    from pathlib import Path

    from tests.daemons.cli.conftest import Ran, Sliceward, Told

NOBODY = "http://127.0.0.1:9"
OWN = {"README.txt", "problems.txt", "versions.json", "environment.txt", "check.json"}
ASKED = {"status.json", "incidents.json", *(f"{kind}.json" for kind in LISTS), *TEXTS}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bundle.tar.gz"


def bundle(sliceward: Sliceward, path: Path, *arguments: str) -> tuple[Ran, dict[str, str]]:
    ran = sliceward("support-bundle", "--out", str(path), *arguments)
    with tarfile.open(path) as archive:
        files = {one.name.removeprefix("sliceward-support/"): archive.extractfile(one) for one in archive.getmembers()}
        return ran, {name: file.read().decode() for name, file in files.items() if file is not None}


def test_it_holds_what_the_coordinator_says_and_lists_it(told: Told, sliceward: Sliceward, path: Path) -> None:
    ran, files = bundle(sliceward, path)
    # The stage serves no configuration: that is missing, and is said.
    assert ran.code == 1
    assert files["problems.txt"].startswith("configuration.json: NotFound")
    assert len(files["problems.txt"].splitlines()) == 1
    assert set(files) == {*OWN, *ASKED, f"incidents/{told.incident}.json"}
    assert json.loads(files[f"incidents/{told.incident}.json"])["timeline"]
    assert "sliceward_loop_age_seconds" in files["metrics.txt"]
    assert json.loads(files["status.json"])["clusters"][0]["name"] == "c1"
    for name in {*OWN, *ASKED} - {"README.txt"}:
        assert name in files["README.txt"]
    assert "✓ status.json" in ran.err
    assert "✗ configuration.json" in ran.err
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_programs_get_a_summary_that_says_the_same(told: Told, sliceward: Sliceward, path: Path) -> None:
    ran, files = bundle(sliceward, path, "-o", "json", "--incidents", "0")
    told_of = json.loads(ran.out)
    assert told_of["path"] == str(path)
    assert told_of["bytes"] == path.stat().st_size
    assert {one["name"]: one["bytes"] for one in told_of["files"]} == {name: len(text.encode()) for name, text in files.items()}
    assert len(told_of["problems"]) == 1
    # An open incident is told even where none was asked for.
    assert f"incidents/{told.incident}.json" in files
    assert sliceward("support-bundle", "--out", str(path), "-o", "name").out == f"{path}\n"


def test_without_a_coordinator_it_holds_the_rest_and_says_what_is_missing(
    sliceward: Sliceward, path: Path, tmp_path: Path
) -> None:
    (tmp_path / "watcher.log").write_text('{"event": "serving"}\n')
    ran, files = bundle(
        sliceward, path, "--server", NOBODY, "--log", str(tmp_path / "watcher.log"), "--log", str(tmp_path / "none")
    )
    assert ran.code == 2
    assert set(files) == {*OWN, "logs/1-watcher.log"}
    missing = files["problems.txt"].splitlines()
    assert missing[0].startswith(f"everything that the coordinator would tell: the coordinator at {NOBODY} does not answer")
    assert missing[1] == f"log {tmp_path / 'none'}: No such file or directory"
    assert json.loads(files["check.json"])[0]["ok"] is False


def test_what_others_wrote_is_swept(
    told: Told, sliceward: Sliceward, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told.stage.address
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "pager").write_text("mounted-canary-1\n")
    monkeypatch.setenv("SLICEWARD_STORE__PASSWORD", "environment-canary-2")
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:address%20canary-3@db/x")
    (tmp_path / "a.log").write_text(
        "mounted-canary-1 and environment-canary-2 and address%20canary-3 and address canary-3\n"
        '{"headers": "Authorization: Bearer looks-like-canary-4"}\n'
    )
    ran, files = bundle(sliceward, path, "--log", str(tmp_path / "a.log"), "--secret", str(tmp_path / "secrets"), "-o", "json")
    assert "canary" not in "".join(files.values()) + ran.out + ran.err
    assert files["logs/1-a.log"].startswith("*** and *** and ***")
    (log,) = [one for one in json.loads(ran.out)["files"] if one["name"] == "logs/1-a.log"]
    assert log["hidden"] == 5
    assert "SLICEWARD_STORE__PASSWORD" in files["environment.txt"]


def test_only_the_end_of_a_long_log_is_taken(sliceward: Sliceward, path: Path, tmp_path: Path) -> None:
    log = tmp_path / "long.log"
    with log.open("wb") as file:
        file.truncate(20 * 1024 * 1024)
        file.seek(0, 2)
        file.write(b"the end\n")
    _, files = bundle(sliceward, path, "--server", NOBODY, "--log", str(log))
    assert len(files["logs/1-long.log"]) == 16 * 1024 * 1024
    assert files["logs/1-long.log"].endswith("the end\n")


def test_a_place_that_cannot_be_written_is_told(sliceward: Sliceward, tmp_path: Path) -> None:
    ran = sliceward("support-bundle", "--server", NOBODY, "--out", str(tmp_path / "none" / "b.tar.gz"))
    assert (ran.code, "cannot be written" in ran.err, "--out" in ran.err) == (1, True, True)


def test_the_configuration_of_a_coordinator_is_in_it_without_its_secrets(
    sliceward: Sliceward, path: Path, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("t" * 32)
    token = TokenSettings(name="viewer", role="view", token=Secret(file=tmp_path / "token"))
    whole = {
        "clusters": [{"name": "c1"}],
        "api": {"tokens": [{"name": "viewer", "token": {"file": str(tmp_path / "token")}}]},
    }
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(whole))
    settings = load(CoordinatorSettings, file=tmp_path / "c.yaml", environ={"SLICEWARD_MQTT_URL": "mqtt://me:canary-url@b"})
    (tmp_path / "world").mkdir()
    with on_stage(a_world(tmp_path / "world"), token, routes=configuration.routes(settings)) as stage:
        a_story(stage)
        ran, files = bundle(sliceward, path, "--server", stage.address, "--token-file", str(tmp_path / "token"))
    assert (ran.code, files["problems.txt"]) == (0, "nothing is missing\n")
    seen = json.loads(files["configuration.json"])
    assert seen["settings"]["clusters"][0]["broker"]["url"] == "mqtt://me:***@b"
    assert seen["settings"]["api"]["tokens"][0]["token"] == f"set (file {tmp_path / 'token'})"
    assert {"sliceward", "python", "aiohttp"} <= set(seen["versions"])
    assert "t" * 32 not in "".join(files.values())
