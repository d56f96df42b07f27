"""Training gangs that are not there: steps, checkpoints, stalls and restarts, as a synchronous JAX job would show them.

All members step together at the pace of the slowest; a member that is missing, dead or cut off stops them all. A SIGTERM
(a pod that terminates) is a preemption notice: the gang saves, if all of it still lives. A restart begins at the last
checkpoint, so steps after it are done twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sliceward.simulation.hosts import RunningJob

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from sliceward.simulation.hosts import HostState, SimulatedHost
    from sliceward.topology.gangs import Gang, Member
    from sliceward.topology.ids import GangId

UNUSABLE_LINK, SICK_LINK = 10, 6
"""Scores of ``ici_link_health``: 10 is unusable, 6 and more is a persistent problem."""
SICK_LINK_PACE = 0.6
FIRST_PID = 4000


@dataclass(frozen=True, slots=True)
class Program:
    """How a gang trains. ``rate`` steps/s at full speed, ``checkpoint_every`` steps, ``start_up`` seconds until the first step."""

    rate: float = 5.0
    checkpoint_every: int = 60
    start_up: float = 1.0


def pace_of(state: HostState) -> float:
    """Give the share of full speed that a host's chips and links allow; 0 where a collective over them does not end."""
    worst = max(state.links.values(), default=0)
    if state.is_dead or state.is_stuck or state.missing or worst >= UNUSABLE_LINK:
        return 0.0
    slowed = SICK_LINK_PACE if worst >= SICK_LINK else 1.0
    return min(slowed, 1.0 - max(state.throttle.values(), default=0) / 10)


@dataclass(slots=True)
class Training:
    """One gang's run. ``step``: where it is; ``saved``: last durable checkpoint; ``executed``: steps done, repeats included.

    ``lost``: steps that were done and had to be done again. ``places``: where each host's chips sit, by node name.
    ``history``: the step at each round in which the gang was whole.
    """

    id: GangId
    program: Program
    clock: Callable[[], datetime]
    places: Mapping[str, tuple[tuple[int, ...], ...]]
    step: float = 0.0
    saved: int = 0
    executed: float = 0.0
    restarts: int = 0
    lost: int = 0
    stepping: bool = False
    history: list[tuple[datetime, float]] = field(default_factory=list)
    _ready_since: float | None = None
    _seats: dict[str, SimulatedHost] = field(default_factory=dict)
    _pods: dict[str, str] = field(default_factory=dict)

    async def round(self, gang: Gang | None, hosts: Mapping[str, SimulatedHost], *, now: float, passed: float) -> None:
        """Go on by ``passed`` seconds. ``gang`` as the cluster shows it, ``hosts`` by node name, ``now`` in seconds."""
        members = [m for m in gang.members if m.host is not None and not m.ended] if gang is not None else []
        if self._ready_since is not None and any(m.terminating for m in members):
            self._answer_sigterm()
        here = {m.host.name: m for m in members if m.host is not None and not m.terminating}
        for name in [name for name in self._seats if name not in here or here[name].uid != self._pods[name]]:
            self._ready_since = None
            await self._seats.pop(name).stop_job()
        if gang is None or len(here) < gang_size(gang) or not all(m.ready for m in here.values()):
            self.stepping, self._ready_since = False, None
            return
        if self._ready_since is None:
            await self._begin(gang, here, hosts, now)
        self._train(now, passed)
        self.history.append((self.clock(), self.step))

    async def _begin(self, gang: Gang, members: Mapping[str, Member], hosts: Mapping[str, SimulatedHost], now: float) -> None:
        self._ready_since = now
        for number, (name, member) in enumerate(sorted(members.items())):
            if name not in self._seats:
                await hosts[name].start_job(self._job(gang, member, number))
            self._seats[name], self._pods[name] = hosts[name], member.uid
        if self.executed:
            self.restarts += 1
            self.lost += int(self.step) - self.saved
        self.step = float(self.saved)

    def _job(self, gang: Gang, member: Member, number: int) -> RunningJob:
        return RunningJob(
            gang=f"{gang.id.namespace}/{gang.id.owner_kind}/{gang.id.name}",
            role=member.role,
            slice_index=member.slice_index,
            rank=member.rank or 0,
            pod_uid=member.uid,
            pid=FIRST_PID + number,
            began=self.clock().timestamp(),
            coordinates=self.places.get(member.host.name, ()) if member.host is not None else (),
            slices=len({other.slice_index for other in gang.members}),
        )

    def _train(self, now: float, passed: float) -> None:
        pace = min(pace_of(host.state) for host in self._seats.values())
        self.stepping = pace > 0 and self._ready_since is not None and now >= self._ready_since + self.program.start_up
        if not self.stepping:
            return
        before, more = int(self.step), self.program.rate * pace * passed
        self.step += more
        self.executed += more
        if int(self.step) > before:
            for host in self._seats.values():
                host.step(int(self.step))
        wanted = any(host.checkpoint_requested for host in self._seats.values())
        if wanted or int(self.step) >= self.saved + self.program.checkpoint_every:
            self._save()

    def _answer_sigterm(self) -> None:
        """Save if the whole gang lives and the collective that a save is can end; then stop."""
        if all(pace_of(host.state) > 0 for host in self._seats.values()):
            self._save()
        self.stepping, self._ready_since = False, None

    def _save(self) -> None:
        self.saved = int(self.step)
        for host in self._seats.values():
            host.checkpointed(self.saved)


def gang_size(gang: Gang) -> int:
    """Count the pods of a gang that runs."""
    return sum(role.slices * role.hosts for role in gang.roles)
