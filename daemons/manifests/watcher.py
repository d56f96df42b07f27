"""The watcher: one a cluster, nobody; its windows are in memory, its findings on the broker, its baselines beside it while its pod lives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sliceward.daemons.manifests.install import BROKER, CA, CONFIG, DISK, WATCHER_PORT, WATCHER_USER, config_map, mount, volume
from sliceward.daemons.manifests.processes import Process, budget, deployment
from sliceward.daemons.manifests.yaml_out import text_of

if TYPE_CHECKING:
    from sliceward.daemons.manifests.install import Install
    from sliceward.remediations.ports import Object

NAME = "sliceward-watcher"
BASELINES = "1Gi"
"""Disk for baselines: 0.1 GiB for 100,000 chips, twice while they are written."""
MEMORY = "4Gi"
"""For 25,000 hosts of four chips: 115 MB, 80 MB for each 1,000 (`benchmarks/memory.py`) and 15 MB more with statistics are 2.3 GiB; the rest is room
for more chips a host."""


def config(install: Install) -> Object:
    """Give the watcher's configuration."""
    broker = {
        "url": install.url,
        "username": WATCHER_USER,
        "password": {"file": f"{BROKER}/password"},
        "ca_file": f"{CA}/ca.crt",
    }
    settings = {
        "cluster": {"name": install.cluster, "broker": broker},
        "statistics": {"folder": DISK},
        "health": {"host": "0.0.0.0", "port": WATCHER_PORT},  # noqa: S104 (its pod's)
    }
    return config_map(NAME, install.namespace, {"watcher.yaml": text_of(settings)})


def objects(install: Install) -> tuple[Object, ...]:
    """Give Deployment and disruption budget. One replica in any overlay: two would tell every finding twice."""
    process = Process(
        component="watcher",
        port=WATCHER_PORT,
        args=("watcher", "--config", f"{CONFIG}/watcher.yaml"),
        mounts=(mount("config", CONFIG), mount("ca", CA), mount("broker", BROKER), mount("baselines", DISK, read_only=False)),
        volumes=(
            volume("config", configMap={"name": NAME}),
            volume("ca", configMap={"name": "sliceward-broker-ca"}),
            volume("broker", secret={"secretName": NAME, "defaultMode": 0o440}),
            volume("baselines", emptyDir={"sizeLimit": BASELINES}),
        ),
        memory=MEMORY,
    )
    return (deployment(install, process), budget(install, NAME, "watcher"))
