"""What an agent that runs reads on its host and hears from its broker, when none of it is what it should be."""

from __future__ import annotations

import json
import socket
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from sliceward.daemons import topics
from sliceward.daemons.agent.requests import BadRequest, read_request
from sliceward.daemons.sources.device_plugin import columns_in
from sliceward.daemons.sources.reports import BadReport, Event, read_report
from sliceward.daemons.sources.source import Layout
from sliceward.detectors.frame import decode, unpack
from sliceward.detectors.metrics import CATALOGUE
from sliceward.topology.errors import Retry
from sliceward.topology.generations import GENERATIONS
from sliceward.workload.messages import MAX_LINE, line
from tests.fuzz.ground import CLUSTER, FUZZ, PATIENCE, Ground, also, until
from tests.fuzz.junk import EXTREMES, broken_bytes, broken_tree
from tests.fuzz.processes import LOG, Daemon, a_daemon
from tests.fuzz.rude_plugin import GOOD, RudePlugin, whole
from tests.services.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1 << 20
LAYOUT = Layout(GENERATIONS["tpu7x"], 4)
FAR = 4.0e9
"""A deadline that is more than a day away: whatever is asked until then is answered no at once."""


@dataclass(repr=False)
class Agent:
    """One of them: its process, its device plugin, the reporters' door, and all that it told the broker."""

    node: str
    ground: Ground
    daemon: Daemon
    plugin: RudePlugin
    door: Path
    frames: list[bytes] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)

    def count(self, family: str, name: str, label: str) -> float:
        return self.daemon.counts(f"sliceward_agent_{family}_total", label).get(name, 0.0)

    @property
    def pages_refused(self) -> float:
        return self.count("source_failures", "device_plugin", "source")

    def reporter(self, outcome: str) -> float:
        return self.count("reporter", outcome, "outcome")

    def told(self, event: str) -> dict[str, Any]:
        """Give the line about what was refused at the reporters' door: there is one for each who speaks, and this is one speaker."""
        until(lambda: any(one["event"] == event for one in self.daemon.told()), event)
        lines = [one for one in self.daemon.told() if one["event"] == event]
        assert len(lines) == 1
        return self.daemon.says(event, lines[0]["where"])

    def last(self, metric: str) -> list[float]:
        columns = decode(self.frames[-1]).columns if self.frames else {}
        return list(unpack(CATALOGUE[metric], columns[metric])) if metric in columns else []

    def reads_its_plugin(self) -> None:
        until(lambda: not self.plugin.answers and self.plugin.good > 1, "good pages, read again")
        until(lambda: self.last("chip_duty_cycle_percent") == [40.0, 41.0, 42.0, 43.0], "a frame with what the good page tells")

    def ask(self, payload: bytes) -> None:
        self.ground.say(topics.host(CLUSTER, self.node, topics.REQUEST), payload)

    def answer_to(self, request: dict[str, Any]) -> dict[str, Any]:
        self.ask(json.dumps(request).encode())
        until(lambda: any(event.get("id") == request["id"] for event in self.events), f"an answer to {request['id'][:80]}")
        return next(event for event in self.events if event.get("id") == request["id"])

    def a_talker(self) -> socket.socket:
        talker = socket.socket(socket.AF_UNIX)
        talker.connect(str(self.door))
        talker.settimeout(PATIENCE)
        return talker


def settings_of(node: str, ground: Ground, plugin: RudePlugin, port: int) -> dict[str, Any]:
    folder = ground.folder / node
    return {
        "cluster": CLUSTER, "node": node, "broker": {"url": ground.broker}, "period": "200ms", "state": str(folder / "state"),
        "instance_id": "77", "index": 0, "generation": "tpu7x", "chips": 4, "kubernetes": {"enabled": False},
        "listen": {"host": "127.0.0.1", "port": port}, "log": LOG,
        "sources": {
            "enabled": ["device_plugin", "reporter"], "root": str(folder),
            "device_plugin": {"url": plugin.url, "floor": "200ms", "timeout": "500ms"},
            "reporter": {"socket": str(folder / "r.sock")},
        },
    }  # fmt: skip


@pytest.fixture(scope="module")
def agents(ground: Ground) -> Iterator[list[Agent]]:
    """Give four of them: each reads one page a period."""
    with ExitStack() as stack:
        found: list[Agent] = []
        for number in range(4):
            node, port, plugin = f"node-{number}", free_port(), stack.enter_context(RudePlugin())
            daemon = stack.enter_context(
                a_daemon(ground, "agent", port, settings_of(node, ground, plugin, port), folder_name=f"agent-{number}")
            )
            found.append(Agent(node, ground, daemon, plugin, ground.folder / node / "r.sock"))
        stack.enter_context(listening(ground, {agent.node: agent for agent in found}))
        for agent in found:
            agent.reads_its_plugin()
        yield found


@pytest.fixture(scope="module")
def agent(agents: list[Agent]) -> Agent:
    return agents[0]


def listening(ground: Ground, agents: dict[str, Agent]) -> ExitStack:
    def heard(_client: Client, _nothing: object, message: Any) -> None:  # noqa: ANN401 (paho's message)
        _, _, leaf = message.topic.rpartition("/")
        agent = agents[message.topic.split("/")[-2]]
        if leaf == topics.FRAME:
            agent.frames[:] = [message.payload]
        else:
            agent.events.append(json.loads(message.payload))

    client = Client(CallbackAPIVersion.VERSION2, client_id="listening")
    client.on_message = heard
    client.connect("127.0.0.1", int(ground.broker.rpartition(":")[2]))
    client.subscribe([(topics.host(CLUSTER, "+", leaf), 1) for leaf in (topics.FRAME, topics.EVENT)])
    client.loop_start()
    with ExitStack() as stack:
        stack.callback(client.loop_stop)
        stack.callback(client.disconnect)
        return stack.pop_all()


# ── the device plugin's page ──────────────────────────────────────────────────────────────────────────────────────────────


def is_refused(page: bytes) -> bool:
    try:
        columns_in(page.decode("utf-8", "replace"), LAYOUT)
    except Retry:
        return True
    return False


def show(agents: list[Agent], pages: list[bytes]) -> None:
    """Let each agent read its share; it counts those that cannot be read, tells the first, and reads the good ones after."""
    before = [agent.pages_refused for agent in agents]
    shares = [pages[number :: len(agents)] for number in range(len(agents))]
    for agent, share in zip(agents, shares, strict=True):
        agent.plugin.answers.extend(whole(page) for page in share)
    for agent, share, refused in zip(agents, shares, before, strict=True):
        agent.reads_its_plugin()
        assert agent.pages_refused - refused == sum(map(is_refused, share)) > 0
        assert len(agent.daemon.says("page refused", agent.plugin.url)["why"]) <= 300
        agent.daemon.unharmed()


def test_pages_that_are_cut_changed_or_of_something_else(agents: list[Agent]) -> None:
    pages: list[bytes] = []

    @FUZZ
    @given(page=broken_bytes(GOOD))
    def draw(page: bytes) -> None:
        pages.append(page)

    draw()
    show(agents, pages)


NUMBERS = st.sampled_from([str(number) for number in EXTREMES]) | st.sampled_from(
    ["", "many", "1e400", "-1e-400", "0x10", "1_0", "٣", "1 2", "1 2 3", "1" * 400, "1" * 5_000, "+Inf", "nAn", "1 # {} 5"]
)
DEVICES = st.integers(-1, 9).map(str) | st.sampled_from(["", "²", "٣", "9" * 30, "9" * 5_000, 'x"y', "\\", "\\n", "0-0", "\x00"])
SERIES = st.sampled_from(sorted(metric.prometheus for metric in CATALOGUE.values() if metric.prometheus))


@st.composite
def odd_lines(draw: st.DrawFn) -> str:
    labels = f'accelerator_id="77-{draw(DEVICES)}"' + draw(
        st.sampled_from(["", ",", ',model="x"', ",model=x", ',a="', "}", ",,"])
    )
    return f"{draw(SERIES)}{{{labels}}} {draw(NUMBERS)}"


def test_numbers_and_devices_that_no_plugin_tells(agents: list[Agent]) -> None:
    pages: list[bytes] = []

    @FUZZ
    @also(
        lines=[
            *([f'duty_cycle_node{{accelerator_id="77-{device}"}} 1'] for device in ("²", "٣", "9" * 5_000, "\x00", "\\")),
            *(
                [f'duty_cycle_node{{accelerator_id="77-0"}} {value}']
                for value in ("1" * 5_000, "1e400", "nAn", "1_0", "1 # {} 5")
            ),
        ]
    )
    @given(lines=st.lists(odd_lines(), min_size=1, max_size=4))
    def draw(lines: list[str]) -> None:
        pages.append("\n".join(lines).encode() + b"\n" + GOOD)

    draw()
    show(agents, pages)


ANSWERS = {
    "no HTTP": b"\x00" * 400,
    "a line without end": b"HTTP/1.1 200 " + b"x" * MIB,
    "heads without end": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000,
    "an error page": whole(b"x" * 5 * MIB, "500 Oh"),
    "elsewhere": b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    "cut": whole(GOOD)[:-20],
    "too large": whole(b"#" * (5 * MIB)),
    "series without end": whole(GOOD * 10_000),
    "one series without end": whole(GOOD[:-1] + b"1" * 3 * MIB),
    "nothing": b"",
}


@pytest.mark.parametrize("name", sorted(ANSWERS))
def test_answers_that_are_none_too_large_or_too_long_to_read(agent: Agent, name: str) -> None:
    before = agent.pages_refused
    agent.plugin.answers.append(ANSWERS[name])
    agent.reads_its_plugin()
    assert agent.pages_refused == before + 1
    agent.daemon.unharmed()


def test_a_plugin_that_says_a_byte_at_a_time_is_given_up_and_costs_nothing_else(agent: Agent) -> None:
    before = agent.pages_refused
    agent.plugin.slowly = True
    agent.plugin.answers.append(whole(GOOD))
    until(lambda: agent.pages_refused > before, "an end of its patience")
    assert agent.daemon.get("/healthz")[0] == 200
    agent.plugin.slowly = False
    agent.reads_its_plugin()


# ── requests of the broker ────────────────────────────────────────────────────────────────────────────────────────────────

REQUEST = {"id": "incident-1/step-2.node-0", "request": "checkpoint", "deadline": FAR, "facts": {"at_step": 5}}
NAMES = st.sampled_from(["", "checkpoint", "device-check", "reboot", "x" * 64, "x" * 65, "\x00", "\u202e"])
IDS = st.sampled_from(["", "\x00", "+/#", "x" * 512, "x" * 513, "\u20ac" * 512, "x" * 70_000])
DEADLINES = st.sampled_from(
    [0, -1, 5, FAR, 2**62, -(2**62), 1e300, "2020-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "soon", None]
)


def judge_request(agent: Agent, payload: bytes) -> None:
    """Each is answered no, or counted as none."""
    before = agent.count("events", "requests_malformed", "name")
    known = len(agent.events)
    agent.ask(payload)
    try:
        request = read_request(payload)
    except BadRequest as error:
        why = error.why
    else:
        why = ""
    if why:
        assert len(why) <= 200
        until(lambda: agent.count("events", "requests_malformed", "name") == before + 1, "the count")
        agent.daemon.says("requests malformed", f"topic {topics.host(CLUSTER, agent.node, topics.REQUEST)}")
        return
    until(lambda: any(event.get("id") == request.id for event in agent.events[known:]), f"an answer to {request.id[:80]!r}")
    answer = next(event for event in agent.events[known:] if event.get("id") == request.id)
    assert answer["ok"] is False
    assert answer["why"].strip()


@FUZZ
@also(payload=[b"[" * 100_000, b'{"id": ' * 20_000, b"\xff\xfe", b'{"id": "\xff"}'])
@given(payload=broken_bytes(json.dumps(REQUEST).encode()))
def test_requests_that_are_cut_changed_or_of_something_else(agent: Agent, payload: bytes) -> None:
    judge_request(agent, payload)


@FUZZ
@also(
    request=[
        *(REQUEST | {"id": odd} for odd in ("", "a\0b", "\ud800", "x" * 5_000)),
        *(REQUEST | {"deadline": odd} for odd in (float("nan"), float("inf"), 1e300, -1e300, 10**400)),
        REQUEST | {"facts": [[[[[[]]]]]]},
    ]
)
@given(
    request=broken_tree(REQUEST)
    | st.fixed_dictionaries({"id": IDS | st.just("i"), "request": NAMES, "deadline": DEADLINES | st.just(FAR)})
)
def test_requests_that_nobody_asks(agent: Agent, request: Any) -> None:  # noqa: ANN401 (JSON)
    judge_request(agent, json.dumps(request).encode())


@pytest.mark.parametrize("size", [MIB, MIB + 1, 16 * MIB])
def test_requests_beyond_all_reason(agent: Agent, size: int) -> None:
    family, name, label = ("events", "requests_malformed", "name") if size <= MIB else ("messages", "dropped_large", "outcome")
    before = agent.count(family, name, label)
    agent.ask(b"[" * size)
    until(lambda: agent.count(family, name, label) == before + 1, name)
    where = f"topic {topics.host(CLUSTER, agent.node, topics.REQUEST)}"
    agent.daemon.says("requests malformed" if size <= MIB else "message dropped", where)
    assert agent.answer_to({"id": f"after-{size}", "request": "dance", "deadline": FAR})["ok"] is False
    agent.daemon.unharmed()


# ── reporters ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

JOB = {"namespace": "ml", "owner_kind": "JobSet", "name": "llm", "role": "slice", "slice_index": 1, "rank": 3}
SAID: list[dict[str, Any]] = [
    {"say": "hello", "version": 1, "job": JOB, "pid": 7},
    {
        "say": "state",
        "step": 5,
        "step_age": 0.1,
        "links": {"0/0": 3},
        "throttle": {"2": 6},
        "coordinates": [[0, 0, 0], [1, 0, 0]],
    },
    {"say": "event", "event": "fatal", "text": "INTERNAL"},
    {"say": "answer", "id": "r1", "ok": True, "checkpoint_step": 4},
]
MOST_BAD = 11


def expected(payload: bytes) -> Counter[str]:
    """Give what must be counted of one connection's lines."""
    found: Counter[str] = Counter()
    for said in (
        payload.splitlines(keepends=True) if b"\r" not in payload else payload.replace(b"\r", b" ").splitlines(keepends=True)
    ):
        try:
            report = read_report(said)
        except BadReport:
            found["bad_lines"] += 1
            if found["bad_lines"] == MOST_BAD:
                break
        else:
            found["unknown_lines"] += report is None
            found["events"] += isinstance(report, Event)
    return found


def judge_report(agent: Agent, payload: bytes) -> None:
    before = {name: agent.reporter(name) for name in ("bad_lines", "unknown_lines")}
    with agent.a_talker() as talker:
        talker.sendall(payload)
        talker.shutdown(socket.SHUT_WR)
        assert talker.recv(1) == b"", "it says nothing"
    must = expected(payload)
    for name, was in before.items():
        assert agent.reporter(name) - was == must[name], name
    if must["bad_lines"]:
        agent.told("reporter speaks nonsense")


@FUZZ
@also(payload=[b"[" * 20_000 + b"\n", b"\xff\xfe\n", b'{"a": "\\ud800"}\n', b"1" * 5_000 + b"\n", b"\n" * 50])
@given(payload=broken_bytes(b"".join(map(line, SAID))))
def test_lines_that_are_cut_changed_or_of_something_else(agent: Agent, payload: bytes) -> None:
    judge_report(agent, payload)


@FUZZ
@given(said=st.sampled_from(SAID).flatmap(broken_tree), times=st.sampled_from((1, 2, MOST_BAD - 1, MOST_BAD, 20)))
def test_words_that_no_training_process_says(agent: Agent, said: Any, times: int) -> None:  # noqa: ANN401 (JSON)
    raw = json.dumps(said).encode() + b"\n"
    if len(raw) > MAX_LINE:
        return  # cut off: the next test's
    judge_report(agent, line(SAID[0]) + raw * times)


@pytest.mark.parametrize("size", [MAX_LINE * 3, 64 * MIB])
def test_a_line_without_end_is_cut_off(agent: Agent, size: int) -> None:
    before = agent.reporter("cut_off")
    with agent.a_talker() as talker:
        try:
            talker.sendall(b"x" * size)
            assert talker.recv(1) == b""
        except ConnectionError:
            pass  # cut off while it spoke
    until(lambda: agent.reporter("cut_off") == before + 1, "its end")
    agent.told("reporter cut off")


def test_more_events_than_a_host_has_are_dropped_and_more_callers_than_it_has_places_are_refused(agent: Agent) -> None:
    before, dropped = agent.reporter("refused_full"), agent.reporter("dropped_events")
    with ExitStack() as stack:
        callers = [stack.enter_context(agent.a_talker()) for _ in range(200)]
        until(lambda: agent.reporter("refused_full") - before >= 184, "184 refusals")
        for caller in callers[:1]:
            caller.sendall(line(SAID[0]) + line(SAID[2]) * 5_000)
        until(lambda: agent.reporter("dropped_events") - dropped >= 4_800, "events that are dropped")
    agent.told("reporter refused")
    agent.told("events of a reporter dropped")


def test_after_all_that_a_training_process_is_heard_asked_and_answered(agent: Agent) -> None:
    with agent.a_talker() as talker:
        talker.sendall(line(SAID[0]) + line(SAID[1] | {"step": 100}) + line(SAID[1] | {"step": 107}))
        until(lambda: agent.last("host_step") == [7.0], "its steps")
        deadline = time.time() + PATIENCE
        agent.ask(json.dumps({"id": "last", "request": "checkpoint", "deadline": deadline}).encode())
        assert json.loads(talker.makefile().readline())["id"] == "last"
        talker.sendall(line({"say": "answer", "id": "last", "ok": True, "checkpoint_step": 107}))
        until(lambda: any(event.get("id") == "last" and event["ok"] for event in agent.events), "its answer")
    agent.reads_its_plugin()
    agent.daemon.unharmed()
