"""libtpu's runtime metric service in the terms of this project: names asked for, answers as plain values.

Service ``tpu.monitoring.runtime.RuntimeMetricService`` with the protobufs of PyPI's ``tpu-info``. Where a device's number
stands differs by metric: memory and duty cycle have it in ``attribute.value.int_attr``, HLO metrics in a key-value list
entry ``device_ordinal`` (an int in older libtpu, text in newer).
"""

from __future__ import annotations

import math
from typing import Any

from tpu_info.proto import tpu_metric_service_pb2 as pb

from sliceward.daemons.sources.distributions import Distribution

SERVICE = "/tpu.monitoring.runtime.RuntimeMetricService/"
MEMORY_USED = "tpu.runtime.hbm.memory.usage.bytes"
MEMORY_TOTAL = "tpu.runtime.hbm.memory.total.bytes"
DUTY_CYCLE = "tpu.runtime.tensorcore.dutycycle.percent"
BANDWIDTH = "tpu.runtime.hbm.utilization.percent"
IDLE = "tpu.runtime.tensorcore.idle_duration.seconds"
QUEUE = "hlo.queue.size.gauge"
EXECUTION = "hlo.execution.timing.distribution.microseconds"
SLICE_ERROR = "slice.error.detected.gauge"
MEGASCALE_ERROR = "megascale.error.detected.gauge"
_MOST_BUCKETS = 10_000
ASKED = (MEMORY_USED, MEMORY_TOTAL, DUTY_CYCLE, BANDWIDTH, IDLE, QUEUE, EXECUTION, SLICE_ERROR, MEGASCALE_ERROR)


def list_request() -> Any:  # noqa: ANN401 (protobufs without types, here and below)
    """Give the request for the names of all metrics."""
    return pb.ListSupportedMetricsRequest()


def names_in(answer: Any) -> frozenset[str]:  # noqa: ANN401 (generated protobufs have no types)
    """Give the names that the process offers."""
    return frozenset(metric.metric_name for metric in answer.supported_metric)


def metric_request(name: str) -> Any:  # noqa: ANN401 (generated protobufs have no types)
    """Give the request for one metric."""
    return pb.MetricRequest(metric_name=name)


serialize_request = pb.MetricRequest.SerializeToString
read_answer = pb.MetricResponse.FromString
serialize_list_request = pb.ListSupportedMetricsRequest.SerializeToString
read_list_answer = pb.ListSupportedMetricsResponse.FromString


def values_by_device(answer: Any) -> dict[int, float]:  # noqa: ANN401 (generated protobufs have no types)
    """Give device number -> value of a gauge; devices without a number are numbered as they come."""
    found: dict[int, float] = {}
    for place, metric in enumerate(answer.metric.metrics):
        device = device_of(metric.attribute)
        found[place if device is None else device] = gauge_of(metric)
    return found


def device_of(attribute: Any) -> int | None:  # noqa: ANN401 (generated protobufs have no types)
    """Give the device's number wherever this metric keeps it."""
    value = attribute.value
    match value.WhichOneof("attr"):
        case "int_attr":
            return int(value.int_attr)
        case "kvlist_attr":
            text = attributes_of(attribute).get("device_ordinal", "")
            return int(text) if text.isdecimal() else None
        case _:
            return None


def attributes_of(attribute: Any) -> dict[str, str]:  # noqa: ANN401 (generated protobufs have no types)
    """Give the key-value list of a metric as text, also where there is a single key."""
    value = attribute.value
    if value.WhichOneof("attr") == "kvlist_attr":
        return {entry.key: _text(entry.value) for entry in value.kvlist_attr.attributes}
    return {attribute.key: _text(value)} if attribute.key else {}


def _text(value: Any) -> str:  # noqa: ANN401 (generated protobufs have no types)
    which = value.WhichOneof("attr")
    return "" if which is None else str(getattr(value, which))[:1000]


def gauge_of(metric: Any) -> float:  # noqa: ANN401 (generated protobufs have no types)
    """Give the number of a gauge or counter, NaN where it is none."""
    measure = metric.WhichOneof("measure")
    if measure not in ("gauge", "counter"):
        return math.nan
    value = getattr(metric, measure)
    which = next((field.name for field, _ in value.ListFields() if field.name.startswith("as_")), None)
    if which is None:
        return 0.0  # proto3 leaves out a zero only where the field has no presence
    try:
        return float(getattr(value, which))
    except ValueError:
        return math.nan


def distributions_of(answer: Any) -> list[Distribution]:  # noqa: ANN401 (generated protobufs have no types)
    """Give the exponential distributions of an answer, one a core."""
    found = list[Distribution]()
    for metric in answer.metric.metrics:
        one = metric.distribution
        options = one.bucket_options.exponential_buckets
        if metric.WhichOneof("measure") == "distribution" and options.growth_factor > 1:
            # Empty buckets at the end are left off; the last of all is the one without an upper bound, and must stay the last.
            full = min(options.num_finite_buckets, _MOST_BUCKETS) + 2
            buckets = tuple(one.bucket_counts) + (0,) * (full - len(one.bucket_counts))
            found.append(Distribution(one.count, one.mean * one.count, buckets, options.growth_factor, options.scale))
    return found
