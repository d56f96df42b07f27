"""Logs of training pods, read as the kubelet keeps them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from sliceward.daemons.sources import pod_log
from sliceward.daemons.sources.pod_log import PodLog, read_patterns, shipped_patterns
from sliceward.daemons.sources.pods import Node, PodsOnNode, Seat, TpuPod
from sliceward.detectors.sightings import NOTE, Line, Sighting, from_note
from sliceward.topology.errors import Misconfigured, Retry
from sliceward.topology.ids import GangId
from tests.daemons.sources.builders import POD

if TYPE_CHECKING:
    from pathlib import Path

SEAT = Seat(GangId("c1", "ml", "JobSet", "llm"), "slice", 0, 3)
NOW = datetime(2026, 7, 26, 10, 0, tzinfo=UTC).timestamp()
MISSED = "session_master.cc:539] The task with address w-38:8471 missed 3 health checks.\tUNAVAILABLE: failed to connect"

REPORTS = (
    "session_master.cc:505] Session is failing with the following status: Session master detected TPU session error from worker"
    " w-15.svc:8471. The reporting TPU chip locations are:tpu31:pe4:3, tpu31:pe4:2"
)
FATAL = (
    "6x2x0_SC1: *** A program or fatal error occurred, all pending programs will fail, and results may be corrupted."
    " Physical location: tpu3:pe2:2"
)


def stamped(text: str, second: float = 0.0) -> str:
    return f"2026-07-26T10:00:{second:012.9f}Z stderr F {text}\n"


@dataclass
class Pod:
    """One TPU pod with one container, whose log is written."""

    folder: Path
    uid: str = POD
    seat: Seat | None = SEAT
    number: int = 0
    node: Node = field(default_factory=Node)

    def __post_init__(self) -> None:
        self.home = self.folder / f"ml_llm-slice-0-3_{self.uid}" / "train"
        self.home.mkdir(parents=True)
        self.is_listed(so=True)
        self.source = PodLog(self.node, self.folder, shipped_patterns())

    def is_listed(self, *, so: bool) -> None:
        pod = TpuPod(self.uid, "ml", "llm-slice-0-3", "10.0.0.7", host_network=False, seat=self.seat)
        self.node.pods = PodsOnNode(NOW, (pod,) if so else ())

    @property
    def log(self) -> Path:
        return self.home / f"{self.number}.log"

    def print(self, *lines: str) -> None:
        with self.log.open("a", encoding="utf-8") as log:
            log.writelines(lines)

    async def see(self, after: float = 0.0) -> tuple[Sighting, ...]:
        note = (await self.source.read(NOW + after)).notes.get(NOTE, "[]")
        return from_note(note)


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path)


@pytest.mark.parametrize("pattern", shipped_patterns(), ids=lambda one: f"{one.line}: {one.needs.decode()}")
async def test_every_pattern_takes_its_own_example_from_a_log(pod: Pod, pattern: pod_log.Pattern) -> None:
    pod.print(stamped(pattern.example))
    (seen,) = await pod.see()
    assert (seen.line, seen.count, seen.pod, seen.seat) == (pattern.line, 1, "llm-slice-0-3", str(SEAT))


@pytest.mark.parametrize(
    ("text", "line", "what", "chips"),
    [
        (MISSED, Line.MISSED, "w-38", ""),
        (REPORTS, Line.REPORTS, "w-15.svc", "tpu31:pe4:3, tpu31:pe4:2"),
        ("Detected failure SLICE_FAILURE_FLAPPING_TASK_ERROR in session 1", Line.SLICE_FAILURE, "FLAPPING_TASK_ERROR", ""),
        (FATAL, Line.CHIP_FATAL, "tpu3:pe2:2", ""),
        ("x] [/dev/accel0 tpu1013:pe1:0] !!!! FATAL ERROR !!!!", Line.CHIP_FATAL, "/dev/accel0", ""),
        ("add_port.cc:83] Failed to add port to server: No address added out of total 1 resolved for '[::]:8476'", Line.PORT_TAKEN, "8476", ""),
        ("jaxlib.xla_extension.XlaRuntimeError: UNAVAILABLE: Socket closed", Line.PEER_LOST, "", ""),
        ("jaxlib.xla_extension.XlaRuntimeError: INTERNAL: bad", Line.CRASHED, "jaxlib.xla_extension.XlaRuntimeError", ""),
        ("TPU stats: w-3: 0x0", Line.COUNTER, "w-3", "0x0"),
    ],
)  # fmt: skip
async def test_what_a_line_names_is_kept(pod: Pod, text: str, line: Line, what: str, chips: str) -> None:
    pod.print(stamped(text))
    (seen,) = await pod.see()
    assert (seen.line, seen.what, seen.chips) == (line, what, chips)


async def test_the_first_of_a_burst_is_dated_by_the_runtimes_clock_and_the_rest_counted(pod: Pod) -> None:
    pod.print(stamped(MISSED, 3.25), stamped("step 7 done"), stamped(MISSED, 5))
    assert [(one.first, one.last, one.count) for one in await pod.see()] == [(NOW + 3.25, NOW + 5, 2)]
    pod.print(stamped(MISSED, 9))
    assert [(one.first, one.last, one.count) for one in await pod.see(10)] == [(NOW + 3.25, NOW + 9, 3)]


async def test_what_comes_after_a_long_quiet_is_another_sighting(pod: Pod) -> None:
    pod.print(stamped(MISSED), stamped(MISSED).replace("T10:00", "T10:11"))
    assert [(one.first, one.count) for one in await pod.see()] == [(NOW + 660, 1)]


async def test_it_is_told_for_a_quarter_of_an_hour_and_nothing_stays(pod: Pod) -> None:
    pod.print(stamped(MISSED))
    assert len(await pod.see()) == 1
    assert len(await pod.see(899)) == 1
    assert await pod.see(901) == ()


async def test_the_last_words_of_a_pod_are_read_after_it_is_gone(pod: Pod) -> None:
    await pod.see()
    pod.print("")
    await pod.see()
    pod.print(stamped(MISSED))
    pod.log.unlink()
    pod.home.rmdir()
    pod.is_listed(so=False)
    assert len(await pod.see()) == 1
    assert pod.source.followed == 0


async def test_a_container_that_was_restarted_and_a_log_that_was_rotated_or_cut_are_followed(pod: Pod) -> None:
    pod.print(stamped("begin"))
    await pod.see()
    pod.print(stamped(MISSED))
    pod.number = 1
    pod.print(stamped("Socket closed"))
    assert {one.line for one in await pod.see()} == {Line.MISSED, Line.PEER_LOST}
    pod.log.rename(pod.home / "1.log.20260726-100000")
    pod.print(stamped("Detected failure SLICE_FAILURE_UNKNOWN"))
    assert len(await pod.see()) == 3
    pod.log.write_text(stamped("RAW: Raising signal 6") * 1, encoding="utf-8")
    assert {one.count for one in await pod.see() if one.line is Line.PEER_LOST} == {2}


async def test_a_line_that_is_still_being_written_is_read_when_it_is_whole(pod: Pod) -> None:
    line = stamped(MISSED)
    pod.print(line[:50])
    assert await pod.see() == ()
    pod.print(line[50:])
    assert len(await pod.see()) == 1


async def test_what_a_job_prints_prints_as_it_stands(pod: Pod) -> None:
    pod.print(stamped("\x1b[31mRuntimeError\x1b[0m: \x07no\u2028\udc80chips, Socket closed".encode("utf-8", "replace").decode()))
    (seen,) = await pod.see()
    assert seen.text == "[31mRuntimeError [0m: no ?chips, Socket closed"


async def test_what_is_not_as_the_runtime_writes_it_is_counted_and_left_out(pod: Pod) -> None:
    pod.print(f"{MISSED}\n", f"2026-99-26T10:00:00Z stderr F {MISSED}\n", stamped("about health checks in general"))
    assert await pod.see() == ()
    assert pod.source.counts["lines_unstamped"] == 2


async def test_an_old_log_is_read_from_near_its_end_and_a_storm_in_bounds(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    pod.print(stamped(MISSED), *[stamped("x" * 1000)] * 80)
    assert await pod.see() == ()
    monkeypatch.setattr(pod_log, "_BEHIND", 100_000)
    pod.print(stamped(MISSED), *[stamped("x" * 1000)] * 200)
    assert await pod.see() == ()
    assert pod.source.counts["bytes_skipped"] > 100_000
    pod.print(*[stamped(MISSED)] * 300)
    assert [one.count for one in await pod.see()] == [200]
    assert pod.source.counts["lines_skipped"] == 100
    left_out = (await pod.source.read(NOW)).notes["pod_log"]
    assert left_out == f"{pod.source.counts['bytes_skipped']} bytes_skipped, 100 lines_skipped"


async def test_a_read_takes_a_bounded_number_of_bytes_and_goes_on_at_the_next(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_log, "_MOST_READ", 1000)
    await pod.see()
    pod.print(stamped("x" * 1500), stamped(MISSED))
    assert await pod.see() == ()
    assert len(await pod.see()) == 1


async def test_jobs_that_print_thousands_of_kinds_of_lines_take_bounded_room(pod: Pod) -> None:
    for first in range(0, 400, 200):
        pod.print(*[stamped(f"E{number}Error: no") for number in range(first, first + 200)])
        assert len(await pod.see()) <= 16
    assert len(pod.source.sightings) <= 64


async def test_a_pod_without_a_place_in_a_gang_or_without_a_log_is_no_harm(tmp_path: Path) -> None:
    pod = Pod(tmp_path, seat=None)
    (tmp_path / "stray").write_text("", encoding="utf-8")
    assert await pod.see() == ()
    pod.print(stamped(MISSED))
    assert [one.seat for one in await pod.see()] == [""]
    pod.node.pods = None
    assert len(await pod.see()) == 1
    await pod.source.__aexit__(None, None, None)


async def test_no_folder_of_logs_is_no_reading(tmp_path: Path) -> None:
    async with PodLog(Node(), tmp_path / "none", ()) as source:
        with pytest.raises(Retry, match="is not there"):
            await source.read(NOW)


async def test_all_logs_are_closed_at_the_end(pod: Pod) -> None:
    pod.print(stamped("x"))
    async with pod.source as source:
        await pod.see()
        assert source.followed == 1
    assert pod.source.followed == 0


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("patterns: 7", "is not a list of patterns"),
        ("patterns: [{line: missed}]", "is not a list of patterns"),
        ("patterns: [{line: lost, needs: a, pattern: a, example: a}]", "'lost' is no kind of line"),
        ("patterns: [{line: missed, needs: a, pattern: '(', example: a}]", "is no regular expression"),
        ("patterns: [{line: missed, needs: b, pattern: a, example: a}]", "does not match its own example"),
        ("patterns: [{line: missed, needs: a, pattern: b, example: a}]", "does not match its own example"),
    ],
)
def test_patterns_that_cannot_work_are_refused_by_name(text: str, why: str) -> None:
    with pytest.raises(Misconfigured, match=why):
        read_patterns(text, where="mine.yaml")
