"""The product with one safety rule taken out, part by part: each is put in place of the real part while seeds are played."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sliceward.daemons.coordinator import presence
from sliceward.daemons.coordinator.coordinator import Coordinator
from sliceward.daemons.coordinator.docket import Docket
from sliceward.daemons.coordinator.proof import Proof
from sliceward.daemons.coordinator.starts import Starts
from sliceward.detectors.finding import State
from sliceward.playbooks import allow, decide, guards, turn
from sliceward.playbooks.advance import advance
from sliceward.playbooks.decision import Guard, Hold
from sliceward.playbooks.world import Usage
from sliceward.remediations import marks
from sliceward.remediations.domain_give_back import GiveBackDomain
from sliceward.remediations.gang_resume import ResumeGang
from sliceward.remediations.gang_wait_gone import WaitGone
from sliceward.remediations.host_repair import RepairHost
from sliceward.remediations.outcome import Done
from sliceward.topology.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from datetime import datetime

    import pytest

    from sliceward.detectors.finding import Finding
    from sliceward.playbooks.decision import Decision
    from sliceward.playbooks.incident import Incident
    from sliceward.playbooks.load import Book
    from sliceward.playbooks.run import Run
    from sliceward.playbooks.turn import Turn
    from sliceward.playbooks.world import World
    from sliceward.remediations.action import Target
    from sliceward.remediations.outcome import Outcome
    from sliceward.remediations.ports import Ports


@dataclass(frozen=True, slots=True)
class Mutant:
    """``rules``: the invariants of DESIGN.md that may tell of it; none where a story without an end does. ``seeds``: those that found it."""

    name: str
    rules: tuple[int, ...]
    plant: Callable[[pytest.MonkeyPatch], None]
    seeds: tuple[int, ...]

    def __str__(self) -> str:
        return self.name


def _yes(*_args: object, **_more: object) -> Guard:
    return Guard("mutant", ok=True, why="planted")


def no_level_of_hosts_and_runs(patch: pytest.MonkeyPatch) -> None:
    real = Usage.of.__func__  # type: ignore[attr-defined]  # a classmethod has one
    patch.setattr(
        Usage, "of", classmethod(lambda cls, fleets, runs: replace(real(cls, fleets, runs), out=Counter(), runs=Counter()))
    )


def no_rate_of_starts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Starts, "since", lambda _self, _edge: ())


def no_owner_of_a_host(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(guards, "_one_owner", _yes)
    patch.setattr(marks, "holders", lambda _node: frozenset())


def a_new_name_for_each_try_of_a_repair(patch: pytest.MonkeyPatch) -> None:
    real, tries = RepairHost.__call__, Counter[str]()

    async def ask(self: RepairHost, target: Target, ports: Ports) -> Outcome:
        tries[target.operation] += 1
        facts = {key: value for key, value in target.facts.items() if key != "repairs"}
        return await real(self, replace(target, operation=f"{target.operation}.{tries[target.operation]}", facts=facts), ports)

    patch.setattr(RepairHost, "__call__", ask)


def no_intent_before_a_call(patch: pytest.MonkeyPatch) -> None:
    real = Docket.save

    async def save(self: Docket, *what: Turn) -> None:
        await real(self, *(replace(one, call=None) for one in what))

    patch.setattr(Docket, "save", save)


def no_look_at_whether_it_fires(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(guards, "_firing", _yes)


def no_look_for_pods_before_a_repair(patch: pytest.MonkeyPatch) -> None:
    async def gone(_self: WaitGone, _target: Target, _ports: Ports) -> Outcome:
        return Done("surely gone")

    patch.setattr(WaitGone, "__call__", gone)
    patch.setattr("sliceward.remediations.host_repair._holds_chips", lambda _pod: False)
    patch.setattr("sliceward.remediations.hurt.pods_left", _nothing)


async def _nothing(*_args: object) -> tuple[()]:
    return ()


def no_look_for_marks_before_closing(patch: pytest.MonkeyPatch) -> None:
    def closed(_incident: Incident, _run: object, close: Any, _world: object, decision: Decision) -> Decision:  # noqa: ANN401 (a verdict)
        return replace(decision, verdict=close)

    patch.setattr(decide, "_closed", closed)


def unknown_is_well(patch: pytest.MonkeyPatch) -> None:
    real = presence.Presence.findings

    def findings(self: presence.Presence) -> dict[str, Finding]:
        found = real(self).items()
        return {key: replace(one, state=State.RESOLVED) if one.state is State.UNKNOWN else one for key, one in found}

    patch.setattr(presence.Presence, "findings", findings)


def no_ear_for_a_silent_watcher(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(presence, "aged", lambda finding: finding)
    patch.setattr(guards, "_fresh", _yes)


def no_record_of_a_decision(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(turn, "_recorded", lambda what, _before, _decision: what)


def no_ear_for_a_pause(patch: pytest.MonkeyPatch) -> None:
    for module in (guards, allow):
        patch.setattr(module, "not_paused", _yes)


def a_pause_holds_all(patch: pytest.MonkeyPatch) -> None:
    real = allow.may_step

    def step(incident: Incident, run: Run, book: Book, world: World, now: datetime) -> allow.Allowed:
        if world.paused:
            no = Guard("not-paused", ok=False, why=world.paused)
            return allow.Allowed((no,), (), Hold(now + timedelta(seconds=15), world.paused))
        return real(incident, run, book, world, now)

    patch.setattr(decide, "may_step", step)


def no_question(patch: pytest.MonkeyPatch) -> None:
    async def silent(_self: Proof) -> None:
        pass

    patch.setattr(Proof, "look", silent)


def no_fence(patch: pytest.MonkeyPatch) -> None:
    """A former leader whose writes are refused goes on as if they were not."""
    no_question(patch)
    patch.setattr(Coordinator, "_unseated", lambda _self, _error: None)
    real = Docket.save

    async def save(self: Docket, *what: Turn) -> None:
        with suppress(Refused):
            await real(self, *what)

    patch.setattr(Docket, "save", save)


def a_result_before_its_effect(patch: pytest.MonkeyPatch) -> None:
    under_way = set[asyncio.Task[Any]]()

    def hasty(real: Callable[..., Coroutine[Any, Any, Outcome]]) -> Callable[..., Coroutine[Any, Any, Outcome]]:
        async def answer(self: object, target: Target, ports: Ports) -> Outcome:
            under_way.add(asyncio.create_task(real(self, target, ports)))
            return Done("will surely be done")

        return answer

    for action in (ResumeGang, GiveBackDomain):
        patch.setattr(action, "__call__", hasty(action.__call__))


def what_was_under_way_at_a_death_is_done(patch: pytest.MonkeyPatch) -> None:
    real = Docket.load

    async def load(self: Docket) -> None:
        await real(self)
        for name, case in self.cases.items():
            run = case.run
            if run is not None and run.open and run.current is not None and run.current.attempts:
                self.cases[name] = replace(case, run=advance(run, Done("surely"), self.clock()).run)

    patch.setattr(Docket, "load", load)


MUTANTS = (
    Mutant("no level of hosts and runs", (1,), no_level_of_hosts_and_runs, (20, 30, 46)),
    Mutant("no rate of starts", (1,), no_rate_of_starts, (78, 52, 55)),
    Mutant("no owner of a host", (2,), no_owner_of_a_host, (360, 177, 358, 570)),
    Mutant("a new name for each try of a repair", (2,), a_new_name_for_each_try_of_a_repair, (1, 0)),
    Mutant("no intent before a call", (3,), no_intent_before_a_call, (1, 0)),
    Mutant("no look at whether it fires", (3,), no_look_at_whether_it_fires, (184,)),
    Mutant("no look for pods before a repair", (4, 7), no_look_for_pods_before_a_repair, (39, 32, 15)),
    Mutant("no look for marks before closing", (5,), no_look_for_marks_before_closing, (19, 323)),
    Mutant("unknown is well", (8,), unknown_is_well, (53, 77)),
    Mutant("no ear for a silent watcher", (8,), no_ear_for_a_silent_watcher, (78,)),
    Mutant("no record of a decision", (9,), no_record_of_a_decision, (1, 0)),
    Mutant("no ear for a pause", (10,), no_ear_for_a_pause, (230, 373)),
    Mutant("a pause holds all", (10,), a_pause_holds_all, (62,)),
    Mutant("no fence", (2, 3), no_fence, (64, 38, 264)),
    Mutant("a result before its effect", (), a_result_before_its_effect, (86,)),
    Mutant("what was under way at a death is done", (), what_was_under_way_at_a_death_is_done, (243,)),
)
