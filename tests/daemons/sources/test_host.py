from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from sliceward.daemons.sources.devices import Devices
from sliceward.daemons.sources.host import Host
from sliceward.topology.errors import Retry
from tests.daemons.sources.builders import TPU7X, a_host, devices_of

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_healthy_host_shows_its_chips_and_no_errors(tmp_path: Path) -> None:
    async with a_host(tmp_path) as host:
        reading = await Host(TPU7X, devices_of(host)).read(0.0)
    assert reading.columns["chip_present"] == [1.0] * 4
    assert reading.columns["chip_pcie_aer_correctable_total"] == [0.0] * 4
    assert reading.columns["host_edac_uncorrectable_total"] == [0.0]
    assert 0 < reading.columns["host_memory_percent"][0] < 100


async def test_a_lost_chip_leaves_a_hole_and_renumbers_nobody(tmp_path: Path) -> None:
    async with a_host(tmp_path) as host:
        source = Host(TPU7X, devices_of(host))
        await source.read(0.0)
        host.set_missing(1, missing=True)
        assert (await source.read(1.0)).columns["chip_present"] == [1.0, 0.0, 1.0, 1.0]


async def test_pcie_errors_are_counted_by_chip(tmp_path: Path) -> None:
    async with a_host(tmp_path) as host:
        host.state.aer_correctable[3] = 12
        host.set_missing(0, missing=False)  # writes the files anew
        reading = await Host(TPU7X, devices_of(host)).read(0.0)
    assert reading.columns["chip_pcie_aer_correctable_total"] == [0.0, 0.0, 0.0, 12.0]


async def test_cpu_is_that_since_the_reading_before(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    source = Host(TPU7X, Devices(TPU7X, tmp_path))
    (tmp_path / "proc/stat").write_text("cpu  100 0 0 900 0 0 0 0 0 0\n")
    assert math.isnan((await source.read(0.0)).columns["host_cpu_percent"][0])
    (tmp_path / "proc/stat").write_text("cpu  130 0 0 960 10 0 0 0 0 0\n")
    assert (await source.read(1.0)).columns["host_cpu_percent"] == pytest.approx([30.0])


async def test_what_the_kernel_does_not_tell_is_missing_and_not_zero(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    columns = (await Host(TPU7X, Devices(TPU7X, tmp_path)).read(0.0)).columns
    for metric in ("host_cpu_percent", "host_memory_percent", "host_edac_correctable_total", "chip_pcie_aer_fatal_total"):
        assert all(math.isnan(value) for value in columns[metric]), metric


async def test_a_root_folder_that_is_not_mounted_is_no_reading(tmp_path: Path) -> None:
    with pytest.raises(Retry, match="mounted"):
        await Host(TPU7X, Devices(TPU7X, tmp_path)).read(0.0)
