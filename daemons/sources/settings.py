"""Settings of the sources."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from sliceward.daemons.settings import Duration, Section

Port = Annotated[int, Field(ge=1, le=65535)]
SourceName = Literal["libtpu", "device_plugin", "host", "kernel_log", "holders", "reporter", "pod_log", "selftest"]
ALL: tuple[SourceName, ...] = ("libtpu", "device_plugin", "host", "kernel_log", "holders", "reporter", "pod_log", "selftest")


LONGEST_SOCKET = 107
"""Bytes of a Unix socket's path: 108 with the closing zero, unix(7)."""


def _short_enough(path: Path) -> Path:
    length = len(os.fsencode(path))
    if length > LONGEST_SOCKET:
        raise ValueError(f"the path has {length} bytes and a Unix socket's at most {LONGEST_SOCKET}: name a shorter one")
    return path


SocketPath = Annotated[Path, AfterValidator(_short_enough)]


def _seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


class LibtpuSettings(Section):
    """libtpu's runtime metrics."""

    floor: Duration = Field(default=_seconds(10), description="Least time between two reads.")
    timeout: Duration = Field(default=_seconds(1), description="Most time that a pod may take to answer.")
    targets: tuple[str, ...] | None = Field(
        default=None, description="Addresses to ask; default: the TPU pods on this node, `localhost` for host-network pods."
    )
    ports: tuple[Port, ...] | None = Field(
        default=None, description="Ports to ask; default: `TPU_RUNTIME_METRICS_PORTS`, else 8431 upwards, one a device."
    )


class DevicePluginSettings(Section):
    """GKE's device plugin."""

    floor: Duration = Field(default=_seconds(10), description="Least time between two reads.")
    timeout: Duration = Field(default=_seconds(2), description="Most time that one read may take.")
    url: str = Field(default="", description="Where its metrics are; default: `http://localhost:2112/metrics`, on this node.")


class HostSettings(Section):
    """CPU, memory, EDAC, AER and device files."""

    floor: Duration = Field(default=_seconds(1), description="Least time between two reads.")


class KernelLogSettings(Section):
    """The kernel log."""

    file: Path | None = Field(default=None, description="The log; default: `dev/kmsg` under `root`.")
    patterns: Path | None = Field(default=None, description="YAML file of patterns; default: those that come with sliceward.")


class HoldersSettings(Section):
    """Who holds the TPU devices."""

    floor: Duration = Field(default=_seconds(5), description="Least time between two looks at all processes.")
    allowed: tuple[str, ...] = Field(
        default=("vbar_control_ag", "tpu-device-plug"),
        description="Commands (15 characters, as in `/proc/PID/comm`) that may hold devices beside their owner.",
    )
    ports: tuple[Port, ...] = Field(
        default=(8471, 8476),
        description="Ports of the host's own network at which only pods of the node may listen: libtpu's slice builder and JAX's coordinator.",
    )


class ReporterSettings(Section):
    """The in-job reporter."""

    socket: SocketPath | None = Field(default=Path("/run/sliceward/reporter.sock"), description="Unix socket for training pods.")
    tcp: str | None = Field(default=None, description="`host:port` to listen on as well, for pods without the host path.")
    stale: Duration = Field(default=_seconds(15), description="Silence after which a training process no longer counts.")


class PodLogSettings(Section):
    """Logs of the TPU pods of this node."""

    floor: Duration = Field(default=_seconds(10), description="Least time between two reads.")
    folder: Path | None = Field(default=None, description="Where the kubelet keeps them; default: `var/log/pods` under `root`.")
    patterns: Path | None = Field(default=None, description="YAML file of patterns; default: those that come with sliceward.")


class SelfTestSettings(Section):
    """The agent's test of its own host."""

    floor: Duration = Field(default=_seconds(60), description="Time between two tests.")
    watched: tuple[Path, ...] = Field(default=(Path("/"),), description="Folders whose file systems must have room.")
    runtime: Path | None = Field(
        default=None,
        description="Socket of the container runtime below `root` (`run/containerd/containerd.sock`), to ask whether it answers; default: not asked.",
    )


class SourcesSettings(Section):
    """What the agent reads."""

    enabled: tuple[SourceName, ...] = Field(default=ALL, description="Sources to read.")
    root: Path = Field(default=Path("/"), description="Where the host's root folder is mounted.")
    libtpu: LibtpuSettings = Field(default_factory=LibtpuSettings, description="libtpu's runtime metrics.")
    device_plugin: DevicePluginSettings = Field(default_factory=DevicePluginSettings, description="GKE's device plugin.")
    host: HostSettings = Field(default_factory=HostSettings, description="The host itself.")
    kernel_log: KernelLogSettings = Field(default_factory=KernelLogSettings, description="The kernel log.")
    holders: HoldersSettings = Field(default_factory=HoldersSettings, description="Who holds the devices.")
    reporter: ReporterSettings = Field(default_factory=ReporterSettings, description="The in-job reporter.")
    pod_log: PodLogSettings = Field(default_factory=PodLogSettings, description="Logs of the TPU pods.")
    selftest: SelfTestSettings = Field(default_factory=SelfTestSettings, description="The agent's self test.")
