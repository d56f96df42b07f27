"""What has failed under a running gang: which of its slices are hurt, by what, and whether it still makes steps.

The snapshot knows sick and degraded hosts, condemned links and lost optical switches; `Seen` says what is known beyond. A chip that
failed is its host, and a host inside a cube takes the cube along, because a place is made of whole cubes. Unknown is no failure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from sliceward.scheduling.occupancy import Grade
from sliceward.scheduling.prices import Figure
from sliceward.topology.errors import Misconfigured
from sliceward.topology.generations import GENERATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from sliceward.scheduling.ground import GroundId
    from sliceward.scheduling.occupancy import Occupancy
    from sliceward.scheduling.snapshot import HeldSlice, Running, Snapshot
    from sliceward.topology.ids import HostId, LinkId

    Part = HostId | LinkId | str


class Effect(StrEnum):
    """What a failed part does to the gang on it."""

    STOPS = "stops"
    SLOWS = "slows"


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of a gang that is hurt; the defaults are for who has seen nothing.

    ``slower``: the share of its speed that it lost, measured. ``since``: when the first part failed. ``at``: when the gang last told
    how it runs. ``saves``: it makes a checkpoint when asked. ``effects`` and ``repairs``: by part, where more is known than that it
    failed; repairs in seconds until the part is back. Parts are hosts, links, and optical switches by name.
    """

    slower: Figure | None = None
    since: datetime | None = None
    at: datetime | None = None
    saves: bool = False
    effects: Mapping[Part, Effect] = field(default_factory=dict)
    repairs: Mapping[Part, Figure] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse times without a zone, and a share that is none."""
        if any(time is not None and time.tzinfo is None for time in (self.since, self.at)):
            raise Misconfigured("what was seen of a gang", "has a time without a zone", "Give times with their zone")
        if self.slower is not None and self.slower.value > 1:
            raise Misconfigured("what was seen of a gang", f"lost {self.slower.value} of its speed", "Give a share, 0 to 1")


@dataclass(frozen=True, slots=True)
class Fault:
    """One failed part under a gang, in words, and how long its repair is expected to take."""

    part: Part
    effect: Effect
    why: str
    repair: Figure


@dataclass(frozen=True, slots=True)
class Harm:
    """A slice that is hurt. ``out``: the hosts that it has to leave to be whole again; none where a switch is lost for all of them."""

    held: HeldSlice
    ground: GroundId
    faults: tuple[Fault, ...]
    out: frozenset[HostId]

    @property
    def key(self) -> tuple[str, int]:
        """Role and index of the slice."""
        return self.held.role, self.held.index

    @property
    def stops(self) -> bool:
        """Whether a part of it stops the slice."""
        return any(fault.effect is Effect.STOPS for fault in self.faults)


def harms_of(snapshot: Snapshot, gang: Running, seen: Seen) -> tuple[Harm, ...]:
    """Give the slices of a gang that are hurt, in the order of the gang; none that is whole, or of which nothing is known."""
    assumed = Figure(snapshot.costs.repair, "assumed: repair")
    found = []
    for held in gang.slices:
        faults: list[Fault] = []
        out: set[HostId] = set()
        grounds = dict.fromkeys(snapshot.ground_of[host] for host in (held.hosts[:1] + held.hosts[-1:]))
        for ground in grounds:
            for part, hosts, effect, why in _failed(snapshot.grounds[ground].occupancy, gang, held):
                faults.append(Fault(part, seen.effects.get(part, effect), why, seen.repairs.get(part, assumed)))
                out.update(hosts)
        if faults:
            found.append(Harm(held, next(iter(grounds)), tuple(faults), frozenset(out)))
    return tuple(found)


def _failed(occupancy: Occupancy, gang: Running, held: HeldSlice) -> Iterator[tuple[Part, tuple[HostId, ...], Effect, str]]:
    """Give the failed parts under a slice, each with the hosts that have to be left for it.

    Looked for from the side of what failed, which is little: a large gang has thousands of hosts.
    """
    failed = [
        host for host, known in occupancy.standings.items() if known.grade in _EFFECTS and occupancy.holders.get(host) == gang.id
    ]
    for host in sorted(host for host in failed if host in held.hosts):
        standing = occupancy.standings[host]
        yield host, (host,), _EFFECTS[standing.grade], f"{host.name}: {standing.why or standing.grade}"
    for link in sorted(occupancy.links):
        ends = tuple(dict.fromkeys(end.host_id for end in link.ends))
        if all(end in held.hosts for end in ends):
            yield link, ends, Effect.SLOWS, f"link {link} is condemned"
    kind = GENERATIONS.get(gang.generation)
    if kind is not None and kind.is_whole_cubes(held.shape):
        for switch in sorted(occupancy.switches):
            yield switch, (), Effect.SLOWS, f"optical switch {switch} is lost"


_EFFECTS = {Grade.SICK: Effect.STOPS, Grade.DEGRADED: Effect.SLOWS}
