"""Frames and panels for tests, in one line."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sliceward.detectors.frame import Frame, pack
from sliceward.detectors.metrics import CATALOGUE, EntityKind
from tests.builders import NOW

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sliceward.detectors.panel import Panel
    from sliceward.topology.fleet import Fleet

START = NOW.timestamp()
CHIPS, PORTS = 4, 6
WELL: Mapping[str, float] = {"chip_present": 1, "link_health": 0, "chip_throttle_score": 0, "chip_hbm_uncorrectable_total": 0}


@dataclass
class Speaker:
    """The agent of one host: each `say` is its next frame. ``readings``: metric -> one value for all, or one an entity."""

    host: str
    cluster: str = "c1"
    instance_id: str = "i-1"
    boot_id: str = "b-1"
    index: int | None = 0
    agent_start: float = START - 100
    period: float = 10.0
    seq: int = 0
    readings: dict[str, float | Sequence[float]] = field(default_factory=lambda: dict(WELL))
    notes: dict[str, str] = field(default_factory=dict)

    def say(self, at: float) -> Frame:
        self.seq += 1
        columns = {name: pack(CATALOGUE[name], _spread(name, values)) for name, values in self.readings.items()}
        return Frame(
            self.cluster, self.host, self.instance_id, self.boot_id, self.index, self.agent_start, self.seq, at, self.period,
            CHIPS, PORTS, columns, dict(self.notes), full_notes=True,
        )  # fmt: skip

    def link(self, chip: int, port: int, health: float) -> None:
        """Say so of one link from now on."""
        values = list(_spread("link_health", self.readings.get("link_health", 0)))
        values[chip * PORTS + port] = health
        self.readings["link_health"] = values

    def chip(self, metric: str, chip: int, value: float) -> None:
        """Say so of one chip from now on."""
        values = list(_spread(metric, self.readings.get(metric, 0)))
        values[chip] = value
        self.readings[metric] = values


def _spread(name: str, values: float | Sequence[float]) -> Sequence[float]:
    count = {EntityKind.HOST: 1, EntityKind.CHIP: CHIPS, EntityKind.LINK: CHIPS * PORTS}[CATALOGUE[name].kind]
    return [values] * count if isinstance(values, int | float) else list(values)


def speakers_of(fleet: Fleet) -> dict[str, Speaker]:
    """Give one speaker for each host, as the fleet names them."""
    return {
        host.id.name: Speaker(
            host.id.name, instance_id=host.instance_id or "i-1", boot_id=host.boot_id or "b-1", index=host.index
        )
        for host in fleet.hosts.values()
    }


def feed(panel: Panel, speakers: Iterable[Speaker], *, rounds: int = 6, start: float = START) -> float:
    """Let all speak for some rounds of 10 s; give the time after the last."""
    now = start
    said = list(speakers)
    for _ in range(rounds):
        now += 10.0
        panel.advance(now)
        for speaker in said:
            panel.put(speaker.say(now - 0.5), now)
    return now


def renamed(frame: Frame, **changes: object) -> Frame:
    return replace(frame, **changes)  # type: ignore[arg-type]  # fields of a Frame
