"""An action: one thing that sliceward can do, over ports, told by its own file in this folder.

Actions are *level-triggered and idempotent*: the coordinator calls an action until it answers `Done` or `Failed` or its
time is up; every call reads the present first. A restart calls it again with the same operation id. An action never asks
for the time, never sleeps, never retries: it answers `Wait`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from sliceward.remediations.outcome import Outcome
    from sliceward.remediations.ports import Ports, Progress
    from sliceward.scheduling.scene import Scene
    from sliceward.topology.fleet import Fleet
    from sliceward.topology.gangs import Gang
    from sliceward.topology.ids import GangId, HostId, PartId


@dataclass(frozen=True, slots=True)
class Verb:
    """One line of RBAC that an action needs, e.g. ``Verb("", "nodes", ("get", "patch"))``.

    ``own``: in sliceward's own namespace alone. Who may make a Job anywhere may run anything anywhere.
    """

    group: str
    resource: str
    verbs: tuple[str, ...]
    own: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """What an action is about. Everything it needs to know beside what it reads through its ports.

    ``incident``: id, e.g. ``inc-0a1b2c3d4e``; ``operation``: id of this step of this run, the same over retries and restarts.
    ``part``: the broken part; ``domain``: hosts that leave service with it; ``gang``: the one that is moved, as it is now
    (None: gone or nobody hurt). ``reserved``: hosts promised to other runs. ``facts``: facts of all earlier steps of this run,
    merged. ``given``: parameters from the playbook's ``with``. ``started``: when this step was first tried.
    ``lost``: hosts of which our own finding says now that they are dead. ``sick``: hosts with an open incident of another cause.
    ``scene``: gives the fleet as placement sees it, the same one to all that are called in one look; None: made anew.
    """

    incident: str
    operation: str
    part: PartId
    domain: tuple[HostId, ...]
    gang: Gang | None
    fleet: Fleet
    progress: Progress | None
    reserved: Mapping[HostId, GangId]
    facts: Mapping[str, Any]
    given: Mapping[str, Any]
    started: datetime
    now: datetime
    text: str = ""
    lost: frozenset[HostId] = frozenset()
    sick: frozenset[HostId] = frozenset()
    scene: Callable[[], Scene] | None = None


class Action(Protocol):
    """One file, one class, one instance in `sliceward.remediations.catalog`.

    ``irreversible``: needs persisted intent, a finding firing now, and the budget re-checked right before the call.
    ``harm``: takes capacity or disturbs a gang (stopped by pause, modes and budgets); False for healing, which is never stopped.
    ``inverse``: name of the action that undoes it, "" where none does.
    ``parameters``: name -> one line of help, for ``given``; unknown names are refused at load.
    ``verbs``: all that it may do in Kubernetes; the coordinator's role is the union over the actions in use.
    """

    name: str
    about: str
    irreversible: bool
    harm: bool
    inverse: str
    parameters: Mapping[str, str]
    verbs: tuple[Verb, ...]

    async def __call__(self, target: Target, ports: Ports) -> Outcome:
        """Do it, or observe that it is done."""
        ...
