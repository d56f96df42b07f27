"""What Megascale measures between the slices of a simulated job: cumulative distributions, a hundred samples a step each.

Nobody has published what these look like on a fleet. Middles and spreads are ours: plausible, the same for each host, and
wide enough that mean, median and 99th percentile differ.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_BUCKETS, _GROWTH, _SCALE = 36, 2.0, 1.0
# Samples of a step by distance from the bucket in the middle.
_SAMPLES = {-1: 20, 0: 60, 1: 16, 2: 4}


@dataclass(frozen=True, slots=True)
class Samples:
    """``middle``: the bucket that holds the median, 2**(middle - 1) to 2**middle. ``series``: attributes, and buckets above it."""

    middle: int
    series: tuple[tuple[Mapping[str, str], int], ...] = field(default=(({}, 0),))

    def serve(self, metric: Any, steps: int) -> None:  # noqa: ANN401 (protobufs without types)
        """Add the distributions after so many steps of the job."""
        for attributes, above in self.series:
            one = metric.metrics.add()
            for key, text in attributes.items():
                entry = one.attribute.value.kvlist_attr.attributes.add()
                entry.key, entry.value.string_attr = key, text
            exponential(one.distribution, {self.middle + above + off: steps * count for off, count in _SAMPLES.items()})


def exponential(distribution: Any, counts: Mapping[int, int]) -> None:  # noqa: ANN401 (protobufs without types)
    """Fill a distribution with ``counts`` by bucket; the samples of a bucket lie in its middle."""
    buckets = distribution.bucket_options.exponential_buckets
    buckets.num_finite_buckets, buckets.growth_factor, buckets.scale = _BUCKETS, _GROWTH, _SCALE
    distribution.bucket_counts.extend(counts.get(place, 0) for place in range(_BUCKETS + 2))
    total = sum(count * _SCALE * _GROWTH**place * 0.75 for place, count in counts.items())
    distribution.count = sum(counts.values())
    distribution.mean = total / distribution.count if distribution.count else 0.0


_BY_SIZE = (({"buffer_size": "1MB+", "type": "send"}, 0), ({"buffer_size": "8MB+", "type": "send"}, 1))
_BY_COLLECTIVE = (
    ({"input_size": "2MB+", "collective_type": "ALL_REDUCE"}, 0),
    ({"input_size": "2MB+", "collective_type": "ALL_GATHER"}, 1),
)
MEGASCALE: Mapping[str, Samples] = {
    "megascale.dcn_transfer_latencies.microsecond.cumulative.distribution": Samples(11, _BY_SIZE),
    "megascale.dcn_inbound_transfer_latencies.microsecond.cumulative.distribution": Samples(11, _BY_SIZE),
    "megascale.mxla_compute_latencies.microsecond.cumulative.distribution": Samples(9, _BY_SIZE),
    "megascale.collective_end_to_end_latencies.microsecond.cumulative.distribution": Samples(13, _BY_COLLECTIVE),
    "megascale.host_to_device_transfer_latencies.microsecond.cumulative.distribution": Samples(9, _BY_SIZE),
    "megascale.device_to_host_transfer_latencies.microsecond.cumulative.distribution": Samples(9, _BY_SIZE),
    "megascale.grpc_client_call_latencies.microsecond.cumulative.distribution": Samples(11),
    "megascale.grpc_server_call_latencies.microsecond.cumulative.distribution": Samples(10),
    "megascale.grpc_tcp_min_rtt.microsecond.cumulative.distribution": Samples(7),
    "megascale.grpc_tcp_sender_latency.microsecond.cumulative.distribution": Samples(8),
    "megascale.grpc_tcp_transfer_latency.microsecond.cumulative.distribution": Samples(10),
    "megascale.grpc_tcp_delivery_rate.Mbps.cumulative.distribution": Samples(14),
    "megascale.dcn_transfer_size.bytes.cumulative.distribution": Samples(23),
    "megascale.dcn_inbound_transfer_size.bytes.cumulative.distribution": Samples(23),
    "megascale.collective_input_size.bytes.cumulative.distribution": Samples(26),
    "megascale.mxla_compute_operand_size.bytes.cumulative.distribution": Samples(22),
    "megascale.host_to_device_transfer_size.bytes.cumulative.distribution": Samples(23),
    "megascale.device_to_host_transfer_size.bytes.cumulative.distribution": Samples(23),
    "megascale.grpc_tcp_write_size.cumulative.distribution": Samples(16),
    "megascale.grpc_tcp_read_size.cumulative.distribution": Samples(15),
}
