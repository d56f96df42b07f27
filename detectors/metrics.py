"""The one catalogue of metrics: docs, rules, Prometheus names and the frame layout come from it.

No numpy here: the agent imports this file. Names of Google's doors (libtpu gRPC, device plugin, SDK) are the
``door`` of a metric; configuration can override them (``metrics:`` in the agent's and the watcher's file).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class EntityKind(StrEnum):
    """What a reading is about. A ``link`` column holds the link's ends as one host sees them: index = chip * ports + port."""

    CHIP = "chip"
    LINK = "link"
    HOST = "host"
    SLICE = "slice"


class Shape(StrEnum):
    """Gauge: float32 in frames. Counter: float64 in frames (float32 loses single counts above 2**24), increases in the panel."""

    GAUGE = "gauge"
    COUNTER = "counter"


class Bad(StrEnum):
    """Which direction is bad."""

    HIGH = "high"
    LOW = "low"
    NEITHER = "neither"


@dataclass(frozen=True, slots=True)
class Metric:
    """One reading. ``low`` and ``high`` bound what can be true; outside is refused at the panel's door and counted.

    ``source`` is the agent's source that reads it (``libtpu``, ``device_plugin``, ``host``, ``reporter``, ``agent``) or
    ``kubernetes``. ``door`` is the name at that source. ``prometheus`` is the name of the device plugin's series for it.
    """

    name: str
    kind: EntityKind
    unit: str
    shape: Shape
    source: str
    bad: Bad
    low: float
    high: float
    about: str
    door: str = ""
    prometheus: str = ""

    @property
    def typecode(self) -> str:
        """Type of the raw column: ``f`` (float32) for gauges, ``d`` (float64) for counters."""
        return "d" if self.shape is Shape.COUNTER else "f"


_G, _C = Shape.GAUGE, Shape.COUNTER
_CHIP, _LINK, _HOST = EntityKind.CHIP, EntityKind.LINK, EntityKind.HOST
_HIGH, _LOW, _NO = Bad.HIGH, Bad.LOW, Bad.NEITHER
_INF = float("inf")

# fmt: off
_ALL = (
    Metric("chip_present", _CHIP, "1", _G, "host", _LOW, 0, 1, "Device file of the chip exists (1) or not (0).", "/dev/vfio, /dev/accel*"),
    Metric("chip_foreign_holder", _CHIP, "1", _G, "host", _HIGH, 0, 1, "Device is held by a process outside the pod that owns it; notes name the holder.", "/proc/*/fd"),
    Metric("chip_hbm_used_bytes", _CHIP, "bytes", _G, "libtpu", _NO, 0, 2**40, "HBM in use.", "tpu.runtime.hbm.memory.usage.bytes", "memory_used_node"),
    Metric("chip_hbm_total_bytes", _CHIP, "bytes", _G, "libtpu", _NO, 0, 2**40, "HBM capacity.", "tpu.runtime.hbm.memory.total.bytes", "memory_total_node"),
    Metric("chip_duty_cycle_percent", _CHIP, "percent", _G, "libtpu", _NO, 0, 100, "Share of time the TensorCore was busy.", "tpu.runtime.tensorcore.dutycycle.percent", "duty_cycle_node"),
    Metric("chip_hbm_bandwidth_percent", _CHIP, "percent", _G, "libtpu", _NO, 0, 100, "HBM bandwidth in use.", "tpu.runtime.hbm.utilization.percent", "memory_bandwidth_utilization_node"),
    Metric("chip_idle_seconds", _CHIP, "seconds", _G, "libtpu", _HIGH, 0, _INF, "Time since the TensorCore was last busy.", "tpu.runtime.tensorcore.idle_duration.seconds"),
    Metric("chip_tensorcore_percent", _CHIP, "percent", _G, "device_plugin", _NO, 0, 100, "TensorCore utilisation, also without a workload.", "tensorcore_utilization_node", "tensorcore_utilization_node"),
    Metric("chip_throttle_score", _CHIP, "1", _G, "reporter", _HIGH, 0, 10, "0 none, 1..10 throttled by 10..100 %.", "tpu_throttle_score"),
    Metric("chip_hbm_uncorrectable_total", _CHIP, "errors", _C, "host", _HIGH, 0, _INF, "Uncorrectable HBM errors in the kernel log.", "kernel log: hbm_uncorrectable"),
    Metric("chip_hbm_correctable_total", _CHIP, "errors", _C, "host", _HIGH, 0, _INF, "Corrected HBM errors in the kernel log.", "kernel log: hbm_correctable"),
    Metric("chip_pcie_aer_correctable_total", _CHIP, "errors", _C, "host", _HIGH, 0, _INF, "PCIe AER correctable errors of the chip's functions.", "aer_dev_correctable"),
    Metric("chip_pcie_aer_nonfatal_total", _CHIP, "errors", _C, "host", _HIGH, 0, _INF, "PCIe AER non-fatal errors.", "aer_dev_nonfatal"),
    Metric("chip_pcie_aer_fatal_total", _CHIP, "errors", _C, "host", _HIGH, 0, _INF, "PCIe AER fatal errors.", "aer_dev_fatal"),
    Metric("link_health", _LINK, "1", _G, "reporter", _HIGH, 0, 10, "0 healthy, 1-5 transient, 6-9 persistent minor, 10 unusable; seen from one end.", "ici_link_health"),
    Metric("host_cpu_percent", _HOST, "percent", _G, "host", _NO, 0, 100, "CPU in use.", "proc/stat"),
    Metric("host_memory_percent", _HOST, "percent", _G, "host", _HIGH, 0, 100, "Memory in use.", "proc/meminfo"),
    Metric("host_edac_correctable_total", _HOST, "errors", _C, "host", _HIGH, 0, _INF, "Corrected DRAM errors.", "edac mc*/ce_count"),
    Metric("host_edac_uncorrectable_total", _HOST, "errors", _C, "host", _HIGH, 0, _INF, "Uncorrectable DRAM errors.", "edac mc*/ue_count"),
    Metric("host_kernel_faults_total", _HOST, "events", _C, "host", _HIGH, 0, _INF, "Kernel-log lines that match a pattern of severity fault (soft lockup, MCE, I/O error).", "kernel log"),
    Metric("host_disk_free_percent", _HOST, "percent", _G, "host", _LOW, 0, 100, "Free space of the fullest watched file system.", "statvfs"),
    Metric("host_disk_writable", _HOST, "1", _G, "host", _LOW, 0, 1, "The agent wrote and read back a file this minute.", "self test"),
    Metric("host_slice_error", _HOST, "1", _G, "libtpu", _HIGH, 0, _INF, "libtpu reports a slice error; notes hold its text.", "slice.error.detected.gauge"),
    Metric("host_megascale_hang", _HOST, "1", _G, "libtpu", _HIGH, 0, _INF, "libtpu reports HANG_DETECTED.", "megascale.error.detected.gauge"),
    Metric("host_hlo_queue_size", _HOST, "programs", _G, "libtpu", _NO, 0, _INF, "Programs waiting to run, largest over the cores.", "hlo.queue.size.gauge"),
    Metric("host_hlo_execution_mean_us", _HOST, "microseconds", _G, "libtpu", _HIGH, 0, _INF, "Mean HLO execution time of the interval.", "hlo.execution.timing.distribution.microseconds"),
    Metric("host_hlo_execution_p50_us", _HOST, "microseconds", _G, "libtpu", _HIGH, 0, _INF, "Median HLO execution time of the interval.", "hlo.execution.timing.distribution.microseconds"),
    Metric("host_hlo_execution_p99_us", _HOST, "microseconds", _G, "libtpu", _HIGH, 0, _INF, "99th percentile of HLO execution time of the interval.", "hlo.execution.timing.distribution.microseconds"),
    Metric("host_step", _HOST, "steps", _G, "reporter", _NO, 0, 2**53, "Step of the training job on this host, relative to notes['step_base'] (float32 holds 2**24).", "step"),
    Metric("host_step_seconds", _HOST, "seconds", _G, "reporter", _HIGH, 0, _INF, "Mean step time of the interval.", "step time"),
    Metric("host_step_age_seconds", _HOST, "seconds", _G, "reporter", _HIGH, 0, _INF, "Time since the last step ended.", "step"),
    Metric("host_checkpoint_age_seconds", _HOST, "seconds", _G, "reporter", _HIGH, 0, _INF, "Time since the last checkpoint was complete.", "checkpoint"),
    Metric("host_source_age_libtpu_seconds", _HOST, "seconds", _G, "agent", _HIGH, 0, _INF, "Age of the last good libtpu reading."),
    Metric("host_source_age_device_plugin_seconds", _HOST, "seconds", _G, "agent", _HIGH, 0, _INF, "Age of the last good device plugin reading."),
    Metric("host_source_age_host_seconds", _HOST, "seconds", _G, "agent", _HIGH, 0, _INF, "Age of the last good host reading."),
    Metric("host_source_age_reporter_seconds", _HOST, "seconds", _G, "agent", _HIGH, 0, _INF, "Age of the last message of an in-job reporter."),
    Metric("host_frame_age_seconds", _HOST, "seconds", _G, "watcher", _HIGH, 0, _INF, "Age of the newest frame of the host, made by the watcher; the panel's own clock."),
    Metric("host_peers_report_lost", _HOST, "1", _G, "watcher", _HIGH, 0, 1, "Share of a silent host's links that their other ends report as unusable, made by the watcher."),
    Metric("host_provider_reports_lost", _HOST, "1", _G, "kubernetes", _HIGH, 0, 1, "The provider says that the machine is shut down or about to be ended: its taint is on the node.", "node.cloudprovider.kubernetes.io/shutdown"),
    Metric("host_twin_speakers", _HOST, "1", _G, "watcher", _HIGH, 0, 1, "Two agents speak for this host by turns, made by the watcher."),
    Metric("host_identity_missing", _HOST, "1", _G, "watcher", _HIGH, 0, 1, "Frames come without instance id, boot id or the host's index, made by the watcher."),
    Metric("host_ready", _HOST, "1", _G, "kubernetes", _LOW, 0, 1, "Node condition Ready: 1 True, 0 False or Unknown.", "Ready"),
    Metric("host_slice_error_condition", _HOST, "1", _G, "kubernetes", _HIGH, 0, 1, "Node condition SliceErrorDetected is True.", "SliceErrorDetected"),
    Metric("host_megascale_hang_condition", _HOST, "1", _G, "kubernetes", _HIGH, 0, 1, "Node condition MegascaleHangDetected is True.", "MegascaleHangDetected"),
    Metric("host_partition_unhealthy", _HOST, "1", _G, "kubernetes", _HIGH, 0, 1, "Partition state label of the host's cube is UNHEALTHY.", "gke-tpu-partition-4x4x4-state"),
)
# fmt: on

CATALOGUE: dict[str, Metric] = {metric.name: metric for metric in _ALL}
