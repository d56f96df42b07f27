"""Reading a mapping from outside tells the path of what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sliceward.topology.errors import Misconfigured
from sliceward.topology.fields import Fields

if TYPE_CHECKING:
    from collections.abc import Callable


def test_missing_and_null_are_the_same() -> None:
    fields = Fields.of({"a": None}, "")
    assert (fields.text("a", "x"), fields.integer("b", 3), fields.flag("a")) == ("x", 3, False)
    assert (fields.at("a").mapping, fields.each("b"), fields.words("a"), fields.texts("b")) == ({}, (), (), {})
    assert not fields.has("a")


@pytest.mark.parametrize(
    ("read", "where"),
    [
        (lambda f: f.text("n"), "top.n"),
        (lambda f: f.integer("t"), "top.t"),
        (lambda f: f.integer("yes"), "top.yes"),
        (lambda f: f.integer("less"), "top.less"),
        (lambda f: f.flag("n"), "top.n"),
        (lambda f: f.at("list"), "top.list"),
        (lambda f: f.each("t"), "top.t"),
        (lambda f: f.each("list"), "top.list[0]"),
        (lambda f: f.words("list"), "top.list[0]"),
        (lambda f: f.texts("labels"), "top.labels.a"),
        (lambda f: f.texts("keys"), "key"),
    ],
)
def test_a_wrong_type_is_told_with_its_path(read: Callable[[Fields], object], where: str) -> None:
    value = {"n": 1, "t": "x" * 100, "yes": True, "less": -1, "list": [1], "labels": {"a": 1}, "keys": {1: "a"}}
    with pytest.raises(Misconfigured) as caught:
        read(Fields.of(value, "top"))
    assert caught.value.where == where


def test_an_unknown_key_is_refused_with_the_nearest() -> None:
    fields = Fields.of({"slcies": 1}, "gang")
    with pytest.raises(Misconfigured, match=r"gang\.slcies: is not a known key. Did you mean 'slices'"):
        fields.only("name", "slices")
    with pytest.raises(Misconfigured, match="Known here: name"):
        fields.only("name")


def test_what_is_no_mapping_is_refused() -> None:
    with pytest.raises(Misconfigured, match=r"node: is \[\]"):
        Fields.of([], "node")


def test_a_list_of_pairs_is_read_as_a_mapping() -> None:
    fields = Fields.of(
        {"conditions": [{"type": "Ready", "status": "True"}, {"type": None, "status": "x"}, {"type": "Old"}]}, "status"
    )
    assert fields.pairs("conditions", "type", "status") == {"Ready": "True", "Old": ""}
    assert fields.pairs("absent", "type", "status") == {}


@pytest.mark.parametrize(
    ("item", "where"),
    [
        ({"type": 5}, r"status.conditions\[1\].type"),
        ({"type": "a", "status": []}, r"conditions\[1\].status"),
        (7, r"conditions\[1\]"),
    ],
    ids=["name", "value", "item"],
)
def test_a_pair_that_is_none_says_where(item: object, where: str) -> None:
    with pytest.raises(Misconfigured, match=where):
        Fields.of({"conditions": [{"type": "a", "status": "b"}, item]}, "status").pairs("conditions", "type", "status")
