"""The fleet snapshot: hosts, cubes, slices and gangs of one or many clusters at one instant, frozen.

Built by `sliceward.topology.reading` from plain mappings and by `sliceward.topology.plan` from a YAML file. What is
missing, unknown or contradictory is a `Problem` with a name, not a crash and not a guess.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from sliceward.topology.health import Health

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sliceward.topology.gangs import Gang
    from sliceward.topology.ids import CubeId, GangId, HostId, PartId, PodId, SliceId


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in the sources that cannot be used as it is. ``name`` is CamelCase and stable, e.g. ``UnknownAccelerator``."""

    name: str
    about: str
    why: str
    what_to_do: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A taint on a host. ``owner`` is None where it is not ours; ours carry the incident's id in the value."""

    key: str
    value: str
    effect: str
    ours: bool


@dataclass(frozen=True, slots=True)
class Host:
    """A TPU host as Kubernetes shows it.

    ``index``: place of the host in its cube or slice (None: unknown, and then nothing is done to it by position).
    ``instance_id``: the provider's, "" where unknown. ``ready``: node condition Ready, three-valued.
    ``conditions``: type -> status text, as on the node. ``available``: all marks and cordons allow new pods.
    """

    id: HostId
    generation: str
    chips: int
    cube: CubeId | None
    pod: PodId | None
    index: int | None
    instance_id: str
    boot_id: str
    ready: Health
    cordoned: bool
    marks: tuple[Mark, ...]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    conditions: Mapping[str, str] = field(default_factory=dict)
    version: str = ""

    @property
    def our_marks(self) -> tuple[Mark, ...]:
        """The marks that sliceward put on this host."""
        return tuple(m for m in self.marks if m.ours)

    @property
    def available(self) -> bool:
        """Whether a new gang may be planned here: Ready, not cordoned, and no mark that keeps TPU pods away.

        The taint ``google.com/tpu=present:NoSchedule`` is on every TPU node and does not count; the reader drops it.
        """
        return self.ready is Health.HEALTHY and not self.cordoned and not any(m.effect in _KEEPS_OUT for m in self.marks)


_KEEPS_OUT = frozenset({"NoSchedule", "NoExecute"})


@dataclass(frozen=True, slots=True)
class Cube:
    """A failure domain: a 4x4x4 partition, or on classic pools the node pool.

    ``shape`` in chips; ``hosts`` by index where known, else by name; ``state`` is Google's partition state where labelled.
    """

    id: CubeId
    generation: str
    shape: tuple[int, ...]
    hosts: tuple[HostId, ...]
    expected_hosts: int
    state: str | None = None
    pod: PodId | None = None


@dataclass(frozen=True, slots=True)
class Slice:
    """Chips that ICI joins for one gang. ``cubes`` in the order of the slice's torus; ``shape`` in chips."""

    id: SliceId
    shape: tuple[int, ...]
    cubes: tuple[CubeId, ...]
    hosts: tuple[HostId, ...]
    gang: GangId | None
    role: str = ""
    index: int = 0


@dataclass(frozen=True)
class Fleet:
    """Everything that exists at ``as_of``. Look-ups by id are O(1)."""

    as_of: datetime
    hosts: Mapping[HostId, Host]
    cubes: Mapping[CubeId, Cube]
    slices: Mapping[SliceId, Slice]
    gangs: Mapping[GangId, Gang]
    problems: tuple[Problem, ...] = ()

    @cached_property
    def gangs_on(self) -> Mapping[HostId, tuple[GangId, ...]]:
        """Gangs with a member that has not ended on each host."""
        found: dict[HostId, list[GangId]] = {}
        for gang in self.gangs.values():
            for host in gang.hosts:
                found.setdefault(host, []).append(gang.id)
        return {host: tuple(sorted(gangs)) for host, gangs in found.items()}

    def domain_of(self, part: PartId) -> tuple[HostId, ...]:
        """Give the hosts that leave service together when ``part`` is sick: those of its cube, else the part's own host.

        Empty where the part is unknown or is not inside one cube (a link between cubes, a gang, a cluster).
        """
        cubes = self.cubes_of(part)
        if len(cubes) == 1:
            return self.cubes[cubes[0]].hosts
        return ()

    def cubes_of(self, part: PartId) -> tuple[CubeId, ...]:
        """Give the cubes that ``part`` touches, sorted: one for host, chip, inner link; two for a link between cubes."""
        raise NotImplementedError
