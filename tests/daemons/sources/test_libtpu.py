from __future__ import annotations

import asyncio
import math
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest
from tpu_info.proto import tpu_metric_service_pb2 as pb

from sliceward.daemons.sources import libtpu_wire as wire
from sliceward.daemons.sources.catalog import metrics_ports, pod_targets
from sliceward.daemons.sources.folding import folded
from sliceward.daemons.sources.libtpu import Libtpu
from sliceward.daemons.sources.pods import Node, PodsOnNode, TpuPod
from sliceward.detectors.metrics import CATALOGUE, Statistic
from sliceward.simulation.hosts.megascale import exponential
from sliceward.topology.errors import Misconfigured, Retry
from tests.daemons.sources.builders import TPU7X, a_host, a_job

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

ADDRESS = "127.121.0.1"


def a_source(*targets: str, ports: tuple[int, ...] = (8431,)) -> Libtpu:
    return Libtpu(TPU7X, lambda: targets, ports, patience=10.0, timeout=20.0)


async def test_a_running_job_tells_memory_by_chip_and_duty_cycle(tmp_path: Path) -> None:
    async with a_host(tmp_path) as host, a_source(ADDRESS, ports=(8431, 8432)) as source:
        await host.start_job(a_job())
        host.step(7)
        reading = await source.read(100.0)
    assert reading.columns["chip_hbm_total_bytes"] == [192 * 2**30] * 4
    assert reading.columns["chip_duty_cycle_percent"] == [93.0] * 4
    assert reading.columns["host_hlo_queue_size"] == [1.0]
    assert reading.columns["host_slice_error"] == [0.0]
    assert "host_hlo_execution_mean_us" not in reading.columns


async def test_execution_times_are_those_since_the_reading_before(tmp_path: Path) -> None:
    async with a_host(tmp_path) as host, a_source(ADDRESS) as source:
        await host.start_job(a_job())
        host.step(7)
        await source.read(100.0)
        host.step(8)
        reading = await source.read(110.0)
    assert 2048 <= reading.columns["host_hlo_execution_p50_us"][0] <= 4096
    assert reading.columns["host_hlo_execution_p99_us"][0] > reading.columns["host_hlo_execution_p50_us"][0]


async def test_a_multislice_job_tells_times_rates_and_sizes_between_its_slices(tmp_path: Path) -> None:
    async with a_host(tmp_path) as host, a_source(ADDRESS) as source:
        await host.start_job(replace(a_job(), slices=2))
        host.step(7)
        first = await source.read(100.0)
        host.step(8)
        columns = (await source.read(110.0)).columns
    distributed = {metric.name for metric in CATALOGUE.values() if metric.statistic is not None}
    assert distributed & first.columns.keys() == set()
    assert distributed - columns.keys() == set()
    for times in ("dcn_transfer", "dcn_inbound_transfer", "collective", "host_to_device", "grpc_client_call", "tcp_min_rtt"):
        mean, p50, p99 = (columns[f"host_megascale_{times}_{statistic}_us"][0] for statistic in Statistic)
        assert 50 < p50 < mean < p99 < 100_000, times
    assert 1_000 < columns["host_megascale_tcp_delivery_p50_mbps"][0] < 100_000
    assert 2**20 < columns["host_megascale_dcn_transfer_mean_bytes"][0] < 2**24


async def test_a_job_of_one_slice_tells_nothing_of_megascale(tmp_path: Path) -> None:
    async with a_host(tmp_path) as host, a_source(ADDRESS) as source:
        await host.start_job(a_job())
        host.step(7)
        await source.read(100.0)
        host.step(8)
        columns = (await source.read(110.0)).columns
    assert "host_hlo_execution_p50_us" in columns
    assert [name for name in columns if "megascale" in name] == []


async def test_a_slice_error_is_read_with_its_text(tmp_path: Path) -> None:
    async with a_host(tmp_path) as host, a_source(ADDRESS) as source:
        await host.start_job(a_job())
        host.state.slice_error = "SLICE_FAILURE_CHIP_DRIVER_ERROR"
        reading = await source.read(100.0)
    assert reading.columns["host_slice_error"] == [1.0]
    assert "error_message=SLICE_FAILURE_CHIP_DRIVER_ERROR" in reading.notes["slice_error"]


async def test_no_workload_is_no_reading_and_the_next_workload_is_found(tmp_path: Path) -> None:
    async with a_host(tmp_path) as host, a_source(ADDRESS) as source:
        with pytest.raises(Retry, match=r"UNAVAILABLE|did not answer"):
            await source.read(100.0)
        await host.start_job(a_job())
        for _ in range(40):
            try:
                reading = await source.read(101.0)
                break
            except Retry:
                await asyncio.sleep(0.05)
        assert reading.columns["chip_hbm_used_bytes"][0] > 0


async def test_no_pods_are_no_reading() -> None:
    async with a_source() as source:
        with pytest.raises(Retry, match="no TPU pod"):
            await source.read(100.0)


class Silent(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in its stubs, not at run time
    """A service that takes every call and answers none."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:  # noqa: ANN401, ARG002 (a handler of gRPC, that looks at no call)
        async def never(_request: bytes, _context: object) -> bytes:
            await asyncio.Event().wait()
            return b""

        return grpc.unary_unary_rpc_method_handler(never)


async def test_a_pod_that_hangs_costs_its_time_out_and_no_more() -> None:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Silent(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    source = Libtpu(TPU7X, lambda: ("127.0.0.1",), (port, port), patience=0.1)
    try:
        async with source:
            with pytest.raises(Retry, match=r"did not answer in 0\.1 s"):
                await source.read(100.0)
    finally:
        await server.stop(None)


async def test_a_pod_that_hangs_does_not_cost_the_reading_of_the_next(tmp_path: Path) -> None:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Silent(),))
    server.add_insecure_port("127.121.0.9:8431")
    await server.start()
    source = Libtpu(TPU7X, lambda: ("127.121.0.9", ADDRESS), (8431,), patience=2.0)
    try:
        async with a_host(tmp_path) as host, source:
            await host.start_job(a_job())
            reading = await source.read(100.0)
    finally:
        await server.stop(None)
    assert reading.columns["chip_hbm_total_bytes"] == [192 * 2**30] * 4


DCN = "megascale.dcn_transfer_latencies.microsecond.cumulative.distribution"
RATE = "megascale.grpc_tcp_delivery_rate.Mbps.cumulative.distribution"


@dataclass
class Told(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # as above
    """A process that offers ``metrics``: answers, or the codes by which it refuses. ``asked``: what it was asked for."""

    metrics: Mapping[str, pb.MetricResponse | grpc.StatusCode]
    asked: list[str] = field(default_factory=list)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:  # noqa: ANN401 (a handler of gRPC)
        async def answer(payload: bytes, context: Any) -> bytes:  # noqa: ANN401 (gRPC gives it no type)
            if str(handler_call_details.method).endswith("ListSupportedMetrics"):
                names = [pb.SupportedMetric(metric_name=name) for name in self.metrics]
                return bytes(pb.ListSupportedMetricsResponse(supported_metric=names).SerializeToString())
            name = pb.MetricRequest.FromString(payload).metric_name
            self.asked.append(name)
            told = self.metrics[name]
            if isinstance(told, grpc.StatusCode):
                await context.abort(told)
                return b""
            return bytes(told.SerializeToString())

        return grpc.unary_unary_rpc_method_handler(answer)


@asynccontextmanager
async def processes(*told: Told) -> AsyncIterator[Libtpu]:
    """Let several processes of one pod answer, each on a port of its own, and give the source that asks them."""
    servers, ports = [grpc.aio.server() for _ in told], list[int]()
    for server, handler in zip(servers, told, strict=True):
        server.add_generic_rpc_handlers((handler,))
        ports.append(server.add_insecure_port("127.0.0.1:0"))
        await server.start()
    try:
        async with Libtpu(TPU7X, lambda: ("127.0.0.1",), tuple(ports), patience=10.0, timeout=20.0) as source:
            yield source
    finally:
        for server in servers:
            await server.stop(None)


def memory() -> pb.MetricResponse:
    answer = pb.MetricResponse()
    answer.metric.metrics.add().gauge.as_int = 1
    return answer


def samples(*series: Mapping[int, int]) -> pb.MetricResponse:
    """Give a distribution a series: how many samples lie in which bucket."""
    answer = pb.MetricResponse()
    for counts in series:
        exponential(answer.metric.metrics.add().distribution, counts)
    return answer


async def test_only_what_is_offered_is_asked_for() -> None:
    told = Told({wire.MEMORY_USED: memory(), DCN: samples({4: 1}), "megascale.of.a.later.version": samples({4: 1})})
    async with processes(told) as source:
        await source.read(100.0)
        await source.read(110.0)
    assert sorted(told.asked) == sorted([wire.MEMORY_USED, DCN] * 2)


@pytest.mark.parametrize("code", [grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNAVAILABLE])
async def test_a_megascale_metric_that_is_not_there_does_not_cost_the_others(code: grpc.StatusCode) -> None:
    async with processes(Told({wire.MEMORY_USED: memory(), DCN: code})) as source:
        reading = await source.read(100.0)
    assert reading.columns["chip_hbm_used_bytes"][0] == 1.0


async def test_a_process_that_is_unavailable_for_more_than_megascale_is_no_reading() -> None:
    async with processes(Told({wire.MEMORY_USED: grpc.StatusCode.UNAVAILABLE, DCN: samples({4: 1})})) as source:
        with pytest.raises(Retry, match="UNAVAILABLE"):
            await source.read(100.0)


async def test_sizes_of_buffers_are_taken_together_and_only_what_is_new_of_each_counts() -> None:
    metrics = {DCN: samples({4: 1000})}
    async with processes(Told(metrics)) as source:
        await source.read(100.0)
        metrics[DCN] = samples({4: 1030}, {9: 10})
        columns = (await source.read(110.0)).columns
    assert columns["host_megascale_dcn_transfer_mean_us"] == pytest.approx([(30 * 12 + 10 * 384) / 40])
    assert 8 <= columns["host_megascale_dcn_transfer_p50_us"][0] <= 16
    assert 256 <= columns["host_megascale_dcn_transfer_p99_us"][0] <= 512


async def test_of_two_processes_on_a_host_the_worse_counts() -> None:
    one, other = ({DCN: samples({}), RATE: samples({})} for _ in range(2))
    async with processes(Told(one), Told(other)) as source:
        await source.read(100.0)
        one |= {DCN: samples({9: 10}), RATE: samples({14: 10})}
        other |= {DCN: samples({4: 10}), RATE: samples({8: 10})}
        columns = (await source.read(110.0)).columns
    assert columns["host_megascale_dcn_transfer_mean_us"] == [384.0]
    assert columns["host_megascale_tcp_delivery_mean_mbps"] == [192.0]


@pytest.mark.parametrize(
    ("values", "per_device", "add", "wanted"),
    [
        pytest.param(dict.fromkeys(range(8), 10.0), True, True, [20.0] * 4, id="memory of two devices a chip adds up"),
        pytest.param({0: 1.0, 1: 2.0, 2: 3.0, 3: 4.0}, False, False, [1.0, 2.0, 3.0, 4.0], id="duty cycle by chip"),
        pytest.param({0: 1.0, 2: 2.0, 4: 3.0, 6: 4.0}, False, False, [1.0, 2.0, 3.0, 4.0], id="duty cycle by first device"),
        pytest.param({n: float(n) for n in range(8)}, False, False, [1.0, 3.0, 5.0, 7.0], id="duty cycle by device"),
        pytest.param({2: 5.0}, True, True, [math.nan, 5.0, math.nan, math.nan], id="a process that holds one device"),
        pytest.param({}, True, True, [math.nan] * 4, id="nothing"),
        pytest.param({99: 5.0}, True, True, [math.nan] * 4, id="a device that is not there"),
    ],
)
def test_devices_are_folded_to_chips(values: dict[int, float], *, per_device: bool, add: bool, wanted: list[float]) -> None:
    found = folded(values, chips=4, devices=2, per_device=per_device, add=add)
    assert found == pytest.approx(wanted, nan_ok=True)


def test_a_device_number_is_found_wherever_the_metric_keeps_it() -> None:
    plain, older, newer = pb.Attribute(), pb.Attribute(), pb.Attribute()
    plain.value.int_attr = 3
    for attribute, value in ((older, 5), (newer, "6")):
        entry = attribute.value.kvlist_attr.attributes.add()
        entry.key = "device_ordinal"
        if isinstance(value, int):
            entry.value.int_attr = value
        else:
            entry.value.string_attr = value
    assert [wire.device_of(attribute) for attribute in (plain, older, newer, pb.Attribute())] == [3, 5, 6, None]


def test_ports_are_one_a_device_unless_the_environment_says_otherwise() -> None:
    assert metrics_ports(TPU7X, {}) == tuple(range(8431, 8439))
    assert metrics_ports(TPU7X, {"TPU_RUNTIME_METRICS_PORTS": "8431,8440"}) == (8431, 8440)
    with pytest.raises(Misconfigured, match="TPU_RUNTIME_METRICS_PORTS"):
        metrics_ports(TPU7X, {"TPU_RUNTIME_METRICS_PORTS": "all"})


def test_a_pod_on_the_hosts_network_is_asked_on_localhost() -> None:
    pods = (
        TpuPod("1", "ml", "a", "10.0.0.7", host_network=False, seat=None),
        TpuPod("2", "ml", "b", "10.0.0.1", host_network=True, seat=None),
        TpuPod("3", "ml", "c", "", host_network=False, seat=None),
    )
    assert pod_targets(Node(PodsOnNode(0, pods))) == ("10.0.0.7", "localhost")
    assert pod_targets(Node()) == ()
