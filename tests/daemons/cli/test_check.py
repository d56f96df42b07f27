"""``check``: each line tells what is so and what to do; exit code 0 well, 1 something is wrong, 2 could not ask."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest

from sliceward.daemons.coordinator.settings import TokenSettings
from sliceward.daemons.settings import Secret
from tests.daemons.stage import a_world, on_stage, report_progress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.daemons.cli.conftest import Sliceward, Told
    from tests.daemons.stage import Stage

TOKEN = "t" * 32
NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Stage]:
    """Give a coordinator that asks for a token."""
    token = TokenSettings(name="viewer", role="view", token=Secret(value=TOKEN))
    with on_stage(a_world(tmp_path), token) as stage:
        yield stage


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """Give a coordinator that the test may spoil."""
    with on_stage(a_world(tmp_path)) as stage:
        monkeypatch.setenv("SLICEWARD_SERVER", stage.address)
        yield stage


def test_all_well_is_zero_and_every_part_has_a_line(told: Told, sliceward: Sliceward) -> None:
    ran = sliceward("check")
    assert ran.code == 0, ran.out
    assert all(line.startswith("✓ ") for line in ran.lines)
    subjects = [line[2:].partition(":")[0] for line in ran.lines]
    assert subjects == [
        "coordinator",
        "version",
        "store",
        "broker",
        "cluster c1",
        "broker of c1",
        "watcher of c1",
        "loop alerts",
        "loop deciding",
        "loop outbox",
        "loop sweep",
        "loop vigil",
    ]
    lines = json.loads(sliceward("check", "-o", "json").out)
    assert [line["about"] for line in lines] == subjects
    assert told.stage.address in lines[0]["found"]


def test_a_watcher_that_never_spoke_is_a_fault_with_its_next_step(own: Stage, sliceward: Sliceward) -> None:
    ran = sliceward("check")
    assert ran.code == 1
    assert "✗ watcher of c1: never heard of" in ran.lines
    assert "Start `sliceward watcher`" in ran.out
    report_progress(own, "train", step=1, rate=1.0)
    own.do(own.bench.settle())
    assert sliceward("check").code == 0


def test_a_broker_that_is_away_a_pause_a_late_loop_and_what_is_set_aside_are_told(own: Stage, sliceward: Sliceward) -> None:
    report_progress(own, "train", step=1, rate=1.0)
    own.do(own.bench.settle())
    own.do(_spoil(own))
    ran = sliceward("check")
    assert ran.code == 1
    for wanted in (
        "✗ paused: harm is stopped",
        "`sliceward resume`",
        "✗ broker of c1",
        "✗ loop outbox",
        "✗ loop deciding: inc-7 is set aside: cannot be read",
    ):
        assert wanted in ran.out
    assert "✓ store" in ran.out


async def _spoil(stage: Stage) -> None:
    coordinator = stage.bench.coordinator
    await coordinator.pause("storm", by="test")
    stage.bench.world.broker.stop()
    stage.bench.world.clock.pass_(61)
    await stage.bench.settle()
    await coordinator.sweep.round()
    coordinator.deciding.loop.beat()
    coordinator.deciding.loop.set_aside["inc-7"] = "cannot be read"


def test_without_a_coordinator_it_is_two_and_the_rest_is_still_checked(
    sliceward: Sliceward, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("SLICEWARD_MQTT_URL", f"mqtt://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setenv("SLICEWARD_PROMETHEUS_URL", "http://127.0.0.1:9")
        ran = sliceward("check", "--server", NOBODY)
    assert ran.code == 2
    first, step, broker, prometheus, _ = ran.lines
    assert first.startswith(f"✗ coordinator: the coordinator at {NOBODY} does not answer")
    assert "SLICEWARD_SERVER" in step
    assert broker.startswith("✓ broker, from here")
    assert prometheus.startswith("✗ Prometheus, from here: http://127.0.0.1:9 does not answer")


@pytest.mark.parametrize("url", ["mqtt://", "mqtt://127.0.0.1:99999", "mqtt://[::1", "nonsense"])
def test_an_address_that_is_none_is_told(sliceward: Sliceward, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("SLICEWARD_MQTT_URL", url)
    ran = sliceward("check", "--server", NOBODY)
    assert ran.code == 2
    assert "✗ broker, from here" in ran.out


@pytest.mark.parametrize(
    "arguments", [("get", "hosts"), ("describe", "host/x"), ("explain", "inc-1"), ("pause", "--reason", "x")]
)
def test_every_command_says_why_it_could_not_ask_and_what_to_do(sliceward: Sliceward, arguments: tuple[str, ...]) -> None:
    ran = sliceward(*arguments, "--server", NOBODY)
    assert (ran.code, ran.out) == (2, "")
    assert f"the coordinator at {NOBODY} does not answer" in ran.err
    assert "--server" in ran.err


def test_what_answers_but_is_no_coordinator_is_told(sliceward: Sliceward, told: Told) -> None:
    ran = sliceward("get", "hosts", "--server", f"{told.stage.address}/js")
    assert (ran.code, "there is nothing at /js/api/v1/hosts" in ran.err) == (1, True)
    ran = sliceward("get", "hosts", "--server", "not-an-address")
    assert (ran.code, "is no address" in ran.err) == (2, True)


def test_a_token_is_read_from_its_file(guarded: Stage, sliceward: Sliceward, tmp_path: Path) -> None:
    good = tmp_path / "token"
    good.write_text(f"{TOKEN}\n")
    ran = sliceward("get", "cubes", "-o", "name", "--server", guarded.address, "--token-file", str(good))
    assert (ran.code, len(ran.lines)) == (0, 4)
    ran = sliceward("pause", "--reason", "x", "--server", guarded.address, "--token-file", str(good))
    assert (ran.code, "this needs operate" in ran.err) == (2, True)


TOKENS: dict[str, tuple[bytes | None, str]] = {
    "no file": (None, "No such file"),
    "wrong": (b"w" * 32, "Unauthorized"),
    "empty": (b"\n", "holds no token"),
    "two lines": (b"a\nb", "holds no token"),
    "no text": (b"\xff\xfe", "holds no text"),
}


@pytest.mark.parametrize("name", TOKENS)
def test_a_token_that_cannot_be_used_is_told_and_never_printed(
    guarded: Stage, sliceward: Sliceward, tmp_path: Path, name: str
) -> None:
    body, why = TOKENS[name]
    path = tmp_path / "token"
    if body is not None:
        path.write_bytes(body)
    ran = sliceward("get", "hosts", "--server", guarded.address, "--token-file", str(path))
    assert (ran.code, ran.out) == (2, "")
    assert why in ran.err
    assert "w" * 32 not in ran.err
