"""What would become of the fleet if: the same functions on a changed snapshot.

Comes in: a snapshot, events, who runs and who waits. Goes out: for each gang that would be hurt the ways out with their prices, for
each gang that waits whether it is placed now and would be then, and the figures of fragmentation before and after. Gangs are looked at
by priority, and each leaves the next what it took or gave back, as things are and as they would be alike.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from sliceward.scheduling.candidates import Way
from sliceward.scheduling.changes import applied
from sliceward.scheduling.displacement import request_of, running_of
from sliceward.scheduling.fragmentation import fragmentation_of
from sliceward.scheduling.harm import Seen, harms_of
from sliceward.scheduling.place import place
from sliceward.scheduling.plan import Plan
from sliceward.scheduling.repair import UNSEEN, repair
from sliceward.scheduling.snapshot import HeldSlice

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sliceward.scheduling.candidates import Choice
    from sliceward.scheduling.changes import Event
    from sliceward.scheduling.fragmentation import Fragmentation
    from sliceward.scheduling.plan import NoFit
    from sliceward.scheduling.request import Request
    from sliceward.scheduling.rights import Displaced
    from sliceward.scheduling.snapshot import Running, Snapshot
    from sliceward.topology.ids import GangId


NOBODY_SEEN: Mapping[GangId, Seen] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Waiting:
    """A gang that waits: where it goes as things are, and where it would go then, in both after those that wait before it."""

    gang: GangId
    now: Plan | NoFit
    then: Plan | NoFit


@dataclass(frozen=True, slots=True)
class Consequences:
    """What would follow. ``hurt``: by priority; ``waiting``: in the order in which they were asked about."""

    hurt: tuple[Choice, ...]
    waiting: tuple[Waiting, ...]
    before: tuple[Fragmentation, ...]
    after: tuple[Fragmentation, ...]


def what_if(  # noqa: PLR0913 (the two last are what `repair` asks for)
    snapshot: Snapshot,
    events: Iterable[Event],
    requests: Mapping[GangId, Request],
    waiting: Sequence[Request] = (),
    *,
    seen: Mapping[GangId, Seen] = NOBODY_SEEN,
    past: Sequence[Displaced] = (),
) -> Consequences:
    """Say what would follow from events. ``requests``: what the gangs that run ask for, where more is known than what they hold.

    ``seen``: what is seen of gangs that run. ``past``: who displaced whom lately.

    Raises:
        Misconfigured: an event names something that is not there.
    """
    then = snapshot
    for event in events:
        then = applied(then, event)
    after = fragmentation_of(then)
    hurt = []
    for gang in sorted(then.gangs.values(), key=lambda gang: (-gang.priority, gang.id)):
        request = requests.get(gang.id) or request_of(gang)
        if request is not None and _is_hurt_anew(snapshot, then, gang):
            choice = repair(then, request, seen.get(gang.id, UNSEEN), past=past, requests=requests)
            hurt.append(choice)
            then = _carried_out(then, gang, choice)
    told, now = [], snapshot
    for request in waiting:
        (here, now), (there, then) = _seated(now, request), _seated(then, request)
        told.append(Waiting(request.gang, here, there))
    return Consequences(tuple(hurt), tuple(told), fragmentation_of(snapshot), after)


def _seated(snapshot: Snapshot, request: Request) -> tuple[Plan | NoFit, Snapshot]:
    """Place a gang that waits; if it fits it sits there for those that come after it."""
    answer = place(snapshot, request)
    if not isinstance(answer, Plan):
        return answer, snapshot
    anew = running_of(request, answer, snapshot.gangs.get(request.gang))
    return answer, snapshot.without_gang(request.gang).with_gang(anew)


def _is_hurt_anew(snapshot: Snapshot, then: Snapshot, gang: Running) -> bool:
    """Whether more of a gang is hurt than was before."""
    return harms_of(then, gang, Seen()) != (harms_of(snapshot, gang, Seen()) if gang.id in snapshot.gangs else ())


def _carried_out(snapshot: Snapshot, gang: Running, choice: Choice) -> Snapshot:
    """Let a gang take its best way, so that the next one finds the room that is left. Only who ends for good gives its own back."""
    best = choice.best
    if best.way is Way.EVICT:
        return snapshot.without_gang(gang.id)
    anew = {(each.role, each.index): each for each in best.slices}
    slices = tuple(
        held if (to := anew.get((held.role, held.index))) is None else HeldSlice(held.role, held.index, to.shape, to.hosts)
        for held in gang.slices
    )
    return snapshot.without_gangs((*best.victims, gang.id)).with_gang(replace(gang, slices=slices))
