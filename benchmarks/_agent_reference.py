"""What a bare exporter in Python takes: it reads a few files of /proc each period and serves them to Prometheus.

``python _agent_reference.py PERIOD PORT``, in the agent's own environment; started by agent.py.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, start_http_server


def read(gauge: Gauge) -> None:
    """Read once."""
    for file in ("stat", "meminfo", "vmstat"):
        for line in Path("/proc", file).read_text(encoding="utf-8").splitlines():
            name, _, values = line.partition(" ")
            gauge.labels(file, name).set(float(values.split()[0]))


async def main(period: float, port: int) -> None:
    """Read and serve for ever."""
    registry = CollectorRegistry()
    gauge = Gauge("host_reading", "What /proc says.", ["file", "name"], registry=registry)
    start_http_server(port, addr="127.0.0.1", registry=registry)
    while True:
        read(gauge)
        await asyncio.sleep(period)


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]), int(sys.argv[2])))
