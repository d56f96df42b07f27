"""Configuration of the watcher, key by key."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path  # noqa: TC003 (pydantic resolves it at run time)
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from sliceward.daemons.settings import (
    ClusterSettings,
    Duration,
    ListenSettings,
    LogSettings,
    OtherNames,
    Secret,
    Section,
    Settings,
    Short,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


class PanelSettings(Section):
    """How much is remembered."""

    period: Duration = Field(default=timedelta(seconds=10), description="Seconds a row; the agents' period.")
    rows: int = Field(
        default=72, ge=8, le=8640, description="Rows kept: 72 of 10 s are 12 minutes. Rules look back at most so far."
    )
    max_hosts: int = Field(default=32_768, ge=1, description="Hosts beyond this are refused, counted.")
    max_bytes: int = Field(default=2 << 30, ge=1 << 20, description="Memory of all readings together.")


class RuleSettings(Section):
    """What is looked for, and how patiently."""

    folders: list[Path] = Field(
        default_factory=list, description="Folders of more rules (YAML); one with the name of a shipped rule replaces it."
    )
    grace: Duration = Field(
        default=timedelta(seconds=60), description="Silence of a host that is nothing yet; always at least 3 of its periods."
    )
    warm_up: Duration | None = Field(
        default=None, description="After a start nothing is told for so long, while the panel fills; default 6 periods."
    )
    refresh: Duration = Field(default=timedelta(seconds=30), description="A finding that did not change is told again so often.")
    keep_resolved: Duration = Field(default=timedelta(hours=24), description="A resolved finding is cleared after so long.")


class StatisticsSettings(Section):
    """What is looked for among peers: parts that differ from those that do the same work. See docs/statistics.md."""

    enabled: bool = Field(
        default=False,
        description="Compare parts with their peers; without, only rules find anything. Off by default for what it still takes wrong: docs/statistics.md.",
    )
    false_suspects: float = Field(
        default=0.5,
        gt=0,
        le=1000,
        description="False suspects that you accept per 10,000 chips and day. A suspect is watched, and never drained.",
    )
    false_condemned: float = Field(
        default=0.1,
        gt=0,
        le=1000,
        description="False condemnations that you accept per 10,000 chips and day. Condemned may be drained.",
    )
    folder: Path | None = Field(
        default=None,
        description="Folder on disk where baselines are kept over a restart; none: they are learnt anew, ten minutes without a verdict.",
    )
    save_every: Duration = Field(default=timedelta(minutes=5), description="Pause between two savings of the baselines.")
    domain_labels: list[str] = Field(
        default_factory=list,
        description="Node labels whose value names what hosts share besides their cube (a rack, a power feed, a cooling loop); the first that is there counts.",
    )


class PrometheusSettings(Section):
    """A Prometheus that scrapes the device plugin, as one more source, or as the only one."""

    url: str = Field(default="", description="`http://host:9090`; empty: none is asked.")
    token: Secret | None = Field(default=None, description="Bearer token: `{file: PATH}` or `{env: NAME}`.")
    every: Duration = Field(
        default=timedelta(seconds=30), description="Pause between two questions; without an agent a host is silent after three."
    )
    timeout: Duration = Field(default=timedelta(seconds=10), description="Patience with one question.")
    back_fill: Duration = Field(default=timedelta(minutes=10), description="How far back is read at the start.")
    host_label: str = Field(default="node", description="Label of a series that holds the node's name.")
    chip_label: str = Field(
        default="accelerator_id",
        description="Label that tells the chips of a host apart: `INSTANCE-DEVICE`, as the device plugin writes it, or the device alone.",
    )


class WatcherSettings(Settings):
    """The whole configuration file of `sliceward watcher`."""

    short_names: ClassVar[Mapping[str, Short]] = {
        "SLICEWARD_CLUSTER": Short("cluster.name"),
        "SLICEWARD_MQTT_URL": Short("cluster.broker.url"),
        "SLICEWARD_PROMETHEUS_URL": Short("prometheus.url"),
        "KUBECONFIG": Short("cluster.kubeconfig", weak=True),
    }

    cluster: ClusterSettings = Field(description="The cluster that is watched.")
    kubernetes: bool = Field(
        default=True, description="Read nodes, pods and gangs; without, no second witness and no names of links."
    )
    names: OtherNames = Field(
        default_factory=dict,
        description="Other names of labels, annotations and ports than today's (`topology/names.py`); the same in agents, watcher and coordinator.",
    )
    panel: PanelSettings = Field(default_factory=PanelSettings, description="How much is remembered.")
    rules: RuleSettings = Field(default_factory=RuleSettings, description="What is looked for.")
    statistics: StatisticsSettings = Field(default_factory=StatisticsSettings, description="What is looked for among peers.")
    prometheus: PrometheusSettings = Field(default_factory=PrometheusSettings, description="Prometheus as a source.")
    health: ListenSettings = Field(
        default_factory=lambda: ListenSettings(port=8483), description="Where /healthz, /readyz and /metrics are served."
    )
    log: LogSettings = Field(default_factory=LogSettings, description="How to log.")
