from __future__ import annotations

import asyncio
import json
import socket
import time
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sliceward.daemons.sources.pods import Node, PodsOnNode, read_pods
from sliceward.daemons.sources.reporter import Doors, ReporterSource
from sliceward.daemons.sources.reports import BadReport, Hello, JobSaid, State, read_report
from sliceward.detectors.sightings import Line, from_note
from sliceward.topology.errors import Retry
from sliceward.topology.names import NAMES
from sliceward.workload.messages import MAX_LINE, line
from tests.daemons.sources.builders import POD, TPU7X, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sliceward.daemons.sources.source import Reading

JOB = {"namespace": "ml", "owner_kind": "JobSet", "name": "llm", "role": "slice", "slice_index": 1, "rank": 3}
EVENTS: list[tuple[str, str, str]] = []


class Talker:
    """A training process that says what a test tells it to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def say(self, **message: Any) -> None:  # noqa: ANN401 (fields)
        self.writer.write(line(message))

    async def hear(self) -> dict[str, Any]:
        heard: dict[str, Any] = json.loads(await self.reader.readline())
        return heard


@asynccontextmanager
async def a_source(
    folder: Path,
    node: Node | None = None,
    *,
    tcp: tuple[str, int] | None = None,
    **settings: Any,  # noqa: ANN401 (fields)
) -> AsyncIterator[ReporterSource]:
    doors = Doors(folder / "r.sock", tcp)
    EVENTS.clear()
    source = ReporterSource(
        TPU7X, node or Node(), "prod", doors, folder / "proc", on_event=lambda *event: EVENTS.append(event), **settings
    )
    async with source:
        yield source


def a_free_address() -> tuple[str, int]:
    with socket.create_server(("127.122.0.2", 0)) as free:
        host, port = free.getsockname()
        return host, port


@asynccontextmanager
async def a_talker(folder: Path, *, hello: bool = True) -> AsyncIterator[Talker]:
    reader, writer = await asyncio.open_unix_connection(folder / "r.sock")
    talker = Talker(reader, writer)
    if hello:
        talker.say(say="hello", version=1, job=JOB, pid=1)
    try:
        yield talker
    finally:
        writer.close()
        with suppress(ConnectionError):  # the other end may have hung up first
            await writer.wait_closed()


async def reading_of(source: ReporterSource, note: str = "gang") -> Reading:
    """Read until what was said has arrived."""
    async with asyncio.timeout(30):
        while True:
            try:
                reading = await source.read(0.0)
                if note in reading.notes:
                    return reading
            except Retry:
                pass
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("told", "note"),
    [
        ({"coordinator": "10.0.0.1:8476", "attempt": "2", "slices": 4}, "10.0.0.1:8476|2|4"),
        ({"coordinator": "a|b"}, "a/b||"),
        ({"slices": 0}, "||0"),
    ],
)
async def test_a_job_tells_where_its_gang_meets(tmp_path: Path, told: dict[str, Any], note: str) -> None:
    async with a_source(tmp_path) as source, a_talker(tmp_path, hello=False) as job:
        job.say(say="hello", version=1, job=JOB | told, pid=1)
        assert (await reading_of(source, "rendezvous")).notes["rendezvous"] == note


async def test_a_job_that_is_told_nothing_of_its_gang_says_nothing_of_it(tmp_path: Path) -> None:
    async with a_source(tmp_path) as source, a_talker(tmp_path):
        assert "rendezvous" not in (await reading_of(source)).notes


async def test_a_job_tells_what_its_time_goes_to_and_the_process_that_spent_most_counts(tmp_path: Path) -> None:
    async with a_source(tmp_path) as source, a_talker(tmp_path) as one, a_talker(tmp_path) as other:
        one.say(say="state", step=1, spent={"gc": 2.5, "compile": 1, "dreaming": 9})
        other.say(say="state", step=1, spent={"gc": 1.5})
        async with asyncio.timeout(30):
            while (reading := await reading_of(source)).columns["host_gc_seconds_total"] != [2.5]:  # noqa: ASYNC110 (what is waited for comes through a socket)
                await asyncio.sleep(0.002)
    assert [reading.columns[f"host_{name}_seconds_total"] for name in ("compile", "checkpoint", "input")] == [[1.0], [0.0], [0.0]]


async def test_the_first_that_a_process_says_of_its_end_is_told_after_it_is_gone(tmp_path: Path) -> None:
    async with a_source(tmp_path) as source:
        source.stale = 0.2
        async with a_talker(tmp_path) as job:
            job.say(say="state", step=1)
            job.say(say="event", event="fatal", text="loss is NaN")
            job.say(say="event", event="fatal", text="and more")
            first = await reading_of(source, "end")
        assert first.notes["gang"]
        async with asyncio.timeout(30):
            while "gang" in (last := await source.read(0.0)).notes:  # noqa: ASYNC110 (it ages by itself)
                await asyncio.sleep(0.002)
    assert set(last.columns) == {"host_source_age_reporter_seconds"}
    (told,) = from_note(last.notes["end"])
    assert (told.line, told.text, told.seat) == (Line.CRASHED, "loss is NaN", "prod/gang/ml/JobSet/llm|slice|1|3")


async def test_a_job_tells_steps_links_and_throttling(tmp_path: Path) -> None:
    async with a_source(tmp_path) as source, a_talker(tmp_path) as job:
        places = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]]
        job.say(say="state", step=100, step_seconds=0.5, step_age=0.1, checkpoint_step=90, checkpoint_age=5.0)
        job.say(say="state", step=104, step_seconds=0.5, step_age=0.1, checkpoint_step=90, checkpoint_age=5.0,
                links={"0/0": 0, "3/5": 7, "9/0": 3, "x": 1}, throttle={"2": 6}, coordinates=places)  # fmt: skip
        reading = await reading_of(source, "coordinates")
    assert reading.notes["gang"] == "prod/gang/ml/JobSet/llm|slice|1|3"
    assert reading.notes["step_base"] == "100"
    assert reading.notes["checkpoint_step"] == "90"
    assert json.loads(reading.notes["coordinates"]) == places
    assert reading.columns["host_step"] == [4.0]
    assert reading.columns["link_health"][0] == 0.0
    assert reading.columns["link_health"][23] == 7.0
    assert reading.columns["chip_throttle_score"][2] == 6.0
    assert reading.columns["host_checkpoint_age_seconds"][0] >= 5.0


async def test_nobody_reports_is_no_reading(tmp_path: Path) -> None:
    async with a_source(tmp_path) as source:
        with pytest.raises(Retry, match="no training process"):
            await source.read(0.0)


async def test_a_job_that_falls_silent_ages_out(tmp_path: Path) -> None:
    async with a_source(tmp_path, stale=0.0) as source, a_talker(tmp_path) as job:
        job.say(say="state", step=1)
        await asyncio.sleep(0)
        with pytest.raises(Retry):
            await source.read(0.0)


async def test_of_two_processes_the_slowest_and_the_worse_end_count(tmp_path: Path) -> None:
    async with a_source(tmp_path) as source, a_talker(tmp_path) as one, a_talker(tmp_path) as other:
        one.say(say="state", step=10, step_age=0.0, links={"0/0": 2})
        other.say(say="state", step=10, step_age=0.0, links={"0/0": 8})
        one.say(say="state", step=15, step_age=0.0, links={"0/0": 2}, checkpoint_step=9)
        await reading_of(source, "checkpoint_step")
        await eventually(lambda: source.reporting == 2)
        other.say(say="state", step=12, step_age=0.0, links={"0/0": 8}, checkpoint_step=7)
        async with asyncio.timeout(30):
            reading = await reading_of(source)
            while reading.notes["checkpoint_step"] != "7":
                reading = await reading_of(source)
                await asyncio.sleep(0.002)
    assert reading.columns["host_step"] == [2.0]
    assert reading.columns["link_health"][0] == 8.0


async def test_the_labels_of_its_pod_outrank_what_a_job_says(tmp_path: Path) -> None:
    pods = read_pods([a_pod()], cluster="prod", names=NAMES, as_of=0.0)
    async with a_source(tmp_path, Node(pods)) as source, a_talker(tmp_path, hello=False) as job:
        job.say(say="hello", job={**JOB, "name": "somebody-else", "pod_uid": POD})
        assert (await reading_of(source)).notes["gang"] == "prod/gang/ml/JobSet/llm|slice|2|5"


async def test_a_checkpoint_is_asked_for_and_answered_with_its_step(tmp_path: Path) -> None:
    async with a_source(tmp_path) as source, a_talker(tmp_path) as job:
        await reading_of(source)
        asked = asyncio.create_task(source.checkpoint("r1", deadline=time.time() + 60, at_step=40))
        heard = await job.hear()
        assert (heard["say"], heard["id"], heard["at_step"]) == ("checkpoint", "r1", 40)
        job.say(say="answer", id="r1", ok=True, checkpoint_step=41)
        answer = await asked
    assert (answer.ok, answer.checkpoint_step) == (True, 41)


async def test_a_job_that_hangs_up_meanwhile_answers_no(tmp_path: Path) -> None:
    async with a_source(tmp_path) as source:
        async with a_talker(tmp_path) as job:
            await reading_of(source)
            asked = asyncio.create_task(source.checkpoint("r1", deadline=time.time() + 60))
            await job.hear()
        answer = await asked
    assert (answer.ok, answer.why) == (False, "the training process hung up")


async def test_a_deadline_without_answer_is_a_no(tmp_path: Path) -> None:
    async with a_source(tmp_path) as source, a_talker(tmp_path):
        await reading_of(source)
        answer = await source.checkpoint("r1", deadline=time.time() + 0.02)
        assert (answer.ok, answer.why) == (False, "no checkpoint before the deadline")
        assert not (await source.checkpoint("r2", deadline=time.time() - 1)).ok


async def test_without_a_job_a_checkpoint_is_a_no_at_once(tmp_path: Path) -> None:
    async with a_source(tmp_path) as source:
        assert not (await source.checkpoint("r1", deadline=time.time() + 500)).ok


async def test_an_event_before_death_is_passed_on_with_its_gang(tmp_path: Path) -> None:
    async with a_source(tmp_path) as source, a_talker(tmp_path) as job:
        job.say(say="event", event="fatal", text="INTERNAL: chip error")
        job.say(say="state", checkpoint_step=1)
        await reading_of(source, "checkpoint_step")
    assert EVENTS == [("prod/gang/ml/JobSet/llm", "fatal", "INTERNAL: chip error")]


async def test_nonsense_is_counted_and_its_speaker_cut_off(tmp_path: Path) -> None:
    async with a_source(tmp_path) as source, a_talker(tmp_path, hello=False) as job:
        job.writer.write(b"{}\n" * 20)
        assert await job.reader.read() == b""
        assert source.counts["bad_lines"] == 11


async def test_an_endless_line_is_cut_off(tmp_path: Path) -> None:
    async with a_source(tmp_path) as source, a_talker(tmp_path, hello=False) as job:
        job.writer.write(b"x" * (MAX_LINE * 3))
        assert await job.reader.read() == b""
        assert source.counts["cut_off"] == 1


async def test_whoever_says_no_hello_gives_its_place_to_a_training_process(tmp_path: Path) -> None:
    async with a_source(tmp_path, hello_within=0.05) as source, AsyncExitStack() as stack:
        silent = [await stack.enter_async_context(a_talker(tmp_path, hello=False)) for _ in range(16)]
        silent[0].say(say="state", step=1)
        async with asyncio.timeout(30):
            for idle in silent:
                assert await idle.reader.read() == b""
        job = await stack.enter_async_context(a_talker(tmp_path))
        job.say(say="state", step=7)
        assert (await reading_of(source, "step_base")).notes["step_base"] == "7"
    assert source.counts["cut_off"] == 16


async def test_who_has_said_hello_may_be_silent(tmp_path: Path) -> None:
    async with a_source(tmp_path, hello_within=0.02) as source, a_talker(tmp_path) as job:
        await reading_of(source)
        async with a_talker(tmp_path, hello=False) as later:
            assert await later.reader.read() == b""
        job.say(say="state", step=7)
        await reading_of(source, "step_base")
    assert source.counts["cut_off"] == 1


async def test_one_peer_cannot_take_all_places(tmp_path: Path) -> None:
    tcp = a_free_address()
    async with a_source(tmp_path, tcp=tcp) as source, AsyncExitStack() as stack:
        for _ in range(80):
            await stack.enter_async_context(a_talker(tmp_path))
        await eventually(lambda: source.counts["refused_full"] == 64)
        await eventually(lambda: source.reporting == 16)
        reader, writer = await asyncio.open_connection(*tcp)
        Talker(reader, writer).say(say="hello", version=1, job={**JOB, "name": "other"}, pid=2)
        await eventually(lambda: source.reporting == 17)
        writer.close()


def understood(raw: bytes) -> object:
    """Give the report, or why it is none."""
    try:
        return read_report(raw)
    except BadReport as bad:
        return bad


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=3)
STATES = st.fixed_dictionaries({"say": st.just("state")}, optional={"step": JSON, "links": st.dictionaries(st.text(), JSON)})


@given(st.binary(max_size=200) | STATES.map(lambda said: json.dumps(said).encode()))
def test_whatever_is_said_is_a_report_or_a_bad_report(raw: bytes) -> None:
    report = understood(raw)
    assert isinstance(report, State | BadReport)
    assert not isinstance(report, State) or report.step is None or report.step >= 0


@pytest.mark.parametrize(
    "text",
    [
        '{"say":"state","step":-1}',
        '{"say":"state","step":1e400}',
        '{"say":"state","step_age":NaN}',
        '{"say":"state","links":{"0/0":11}}',
        '{"say":"state","coordinates":[[0]]}',
        '{"say":"hello","job":{"name":5}}',
        '{"say":5}',
        "[]",
    ],
)
def test_a_number_out_of_range_or_of_another_type_is_refused(text: str) -> None:
    with pytest.raises(BadReport):
        read_report(text.encode())


def test_what_a_newer_reporter_adds_is_skipped() -> None:
    assert read_report(b'{"say":"song"}') is None
    assert read_report(b'{"say":"state","step":3,"mood":"good"}') == State(step=3)
    assert read_report(b'{"say":"hello"}') == Hello(job=JobSaid())


def a_pod(uid: str = POD, **status: str) -> dict[str, Any]:
    labels = {NAMES.jobset_name: "llm", NAMES.replicated_job: "slice", NAMES.job_index: "2", NAMES.completion_index: "5"}
    container = {"name": "train", "resources": {"limits": {"google.com/tpu": "4"}}}
    meta = {"uid": uid, "namespace": "ml", "name": "llm-slice-2-5-x", "labels": labels}
    return {"metadata": meta, "spec": {"containers": [container]}, "status": {"phase": "Running", "podIP": "10.0.0.7", **status}}


def test_pods_that_ask_for_no_chips_or_have_ended_are_left_out() -> None:
    plain = {"metadata": {"uid": POD, "name": "x"}, "spec": {"containers": [{"name": "c"}]}}
    found = read_pods([a_pod(), a_pod(phase="Succeeded"), plain, {}, 5], cluster="prod", names=NAMES, as_of=1.0)  # type: ignore[list-item]  # 5 is no pod
    assert [pod.ip for pod in found.pods] == ["10.0.0.7"]
    assert str(found.pods[0].seat) == "prod/gang/ml/JobSet/llm|slice|2|5"
    assert isinstance(found, PodsOnNode)


async def test_a_flood_of_events_of_one_peer_is_bounded_and_counted(tmp_path: Path) -> None:
    async with a_source(tmp_path) as source, a_talker(tmp_path) as job:
        for number in range(200):
            job.say(say="event", event="fatal", text=str(number))
        job.say(say="state", checkpoint_step=1)
        await reading_of(source, "checkpoint_step")
    # The minute may have turned meanwhile.
    assert 60 <= len(EVENTS) <= 120
    assert source.counts["dropped_events"] == 200 - len(EVENTS)
