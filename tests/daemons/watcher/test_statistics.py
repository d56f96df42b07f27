"""The statistical passes in the watcher: what they find is told of the right part, survives a restart, and is never more than readings allow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from sliceward.daemons.watcher import baselines
from sliceward.detectors.finding import State
from sliceward.topology.health import Severity
from tests.builders import a_fleet
from tests.daemons.watcher.life import LEARN, METERS, OTHER, SICK, Life, firing, kept_in, ours, rewritten
from tests.daemons.watcher.stage import H0, H1, Stage, lose_chip

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


async def test_a_slow_chip_is_suspected_and_then_condemned_when_a_second_meter_says_so() -> None:
    stage = Stage()
    life = Life(stage)
    async with stage.connected():
        await life.live(LEARN)
        assert ours(stage) == {}
        life.slow()
        await life.live(8)
        assert firing(stage) == {f"PartSuspect {SICK}"}
        suspect = ours(stage)[f"PartSuspect {SICK}"]
        assert (suspect.severity, suspect.labels["level"]) == (Severity.INFO, "suspect")
        await life.live(20)
        assert firing(stage) == {f"PartSuspect {SICK}"}, "all that it shows may be the job's"
        life.throttled()
        await life.live(4)
        assert firing(stage) == {f"PartCondemned {SICK}"}
        found = ours(stage)
        assert found[f"PartSuspect {SICK}"].state is State.RESOLVED
        told = found[f"PartCondemned {SICK}"]
        assert told.severity is Severity.ERROR
        assert str(told.gang) == "c1/gang/default/JobSet/llm"
        assert told.instance_id
        assert {one.metric for one in told.evidence} >= set(METERS) & {told.labels["signal"]}
        picture = told.picture
        assert picture is not None
        assert picture.metric in METERS
        assert picture.peers == 63
        assert picture.values[-1] < picture.low[-1] <= picture.middle[-1] <= picture.high[-1]
        assert picture.nats >= picture.need


async def test_nothing_is_said_before_baselines_are_known() -> None:
    stage = Stage()
    life = Life(stage)
    async with stage.connected():
        life.slow(by=30.0)
        await life.live(50)
        assert ours(stage) == {}
        statistics = stage.watcher.statistics
        assert statistics is not None
        assert not statistics.warm
        assert 5 < statistics.ticks_to_warm < 15


async def test_a_part_that_recovers_is_resolved() -> None:
    stage = Stage()
    life = Life(stage)
    async with stage.connected():
        await life.live(LEARN)
        life.slow(until=10)
        await life.live(60)
        found = ours(stage)[f"PartSuspect {SICK}"]
        assert (found.state, found.text) == (State.RESOLVED, "its readings are its peers' again")


async def test_a_suspect_that_falls_silent_is_unknown_and_not_well() -> None:
    stage = Stage()
    life = Life(stage)
    async with stage.connected():
        await life.live(LEARN)
        life.slow()
        await life.live(8)
        stage.silent.add(H0)
        await life.live(45)
        assert ours(stage)[f"PartSuspect {SICK}"].state is State.UNKNOWN
        stage.silent.clear()
        await life.live(6)
        assert ours(stage)[f"PartSuspect {SICK}"].state is State.FIRING


async def test_another_machine_under_the_same_name_is_not_accused_of_what_the_former_one_showed() -> None:
    stage = Stage()
    life = Life(stage)
    async with stage.connected():
        await life.live(LEARN)
        life.slow(until=10)
        await life.live(10)
        stage.speakers[H0].instance_id = "i-new"
        stage.speakers[H0].seq, stage.speakers[H0].agent_start = 0, stage.now.timestamp()
        await life.live(3)
        found = ours(stage)[f"PartSuspect {SICK}"]
        assert (found.state, found.text) == (State.RESOLVED, "another machine bears this name by now")
        assert stage.watcher.counts["learnt_anew"] == 1


async def test_an_identity_that_becomes_known_acquits_nobody() -> None:
    stage = Stage()
    life = Life(stage)
    stage.speakers[H0].instance_id = ""
    async with stage.connected():
        await life.live(LEARN)
        life.slow(until=40)
        await life.live(10)
        stage.speakers[H0].instance_id = "i-known"
        stage.speakers[H0].seq, stage.speakers[H0].agent_start = 0, stage.now.timestamp()
        await life.live(6)
        assert ours(stage)[f"PartSuspect {SICK}"].state is State.FIRING
        assert not stage.watcher.counts["learnt_anew"]


async def test_a_reboot_clears_nobody_who_is_still_sick_and_accuses_nobody_else() -> None:
    stage = Stage()
    life = Life(stage)
    async with stage.connected():
        await life.live(LEARN)
        life.slow()
        await life.live(10)
        for name in (H0, H1):
            stage.speakers[name].boot_id = "b-new"
            stage.speakers[name].seq, stage.speakers[name].agent_start = 0, stage.now.timestamp()
        await life.live(40)
        assert firing(stage) == {f"PartSuspect {SICK}"}


async def test_a_host_that_joins_moves_nobody_else_and_what_is_known_stays_known() -> None:
    stage = Stage(a_fleet().with_cubes(1))
    extra = stage.speakers.pop("cube-0-host-15")
    life = Life(stage)
    async with stage.connected():
        await life.live(LEARN)
        life.slow()
        await life.live(8)
        stage.speakers["a-new-host"] = extra
        extra.host = "a-new-host"
        await life.live(8)
        assert firing(stage) == {f"PartSuspect {SICK}"}
        statistics = stage.watcher.statistics
        assert statistics is not None
        assert statistics.places is not None
        assert statistics.places.hosts[0] == "a-new-host", "so that all others have other numbers"


async def test_a_mistake_of_the_statistics_keeps_no_rule_from_being_told_and_is_logged_once() -> None:
    stage = Stage()
    life = Life(stage)
    async with stage.connected():
        await life.live(8)
        statistics = stage.watcher.statistics
        assert statistics is not None
        fault = lose_chip(stage)
        with capture_logs() as said:
            for number in range(3):
                assert statistics.watch is not None
                statistics.watch.crowds.clear()
                statistics.watch.layout.crowds["chip"].role.resize(3 + number, refcheck=False)
                await life.live(2)
        assert stage.kept[fault].state is State.FIRING
        assert stage.watcher.counts["statistics_failed"] == 3
        assert [one["log_level"] for one in said if one["event"] == "comparison with peers failed"] == ["error"]
        assert statistics.watch is not None, "and it begins anew"


async def test_without_statistics_only_rules_speak() -> None:
    stage = Stage(environ={"SLICEWARD_STATISTICS__ENABLED": "false"})
    async with stage.connected():
        fault = lose_chip(stage)
        await stage.rounds(8)
        assert set(stage.kept) == {fault}
        assert stage.watcher.statistics is None


# ── over a restart ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_baselines_survive_a_restart_and_a_fault_goes_on_where_it_was(tmp_path: Path) -> None:
    stage = kept_in(tmp_path)
    life = Life(stage)
    async with stage.connected():
        await life.live(LEARN)
        life.slow()
        await life.live(12)
        since = ours(stage)[f"PartSuspect {SICK}"].since
    stage.restart()
    async with stage.connected():
        await life.live(9)
        found = ours(stage)[f"PartSuspect {SICK}"]
        assert (found.state, found.since) == (State.FIRING, since)
        assert stage.watcher.counts["baselines_restored"] == 1
        life.slow(OTHER)
        await life.live(8)
        assert firing(stage) == {f"PartSuspect {SICK}", f"PartSuspect {OTHER}"}, "without ten minutes of learning"


async def test_without_baselines_what_was_told_before_a_restart_is_unknown_until_it_is_known_again() -> None:
    stage = Stage()
    life = Life(stage)
    async with stage.connected():
        await life.live(LEARN)
        life.slow(until=20)
        await life.live(10)
    stage.restart()
    async with stage.connected():
        await life.live(30)
        assert ours(stage)[f"PartSuspect {SICK}"].state is State.UNKNOWN
        await life.live(70)
        assert ours(stage)[f"PartSuspect {SICK}"].state is State.RESOLVED


def spoilt(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-300])


def turned(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    path.write_bytes(raw)


def nonsense(path: Path) -> None:
    path.write_bytes(b"PK nothing of the kind")


def of_another_version(path: Path) -> None:
    rewritten(path, version=99)


def of_another_cluster(path: Path) -> None:
    rewritten(path, cluster="c2")


def that_accuses_nonsense(path: Path) -> None:
    rewritten(path, accused=[{"part": "c1/host/cube-0-host-00"}])


def without_numbers(path: Path) -> None:
    rewritten(path, numbers=None)


@pytest.mark.parametrize(
    "spoil", [spoilt, turned, nonsense, of_another_version, of_another_cluster, that_accuses_nonsense, without_numbers]
)
async def test_baselines_that_cannot_be_used_are_set_aside_counted_and_learnt_anew(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    stage = kept_in(tmp_path)
    life = Life(stage)
    async with stage.connected():
        await life.live(LEARN)
    spoil(tmp_path / baselines.NAME)
    stage.restart()
    async with stage.connected():
        await life.live(8)
        statistics = stage.watcher.statistics
        assert statistics is not None
        assert not statistics.warm
        assert stage.watcher.counts["baselines_refused"] == 1
        assert (tmp_path / f"{baselines.NAME}.refused").exists()
        assert not (tmp_path / baselines.NAME).exists()


async def test_baselines_of_long_ago_are_not_used(tmp_path: Path) -> None:
    stage = kept_in(tmp_path)
    life = Life(stage)
    async with stage.connected():
        await life.live(LEARN)
    rewritten(tmp_path / baselines.NAME, at=stage.now.timestamp() - 7200)
    stage.restart()
    async with stage.connected():
        await life.live(8)
        assert stage.watcher.counts["baselines_refused"] == stage.watcher.counts["baselines_restored"] == 0


async def test_a_folder_that_cannot_be_written_is_told_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    stage = kept_in(tmp_path / "file")
    life = Life(stage)
    async with stage.connected():
        await life.live(LEARN)
        assert stage.watcher.counts["baselines_unsaved"] >= 1
        life.slow()
        await life.live(8)
        assert firing(stage) == {f"PartSuspect {SICK}"}
