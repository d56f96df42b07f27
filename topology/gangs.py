"""A gang as a value: the pods that live and die together, by role and slice.

Made by `sliceward.topology.reading` from JobSet, Job, Workload and Slice objects and from pods. A suspended gang has
no pods, so members are what runs now and roles say what should run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sliceward.topology.ids import GangId, HostId, SliceId


class GangState(StrEnum):
    """Where a gang stands, from its owner object alone."""

    RUNNING = "running"
    SUSPENDED = "suspended"
    FINISHED = "finished"
    FAILED = "failed"


class ManagedBy(StrEnum):
    """Who decides about placement and suspension of a gang."""

    NOBODY = "nobody"
    KUEUE = "kueue"
    SLICE_CONTROLLER = "slice-controller"


@dataclass(frozen=True, slots=True)
class Role:
    """One replicated Job of a gang (an Indexed Job is a gang with one role and one slice).

    ``slices`` = replicas, each a slice of ``hosts`` pods with ``chips_per_host`` chips.
    """

    name: str
    slices: int
    hosts: int
    chips_per_host: int
    topology: tuple[int, ...] | None
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerates_everything: bool = False


@dataclass(frozen=True, slots=True)
class Member:
    """One pod of a gang as it is now. ``host`` is None while it is not bound."""

    pod: str
    uid: str
    role: str
    slice_index: int
    rank: int | None
    host: HostId | None
    ready: bool
    terminating: bool
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Preempted:
    """A gang had to go for another, as Kueue says. ``by``: uid of the other's owner object."""

    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Gang:
    """A gang: what should run (roles) and what runs (members).

    ``exclusive_key`` is the node label of exclusive topology, if the gang asks for one. ``slices`` names the slice that
    each (role, slice index) sits in, where known. ``tenant`` is label ``sliceward.dev/tenant``, else the namespace. ``fewest``: with
    so many slices an elastic gang goes on (annotation ``sliceward.dev/fewest-slices``); 0: it needs all of them. ``preempted``: it has
    no place because it had to go.
    """

    id: GangId
    uid: str
    state: GangState
    managed_by: ManagedBy
    roles: tuple[Role, ...]
    members: tuple[Member, ...]
    tenant: str
    priority: int = 0
    generation: str | None = None
    exclusive_key: str | None = None
    restarts: int = 0
    max_restarts: int | None = None
    slices: tuple[SliceId, ...] = ()
    placed_by_us: str | None = None
    fewest: int = 0
    preempted: Preempted | None = None

    @property
    def chips(self) -> int:
        """Chips that the gang needs when it runs."""
        return sum(role.slices * role.hosts * role.chips_per_host for role in self.roles)

    @property
    def hosts(self) -> frozenset[HostId]:
        """Hosts that hold a member that has not ended."""
        return frozenset(m.host for m in self.members if m.host is not None and not m.ended)
