"""``replay FILE``: frames or a range of Prometheus through the watcher's own detection, held against labels."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from sliceward.detectors.frame import encode
from tests.detectors.frames import START, Speaker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from tests.daemons.cli.conftest import Sliceward


def line(received: float, **more: object) -> str:
    return json.dumps({"received": received, **more})


def recording(change: Callable[[int, Speaker], None], *, rounds: int = 40, hosts: int = 3) -> list[str]:
    """Give the frames of some hosts, one each 10 s; ``change`` tells what the first says in each round."""
    speakers = [Speaker(f"n{number}", instance_id=f"i-{number}", index=number) for number in range(hosts)]
    lines = []
    for turn in range(rounds):
        now = START + 10 * turn
        change(turn, speakers[0])
        lines += [line(now + 0.2, frame=encode(speaker.say(now)).hex()) for speaker in speakers]
    return lines


def lost(turn: int, speaker: Speaker) -> None:
    if turn == 20:
        speaker.chip("chip_present", 2, 0)


def write(path: Path, lines: Iterable[str]) -> Path:
    text = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def labels(path: Path, part: str = "c1/chip/n0/2") -> Path:
    began, ended = (datetime.fromtimestamp(START + seconds, UTC).isoformat() for seconds in (200, 400))
    path.write_text(json.dumps([{"part": part, "kind": "ChipLost", "from": began, "to": ended}]))
    return path


def told(sliceward: Sliceward, *arguments: object) -> Any:  # noqa: ANN401 (JSON)
    ran = sliceward("replay", *map(str, arguments), "-o", "json")
    assert (ran.code, ran.err) == (0, "")
    return json.loads(ran.out)


@pytest.mark.parametrize("name", ["frames.jsonl", "frames.jsonl.gz"])
def test_a_fault_in_a_recording_is_found_and_scored(sliceward: Sliceward, tmp_path: Path, name: str) -> None:
    file = write(tmp_path / name, recording(lost))
    found = told(sliceward, file, "--labels", labels(tmp_path / "labels.yaml"))
    (one,) = found["findings"]
    assert (one["part"], one["kind"], one["detector"], one["right"]) == ("c1/chip/n0/2", "ChipLost", "chip-missing", True)
    assert found["counts"]["taken"] == 120
    made = found["score"]
    assert (made["precision"], made["recall"], made["missed"]) == (1.0, 1.0, [])
    assert made["delay_median_s"] <= 15


def test_the_table_tells_what_was_missed(sliceward: Sliceward, tmp_path: Path) -> None:
    file = write(tmp_path / "frames.jsonl", recording(lost))
    ran = sliceward("replay", str(file), "--labels", str(labels(tmp_path / "labels.yaml", "c1/chip/n1/1")))
    assert ran.code == 0
    assert "c1/chip/n0/2" in ran.out
    assert "precision 0.000 (0 of 1 findings name a fault)" in ran.out
    assert "recall    0.000 (0 of 1 faults were named)" in ran.out
    assert "missed: ChipLost of c1/chip/n1/1" in ran.out


def test_a_quiet_recording_finds_nothing(sliceward: Sliceward, tmp_path: Path) -> None:
    file = write(tmp_path / "frames.jsonl", recording(lambda turn, speaker: None))  # noqa: ARG005 (says the same each time)
    assert told(sliceward, file)["findings"] == []
    ran = sliceward("replay", str(file), "--labels", str(labels(tmp_path / "labels.yaml")))
    assert "precision -" in ran.out
    assert "delay" not in ran.out


def test_the_same_recording_gives_the_same_findings(sliceward: Sliceward, tmp_path: Path) -> None:
    file = write(tmp_path / "frames.jsonl", recording(lost))
    assert told(sliceward, file) == told(sliceward, file)


def test_silence_is_found_in_the_time_of_the_recording_and_others_are_witnesses(sliceward: Sliceward, tmp_path: Path) -> None:
    lines = recording(lambda turn, speaker: None)  # noqa: ARG005 (says the same each time)
    ends = START + 200
    kept = [one for number, one in enumerate(lines) if number % 3 or json.loads(one)["received"] < ends]
    file = write(tmp_path / "silent.jsonl", kept)
    assert [one["detector"] for one in told(sliceward, file)["findings"]] == ["telemetry-lost"]
    not_ready = [line(ends + 10 * turn, host="n0", readings={"host_ready": 0, "nonsense": 1}) for turn in range(20)]
    file = write(tmp_path / "lost.jsonl", sorted([*kept, *not_ready], key=lambda one: json.loads(one)["received"]))
    found = told(sliceward, file)
    assert [one["detector"] for one in found["findings"]] == ["host-lost"]
    assert found["counts"]["readings of no use"] == 20


def test_lines_that_are_none_are_counted_and_left_out(sliceward: Sliceward, tmp_path: Path) -> None:
    bad = [
        "{",
        "5",
        line(START, frame="zz"),
        line(START, frame="00"),
        line(-1.0, frame="00"),
        line(START),
        "",
        '{"received": 1e999}',
    ]
    leap = [line(START + 10 * 86_400, host="n0", readings={})]
    lines = recording(lost)
    found = told(sliceward, write(tmp_path / "frames.jsonl", [*lines[:5], *bad, *leap, *lines[5:]]))
    assert [one["detector"] for one in found["findings"]] == ["chip-missing"]
    assert found["counts"]["bad lines"] == 6
    assert found["counts"]["bad frames"] == 1
    assert found["counts"]["too far ahead"] == 1


RULE = """\
{name: cold, kind: AgentUnwell, part: chip, severity: warning, says: cold, when: {threshold: {metric: chip_throttle_score, op: "<=", value: 0}}}
"""
FLEET = "clusters: [{name: c1, cubes: [n], hosts: 'n{index}'}]"


def test_rules_of_ones_own_are_tried_on_a_recording(sliceward: Sliceward, tmp_path: Path) -> None:
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "mine.yaml").write_text(RULE)
    file = write(tmp_path / "frames.jsonl", recording(lost))
    found = told(sliceward, file, "--rules", folder)
    assert {one["detector"] for one in found["findings"]} == {"chip-missing", "cold"}
    ran = sliceward("replay", str(file), "-o", "name")
    assert ran.out == "c1/chip/n0/2\n"


def test_a_fleet_file_tells_who_is_missing(sliceward: Sliceward, tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(FLEET)
    file = write(tmp_path / "frames.jsonl", recording(lost))
    found = told(sliceward, file, "--fleet", tmp_path / "fleet.yaml")
    (silent,) = [one for one in found["findings"] if one["detector"] == "telemetry-lost"]
    assert silent["part"] == "c1/cube/n"  # more than half of it at once: one finding, not thirteen


def range_of(result: object) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": "matrix", "result": result}}


def series(chips: int, gone: int, *, name: str = "duty_cycle_node") -> list[dict[str, Any]]:
    """Give a series a chip with a sample every 15 s for 10 minutes; one chip's ends half-way."""
    ends = {chip: 20 if chip == gone else 40 for chip in range(chips)}
    return [
        {
            "metric": {"__name__": name, "node": "n1", "accelerator_id": f"1234-{chip}"},
            "values": [[START + 15 * n, "50"] for n in range(ends[chip])],
        }
        for chip in range(chips)
    ]


def test_a_range_of_prometheus_is_replayed(sliceward: Sliceward, tmp_path: Path) -> None:
    result = [*series(4, 2), *series(4, 2, name="tensorcore_utilization_node")]
    answer = range_of([*result, {"metric": {}}, 5, {"metric": {}, "values": [5]}])
    file = tmp_path / "range.json"
    file.write_text(json.dumps(answer))
    found = told(sliceward, file)
    assert [(one["detector"], one["part"]) for one in found["findings"]] == [("chip-unscraped", "recorded/chip/n1/2")]
    file.write_text(json.dumps([answer, answer]))
    assert len(told(sliceward, file)["findings"]) == 1


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "holds no frame"),
        (line(START, host="n0", readings={}), "holds no frame"),
        (line(START, frame="00"), "holds no frame"),
        ('{"status": "success", "data": {"resultType": "vector", "result": []}}', "is an answer of Prometheus, and no range"),
        ('{"status": "success", "data": {"resultType": "matrix", "result": []}}', "holds none of the device plugin's series"),
    ],
)
def test_what_is_no_recording_is_refused_with_what_to_do(sliceward: Sliceward, tmp_path: Path, content: str, why: str) -> None:
    (tmp_path / "file").write_text(content)
    ran = sliceward("replay", str(tmp_path / "file"))
    assert ran.code == 2
    assert why in ran.err


def test_files_that_cannot_be_read_are_refused(sliceward: Sliceward, tmp_path: Path) -> None:
    file = write(tmp_path / "frames.jsonl", recording(lost, rounds=2))
    assert "cannot be read" in sliceward("replay", str(tmp_path / "none")).err
    assert "cannot be read" in sliceward("replay", str(file), "--labels", str(tmp_path / "none")).err
    (tmp_path / "half.gz").write_bytes(gzip.compress(file.read_bytes())[:-30])
    assert "cannot be read" in sliceward("replay", str(tmp_path / "half.gz")).err
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    assert "is not UTF-8" in sliceward("replay", str(file), "--labels", str(tmp_path / "bytes")).err


def damaged(packed: bytes) -> bytes:
    return packed[:200] + bytes(byte ^ 0x5A for byte in packed[200:260]) + packed[260:]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (damaged(gzip.compress(("\n".join(recording(lost, rounds=9)) + "\n").encode())), "cannot be read"),
        (gzip.compress(b"")[:3] + b"nothing of the kind", "cannot be read"),
        (b"[" * 100_000, "holds no frame"),
        (b'{"a":' * 100_000, "holds no frame"),
        (json.dumps(range_of([{"metric": {"__name__": ["x"]}, "values": [[1, "1"]]}])).encode(), "holds none of the device"),
        (json.dumps(range_of([{"metric": {"__name__": "duty_cycle_node"}, "values": [[1, "x"]]}])).encode(), "holds none of the device"),
        (json.dumps(range_of([{"metric": {"__name__": "duty_cycle_node"}, "values": [[1, "1"], [1e300, "1"]]}])).encode(), "holds none of"),
        (json.dumps(range_of([{"metric": {"__name__": "duty_cycle_node"}, "values": {"1": "1"}}])).encode(), "holds none of the device"),
    ],
    ids=["gzip spoilt", "no gzip", "deep list", "deep map", "name", "value", "time", "values"],
)  # fmt: skip
def test_what_is_damaged_or_hostile_is_refused_without_a_traceback(
    sliceward: Sliceward, tmp_path: Path, content: bytes, why: str
) -> None:
    (tmp_path / "file").write_bytes(content)
    ran = sliceward("replay", str(tmp_path / "file"))
    assert (ran.code, why in ran.err) == (2, True), ran.err


@pytest.mark.parametrize("kind", ["frames", "prometheus"])
def test_a_long_silence_in_a_recording_is_not_sat_out(sliceward: Sliceward, tmp_path: Path, kind: str) -> None:
    day, file = 86_400 * 1.5, tmp_path / "recording"
    if kind == "frames":
        later = [json.dumps(json.loads(one) | {"received": json.loads(one)["received"] + day}) for one in recording(lost)]
        write(file, [*recording(lost), *later])
    else:
        both = [{**one, "values": [*one["values"], *([at + day, value] for at, value in one["values"])]} for one in series(4, 9)]
        file.write_text(json.dumps(range_of(both)))
    found = told(sliceward, file)
    assert found["seconds"] > day
    assert found["rounds"] < 300
    assert found["counts"]["silent rounds left out"] > 12_000


def test_a_replay_by_the_configuration_of_a_live_watcher_leaves_its_baselines_alone(sliceward: Sliceward, tmp_path: Path) -> None:
    file, folder = write(tmp_path / "frames.jsonl", recording(lost, rounds=80)), tmp_path / "live"
    folder.mkdir()
    (folder / "baselines.npz").write_bytes(b"those of a live watcher")
    statistics = {"enabled": True, "folder": str(folder), "save_every": "10s"}
    (tmp_path / "watcher.yaml").write_text(json.dumps({"cluster": {"name": "c1"}, "statistics": statistics}))
    found = told(sliceward, file, "--config", tmp_path / "watcher.yaml")
    assert [one["detector"] for one in found["findings"]] == ["chip-missing"]
    assert [path.name for path in folder.iterdir()] == ["baselines.npz"]
    assert (folder / "baselines.npz").read_bytes() == b"those of a live watcher"
