"""Whatever a file holds is a value, or `Misconfigured` with file and line."""

from __future__ import annotations

import pytest

from sliceward.topology import yaml_text
from sliceward.topology.errors import Misconfigured


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        pytest.param("a: 1\n? [b]\n: 2\n", 2, "not a list or a mapping", id="a list as key"),
        pytest.param("a:\n  b: 1\n  ? {x: 1}\n  : 2\n", 3, "not a list or a mapping", id="a mapping as key"),
        pytest.param("a: 1\n? {<<: {? [b] : 2}}\n: 3\n", 2, "not a list or a mapping", id="a key inside a key"),
        pytest.param("a: 1\nb: {<<: {? [c] : 2}}\n", 2, "unhashable", id="a list as key of what is merged in"),
        pytest.param("a: 1\na: 2\n", 2, "stands twice", id="a doubled key"),
        pytest.param("a: 1\nb: !!bool perhaps\n", 2, "is no bool", id="no boolean"),
        pytest.param("a: 1\nb: !!timestamp soon\n", 2, "is no timestamp", id="no time"),
        pytest.param("a: 1\nb: !!int ''\n", 2, "is no int", id="no number"),
        pytest.param("a: 1\nb: 2026-04-31\n", 2, "is no timestamp", id="no day"),
        pytest.param(f"a: 1\nb: {'9' * 5000}\n", 2, "is no int", id="an endless number"),
        pytest.param("a: 1\nb: !!seq x\n", 2, "expected a sequence", id="no list"),
        pytest.param("a: &x 1\nb: *x\n", 2, "aliases", id="an alias"),
    ],
)
def test_what_cannot_be_read_is_told_with_file_and_line(text: str, line: int, why: str) -> None:
    with pytest.raises(Misconfigured) as told:
        yaml_text.read(text, "fleet.yaml")
    assert told.value.where.startswith(f"fleet.yaml:{line}:")
    assert why in told.value.why


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("7", 7),
        ("-12", -12),
        ("+5", 5),
        ("0", 0),
        ("0x3", "0x3"),
        ("010", "010"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("0b1", "0b1"),
        ("1.5", 1.5),
    ],
)
def test_a_whole_number_is_one_as_people_write_it(written: str, read: object) -> None:
    found = yaml_text.read(f"a: {written}\n", "fleet.yaml").value["a"]
    assert (type(found), found) == (type(read), read)
