from __future__ import annotations

import contextlib
import math
import tracemalloc
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sliceward.detectors.frame import (
    MAX_FRAME_BYTES,
    MAX_NOTE_TEXT,
    MAX_NOTES,
    BadFrame,
    Frame,
    Packed,
    decode,
    encode,
    entities,
    pack,
    unpack,
)
from sliceward.detectors.metrics import CATALOGUE, EntityKind, Shape

OURS = [metric for metric in CATALOGUE.values() if metric.source not in ("kubernetes", "prometheus", "watcher")]
NAMES = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,40}[A-Za-z0-9])?", fullmatch=True)
TEXT = st.text(st.characters(exclude_categories=("C", "Z")), max_size=40)
SECONDS = st.floats(0, 2e9)


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    chips, ports = draw(st.integers(0, 8)), draw(st.integers(0, 6))
    columns = {}
    for metric in draw(st.lists(st.sampled_from(OURS), unique=True, max_size=6)):
        count = entities(metric.kind, chips=chips, ports=ports)
        floats = st.floats() if metric.shape is Shape.COUNTER else st.floats(width=32)
        values = draw(st.lists(floats, min_size=count, max_size=count))
        columns[metric.name] = pack(metric, values)
    return Frame(
        cluster=draw(NAMES),
        host=draw(NAMES),
        instance_id=draw(TEXT),
        boot_id=draw(TEXT),
        index=draw(st.none() | st.integers(0, 1000)),
        agent_start=draw(SECONDS),
        seq=draw(st.integers(0, 1 << 53)),
        at=draw(SECONDS),
        period=draw(st.floats(0.001, 3600)),
        chips=chips,
        ports=ports,
        columns=columns,
        notes=draw(st.dictionaries(TEXT.filter(bool), st.text(max_size=40), max_size=4)),
        full_notes=draw(st.booleans()),
    )


def a_frame() -> Frame:
    columns = {m.name: pack(m, [math.nan] * entities(m.kind, chips=4, ports=6)) for m in OURS}
    return Frame("prod", "node-1", "77", "b00t", 3, 1.7e9, 9, 1.7e9, 10.0, 4, 6, columns, {"gang": "g"}, full_notes=True)


def on_the_wire(frame: Frame, **changes: object) -> bytes:
    raw = msgspec.msgpack.decode(encode(frame))
    return msgspec.msgpack.encode({**raw, **changes})


@given(frames())
def test_a_frame_comes_back_as_it_was_sent(frame: Frame) -> None:
    assert decode(encode(frame)) == frame


@given(frames(), st.data())
def test_a_damaged_frame_is_a_frame_or_a_bad_frame_and_nothing_else(frame: Frame, data: st.DataObject) -> None:
    payload = bytearray(encode(frame))
    del payload[data.draw(st.integers(0, len(payload))) :]
    for _ in range(data.draw(st.integers(0, 4))):
        if payload:
            payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    try:
        again = decode(bytes(payload))
    except BadFrame:
        return
    assert decode(encode(again)).columns == again.columns


@given(st.binary(max_size=300))
def test_noise_is_a_bad_frame(noise: bytes) -> None:
    with pytest.raises(BadFrame):
        decode(noise)


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"\x81\xa1z\xdd\xff\xff\xff\xff", id="an unknown list of four thousand million"),
        pytest.param(b"\x81\xa1d\xdf\xff\xff\xff\xff", id="as many columns"),
        pytest.param(b"\x81\xa1d\x81\xa1x\xc6\xff\xff\xff\xff", id="a column of four GiB"),
        pytest.param(b"\x81\xa1z" + b"\x91" * 200_000, id="lists in lists"),
        pytest.param(b"\xc6" + b"\x00" * MAX_FRAME_BYTES, id="larger than a frame may be"),
    ],
)
def test_a_frame_that_promises_much_costs_little(payload: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(BadFrame):
            decode(payload)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "changes",
    [pytest.param({}, id="in a frame that is taken"), pytest.param({"n": 10**9}, id="in a frame that is refused")],
)
def test_nothing_is_kept_of_columns_that_nobody_knows(changes: dict[str, object]) -> None:
    decode(encode(a_frame()))
    tracemalloc.start()
    try:
        for number in range(8):
            columns = {f"{number}-{column}-" + "x" * 1900: b"" for column in range(512)}
            with contextlib.suppress(BadFrame):
                decode(on_the_wire(a_frame(), d=columns, **changes))
        del columns
        assert tracemalloc.get_traced_memory()[0] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        pytest.param({"c": "a/b"}, "name", id="a cluster that would change the topic"),
        pytest.param({"h": ""}, "name", id="no host"),
        pytest.param({"h": "a" * 300}, "name", id="a long host"),
        pytest.param({"i": "\x00"}, "instance_id", id="a control character"),
        pytest.param({"t": math.nan}, "at", id="a time that is no number"),
        pytest.param({"a": math.inf}, "agent_start", id="an endless time"),
        pytest.param({"t": -1.0}, "at", id="a time before 1970"),
        pytest.param({"p": 0.0}, "period", id="no period"),
        pytest.param({"n": 65}, "chips", id="too many chips"),
        pytest.param({"n": 1 << 63}, "chips", id="far too many chips"),
        pytest.param({"l": 9}, "ports", id="too many ports"),
        pytest.param({"s": -1}, "seq", id="a negative sequence"),
        pytest.param({"x": -1}, "index", id="a negative index"),
        pytest.param({"n": 5}, "column", id="columns of another number of chips"),
        pytest.param({"d": {"host_ready": b"\x00" * 4}}, "column host_ready", id="what only the API server knows"),
        pytest.param({"d": {f"m{n}": b"" for n in range(600)}}, "columns", id="too many columns"),
        pytest.param({"o": {f"n{n}": "" for n in range(MAX_NOTES + 1)}}, "notes", id="too many notes"),
        pytest.param({"o": {"k": "x" * (MAX_NOTE_TEXT + 1)}}, "note 'k'", id="a long note"),
        pytest.param({"o": {"": "x"}}, "note ''", id="a note without key"),
        pytest.param({"v": 2}, "schema", id="another schema"),
        pytest.param({"d": {"link_health": "text"}}, "frame", id="a column of text"),
    ],
)
def test_what_cannot_be_is_refused_by_place(changes: dict[str, object], where: str) -> None:
    with pytest.raises(BadFrame) as refused:
        decode(on_the_wire(a_frame(), **changes))
    assert refused.value.where.startswith(where)
    assert refused.value.why


def test_what_a_newer_agent_adds_is_skipped() -> None:
    frame = a_frame()
    newer = on_the_wire(frame, d={**frame.columns, "chip_new": b"\x01"}, new={"deep": [1, 2]}, m=3)
    assert decode(newer) == frame


def test_what_an_older_agent_does_not_send_is_missing() -> None:
    frame = a_frame()
    assert "link_health" not in decode(on_the_wire(frame, d={})).columns


def test_a_bad_frame_is_not_sent_either() -> None:
    with pytest.raises(BadFrame):
        encode(replace(a_frame(), at=math.nan))
    with pytest.raises(BadFrame):
        encode(replace(a_frame(), columns={"unheard": b""}))
    with pytest.raises(BadFrame, match="more than"):
        encode(replace(a_frame(), notes={f"n{n}": "x" * 8000 for n in range(200)}))


def test_columns_hold_a_counter_exactly_and_a_gauge_as_float32() -> None:
    counter, gauge = CATALOGUE["chip_hbm_uncorrectable_total"], CATALOGUE["chip_throttle_score"]
    assert unpack(counter, pack(counter, [2.0**53 - 1, 3.0])) == [2.0**53 - 1, 3.0]
    assert len(pack(gauge, [1.0, 2.0])) == 8


def test_a_slice_is_no_hosts_and_takes_no_room_in_a_frame() -> None:
    sizes = [entities(kind, chips=4, ports=6) for kind in (EntityKind.CHIP, EntityKind.LINK, EntityKind.HOST, EntityKind.SLICE)]
    assert sizes == [4, 24, 1, 0]


def columns_of(value: float, *, chips: int = 4) -> dict[str, bytes]:
    return {m.name: pack(m, [value] * entities(m.kind, chips=chips, ports=6)) for m in OURS}


def test_columns_that_lie_as_those_before_them_stay_in_one_piece_and_say_what_they_say() -> None:
    frame = replace(a_frame(), columns=columns_of(0.5))
    assert decode(encode(frame)) == frame
    other = replace(frame, columns=columns_of(3.0))
    again = decode(encode(other))
    assert isinstance(again.columns, Packed)
    assert again == other
    assert (len(again.columns), list(again.columns)) == (len(OURS), [metric.name for metric in OURS])
    with pytest.raises(KeyError):
        _ = again.columns["host_ready"]


def test_of_one_length_there_may_be_columns_that_lie_otherwise() -> None:
    one, other = ({name: pack(CATALOGUE[name], [1.0])} for name in ("host_cpu_percent", "host_hlo_queue_size"))
    one["host_hlo_queue_size"], other["host_cpu_percent"] = other["host_hlo_queue_size"], one["host_cpu_percent"]
    for columns in (one, other, one, other):
        found = decode(encode(replace(a_frame(), columns=columns))).columns
        assert list(found.items()) == list(columns.items())


@pytest.mark.parametrize("head", [b"\xc5\x00\x04", b"\xc6\x00\x00\x00\x04"], ids=["two bytes", "four bytes"])
def test_a_length_that_is_written_longer_than_need_be_is_read_as_ever(head: bytes) -> None:
    name = "host_cpu_percent"
    for value in (7.0, 5.0, 0.0):
        columns = b"\x81" + msgspec.msgpack.encode(name) + head + pack(CATALOGUE[name], [value])
        assert unpack(CATALOGUE[name], decode(on_the_wire(a_frame(), d=msgspec.Raw(columns))).columns[name]) == [value]


def test_of_a_column_that_comes_twice_the_second_counts_each_time() -> None:
    name = "host_cpu_percent"
    for values in ((1.0, 2.0), (3.0, 2.0), (3.0, 4.0)):
        twice = b"".join(msgspec.msgpack.encode(name) + msgspec.msgpack.encode(pack(CATALOGUE[name], [one])) for one in values)
        found = decode(on_the_wire(a_frame(), d=msgspec.Raw(b"\x82" + twice))).columns
        assert unpack(CATALOGUE[name], found[name]) == [values[1]]


def test_what_is_no_list_of_columns_is_a_bad_frame() -> None:
    decode(encode(a_frame()))
    for columns in (b"\x90", b"\x07", b"\x81\x01\xc4\x01x", b"\x81\xa1x\x07"):
        with pytest.raises(BadFrame, match="is not a frame"):
            decode(on_the_wire(a_frame(), d=msgspec.Raw(columns)))
