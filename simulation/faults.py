"""Faults with known truth: what is broken, what should be found, and what the shipped playbook promises to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from sliceward.detectors.finding import Kind
from sliceward.simulation.hosts.state import UNUSABLE, Holder
from sliceward.topology.errors import Misconfigured
from sliceward.topology.ids import ChipId, HostId, LinkId
from sliceward.topology.links import ends, is_between_cubes, links_of, port_at

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from sliceward.simulation.hosts.host import SimulatedHost
    from sliceward.topology.fleet import Fleet
    from sliceward.topology.ids import CubeId, PartId

DEGRADED = 7
_THROTTLED = 6
_ORPHAN_PID = 66_001


class Promise(StrEnum):
    """What the shipped playbook promises."""

    MOVED_AND_GIVEN_BACK = "moved-and-given-back"
    NAMED_AND_HANDED_OVER = "named-and-handed-over"


@dataclass(frozen=True, slots=True)
class End:
    """One end of a link as its chip numbers it."""

    node: str
    chip: int
    port: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a fault strikes: a chip of a host, and for a fault of a link both its ends."""

    node: str
    chip: int = 0
    link: tuple[End, End] | None = None

    @property
    def nodes(self) -> tuple[str, ...]:
        """The hosts that the fault shows on."""
        return (self.node,) if self.link is None else tuple(dict.fromkeys(end.node for end in self.link))


class Effects(Protocol):
    """What a fault does outside of the simulated host itself."""

    async def agent_dies(self, node: str) -> None:
        """End the agent of a host without a word."""
        ...

    async def kubelet_dies(self, node: str) -> None:
        """Make the host's kubelet fall silent, so that its node turns not Ready and its pods freeze."""
        ...

    async def host_returns(self, node: str) -> None:
        """Start kubelet and agent again."""
        ...


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. ``part``: kind of the part that must be named (``link``, ``chip``, ``host``); ``between_cubes``: of a link."""

    name: str
    about: str
    kind: Kind
    part: str
    promise: Promise
    _inject: Callable[[Mapping[str, SimulatedHost], Place, Effects], Awaitable[None]]
    between_cubes: bool = False

    async def inject(self, hosts: Mapping[str, SimulatedHost], place: Place, effects: Effects) -> None:
        """Break it."""
        await self._inject(hosts, place, effects)

    async def repair(self, hosts: Mapping[str, SimulatedHost], place: Place, effects: Effects, *, boot_id: str) -> None:
        """Repair it as a provider does: every host that the fault shows on boots again, healthy."""
        for node in place.nodes:
            await hosts[node].repair(boot_id=f"{boot_id}-{node}")
            await effects.host_returns(node)

    def named(self, cluster: str, place: Place) -> PartId:
        """Give the part that a finding must name.

        Raises:
            Misconfigured: the place has no link, and the fault is one of a link.
        """
        match self.part:
            case "host":
                return HostId(cluster, place.node)
            case "chip":
                return ChipId(cluster, place.node, place.chip)
            case _:
                one, other = _both(place)
                return LinkId.between(ChipId(cluster, one.node, one.chip), ChipId(cluster, other.node, other.chip))


def place_on_link(fleet: Fleet, link: LinkId) -> Place:
    """Give the place of a link's fault.

    Raises:
        Misconfigured: the fleet does not know at which ports the link's ends are.
    """
    found = []
    for chip in ends(link):
        port = port_at(fleet, chip, link)
        if port is None:
            raise Misconfigured(f"link {link}", "has an end without a port in this fleet")
        found.append(End(chip.host, chip.index, port))
    return Place(found[0].node, found[0].chip, (found[0], found[1]))


def links_to_break(fleet: Fleet, cube: CubeId, *, between_cubes: bool) -> tuple[LinkId, ...]:
    """Give the links of a cube that a fault of a link may strike: inside it, or out of it through a face."""
    return tuple(link for link in links_of(fleet, cube) if is_between_cubes(fleet, link) == between_cubes)


def _both(place: Place) -> tuple[End, End]:
    if place.link is None:
        raise Misconfigured(f"place {place.node}", "names no link", "Use place_on_link")
    return place.link


def _links(score: int) -> Callable[[Mapping[str, SimulatedHost], Place, Effects], Awaitable[None]]:
    async def inject(hosts: Mapping[str, SimulatedHost], place: Place, _effects: Effects) -> None:
        for end in _both(place):
            hosts[end.node].set_link(end.chip, end.port, score)

    return inject


async def _lose_chip(hosts: Mapping[str, SimulatedHost], place: Place, _effects: Effects) -> None:
    hosts[place.node].set_missing(place.chip, missing=True)


async def _kill_host(hosts: Mapping[str, SimulatedHost], place: Place, effects: Effects) -> None:
    await hosts[place.node].die()
    await effects.kubelet_dies(place.node)
    await effects.agent_dies(place.node)


async def _spoil_memory(hosts: Mapping[str, SimulatedHost], place: Place, _effects: Effects) -> None:
    hosts[place.node].memory_errors(place.chip, 3)


async def _throttle(hosts: Mapping[str, SimulatedHost], place: Place, _effects: Effects) -> None:
    hosts[place.node].set_throttle(place.chip, _THROTTLED)


async def _kill_agent(_hosts: Mapping[str, SimulatedHost], place: Place, effects: Effects) -> None:
    await effects.agent_dies(place.node)


async def _occupy(hosts: Mapping[str, SimulatedHost], place: Place, _effects: Effects) -> None:
    hosts[place.node].hold(place.chip, Holder(_ORPHAN_PID, "python3"))


_MOVED, _NAMED = Promise.MOVED_AND_GIVEN_BACK, Promise.NAMED_AND_HANDED_OVER

# fmt: off
_ALL = (
    Fault("link-degraded", "An ICI link inside a cube shows persistent trouble at both ends.", Kind.ICI_LINK_DEGRADED, "link", _MOVED, _links(DEGRADED)),
    Fault("link-down", "An ICI link inside a cube is unusable; the gang on it stands still.", Kind.ICI_LINK_DOWN, "link", _MOVED, _links(UNUSABLE)),
    Fault("link-between-cubes", "An optical link between two cubes shows persistent trouble; the slice routes round it.", Kind.ICI_LINK_DEGRADED, "link", _NAMED, _links(DEGRADED), between_cubes=True),
    Fault("chip-lost", "A chip's device file vanishes from its host.", Kind.CHIP_LOST, "chip", _MOVED, _lose_chip),
    Fault("host-died", "A host loses power: agent, kubelet and training process end without a word.", Kind.HOST_LOST, "host", _MOVED, _kill_host),
    Fault("memory-errors", "Uncorrectable HBM errors of a chip stand in the kernel log.", Kind.HBM_UNCORRECTABLE, "chip", _MOVED, _spoil_memory),
    Fault("device-throttled", "A chip is throttled by 60 %.", Kind.CHIP_THROTTLED, "chip", _NAMED, _throttle),
    Fault("agent-died", "The agent of a healthy host ends; the host trains on.", Kind.TELEMETRY_LOST, "host", _NAMED, _kill_agent),
    Fault("device-occupied", "An orphan process outside of any pod holds a chip's device.", Kind.DEVICE_OCCUPIED, "chip", _NAMED, _occupy),
)
# fmt: on

FAULTS: Mapping[str, Fault] = {fault.name: fault for fault in _ALL}
"""By name, in the order in which ``demo --help`` lists them."""
