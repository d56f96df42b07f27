"""One look at a cluster: take in what calls answered -> fold -> decide -> save all of it at once -> call.

A look goes over all incidents of the cluster, or over those alone whose calls have answered; all that it comes to is one transaction.
An exception about one incident sets that one aside for a while, by name; the others go on.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, assert_never

import structlog

from sliceward.daemons.coordinator import apart, step
from sliceward.daemons.coordinator.attention import Attention
from sliceward.daemons.coordinator.calls import Begun
from sliceward.daemons.coordinator.draft import Draft
from sliceward.daemons.coordinator.folding import folded
from sliceward.daemons.coordinator.following import still
from sliceward.daemons.coordinator.guarded import LOOK_OVER, Guard, Turns
from sliceward.daemons.coordinator.orders import Remembered, Told, beside_of
from sliceward.daemons.coordinator.seen import Known, Seen
from sliceward.playbooks import turn as turns
from sliceward.playbooks.decide import decide
from sliceward.playbooks.decision import Close, Hold, RunStep
from sliceward.remediations.outcome import Failed, Wait
from sliceward.scheduling.scene import Scene
from sliceward.topology.errors import Refused, Retry
from sliceward.topology.fleet import joined
from sliceward.topology.ids import HostId

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import datetime

    from sliceward.daemons.coordinator.aside import Aside
    from sliceward.daemons.coordinator.calls import Calls
    from sliceward.daemons.coordinator.docket import Docket
    from sliceward.daemons.coordinator.rules import Rules
    from sliceward.daemons.coordinator.side import Side
    from sliceward.daemons.coordinator.stops import Stops
    from sliceward.daemons.loops import Loop
    from sliceward.daemons.store import Case
    from sliceward.detectors.finding import Finding
    from sliceward.playbooks.run import Run
    from sliceward.playbooks.silences import Silence
    from sliceward.playbooks.turn import Turn
    from sliceward.playbooks.world import World
    from sliceward.remediations.outcome import Outcome
    from sliceward.scheduling.rights import Displaced
    from sliceward.topology.ids import GangId

log = structlog.get_logger(__name__)


@dataclass(eq=False, repr=False)  # what is held here is a whole fleet: no line of a traceback
class Looks:
    """What each look at a cluster needs.

    ``alerts``: present findings from the alert inbox, per cluster. ``silences``: what is to be left alone, in force or to come.
    ``past``: who displaced whom of late.
    ``lock``: over all book-keeping; whoever else writes about incidents takes it, too.
    """

    sides: Mapping[str, Side]
    rules: Rules
    clock: Callable[[], datetime]
    docket: Docket
    calls: Calls
    stops: Stops
    aside: Aside
    loop: Loop
    lock: asyncio.Lock
    alerts: Callable[[str], Mapping[str, Finding]] = lambda _cluster: {}
    silences: Callable[[datetime], tuple[Silence, ...]] = lambda _now: ()
    past: Callable[[], tuple[Displaced, ...]] = tuple
    attention: Attention = field(default_factory=Attention)
    _turns: Turns = field(default_factory=Turns)

    async def at(self, side: Side, only: frozenset[str] | None) -> datetime | None:
        """Look at one cluster, at the named incidents or at all (None); gives when the next look is due, if any is.

        What nobody expected there does not stop the others, and is shown.
        """
        name = f"cluster {side.name}"
        try:
            due = await self._at(side, only)
        except (Retry, Refused):
            raise
        except Exception as error:
            why = f"{type(error).__name__}: {error}"[:500]
            if self.loop.set_aside.get(name) != why:
                log.exception("cluster set aside", cluster=side.name)
            self.loop.set_aside[name] = why
            return None
        self.loop.set_aside.pop(name, None)
        return due

    async def _at(self, side: Side, only: frozenset[str] | None) -> datetime | None:
        """Take in what calls answered, fold, decide, save it all at once, and make the calls that follow.

        What was answered is saved even where the rest of the look fails.
        """
        wrong: Exception | None = None
        began = self.attention.seconds()
        try:
            ready = await side.read() is not None and side.presence.settled
        except Exception as error:  # noqa: BLE001 (raised below)
            ready, wrong = False, error
        async with self.lock:
            answered = Draft(self.docket.cases)
            self._take_answers(side, answered, only)
            draft = answered.copy()
            due: datetime | None = self.clock() + self.rules.decide_every / 4
            try:
                if ready:
                    self._fold(side, draft, only)
                    due = await self._decide_all(side, draft, only)
            except Exception as error:  # noqa: BLE001 (raised below)
                draft, wrong = answered, error
            saved = await self.docket.take_in_draft(draft)
            if wrong is not None:
                raise wrong
            await self._call_all(side, saved, began)
        return due

    def _take_answers(self, side: Side, draft: Draft, only: frozenset[str] | None) -> None:
        for case in _of(side, self.docket.cases, only):
            name = case.incident.id
            answer = self.calls.answers.pop(name, None)
            if answer is None or case.run is None or case.run.operation != answer.call.operation:
                continue
            try:
                outcome = self._unpromised(case.run, answer.outcome, _promised(draft.cases, other_than=name))
                draft.add(turns.outcome(case.incident, case.run, outcome, self.clock()))
            except Exception as error:
                log.exception("incident set aside", incident=name, step=answer.call.step.name)
                self.aside.put(name, error)

    def _unpromised(self, run: Run, answer: Outcome, promised: Mapping[HostId, GangId]) -> Outcome:
        """Give the answer, or to look again where a plan made meanwhile promised one of its hosts: one promise a host."""
        wanted = {HostId(run.cluster, str(name)) for name in answer.facts.get("planned_hosts", ())}
        taken = sorted(wanted & promised.keys())
        return Wait(step.SOON, f"{taken[0]} was promised to another gang meanwhile") if taken else answer

    def findings(self, side: Side) -> dict[str, Finding]:
        """Give the present findings of a cluster: the watcher's and those from alerts."""
        return {**side.presence.findings(), **self.alerts(side.name)}

    def _fold(self, side: Side, draft: Draft, only: frozenset[str] | None) -> None:
        """Fold the present findings into the incidents of the cluster; for ``only`` some of them, no more than those that they tell of."""
        fleet = side.fleet
        if fleet is None:
            return
        self.aside.expire()
        now, found = self.clock(), self._sound(self.findings(side))
        open_now = [case.incident for case in _of(side, draft.cases, only)]
        if only is not None:
            told = {one.id for incident in open_now for one in incident.findings}
            found = {key: one for key, one in found.items() if key in told}
        try:
            result, poisoned = folded(open_now, found, fleet, self.rules.book, now)
        except Exception as error:  # noqa: BLE001 (logged where it was raised)
            self.aside.put(f"findings of {side.name}", error)
            return
        for key, why in poisoned.items():
            self.aside.put(f"finding {key}", why)
        for turn in turns.folded(open_now, result, now):
            if apart.named(turn, self.docket.cases) not in self.aside:
                draft.add(turn)

    def _sound(self, found: Mapping[str, Finding]) -> dict[str, Finding]:
        """Give the findings that are not set aside: one that cannot be folded is tried, and told of, once in a while."""
        return {key: one for key, one in found.items() if f"finding {key}" not in self.aside}

    def world(self, side: Side) -> World:
        """Give what deciding looks at, beside the incident."""
        return self._seen(side, self.docket.cases).world

    def _seen(self, side: Side, cases: Mapping[str, Case]) -> Seen:
        now, fleet = self.clock(), side.fleet
        if fleet is None:
            raise Retry(f"cluster {side.name} was not read yet")
        fleets = [other.fleet for other in self.sides.values() if other.fleet is not None]
        known = Known(
            tuple(cases.values()), fleets, self.docket.started(), self.stops.why_paused, self.silences(now), self.remembered
        )
        return Seen(side, fleet, self.rules, self.findings(side), known, now)

    def remembered(self) -> Remembered:
        """Give what is remembered over all clusters."""
        return Remembered(tuple(self.docket.cases.values()), self.docket.remembered(), self.past(), self.reserved())

    def scene(self) -> Scene | None:
        """Give all clusters that were read as one scene, as placement sees each of them; None: none was read yet."""
        clusters = [
            Told(side.name, side.fleet, self.findings(side).values(), side.presence.progress)
            for side in self.sides.values()
            if side.fleet is not None
        ]
        if not clusters:
            return None
        now = self.clock()
        return Scene(
            joined(one.fleet for one in clusters), now, beside_of(self.rules.orders, clusters, (), self.remembered(), now)
        )

    # ── what is decided ───────────────────────────────────────────────────────────────────────────────────────────────

    async def _decide_all(self, side: Side, draft: Draft, only: frozenset[str] | None) -> datetime | None:
        """Decide about incidents, the oldest first; who comes later sees what those before him begin. Gives the next that is due."""
        world = self._seen(side, draft.cases).world
        due: datetime | None = None
        for case in sorted(_of(side, draft.cases, only), key=lambda case: case.incident.opened):
            name = case.incident.id
            if self.calls.is_busy(name) or name in self.aside or self.docket.is_doubtful(name):
                continue
            try:
                until, run = self._decide(case, draft, world)
            except Exception as error:
                log.exception("incident set aside", incident=name)
                self.aside.put(name, error)
                continue
            self.aside.well(name)
            due, world = sooner(due, until), world.after(run)
            await asyncio.sleep(0)  # a thousand incidents take a second: others have their turn
        return due

    def _decide(self, case: Case, draft: Draft, world: World) -> tuple[datetime | None, Run | None]:
        """Decide about one incident. Gives when to look again, and its run where that is another now."""
        now = self.clock()
        decision = decide(case.incident, case.run, self.rules.book, world, now)
        turn = turns.take(case.incident, decision, now)
        run = turn.run or case.run
        if turn.call is not None and run is not None:
            begun = Begun(case.incident.id, run, turn.call)
            if not self.stops.calling or not self.calls.are_free(begun, draft.calls.values()):
                # Nothing is written: an intent without a call would only have to be asked about after a restart.
                return now + self.rules.decide_every, None
        if turn.incident != case.incident or run != case.run or turn.entries or turn.decision or turn.pages or turn.call:
            draft.add(turn)
        moved = None if run is case.run else run
        match decision.verdict:
            case Hold(until=until):
                return until, moved
            case RunStep() | Close():
                return None, moved
            case unexpected:
                assert_never(unexpected)

    # ── what is called ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _call_all(self, side: Side, due: Collection[Begun], began: float) -> None:
        """Make the calls whose intents were just saved; an intent that does not hold any more is taken back."""
        if not due:
            return

        async def look() -> None:
            # Here and not in the calls: what is looked at next is what they go by, with nothing awaited in between.
            await self.stops.asks()
            await side.read()  # saving took time

        looked = await self.attention.looked(began, look)
        seen = self._seen(side, self.docket.cases)
        # Saving took time: whoever said stop meanwhile waits for the lock, and is heard all the same.
        may = [one for one in due if not self._is_stopped(one)] if self.stops.calling else []
        follow = still(may, seen, self._sound(seen.findings))
        back: dict[str, Turn] = {}
        for begun in due:
            name = begun.incident
            if name in follow:
                self.calls.begin(begun, self._call(side, begun, seen, looked))
                self.docket.settle([name])
            else:
                back[name] = turns.withdraw(self.docket.cases[name].incident, begun.run, seen.now)
        if back:
            await self.docket.take_in(*back.values())
            self.docket.settle(back)

    def _is_stopped(self, begun: Begun) -> bool:
        """Whether a person has just asked to stop it, and the stop is not saved yet."""
        return self.stops.is_aborted(begun.incident) and not self.docket.cases[begun.incident].incident.aborted_by

    async def _call(self, side: Side, begun: Begun, seen: Seen, looked: float) -> Outcome | None:
        """Call an action. Gives what it answered; None where there is no answer: the intent stands, or is taken back if nothing was called."""
        name, call = begun.incident, begun.call
        answer: Outcome = Failed(f"this version has no action {call.step.action!r}")
        guard = self._guard_of_call(side, looked)
        called = False
        try:
            action = self.rules.actions.get(call.step.action)
            if action is not None:
                if not self.stops.leads():
                    # Paused since the intent was saved: another may lead by now, and finds the intent.
                    raise Refused("the lead ran out before the call; nothing was called")  # noqa: TRY301 (one way out)
                if self.attention.is_over(looked):
                    raise Refused(LOOK_OVER)  # noqa: TRY301 (one way out)
                target = seen.target(begun, self.docket.cases[name].incident.text, self.reserved(other_than=name))
                called = True
                within = self.rules.call_timeout
                answer = guard.whole(await step.call(action, target, guard.ports(side.ports), within=within, late=guard.late))
            self.docket.tally.answered(call.step.action, answer)
        except (Retry, Refused) as error:
            # The answer is lost, not the effect: the intent stands where a write went out, and the next call reads the present first.
            log.warning("no answer", incident=name, step=call.step.name, why=str(error))
            self.aside.put(name, str(error), wait=step.AGAIN)
        except Exception as error:
            log.exception("incident set aside", incident=name, step=call.step.name)
            self.aside.put(name, error)
        else:
            return answer
        if not called or guard.kept_all:
            self.docket.doubt(name, call)
        return None

    def guard(self, side: Side) -> Guard:
        """Give what stands before the writes of one call: it lets them pass for as long as this replica leads."""
        return Guard(self.stops.leads, self._turns.of(side.name), self.stops.asks)

    def _guard_of_call(self, side: Side, looked: float) -> Guard:
        """Give what stands before the writes of a call: it also goes no further by a look from before this process stood still."""
        until = looked + self.rules.call_timeout.total_seconds()
        return replace(self.guard(side), stale=lambda: self.attention.is_over(until))

    def reserved(self, *, other_than: str = "") -> dict[HostId, GangId]:
        """Give the hosts that open runs promised to their gangs."""
        return _promised(self.docket.cases, other_than=other_than)


def _of(side: Side, cases: Mapping[str, Case], only: frozenset[str] | None) -> list[Case]:
    """Give the cases of a cluster, ``only`` the named ones or all."""
    return [case for name, case in cases.items() if case.incident.cluster == side.name and (only is None or name in only)]


def _promised(cases: Mapping[str, Case], *, other_than: str) -> dict[HostId, GangId]:
    return {
        host: case.run.gang
        for case in cases.values()
        if case.run is not None and case.run.open and case.run.gang is not None and case.incident.id != other_than
        for host in case.run.promised
    }


def sooner(one: datetime | None, other: datetime | None) -> datetime | None:
    """Give the time that comes first, None where there is none."""
    return min((time for time in (one, other) if time is not None), default=None)
