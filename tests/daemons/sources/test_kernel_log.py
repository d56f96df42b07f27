from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sliceward.daemons.sources.devices import Devices
from sliceward.daemons.sources.kernel_log import KernelLog, read_patterns, shipped_patterns
from sliceward.topology.errors import Misconfigured, Retry
from tests.daemons.sources.builders import TPU7X, a_host, devices_of

if TYPE_CHECKING:
    from pathlib import Path

    from sliceward.daemons.sources.kernel_log import Pattern
    from sliceward.simulation.hosts import SimulatedHost


def a_source(host: SimulatedHost) -> KernelLog:
    devices = devices_of(host)
    devices.look()
    return KernelLog(TPU7X, devices, host.folder / "dev/kmsg", shipped_patterns())


async def test_memory_errors_are_counted_by_the_chip_whose_address_they_name(tmp_path: Path) -> None:
    async with a_host(tmp_path) as host, a_source(host) as source:
        host.memory_errors(2, 3)
        host.memory_errors(1, 2, uncorrectable=False)
        host.log("accel accel0: HBM stack 1: uncorrectable ECC error")
        host.log("usb 1-1: new device")
        reading = await source.read(0.0)
        assert reading.columns["chip_hbm_uncorrectable_total"] == [1.0, 0.0, 3.0, 0.0]
        assert reading.columns["chip_hbm_correctable_total"] == [0.0, 2.0, 0.0, 0.0]
        assert "0000:00:05.0" in reading.notes["kernel/hbm_correctable"]
        host.memory_errors(2)
        assert (await source.read(1.0)).columns["chip_hbm_uncorrectable_total"][2] == 4.0


async def test_a_line_that_came_before_sysfs_showed_all_chips_is_counted_later(tmp_path: Path) -> None:
    async with a_host(tmp_path) as host:
        source = KernelLog(TPU7X, devices_of(host), host.folder / "dev/kmsg", shipped_patterns())
        async with source:
            hidden = (tmp_path / "sys/bus/pci/devices/0000:00:07.0").rename(tmp_path / "hidden")
            host.memory_errors(2)
            assert (await source.read(0.0)).columns["chip_hbm_uncorrectable_total"] == [0.0] * 4
            hidden.rename(tmp_path / "sys/bus/pci/devices/0000:00:07.0")
            assert (await source.read(1.0)).columns["chip_hbm_uncorrectable_total"] == [0.0, 0.0, 1.0, 0.0]


async def test_a_new_log_after_a_boot_is_read_from_its_beginning(tmp_path: Path) -> None:
    async with a_host(tmp_path) as host, a_source(host) as source:
        host.log("watchdog: BUG: soft lockup - CPU#7 stuck for 22s!")
        await source.read(0.0)
        await host.repair(boot_id="b00t-2")
        host.log("watchdog: BUG: soft lockup - CPU#8 stuck for 22s!")
        assert (await source.read(1.0)).columns["host_kernel_faults_total"] == [2.0]


async def test_half_a_line_waits_for_its_other_half(tmp_path: Path) -> None:
    log = tmp_path / "kmsg"
    log.write_text("3,1,1,-;watchdog: BUG: soft lock")
    async with KernelLog(TPU7X, Devices(TPU7X, tmp_path), log, shipped_patterns()) as source:
        assert (await source.read(0.0)).columns["host_kernel_faults_total"] == [0.0]
        with log.open("a") as more:
            more.write("up - CPU#7 stuck for 22s!\n KEY=value\n\xff\n")
        assert (await source.read(1.0)).columns["host_kernel_faults_total"] == [1.0]


async def test_a_log_that_is_not_there_is_no_reading(tmp_path: Path) -> None:
    async with KernelLog(TPU7X, Devices(TPU7X, tmp_path), tmp_path / "kmsg", shipped_patterns()) as source:
        with pytest.raises(Retry, match="cannot be read"):
            await source.read(0.0)


@pytest.mark.parametrize("pattern", shipped_patterns(), ids=lambda pattern: pattern.name)
def test_each_pattern_is_the_first_that_takes_its_example(pattern: Pattern) -> None:
    first = next(one for one in shipped_patterns() if one.pattern.search(pattern.example))
    assert first == pattern


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("patterns: [{name: a}]", "is not a list of patterns", id="keys are missing"),
        pytest.param("{", "is not a list of patterns", id="no YAML"),
        pytest.param("patterns: [{name: a, metric: host_step, pattern: x, example: x}]", "no counter", id="no counter"),
        pytest.param(
            "patterns: [{name: a, metric: host_kernel_faults_total, pattern: '(', example: x}]", "expression", id="no expression"
        ),
        pytest.param(
            "patterns: [{name: a, metric: chip_hbm_correctable_total, pattern: x, example: x}]", "is of a chip", id="no capture"
        ),
        pytest.param(
            "patterns: [{name: a, metric: host_kernel_faults_total, pattern: x, example: y}]", "own example", id="no match"
        ),
    ],
)
def test_patterns_that_cannot_work_are_refused(text: str, why: str) -> None:
    with pytest.raises(Misconfigured, match=why):
        read_patterns(text, where="mine.yaml")
