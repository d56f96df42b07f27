"""The kernel's ring by syslog(2): each record once, however the ring moves on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sliceward.daemons.sources.devices import Devices
from sliceward.daemons.sources.kernel_log import KernelLog, shipped_patterns
from sliceward.daemons.sources.kernel_ring import Ring, whole_ring
from sliceward.topology.errors import Retry
from tests.daemons.sources.builders import TPU7X

if TYPE_CHECKING:
    from collections.abc import Callable


class Kernel:
    """A ring of so many bytes."""

    def __init__(self, size: int = 1 << 20) -> None:
        self.size, self.text, self.said = size, b"", 0

    def log(self, text: str) -> None:
        self.said += 1
        self.text = (self.text + f"<4>[{self.said:5}.000001] {text}\n".encode())[-self.size :]

    def look(self) -> bytes:
        return self.text


@given(st.lists(st.integers(min_value=0, max_value=60), max_size=12))
def test_each_record_is_given_once_while_the_ring_keeps_up(bursts: list[int]) -> None:
    kernel = Kernel(size=4096)
    ring, given_ = Ring(kernel.look), list[str]()
    for burst in bursts:
        for _ in range(burst):
            kernel.log(f"line {kernel.said}")
        given_ += ring.records()
    assert given_ == [f"line {number}" for number in range(kernel.said)]


def test_the_same_words_again_are_another_record() -> None:
    kernel = Kernel()
    ring = Ring(kernel.look)
    for _ in range(3):
        kernel.log("uncorrectable ECC error")
        assert ring.records() == ["uncorrectable ECC error"]
    assert ring.records() == []


def test_a_ring_that_went_round_gives_all_that_it_has() -> None:
    kernel = Kernel(size=300)
    ring = Ring(kernel.look)
    kernel.log("first")
    assert ring.records() == ["first"]
    for number in range(100):
        kernel.log(f"storm {number}")
    assert ring.records()[-1] == "storm 99"
    assert ring.records() == []


def test_without_clocks_the_place_is_known_by_several_lines() -> None:
    said = [b"<4>a\n<4>b\n<4>a\n", b"<4>a\n<4>b\n<4>a\n<4>c\n<4>a\n"]
    ring = Ring(lambda: said.pop(0))
    assert ring.records() == ["a", "b", "a"]
    assert ring.records() == ["c", "a"]


def test_levels_and_clocks_are_no_part_of_the_text() -> None:
    assert Ring(lambda: b"<6>[    1.5] a [b] c\n<3>no clock\n<6>[ 2.0][ T12] \xff\n").records() == [
        "a [b] c",
        "no clock",
        "[ T12] \ufffd",
    ]


def test_this_machines_ring_is_read_or_refused_by_name() -> None:
    try:
        assert isinstance(whole_ring(), bytes)
    except PermissionError as error:
        assert error.strerror  # noqa: PT017 (a kernel may refuse who is not root)


@pytest.fixture
def nobody_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no file open, as a container's device controller does with devices."""
    whole: Callable[..., int] = os.open

    def refused(path: str | Path, flags: int, *more: int, **named: int | None) -> int:
        if str(path).endswith(("null", "kmsg")):
            raise PermissionError(1, "Operation not permitted")
        return whole(path, flags, *more, **named)

    monkeypatch.setattr(os, "open", refused)


@pytest.mark.usefixtures("nobody_opens")
async def test_a_device_that_does_not_open_leaves_the_ring_and_a_file_does_not(tmp_path: Path) -> None:
    kernel, devices = Kernel(), Devices(TPU7X, tmp_path)
    kernel.log("accel accel0: HBM stack 1: uncorrectable ECC error")
    async with KernelLog(TPU7X, devices, Path("/dev/null"), shipped_patterns(), ring=Ring(kernel.look)) as source:
        assert sum((await source.read(0.0)).columns["chip_hbm_uncorrectable_total"]) == 1.0
        assert sum((await source.read(1.0)).columns["chip_hbm_uncorrectable_total"]) == 1.0
        kernel.log("accel accel0: HBM stack 1: uncorrectable ECC error")
        assert sum((await source.read(2.0)).columns["chip_hbm_uncorrectable_total"]) == 2.0
    file = tmp_path / "kmsg"
    file.write_text("", encoding="utf-8")
    async with KernelLog(TPU7X, devices, file, shipped_patterns(), ring=Ring(kernel.look)) as source:
        with pytest.raises(Retry, match="not permitted"):
            await source.read(0.0)
