"""What of a fleet that was read cannot be planned with: it is set aside by name, and all else is planned as if it were not there.

One mislabelled node must not keep gangs from their places elsewhere. Nothing new is placed on what is set aside.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from sliceward.scheduling.costs import checked_cost
from sliceward.scheduling.snapshot import Running
from sliceward.topology.errors import Misconfigured
from sliceward.topology.fleet import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from sliceward.scheduling.ground import Ground, GroundId
    from sliceward.scheduling.snapshot import HeldSlice, Snapshot
    from sliceward.scheduling.told import Told
    from sliceward.topology.fleet import Cube
    from sliceward.topology.gangs import Gang
    from sliceward.topology.ids import HostId

_Made = TypeVar("_Made", bound="Ground")


@dataclass(slots=True)
class Aside:
    """What was set aside so far."""

    problems: dict[tuple[str, str], Problem] = field(default_factory=dict)

    @property
    def found(self) -> tuple[Problem, ...]:
        """All of it, each once, in the order in which it was found."""
        return tuple(self.problems.values())

    def note(self, name: str, about: object, why: str, what_to_do: str) -> None:
        """Set something aside."""
        self.problems.setdefault((name, str(about)), Problem(name, str(about), why, what_to_do))

    def made(self, cubes: list[Cube], make: Callable[[list[Cube]], _Made]) -> Iterator[_Made]:
        """Make a ground of cubes; where they make none, of those that can be used, or of none."""
        try:
            yield make(cubes)
        except Misconfigured:
            usable = [cube for cube in cubes if self._is_usable(cube, make)]
            if usable:
                yield from self._of_rest(usable, make)

    def each_host_once(self, grounds: Iterable[Ground]) -> Iterator[Ground]:
        """Leave out a ground with a host of one before."""
        where: dict[HostId, GroundId] = {}
        for ground in grounds:
            twice = next((host for host in ground.hosts if host in where), None)
            if twice is None:
                where.update(dict.fromkeys(ground.hosts, ground.id))
                yield ground
            else:
                self.note("HostInTwoPlaces", ground.id, f"{twice} lies in {where[twice]} as well", "Correct the labels")

    def numbers(self, risks: Mapping[HostId, float]) -> Mapping[HostId, float]:
        """Leave out risks that are no numbers."""
        found = {}
        for host, risk in risks.items():
            try:
                found[host] = checked_cost(risk, f"risk of {host}")
            except Misconfigured as no:
                self.note("UnusableRisk", host, no.why, "It counts as none until it can be told")
        return found

    def running(self, snapshot: Snapshot, gang: Gang, held: tuple[HeldSlice, ...], told: Told | None) -> Running | None:
        """Give a gang that holds hosts of a snapshot; None where it contradicts itself.

        Of which generation it is says what it sits on, if it does not say it itself.
        """
        generation = gang.generation or snapshot.grounds[snapshot.ground_of[held[0].hosts[0]]].generation
        try:
            running = Running(gang.id, gang.tenant, generation, held, gang.priority)
            no = snapshot.objection(running)
        except Misconfigured as refused:
            no = refused
        if no is not None:
            self.note("ContradictoryGang", gang.id, no.why, no.what_to_do)
            return None
        try:
            return told.paced(running) if told is not None else running
        except Misconfigured as refused:
            self.note("UnusableProgress", gang.id, refused.why, "It counts as not told")
            return running

    def _is_usable(self, cube: Cube, make: Callable[[list[Cube]], _Made]) -> bool:
        try:
            make([cube])
        except Misconfigured as no:
            self.note("UnusableCube", cube.id, no.why, no.what_to_do)
            return False
        return True

    def _of_rest(self, cubes: list[Cube], make: Callable[[list[Cube]], _Made]) -> Iterator[_Made]:
        try:
            yield make(cubes)
        except Misconfigured as no:
            self.note("UnusableBlock", ", ".join(str(cube.id) for cube in cubes), no.why, no.what_to_do)
