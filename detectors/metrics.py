"""The one catalogue of metrics: docs, rules, Prometheus names and the frame layout come from it.

No numpy here: the agent imports this file. Names of Google's doors (libtpu gRPC, device plugin, SDK) are the ``door`` of a
metric. They are part of what a source can read, so another name there is a change here and not of a configuration.
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


class Statistic(StrEnum):
    """Which number of a distribution a metric is: of what came between two readings, never of the whole life of the process."""

    MEAN = "mean"
    P50 = "p50"
    P99 = "p99"


@dataclass(frozen=True, slots=True)
class Metric:
    """One reading. ``low`` and ``high`` bound what can be true; outside is refused at the panel's door and counted.

    ``source`` is the agent's source that reads it (``libtpu``, ``device_plugin``, ``host``, ``reporter``, ``agent``) or
    ``kubernetes``, ``prometheus`` or ``watcher``. ``door`` is the name at that source. ``prometheus`` is the name of the device plugin's series for it.
    ``statistic``: set where the door serves a distribution.
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
    statistic: Statistic | None = None

    @property
    def typecode(self) -> str:
        """Type of the raw column: ``f`` (float32) for gauges, ``d`` (float64) for counters."""
        return "d" if self.shape is Shape.COUNTER else "f"


_G, _C = Shape.GAUGE, Shape.COUNTER
_CHIP, _LINK, _HOST = EntityKind.CHIP, EntityKind.LINK, EntityKind.HOST
_HIGH, _LOW, _NO = Bad.HIGH, Bad.LOW, Bad.NEITHER
_INF = float("inf")
_IN_WORDS = {Statistic.MEAN: "Mean", Statistic.P50: "Median", Statistic.P99: "99th percentile of"}


@dataclass(frozen=True, slots=True)
class _Measure:
    """What a distribution of libtpu measures."""

    unit: str
    suffix: str
    bad: Bad

    def of(self, stem: str, about: str, door: str) -> tuple[Metric, ...]:
        """Give one metric of the host for each number."""
        return tuple(
            Metric(
                f"host_{stem}_{statistic}_{self.suffix}", _HOST, self.unit, _G, "libtpu", self.bad, 0, _INF,
                f"{_IN_WORDS[statistic]} {about} of the interval.", door, statistic=statistic,
            )
            for statistic in Statistic
        )  # fmt: skip


_TIME = _Measure("microseconds", "us", _HIGH)
_RATE = _Measure("megabits per second", "mbps", _LOW)
# A size is what the job chose: it tells whether a time grew because the buffers did.
_SIZE = _Measure("bytes", "bytes", _NO)

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
    Metric("chip_scraped", _CHIP, "1", _G, "prometheus", _LOW, 0, 1, "The newest scrape of the host's device plugin tells of the chip (1), or only of others of the host (0); asked where no agent ever spoke.", "accelerator_id of the node series"),
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
    Metric("host_disk_writable", _HOST, "1", _G, "host", _LOW, 0, 1, "The agent wrote and read back a file this minute (1), or could not, or hung over it (0).", "self test"),
    Metric("host_runtime_answers", _HOST, "1", _G, "host", _LOW, 0, 1, "The container runtime answered within its deadline (1) or not (0); asked only where its socket is named.", "self test"),
    Metric("host_port_foreign", _HOST, "1", _G, "host", _HIGH, 0, 1, "A process outside of the node's TPU pods listens at a port where members of a gang meet; notes name it.", "/proc/1/net/tcp, /proc/*/fd"),
    Metric("host_slice_error", _HOST, "1", _G, "libtpu", _HIGH, 0, _INF, "libtpu reports a slice error; notes hold its text.", "slice.error.detected.gauge"),
    Metric("host_megascale_hang", _HOST, "1", _G, "libtpu", _HIGH, 0, _INF, "libtpu reports HANG_DETECTED.", "megascale.error.detected.gauge"),
    Metric("host_hlo_queue_size", _HOST, "programs", _G, "libtpu", _NO, 0, _INF, "Programs waiting to run, largest over the cores.", "hlo.queue.size.gauge"),
    *_TIME.of("hlo_execution", "HLO execution time", "hlo.execution.timing.distribution.microseconds"),
    *_TIME.of("megascale_dcn_transfer", "time to send a buffer to another slice", "megascale.dcn_transfer_latencies.microsecond.cumulative.distribution"),
    *_TIME.of("megascale_dcn_inbound_transfer", "time to receive a buffer from another slice", "megascale.dcn_inbound_transfer_latencies.microsecond.cumulative.distribution"),
    *_TIME.of("megascale_mxla_compute", "time of a computation on the CPU for a collective between slices", "megascale.mxla_compute_latencies.microsecond.cumulative.distribution"),
    *_TIME.of("megascale_collective", "end-to-end time of a collective between slices", "megascale.collective_end_to_end_latencies.microsecond.cumulative.distribution"),
    *_TIME.of("megascale_host_to_device", "time to move a buffer from host to device", "megascale.host_to_device_transfer_latencies.microsecond.cumulative.distribution"),
    *_TIME.of("megascale_device_to_host", "time to move a buffer from device to host", "megascale.device_to_host_transfer_latencies.microsecond.cumulative.distribution"),
    *_TIME.of("megascale_grpc_client_call", "time of a gRPC call, as its client sees it,", "megascale.grpc_client_call_latencies.microsecond.cumulative.distribution"),
    *_TIME.of("megascale_grpc_server_call", "time of a gRPC call, as its server sees it,", "megascale.grpc_server_call_latencies.microsecond.cumulative.distribution"),
    *_TIME.of("megascale_tcp_min_rtt", "least round-trip time of a TCP connection", "megascale.grpc_tcp_min_rtt.microsecond.cumulative.distribution"),
    *_TIME.of("megascale_tcp_sender", "TCP sender latency", "megascale.grpc_tcp_sender_latency.microsecond.cumulative.distribution"),
    *_TIME.of("megascale_tcp_transfer", "TCP transfer latency", "megascale.grpc_tcp_transfer_latency.microsecond.cumulative.distribution"),
    *_RATE.of("megascale_tcp_delivery", "TCP delivery rate", "megascale.grpc_tcp_delivery_rate.Mbps.cumulative.distribution"),
    *_SIZE.of("megascale_dcn_transfer", "size of the buffers sent to other slices", "megascale.dcn_transfer_size.bytes.cumulative.distribution"),
    *_SIZE.of("megascale_dcn_inbound_transfer", "size of the buffers received from other slices", "megascale.dcn_inbound_transfer_size.bytes.cumulative.distribution"),
    *_SIZE.of("megascale_collective_input", "size of what collectives between slices work on", "megascale.collective_input_size.bytes.cumulative.distribution"),
    *_SIZE.of("megascale_mxla_operand", "size of what is computed on the CPU for collectives", "megascale.mxla_compute_operand_size.bytes.cumulative.distribution"),
    *_SIZE.of("megascale_host_to_device", "size of the buffers moved from host to device", "megascale.host_to_device_transfer_size.bytes.cumulative.distribution"),
    *_SIZE.of("megascale_device_to_host", "size of the buffers moved from device to host", "megascale.device_to_host_transfer_size.bytes.cumulative.distribution"),
    *_SIZE.of("megascale_tcp_write", "size of a write to a TCP connection", "megascale.grpc_tcp_write_size.cumulative.distribution"),
    *_SIZE.of("megascale_tcp_read", "size of a read from a TCP connection", "megascale.grpc_tcp_read_size.cumulative.distribution"),
    Metric("host_step", _HOST, "steps", _G, "reporter", _NO, 0, 2**53, "Step of the training job on this host, relative to notes['step_base'] (float32 holds 2**24).", "step"),
    Metric("host_step_seconds", _HOST, "seconds", _G, "reporter", _HIGH, 0, _INF, "Mean step time of the interval.", "step time"),
    Metric("host_step_age_seconds", _HOST, "seconds", _G, "reporter", _HIGH, 0, _INF, "Time since the last step ended.", "step"),
    Metric("host_checkpoint_age_seconds", _HOST, "seconds", _G, "reporter", _HIGH, 0, _INF, "Time since the last checkpoint was complete.", "checkpoint"),
    Metric("host_compile_seconds_total", _HOST, "seconds", _C, "reporter", _NO, 0, _INF, "Time that the job says it spent on compiling, of the process that spent most.", "spent"),
    Metric("host_checkpoint_seconds_total", _HOST, "seconds", _C, "reporter", _NO, 0, _INF, "Time that the job says its steps waited for a checkpoint.", "spent"),
    Metric("host_input_seconds_total", _HOST, "seconds", _C, "reporter", _NO, 0, _INF, "Time that the job says its steps waited for input.", "spent"),
    Metric("host_gc_seconds_total", _HOST, "seconds", _C, "reporter", _NO, 0, _INF, "Time that the garbage collector of the job's Python took.", "spent"),
    Metric("host_source_age_libtpu_seconds", _HOST, "seconds", _G, "agent", _HIGH, 0, _INF, "Age of the last good libtpu reading."),
    Metric("host_source_age_device_plugin_seconds", _HOST, "seconds", _G, "agent", _HIGH, 0, _INF, "Age of the last good device plugin reading."),
    Metric("host_source_age_host_seconds", _HOST, "seconds", _G, "agent", _HIGH, 0, _INF, "Age of the last good host reading."),
    Metric("host_source_age_kernel_log_seconds", _HOST, "seconds", _G, "agent", _HIGH, 0, _INF, "Age of the last good reading of the kernel log."),
    Metric("host_source_age_holders_seconds", _HOST, "seconds", _G, "agent", _HIGH, 0, _INF, "Age of the last good look at who holds the devices."),
    Metric("host_source_age_pod_log_seconds", _HOST, "seconds", _G, "agent", _HIGH, 0, _INF, "Age of the last good reading of the logs of the TPU pods."),
    Metric("host_source_age_selftest_seconds", _HOST, "seconds", _G, "agent", _HIGH, 0, _INF, "Age of the agent's last complete test of its own host."),
    Metric("host_source_age_reporter_seconds", _HOST, "seconds", _G, "agent", _HIGH, 0, _INF, "Age of the last message of an in-job reporter."),
    Metric("host_frame_age_seconds", _HOST, "seconds", _G, "watcher", _HIGH, 0, _INF, "Age of the newest frame of the host, made by the watcher; the panel's own clock."),
    Metric("host_peers_report_lost", _HOST, "1", _G, "watcher", _HIGH, 0, 1, "Share of a silent host's links that their other ends report as unusable, made by the watcher."),
    Metric("host_provider_reports_lost", _HOST, "1", _G, "kubernetes", _HIGH, 0, 1, "The provider says that the machine is shut down or about to be ended: its taint is on the node.", "node.cloudprovider.kubernetes.io/shutdown"),
    Metric("host_twin_speakers", _HOST, "1", _G, "watcher", _HIGH, 0, 1, "Two agents speak for this host by turns, made by the watcher."),
    Metric("host_identity_missing", _HOST, "1", _G, "watcher", _HIGH, 0, 1, "Frames come without instance id, boot id or the host's index, made by the watcher."),
    Metric("host_ready", _HOST, "1", _G, "kubernetes", _LOW, 0, 1, "Node condition Ready: 1 True, 0 False or Unknown; missing where the node has none.", "Ready"),
    Metric("host_slice_error_condition", _HOST, "1", _G, "kubernetes", _HIGH, 0, 1, "Node condition SliceErrorDetected is True.", "SliceErrorDetected"),
    Metric("host_megascale_hang_condition", _HOST, "1", _G, "kubernetes", _HIGH, 0, 1, "Node condition MegascaleHangDetected is True.", "MegascaleHangDetected"),
    Metric("host_kernel_deadlock_condition", _HOST, "1", _G, "kubernetes", _HIGH, 0, 1, "Node condition KernelDeadlock is True.", "KernelDeadlock"),
    Metric("host_read_only_condition", _HOST, "1", _G, "kubernetes", _HIGH, 0, 1, "Node condition ReadonlyFilesystem is True.", "ReadonlyFilesystem"),
    Metric("host_restarts_condition", _HOST, "1", _G, "kubernetes", _HIGH, 0, 1, "Node condition FrequentContainerdRestart or FrequentKubeletRestart is True.", "FrequentContainerdRestart, FrequentKubeletRestart"),
    Metric("host_partition_unhealthy", _HOST, "1", _G, "kubernetes", _HIGH, 0, 1, "Partition state label of the host's cube is UNHEALTHY.", "gke-tpu-partition-4x4x4-state"),
)
# fmt: on

CATALOGUE: dict[str, Metric] = {metric.name: metric for metric in _ALL}
