"""Names can be overridden one by one, and a slip of the pen is told."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from sliceward.topology.errors import Misconfigured
from sliceward.topology.names import FIXED, NAMES, Names, override


def test_an_overridden_name_leaves_the_others_as_they_are() -> None:
    names = override({"partition_id": "example.org/cube", "runtime_metrics_port": 9000})
    assert names.partition_id == "example.org/cube"
    assert names.runtime_metrics_port == 9000
    assert names.node_pool == NAMES.node_pool
    assert NAMES.runtime_metrics_port == 8431


def test_an_unknown_name_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(Misconfigured, match=r"watcher\.names\.partition_idd: is not a known name. Did you mean 'partition_id'"):
        override({"partition_idd": "x"}, where="watcher.names")
    with pytest.raises(Misconfigured, match="is not a known name"):
        override({"zzzzzz": "x"})


def test_a_name_that_actions_or_placement_spell_as_it_stands_keeps_it() -> None:
    root = Path(__file__).resolve().parents[2]
    spelled = {
        name
        for folder, pattern in (
            ("remediations", r"\bNAMES\.([a-z_]+)"),
            ("playbooks", r"\bNAMES\.([a-z_]+)"),
            ("scheduling", r"\bnames\.([a-z_]+)"),
        )
        for file in (root / folder).rglob("*.py")
        for name in re.findall(pattern, file.read_text(encoding="utf-8"))
    }
    known = {field.name for field in fields(Names)}
    assert spelled & known
    assert spelled & known <= FIXED <= known
    for name in FIXED:
        with pytest.raises(Misconfigured, match=f"names.{name}: cannot have another name"):
            override({name: "example.org/other"})


@pytest.mark.parametrize(
    ("key", "value"), [("block", 3), ("block", ""), ("device_plugin_port", "2112"), ("device_plugin_port", True)]
)
def test_a_value_of_the_wrong_type_is_refused(key: str, value: object) -> None:
    with pytest.raises(Misconfigured, match=f"names.{key}"):
        override({key: value})
