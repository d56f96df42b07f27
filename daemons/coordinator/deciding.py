"""The deciding loop: read the present -> fold -> decide -> take -> save -> call -> outcome -> save.

Level-triggered: a change only wakes it. Book-keeping of all incidents is under one lock and short; calls of actions run
beside it, many at once, but never two that touch the same host or gang. An exception about one incident sets that one
aside for a while, by name; the others go on.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, assert_never

import structlog

from sliceward.daemons.coordinator import apart, step
from sliceward.daemons.coordinator.guarded import Guard, Turns
from sliceward.daemons.coordinator.tally import Tally
from sliceward.daemons.store import Case
from sliceward.detectors.finding import Kind, State
from sliceward.playbooks import turn as turns
from sliceward.playbooks.advance import withdrawn
from sliceward.playbooks.decide import decide
from sliceward.playbooks.decision import Close, Hold, RunStep
from sliceward.playbooks.incidents import fold
from sliceward.playbooks.record import BadRecord
from sliceward.playbooks.world import Started, Usage, World
from sliceward.remediations.action import Target
from sliceward.remediations.outcome import Failed, Wait
from sliceward.topology.errors import Refused, Retry
from sliceward.topology.ids import HostId

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from sliceward.daemons.coordinator.side import Side
    from sliceward.daemons.loops import Loop
    from sliceward.daemons.store import Store
    from sliceward.detectors.finding import Finding
    from sliceward.playbooks.incident import Incident
    from sliceward.playbooks.load import Book
    from sliceward.playbooks.run import Call, Run
    from sliceward.playbooks.schema import BudgetSpec, Mode
    from sliceward.playbooks.silences import Silence
    from sliceward.playbooks.turn import Turn
    from sliceward.remediations.action import Action
    from sliceward.remediations.outcome import Outcome
    from sliceward.topology.fleet import Fleet
    from sliceward.topology.ids import GangId

log = structlog.get_logger(__name__)

ASIDE_FOR = timedelta(seconds=60)
LOOK_BACK = timedelta(days=1)
MOST_CALLS = 64
SHORTEST_PAUSE = 0.02
SOON = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Rules:
    """What people configured: playbooks, actions, quota, and how far all may go."""

    book: Book
    actions: Mapping[str, Action]
    quota_left: Callable[[Any], Mapping[tuple[str, str], int]]
    ceiling: Mode | None = None
    limits: BudgetSpec | None = None
    pagers: tuple[str, ...] = ()
    call_timeout: timedelta = timedelta(seconds=30)
    decide_every: timedelta = timedelta(seconds=5)


@dataclass(eq=False)
class Deciding:
    """All open incidents and what is being done about them.

    ``alerts``: present findings from the alert inbox, per cluster. ``told``: called with the number of each new line of the
    story. ``silences``: what is to be left alone, in force or to come. ``leads``: whether this replica may act at this moment.
    ``paging``: called when a page was put into the outbox. ``fenced``: why another coordinator leads now, "" while this one does.
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
    stopping: bool = False
    fenced: str = ""
    cases: dict[str, Case] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)
    waking: asyncio.Event = field(default_factory=asyncio.Event)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _calls: dict[str, tuple[asyncio.Task[None], frozenset[Hashable]]] = field(default_factory=dict)
    _turns: Turns = field(default_factory=Turns)
    _aside: dict[str, datetime] = field(default_factory=dict)
    _started: tuple[Started, ...] = ()
    _doubtful: dict[str, Call | None] = field(default_factory=dict)

    def wake(self) -> None:
        """Say that something changed."""
        self.waking.set()

    async def load(self) -> None:
        """Read the open incidents and the pause from the store."""
        loaded = await self.store.load_open()
        self.cases = {case.incident.id: case for case in loaded.cases}
        self.loop.set_aside.update(loaded.set_aside)
        self.paused = str(await self.store.setting("paused") or "")

    async def run(self) -> None:
        """Decide whenever woken and at least every ``decide_every``, until ``stopping``; then wait for the calls under way."""
        try:
            while not self.stopping:
                self.waking.clear()
                began = asyncio.get_running_loop().time()
                until = await self.round()
                # Changes may come faster than a large fleet is read: at least half of the time is everybody else's.
                await asyncio.sleep(max(SHORTEST_PAUSE, asyncio.get_running_loop().time() - began))
                pause = min(self.rules.decide_every, until - self.clock()) if until else self.rules.decide_every
                try:
                    async with asyncio.timeout(max(0.0, pause.total_seconds())):
                        await self.waking.wait()
                except TimeoutError:
                    pass
            await self.idle()
        finally:
            await self.drop()

    async def idle(self) -> None:
        """Wait until no call is under way."""
        while self._calls:
            await asyncio.wait([task for task, _ in self._calls.values()])

    async def drop(self) -> None:
        """Cancel the calls under way: their intents stand, and the next leader asks the world."""
        calls = [task for task, _ in self._calls.values()]
        for task in calls:
            task.cancel()
        if calls:
            await asyncio.wait(calls)

    async def round(self) -> datetime | None:
        """Look at every incident of every cluster once. Gives when the next look is due, if any is."""
        soonest: datetime | None = None
        try:
            self._started = await self.store.started(self.clock() - self._look_back)
            await self._take_up()
            for side in self.sides.values():
                for until in await self._side_guarded(side):
                    soonest = until if soonest is None else min(soonest, until)
        except (Retry, Refused) as error:
            self.loop.retried(str(error))
            log.warning("round interrupted", why=str(error))
        else:
            self.loop.beat()
        return soonest

    async def _take_up(self) -> None:
        """Read again what was written or not when the answer was lost: the store is right, and what we remember may be another story.

        An intent that it holds was not called, for who does not know that it stands does not call. It is taken back.
        """
        async with self.lock:
            for name, call in sorted(self._doubtful.items()):
                try:
                    case = await self.store.load(name)
                except BadRecord as error:
                    case = None
                    self._set_aside(name, str(error))
                if case is not None:
                    self._keep(case.incident, case.run)
                    run = case.run
                    if call is not None and run is not None and run.open and _stands(call, run):
                        turn = turns.withdraw(case.incident, run, self.clock())
                        await self._save(turn)
                        self._keep(turn.incident, turn.run or run)
                self._doubtful.pop(name, None)

    # ── one cluster ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _side_guarded(self, side: Side) -> list[datetime]:
        """Look at one cluster; what nobody expected there does not stop the others, and is shown."""
        name = f"cluster {side.name}"
        try:
            untils = await self._round_of(side)
        except (Retry, Refused):
            raise
        except Exception as error:
            log.exception("cluster set aside", cluster=side.name)
            self.loop.set_aside[name] = f"{type(error).__name__}: {error}"[:500]
            return []
        self.loop.set_aside.pop(name, None)
        return untils

    async def _round_of(self, side: Side) -> list[datetime]:
        if await side.read() is None or not side.presence.settled:
            return [self.clock() + self.rules.decide_every / 4]
        async with self.lock:
            await self._fold(side)
            world = self.world(side)
        untils: list[datetime] = []
        for incident in sorted(self._of(side), key=lambda case: case.incident.opened):
            async with self.lock:
                case = self.cases.get(incident.incident.id)
                if case is None or self._is_busy(case) or self._is_aside(case.incident.id):
                    continue
                until, begun = await self._guarded(side, case, world)
            if until is not None:
                untils.append(until)
            if begun:
                # A run that just began counts in the budgets of whoever comes next.
                world = self.world(side)
        return untils

    def _of(self, side: Side) -> list[Case]:
        return [case for case in self.cases.values() if case.incident.cluster == side.name]

    def findings(self, side: Side) -> dict[str, Finding]:
        """Give the present findings of a cluster: the watcher's and those from alerts."""
        return {**side.presence.findings(), **self.alerts(side.name)}

    async def _fold(self, side: Side) -> None:
        fleet = side.fleet
        if fleet is None:
            return
        for name in [*self._aside]:
            self._is_aside(name)
        now, before = self.clock(), {case.incident.id: case for case in self._of(side)}
        open_now = [case.incident for case in before.values()]
        found = self.findings(side)
        try:
            folded = fold(open_now, found.values(), fleet, self.rules.book, now)
        except Exception as error:
            log.exception("findings cannot be folded together", cluster=side.name)
            poisoned = self._poisoned(found, fleet, now)
            if not poisoned:
                self._set_aside(f"findings of {side.name}", f"{type(error).__name__}: {error}")
                return
            self.loop.set_aside.update({f"finding {key}": why for key, why in poisoned.items()})
            folded = fold(open_now, [one for key, one in found.items() if key not in poisoned], fleet, self.rules.book, now)
        named = {apart.named(turn, before): turn for turn in turns.folded(open_now, folded, now)}
        due = {name: turn for name, turn in named.items() if not self._is_aside(name)}
        for name, why in (await apart.saved(due, self._take_in)).items():
            self._set_aside(name, why)

    async def _take_in(self, *changed: Turn) -> None:
        await self._save(*changed)
        for turn in changed:
            known = self.cases.get(turn.incident.id)
            self._keep(turn.incident, known.run if known else None)

    def _poisoned(self, found: Mapping[str, Finding], fleet: Fleet, now: datetime) -> dict[str, str]:
        """Give the findings that cannot be folded even alone: id -> why."""
        bad: dict[str, str] = {}
        for key, finding in found.items():
            try:
                fold([], [finding], fleet, self.rules.book, now)
            except Exception as error:  # noqa: BLE001 (the point is to find out who raises)
                bad[key] = f"{type(error).__name__}: {error}"
        return bad

    def world(self, side: Side) -> World:
        """Give what deciding looks at, beside the incident."""
        fleets = [other.fleet for other in self.sides.values() if other.fleet is not None]
        runs = tuple(case.run for case in self.cases.values() if case.run is not None and case.run.open)
        fleet = side.fleet
        if fleet is None:
            raise Retry(f"cluster {side.name} was not read yet")
        return World(
            fleet=fleet,
            fleet_age=timedelta.max if side.age is None else side.age,
            watcher_age=side.presence.watcher_age,
            usage=Usage.of(fleets, [case.run for case in self.cases.values() if case.run is not None]),
            runs=runs,
            started=self._starts(),
            progress=side.presence.progress,
            sick=frozenset(host for case in self.cases.values() for host in case.incident.domain),
            paused=self.paused,
            silences=self.silences(self.clock()),
            ceiling=self.rules.ceiling,
            limits=self.rules.limits,
            unclear=frozenset(
                one.part
                for one in self.findings(side).values()
                if one.kind is Kind.IDENTITY_CONFLICT and one.state is not State.RESOLVED and isinstance(one.part, HostId)
            ),
            fleet_stale_after=side.pace.fleet_stale_after,
        )

    @property
    def _look_back(self) -> timedelta:
        """How far back a start or an end can still matter to a budget."""
        budgets = [playbook.spec.budget for playbook in self.rules.book.playbooks]
        budgets += [] if self.rules.limits is None else [self.rules.limits]
        windows = [one.rate.window for one in budgets if one.rate is not None]
        return max(LOOK_BACK, *windows, *(one.cooldown for one in budgets), timedelta(0))

    def _starts(self) -> tuple[Started, ...]:
        """Give the runs of late: those of the store, and those begun since it was asked, so that a rate holds within a round."""
        known = {(one.incident, one.at) for one in self._started}
        runs = (case.run for case in self.cases.values() if case.run is not None and case.run.harms)
        fresh = (
            Started(run.started, run.incident, run.cluster, run.playbook, frozenset(run.domain), run.ended)
            for run in runs
            if (run.incident, run.started) not in known
        )
        return (*self._started, *fresh)

    # ── one incident ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _guarded(self, side: Side, case: Case, world: World) -> tuple[datetime | None, bool]:
        """Decide about one incident; what nobody expected sets it aside and lets the others go on."""
        try:
            return await self._decide(side, case, world)
        except (Retry, Refused):
            raise
        except Exception as error:
            log.exception("incident set aside", incident=case.incident.id)
            self._set_aside(case.incident.id, f"{type(error).__name__}: {error}")
        return None, False

    async def _decide(self, side: Side, case: Case, world: World) -> tuple[datetime | None, bool]:
        now = self.clock()
        decision = decide(case.incident, case.run, self.rules.book, world, now)
        turn = turns.take(case.incident, decision, now)
        if turn.call is not None and (self.stopping or not self._is_free(case, turn)):
            # Nothing is written yet: an intent without a call would only have to be asked about after a restart.
            return now + self.rules.decide_every, False
        run = turn.run or case.run
        if turn.incident != case.incident or run != case.run or turn.entries or turn.decision or turn.pages or turn.call:
            await self._save(turn)
        self._keep(turn.incident, run)
        self.loop.set_aside.pop(case.incident.id, None)
        begun = run is not None and (case.run is None or run.id != case.run.id)
        if turn.call is not None and run is not None:
            await self._begin(side, turn.incident, run, turn.call)
        match decision.verdict:
            case Hold(until=until):
                return until, begun
            case RunStep() | Close():
                return None, begun
            case unexpected:
                assert_never(unexpected)

    def _still(self, side: Side, incident: Incident, run: Run, call: Call) -> bool:
        """Whether the same call follows from what is known right now: saving took time, and the world went on."""
        if not (call.step.irreversible or call.step.harm):
            return True
        fleet = side.fleet
        if fleet is None:
            return False
        now = self.clock()
        # What other open incidents tell of is theirs; folded anew here, a thousand of them would cost seconds a call.
        theirs = {one.id for case in self._of(side) if case.incident.id != incident.id for one in case.incident.findings}
        theirs -= {one.id for one in incident.findings}
        found = [one for key, one in self.findings(side).items() if key not in theirs]
        folded = fold([incident], found, fleet, self.rules.book, now)
        present = next((one for one in folded.incidents if one.id == incident.id), None)
        if present is None or not present.open:
            return False
        # The saved intent itself must not count as something begun, which is finished whatever the findings say.
        unbegun = withdrawn(run, now).run
        again = decide(present, unbegun, self.rules.book, self.world(side), now).verdict
        return isinstance(again, RunStep) and again.call.operation == call.operation

    async def _begin(self, side: Side, incident: Incident, run: Run, call: Call) -> None:
        """Make the call whose intent was just saved, or take the intent back."""
        await side.read()  # saving took time
        if not self._still(side, incident, run, call):
            self._doubtful[incident.id] = call
            turn = turns.withdraw(incident, run, self.clock())
            await self._save(turn)
            self._keep(turn.incident, turn.run or run)
            del self._doubtful[incident.id]
            return
        task = asyncio.create_task(self._call(side, incident.id, run, call), name=f"{incident.id} {call.step.name}")
        self._calls[incident.id] = (task, _touched(run))
        task.add_done_callback(lambda _done: self._ended(incident.id))

    def _ended(self, incident: str) -> None:
        self._calls.pop(incident, None)
        self.wake()

    async def _call(self, side: Side, incident: str, run: Run, call: Call) -> None:
        try:
            action = self.rules.actions.get(call.step.action)
            answer: Outcome = Failed(f"this version has no action {call.step.action!r}")
            if action is not None:
                target, guard = self._target(side, incident, run, call), self.guard(side)
                answer = guard.whole(await step.call(action, target, guard.ports(side.ports), within=self.rules.call_timeout))
            self.tally.answered(call.step.action, answer)
            async with self.lock:
                case = self.cases.get(incident)
                if case is None or case.run is None or case.run.operation != call.operation:
                    return
                answer = self._unpromised(incident, case.run, answer)
                turn = turns.outcome(case.incident, case.run, answer, self.clock())
                await self._save(turn)
                self._keep(turn.incident, turn.run or case.run)
        except (Retry, Refused) as error:
            # The answer is lost, not the effect: the intent stands, and the next call reads the present first.
            log.warning("answer not saved", incident=incident, step=call.step.name, why=str(error))
            self._set_aside(incident, str(error), wait=step.AGAIN)
        except Exception as error:
            log.exception("incident set aside", incident=incident, step=call.step.name)
            self._set_aside(incident, f"{type(error).__name__}: {error}")

    def guard(self, side: Side) -> Guard:
        """Give what stands before the writes of one call: it lets them pass for as long as this replica leads."""
        return Guard(self.leads, self._turns.of(side.name))

    def _target(self, side: Side, incident: str, run: Run, call: Call) -> Target:
        case, fleet, now = self.cases[incident], side.fleet, self.clock()
        if fleet is None:
            raise Retry(f"cluster {side.name} was not read yet")
        if not self.leads():
            # Paused since the intent was saved: another may lead by now, and finds the intent.
            raise Refused("the lead ran out before the call; nothing was called")
        return Target(
            incident=incident,
            operation=call.operation,
            part=run.part,
            domain=run.domain,
            gang=fleet.gangs.get(run.gang) if run.gang else None,
            fleet=fleet,
            progress=side.presence.progress.get(run.gang) if run.gang else None,
            reserved=self.reserved(other_than=incident),
            facts=run.facts,
            given=call.step.given,
            started=call.step.started or now,
            now=now,
            text=case.incident.text,
            quota_left=self.rules.quota_left(fleet),
            lost=frozenset(
                one.part
                for one in self.findings(side).values()
                if one.kind is Kind.HOST_LOST and one.state is State.FIRING and isinstance(one.part, HostId)
            ),
            sick=frozenset(
                host
                for other in self._of(side)
                if other.incident.id != incident and any(one.state is not State.RESOLVED for one in other.incident.findings)
                for host in other.incident.domain
            ),
        )

    def _unpromised(self, incident: str, run: Run, answer: Outcome) -> Outcome:
        """Give the answer, or to look again where a plan made meanwhile promised one of its hosts: one promise a host."""
        wanted = {HostId(run.cluster, str(name)) for name in answer.facts.get("planned_hosts", ())}
        taken = sorted(wanted & self.reserved(other_than=incident).keys())
        return Wait(SOON, f"{taken[0]} was promised to another gang meanwhile") if taken else answer

    def reserved(self, *, other_than: str = "") -> dict[HostId, GangId]:
        """Give the hosts that open runs promised to their gangs."""
        return {
            host: case.run.gang
            for case in self.cases.values()
            if case.run is not None and case.run.open and case.run.gang is not None and case.incident.id != other_than
            for host in case.run.promised
        }

    # ── people ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def approve(self, incident: str, *, by: str, reason: str) -> Incident:
        """Take a person's yes. Raises `Refused` where nothing waits for one, KeyError where the incident is not open."""
        async with self.lock:
            case = self.cases[incident]
            return await self._said(case, turns.approve(case.incident, by=by, reason=reason, now=self.clock()))

    async def abort(self, incident: str, *, by: str, reason: str) -> Incident:
        """Take a person's stop. Raises KeyError where the incident is not open."""
        async with self.lock:
            case = self.cases[incident]
            return await self._said(case, turns.abort(case.incident, case.run, by=by, reason=reason, now=self.clock()))

    async def _said(self, case: Case, turn: Turn) -> Incident:
        await self._save(turn)
        self._keep(turn.incident, turn.run or case.run)
        self.wake()
        return turn.incident

    # ── book-keeping ──────────────────────────────────────────────────────────────────────────────────────────────────

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
        if incident.open:
            self.cases[incident.id] = Case(incident, run)
        else:
            self.cases.pop(incident.id, None)
            self._aside.pop(incident.id, None)

    def _is_busy(self, case: Case) -> bool:
        return case.incident.id in self._calls

    def _is_free(self, case: Case, turn: Turn) -> bool:
        """Whether a call may begin: not too many at once, and none under way on the same host or gang."""
        run = turn.run or case.run
        if run is None or len(self._calls) >= MOST_CALLS:
            return False
        touched = _touched(run)
        return all(not (touched & others) for _, others in self._calls.values())

    def _set_aside(self, incident: str, why: str, *, wait: timedelta = ASIDE_FOR) -> None:
        self._aside[incident] = self.clock() + wait
        self.loop.set_aside[incident] = why[:500]

    def _is_aside(self, incident: str) -> bool:
        until = self._aside.get(incident)
        if until is not None and until <= self.clock():
            del self._aside[incident]
            self.loop.set_aside.pop(incident, None)
            return False
        return until is not None


def _stands(call: Call, run: Run) -> bool:
    """Whether the intent of this very try is what the run shows."""
    step = run.current
    return step is not None and run.operation == call.operation and step.attempts >= call.step.attempts


def _touched(run: Run) -> frozenset[Hashable]:
    return frozenset((*run.domain, *run.promised, *((run.gang,) if run.gang else ())))
