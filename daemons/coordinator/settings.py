"""Configuration of the coordinator, key by key."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path  # noqa: TC003 (pydantic resolves it at run time)
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from sliceward.daemons.coordinator.placement_settings import PlacementSettings
from sliceward.daemons.coordinator.proof import LEAST_GRACE
from sliceward.daemons.coordinator.windows import WindowSettings  # noqa: TC001 (pydantic resolves it at run time)
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
from sliceward.playbooks.schema import BudgetSpec  # noqa: TC001 (as above)

if TYPE_CHECKING:
    from collections.abc import Mapping

Mode = Literal["Observe", "Approve", "Enforce"]
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class StoreSettings(Section):
    """Where incidents, their journal, the alert inbox and the page outbox are kept."""

    url: str = Field(
        default="sqlite:///sliceward.db",
        description="`sqlite:///relative.db`, `sqlite:////absolute.db` or `postgresql://user@host/name`.",
    )
    password: Secret | None = Field(default=None, description="Password of the database, put into the URL.")


class PlaybookSettings(Section):
    """Which playbooks, and how much they may do."""

    folders: list[Path] = Field(default_factory=list, description="Folders of YAML files; empty: the shipped playbooks.")
    mode: Mode | None = Field(default=None, description="One mode for all playbooks, over what each file says.")
    settle_at_most: Duration | None = Field(
        default=None, description="No playbook waits longer than this for siblings of a finding; default: what each file says."
    )
    modes: dict[str, Mode] = Field(default_factory=dict, description="Mode by name of a playbook; beats `mode`.")


class TokenSettings(Section):
    """Who may call the API."""

    name: str = Field(min_length=1, description="Name that stands in the audit of what this caller did.")
    role: Literal["view", "operate", "alert"] = Field(
        default="view", description="`view` reads, `operate` also changes, `alert` may only post alerts."
    )
    token: Secret = Field(description="The token itself: `{file: PATH}` or `{env: NAME}`.")


class ApiSettings(ListenSettings):
    """The HTTP API, the page, health and metrics."""

    port: int = Field(default=8482, ge=0, le=65535, description="Port; 0 takes a free one.")
    tokens: list[TokenSettings] = Field(default_factory=list, description="Callers; none: loopback only, open to all on it.")
    public_url: str = Field(default="", description="Address of the page as people see it; stands in pages that go out.")

    @model_validator(mode="after")
    def _closed_or_local(self) -> Self:
        if not self.tokens and self.host not in LOOPBACK:
            raise ValueError(
                f"listens on {self.host} without any token: everybody who reaches it could act."
                " List api.tokens, or listen on 127.0.0.1"
            )
        return self


class AlertSettings(Section):
    """Alerts that come in by webhook."""

    map: Path | None = Field(
        default=None, description="YAML file that turns alerts into findings; without it, all are only shown."
    )
    stale_after: Duration = Field(
        default=timedelta(hours=6),
        description="A firing alert not sent again for so long is unknown (Alertmanager repeats every 4h).",
    )


class HeartbeatSettings(Section):
    """A word that is sent while the coordinator leads and gets on; the receiver pages when it stays away."""

    url: str = Field(min_length=1, description="Where to send it. May hold a secret: then set it by the environment.")
    every: Duration = Field(default=timedelta(minutes=1), description="How often; let the receiver wait three times as long.")
    method: Literal["POST", "GET"] = Field(default="POST", description="`POST` with a JSON body, or `GET`.")
    token: Secret | None = Field(default=None, description="Value of the header `Authorization`, e.g. `GenieKey …`.")


class PagerSettings(Section):
    """One receiver of pages."""

    name: str = Field(min_length=1, description="Its name, as in the outbox.")
    kind: str = Field(description="`webhook`, `pagerduty` or `console`.")
    url: str = Field(default="", description="Where to post; default is the service's own address.")
    secret: Secret | None = Field(default=None, description="Signing secret or routing key.")
    heartbeat: HeartbeatSettings | None = Field(
        default=None, description="Heartbeat beside its pages; of a `webhook` signed with the same secret."
    )


class ProviderSettings(Section):
    """Who repairs hosts."""

    kind: str = Field(default="nobody", description="`nobody` (a human repairs) or `http`.")
    url: str = Field(default="", description="Address of the provider (docs/provider.md).")
    token: Secret | None = Field(default=None, description="Bearer token for it.")


class LeaderSettings(Section):
    """Which of several replicas acts."""

    lease: str = Field(
        default="", description="Name of the Lease by which replicas agree who acts; empty: there is one replica only."
    )
    namespace: str = Field(default="sliceward", description="Namespace of the Lease.")
    kubeconfig: Path | None = Field(default=None, description="Of the cluster that holds the Lease; default: the one we run in.")
    context: str | None = Field(default=None, description="Context in that file; default is its current one.")
    address: str = Field(default="", description="URL of this replica's API; the others pass requests on to it while it leads.")
    duration: Duration = Field(default=timedelta(seconds=8), description="A Lease that stood still for so long may be taken.")
    renew_every: Duration = Field(default=timedelta(seconds=2), description="How often the leader renews it.")
    give_up_after: Duration = Field(
        default=timedelta(seconds=6), description="A leader that could not renew for so long stops acting."
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.renew_every * 2 <= self.give_up_after < self.duration:
            raise ValueError("needs 2 x renew_every <= give_up_after < duration, or two replicas could act at once")
        return self


class PaceSettings(Section):
    """How often, and how long to wait."""

    decide_every: Duration = Field(default=timedelta(seconds=5), description="Longest pause between two rounds of deciding.")
    sweep_every: Duration = Field(default=timedelta(seconds=30), description="How often marks and incidents are compared.")
    call_timeout: Duration = Field(default=timedelta(seconds=30), description="Longest time of one call of an action.")
    page_timeout: Duration = Field(default=timedelta(seconds=15), description="Longest time of one delivery of a page.")
    findings_stale_after: Duration = Field(
        default=timedelta(seconds=60), description="Without the broker for so long, every finding of the cluster is unknown."
    )
    findings_told_within: Duration = Field(
        default=timedelta(minutes=2),
        description="A finding that the watcher did not repeat for so long is unknown (it repeats every 30 s).",
    )
    fleet_stale_after: Duration = Field(
        default=timedelta(seconds=90), description="A snapshot older than this is no ground for harm."
    )
    silence_paged_after: Duration = Field(
        default=timedelta(minutes=5), description="A store, cluster, broker or watcher silent for so long is paged."
    )
    broker_grace: Duration = Field(
        default=timedelta(seconds=2),
        description="After connecting, time for retained messages to come. Without `leader.lease` also what a coordinator waits before"
        " its first call, and for half of it the store's word counts on who leads: at least 1 s then.",
    )


class CoordinatorSettings(Settings):
    """The whole configuration file of `sliceward coordinator`."""

    short_names: ClassVar[Mapping[str, Short]] = {
        "SLICEWARD_CLUSTER": Short("clusters.0.name"),
        "SLICEWARD_MQTT_URL": Short("clusters.0.broker.url"),
        "SLICEWARD_STORE_URL": Short("store.url"),
        "SLICEWARD_PLAYBOOKS": Short("playbooks.folders"),
        "KUBECONFIG": Short("clusters.0.kubeconfig", weak=True),
    }

    clusters: list[ClusterSettings] = Field(min_length=1, description="The clusters of the fleet.")
    names: OtherNames = Field(
        default_factory=dict,
        description="Other names of labels, annotations and ports than today's (`topology/names.py`); the same in agents, watcher and coordinator.",
    )
    store: StoreSettings = Field(default_factory=StoreSettings, description="The store.")
    playbooks: PlaybookSettings = Field(default_factory=PlaybookSettings, description="The playbooks.")
    quota: dict[str, dict[str, int | dict[str, int]]] = Field(
        default_factory=dict,
        description="Nominal chips by tenant and generation, e.g. `{ml: {tpu7x: 256}}`, or cells of a shape, which are guaranteed in"
        " that form: `{ml: {tpu7x: {4x4x4: 4}}}`; none: not limited.",
    )
    placement: PlacementSettings = Field(default_factory=PlacementSettings, description="What placement goes by, beside quota.")
    budget: BudgetSpec | None = Field(
        default=None, description="Budget of the whole fleet, on top of each playbook's own; same form as in a playbook."
    )
    maintenance: list[WindowSettings] = Field(
        default_factory=list, description="Times at which parts, gangs or playbooks are left alone; only harm is held."
    )
    pagers: list[PagerSettings] = Field(default_factory=list, description="Who is told.")
    provider: ProviderSettings = Field(default_factory=ProviderSettings, description="Who repairs.")
    api: ApiSettings = Field(default_factory=ApiSettings, description="The HTTP API.")
    alerts: AlertSettings = Field(default_factory=AlertSettings, description="Alerts in.")
    leader: LeaderSettings = Field(default_factory=LeaderSettings, description="Several replicas.")
    pace: PaceSettings = Field(default_factory=PaceSettings, description="Times.")
    log: LogSettings = Field(default_factory=LogSettings, description="Logs.")

    @model_validator(mode="after")
    def _distinct_names(self) -> Self:
        for what, names in (
            ("clusters", [cluster.name for cluster in self.clusters]),
            ("pagers", [pager.name for pager in self.pagers]),
            ("maintenance", [window.name for window in self.maintenance]),
            ("api.tokens", [token.name for token in self.api.tokens]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{what}: the name {twice[0]!r} stands twice")
        return self

    @model_validator(mode="after")
    def _placement_knows_of_whom(self) -> Self:
        bare = [tenant for tenant in self.placement.protected if tenant not in self.quota]
        if bare:
            raise ValueError(f"placement.protected: {bare[0]!r} has no quota, so nothing of it would be protected: give it one")
        strange = sorted(set(self.placement.levels) - {cluster.name for cluster in self.clusters})
        if strange:
            raise ValueError(f"placement.levels: there is no cluster {strange[0]!r}: name one of `clusters`")
        return self

    @model_validator(mode="after")
    def _one_store_for_all(self) -> Self:
        if self.leader.lease and self.store.url.startswith("sqlite"):
            raise ValueError(
                "leader.lease is for several replicas, and each would have a SQLite of its own: set store.url (SLICEWARD_STORE_URL)"
                " to postgresql://USER@HOST/NAME, or leave leader.lease empty"
            )
        return self

    @model_validator(mode="after")
    def _begins_after_another(self) -> Self:
        if not self.leader.lease and self.pace.broker_grace < LEAST_GRACE:
            raise ValueError(
                f"pace.broker_grace: {self.pace.broker_grace.total_seconds():g} s is too short without leader.lease: who begins waits so"
                f" long before its first call, and one that was frozen may call for half of it on what the store said last. Write"
                f" {LEAST_GRACE.total_seconds():g}s or more, or set leader.lease"
            )
        return self
