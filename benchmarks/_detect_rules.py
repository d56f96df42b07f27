"""Twenty rules in two languages: ours as YAML, and as alerts of Prometheus. Both say the same of the same readings.

They follow the shipped rules, in forms that both have: a limit that is passed for so many periods, the rise of a counter in sixty, two conditions
joined, silence. k of the last n readings, which Prometheus has to ask by a subquery, is in none of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

WINDOW = 60
"""Periods over which the rise of a counter is taken: ten minutes at 10 s."""
SILENT = 6
"""Periods without a word after which a host is silent."""


@dataclass(frozen=True, slots=True)
class Twin:
    """One rule. ``when``: ours; ``ask``: PromQL; ``lasting``: periods for which it must hold."""

    name: str
    kind: str
    part: str
    when: Mapping[str, Any]
    ask: str
    lasting: int = 0


def _limit(metric: str, op: str, value: float, **more: str) -> dict[str, Any]:
    return {"threshold": {"metric": metric, "op": op, "value": value, "k": 1, "n": 1, **more}}


def _over(name: str, kind: str, part: str, asked: tuple[str, str, float], lasting: int = 0) -> Twin:
    metric, op, value = asked
    return Twin(name, kind, part, _limit(metric, op, value), f"{metric} {op} {value:g}", lasting)


def _rise(name: str, kind: str, part: str, metric: str, increase: float) -> Twin:
    when = {"rate": {"metric": metric, "increase": increase, "within": f"{WINDOW} periods"}}
    return Twin(name, kind, part, when, f"increase({metric}[WINDOW]) >= {increase:g}")


_OLD = tuple(f"host_source_age_{source}_seconds" for source in ("host", "kernel_log", "holders"))
TWINS = (
    _over("chip-gone", "ChipLost", "chip", ("chip_present", "<", 1)),
    _over("chip-held", "DeviceOccupied", "chip", ("chip_foreign_holder", ">=", 1), 3),
    _over("chip-slowed", "ChipThrottled", "chip", ("chip_throttle_score", ">=", 2), 4),
    _rise("pcie-fatal", "PcieAerStorm", "chip", "chip_pcie_aer_fatal_total", 1),
    _rise("pcie-nonfatal", "PcieAerStorm", "chip", "chip_pcie_aer_nonfatal_total", 10),
    _rise("pcie-corrected", "PcieAerStorm", "chip", "chip_pcie_aer_correctable_total", 1000),
    _rise("hbm-lost", "HbmUncorrectable", "chip", "chip_hbm_uncorrectable_total", 1),
    _rise("hbm-corrected", "MemoryErrorsRising", "chip", "chip_hbm_correctable_total", 10),
    _over("link-down", "IciLinkDown", "link", ("link_health", ">=", 10)),
    _over("link-poor", "IciLinkDegraded", "link", ("link_health", ">=", 6), 3),
    _over("slice-broken", "SliceError", "host", ("host_slice_error", ">=", 1), 2),
    _over("slice-hangs", "CollectiveStuck", "host", ("host_megascale_hang", ">=", 1), 2),
    Twin(
        "job-spins", "CollectiveStuck", "host",
        {"all": [_limit("host_step_age_seconds", ">=", 900), _limit("chip_duty_cycle_percent", ">=", 90, over="all")]},
        "host_step_age_seconds >= 900 and on (node) (min by (node) (chip_duty_cycle_percent) >= 90)", 3,
    ),
    Twin(
        "job-starves", "InputStarved", "host",
        {"all": [_limit("host_step_age_seconds", ">=", 300), _limit("host_hlo_queue_size", "<", 1)]},
        "host_step_age_seconds >= 300 and host_hlo_queue_size < 1", 3,
    ),
    _over("disk-full", "AgentUnwell", "host", ("host_disk_free_percent", "<", 2), 3),
    _over("disk-broken", "AgentUnwell", "host", ("host_disk_writable", "<", 1), 2),
    _rise("memory-lost", "MemoryErrorsRising", "host", "host_edac_uncorrectable_total", 1),
    _rise("memory-corrected", "MemoryErrorsRising", "host", "host_edac_correctable_total", 100),
    Twin(
        "sources-old", "AgentUnwell", "host", {"any": [_limit(metric, ">=", 120) for metric in _OLD]},
        " or ".join(f"{metric} >= 120" for metric in _OLD), 3,
    ),
    Twin("host-silent", "TelemetryLost", "host", {"absent": {"metric": "host_frame_age_seconds", "after": f"{SILENT} periods"}}, "up == 0", SILENT),
)  # fmt: skip


def ours() -> str:
    """Give the file of rules for our watcher."""
    return yaml.safe_dump([dict(_ours(twin)) for twin in TWINS], sort_keys=False)


def _ours(twin: Twin) -> Iterator[tuple[str, Any]]:
    when = twin.when if twin.name == "host-silent" or not twin.lasting else {**twin.when, "for": f"{twin.lasting} periods"}
    yield from {
        "name": twin.name,
        "kind": twin.kind,
        "part": twin.part,
        "severity": "error",
        "says": "{value:g}",
        "when": when,
    }.items()


def theirs(period: float) -> str:
    """Give the file of alerts for Prometheus, with ``period`` seconds between two readings."""
    alerts = [
        {"alert": twin.name, "expr": twin.ask.replace("WINDOW", span(WINDOW * period)), "for": span(twin.lasting * period)}
        for twin in TWINS
    ]
    return yaml.safe_dump({"groups": [{"name": "twenty", "rules": alerts}]}, sort_keys=False)


def span(seconds: float) -> str:
    """Give a time as Prometheus reads it."""
    return f"{round(1000 * seconds)}ms"
