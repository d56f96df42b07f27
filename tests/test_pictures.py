"""The pictures and the worked example of docs/placement.md are what the code says."""

from __future__ import annotations

from dataclasses import fields
from xml.etree import ElementTree as ET

from benchmarks import pictures
from sliceward.scheduling.costs import Costs


def test_the_picture_is_what_the_code_draws() -> None:
    assert pictures.PICTURE.read_text(encoding="utf-8") == pictures.picture(), "run `make docs`"
    ET.fromstring(pictures.picture())  # noqa: S314 (our own)


def test_the_worked_example_is_what_the_code_says() -> None:
    text = pictures.PAGE.read_text(encoding="utf-8")
    assert text == pictures.page(text), "run `make docs`"


def test_every_weight_is_named_with_what_it_is_unless_set() -> None:
    text = pictures.PAGE.read_text(encoding="utf-8")
    assert [each.name for each in fields(Costs) if f"`{each.name}` {getattr(Costs(), each.name):g}" not in text] == []


def test_both_rules_got_the_same_fleet_and_nobody_sits_on_a_host_that_is_down() -> None:
    for layout in (pictures.ours(), pictures.by_slurm()):
        assert not set(pictures.DOWN) & layout.held.keys()
        sizes = {n: sum(held == n for held in layout.held.values()) * 4 for n in range(len(pictures.ASKED))}
        asked = {n: a * b for n, (a, b) in enumerate(pictures.ASKED)}
        assert sizes == {n: 0 if n in layout.waiting else asked[n] for n in asked}
    assert pictures.ours().chips > pictures.by_slurm().chips
