"""Who calls: tokens from files, rotated under us, never too short."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from sliceward.daemons.coordinator.settings import TokenSettings
from sliceward.daemons.coordinator.tokens import LOCAL, Caller, Tokens
from sliceward.daemons.settings import Secret
from sliceward.topology.errors import Misconfigured
from tests.daemons.coordinator.bench import Clock

if TYPE_CHECKING:
    from pathlib import Path


def the_token(path: Path, text: str) -> TokenSettings:
    path.write_text(text)
    return TokenSettings(name="ann", role="operate", token=Secret(file=path))


def test_without_tokens_everybody_is_local() -> None:
    assert Tokens((), Clock().seconds).caller("") == LOCAL


HEADERS = ["", "Bearer", "Bearer ", "Basic " + "x" * 32, "Bearer " + "y" * 32, "x" * 32]


@pytest.mark.parametrize("header", HEADERS)
def test_nobody_is_known_by_another_header(tmp_path: Path, header: str) -> None:
    tokens = Tokens([the_token(tmp_path / "t", "x" * 32)], Clock().seconds)
    assert tokens.caller(header) is None
    assert tokens.caller("bearer " + "x" * 32) == Caller("ann", "operate")


def named(path: Path, text: str, name: str) -> TokenSettings:
    path.write_text(text)
    return TokenSettings(name=name, role="operate", token=Secret(file=path))


def test_a_rotated_token_is_known_within_a_second_and_the_old_one_no_more(tmp_path: Path) -> None:
    clock = Clock()
    tokens = Tokens([the_token(tmp_path / "t", "x" * 32)], clock.seconds)
    (tmp_path / "t").write_text("z" * 32 + "\n")
    clock.pass_(1)
    assert tokens.caller("Bearer " + "x" * 32) is None
    assert tokens.caller("Bearer " + "z" * 32) == Caller("ann", "operate")


@pytest.mark.parametrize("taken", ["emptied", "removed", "cut"])
def test_a_token_that_cannot_be_read_lets_nobody_in_and_the_others_go_on(tmp_path: Path, taken: str) -> None:
    clock = Clock()
    tokens = Tokens([named(tmp_path / "a", "a" * 32, "ann"), named(tmp_path / "b", "b" * 32, "bob")], clock.seconds)
    match taken:
        case "emptied":
            (tmp_path / "a").write_text("")
        case "removed":
            (tmp_path / "a").unlink()
        case _:
            (tmp_path / "a").write_text("a" * 8)
    (tmp_path / "b").write_text("n" * 32)
    with capture_logs() as told:
        for _ in range(3):
            clock.pass_(2)
            assert tokens.caller("Bearer " + "a" * 32) is None
            assert tokens.caller("Bearer " + "b" * 32) is None
            assert tokens.caller("Bearer " + "n" * 32) == Caller("bob", "operate")
    assert [(line["event"], line["name"]) for line in told] == [("token refused", "ann")]
    (tmp_path / "a").write_text("c" * 32)
    clock.pass_(2)
    assert tokens.caller("Bearer " + "c" * 32) == Caller("ann", "operate")


def test_tokens_are_not_read_at_each_request(tmp_path: Path) -> None:
    clock = Clock()
    tokens = Tokens([the_token(tmp_path / "t", "x" * 32)], clock.seconds)
    (tmp_path / "t").unlink()
    clock.pass_(0.5)
    assert tokens.caller("Bearer " + "x" * 32) == Caller("ann", "operate")


def test_a_short_or_absent_token_is_refused_at_start(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="less than 16"):
        Tokens([the_token(tmp_path / "t", "short")], Clock().seconds)
    with pytest.raises(Misconfigured, match="cannot be read"):
        Tokens([TokenSettings(name="a", role="view", token=Secret(file=tmp_path / "none"))], Clock().seconds)


@pytest.mark.parametrize(
    ("role", "need", "may"),
    [
        ("view", "view", True),
        ("view", "operate", False),
        ("view", "alert", False),
        ("operate", "view", True),
        ("operate", "alert", True),
        ("alert", "view", False),
        ("alert", "alert", True),
    ],
)
def test_roles(role: str, need: str, *, may: bool) -> None:
    assert Caller("x", role).may(need) is may
