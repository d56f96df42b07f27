from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from sliceward.daemons.serving import serving
from sliceward.daemons.sources.device_plugin import DevicePlugin, columns_in
from sliceward.topology.errors import Retry
from tests.daemons.sources.builders import TPU7X, a_host

if TYPE_CHECKING:
    from pathlib import Path

URL = "http://127.121.0.1:2112/metrics"
LINE = 'duty_cycle_node{{make="cloud-tpu",accelerator_id="77-{0}",model="tpu7x",tpu_topology=""}} {1}'


async def test_the_node_series_are_read_also_without_a_workload(tmp_path: Path) -> None:
    async with a_host(tmp_path) as host, DevicePlugin(TPU7X, URL) as source:
        host.set_missing(2, missing=True)
        reading = await source.read(0.0)
    assert reading.columns["chip_tensorcore_percent"][0] == 0.0
    assert set(reading.columns) >= {"chip_hbm_total_bytes", "chip_duty_cycle_percent", "chip_hbm_bandwidth_percent"}


async def test_a_closed_port_is_no_reading() -> None:
    async with DevicePlugin(TPU7X, "http://127.121.0.9:2112/metrics") as source:
        with pytest.raises(Retry, match="does not answer"):
            await source.read(0.0)


@pytest.mark.parametrize(("status", "text"), [(500, "answers 500"), (200, "more than")])
async def test_an_error_page_or_an_endless_one_is_no_reading(status: int, text: str) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status, body=b"#" * (5 << 20))

    app = web.Application()
    app.add_routes([web.get("/metrics", answer)])
    async with serving(app, host="127.0.0.1", port=0) as port, DevicePlugin(TPU7X, f"http://127.0.0.1:{port}/metrics") as source:
        with pytest.raises(Retry, match=text):
            await source.read(0.0)


def test_only_our_series_are_parsed_and_ids_end_in_the_device() -> None:
    text = "\n".join(["# HELP x", "garbage that is not ours {{{", *(LINE.format(n, n * 10) for n in range(4))])
    assert columns_in(text, TPU7X)["chip_duty_cycle_percent"] == [0.0, 10.0, 20.0, 30.0]


def test_a_value_that_is_no_number_is_missing() -> None:
    found = columns_in(LINE.format(1, "NaN") + "\n" + LINE.format(2, 5), TPU7X)["chip_duty_cycle_percent"]
    assert math.isnan(found[1])
    assert found[2] == 5.0


@pytest.mark.parametrize("value", ["many", "1" * 400])
def test_a_broken_line_of_ours_is_no_reading(value: str) -> None:
    with pytest.raises(Retry, match="cannot be read"):
        columns_in(f'duty_cycle_node{{accelerator_id="77-1"}} {value}', TPU7X)


@pytest.mark.parametrize(
    "text",
    ["\n".join(LINE.format(n, 1) for n in range(5000)), LINE.format(1, 1).replace("cloud-tpu", "x" * 5000)],
    ids=["more than any host has", "one without end"],
)
def test_series_that_would_take_long_to_read_are_not_read(text: str) -> None:
    with pytest.raises(Retry, match="more than"):
        columns_in(text, TPU7X)
