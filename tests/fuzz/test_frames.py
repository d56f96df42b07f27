"""Frames that are no frames, at a watcher that runs: each is counted and told once a host, and the others are read as before."""

from __future__ import annotations

import copy
import struct
import time
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sliceward.daemons import topics
from sliceward.daemons.watcher.watcher import AHEAD
from sliceward.detectors.frame import BadFrame, decode, encode
from sliceward.detectors.metrics import CATALOGUE
from tests.detectors.frames import CHIPS, PORTS, Speaker
from tests.fuzz.ground import CLUSTER, FUZZ, Ground, also, until
from tests.fuzz.junk import EXTREMES, JUNK, broken_bytes, broken_tree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.fuzz.processes import Daemon

MIB, MARGIN = 1 << 20, 30.0
NUMBERS = st.sampled_from(EXTREMES)


HOST = "host-000000"
SOON = 2.0e9
"""Stands for the present in what is drawn, so that the same is drawn at all times; what is left of it is far in the future."""


def a_frame() -> dict[str, Any]:
    """Give the map that goes over the wire."""
    speaker = Speaker(HOST, agent_start=SOON - 100, period=1.0)
    speaker.notes = {"driver": "1.2", "gang": "default/JobSet/train slice 0"}
    whole: dict[str, Any] = msgspec.msgpack.decode(encode(speaker.say(SOON)))
    return whole


FRAME = a_frame()


def spoken(payload: bytes, host: str) -> bytes:
    """Give what was drawn as one host says it now."""
    return payload.replace(HOST.encode(), host.encode()).replace(struct.pack(">d", SOON), struct.pack(">d", time.time()))


@st.composite
def odd_frames(draw: st.DrawFn) -> bytes:
    """Well-formed frames with something in them that no agent says."""
    frame, pieces = copy.deepcopy(FRAME), st.binary(max_size=CHIPS * PORTS * 8)
    match draw(st.sampled_from(("tree", "number", "schema", "column", "future", "wrong host", "larger"))):
        case "tree":
            frame = draw(broken_tree(frame, JUNK | pieces))
        case "number":
            frame[draw(st.sampled_from("vxastpnl"))] = draw(NUMBERS)
        case "schema":
            frame["v"] = draw(st.integers(-5, 2**32).filter(lambda number: number != 1))
        case "column":
            name = draw(st.sampled_from(sorted(CATALOGUE)))
            size = len(frame["d"].get(name, b"x" * 16))
            frame["d"][name] = draw(st.binary(min_size=size, max_size=size) | pieces)
        case "future":
            frame["t"] += draw(st.sampled_from((60.0, 3600.0, 1e7, 1e9, 1.4e10, 1e15, -1e9, -2e9)))
        case "wrong host":
            frame["h"] = draw(st.sampled_from(("well", f"{HOST}x", "", "../up", "+", "#", "A" * 400)))
        case _:
            frame["n"], frame["l"] = draw(st.integers(0, 64)), draw(st.integers(0, 8))
            frame["d"] = {"chip_present": b"\x00" * 4 * frame["n"]}
    return msgspec.msgpack.encode(frame)


def a_frame_with(**odd: object) -> bytes:
    return msgspec.msgpack.encode(FRAME | odd)


ONCE_BROKE = (
    b"",
    b"\x91" * 20_000,
    a_frame_with(h="DEEP").replace(b"DEEP", b"\xff\xfe\xfd\xfc"),
    *(a_frame_with(t=at) for at in (1e15, -1e15, float("nan"), float("inf"))),
    *(a_frame_with(n=count) for count in (-1, 2**31, 2**63)),
    a_frame_with(o={str(number): "x" * 500 for number in range(1_500)}),
    a_frame_with(o={"gang": "\0"}),
    a_frame_with(d={f"m{number}": b"" for number in range(5_000)}),
)
"""Depths, texts that are no UTF-8, times that no calendar has, sizes that no host has, and columns without end."""


@dataclass
class Sent:
    """Who sends. ``well``: a host whose valid frames go on beside."""

    ground: Ground
    watcher: Daemon
    numbers: count[int] = field(default_factory=count)
    well: Speaker = field(default_factory=lambda: Speaker("well", agent_start=time.time() - 100, period=1.0))

    def a_host(self) -> str:
        return f"host-{next(self.numbers):06}"

    def say(self, host: str, payload: bytes) -> None:
        self.ground.say(topics.host(CLUSTER, host, topics.FRAME), payload)

    def say_and_wait(self, host: str, payload: bytes) -> Mapping[str, float]:
        """Send it, and a valid frame of another after it; give by how much each count rose when that one was taken in."""
        before = self.counts()
        self.say(host, payload)
        self.say("well", encode(self.well.say(time.time())))
        known = (*_OF_ONE, "dropped_large")

        def arrived() -> bool:
            now = self.counts()
            return sum(now.get(name, 0) - before.get(name, 0) for name in known) >= 2

        until(arrived, "both frames")
        now = self.counts()
        return {name: now[name] - before.get(name, 0) for name in now if now[name] > before.get(name, 0)}

    def counts(self) -> dict[str, float]:
        return {
            **self.watcher.counts("sliceward_frames_total"),
            "dropped_large": self.watcher.counts("sliceward_wire_messages_total").get("dropped_large", 0.0),
        }


_OF_ONE = (
    "taken", "duplicate", "out_of_order", "late", "wrong_cluster", "panel_full", "bad_frame", "wrong_speaker", "wrong_topic",
)  # fmt: skip


@pytest.fixture(scope="module")
def sent(ground: Ground, watcher: Daemon) -> Sent:
    return Sent(ground, watcher)


def expected(host: str, payload: bytes) -> str:
    """Give what must be counted: what can be read and is of the host itself is the panel's to judge."""
    if len(payload) > MIB:
        return "dropped_large"
    try:
        frame = decode(payload)
    except BadFrame:
        return "bad_frame"
    return "" if (frame.cluster, frame.host) == (CLUSTER, host) else "wrong_speaker"


def judge(sent: Sent, host: str, payload: bytes) -> None:
    told, must = sent.say_and_wait(host, payload), expected(host, payload)
    assert told.get("taken", 0) >= 1, f"the valid frame beside it: {told}"
    if must == "dropped_large":
        assert told[must] == 1
        sent.watcher.says("message dropped", f"topic {topics.host(CLUSTER, host, topics.FRAME)}")
    elif must:
        assert told[must] == 1
        line = sent.watcher.says("frame refused", f"host {host}")
        assert len(line["why"]) <= 300
    else:
        assert sum(told.get(name, 0) for name in ("taken", "panel_full", "late")) == 2, told
        ahead = decode(payload).at - time.time()
        if abs(ahead - AHEAD) > MARGIN:
            assert told.get("clock_ahead", 0) == (ahead > AHEAD), told
        if ahead > AHEAD + MARGIN:
            assert "from the future" in sent.watcher.says("clock of a host is ahead", f"host {host}")["why"]


@FUZZ
@given(payload=broken_bytes(msgspec.msgpack.encode(FRAME)))
def test_bytes_that_are_cut_changed_or_of_something_else(sent: Sent, payload: bytes) -> None:
    host = sent.a_host()
    judge(sent, host, spoken(payload, host))


@FUZZ
@also(payload=ONCE_BROKE)
@given(payload=odd_frames())
def test_values_that_no_agent_sends(sent: Sent, payload: bytes) -> None:
    host = sent.a_host()
    judge(sent, host, spoken(payload, host))


@pytest.mark.parametrize("size", [MIB - 1, MIB + 1, 16 * MIB])
@pytest.mark.parametrize("form", ["noise", "nested", "notes", "columns"])
def test_sizes_beyond_all_reason(sent: Sent, form: str, size: int) -> None:
    host = sent.a_host()
    match form:
        case "noise":
            payload = b"\xc1" * size
        case "nested":
            payload = b"\x91" * (size - 1) + b"\xc0"
        case "notes":
            payload = msgspec.msgpack.encode(FRAME | {"o": {"n": "x" * size}})
        case _:
            number = size // 5
            others = msgspec.msgpack.encode({key: value for key, value in FRAME.items() if key != "d"})
            # By hand: a map of one entry more, whose last is a map of the same column again and again.
            payload = bytes([others[0] + 1]) + others[1:] + b"\xa1d\xdf" + number.to_bytes(4) + b"\xa2m0\xc4\x00" * number
    judge(sent, host, payload)


def test_a_flood_of_large_messages_is_dropped_and_not_kept(sent: Sent) -> None:
    host, before = sent.a_host(), sent.watcher.memory
    for _ in range(40):
        sent.say(host, b"\xc1" * 4 * MIB)
    told = sent.say_and_wait(host, b"")
    assert told["bad_frame"] == 1
    assert sent.counts()["dropped_large"] >= 40
    assert sent.watcher.memory - before < 64 * MIB


def test_after_all_that_a_sick_chip_is_found(sent: Sent) -> None:
    sick = Speaker("sick", agent_start=time.time() - 100, period=1.0)

    def found() -> bool:
        sick.chip("chip_present", 1, 0.0)
        sent.say("sick", encode(sick.say(time.time())))
        time.sleep(0.2)
        rows = sent.watcher.counts("sliceward_findings", "kind")
        return rows.get("ChipLost", 0) > 0

    until(found, "a finding about the lost chip")
    sent.watcher.unharmed()
