"""One section ``names`` renames a label for whoever reads it: agent, watcher and coordinator."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from sliceward.daemons.agent.settings import AgentSettings
from sliceward.daemons.coordinator.run import _side
from sliceward.daemons.coordinator.settings import CoordinatorSettings
from sliceward.daemons.coordinator.side import Side, subscriptions
from sliceward.daemons.settings import load
from sliceward.daemons.sources.catalog import SOURCES, Surroundings
from sliceward.daemons.sources.device_plugin import DevicePlugin
from sliceward.daemons.sources.devices import Devices
from sliceward.daemons.sources.libtpu import Libtpu
from sliceward.daemons.sources.pods import Node
from sliceward.daemons.sources.settings import SourcesSettings
from sliceward.daemons.watcher import surroundings
from sliceward.daemons.watcher.run import built
from sliceward.daemons.watcher.settings import WatcherSettings
from sliceward.detectors.panel import Panel
from sliceward.remediations.ports import NODE
from sliceward.topology.errors import Misconfigured
from sliceward.topology.names import NAMES, override
from tests.builders import NOW, a_fleet, cube_id, host_id
from tests.daemons.sources.builders import TPU7X
from tests.fakes.cluster import FakeCluster
from tests.fakes.provider import FakeProvider
from tests.fakes.wire import MemoryBroker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from sliceward.daemons.settings import Settings

HOST = "cube-0-host-00"
OTHER: Mapping[str, str | int] = {"partition_id": "example.org/cube", "slice_error": "SliceBroken", "runtime_metrics_port": 9431}
ENVIRON = {"SLICEWARD_CLUSTER": "c1", "SLICEWARD_NODE_NAME": "n", "SLICEWARD_MQTT_URL": "mqtt://b"}
KUBECONFIG = """
{clusters: [{name: c1, cluster: {server: "http://127.0.0.1:1"}}], contexts: [{name: c1, context: {cluster: c1, user: me}}],
 users: [{name: me, user: {token: t}}], current-context: c1}
"""


def settings_with(model: type[Settings], folder: Path, names: Mapping[str, Any], **more: object) -> Any:  # noqa: ANN401 (of the model)
    file = folder / "config.yaml"
    file.write_text(json.dumps({"names": names, **more}), encoding="utf-8")
    environ = {name: text for name, text in ENVIRON.items() if name in getattr(model, "short_names", {})}
    return load(model, file=file, environ=environ)


@pytest.mark.parametrize("model", [AgentSettings, WatcherSettings, CoordinatorSettings])
@pytest.mark.parametrize(
    ("names", "why"),
    [
        ({"partition_idd": "x"}, "Did you mean 'partition_id'"),
        ({"partition_id": 3}, "Give text"),
        ({"out_of_service": "example.org/out"}, "actions write it"),
    ],
)
def test_a_name_that_cannot_be_is_told_when_the_file_is_read(
    tmp_path: Path, model: type[Settings], names: Mapping[str, Any], why: str
) -> None:
    assert settings_with(model, tmp_path, OTHER).names == OTHER
    with pytest.raises(Misconfigured, match=why):
        settings_with(model, tmp_path, names)


def nodes() -> tuple[dict[str, Any], ...]:
    """Give nodes whose cubes and slice errors stand under other names."""
    objects = a_fleet().with_cubes(1).with_condition("SliceBroken", "True", HOST).objects()
    for node in objects.nodes:
        labels = node["metadata"]["labels"]
        labels["example.org/cube"] = labels.pop(NAMES.partition_id)
    return objects.nodes


@asynccontextmanager
async def mirrored(cluster: FakeCluster, around: surroundings.Surroundings | Side) -> AsyncIterator[None]:
    cluster.put_all(NODE, nodes())
    task = asyncio.create_task(around.run())
    async with asyncio.timeout(30):
        while not around.synced:  # noqa: ASYNC110 (the mirrors tell nobody when they are there)
            await asyncio.sleep(0)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_the_watcher_reads_cubes_and_conditions_under_their_other_names(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        watcher = await built(settings_with(WatcherSettings, tmp_path, OTHER, kubernetes=False), stack)
        names = watcher.parts.surroundings.names
    cluster = FakeCluster("c1")
    around = surroundings.Surroundings("c1", cluster, names=names)
    async with mirrored(cluster, around):
        fleet = await around.read({}, NOW)
    assert fleet.hosts[host_id(HOST)].cube == cube_id("cube-0")
    panel = Panel("c1")
    panel.advance(NOW.timestamp())
    panel.expect([HOST])
    surroundings.write_readings(panel, fleet, names)
    assert panel.ring.columns["host_slice_error_condition"][panel.ring.recent(0)[0], panel.slots[HOST]] == 1.0


async def test_the_coordinator_reads_cubes_under_their_other_names(tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(KUBECONFIG, encoding="utf-8")
    settings = settings_with(CoordinatorSettings, tmp_path, OTHER)
    async with AsyncExitStack() as stack:
        named = settings.clusters[0].model_copy(update={"kubeconfig": file})
        side = await _side(stack, settings, named, provider=FakeProvider(), holder="me")
        assert side.names == override(OTHER)
    cluster, bus = FakeCluster("c1"), MemoryBroker().wire("coordinator", subscribe=subscriptions("c1"))
    other = Side("c1", cluster, bus, FakeProvider(), settings.pace, lambda: NOW, names=side.names)
    async with mirrored(cluster, other):
        fleet = await other.read()
        assert fleet is not None
        assert fleet.hosts[host_id(HOST)].cube == cube_id("cube-0")


def test_the_agents_ports_are_asked_under_their_other_numbers(tmp_path: Path) -> None:
    around = Surroundings(
        SourcesSettings(), TPU7X, Devices(TPU7X, tmp_path), Node(), "c1", tmp_path, lambda *_event: None,
        override({"runtime_metrics_port": 9431, "device_plugin_port": 9112}),
    )  # fmt: skip
    libtpu, plugin = SOURCES["libtpu"](around), SOURCES["device_plugin"](around)
    assert isinstance(libtpu, Libtpu)
    assert isinstance(plugin, DevicePlugin)
    assert libtpu.ports == tuple(range(9431, 9439))
    assert plugin.url == "http://localhost:9112/metrics"
