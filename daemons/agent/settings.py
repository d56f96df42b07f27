"""Settings of the agent."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from sliceward.daemons.settings import BrokerSettings, Duration, ListenSettings, LogSettings, OtherNames, Section, Settings, Short
from sliceward.daemons.sources.settings import SourcesSettings

if TYPE_CHECKING:
    from collections.abc import Mapping


class KubernetesSettings(Section):
    """The agent's one question to Kubernetes: its own node and the TPU pods on it."""

    enabled: bool = Field(default=True, description="Whether to ask at all; off outside of a cluster.")
    url: str = Field(default="", description="API server; default: the one that every pod is told of.")
    token_file: Path | None = Field(default=None, description="Bearer token for `url`.")
    ca_file: Path | None = Field(default=None, description="CA bundle for `url`.")
    every: Duration = Field(default=timedelta(seconds=60), description="Time between two lists of pods, jittered by a fifth.")


class AgentSettings(Settings):
    """The whole configuration of an agent."""

    short_names: ClassVar[Mapping[str, Short]] = {
        "SLICEWARD_CLUSTER": Short("cluster"),
        "SLICEWARD_NODE_NAME": Short("node"),
        "SLICEWARD_MQTT_URL": Short("broker.url"),
        "SLICEWARD_HOST_INDEX": Short("index"),
        "SLICEWARD_INSTANCE_ID": Short("instance_id"),
    }

    cluster: str = Field(min_length=1, description="Name of the cluster, as in ids and topics.")
    node: str = Field(min_length=1, description="Name of this node (downward API: `spec.nodeName`).")
    broker: BrokerSettings = Field(default_factory=BrokerSettings, description="The cluster's MQTT broker.")
    period: Duration = Field(default=timedelta(seconds=10), description="Time between two frames, 0.2 s to 10 min.")
    generation: str | None = Field(
        default=None, description="Accelerator label (`tpu7x`); default: the node's label, else the chips' PCI id."
    )
    chips: Annotated[int, Field(ge=1, le=64)] | None = Field(
        default=None, description="Chips that this host should have; default: the node's label, else what PCI shows."
    )
    instance_id: str = Field(default="", description="The provider's id of this machine; default: the file, else the node's.")
    instance_id_file: Path | None = Field(default=None, description="File that holds the provider's id of this machine.")
    index: Annotated[int, Field(ge=0, le=65535)] | None = Field(
        default=None,
        description="Place of this host in its cube; default: the node's label. Without one it is said, not guessed.",
    )
    state: Path = Field(default=Path("/var/lib/sliceward"), description="Folder for events that wait for the broker.")
    most_events: Annotated[int, Field(ge=10, le=100_000)] = Field(
        default=1000, description="Events kept while the broker is away."
    )
    most_frames: Annotated[int, Field(ge=1, le=1000)] = Field(default=6, description="Frames kept while the broker is away.")
    kubernetes: KubernetesSettings = Field(default_factory=KubernetesSettings, description="The node and its pods.")
    names: OtherNames = Field(
        default_factory=dict,
        description="Other names of labels, annotations and ports than today's (`topology/names.py`); the same in agents, watcher and coordinator.",
    )
    sources: SourcesSettings = Field(default_factory=SourcesSettings, description="What the agent reads.")
    listen: ListenSettings | None = Field(
        default=None, description="Where to serve /healthz, /readyz and /metrics; default: nowhere."
    )
    log: LogSettings = Field(default_factory=LogSettings, description="How to log.")
