from __future__ import annotations

import pytest

from sliceward.detectors.frame import Frame, encode, entities, pack
from sliceward.detectors.metrics import CATALOGUE, Bad, EntityKind, Metric, Shape, Statistic

DISTRIBUTED = [metric for metric in CATALOGUE.values() if metric.statistic is not None]


def named(metric: Metric) -> object:
    return pytest.param(metric, id=metric.name)


@pytest.mark.parametrize("metric", [named(metric) for metric in DISTRIBUTED])
def test_a_number_of_a_distribution_is_a_gauge_of_the_host_and_says_which_number(metric: Metric) -> None:
    suffix = {"microseconds": "us", "megabits per second": "mbps", "bytes": "bytes"}[metric.unit]
    assert metric.name.endswith(f"_{metric.statistic}_{suffix}")
    assert (metric.kind, metric.shape, metric.source) == (EntityKind.HOST, Shape.GAUGE, "libtpu")
    assert "distribution" in metric.door
    assert metric.low == 0


def test_each_distribution_has_mean_median_and_tail() -> None:
    told: dict[str, set[Statistic | None]] = {}
    for metric in DISTRIBUTED:
        told.setdefault(metric.door, set()).add(metric.statistic)
    assert all(statistics == set(Statistic) for statistics in told.values())
    assert (len(told), len({metric.door for metric in DISTRIBUTED if metric.unit == "bytes"})) == (21, 8)


def test_a_slow_network_is_bad_and_a_size_is_neither() -> None:
    senses = {unit: {metric.bad for metric in DISTRIBUTED if metric.unit == unit} for unit in ("microseconds", "bytes")}
    assert senses == {"microseconds": {Bad.HIGH}, "bytes": {Bad.NEITHER}}
    assert CATALOGUE["host_megascale_tcp_delivery_p50_mbps"].bad is Bad.LOW


def test_a_frame_with_everything_that_an_agent_can_read_stays_small() -> None:
    ours = [metric for metric in CATALOGUE.values() if metric.source not in ("kubernetes", "prometheus", "watcher")]
    columns = {metric.name: pack(metric, [1.0] * entities(metric.kind, chips=4, ports=6)) for metric in ours}
    frame = Frame("prod", "node-1", "77", "b00t", 3, 1.7e9, 9, 1.7e9, 10.0, 4, 6, columns)
    assert len(encode(frame)) < 5 * 1024
