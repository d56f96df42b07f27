"""Every kind of hostile input at once, each at a pace that leaves the processes their time, and what must be said of it afterwards."""

from __future__ import annotations

import asyncio
import copy
import json
import socket
from collections import Counter
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import count, cycle
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from sliceward.daemons import topics
from sliceward.daemons.agent.requests import BadRequest, read_request
from sliceward.daemons.coordinator.webhook import MOST_BYTES
from sliceward.daemons.sources.reports import BadReport, read_report
from sliceward.remediations.kubernetes.slim import decoder
from sliceward.workload.messages import MAX_LINE, line
from tests.fuzz.ground import CLUSTER, FUZZ, until
from tests.fuzz.http_client import post
from tests.fuzz.junk import JUNK, broken_bytes, broken_tree
from tests.fuzz.rude_plugin import GOOD, whole
from tests.fuzz.test_agent_inputs import ANSWERS, REQUEST, SAID, is_refused
from tests.fuzz.test_alert_bodies import HOOK, a_payload, an_alert
from tests.fuzz.test_findings import FINDING, PROGRESS
from tests.fuzz.test_frames import FRAME, Sent, expected, odd_frames, spoken
from tests.fuzz.test_http_requests import VALID, Sender, requests
from tests.fuzz.test_objects import KINDS, OBJECTS, Writer, sound
from tests.fuzz.test_playbooks import ODD_FILES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from tests.fuzz.rude_plugin import RudePlugin
    from tests.fuzz.stage import Stage, Struck

Json = dict[str, Any]
Drawn = TypeVar("Drawn")

MIB = 1 << 20
EACH = 40
"""How many of one sort are drawn; they come again and again for as long as it lasts."""


@dataclass(eq=False)
class Kind:
    """One kind of hostile input. Each ``next`` of ``acts`` sends one; ``told`` asserts, once no more come, that all were counted."""

    name: str
    every: float
    acts: Iterator[object]
    told: Callable[[], object]
    sent: int = 0

    async def go_on(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await asyncio.to_thread(next, self.acts)
            self.sent += 1
            await asyncio.sleep(self.every)


@asynccontextmanager
async def all_hostile(stage: Stage) -> AsyncIterator[list[Kind]]:
    """Send all kinds for as long as the block lasts; every kind has begun when it begins, and was counted and told of when it ends."""
    stop = asyncio.Event()
    with ExitStack() as hanging:
        made = [make(stage) for make in (frames, findings, progress, alerts, playbooks, objects, asked, reporters, plugins)]
        kinds = [*made, http(stage, hanging)]
        async with asyncio.TaskGroup() as tasks:
            for kind in kinds:
                tasks.create_task(kind.go_on(stop), name=kind.name)
            while not all(kind.sent for kind in kinds):  # noqa: ASYNC110 (each begins in a thread)
                await asyncio.sleep(0.1)
            yield kinds
            stop.set()
        for kind in kinds:
            await asyncio.to_thread(kind.told)


def drawn(strategy: st.SearchStrategy[Drawn], *, number: int = EACH) -> list[Drawn]:
    """Give what hypothesis draws, the same each time."""
    found: list[Drawn] = []

    @settings(FUZZ, max_examples=number)
    @given(one=strategy)
    def draw(one: Drawn) -> None:
        found.append(one)

    draw()
    return found


def as_json(strategy: st.SearchStrategy[object]) -> list[bytes]:
    """Give what is drawn as it is sent."""
    return [json.dumps(one).encode() for one in drawn(strategy)]


def in_turn(*sorts: list[Drawn]) -> Iterator[Drawn]:
    """Give one of each sort, and then the next of each, for ever."""
    for together in zip(*map(cycle, sorts), strict=True):
        yield from together


# ── the broker ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def frames(stage: Stage) -> Kind:
    """Frames that are none, another host's or too large, on the topics of the hosts that the fault shows on."""
    sent, counted = Sent(stage.ground, stage.watcher), Counter[str]()
    before = sent.counts()
    large = [b"\xc1" * 4 * MIB, b"\x91" * MIB]
    sorts = (drawn(broken_bytes(msgspec.msgpack.encode(FRAME))), drawn(odd_frames()), large)

    def acts() -> Iterator[None]:
        nodes = cycle(stage.place.nodes)
        for payload in in_turn(*sorts):
            node, said = next(nodes), spoken(payload, sent.a_host())
            counted[expected(node, said)] += 1
            sent.say(node, said)
            yield

    def told() -> None:
        assert {*counted} == {"bad_frame", "wrong_speaker", "dropped_large"}

        def all_there() -> bool:
            now = sent.counts()
            return all(now.get(name, 0) - before.get(name, 0) == number for name, number in counted.items())

        until(all_there, f"{counted} of frames")
        for node in stage.place.nodes:
            stage.watcher.says("frame refused", f"host {node}")

    return Kind("frames", 0.2, acts(), told)


def findings(stage: Stage) -> Kind:
    """Findings on topics of ids that no finding has."""
    broken = [one for one in drawn(broken_bytes(FINDING)) if one]
    sorts = in_turn(broken, as_json(broken_tree(json.loads(FINDING))), [b"[" * MIB])
    return _at_coordinator(stage, "finding", sorts, lambda number: topics.finding(CLUSTER, f"{number:016x}"))


def progress(stage: Stage) -> Kind:
    """Progress of a gang that no topic is of."""
    return _at_coordinator(
        stage,
        "progress",
        in_turn(as_json(broken_tree(PROGRESS))),
        lambda number: topics.progress(CLUSTER, f"nobody-{number % 7}"),
    )


def _at_coordinator(stage: Stage, what: str, payloads: Iterator[bytes], topic: Callable[[int], str]) -> Kind:
    before, numbers = stage.coordinator.counts("sliceward_messages_total").get(f"bad_{what}", 0), count(1)

    def acts() -> Iterator[None]:
        for payload in payloads:
            stage.ground.say(topic(next(numbers)), payload)
            yield

    def told() -> None:
        wanted = before + next(numbers) - 1
        until(lambda: stage.coordinator.counts("sliceward_messages_total").get(f"bad_{what}") == wanted, f"bad {what}")
        stage.coordinator.says("message refused", f"topic {topic(1)}")

    return Kind(what, 0.2, acts(), told)


# ── HTTP ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def alerts(stage: Stage) -> Kind:
    """Bodies of alerts from nothing to 64 MiB."""
    valid, answers, family = a_payload(an_alert()), Counter[str](), "sliceward_webhook_requests_total"
    before = stage.coordinator.counts(family, "code")
    sorts = (drawn(broken_bytes(json.dumps(valid).encode())), as_json(broken_tree(valid)))
    sizes, forms = cycle((0, 64 * MIB, 1, MOST_BYTES, MIB)), cycle((b"\x00", b'{"alerts": [', b"["))

    def bodies() -> Iterator[bytes]:
        for number, body in enumerate(in_turn(*sorts)):
            if number % 4 == 0:
                yield next(forms).ljust(next(sizes), b"[")
            yield body

    def acts() -> Iterator[None]:
        for body in bodies():
            answer = post(stage.coordinator.port, HOOK, body)
            answers[str(answer.status)] += 1
            if answer.status != 200:
                assert answer.status in (400, 413), answer
                answer.problem()
            yield

    def told() -> None:
        now = stage.coordinator.counts(family, "code")
        assert {"400", "413"} <= answers.keys()
        assert all(now[code] - before.get(code, 0) >= number for code, number in answers.items()), (now, answers)

    return Kind("alerts", 0.5, acts(), told)


def http(stage: Stage, hanging: ExitStack) -> Kind:
    """Requests that no client makes; those that are not whole stay where they are."""
    sender = Sender(stage.coordinator, hanging)
    sorts = (drawn(requests()), drawn(broken_bytes(VALID)), [b"GET /" + b"x" * MIB + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"])
    answers: list[object] = []

    def acts() -> Iterator[None]:
        for request in in_turn(*sorts):
            answers.append(sender.send(request))  # counted, and judged
            yield

    def told() -> None:
        assert any(answers)
        hanging.close()

    return Kind("http", 0.2, acts(), told)


# ── files and objects ─────────────────────────────────────────────────────────────────────────────────────────────────────


def playbooks(stage: Stage) -> Kind:
    """Files in the folder of the playbooks that run: what was read when the process began stands."""

    def book() -> list[Json]:
        found: list[Json] = stage.coordinator.json("/api/v1/playbooks?limit=500")["items"]
        return found

    before = book()

    def acts() -> Iterator[None]:
        for number, name in enumerate(cycle(sorted(ODD_FILES))):
            (stage.books / f"{number % 7:02}.yaml").write_text(ODD_FILES[name])
            yield

    def told() -> None:
        assert before
        assert book() == before

    return Kind("playbooks", 1.0, acts(), told)


@st.composite
def odd_objects(draw: st.DrawFn) -> tuple[str, Json]:
    """Objects of places that are nowhere, with labels, annotations and more than no server lets through.

    What the simulated controllers of this cluster go by is left as it is: they are none of ours.
    """
    plural = draw(st.sampled_from([plural for plural in ("nodes", "pods", "jobsets") if OBJECTS[plural]]))
    one: Json = json.loads(json.dumps(OBJECTS[plural]).replace("cube-", "nowhere-"))
    meta, spec = one["metadata"], one["spec"]
    for key in ("labels", "annotations"):
        if meta.get(key):
            meta[key] = draw(broken_tree(meta[key]))
    spec["odd"] = draw(JUNK)
    match plural:
        case "nodes":
            # A kubelet that lives would write what it knows over it.
            meta["labels"] = {**meta["labels"], "kubelet": "dead"}
            part = draw(st.sampled_from(("addresses", "nodeInfo", "allocatable")))
            one["status"][part] = draw(JUNK)
        case "pods":
            spec |= {"schedulerName": "nobody", draw(st.sampled_from(("priority", "hostNetwork", "nodeSelector"))): draw(JUNK)}
            spec.pop("nodeName", None)
            one["status"]["podIP"] = draw(JUNK)
        case _:
            spec |= {"managedBy": "example.test/nobody", "network": draw(JUNK), "successPolicy": draw(JUNK)}
    return plural, one


def objects(stage: Stage) -> Kind:
    """Nodes, pods and JobSets, each there for a moment; who cannot read one says so by name and sets it aside."""
    writer, aside = Writer(stage.ground, stage.coordinator), Counter[str]()
    sorts = [(plural, sound(one)) for plural, one in drawn(odd_objects(), number=3 * EACH)]

    def acts() -> Iterator[None]:
        for plural, one in cycle(sorts):
            where = writer.write(plural, copy.deepcopy(one))
            try:
                decoder(KINDS[plural])(json.dumps(one).encode())
            except msgspec.MsgspecError:
                aside[plural] += 1
                for daemon in (stage.coordinator, stage.watcher):
                    daemon.says("object set aside", where)
            yield
            writer.remove(where, plural)

    def told() -> None:
        assert {"nodes", "pods"} <= aside.keys()

    return Kind("objects", 0.3, acts(), told)


# ── agents ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def asked(stage: Stage) -> Kind:
    """Requests to the agents of the hosts that the fault shows on."""
    bad = Counter[str]()
    sorts = (drawn(broken_bytes(json.dumps(REQUEST).encode())), as_json(broken_tree(REQUEST)))

    def acts() -> Iterator[None]:
        for payload in in_turn(*sorts):
            for one in stage.struck:
                stage.ground.say(topics.host(CLUSTER, one.node, topics.REQUEST), payload)
                try:
                    read_request(payload)
                except BadRequest:
                    bad[one.node] += 1
            yield

    def told() -> None:
        for one in stage.struck:
            _until_count(one, "events", "name", "requests_malformed", bad[one.node])
            one.daemon.says("requests malformed", f"topic {topics.host(CLUSTER, one.node, topics.REQUEST)}")

    return Kind("requests", 0.3, acts(), told)


def _count(one: Struck, family: str, label: str, name: str) -> float:
    return one.daemon.counts(f"sliceward_agent_{family}_total", label).get(name, 0.0)


def _until_count(one: Struck, family: str, label: str, name: str, wanted: int) -> None:
    until(lambda: _count(one, family, label, name) == wanted, f"{wanted} {name}")


def _until_read(plugin: RudePlugin) -> None:
    until(lambda: not plugin.answers and plugin.good, "a good page")


def reporters(stage: Stage) -> Kind:
    """Lines at the door of the training process that are no reports, and some without an end."""
    bad, cut = Counter[str](), Counter[str]()
    sorts = ([one for one in drawn(broken_bytes(line(SAID[1])), number=2 * EACH) if _is_bad(one)], [b"x" * MAX_LINE * 3])

    def acts() -> Iterator[None]:
        for payload in in_turn(*sorts):
            for one in stage.struck:
                with socket.socket(socket.AF_UNIX) as talker:
                    talker.settimeout(30)
                    talker.connect(str(one.door))
                    try:
                        talker.sendall(payload)
                        talker.shutdown(socket.SHUT_WR)
                        talker.recv(1)
                    except ConnectionError:
                        pass  # cut off while it spoke
                (cut if len(payload) > MAX_LINE else bad)[one.node] += 1
            yield

    def told() -> None:
        for one in stage.struck:
            assert _count(one, "reporter", "outcome", "bad_lines") == bad[one.node] > 0
            assert _count(one, "reporter", "outcome", "cut_off") == cut[one.node] > 0

    return Kind("reporters", 0.3, acts(), told)


def _is_bad(payload: bytes) -> bool:
    """Whether these bytes are one line that is none: who says a good one on the host itself is believed."""
    if payload.count(b"\n") + payload.count(b"\r") > 1 or not payload.strip():
        return False
    try:
        read_report(payload)
    except BadReport:
        return True
    return False


def plugins(stage: Stage) -> Kind:
    """Pages of device plugins that are none, between good ones."""
    shown = Counter[str]()
    pages = [whole(page) for page in drawn(broken_bytes(GOOD)) if is_refused(page)]

    def acts() -> Iterator[None]:
        for answer in in_turn([*ANSWERS.values()], pages):
            for one in stage.struck:
                if not one.plugin.answers:
                    one.plugin.answers.append(answer)
                    shown[one.node] += 1
            yield

    def told() -> None:
        for one in stage.struck:
            _until_read(one.plugin)
            assert _count(one, "source_failures", "source", "device_plugin") >= shown[one.node] > 0
            one.daemon.says("page refused", one.plugin.url)

    return Kind("plugins", 3.0, acts(), told)
