"""Frames, changes, queue and identity: the parts of the agent that need no host."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sliceward.daemons.agent.changes import changes
from sliceward.daemons.agent.frames import FrameMaker
from sliceward.daemons.agent.identity import Identity, identify, layout_of
from sliceward.daemons.agent.queue import EventQueue
from sliceward.daemons.agent.rounds import Round
from sliceward.daemons.agent.settings import AgentSettings
from sliceward.daemons.sources.pods import NodeFacts
from sliceward.detectors.frame import decode, encode
from sliceward.topology.errors import Misconfigured
from sliceward.topology.ids import HostId
from sliceward.topology.names import NAMES
from tests.daemons.sources.builders import TPU7X, a_host

if TYPE_CHECKING:
    from pathlib import Path


def a_maker() -> FrameMaker:
    return FrameMaker(Identity(HostId("prod", "node-1"), "77", "b00t", 3, 1.0), TPU7X, 10.0, "0.1.0")


def test_notes_travel_when_they_change_and_all_of_them_each_minute() -> None:
    maker, told = a_maker(), []
    for second, notes in ((0, {"a": "1", "b": "1"}), (10, {"a": "1", "b": "2"}), (20, {"a": "1"}), (60, {"a": "1"})):
        frame = maker.make(Round({}, notes), now=1000.0 + second)
        told.append((dict(frame.notes), frame.full_notes))
    version = {"agent/version": "0.1.0"}
    assert told == [
        ({"a": "1", "b": "1", **version}, True),
        ({"b": "2"}, False),
        ({"b": ""}, False),
        ({"a": "1", **version}, True),
    ]


def test_a_clock_that_was_set_back_tells_everything_again() -> None:
    maker = a_maker()
    maker.make(Round({}, {}), now=1000.0)
    assert maker.make(Round({}, {}), now=500.0).full_notes


@given(
    st.dictionaries(
        st.text(max_size=200),
        st.text(st.characters(codec=None), max_size=200) | st.just("x" * 9000) | st.just("\udcff"),
        max_size=8,
    )
)
def test_whatever_notes_come_the_frame_can_be_sent(notes: dict[str, str]) -> None:
    frame = a_maker().make(Round({}, notes), now=1000.0)
    assert decode(encode(frame)) == frame


def test_changes_are_told_and_the_unknown_is_none() -> None:
    before = Round({"chip_present": [1.0, 1.0], "chip_foreign_holder": [0.0, float("nan")], "host_disk_writable": [1.0]}, {})
    now = Round(
        {"chip_present": [0.0, 1.0], "chip_foreign_holder": [1.0, 1.0], "host_disk_writable": [0.0]},
        {"holder/0": "pid 1", "selftest": "full", "slice_error": "x"},
    )
    assert changes(before, now) == (
        ("device-change", "chip 0 is gone"),
        ("holder-change", "chip 0 is held by pid 1"),
        ("selftest-change", "the disk does not take writes: full"),
        ("slice-error", "x"),
    )
    assert changes(None, now) == ()
    assert [name for name, _ in changes(now, before)] == ["device-change", "holder-change", "selftest-change"]


async def test_the_queue_keeps_the_newest_and_counts_what_it_dropped(tmp_path: Path) -> None:
    queue = EventQueue(tmp_path / "q/events.json", most=3)
    for number in range(5):
        queue.put({"n": number})
    await queue.save()
    again = EventQueue(tmp_path / "q/events.json", most=3)
    again.load()
    assert [queue.counts["dropped"], len(again)] == [2, 3]
    first = again.first()
    assert first == {"n": 2}
    again.sent(first)
    again.sent(first)
    assert again.first() == {"n": 3}


async def test_a_queue_on_a_full_disk_keeps_events_in_memory_and_counts() -> None:
    from pathlib import Path  # noqa: PLC0415 (a device, not a test's folder)

    queue = EventQueue(Path("/dev/full/events.json"), most=3)
    queue.load()
    queue.put({"n": 1})
    await queue.save()
    assert queue.counts["not_saved"] >= 1
    assert queue.first() == {"n": 1}


@pytest.mark.parametrize("text", ["{", "{}", "[1]", "\xff", "[" * 100_000])
async def test_a_damaged_file_is_set_aside_and_the_agent_starts(tmp_path: Path, text: str) -> None:
    (tmp_path / "events.json").write_text(text, encoding="latin-1")
    queue = EventQueue(tmp_path / "events.json", most=3)
    queue.load()
    assert len(queue) == 0
    assert (tmp_path / "events.unreadable").exists()


def settings(root: Path, **more: Any) -> AgentSettings:  # noqa: ANN401 (fields)
    found = {"cluster": "prod", "node": "node-1", "sources": {"root": str(root)}, **more}
    return AgentSettings.model_validate_json(json.dumps(found))


def test_identity_comes_from_settings_then_the_node(tmp_path: Path) -> None:
    facts = NodeFacts({NAMES.host_index: "5"}, {NAMES.instance_id: "88"})
    assert identify(settings(tmp_path), facts, names=NAMES, start=1.0).index == 5
    assert identify(settings(tmp_path), facts, names=NAMES, start=1.0).instance_id == "88"
    mine = identify(settings(tmp_path, index=7, instance_id="99"), facts, names=NAMES, start=1.0)
    assert (mine.index, mine.instance_id, len(mine.problems)) == (7, "99", 1)
    (tmp_path / "id").write_text("from-file\n")
    filed = settings(tmp_path, instance_id_file=str(tmp_path / "id"))
    assert identify(filed, facts, names=NAMES, start=1.0).instance_id == "from-file"
    broken = NodeFacts({NAMES.host_index: "first"})
    assert identify(settings(tmp_path), broken, names=NAMES, start=1.0).index is None


async def test_a_layout_comes_from_settings_labels_or_pci(tmp_path: Path) -> None:
    none = NodeFacts()
    labels = NodeFacts({NAMES.accelerator: "tpu-v5p-slice", NAMES.accelerator_count: "4"})
    devices = NodeFacts({NAMES.accelerator: "tpu7x", NAMES.accelerator_count: "8"})
    assert layout_of(settings(tmp_path), labels, names=NAMES).generation.name == "v5p"
    assert layout_of(settings(tmp_path), devices, names=NAMES).chips == 4
    async with a_host(tmp_path / "host") as host:
        assert layout_of(settings(host.folder), none, names=NAMES) == TPU7X
    with pytest.raises(Misconfigured, match="not known"):
        layout_of(settings(tmp_path, generation="tpu9"), none, names=NAMES)
    with pytest.raises(Misconfigured, match="chips"):
        layout_of(settings(tmp_path, generation="tpu7x"), none, names=NAMES)
