"""A cluster that is watched by the shipped rules, round by round: what speakers say goes in, findings come out."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from importlib import resources
from typing import TYPE_CHECKING

from sliceward.daemons.watcher.surroundings import write_readings
from sliceward.detectors.finding import Finding, State
from sliceward.detectors.panel import Panel, PanelSize
from sliceward.detectors.rules import Rule, load_rules
from sliceward.detectors.rules.load import is_rules
from sliceward.detectors.run import evaluate
from sliceward.detectors.witness import write_own
from sliceward.topology.ids import ChipId, LinkId
from sliceward.topology.links import is_between_cubes, link_at, links_of_chip, ports_of
from tests.builders import a_fleet
from tests.detectors.frames import START, Speaker, speakers_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sliceward.topology.fleet import Fleet

GRACE = timedelta(seconds=60)
H0, H1 = "cube-0-host-00", "cube-0-host-01"


def shipped() -> tuple[Rule, ...]:
    folder = resources.files("sliceward.detectors") / "rules"
    return load_rules({file.name: file.read_text("utf-8") for file in folder.iterdir() if is_rules(file.name)})


RULES = shipped()
FLEET = a_fleet().with_cubes(2).with_gang("llm", slices=2).on("cube-0", "cube-1").build()


@dataclass
class Scene:
    """A cluster that is watched, round by round, 10 s each."""

    fleet: Fleet = FLEET
    now: float = START
    silent: set[str] = field(default_factory=set)
    blind: bool = False
    findings: tuple[Finding, ...] = ()

    def __post_init__(self) -> None:
        self.panel = Panel("c1", PanelSize(10.0, 120), track=("host_step",))
        self.speakers = speakers_of(self.fleet)
        self.panel.advance(self.now)
        self.panel.expect(self.speakers)

    def __getitem__(self, host: str) -> Speaker:
        return self.speakers[host]

    def go(self, rounds: int = 6) -> Scene:
        for _ in range(rounds):
            self.now += 10.0
            self.panel.advance(self.now)
            for name, speaker in self.speakers.items():
                if name not in self.silent:
                    self.panel.put(speaker.say(self.now), self.now)
            if not self.blind:
                write_readings(self.panel, self.fleet)
            write_own(self.panel, self.fleet, grace=GRACE.total_seconds())
            self.findings = evaluate(self.panel, RULES, self.fleet, grace=GRACE, previous=self.findings)
        return self

    def of(self, *states: State) -> dict[str, Finding]:
        wanted = states or (State.FIRING,)
        return {f"{f.kind} {f.part}": f for f in self.findings if f.state in wanted}

    def sick_link(self, link: LinkId, health: float = 10, *, ends: Iterable[ChipId] | None = None) -> None:
        for end in ends if ends is not None else link.ends:
            port = next(p for p in ports_of(self.fleet, end) if link_at(self.fleet, end, p) == link)
            self.speakers[end.host].link(end.index, port, health)


def inner_link(host: str = H0, chip: int = 0) -> LinkId:
    return next(
        link
        for link in links_of_chip(FLEET, ChipId("c1", host, chip))
        if not is_between_cubes(FLEET, link) and link.host_a != link.host_b
    )
