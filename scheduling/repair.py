"""What to do for a running gang that is hurt: every way is worked out and priced, and the cheapest comes first.

Comes in: a snapshot, the gang's own request, and what was `Seen` of it. Any number of hosts, links and switches may have failed at
once. A slice that is whole keeps its place, whatever happens to the others: what is placed anew is placed beside it.

All ways are priced against one fleet, that in which nobody holds the places of the hurt slices: what a way keeps from others,
and what is to be expected of the parts that it uses, counts for staying as it does for moving.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from sliceward.scheduling.candidates import Candidate, Choice, Closed, Way, gentlest, sorted_out
from sliceward.scheduling.case import Case
from sliceward.scheduling.harm import Seen
from sliceward.scheduling.mending import Fix, fixes, old_lines
from sliceward.scheduling.prices import Bill, Figure, Item, Line, least, line, lost_steps, most, stop_and_start

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sliceward.scheduling.plan import PlannedSlice
    from sliceward.scheduling.request import Request
    from sliceward.scheduling.rights import Displaced
    from sliceward.scheduling.seating import Key
    from sliceward.scheduling.snapshot import Snapshot
    from sliceward.topology.ids import GangId

UNSEEN = Seen()
NOTHING = Bill()
Lines = tuple[Line, ...]


def repair(
    snapshot: Snapshot,
    request: Request,
    seen: Seen = UNSEEN,
    *,
    past: Sequence[Displaced] = (),
    requests: Mapping[GangId, Request] | None = None,
) -> Choice:
    """Give every way out for a gang that runs, priced, the cheapest first.

    A gang of which nothing failed stays. Of ways that cost the same the gentlest comes first, so that the answer is always the same.
    ``past`` and ``requests`` as in `displaced`: for whom may have to go.

    Raises:
        Misconfigured: the gang does not run, or is not the one of the request.
    """
    case = replace(Case.of(snapshot, request, seen), past=past, requests=requests or {})
    if not case.harms:
        well = Candidate(Way.STAY, Bill(), "nothing of it is known to have failed", snapshot.now)
        return Choice(request.gang, snapshot.now, (well,), (), ())
    old = old_lines(case)
    ends = [*_ends(case, old)]
    open_, closed = sorted_out([_stay(case, old), _limp(case, ends), *(_at_once(case, end) for end in ends)])
    return Choice(request.gang, snapshot.now, open_, closed, case.harms)


@dataclass(frozen=True, slots=True)
class _End:
    """A way that ends the harm. ``lost``: the steps that it loses beside all else, unless a checkpoint comes right before it."""

    way: Way
    why: str
    bill: Bill
    lost: Bill = NOTHING
    slices: tuple[PlannedSlice, ...] = ()
    left_out: tuple[Key, ...] = ()
    victims: tuple[GangId, ...] = ()
    gap: float | None = 0.0


def _ends(case: Case, old: Lines) -> Iterator[_End | Closed]:
    for fix in fixes(case):
        yield from [fix] if isinstance(fix, Closed) else _fixed(case, fix)
    yield _shrink(case, old)
    yield _wait(case, old)
    yield _evict(case)


def _stay(case: Case, old: Lines) -> Candidate | Closed:
    """Go on as it is until the gang is done."""
    if case.stands:
        return Closed(Way.STAY, case.stands)
    limp = line(Item.LIMP, case.chips, case.pace.left, case.slower)
    why = f"runs {case.slower.value:.0%} slower ({case.slower})"
    return Candidate(Way.STAY, _elapsed(case) + Bill((limp, *old)), why, case.snapshot.now)


def _limp(case: Case, ends: list[_End | Closed]) -> Candidate | Closed:
    """Go on until the next checkpoint, and end the harm then, so that no step is lost."""
    saved, every, now = case.gang.checkpointed, case.gang.checkpoints_every, case.snapshot.now
    if case.stands:
        return Closed(Way.LIMP, case.stands)
    if saved is None or every is None:
        return Closed(Way.LIMP, "when it saves itself next is not known")
    due = saved + timedelta(seconds=every)
    if due <= now:
        return Closed(Way.LIMP, f"its checkpoint is overdue since {due:%H:%M:%S}")
    end = min((end for end in ends if isinstance(end, _End)), key=lambda end: (end.bill.total, gentlest(end.way)))
    until = Figure((due - now).total_seconds(), "until its next checkpoint", case.pace.saved.age)
    bill = _elapsed(case) + Bill((line(Item.LIMP, case.chips, until, case.slower),)) + end.bill
    why = f"until the checkpoint at {due:%H:%M:%S}, then {end.way}: {end.why}"
    return Candidate(Way.LIMP, bill, why, due, end.way, end.slices, end.left_out, end.victims, end.gap)


def _at_once(case: Case, end: _End | Closed) -> Candidate | Closed:
    if isinstance(end, Closed):
        return end
    lost = NOTHING if case.seen.saves and not case.stands else end.lost
    bill = _elapsed(case) + end.bill + lost
    return Candidate(end.way, bill, end.why, case.snapshot.now, None, end.slices, end.left_out, end.victims, end.gap)


def _fixed(case: Case, fix: Fix) -> Iterator[_End]:
    """Price new places: the whole gang stops for them; an elastic one may go on beside the slices that form anew."""
    places, pace = Bill(fix.lines), case.pace
    stop, lost = stop_and_start(case.chips, pace), lost_steps(case.chips, pace)
    yield _End(fix.way, fix.why, stop + places, lost, fix.slices, victims=fix.victims, gap=fix.gap)
    if case.is_elastic:
        bill = stop_and_start(case.hurt_chips, pace) + _without(case) + _with_again(case)
        yield _End(
            fix.way, f"{fix.why} while the others go on", bill + places, slices=fix.slices, victims=fix.victims, gap=fix.gap
        )


def _shrink(case: Case, old: Lines) -> _End | Closed:
    """Go on with the other slices until the parts are repaired, or the gang is done."""
    whole = f"{len(case.whole)} of {len(case.gang.slices)} slices"
    if not case.is_elastic:
        needs = f"needs {case.gang.fewest}, one of each role" if case.gang.fewest else "is not elastic"
        return Closed(Way.SHRINK, f"{whole} are whole; it {needs}")
    back, pace = _back(case), case.pace
    bill = _without(case) + Bill((line(Item.IDLE, case.hurt_chips, least(back, pace.left)),))
    if back.value < pace.left.value:
        again = (line(Item.FORM, case.hurt_chips, pace.form), line(Item.RESTART, case.hurt_chips, pace.restart))
        bill = bill + _with_again(case) + Bill((*again, *old))
    return _End(Way.SHRINK, f"goes on with {whole}", bill, left_out=tuple(case.hurt))


def _wait(case: Case, old: Lines) -> _End:
    """Stop until the parts are repaired, and start anew where the gang was."""
    pace = case.pace
    times = ((Item.DRAIN, pace.drain), (Item.WAIT, _back(case)), (Item.RESTART, pace.restart))
    bill = Bill((*(line(item, case.chips, figure) for item, figure in times), *old))
    parts = {fault.part for harm in case.harms for fault in harm.faults}
    return _End(Way.WAIT, f"stops for the repair of {len(parts)} parts ({_back(case)})", bill, lost_steps(case.chips, pace))


def _evict(case: Case) -> _End:
    """Give all places back and queue for others."""
    pace = case.pace
    times = (
        (Item.DRAIN, pace.drain),
        (Item.WAIT, Figure(case.snapshot.costs.queue, "assumed: until there is room")),
        (Item.PLACE, pace.place),
        (Item.FORM, pace.form),
        (Item.RESTART, pace.restart),
    )
    bill = Bill(tuple(line(item, case.chips, figure) for item, figure in times))
    left_out = tuple((held.role, held.index) for held in case.gang.slices)
    return _End(Way.EVICT, "gives its places back and queues", bill, lost_steps(case.chips, pace), left_out=left_out)


def _without(case: Case) -> Bill:
    """Price that an elastic gang goes on without the hurt slices: the step that was under way is lost."""
    pace = case.pace
    return Bill((line(Item.RECONFIGURE, case.chips, pace.reconfigure), line(Item.LOST, case.chips, pace.step)))


def _with_again(case: Case) -> Bill:
    return Bill((line(Item.RECONFIGURE, case.chips, case.pace.reconfigure),))


def _elapsed(case: Case) -> Bill:
    """Price what is gone already, whatever is done: the time until the fault was seen."""
    since, assumed = case.seen.since, Figure(case.snapshot.costs.detect, "assumed: detection")
    seconds = assumed if since is None else Figure(max(0.0, (case.snapshot.now - since).total_seconds()), "since it failed")
    if not case.stands:
        return Bill((line(Item.DETECT, case.chips, seconds, case.slower),))
    return Bill((line(Item.DETECT, case.hurt_chips if case.is_elastic else case.chips, seconds),))


def _back(case: Case) -> Figure:
    """Give when the last failed part is expected back."""
    return most((fault.repair for harm in case.harms for fault in harm.faults), none=Figure(0.0, "nothing failed"))
