from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import sliceward.workload as sliceward
from sliceward.workload import Reporter
from sliceward.workload.chips import LibtpuChips, find_chips
from sliceward.workload.identity import job_from
from sliceward.workload.messages import MAX_LINE, line, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]
QUICK = {"SLICEWARD_REPORT_SECONDS": "0.05", "SLICEWARD_CHIP_SECONDS": "0.05"}


class Chips:
    def read(self) -> dict[str, Any]:
        return {"links": {"0/0": 3}}


class Agent:
    """The agent's end of the socket, on this thread."""

    def __init__(self, path: Path) -> None:
        self.server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.server.bind(str(path))
        self.server.listen()
        self.server.settimeout(5)
        self.peer: socket.socket | None = None
        self.rest = b""

    def accept(self) -> None:
        self.hang_up()
        self.peer, _ = self.server.accept()
        self.peer.settimeout(5)
        self.rest = b""

    def hear(self, say: str, is_wanted: Callable[[dict[str, Any]], object] = lambda _message: True) -> dict[str, Any]:
        """Give the next message of a kind that fits."""
        assert self.peer is not None
        end = time.monotonic() + 10
        while True:
            assert time.monotonic() < end, f"no {say} came"
            while b"\n" not in self.rest:
                got = self.peer.recv(65536)
                assert got, "the reporter hung up"
                self.rest += got
            raw, _, self.rest = self.rest.partition(b"\n")
            message: dict[str, Any] = json.loads(raw)
            if message["say"] == say and is_wanted(message):
                return message

    def say(self, **message: Any) -> None:  # noqa: ANN401 (fields)
        assert self.peer is not None
        self.peer.sendall(line(message))

    def hang_up(self) -> None:
        if self.peer is not None:
            self.peer.close()


@contextmanager
def an_agent(folder: Path) -> Iterator[Agent]:
    agent = Agent(folder / "a.sock")
    try:
        yield agent
    finally:
        agent.hang_up()
        agent.server.close()


@contextmanager
def a_reporter(folder: Path, **environ: str) -> Iterator[Reporter]:
    reporter = Reporter({"SLICEWARD_AGENT_ADDRESS": str(folder / "a.sock"), **QUICK, **environ}, chips=Chips())
    try:
        yield reporter
    finally:
        reporter.close()


def test_it_says_who_it_is_then_how_it_does(tmp_path: Path) -> None:
    with an_agent(tmp_path) as agent, a_reporter(tmp_path, SLICEWARD_GANG="ml/JobSet/llm", TPU_WORKER_ID="3") as reporter:
        agent.accept()
        hello = agent.hear("hello")
        assert hello["job"]["name"] == "llm"
        assert hello["job"]["rank"] == 3
        assert "step" not in agent.hear("state")
        reporter.step(7)
        assert agent.hear("state", lambda said: said.get("step") == 7)["links"] == {"0/0": 3}
        reporter.step(8)
        assert agent.hear("state", lambda said: said.get("step") == 8)["step_age"] >= 0
        reporter.checkpointed(8)
        assert agent.hear("state", lambda said: "checkpoint_step" in said)["checkpoint_step"] == 8


def test_a_requested_checkpoint_runs_in_the_step_and_is_answered(tmp_path: Path) -> None:
    threads = []

    def save() -> int:
        threads.append(threading.current_thread())
        return 11

    with an_agent(tmp_path) as agent, a_reporter(tmp_path) as reporter:
        reporter.on_checkpoint(save)
        agent.accept()
        agent.say(say="checkpoint", id="r1", deadline=time.time() + 60, at_step=11)
        until(reporter, 10, lambda: is_asked(reporter))
        assert not threads, "before the step that was asked for nothing is saved"
        reporter.step(11)
        answer = agent.hear("answer")
    assert threads == [threading.current_thread()]
    assert (answer["id"], answer["ok"], answer["checkpoint_step"]) == ("r1", True, 11)


def is_asked(reporter: Reporter) -> bool:
    return reporter._request is not None  # noqa: SLF001 (whether the message has come through the socket)


def waiting(reporter: Reporter) -> int:
    return len(reporter._waiting)  # noqa: SLF001 (what piles up inside is what is tested)


def until(reporter: Reporter, step: int, is_so: Callable[[], object]) -> None:
    end = time.monotonic() + 5
    while not is_so():
        assert time.monotonic() < end
        reporter.step(step)
        threading.Event().wait(0.005)


def test_a_script_may_ask_and_save_by_itself(tmp_path: Path) -> None:
    with an_agent(tmp_path) as agent, a_reporter(tmp_path) as reporter:
        agent.accept()
        assert not reporter.checkpoint_requested()
        agent.say(say="checkpoint", id="r1", deadline=time.time() + 60)
        until(reporter, 1, reporter.checkpoint_requested)
        reporter.checkpointed(1)
        assert not reporter.checkpoint_requested()
        assert agent.hear("answer")["checkpoint_step"] == 1


def test_a_request_past_its_deadline_is_forgotten(tmp_path: Path) -> None:
    with an_agent(tmp_path) as agent, a_reporter(tmp_path) as reporter:
        agent.accept()
        agent.say(say="checkpoint", id="r1", deadline=time.time() - 1)
        until(reporter, 1, lambda: is_asked(reporter))
        assert not reporter.checkpoint_requested()


def test_a_callback_that_raises_is_the_answer_and_not_the_jobs_end(tmp_path: Path) -> None:
    called = []

    def save() -> int:
        called.append(True)
        raise OSError("bucket is gone")

    with an_agent(tmp_path) as agent, a_reporter(tmp_path) as reporter:
        reporter.on_checkpoint(save)
        agent.accept()
        agent.say(say="checkpoint", id="r1", deadline=time.time() + 60)
        until(reporter, 1, lambda: called)
        answer = agent.hear("answer")
    assert (answer["ok"], answer["why"]) == (False, "OSError: bucket is gone")


def test_an_agent_that_dies_in_the_middle_of_a_message_is_found_again(tmp_path: Path) -> None:
    with an_agent(tmp_path) as agent, a_reporter(tmp_path) as reporter:
        agent.accept()
        assert agent.peer is not None
        agent.peer.sendall(b'{"say":"checkpoi')
        agent.hang_up()
        reporter.step(1)
        agent.accept()
        assert agent.hear("hello")["version"] == 1
        assert agent.hear("state")["step"] == 1


def test_an_agent_that_speaks_nonsense_is_left_and_tried_again(tmp_path: Path) -> None:
    with an_agent(tmp_path) as agent, a_reporter(tmp_path):
        agent.accept()
        agent.hear("hello")
        assert agent.peer is not None
        agent.peer.sendall(b"\x00\xff nonsense\n")
        agent.accept()
        agent.hear("hello")


def test_without_an_agent_nothing_is_raised_and_nothing_piles_up(tmp_path: Path) -> None:
    with a_reporter(tmp_path) as reporter:
        for number in range(1000):
            reporter.step(number)
            reporter.checkpointed(number)
            reporter.failing("x" * 10_000)
        assert waiting(reporter) <= 64


def test_an_agent_that_does_not_read_never_blocks_a_step(tmp_path: Path) -> None:
    with an_agent(tmp_path) as agent, a_reporter(tmp_path) as reporter:
        agent.accept()
        began = time.monotonic()
        for number in range(10_000):
            reporter.failing("x" * 2000)
            reporter.step(number)
        assert time.monotonic() - began < 30  # blocked, it would be for ever


@pytest.mark.parametrize(
    "step", [None, "seven", object(), float("nan"), 10**400, 10**5000], ids=["none", "text", "object", "nan", "huge", "endless"]
)
def test_a_step_that_is_no_number_harms_nobody(tmp_path: Path, step: Any) -> None:  # noqa: ANN401 (whatever a job may give)
    with an_agent(tmp_path) as agent, a_reporter(tmp_path) as reporter:
        agent.accept()
        agent.say(say="checkpoint", id="r1", deadline=time.time() + 60)
        until(reporter, step, lambda: is_asked(reporter))
        reporter.step(step)
        reporter.checkpoint_requested()
        reporter.checkpointed(step)
        agent.hear("state", lambda said: "step_age" in said)


def test_a_forked_child_is_silent_and_leaves_the_parents_connection(tmp_path: Path) -> None:
    with an_agent(tmp_path) as agent, a_reporter(tmp_path) as reporter:
        agent.accept()
        agent.hear("state")
        code = f"""
import os, sys, time, warnings
warnings.simplefilter("ignore")
import sliceward.workload as sliceward
reporter = sliceward.report({{"SLICEWARD_AGENT_ADDRESS": {str(tmp_path / "a.sock")!r}, "SLICEWARD_REPORT_SECONDS": "0.05"}})
print("up", flush=True)
sys.stdin.readline()
if os.fork() == 0:
    reporter.step(999); reporter.failing("child"); time.sleep(0.3); os._exit(0)
os.wait()
reporter.step(5)
sys.stdin.readline()
"""
        job = subprocess.Popen(  # noqa: S603 (our own interpreter and the text above)
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT / ".types")},
        )
        assert job.stdin is not None
        assert job.stdout is not None
        try:
            assert job.stdout.readline() == b"up\n"
            agent.accept()
            agent.hear("state")
            job.stdin.write(b"\n")
            job.stdin.flush()
            assert agent.hear("state", lambda said: "step" in said)["step"] == 5
        finally:
            job.communicate(b"\n", timeout=30)
        reporter.close()


def test_report_never_raises_whatever_the_environment_holds() -> None:
    for address in ("nonsense", "host:notaport", "/not/there", "unix:", "127.0.0.1:1", "\x00"):
        reporter = sliceward.report({"SLICEWARD_AGENT_ADDRESS": address, "SLICEWARD_REPORT_SECONDS": "soon"})
        reporter.step(1)
        reporter.close()


def test_a_process_that_may_begin_no_thread_trains_without_a_reporter(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    reporter = sliceward.report({})
    reporter.step(1)
    reporter.checkpointed(1)
    reporter.failing("whatever")
    reporter.close()


@pytest.mark.parametrize(
    "environ",
    [
        {"SLICEWARD_RANK": "9" * 5000},
        {"SLICEWARD_SLICE": "9" * 5000},
        {"SLICEWARD_REPORT_SECONDS": "inf"},
        {"SLICEWARD_REPORT_SECONDS": "1e300"},
        {"SLICEWARD_REPORT_SECONDS": "9" * 5000},
    ],
    ids=["rank", "slice", "endless period", "huge period", "too many digits"],
)
def test_a_number_in_the_environment_that_is_none_leaves_the_rest_reported(tmp_path: Path, environ: dict[str, str]) -> None:
    with an_agent(tmp_path) as agent:
        address = {"SLICEWARD_AGENT_ADDRESS": str(tmp_path / "a.sock"), "SLICEWARD_GANG": "ml/JobSet/llm"}
        reporter = sliceward.report({**QUICK, **environ, **address})
        agent.accept()
        assert agent.hear("hello")["job"]["rank"] is None
        agent.hear("state")
        agent.say(say="song")  # whatever is said is followed by a state at once
        agent.hear("state")
        reporter.close()


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("boom")


def test_an_error_that_cannot_be_printed_is_told_by_its_type(tmp_path: Path) -> None:
    asked: list[str] = []

    def save() -> int:
        asked.append("to save")
        raise Unspeakable

    with an_agent(tmp_path) as agent, a_reporter(tmp_path) as reporter:
        reporter.on_checkpoint(save)
        agent.accept()
        reporter.failing(Unspeakable())  # type: ignore[arg-type]  # what a job hands over is not checked
        assert agent.hear("event")["text"] == "Unspeakable that cannot be printed"
        agent.say(say="checkpoint", id="r1", deadline=time.time() + 60)
        until(reporter, 1, lambda: asked)
        assert agent.hear("answer")["why"] == "Unspeakable: Unspeakable that cannot be printed"


class Metric:
    def __init__(self, data: list[str]) -> None:
        self._data = data

    def data(self) -> list[str]:
        return self._data


class Monitoring:
    def __init__(self, **data: list[str]) -> None:
        self._data = data

    def get_metric(self, name: str) -> Metric:
        return Metric(self._data[name])


class Slices:
    def get_chip_coordinates(self) -> list[dict[str, Any]]:
        return [
            {"hostname": "other", "chip_index": 0, "coordinates": [4, 0, 0]},
            {"hostname": "me", "chip_index": 1, "coordinates": [1, 0, 0]},
            {"hostname": "me", "chip_index": 0, "coordinates": [0, 0, 0]},
        ]


def test_libtpus_formats_are_read() -> None:
    monitoring = Monitoring(ici_link_health=["tray1.chip3.ici0.int: 10", "?"], tpu_throttle_score=["0-0", "1-6", "-"])
    assert LibtpuChips(monitoring, Slices(), "me").read() == {
        "links": {"3/0": 10},
        "throttle": {"0": 0, "1": 6},
        "coordinates": [[0, 0, 0], [1, 0, 0]],
    }


def test_what_libtpu_refuses_is_left_out() -> None:
    assert LibtpuChips(Monitoring(), object(), "me").read() == {}
    assert find_chips().read() == {}


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({"SLICEWARD_GANG": "ml/JobSet/llm", "JOBSET_NAME": "x"}, ("ml", "JobSet", "llm")),
        ({"JOBSET_NAME": "llm", "POD_NAMESPACE": "ml"}, ("ml", "JobSet", "llm")),
        ({"JOB_NAME": "llm", "POD_NAMESPACE": "ml"}, ("ml", "Job", "llm")),
        ({"SLICEWARD_GANG": "broken"}, ("", "", "")),
    ],
)
def test_the_gang_comes_from_the_environment(tmp_path: Path, environ: dict[str, str], wanted: tuple[str, str, str]) -> None:
    job = job_from({**environ, "MEGASCALE_SLICE_ID": "1", "TPU_WORKER_ID": "x"}, namespace_file=tmp_path / "none")
    assert (job.namespace, job.owner_kind, job.name) == wanted
    assert (job.slice_index, job.rank) == (1, None)


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, ("", "", None)),
        (
            {"JAX_COORDINATOR_ADDRESS": "a:8476", "MEGASCALE_COORDINATOR_ADDRESS": "b", "MEGASCALE_NUM_SLICES": "2"},
            ("a:8476", "", 2),
        ),
        (
            {"MEGASCALE_COORDINATOR_ADDRESS": "b:8080", "SLICEWARD_ATTEMPT": "3", "MEGASCALE_NUM_SLICES": "x"},
            ("b:8080", "3", None),
        ),
        ({"COORDINATOR_ADDRESS": "c" * 999}, ("c" * 253, "", None)),
    ],
)
def test_where_the_gang_meets_comes_from_the_environment(
    tmp_path: Path, environ: dict[str, str], wanted: tuple[str, str, int | None]
) -> None:
    job = job_from(environ, namespace_file=tmp_path / "none")
    assert (job.coordinator, job.attempt, job.slices) == wanted


def test_a_line_is_one_object_with_a_bound() -> None:
    with pytest.raises(ValueError, match="at most"):
        line({"say": "x" * MAX_LINE})
    for raw in (b"[]", b'{"say":5}', b"{", b"[" * 100_000):
        with pytest.raises(ValueError, match=r".") as error:
            read(raw)
        assert str(error.value)
