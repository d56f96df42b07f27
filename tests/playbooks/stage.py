"""A coordinator without I/O for tests: fold -> decide -> take -> call -> outcome, on values, with everything written down.

``Stage`` keeps what a store would keep (as JSON text, read back before each use, so every step is also a restart), applies
the marks that actions make to its fleet, and lets a script answer for the actions.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sliceward.detectors.finding import Finding, Kind, State
from sliceward.playbooks import record
from sliceward.playbooks import turn as turns
from sliceward.playbooks.decide import decide
from sliceward.playbooks.incidents import fold
from sliceward.playbooks.load import Book, load_book
from sliceward.playbooks.schema import Mode
from sliceward.playbooks.shipped import shipped
from sliceward.playbooks.world import Started, Usage, World
from sliceward.remediations.catalog import ACTIONS
from sliceward.remediations.outcome import Done
from sliceward.topology.health import Severity
from sliceward.topology.ids import ChipId, LinkId
from tests.builders import NOW, FleetBuilder, a_fleet

if TYPE_CHECKING:
    from collections.abc import Callable

    from sliceward.playbooks.decision import Decision
    from sliceward.playbooks.incident import Entry, Incident
    from sliceward.playbooks.run import Call, Run
    from sliceward.playbooks.turn import Turn
    from sliceward.remediations.outcome import Outcome
    from sliceward.remediations.page import Page
    from sliceward.topology.fleet import Fleet
    from sliceward.topology.ids import PartId

ENFORCED: Book = load_book(shipped(), ACTIONS, modes=Mode.ENFORCE)
OBSERVED: Book = load_book(shipped(), ACTIONS)


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def a_finding(kind: Kind, part: PartId, **more: object) -> Finding:
    since = more.get("since", NOW)
    base = Finding(kind, part, State.FIRING, Severity.ERROR, NOW, NOW, 0.95, f"rules/{kind}", "1", f"{kind} was seen")
    return replace(base, **({"since": since} | more))  # type: ignore[arg-type]  # fields of a Finding


def chip(host: str, index: int = 0) -> ChipId:
    return ChipId("c1", host, index)


def inner_link(cube: str = "cube-0") -> LinkId:
    """A link between two chips of the first host of a cube."""
    return LinkId.between(chip(f"{cube}-host-00", 0), chip(f"{cube}-host-00", 1))


def outer_link(one: str = "cube-0", other: str = "cube-1") -> LinkId:
    return LinkId.between(chip(f"{one}-host-00"), chip(f"{other}-host-00"))


LINK = a_finding(Kind.ICI_LINK_DOWN, inner_link())


def two_gangs() -> FleetBuilder:
    """Four cubes: a gang of two one-cube slices, another gang, a spare."""
    fleet = a_fleet().with_gang("llm", slices=2).on("cube-0", "cube-1")
    return fleet.with_gang("vision").on("cube-2").spare("cube-3")


def done(call: Call) -> Outcome:
    facts = {"planned_hosts": [f"cube-3-host-{n:02}" for n in range(16)]} if call.step.action == "gang.plan" else {}
    return Done(f"{call.step.action} is done", facts)


@dataclass
class Stage:
    builder: FleetBuilder = field(default_factory=two_gangs)
    book: Book = ENFORCED
    now: datetime = NOW
    findings: dict[str, Finding] = field(default_factory=dict)
    answer: Callable[[Call], Outcome] = done
    more: dict[str, object] = field(default_factory=dict)
    rows: dict[str, str] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    pages: list[Page] = field(default_factory=list)
    calls: list[tuple[str, str]] = field(default_factory=list)
    saved: list[Turn] = field(default_factory=list)
    built: tuple[FleetBuilder, Fleet] | None = None

    def see(self, *findings: Finding) -> Stage:
        self.findings |= {finding.id: finding for finding in findings}
        return self

    def become(self, state: State, *kinds: Kind) -> Stage:
        for key, finding in self.findings.items():
            if not kinds or finding.kind in kinds:
                self.findings[key] = replace(finding, state=state)
        return self

    @property
    def fleet(self) -> Fleet:
        if self.built is None or self.built[0] is not self.builder:
            self.built = (self.builder, self.builder.build(self.now))
        return self.built[1]

    @property
    def incidents(self) -> list[Incident]:
        return sorted((record.incident(row) for row in self.rows.values()), key=lambda i: (i.opened, i.id))

    @property
    def incident(self) -> Incident:
        (only,) = self.incidents
        return only

    @property
    def run(self) -> Run:
        return record.run(self.runs[self.incident.run])

    @property
    def actions(self) -> list[str]:
        return [action for _, action in self.calls]

    def world(self) -> World:
        fleet, runs = self.fleet, [record.run(row) for row in self.runs.values()]
        started = tuple(
            Started(r.started, r.incident, r.cluster, r.playbook, frozenset(r.domain), r.ended) for r in runs if r.harms
        )
        sick = frozenset(host for incident in self.incidents if incident.open for host in incident.domain)
        running = tuple(run for run in runs if run.open)
        world = World(fleet, usage=Usage.of([fleet], running), runs=running, started=started, sick=sick, fleets=(fleet,))
        return replace(world, **self.more)  # type: ignore[arg-type]  # fields of a World

    def fold(self) -> None:
        known = [incident for incident in self.incidents if incident.open]
        for turn in turns.folded(known, fold(known, self.findings.values(), self.fleet, self.book, self.now), self.now):
            self.save(turn)

    def decide(self, incident: Incident) -> Turn:
        run = record.run(self.runs[incident.run]) if incident.run else None
        return turns.take(incident, decide(incident, run, self.book, self.world(), self.now), self.now)

    def step(self, by: timedelta = timedelta(seconds=1)) -> Stage:
        """One round of the loop, then the clock goes on."""
        self.fold()
        for incident in [i for i in self.incidents if i.open]:
            turn = self.decide(incident)
            self.save(turn)
            if turn.call is not None:
                self.perform(turn.incident.id, turn.call)
        self.now += by
        return self

    def perform(self, name: str, call: Call) -> None:
        self.calls.append((name, call.step.action))
        answer = self.answer(call)
        incident = record.incident(self.rows[name])
        run = record.run(self.runs[incident.run])
        if isinstance(answer, Done):
            self.happen(call, run)
        self.save(turns.outcome(incident, run, answer, self.now))

    def happen(self, call: Call, run: Run) -> None:
        """Let the fleet show what the action did."""
        names = [host.name for host in run.domain]
        match call.step.action:
            case "domain.mark":
                self.builder = self.builder.marked(run.incident, *names)
            case "domain.give_back":
                self.builder = replace(self.builder, edits=tuple(e for e in self.builder.edits if e[0] not in names))
            case _:
                pass

    def play(self, rounds: int = 60, by: timedelta = timedelta(seconds=1)) -> Stage:
        for _ in range(rounds):
            self.step(by)
        return self

    def until(self, action: str) -> Stage:
        """Play until an action was called."""
        for _ in range(80):
            if action in self.actions:
                return self
            self.step()
        raise AssertionError(f"{action} was never called: {self.actions}")

    def save(self, turn: Turn) -> None:
        self.saved.append(turn)
        self.rows[turn.incident.id] = record.text(turn.incident)
        if turn.run is not None:
            self.runs[turn.run.id] = record.text(turn.run)
        self.entries += turn.entries
        self.pages += turn.pages
        if turn.decision is not None:
            self.decisions.append(turn.decision)


def settled(stage: Stage) -> Incident:
    stage.fold()
    stage.now += seconds(10)
    return stage.incidents[0]


def decided(stage: Stage, incident: Incident | None = None) -> Decision:
    return decide(incident or settled(stage), None, stage.book, stage.world(), stage.now)
