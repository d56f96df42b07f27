"""The deciding loop: read the present -> take in answers -> fold -> decide -> save all of it at once -> call.

Level-triggered: a change only wakes it. One look at a cluster goes over all of its incidents, or, as soon as calls have answered, over
theirs alone; all that it comes to is one transaction. Book-keeping is under one lock; calls of actions run beside it (`Calls`).
An exception about one incident sets that one aside for a while, by name; the others go on.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, assert_never

import structlog

from sliceward.daemons.coordinator import apart, step
from sliceward.daemons.coordinator.aside import Aside
from sliceward.daemons.coordinator.calls import Begun, Calls
from sliceward.daemons.coordinator.draft import Draft
from sliceward.daemons.coordinator.folding import folded
from sliceward.daemons.coordinator.following import still
from sliceward.daemons.coordinator.guarded import Guard, Turns
from sliceward.daemons.coordinator.seen import Known, Seen
from sliceward.daemons.coordinator.starts import Starts
from sliceward.daemons.coordinator.tally import Tally
from sliceward.daemons.store import Case
from sliceward.playbooks import turn as turns
from sliceward.playbooks.decide import decide
from sliceward.playbooks.decision import Close, Hold, RunStep
from sliceward.remediations.outcome import Failed, Wait
from sliceward.topology.errors import Refused, Retry
from sliceward.topology.ids import HostId

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import datetime

    from sliceward.daemons.coordinator.calls import Answer
    from sliceward.daemons.coordinator.rules import Rules
    from sliceward.daemons.coordinator.side import Side
    from sliceward.daemons.loops import Loop
    from sliceward.daemons.store import Store
    from sliceward.detectors.finding import Finding
    from sliceward.playbooks.incident import Incident
    from sliceward.playbooks.run import Call, Run
    from sliceward.playbooks.silences import Silence
    from sliceward.playbooks.turn import Turn
    from sliceward.playbooks.world import World
    from sliceward.remediations.outcome import Outcome
    from sliceward.topology.ids import GangId

log = structlog.get_logger(__name__)

SHORTEST_PAUSE = 0.02


@dataclass(eq=False, repr=False)  # what is held here is a whole fleet: no line of a traceback
class Deciding:
    """All open incidents and what is being done about them.

    ``alerts``: present findings from the alert inbox, per cluster. ``told``: called with the number of each new line of the
    story. ``silences``: what is to be left alone, in force or to come. ``leads``: whether this replica may act at this moment.
    ``pausing`` and ``aborting``: pauses, and incidents to be stopped, that were asked for and wait for a look to end: none of its
    calls begins against them. ``paging``: called when a page was put into the outbox. ``fenced``: why another coordinator leads now, "" while this one does.
    """

    store: Store
    sides: Mapping[str, Side]
    rules: Rules
    clock: Callable[[], datetime]
    loop: Loop
    alerts: Callable[[str], Mapping[str, Finding]] = lambda _cluster: {}
    told: Callable[[int], None] = lambda _seq: None
    paging: Callable[[], None] = lambda: None
    leads: Callable[[], bool] = lambda: True
    silences: Callable[[datetime], tuple[Silence, ...]] = lambda _now: ()
    paused: str = ""
    pausing: list[str] = field(default_factory=list)
    aborting: list[str] = field(default_factory=list)
    stopping: bool = False
    fenced: str = ""
    cases: dict[str, Case] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _starts: Starts = field(default_factory=Starts)
    _calls: Calls = field(init=False)
    _aside: Aside = field(init=False)
    _turns: Turns = field(default_factory=Turns)
    _doubtful: dict[str, Call | None] = field(default_factory=dict)
    _changed: bool = False
    _stirred: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        """Nothing is under way yet."""
        self._calls = Calls(self._stirred.set, self.wake)
        self._aside = Aside(self.clock, self.loop)

    def wake(self) -> None:
        """Say that something changed."""
        self._changed = True
        self._stirred.set()

    async def load(self) -> None:
        """Read the open incidents, the starts of late and the pause from the store."""
        loaded = await self.store.load_open()
        self.cases = {case.incident.id: case for case in loaded.cases}
        self.loop.set_aside.update(loaded.set_aside)
        await self._read_starts()
        self.paused = str(await self.store.setting("paused") or "")

    async def _read_starts(self) -> None:
        edge = self.clock() - self.rules.look_back
        self._starts.read(await self.store.started(edge), edge)

    # ── the loop ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Decide whenever woken and at least every ``decide_every``, until ``stopping``; then wait for the calls under way."""
        ticks = asyncio.get_running_loop().time
        try:
            while not self.stopping:
                self._changed = False
                began = ticks()
                due = await self.round()
                # Changes may come faster than a large fleet is read: at least half of the time is everybody else's.
                await self._rest(ticks() + max(SHORTEST_PAUSE, ticks() - began), due)
            await self.idle()
            if self._doubtful:
                await self.go_on()  # an intent that was not called is not left to the next leader to ask about
        finally:
            await self._calls.drop()

    async def _rest(self, least: float, due: datetime | None) -> None:
        """Rest until something changed or is ``due``, and until ``least`` at the least; go on meanwhile with what calls answer."""
        ticks = asyncio.get_running_loop().time
        latest, stuck = ticks() + self.rules.decide_every.total_seconds(), False
        while not self.stopping:
            until = latest if due is None else min(latest, ticks() + (due - self.clock()).total_seconds())
            pause = (least if self._changed else max(least, until)) - ticks()
            if pause <= 0:
                return
            if self._calls.answers and not stuck:
                waiting = {**self._calls.answers}
                due = _sooner(due, await self.go_on())
                stuck = self._still_wait(waiting)  # what cannot be taken in now waits for the next round
                continue
            self._stirred.clear()
            try:
                async with asyncio.timeout(pause):
                    await self._stirred.wait()
            except TimeoutError:
                pass

    async def idle(self) -> None:
        """Go on with what calls answer until none is under way, and no answer waits that can be taken in."""
        while self._calls.under_way or self._calls.answers:
            await self._calls.next()
            waiting = {**self._calls.answers}
            await self.go_on()
            if not self._calls.under_way and self._still_wait(waiting):
                break

    def _still_wait(self, waiting: Mapping[str, Answer]) -> bool:
        """Whether one of these answers was not taken in."""
        return any(self._calls.answers.get(name) is answer for name, answer in waiting.items())

    async def round(self) -> datetime | None:
        """Look at every incident of every cluster once. Gives when the next look is due, if any is."""
        try:
            due = await self._over({side.name: None for side in self.sides.values()})
        except (Retry, Refused) as error:
            self._interrupted(error)
            return None
        self.loop.beat()
        return due

    async def go_on(self) -> datetime | None:
        """Take in what calls answered, and decide what follows for those incidents. Gives when the next look is due, if any is."""
        try:
            return await self._over(self._answered())
        except (Retry, Refused) as error:
            self._interrupted(error)
            return None

    def _answered(self) -> dict[str, frozenset[str]]:
        """Give the incidents whose calls answered, by cluster; of one that is over nobody wants to know."""
        found: dict[str, frozenset[str]] = {}
        for name in [*self._calls.answers]:
            case = self.cases.get(name)
            if case is None:
                del self._calls.answers[name]
            else:
                cluster = case.incident.cluster
                found[cluster] = found.get(cluster, frozenset()) | {name}
        return found

    def _interrupted(self, error: Retry | Refused) -> None:
        """Note that a look came to nothing.

        The answers that it had taken out are lost, not effects: the intents stand, and the next call reads the present.
        """
        self.loop.retried(str(error))
        log.warning("round interrupted", why=str(error))

    async def _over(self, clusters: Mapping[str, frozenset[str] | None]) -> datetime | None:
        """Look at clusters, at the named incidents of each, or at all of them (None)."""
        await self._take_up()
        due: datetime | None = None
        for name, only in clusters.items():
            due = _sooner(due, await self._look_guarded(self.sides[name], only))
        return due

    async def _take_up(self) -> None:
        """Read again what was written or not when the answer was lost: the store is right, and what we remember may be another story.

        An intent in doubt was not called: who does not know that it stands does not call, and whose call began is in doubt no more.
        It is taken back, or the next try would be one that goes on with something irreversible, which asks for no reason.
        """
        async with self.lock:
            if self._doubtful or self._starts.are_stale(self.clock() - self.rules.look_back):
                await self._read_starts()
            for name, call in sorted(self._doubtful.items()):
                try:
                    await self._ask_about(name, call)
                except (Retry, Refused):
                    raise
                except Exception as error:
                    log.exception("incident set aside", incident=name)
                    self._aside.put(name, error)
                    if call is not None:
                        continue  # nothing is decided about it for as long as its intent may stand
                if self._doubtful.get(name) is call:
                    self._doubtful.pop(name, None)

    async def _ask_about(self, name: str, call: Call | None) -> None:
        """Read one incident again, and take its intent back where it stands."""
        case = await self.store.load(name)
        if case is None:
            return
        self._keep(case.incident, case.run)
        run = case.run
        if call is not None and run is not None and run.open and _stands(call, run):
            turn = turns.withdraw(case.incident, run, self.clock())
            await self._save(turn)
            self._keep(turn.incident, turn.run or run)

    # ── one cluster ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _look_guarded(self, side: Side, only: frozenset[str] | None) -> datetime | None:
        """Look at one cluster; what nobody expected there does not stop the others, and is shown."""
        name = f"cluster {side.name}"
        try:
            due = await self._look(side, only)
        except (Retry, Refused):
            raise
        except Exception as error:
            log.exception("cluster set aside", cluster=side.name)
            self.loop.set_aside[name] = f"{type(error).__name__}: {error}"[:500]
            return None
        self.loop.set_aside.pop(name, None)
        return due

    async def _look(self, side: Side, only: frozenset[str] | None) -> datetime | None:
        """Take in what calls answered, fold, decide, save it all at once, and make the calls that follow.

        What was answered is saved even where the rest of the look fails.
        """
        wrong: Exception | None = None
        try:
            ready = await side.read() is not None and side.presence.settled
        except Exception as error:  # noqa: BLE001 (raised below)
            ready, wrong = False, error
        async with self.lock:
            answered = Draft(self.cases)
            self._take_answers(side, answered, only)
            draft = answered.copy()
            due: datetime | None = self.clock() + self.rules.decide_every / 4
            try:
                if ready:
                    self._fold(side, draft, only)
                    due = await self._decide_all(side, draft, only)
            except Exception as error:  # noqa: BLE001 (raised below)
                draft, wrong = answered, error
            # Whatever happens from here on: an intent is in doubt until its call begins or it is taken back.
            self._doubtful |= {name: one.call for name, one in draft.calls.items()}
            for name, why in (await apart.saved(draft.turns, self._take_in)).items():
                self._aside.put(name, why)
            saved = [one for name, one in draft.calls.items() if name in self.cases and self.cases[name].run is one.run]
            for name in draft.calls.keys() - {one.incident for one in saved}:
                del self._doubtful[name]
            if wrong is not None:
                raise wrong
            await self._call_all(side, saved)
        return due

    def _take_answers(self, side: Side, draft: Draft, only: frozenset[str] | None) -> None:
        for case in _of(side, self.cases, only):
            name = case.incident.id
            answer = self._calls.answers.pop(name, None)
            if answer is None or case.run is None or case.run.operation != answer.call.operation:
                continue
            try:
                outcome = self._unpromised(case.run, answer.outcome, _promised(draft.cases, other_than=name))
                draft.add(turns.outcome(case.incident, case.run, outcome, self.clock()))
            except Exception as error:
                log.exception("incident set aside", incident=name, step=answer.call.step.name)
                self._aside.put(name, error)

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
        self._aside.expire()
        now, found = self.clock(), self.findings(side)
        open_now = [case.incident for case in _of(side, draft.cases, only)]
        if only is not None:
            told = {one.id for incident in open_now for one in incident.findings}
            found = {key: one for key, one in found.items() if key in told}
        try:
            result, poisoned = folded(open_now, found, fleet, self.rules.book, now)
        except Exception as error:  # noqa: BLE001 (logged where it was raised)
            self._aside.put(f"findings of {side.name}", error)
            return
        for key, why in poisoned.items():
            self._aside.put(f"finding {key}", why)
        for turn in turns.folded(open_now, result, now):
            if apart.named(turn, self.cases) not in self._aside:
                draft.add(turn)

    def world(self, side: Side) -> World:
        """Give what deciding looks at, beside the incident."""
        return self._seen(side, self.cases).world

    def _seen(self, side: Side, cases: Mapping[str, Case]) -> Seen:
        now, fleet = self.clock(), side.fleet
        if fleet is None:
            raise Retry(f"cluster {side.name} was not read yet")
        fleets = [other.fleet for other in self.sides.values() if other.fleet is not None]
        started = self._starts.since(now - self.rules.look_back)
        known = Known(tuple(cases.values()), fleets, started, self.paused or next(iter(self.pausing), ""), self.silences(now))
        return Seen(side, fleet, self.rules, self.findings(side), known, now)

    # ── what is decided ───────────────────────────────────────────────────────────────────────────────────────────────

    async def _decide_all(self, side: Side, draft: Draft, only: frozenset[str] | None) -> datetime | None:
        """Decide about incidents, the oldest first; who comes later sees what those before him begin. Gives the next that is due."""
        world = self._seen(side, draft.cases).world
        due: datetime | None = None
        for case in sorted(_of(side, draft.cases, only), key=lambda case: case.incident.opened):
            name = case.incident.id
            if self._calls.is_busy(name) or name in self._aside or name in self._doubtful:
                continue
            try:
                until, run = self._decide(case, draft, world)
            except Exception as error:
                log.exception("incident set aside", incident=name)
                self._aside.put(name, error)
                continue
            self._aside.well(name)
            due, world = _sooner(due, until), world.after(run)
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
            if self.stopping or not self.leads() or not self._calls.are_free(begun, draft.calls.values()):
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

    async def _call_all(self, side: Side, due: Collection[Begun]) -> None:
        """Make the calls whose intents were just saved; an intent that does not hold any more is taken back."""
        if not due:
            return
        await side.read()  # saving took time
        seen = self._seen(side, self.cases)
        # Saving took time: whoever said stop meanwhile waits for the lock, and is heard all the same.
        may = [] if self.stopping or not self.leads() else [one for one in due if not self._is_stopped(one)]
        follow = still(may, seen)
        back: dict[str, Turn] = {}
        for begun in due:
            name = begun.incident
            if name in follow:
                self._calls.begin(begun, self._call(side, begun, seen))
                del self._doubtful[name]
            else:
                back[name] = turns.withdraw(self.cases[name].incident, begun.run, seen.now)
        if back:
            await self._take_in(*back.values())
            for name in back:
                del self._doubtful[name]

    def _is_stopped(self, begun: Begun) -> bool:
        """Whether a person has just asked to stop it, and the stop is not saved yet."""
        return begun.incident in self.aborting and not self.cases[begun.incident].incident.aborted_by

    async def _call(self, side: Side, begun: Begun, seen: Seen) -> Outcome | None:
        """Call an action. Gives what it answered; None where there is no answer: the intent stands, or is taken back if nothing was called."""
        name, call = begun.incident, begun.call
        answer: Outcome = Failed(f"this version has no action {call.step.action!r}")
        called = False
        try:
            action = self.rules.actions.get(call.step.action)
            if action is not None:
                if not self.leads():
                    # Paused since the intent was saved: another may lead by now, and finds the intent.
                    raise Refused("the lead ran out before the call; nothing was called")  # noqa: TRY301 (one way out)
                target = seen.target(begun, self.cases[name].incident.text, self.reserved(other_than=name))
                guard, called = self.guard(side), True
                answer = guard.whole(await step.call(action, target, guard.ports(side.ports), within=self.rules.call_timeout))
            self.tally.answered(call.step.action, answer)
        except (Retry, Refused) as error:
            # The answer is lost, not the effect: the intent stands, and the next call reads the present first.
            log.warning("no answer", incident=name, step=call.step.name, why=str(error))
            self._aside.put(name, str(error), wait=step.AGAIN)
        except Exception as error:
            log.exception("incident set aside", incident=name, step=call.step.name)
            self._aside.put(name, error)
        else:
            return answer
        if not called:
            self._doubtful[name] = call
        return None

    def guard(self, side: Side) -> Guard:
        """Give what stands before the writes of one call: it lets them pass for as long as this replica leads."""
        return Guard(self.leads, self._turns.of(side.name))

    def reserved(self, *, other_than: str = "") -> dict[HostId, GangId]:
        """Give the hosts that open runs promised to their gangs."""
        return _promised(self.cases, other_than=other_than)

    # ── people ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def approve(self, incident: str, *, by: str, reason: str) -> Incident:
        """Take a person's yes. Raises `Refused` where nothing waits for one, KeyError where the incident is not open."""
        async with self.lock:
            case = self.cases[incident]
            return await self._said(turns.approve(case.incident, by=by, reason=reason, now=self.clock()))

    async def abort(self, incident: str, *, by: str, reason: str) -> Incident:
        """Take a person's stop. Raises KeyError where the incident is not open."""
        self.aborting.append(incident)
        try:
            async with self.lock:
                case = self.cases[incident]
                return await self._said(turns.abort(case.incident, case.run, by=by, reason=reason, now=self.clock()))
        finally:
            self.aborting.remove(incident)

    async def _said(self, turn: Turn) -> Incident:
        await self._take_in(turn)
        self.wake()
        return turn.incident

    # ── book-keeping ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _take_in(self, *what: Turn) -> None:
        """Save turns, and remember what they made of their incidents."""
        await self._save(*what)
        for turn in what:
            known = self.cases.get(turn.incident.id)
            self._keep(turn.incident, turn.run or (known.run if known else None))

    async def _save(self, *what: Turn) -> None:
        try:
            numbers = await self.store.save(*what, now=self.clock(), pagers=self.rules.pagers)
        except Retry:
            for turn in what:
                self._doubtful[turn.incident.id] = turn.call or self._doubtful.get(turn.incident.id)
            raise
        except Refused as error:
            # Another coordinator leads now: nothing more may be decided or called here.
            self.fenced, self.stopping = str(error), True
            raise
        self.tally.saved(what)
        for turn in what:
            for entry in turn.entries:
                log.info(entry.kind.value, incident=entry.incident, text=entry.text)
        if numbers:
            self.told(numbers[-1])
        if any(turn.pages for turn in what):
            self.paging()

    def _keep(self, incident: Incident, run: Run | None) -> None:
        if run is not None:
            self._starts.note(run)
        if incident.open:
            self.cases[incident.id] = Case(incident, run)
        else:
            self.cases.pop(incident.id, None)
            self._aside.forget(incident.id)


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


def _stands(call: Call, run: Run) -> bool:
    """Whether the intent of this very try is what the run shows."""
    step = run.current
    return step is not None and run.operation == call.operation and step.attempts >= call.step.attempts


def _sooner(one: datetime | None, other: datetime | None) -> datetime | None:
    return min((time for time in (one, other) if time is not None), default=None)
