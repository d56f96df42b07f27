"""``what-if``, ``fleet fragmentation`` and ``explain gang/…``, of a fleet in a file and of a coordinator's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.daemons.cli.conftest import Sliceward, Told

FLEET = """
clusters:
  - name: c1
    generation: tpu7x
    cubes: 6
    spares: [cube-5]
    gangs:
      - {name: llm, slices: 2, cubes: [cube-0, cube-1], tenant: ml, namespace: ml}
      - {name: small, cubes: [cube-2], tenant: research, namespace: ml}
      - {name: late, slices: 3, tenant: research, namespace: ml}
      - {name: box, kind: Job, topology: 2x2x4, cubes: [cube-3]}
"""


@pytest.fixture
def fleet(tmp_path: Path) -> str:
    file = tmp_path / "fleet.yaml"
    file.write_text(FLEET)
    return str(file)


def test_the_figures_of_a_fleet_in_a_file(sliceward: Sliceward, fleet: str) -> None:
    ran = sliceward("fleet", "fragmentation", "--fleet", fleet)
    assert (ran.code, ran.err) == (0, "")
    assert ran.lines[0].split() == ["CLUSTER", "GENERATION", "CHIPS", "FREE", "LARGEST", "UNUSABLE", "STRANDED", "ALIVE"]
    assert "48 by partly used cube" in ran.lines[1]
    (row,) = json.loads(sliceward("fleet", "fragmentation", "--fleet", fleet, "-o", "json").out)
    assert (row["chips"], row["free_chips"], row["largest"], row["alive"]["4x4x4"]) == (384, 176, "4x4x8", 1)


def test_why_a_gang_waits_and_what_would_help(sliceward: Sliceward, fleet: str) -> None:
    ran = sliceward("explain", "gang/ml/late", "--fleet", fleet)
    assert (ran.code, ran.err) == (0, "")
    assert ran.lines[0] == "c1/gang/ml/JobSet/late waits (suspended, 192 chips of research)"
    assert "  would help: wait for box to end, or displace it" in ran.lines
    assert any("is displaced for it" in line or "kubectl --namespace default patch job box" in line for line in ran.lines)
    found = json.loads(sliceward("explain", "gang/ml/late", "--fleet", fleet, "-o", "json").out)
    assert (found["stands"], found["placement"]["cause"]) == ("waits", "held")
    assert found["placement"]["helps"] == [
        {"text": "wait for box to end, or displace it", "release": ["c1/gang/default/Job/box"]}
    ]


def test_moves_that_would_pay_are_proposed_with_what_they_bring_and_the_least_that_they_must(
    sliceward: Sliceward, tmp_path: Path
) -> None:
    file = tmp_path / "boxes.yaml"
    boxes = [f"{{name: {name}, kind: Job, topology: 2x2x2, cubes: [cube-{n}]}}" for n, name in enumerate(("one", "two"))]
    file.write_text(f"clusters: [{{name: c1, generation: tpu7x, cubes: 2, gangs: [{', '.join(boxes)}]}}]")
    ran = sliceward("fleet", "defragment", "--fleet", str(file))
    assert (ran.code, ran.err) == (0, "")
    assert ran.lines[0].split() == ["CLUSTER", "GROUP", "WHY", "GAIN", "COST", "WORTH", "MOVES"]
    assert "makes room for 4x4x4" in ran.lines[1]
    assert "at least 2" in ran.lines[1]
    assert any(line.startswith("group 1 of c1, c1/gang/default/Job/") for line in ran.lines)
    assert ran.lines[-1].startswith("  kubectl --namespace default patch job ")
    (row,) = json.loads(sliceward("fleet", "defragment", "--fleet", str(file), "-o", "json").out)
    assert row["worth"] == pytest.approx(row["gain"] / row["cost"], abs=0.01)
    assert row["worth"] >= row["floor"] == 2
    assert [move["gang"].startswith("c1/gang/default/Job/") for move in row["moves"]] == [True]


def test_a_fleet_in_a_file_that_is_as_it_says_has_no_problems(sliceward: Sliceward, fleet: str) -> None:
    assert sliceward("fleet", "problems", "--fleet", fleet).lines == ["none"]
    assert json.loads(sliceward("fleet", "problems", "--fleet", fleet, "-o", "json").out) == []


def test_guarantees_and_who_has_lost_one(sliceward: Sliceward, fleet: str, tmp_path: Path) -> None:
    quota = tmp_path / "quota.yaml"
    quota.write_text("ml: {tpu7x: {4x4x4: 4}}\nresearch: {tpu7x: {4x4x8: 2, 4x4x4: 1}}\n")
    asked = ("fleet", "guarantees", "--fleet", fleet, "--quota", str(quota))
    ran = sliceward(*asked)
    assert (ran.code, ran.err) == (0, "")
    assert ran.lines[0].split("  ")[0] == "TENANT"
    rows = {(row["tenant"], row["shape"]): row for row in json.loads(sliceward(*asked, "-o", "json").out)}
    assert {key: (row["cells"], row["owed"]) for key, row in rows.items()} == {
        ("ml", "4x4x4"): (4, 2),
        ("research", "4x4x4"): (1, 0),
        ("research", "4x4x8"): (2, 2),
    }
    assert (rows["research", "4x4x8"]["short"], rows["research", "4x4x8"]["surely_lost"]) == (1, 1)
    assert (rows["ml", "4x4x4"]["short"], rows["ml", "4x4x4"]["surely_lost"]) == (2, 0)
    assert json.loads(sliceward("fleet", "guarantees", "--fleet", fleet, "-o", "json").out) == []


def test_spares_of_a_fleet_in_a_file(sliceward: Sliceward, fleet: str) -> None:
    ran = sliceward("fleet", "spares", "--fleet", fleet)
    assert (ran.code, ran.err) == (0, "")
    assert ran.lines[0].split() == ["BLOCK", "USED", "SPARES", "LENT", "WANTED", "SURE"]
    (row,) = json.loads(sliceward("fleet", "spares", "--fleet", fleet, "-o", "json").out)
    assert (row["block"], row["used_cubes"], row["spares"], row["lent"]) == ("c1/pod/c1-block-0", 4, 1, 0)
    assert 0.9 < row["odds"] < 1


def test_quota_in_a_file_counts(sliceward: Sliceward, fleet: str, tmp_path: Path) -> None:
    quota = tmp_path / "quota.yaml"
    quota.write_text("research: {tpu7x: 128}\n")
    found = json.loads(sliceward("explain", "gang/ml/late", "--fleet", fleet, "--quota", str(quota), "-o", "json").out)
    assert found["placement"]["cause"] == "quota"
    lent, released = found["placement"]["helps"]
    assert lent["borrow"] == {"tenant": "research", "generation": "tpu7x", "chips": 64}
    assert released["release"] == ["c1/gang/ml/JobSet/small"]
    assert found["placement"]["smallest"]


@pytest.mark.parametrize(
    ("name", "stands"), [("ml/llm", "runs"), ("gang/box", "runs"), ("c1/gang/ml/JobSet/late", "waits")], ids=str
)
def test_a_gang_goes_by_several_names(sliceward: Sliceward, fleet: str, name: str, stands: str) -> None:
    asked = name if "gang/" in name else f"gang/{name}"
    assert json.loads(sliceward("explain", asked, "--fleet", fleet, "-o", "json").out)["stands"] == stands


def test_what_if_a_cube_is_drained_and_a_block_comes(sliceward: Sliceward, fleet: str) -> None:
    asked = ("what-if", "--fleet", fleet, "--drain", "cube-0", "--add-block", "new=2")
    ran = sliceward(*asked)
    assert (ran.code, ran.err) == (0, "")
    assert ran.lines[0] == "c1/gang/ml/JobSet/llm would be hurt"
    assert any("c1/gang/ml/JobSet/late would find room" in line for line in ran.lines)
    found = json.loads(sliceward(*asked, "-o", "json").out)
    assert found["hurt"][0]["ways"][0]["slices"][0]["index"] == 0
    assert [each["then"]["fits"] for each in found["waiting"]] == [True]
    assert (found["before"][0]["chips"], found["after"][0]["chips"]) == (384, 512)


def test_what_if_nobody_is_hurt(sliceward: Sliceward, fleet: str) -> None:
    ran = sliceward("what-if", "--fleet", fleet, "--drain", "cube-4-host-03", "--release", "ml/small", "--repair", "cube-0")
    assert "no gang that runs would be hurt" in ran.lines
    assert "c1/gang/ml/JobSet/late waits on" in ran.lines


@pytest.mark.parametrize(
    ("asked", "code", "said"),
    [
        (("what-if",), 2, "Say what if"),
        (("what-if", "--drain", "cube-9"), 2, "Did you mean 'cube-"),
        (("what-if", "--lose-switch", "ocs-3"), 2, "is not BLOCK/NAME"),
        (("what-if", "--lose-switch", "nowhere/ocs-3"), 2, "there is none"),
        (("what-if", "--lose-link", "c1/host/cube-0-host-00"), 2, "is no link"),
        (("what-if", "--lose-link", "c1/link/x/0~y/0"), 2, "there is no such host"),
        (("what-if", "--add-block", "new"), 2, "is not NAME=CUBES"),
        (("what-if", "--add-block", "new=0"), 2, "is not NAME=CUBES"),
        (("what-if", "--add-block", "c1-block-0=2"), 2, "is there already"),
        (("what-if", "--borrow", "ml:tpu9:4"), 2, "is not TENANT:GENERATION:CHIPS"),
        (("what-if", "--release", "nobody"), 2, "there is none"),
        (("explain", "gang/ml/lat"), 2, "Did you mean 'ml/late'?"),
        (("explain", "inc-0a1b2c3d4e"), 2, "A file knows no incidents"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_question_that_cannot_be_asked_says_why(
    sliceward: Sliceward, fleet: str, asked: tuple[str, ...], code: int, said: str
) -> None:
    ran = sliceward(*asked, "--fleet", fleet)
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err


@pytest.mark.parametrize(
    "content", [None, b"\xff\xfe", b"clusters: [", b"clusters: []"], ids=["absent", "binary", "broken", "empty"]
)
def test_a_file_that_is_no_fleet_is_told(sliceward: Sliceward, tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "fleet.yaml"
    if content is not None:
        file.write_bytes(content)
    ran = sliceward("fleet", "fragmentation", "--fleet", str(file))
    assert (ran.code, ran.out) == (2, "")
    assert str(file) in ran.err


class TestOfACoordinator:
    """The same questions over HTTP."""

    def test_the_figures(self, sliceward: Sliceward, told: Told) -> None:
        rows = json.loads(sliceward("fleet", "fragmentation", "-o", "json").out)
        assert told.incident
        assert [(row["cluster"], row["generation"]) for row in rows] == [("c1", "tpu7x")]
        assert rows[0]["chips"] == 256

    def test_guarantees_and_spares(self, sliceward: Sliceward, told: Told) -> None:
        assert told.incident
        assert json.loads(sliceward("fleet", "guarantees", "-o", "json").out) == []
        (row,) = json.loads(sliceward("fleet", "spares", "-o", "json").out)
        assert row["used_cubes"] >= 1

    def test_moves_that_would_pay(self, sliceward: Sliceward, told: Told) -> None:
        assert told.incident
        assert json.loads(sliceward("fleet", "defragment", "-o", "json").out) == []

    def test_how_a_gang_stands(self, sliceward: Sliceward, told: Told) -> None:
        assert told.incident
        ran = sliceward("explain", "gang/train")
        assert (ran.code, ran.err) == (0, "")
        assert ran.lines[0].startswith("c1/gang/default/JobSet/train ")

    def test_what_if(self, sliceward: Sliceward, told: Told) -> None:
        assert told.incident
        found = json.loads(sliceward("what-if", "--drain", "cube-1", "-o", "json").out)
        assert "c1/gang/default/JobSet/train" in {choice["gang"] for choice in found["hurt"]}

    def test_what_is_not_there(self, sliceward: Sliceward, told: Told) -> None:
        assert told.incident
        ran = sliceward("what-if", "--drain", "cube-77")
        assert (ran.code, ran.out) == (2, "")
        assert "there is no host or cube of that name" in ran.err
