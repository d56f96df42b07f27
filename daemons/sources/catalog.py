"""All sources, in the order in which they win: where two sources read the same metric, the first that has a value counts.

A new source is one file beside this one, one function and one line here, and its name in `settings`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sliceward.daemons.sources.device_plugin import DevicePlugin
from sliceward.daemons.sources.holders import Holders
from sliceward.daemons.sources.host import Host
from sliceward.daemons.sources.kernel_log import KernelLog, read_patterns, shipped_patterns
from sliceward.daemons.sources.libtpu import Libtpu
from sliceward.daemons.sources.pod_log import PodLog
from sliceward.daemons.sources.pod_log import read_patterns as read_lines
from sliceward.daemons.sources.pod_log import shipped_patterns as shipped_lines
from sliceward.daemons.sources.reporter import Doors, ReporterSource
from sliceward.daemons.sources.selftest import SelfTest
from sliceward.topology.errors import Misconfigured
from sliceward.topology.names import NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from sliceward.daemons.sources.devices import Devices
    from sliceward.daemons.sources.pods import Node
    from sliceward.daemons.sources.settings import SourcesSettings
    from sliceward.daemons.sources.source import Layout, Source
    from sliceward.topology.names import Names


_PORTS_AT_MOST = 8


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a source may be made from. ``state``: the agent's own folder; ``on_event`` takes (gang, event, text)."""

    settings: SourcesSettings
    layout: Layout
    devices: Devices
    node: Node
    cluster: str
    state: Path
    on_event: Callable[[str, str, str], None]
    names: Names = NAMES


def _libtpu(around: Surroundings) -> Source:
    settings = around.settings.libtpu
    return Libtpu(
        around.layout,
        targets=lambda: settings.targets if settings.targets is not None else pod_targets(around.node),
        ports=settings.ports or metrics_ports(around.layout, os.environ, first=around.names.runtime_metrics_port),
        floor=settings.floor.total_seconds(),
        patience=settings.timeout.total_seconds(),
        timeout=_PORTS_AT_MOST * settings.timeout.total_seconds(),
    )


def _device_plugin(around: Surroundings) -> Source:
    settings = around.settings.device_plugin
    url = settings.url or f"http://localhost:{around.names.device_plugin_port}/metrics"
    return DevicePlugin(around.layout, url, floor=settings.floor.total_seconds(), timeout=settings.timeout.total_seconds())


def _host(around: Surroundings) -> Source:
    return Host(around.layout, around.devices, floor=around.settings.host.floor.total_seconds())


def _kernel_log(around: Surroundings) -> Source:
    settings = around.settings.kernel_log
    patterns = shipped_patterns()
    if settings.patterns is not None:
        patterns = read_patterns(_text(settings.patterns), where=str(settings.patterns))
    return KernelLog(around.layout, around.devices, settings.file or around.settings.root / "dev/kmsg", patterns)


def _holders(around: Surroundings) -> Source:
    settings = around.settings.holders
    allowed, ports = frozenset(settings.allowed), frozenset(settings.ports)
    return Holders(around.layout, around.devices, around.node, allowed, ports, floor=settings.floor.total_seconds())


def _reporter(around: Surroundings) -> Source:
    settings = around.settings.reporter
    return ReporterSource(
        around.layout,
        around.node,
        around.cluster,
        Doors(settings.socket, host_and_port(settings.tcp) if settings.tcp else None),
        proc=around.settings.root / "proc",
        on_event=around.on_event,
        stale=settings.stale.total_seconds(),
    )


def _pod_log(around: Surroundings) -> Source:
    settings = around.settings.pod_log
    patterns = shipped_lines()
    if settings.patterns is not None:
        patterns = read_lines(_text(settings.patterns), where=str(settings.patterns))
    folder = settings.folder or around.settings.root / "var/log/pods"
    return PodLog(around.node, folder, patterns, floor=settings.floor.total_seconds())


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise Misconfigured(str(file), f"cannot be read: {error.strerror}") from error


def _selftest(around: Surroundings) -> Source:
    settings, root = around.settings.selftest, around.settings.root
    watched = (*(root / str(folder).lstrip("/") for folder in settings.watched), around.state)
    runtime = None if settings.runtime is None else root / str(settings.runtime).lstrip("/")
    return SelfTest(watched, around.state, runtime, floor=settings.floor.total_seconds())


SOURCES: Mapping[str, Callable[[Surroundings], Source]] = {
    "libtpu": _libtpu,
    "device_plugin": _device_plugin,
    "host": _host,
    "kernel_log": _kernel_log,
    "holders": _holders,
    "reporter": _reporter,
    "pod_log": _pod_log,
    "selftest": _selftest,
}


def pod_targets(node: Node) -> tuple[str, ...]:
    """Give the addresses of the TPU pods on this node: their IP, or ``localhost`` where they share the host's network."""
    if node.pods is None:
        return ()
    return tuple("localhost" if pod.host_network else pod.ip for pod in node.pods.pods if pod.ip or pod.host_network)


def metrics_ports(layout: Layout, environ: Mapping[str, str], *, first: int = NAMES.runtime_metrics_port) -> tuple[int, ...]:
    """Give the ports of libtpu's runtime metrics: ``TPU_RUNTIME_METRICS_PORTS``, else one a device from ``first``.

    Raises:
        Misconfigured: the variable holds something else than ports.
    """
    told = environ.get("TPU_RUNTIME_METRICS_PORTS", "")
    if not told:
        return layout.generation.metrics_ports(layout.chips, first)
    try:
        return tuple(int(port) for port in told.split(","))
    except ValueError:
        why = f"is {told[:80]!r}"
        raise Misconfigured("TPU_RUNTIME_METRICS_PORTS", why, "Write ports with commas: 8431,8432") from None


def host_and_port(text: str) -> tuple[str, int]:
    """Give host and port of ``host:port``.

    Raises:
        Misconfigured: it is something else.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        raise Misconfigured("sources.reporter.tcp", f"is {text!r}", "Write host:port, like 0.0.0.0:8433")
    return host.strip("[]"), int(port)
