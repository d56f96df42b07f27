"""libtpu's runtime metric service as a simulated host serves it: the real protobufs, answers made of the host's state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from tpu_info.proto import tpu_metric_service_pb2 as pb

from sliceward.simulation.hosts.megascale import MEGASCALE, exponential

if TYPE_CHECKING:
    from collections.abc import Callable

    from sliceward.simulation.hosts.state import HostState

_NAME = "tpu.monitoring.runtime.RuntimeMetricService"
_EXECUTIONS_A_STEP = 8
_EXECUTION_BUCKET = 12


class RuntimeMetrics:
    """The door on port 8431: open while a job runs, closed (connection refused) otherwise."""

    def __init__(self, state: HostState, address: str, port: int, clock: Callable[[], float]) -> None:
        """``clock`` gives unix seconds, by which idle time is told."""
        self._state, self._address, self._port, self._clock = state, address, port, clock
        self._server: grpc.aio.Server | None = None

    async def open(self) -> None:
        """Begin to serve."""
        server = grpc.aio.server(options=(("grpc.so_reuseport", 0), ("grpc.max_concurrent_streams", 32)))
        handlers = {
            "ListSupportedMetrics": grpc.unary_unary_rpc_method_handler(
                self._list, pb.ListSupportedMetricsRequest.FromString, pb.ListSupportedMetricsResponse.SerializeToString
            ),
            "GetRuntimeMetric": grpc.unary_unary_rpc_method_handler(
                self._get, pb.MetricRequest.FromString, pb.MetricResponse.SerializeToString
            ),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_NAME, handlers),))
        server.add_insecure_port(f"{self._address}:{self._port}")
        await server.start()
        self._server = server

    async def close(self) -> None:
        """Stop serving, as when the workload's process ends."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(None)

    async def _list(self, _request: Any, _context: Any) -> Any:  # noqa: ANN401 (protobufs without types)
        names = (*_METRICS, *(MEGASCALE if _is_multislice(self._state) else ()))
        return pb.ListSupportedMetricsResponse(supported_metric=[pb.SupportedMetric(metric_name=name) for name in names])

    async def _get(self, request: Any, context: Any) -> Any:  # noqa: ANN401 (as above)
        name = request.metric_name
        make = _megascale if name in MEGASCALE and _is_multislice(self._state) else _METRICS.get(name)
        if make is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no metric {name}")
            return None
        answer = pb.MetricResponse()
        answer.metric.name = name
        make(answer.metric, self._state, self._clock())
        return answer


def _is_multislice(state: HostState) -> bool:
    return state.job is not None and state.job.slices > 1


def _used(metric: Any, state: HostState, _now: float) -> None:  # noqa: ANN401 (as above, down to the end)
    _per_device(metric, state, lambda chip: state.hbm_bytes(chip)[0])


def _total(metric: Any, state: HostState, _now: float) -> None:  # noqa: ANN401 (generated protobufs have no types)
    _per_device(metric, state, lambda chip: state.hbm_bytes(chip)[1])


def _per_device(metric: Any, state: HostState, value: Callable[[int], int]) -> None:  # noqa: ANN401 (generated protobufs have no types)
    """Add one gauge a device: memory counts devices, of which a tpu7x chip has two."""
    devices = state.generation.devices_a_chip
    for device in range(state.chips * devices):
        if device // devices not in state.missing:
            one = metric.metrics.add()
            one.attribute.key = "device-id"
            one.attribute.value.int_attr = device
            one.gauge.as_int = value(device // devices) // devices


def _duty(metric: Any, state: HostState, _now: float) -> None:  # noqa: ANN401 (generated protobufs have no types)
    _per_chip(metric, state, state.duty_cycle)


def _bandwidth(metric: Any, state: HostState, _now: float) -> None:  # noqa: ANN401 (generated protobufs have no types)
    _per_chip(metric, state, lambda chip: 0.0 if state.is_stuck else state.duty_cycle(chip) * 0.6)


def _idle(metric: Any, state: HostState, now: float) -> None:  # noqa: ANN401 (generated protobufs have no types)
    job = state.job
    idle = 0.0 if job is None or job.step is None or state.is_stuck else max(0.0, now - job.stepped)
    _per_chip(metric, state, lambda _chip: idle)


def _per_chip(metric: Any, state: HostState, value: Callable[[int], float]) -> None:  # noqa: ANN401 (generated protobufs have no types)
    for chip in range(state.chips):
        if chip not in state.missing:
            one = metric.metrics.add()
            one.attribute.key = "device-id"
            one.attribute.value.int_attr = chip
            one.gauge.as_double = value(chip)


def _queue(metric: Any, state: HostState, _now: float) -> None:  # noqa: ANN401 (generated protobufs have no types)
    one = metric.metrics.add()
    _ordinal(one)
    one.gauge.as_int = 3 if state.is_stuck else 1


def _execution(metric: Any, state: HostState, _now: float) -> None:  # noqa: ANN401 (generated protobufs have no types)
    one = metric.metrics.add()
    _ordinal(one)
    exponential(one.distribution, {_EXECUTION_BUCKET: _steps(state) * _EXECUTIONS_A_STEP})


def _megascale(metric: Any, state: HostState, _now: float) -> None:  # noqa: ANN401 (generated protobufs have no types)
    MEGASCALE[metric.name].serve(metric, _steps(state))


def _steps(state: HostState) -> int:
    return state.job.steps if state.job is not None else 0


def _ordinal(metric: Any) -> None:  # noqa: ANN401 (generated protobufs have no types)
    for key, text in (("core_type", "tensorcore"), ("device_ordinal", "0")):
        entry = metric.attribute.value.kvlist_attr.attributes.add()
        entry.key, entry.value.string_attr = key, text


def _slice_error(metric: Any, state: HostState, _now: float) -> None:  # noqa: ANN401 (generated protobufs have no types)
    if not state.slice_error:
        return
    one = metric.metrics.add()
    told = {"error_message": state.slice_error, "session_id": "1", "type": state.generation.label, "topology": "4x4x4"}
    for key, text in told.items():
        entry = one.attribute.value.kvlist_attr.attributes.add()
        entry.key, entry.value.string_attr = key, text
    one.gauge.as_int = 1


_METRICS: dict[str, Callable[[Any, HostState, float], None]] = {
    "tpu.runtime.hbm.memory.usage.bytes": _used,
    "tpu.runtime.hbm.memory.total.bytes": _total,
    "tpu.runtime.tensorcore.dutycycle.percent": _duty,
    "tpu.runtime.hbm.utilization.percent": _bandwidth,
    "tpu.runtime.tensorcore.idle_duration.seconds": _idle,
    "hlo.queue.size.gauge": _queue,
    "hlo.execution.timing.distribution.microseconds": _execution,
    "slice.error.detected.gauge": _slice_error,
}
