from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sliceward.detectors.finding import (
    MAX_FINDING_BYTES,
    BadFinding,
    Evidence,
    Finding,
    Kind,
    Picture,
    State,
    from_json,
    storable,
    to_json,
)
from sliceward.topology.health import Severity
from sliceward.topology.ids import ChipId, ClusterId, CubeId, DomainId, GangId, HostId, LinkId, SliceId, SwitchId

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)

names = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?", fullmatch=True)
indices = st.integers(0, 63)
chips = st.builds(ChipId, st.just("c1"), names, indices)
gangs = st.builds(GangId, names, names, st.sampled_from(["JobSet", "Job"]), names)
slices = st.builds(SliceId, names, names)
links = st.tuples(chips, chips).filter(lambda pair: pair[0] != pair[1]).map(lambda pair: LinkId.between(*pair))
parts = st.one_of(
    chips,
    gangs,
    slices,
    links,
    st.builds(HostId, names, names),
    st.builds(CubeId, names, names),
    st.builds(ClusterId, names),
    st.builds(SwitchId, names, names),
    st.builds(DomainId, names, names),
)
times = st.datetimes(datetime(1980, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 (hypothesis wants naive bounds)
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
numbers = st.floats(allow_nan=False, allow_infinity=False)
evidence = st.builds(Evidence, words, numbers, numbers, words, times, words, words)
lines = st.lists(numbers, max_size=3).map(tuple)
counts = st.integers(0, 10_000)
steps = st.floats(0.1, 3600)
pictures = st.builds(Picture, words, words, times, steps, lines, lines, lines, lines, counts, numbers, numbers, words, numbers)
findings = st.builds(
    Finding,
    kind=st.sampled_from(Kind),
    part=parts,
    state=st.sampled_from(State),
    severity=st.sampled_from(Severity),
    since=times,
    seen=times,
    score=st.floats(0, 1),
    detector=words,
    version=words,
    text=words,
    evidence=st.lists(evidence, max_size=3).map(tuple),
    also=st.lists(parts, max_size=3).map(tuple),
    gang=st.none() | gangs,
    slice=st.none() | slices,
    instance_id=words,
    boot_id=words,
    labels=st.dictionaries(words, words, max_size=2),
    source=words,
    picture=st.none() | pictures,
)

ONE = Finding(
    Kind.CHIP_LOST, ChipId("c1", "n1", 2), State.FIRING, Severity.ERROR, AT, AT, 0.9, "chip-missing", "1", "gone",
    evidence=(Evidence("chip_present", 0.0, 1.0, "1", AT, "c1/chip/n1/2"),),
)  # fmt: skip


@given(findings)
def test_a_finding_survives_the_wire(finding: Finding) -> None:
    assert from_json(to_json(finding)) == finding


def test_the_wire_form_carries_the_id_and_reads_well() -> None:
    body = json.loads(to_json(ONE))
    assert body["id"] == ONE.id
    assert body["part"] == "c1/chip/n1/2"
    assert body["since"] == "2026-01-02T03:04:05.678901Z"


def test_keys_of_a_newer_speaker_are_skipped_and_missing_optional_ones_have_defaults() -> None:
    body = json.loads(to_json(ONE)) | {"novelty": {"a": 1}}
    del body["also"], body["labels"], body["source"]
    assert from_json(json.dumps(body).encode()) == ONE


def test_times_in_another_zone_are_written_in_utc() -> None:
    elsewhere = replace(ONE, since=AT.astimezone(timezone(timedelta(hours=9))))
    assert b"2026-01-02T03:04:05.678901Z" in to_json(elsewhere)


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (r"bad \u0000 note", "bad \ufffd note"),
        (r"\u0000\u0000", "\ufffd\ufffd"),
        (r"\\\u0000", "\\\ufffd"),
        (r"\\u0000", r"\u0000"),
    ],
    ids=["one", "two", "after a backslash", "spelled out"],
)
def test_a_nul_that_no_store_could_keep_is_read_as_a_replacement_character(sent: str, read: str) -> None:
    payload = to_json(replace(ONE, text="@", labels={"note": "@"}, boot_id="@")).replace(b"@", sent.encode())
    finding = from_json(payload)
    assert (finding.text, finding.labels["note"], finding.boot_id) == (read, read, read)


@pytest.mark.parametrize("half", [r"\ud800", r"\udc00", r"\ud800x"])
def test_half_a_surrogate_pair_is_no_text(half: str) -> None:
    with pytest.raises(BadFinding):
        from_json(to_json(replace(ONE, text="@")).replace(b"@", half.encode()))


def test_what_no_store_keeps_is_replaced_in_a_text() -> None:
    assert storable("a\0b\ud800\udfffc\U0001f600") == "a\ufffdb\ufffd\ufffdc\U0001f600"


def test_a_number_that_is_not_finite_becomes_nan() -> None:
    odd = replace(ONE, evidence=(replace(ONE.evidence[0], limit=float("inf")),))
    assert from_json(to_json(odd)).evidence[0].limit != from_json(to_json(odd)).evidence[0].limit


@pytest.mark.parametrize(
    ("change", "where"),
    [
        pytest.param({"kind": "Nonsense"}, "$.kind", id="unknown kind"),
        pytest.param({"state": 3}, "$.state", id="wrong type"),
        pytest.param({"score": 1.5}, "$.score", id="score beyond one"),
        pytest.param({"since": "2026-01-02T03:04:05"}, "$.since", id="time without zone"),
        pytest.param({"since": "0001-01-01T00:00:00+14:00"}, "$.since", id="time before all times"),
        pytest.param({"seen": "9999-12-31T23:59:59-14:00"}, "$.seen", id="time after all times"),
        pytest.param({"seen": "0001-01-01T00:00:00Z"}, "$.seen", id="time that was never set"),
        pytest.param({"part": "c1/nonsense/x"}, "$.part", id="id of no kind"),
        pytest.param({"also": ["c1/chip/n1/0", "??"]}, "$.also[1]", id="bad id in also"),
        pytest.param({"part": "c1/chip/n1/" + "9" * 5000}, "$.part", id="index without end"),
        pytest.param({"gang": "c1/host/n1"}, "$.gang", id="gang that is a host"),
        pytest.param({"slice": "c1/host/n1"}, "$.slice", id="slice that is a host"),
        pytest.param({"evidence": [{"metric": "m"}]}, "$.evidence[0]", id="evidence with a hole"),
    ],
)
def test_a_bad_finding_says_where_and_why(change: dict[str, object], where: str) -> None:
    body = json.loads(to_json(ONE)) | change
    with pytest.raises(BadFinding) as error:
        from_json(json.dumps(body).encode())
    assert error.value.where == where
    assert error.value.why


@pytest.mark.parametrize("payload", [b"", b"{", b"\xff\xfe", b"[]", b'"x"', b" " * (MAX_FINDING_BYTES + 1)])
def test_what_is_no_json_object_is_refused_as_a_whole(payload: bytes) -> None:
    with pytest.raises(BadFinding) as error:
        from_json(payload)
    assert error.value.where == "$"


def test_the_same_fault_of_the_same_part_has_one_id() -> None:
    assert replace(ONE, state=State.RESOLVED, since=AT + timedelta(hours=1)).id == ONE.id
    assert replace(ONE, source="alerts/main").id != ONE.id


def test_a_gap_in_a_picture_is_told_as_a_gap() -> None:
    line = (1.0, math.nan)
    picture = Picture("chip_duty_cycle_percent", "percent", AT, 10.0, line, line, line, line, 63, 22.0, 20.0)
    part = ChipId("c1", "h", 0)
    finding = Finding(Kind.PART_SUSPECT, part, State.FIRING, Severity.INFO, AT, AT, 0.5, "statistics", "1", "", picture=picture)
    assert json.loads(to_json(finding))["picture"]["values"] == [1.0, None]
    again = from_json(to_json(finding)).picture
    assert again is not None
    assert math.isnan(again.values[1])
    assert math.isnan(again.rival_nats)
