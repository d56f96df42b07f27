"""Which series is about which chip, whatever is missing and however the devices are numbered."""

from __future__ import annotations

import pytest

from sliceward.daemons.watcher.roster import Build, Roster, places

FOUR, EIGHT_DEVICES = Build(4, 1), Build(4, 2)


@pytest.mark.parametrize(
    ("devices", "build", "per_device", "chips"),
    [
        pytest.param("0 1 2 3", FOUR, False, {"0": 0, "1": 1, "2": 2, "3": 3}, id="all chips"),
        pytest.param("0 2 4 6", FOUR, False, {"0": 0, "2": 1, "4": 2, "6": 3}, id="every second number is a chip"),
        pytest.param("0 1 3", FOUR, False, {"0": 0, "1": 1, "3": 3}, id="a missing chip moves nobody"),
        pytest.param("0 4 6", FOUR, False, {"0": 0}, id="a number beyond the chips is not guessed at"),
        pytest.param("0 1 2 3 4 5 6 7", EIGHT_DEVICES, True, {str(n): n // 2 for n in range(8)}, id="two devices a chip"),
        pytest.param("0 1 2 3 6 7", EIGHT_DEVICES, True, {"0": 0, "1": 0, "2": 1, "3": 1, "6": 3, "7": 3}, id="both are gone"),
        pytest.param("9 10", Build(0), False, {"9": 9, "10": 10}, id="nobody knows how many there are"),
        pytest.param("a b c d", FOUR, False, {"a": 0, "b": 1, "c": 2, "d": 3}, id="names, all of them"),
        pytest.param("a c", FOUR, False, {}, id="names, some of them"),
        pytest.param("b a", Build(0), False, {"a": 0, "b": 1}, id="names, of as many as there are"),
    ],
)
def test_a_device_is_placed_by_order_once_all_are_known_else_by_number(
    devices: str, build: Build, *, per_device: bool, chips: dict[str, int]
) -> None:
    assert places(devices.split(), build, per_device=per_device) == chips


def test_a_device_that_was_seen_once_keeps_its_place() -> None:
    roster = Roster("77")
    assert roster.place("duty", ["0", "2", "4", "6"], FOUR, per_device=False)["4"] == 2
    assert roster.place("duty", ["0", "4", "6"], FOUR, per_device=False)["4"] == 2
    assert roster.chips == {0, 1, 2, 3}
