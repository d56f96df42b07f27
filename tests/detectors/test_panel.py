from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sliceward.detectors.frame import MAX_NOTES, decode, encode
from sliceward.detectors.metrics import EntityKind
from sliceward.detectors.panel import ENOUGH, MOST_WAITING, Panel, PanelSize, Taken, notes_of
from sliceward.topology.ids import ChipId, HostId
from tests.detectors.frames import START, Speaker, feed, renamed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sliceward.detectors.frame import Frame

DUTY, ERRORS = "chip_duty_cycle_percent", "chip_hbm_correctable_total"


def a_panel(**size: float) -> Panel:
    return Panel("c1", PanelSize(**({"period": 10.0, "rows": 12} | size)), track=("host_step",))  # type: ignore[arg-type]  # most sizes are whole numbers


def cell(panel: Panel, name: str, *where: int, time: float | None = None) -> float:
    row = panel.ring.row_at(panel.now if time is None else time)
    return float(panel.ring.columns[name][(row, *where)])


def speaker(**readings: float) -> Speaker:
    return Speaker("n1", readings=dict(readings))


def test_a_frame_becomes_a_row() -> None:
    panel, one = a_panel(), speaker(**{DUTY: 50, "host_cpu_percent": 7, "link_health": 3})
    panel.advance(START)
    assert panel.put(one.say(START), START) is Taken.TAKEN
    assert cell(panel, DUTY, 0, 3) == 50
    assert cell(panel, "host_cpu_percent", 0) == 7
    assert cell(panel, "link_health", 0, 3, 5) == 3


def test_missing_is_nan_and_never_zero() -> None:
    panel, one = a_panel(), speaker(**{DUTY: math.nan})
    now = feed(panel, [one], rounds=3)
    panel.advance(now + 10)
    assert math.isnan(cell(panel, DUTY, 0, 0))


def test_counters_become_increases() -> None:
    panel, one = a_panel(), speaker(**{ERRORS: 5})
    now = feed(panel, [one], rounds=1)
    assert math.isnan(cell(panel, ERRORS, 0, 0))
    one.readings[ERRORS] = 8
    feed(panel, [one], rounds=1, start=now)
    assert cell(panel, ERRORS, 0, 0) == 3


def test_counters_above_two_to_the_24th_keep_single_counts() -> None:
    panel, one = a_panel(), speaker(**{ERRORS: 2**40})
    now = feed(panel, [one], rounds=1)
    one.readings[ERRORS] = 2**40 + 1
    feed(panel, [one], rounds=1, start=now)
    assert cell(panel, ERRORS, 0, 0) == 1


def test_increases_of_two_frames_in_one_row_add_up() -> None:
    panel, one = a_panel(), speaker(**{ERRORS: 1})
    panel.put(one.say(START), START)
    for step in (1, 2):
        one.readings[ERRORS] = 1 + step
        panel.put(one.say(START + step), START + step)
    assert cell(panel, ERRORS, 0, 0, time=START) == 2


def test_a_counter_that_restarts_counts_from_zero() -> None:
    panel, one = a_panel(), speaker(**{ERRORS: 100})
    now = feed(panel, [one], rounds=1)
    one.readings[ERRORS] = 4
    feed(panel, [one], rounds=1, start=now)
    assert cell(panel, ERRORS, 0, 0) == 4
    assert panel.counts["counter_resets"] == 4


def test_a_counter_that_was_missing_for_a_while_goes_on_from_its_last_value() -> None:
    panel, one = a_panel(), speaker(**{ERRORS: 10})
    now = feed(panel, [one], rounds=1)
    one.readings[ERRORS] = math.nan
    now = feed(panel, [one], rounds=1, start=now)
    one.readings[ERRORS] = 13
    feed(panel, [one], rounds=1, start=now)
    assert cell(panel, ERRORS, 0, 0) == 3


def test_another_boot_begins_its_counters_anew() -> None:
    panel, one = a_panel(), speaker(**{ERRORS: 1})
    now = feed(panel, [one], rounds=1)
    one.readings[ERRORS] = 50
    now = feed(panel, [one], rounds=1, start=now)
    one.boot_id, one.agent_start = "b-2", START + 15
    one.readings[ERRORS] = 7
    feed(panel, [one], rounds=1, start=now)
    assert np.isnan(panel.ring.columns[ERRORS][:, 0]).all()
    assert panel.counts["rebooted"] == 1


@pytest.mark.parametrize("value", [-1.0, 101.0, math.inf])
def test_a_value_that_cannot_be_true_is_refused_and_counted(value: float) -> None:
    panel, one = a_panel(), speaker(**{DUTY: value})
    feed(panel, [one], rounds=1)
    assert math.isnan(cell(panel, DUTY, 0, 0))
    assert panel.counts["out_of_range"] == 4


def test_a_doubled_frame_is_taken_once() -> None:
    panel, one = a_panel(), speaker(**{DUTY: 1})
    frame = one.say(START)
    assert panel.put(frame, START) is Taken.TAKEN
    assert panel.put(frame, START + 1) is Taken.DUPLICATE


def test_a_frame_overtaken_by_a_newer_one_is_left_out() -> None:
    panel, one = a_panel(), speaker(**{DUTY: 1})
    first, second, third = one.say(START), one.say(START + 10), one.say(START + 20)
    panel.put(first, START)
    panel.put(third, START + 20)
    assert panel.put(second, START + 21) is Taken.OUT_OF_ORDER
    assert panel.counts["missing"] == 1


def test_a_late_frame_lands_in_the_row_of_its_time() -> None:
    panel, one = a_panel(), speaker(**{DUTY: 1})
    panel.put(one.say(START), START)
    one.readings[DUTY] = 77
    panel.put(one.say(START + 10), START + 45)
    assert cell(panel, DUTY, 0, 0, time=START + 10) == 77
    assert math.isnan(cell(panel, DUTY, 0, 0, time=START + 45))


def test_a_frame_older_than_the_ring_is_late() -> None:
    panel, one = a_panel(), speaker(**{DUTY: 1})
    panel.put(one.say(START), START)
    assert panel.put(one.say(START + 10), START + 500) is Taken.LATE


@pytest.mark.parametrize("step", [3600.0, -3600.0])
def test_a_step_of_a_hosts_clock_moves_no_reading(step: float) -> None:
    panel, one = a_panel(), speaker(**{DUTY: 1})
    panel.put(one.say(START), START)
    panel.put(one.say(START + 10), START + 10)
    one.readings[DUTY] = 9
    assert panel.put(one.say(START + 20 + step), START + 20) is Taken.TAKEN
    assert cell(panel, DUTY, 0, 0, time=START + 20) == 9
    assert panel.counts["clock_steps"] == 1


def test_a_wrong_clock_that_never_steps_is_no_lateness() -> None:
    panel, one = a_panel(), speaker(**{DUTY: 5})
    for n in range(4):
        panel.put(one.say(START - 86_400 + 10 * n), START + 10 * n)
    assert cell(panel, DUTY, 0, 0, time=START + 30) == 5


def test_silence_is_counted_only_while_we_listen_and_never_by_a_stall_of_our_own() -> None:
    panel, one = a_panel(), speaker(**{DUTY: 1})
    now = feed(panel, [one], rounds=1)
    panel.advance(now + 10)
    assert panel.silence(0) == 10
    panel.advance(now + 20, attending=False)
    assert panel.silence(0) == 10
    panel.advance(now + 1000)
    assert panel.silence(0) == 30


def test_an_expected_host_that_never_speaks_is_silent_since_it_was_expected() -> None:
    panel = a_panel()
    panel.advance(START)
    panel.expect(["n9"])
    panel.advance(START + 15)
    assert panel.silence(panel.slots["n9"]) == 15


def test_two_agents_that_speak_by_turns_are_twins_and_a_restart_is_none() -> None:
    panel, one, two = a_panel(), speaker(**{DUTY: 1}), speaker(**{DUTY: 2})
    two.instance_id, two.agent_start = "i-2", START - 5
    known = None
    for n in range(4):
        panel.put(one.say(START + 10 * n), START + 10 * n)
        known = panel.known("n1")
        assert known is not None
        assert known.twins(START + 10 * n) == (n >= 2)
        panel.put(two.say(START + 10 * n + 5), START + 10 * n + 5)
    assert known is not None
    assert not known.twins(START + 2000)


@pytest.mark.parametrize("voices", [2, 3, 5])
def test_agents_that_speak_by_turns_are_twins_however_many_they_are(voices: int) -> None:
    panel, now = a_panel(), START
    said = [Speaker("n1", instance_id=f"i-{n}", boot_id=f"b-{n}", agent_start=START - n) for n in range(voices)]
    for _ in range(4):
        for one in said:
            now += 10 / voices
            panel.advance(now)
            panel.put(one.say(now), now)
    known = panel.known("n1")
    assert known is not None
    assert known.twins(now)
    assert {speaker[1] for speaker in known.voices(now)} == {f"i-{n}" for n in range(voices)}


def test_an_agent_that_restarts_again_and_again_has_no_twin() -> None:
    panel, one, now = a_panel(), speaker(**{DUTY: 1}), START
    for n in range(40):
        one.agent_start, now = START + n, now + 10
        panel.put(one.say(now), now)
    known = panel.known("n1")
    assert known is not None
    assert not known.twins(now)
    assert len(known.formers) < 40, "what is remembered is bounded"


def test_notes_never_add_up_beyond_what_one_frame_may_hold() -> None:
    panel, one = Panel("c1"), Speaker("n1")
    for number in range(3):
        notes = {f"{number}-{key}": "x" for key in range(MAX_NOTES // 2)}
        panel.put(renamed(one.say(START + 10 * number), notes=notes, full_notes=False), START + 10 * number)
    assert len(notes_of(panel)["n1"]) <= MAX_NOTES
    assert panel.counts["notes_refused"] == 1


def test_notes_are_merged_and_a_full_set_replaces_them() -> None:
    panel, one = a_panel(), speaker(**{DUTY: 1})
    panel.put(renamed(one.say(START), notes={"a": "1", "b": "1"}), START)
    panel.put(renamed(one.say(START + 10), notes={"b": "2"}, full_notes=False), START + 10)
    assert notes_of(panel) == {"n1": {"a": "1", "b": "2"}}
    panel.put(renamed(one.say(START + 20), notes={"a": ""}, full_notes=False), START + 20)
    assert notes_of(panel) == {"n1": {"b": "2"}}, "an empty note says that it is gone"
    panel.put(renamed(one.say(START + 30), notes={"b": "", "c": "3"}), START + 30)
    assert notes_of(panel) == {"n1": {"c": "3"}}


def test_a_host_that_is_forgotten_leaves_nothing_to_its_successor() -> None:
    panel, one = a_panel(), speaker(**{DUTY: 1, ERRORS: 9, "host_step": 3})
    now = feed(panel, [one], rounds=2)
    panel.forget("n1")
    panel.forget("n1")
    panel.expect(["n2"])
    assert panel.slots == {"n2": 0}
    assert np.isnan(panel.ring.columns[DUTY][:, 0]).all()
    assert math.isnan(panel.changed["host_step"][0])
    other = Speaker("n2", readings={ERRORS: 100})
    feed(panel, [other], rounds=1, start=now)
    assert math.isnan(cell(panel, ERRORS, 0, 0))


def test_frames_of_another_cluster_and_hosts_beyond_the_limit_are_refused() -> None:
    panel = a_panel(max_hosts=1)
    assert panel.put(Speaker("n1", cluster="c2").say(START), START) is Taken.STRANGER
    assert panel.put(Speaker("n1").say(START), START) is Taken.TAKEN
    assert panel.put(Speaker("n2").say(START), START) is Taken.FULL
    panel.expect(["n3"])
    assert panel.counts["hosts_refused"] == 2


def test_memory_is_bounded_whatever_a_frame_claims() -> None:
    panel = a_panel(max_bytes=100_000)
    assert panel.put(Speaker("n1").say(START), START) is Taken.TAKEN
    vast = renamed(Speaker("n2").say(START), chips=64, ports=8, columns={})
    assert panel.put(vast, START) is Taken.FULL
    assert not panel.write(DUTY, "n1", [1] * 64, START)
    assert panel.fill(DUTY, "n1", 63, [(START, 1.0)]) == 0
    for n in range(80):
        panel.expect([f"more-{n}"])
        panel.put(Speaker(f"more-{n}").say(START), START)
    assert panel.ring.bytes <= 100_000
    assert panel.counts["hosts_refused"] > 0
    assert panel.counts[Taken.FULL] > 1


def test_hosts_that_are_announced_take_no_more_room_than_they_need() -> None:
    panel = a_panel()
    panel.expect(f"n{n}" for n in range(1000))
    feed(panel, [Speaker("n0")], rounds=2)
    assert 1000 <= panel.ring.hosts <= 1048
    panel.expect(f"n{n}" for n in range(1001))
    assert 1001 <= panel.ring.hosts <= 1048


def test_hosts_that_nobody_announced_are_not_copied_at_each() -> None:
    panel, rooms = a_panel(rows=8, max_hosts=2000), set()
    for n in range(1000):
        panel.put(Speaker(f"n{n}").say(START), START)
        rooms.add(panel.ring.hosts)
    assert len(rooms) < 25
    assert panel.ring.hosts < 1400


def test_hosts_that_name_other_columns_in_another_order_are_stored_beside_each_other() -> None:
    panel, mixed = a_panel(), [{DUTY: 10, "host_step": 1}, {"host_step": 2, DUTY: 20}, {"host_step": 3}, {DUTY: 40}, {}]
    for n, readings in enumerate(mixed * 3):
        panel.put(Speaker(f"n{n}", readings=dict(readings)).say(START), START)
    panel.advance(START)
    for n, readings in enumerate(mixed * 3):
        steps = panel.ring.columns["host_step"][panel.ring.row_at(START), n]
        assert cell(panel, DUTY, n, 3) == pytest.approx(readings.get(DUTY, math.nan), nan_ok=True)
        assert steps == pytest.approx(readings.get("host_step", math.nan), nan_ok=True)
        assert panel.changed["host_step"][n] == pytest.approx(START if "host_step" in readings else math.nan, nan_ok=True)


def test_many_hosts_whose_columns_lie_alike_are_stored_as_each_by_itself() -> None:
    many, single = a_panel(), a_panel()
    names = [f"n{number}" for number in range(2 * ENOUGH)]
    for turn in range(3):
        for number, name in enumerate(names):
            errors = -1.0 if (turn, number) == (1, 3) else 5.0 * turn + number
            readings: dict[str, float | Sequence[float]] = {
                DUTY: number + turn,
                "link_health": number % 10,
                ERRORS: errors,
                "host_step": 100.0 * (turn // 2) + number,
            }
            told = decode(encode(Speaker(name, readings=readings, seq=turn).say(START + 10 * turn)))
            for panel in (many, single):
                panel.put(told, START + 10 * turn)
            single.ring.column(DUTY)  # whoever looks has all stored that waits
        for panel in (many, single):
            panel.advance(START + 10 * turn)
    assert many.counts == single.counts
    assert many.counts["out_of_range"] == 4
    for name in (DUTY, "link_health", ERRORS, "host_step"):
        np.testing.assert_array_equal(many.ring.columns[name], single.ring.columns[name])
    assert cell(many, DUTY, 9, 3) == 11
    assert cell(many, ERRORS, 9, 3) == 5
    np.testing.assert_array_equal(many.changed["host_step"], single.changed["host_step"])
    assert many.changed["host_step"][5] == START + 20


def test_frames_wait_in_bounded_numbers_to_be_stored_together() -> None:
    panel = a_panel()
    panel.expect(f"n{n}" for n in range(MOST_WAITING))
    for n in range(MOST_WAITING - 1):
        panel.put(Speaker(f"n{n}", readings={"host_step": 7}).say(START), START)
    assert np.isnan(panel.changed["host_step"]).all()
    panel.put(Speaker(f"n{MOST_WAITING - 1}", readings={"host_step": 7}).say(START), START)
    assert np.count_nonzero(panel.changed["host_step"] == START) == MOST_WAITING


def test_columns_that_do_not_fit_are_counted_and_the_others_are_kept() -> None:
    panel = a_panel(max_bytes=3000)
    panel.put(speaker(host_cpu_percent=5, link_health=1).say(START), START)
    assert cell(panel, "host_cpu_percent", 0, time=START) == 5
    assert panel.counts["columns_refused"] == 1
    assert not panel.write(DUTY, "n1", [1, 2, 3, 4], START)
    assert panel.fill(DUTY, "n1", 0, [(START, 1.0)]) == 0


def test_the_panel_grows_with_its_hosts_and_keeps_what_it_has() -> None:
    panel = a_panel()
    now = feed(panel, [speaker(**{DUTY: 42, ERRORS: 1})], rounds=2)
    feed(panel, [Speaker(f"m{n}", readings={DUTY: n, ERRORS: n}) for n in range(40)], rounds=1, start=now - 10)
    assert cell(panel, DUTY, 0, 0) == 42
    assert cell(panel, DUTY, panel.slots["m39"], 2) == 39


def test_entities_have_names() -> None:
    panel = a_panel()
    feed(panel, [Speaker("n1"), Speaker("n2")], rounds=1)
    assert panel.entity(EntityKind.HOST, 1) == (HostId("c1", "n2"), 0, 0)
    assert panel.entity(EntityKind.LINK, 1 * 24 + 2 * 6 + 5) == (HostId("c1", "n2"), 2, 5)
    assert panel.chip(6) == ChipId("c1", "n2", 2)
    assert panel.entity(EntityKind.HOST, 1) != panel.entity(EntityKind.HOST, 0)
    assert panel.known("nobody") is None


def test_a_gauge_that_is_tracked_remembers_its_last_change() -> None:
    panel, one = a_panel(), speaker(host_step=5)
    now = feed(panel, [one], rounds=5)
    assert panel.changed["host_step"][0] == pytest.approx(START + 10, abs=1)
    one.readings["host_step"] = 6
    feed(panel, [one], rounds=2, start=now)
    assert panel.changed["host_step"][0] == pytest.approx(now + 10, abs=1)


def test_other_sources_write_where_the_host_is_known() -> None:
    panel = a_panel()
    feed(panel, [Speaker("n1")], rounds=2)
    assert panel.write("host_ready", "n1", 1, panel.now)
    assert panel.write(DUTY, "n1", [10, 20, 30, 400], panel.now)
    assert cell(panel, DUTY, 0, 1) == 20
    assert math.isnan(cell(panel, DUTY, 0, 3))
    assert not panel.write("host_ready", "stranger", 1, panel.now)
    assert not panel.write("host_ready", "n1", 1, panel.now - 10_000)
    panel.write_hosts("host_ready", np.array([0]), np.array([0.0]))
    assert cell(panel, "host_ready", 0) == 0


def test_a_back_fill_never_overwrites_what_the_agent_said() -> None:
    panel = a_panel()
    now = feed(panel, [speaker(**{DUTY: 50})], rounds=2)
    used = panel.fill(DUTY, "n1", 0, [(now - 50, 1.0), (now, 2.0), (now - 40, 1e9), (0.0, 1.0)])
    assert used == 1
    assert cell(panel, DUTY, 0, 0, time=now - 50) == 1
    assert cell(panel, DUTY, 0, 0) == 50
    assert panel.fill(DUTY, "stranger", 0, [(now, 1.0)]) == 0
    assert panel.fill("host_ready", "n1", 0, [(now, 1.0)]) == 0


streams = st.lists(
    st.tuples(st.sampled_from(["n1", "n2"]), st.integers(0, 30), st.floats(0, 100), st.integers(0, 50)), max_size=40
)


def _frames(stream: list[tuple[str, int, float, int]]) -> list[tuple[Frame, float]]:
    counts = {"n1": 0, "n2": 0}
    found, now = [], START
    for host, wait, duty, errors in stream:
        now += wait
        counts[host] += 1
        said = Speaker(host, readings={DUTY: duty, ERRORS: errors, "host_step": errors}, seq=counts[host])
        found.append((said.say(now - 1), now))
    return found


def _panel_of(frames: list[tuple[Frame, float]], *, twice: bool) -> Panel:
    panel = a_panel()
    for frame, now in frames:
        panel.advance(now)
        panel.put(frame, now)
        if twice:
            panel.put(frame, now)
    return panel


@given(streams, st.booleans())
@settings(max_examples=60)
def test_the_same_stream_gives_the_same_panel_also_where_each_frame_comes_twice(
    stream: list[tuple[str, int, float, int]],
    twice: bool,  # noqa: FBT001 (hypothesis gives it)
) -> None:
    frames = _frames(stream)
    one, other = _panel_of(frames, twice=False), _panel_of(frames, twice=twice)
    assert one.ring.columns.keys() == other.ring.columns.keys()
    for name, column in one.ring.columns.items():
        np.testing.assert_array_equal(column, other.ring.columns[name])


@given(streams)
@settings(max_examples=40)
def test_increases_are_never_negative_and_gauges_stay_in_range(stream: list[tuple[str, int, float, int]]) -> None:
    panel = _panel_of(_frames(stream), twice=False)
    for name, low, high in ((ERRORS, 0, np.inf), (DUTY, 0, 100)):
        if name in panel.ring.columns:
            values = panel.ring.columns[name]
            assert not ((values < low) | (values > high)).any()


def test_a_step_of_our_own_clock_moves_what_hosts_times_are_on_it() -> None:
    panel, one, gone = a_panel(), speaker(**{DUTY: 50}), Speaker("n2", readings={DUTY: 50})
    now = feed(panel, [one, gone], rounds=3)
    panel.forget("n2")  # of a host that is gone there is nothing to move
    panel.shift(300.0)
    panel.advance(now + 300)
    assert panel.put(one.say(now), now + 300) is Taken.TAKEN
    assert cell(panel, DUTY, 0, 0) == 50
    assert panel.counts["clock_steps"] == 0


def test_a_scrape_is_a_sign_of_life_only_where_no_agent_ever_spoke() -> None:
    panel = a_panel()
    now = feed(panel, [speaker(**{DUTY: 50})], rounds=2)
    panel.expect(["n2"])
    panel.advance(now + 20)
    silent = panel.silence(panel.slots["n2"])
    assert [panel.scraped(name, panel.now - 5, 30.0) for name in ("n1", "n2", "nobody")] == [False, True, False]
    assert panel.silence(panel.slots["n2"]) == 5 < silent
