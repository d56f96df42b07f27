"""Parameters of playbooks, read or refused by name."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from sliceward.remediations import given
from sliceward.topology.errors import Misconfigured

DEFAULT = timedelta(seconds=7)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("90s", 90), ("5m", 300), ("1h", 3600), ("250ms", 0.25), (30, 30), (1.5, 1.5), (timedelta(minutes=1), 60), (None, 7)],
)
def test_durations(value: object, seconds: float) -> None:
    assert given.duration({"d": value}, "d", DEFAULT) == timedelta(seconds=seconds)


@pytest.mark.parametrize("value", ["soon", "5", "-5s", -1, True, [], "5 m"])
def test_what_is_no_duration_is_refused_by_name(value: object) -> None:
    with pytest.raises(Misconfigured, match=r"with\.d"):
        given.duration({"d": value}, "d", DEFAULT)


@pytest.mark.parametrize("value", [-0.1, 1.1, "0.9", True])
def test_what_is_no_share_is_refused(value: Any) -> None:  # noqa: ANN401 (whatever a file may hold)
    with pytest.raises(Misconfigured):
        given.share({"rate": value}, "rate", 0.9)


def test_text_may_be_one_of_a_few() -> None:
    assert given.text({}, "t", "a", one_of=("a", "b")) == "a"
    with pytest.raises(Misconfigured, match="one of a, b"):
        given.text({"t": "c"}, "t", "a", one_of=("a", "b"))
