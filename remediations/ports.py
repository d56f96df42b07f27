"""What actions need from the world, as protocols; kept free of asyncio and network libraries.

Implemented by `sliceward.remediations.kubernetes` (Cluster), `sliceward.daemons` over MQTT (Hosts),
`sliceward.remediations.paging` (Pager) and `sliceward.remediations.providers` (Provider), and by fakes in
``tests/`` that pass the same contract tests. Every method raises only `Retry` (unknown or later; `Conflict` for a stale
version), `Refused` (no and no again). A call is bounded in time by whoever implements the port.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from sliceward.topology.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import datetime, timedelta

    from sliceward.remediations.page import Page
    from sliceward.topology.ids import GangId, HostId

Object = dict[str, Any]
"""A Kubernetes object as JSON, with camelCase keys."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of Kubernetes object: ``api`` is ``v1``, ``batch/v1``, ``jobset.x-k8s.io/v1alpha2``...; ``plural`` as in paths."""

    api: str
    plural: str
    namespaced: bool = True


NODE = Kind("v1", "nodes", namespaced=False)
POD = Kind("v1", "pods")
EVENT = Kind("events.k8s.io/v1", "events")
JOB = Kind("batch/v1", "jobs")
JOBSET = Kind("jobset.x-k8s.io/v1alpha2", "jobsets")
WORKLOAD = Kind("kueue.x-k8s.io/v1beta2", "workloads")
SLICE = Kind("accelerator.gke.io/v1beta1", "slices", namespaced=False)
KINDS = {kind.plural: kind for kind in (NODE, POD, EVENT, JOB, JOBSET, WORKLOAD, SLICE)}


class Cluster(Protocol):
    """One Kubernetes cluster. Reads are fresh (from the API server), not from a cache."""

    name: str

    async def get(self, kind: Kind, name: str, namespace: str = "") -> Object | None:
        """Give the object, or None where it (or its kind) does not exist."""
        ...

    async def list(self, kind: Kind, *, namespace: str = "", labels: str = "", fields: str = "") -> Sequence[Object]:
        """Give all objects that match both selectors (Kubernetes syntax); empty where the kind does not exist."""
        ...

    async def create(self, kind: Kind, body: Object, namespace: str = "") -> Object:
        """Create; if an object of that name exists already, give that one instead."""
        ...

    async def patch(self, kind: Kind, name: str, body: Object, namespace: str = "") -> Object:
        """Merge-patch. With ``metadata.resourceVersion`` in ``body`` a stale version raises `Conflict`."""
        ...

    async def delete(self, kind: Kind, name: str, namespace: str = "", *, uid: str = "", grace: timedelta | None = None) -> bool:
        """Delete if it still has ``uid``; ``grace`` zero is force. Give whether there was something to delete."""
        ...


@dataclass(frozen=True, slots=True)
class HostAnswer:
    """What an agent answered to a request: ``ok`` False with ``why`` is a no from the host; no answer is None, not this.

    ``instance_id``: the machine that answered, "" where it did not say.
    """

    ok: bool
    why: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    instance_id: str = ""


class Hosts(Protocol):
    """Requests to agents over MQTT (``…/hosts/{host}/request`` and ``…/event``), answered later or never."""

    async def ask(self, host: HostId, request: str, *, request_id: str, deadline: datetime, facts: Mapping[str, Any]) -> None:
        """Send ``request`` (``checkpoint``, ``device-check``); asking again with the same id is harmless."""
        ...

    async def answer(self, request_id: str) -> HostAnswer | None:
        """Give the answer if it has come; None is unknown."""
        ...


class Pager(Protocol):
    """Sends pages."""

    name: str

    async def send(self, page: Page) -> None:
        """Deliver once (the receiver drops repeats of ``page.delivery_id``). Raises `Retry` or `Refused`."""
        ...


@dataclass(frozen=True, slots=True)
class Repair:
    """A repair at the provider: ``state`` is ``requested``, ``running``, ``done`` or ``failed``."""

    id: str
    state: str
    text: str = ""


class Provider(Protocol):
    """Whoever repairs hosts. The HTTP wire is in docs/provider.md."""

    name: str

    async def request_repair(self, host: HostId, *, instance_id: str, behavior: str, text: str, operation_id: str) -> Repair:
        """Ask for repair of what is broken on this host; asking again with the same operation id gives the same repair."""
        ...

    async def repair(self, repair_id: str) -> Repair | None:
        """Give the state of a repair; None where the provider does not know it."""
        ...


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a gang as the watcher last published it. ``age`` of the numbers is ``now - at``."""

    gang: GangId
    at: datetime
    step: int | None
    rate: float | None
    rate_before: float | None
    checkpoint_step: int | None
    checkpoint_age: float | None
    members: int


class Together(Protocol):
    """Does several calls that do not depend on each other, all at once where the process can."""

    async def __call__(self, calls: Sequence[Callable[[], Awaitable[Object | None]]]) -> list[Object | Conflict | None]:
        """Give what each call gave, in order, a conflict as a value. Raises the first other error, once none is under way."""
        ...


async def answer_of(call: Callable[[], Awaitable[Object | None]]) -> Object | Conflict | None:
    """Give what a call gives, a conflict as a value."""
    try:
        return await call()
    except Conflict as conflict:
        return conflict


async def one_after_another(calls: Sequence[Callable[[], Awaitable[Object | None]]]) -> list[Object | Conflict | None]:
    """Do them in order: a `Together` without a loop of its own."""
    return [await answer_of(call) for call in calls]


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything an action may touch, for one cluster."""

    cluster: Cluster
    hosts: Hosts
    provider: Provider
    together: Together = one_after_another
