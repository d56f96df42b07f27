"""Chips on a stage that read as chips do, seeded, and faults that move some of their readings."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from sliceward.detectors.finding import Kind, State
from tests.daemons.watcher.stage import H0, H1, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from sliceward.detectors.finding import Finding

    Said = dict[str, NDArray[np.float64]]
    Fault = Callable[[int, Said], None]

LEARN = 66
"""Rounds after which baselines are known."""
SICK, OTHER = f"c1/chip/{H0}/2", f"c1/chip/{H1}/1"
METERS = {"chip_duty_cycle_percent": 70.0, "chip_hbm_bandwidth_percent": 55.0, "chip_tensorcore_percent": 60.0}


@dataclass
class Life:
    """Chips of a stage that read as chips do, seeded."""

    stage: Stage
    seed: int = 1
    tick: int = 0
    faults: list[Fault] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dice = np.random.default_rng(self.seed)
        self.names = list(self.stage.speakers)
        self.offset = {name: self.dice.normal(0, 0.4, self.count) for name in METERS}
        self.errors = np.zeros(self.count)

    @property
    def count(self) -> int:
        return 4 * len(self.names)

    def member(self, part: str) -> int:
        _, _, host, chip = part.split("/")
        return 4 * self.names.index(host) + int(chip)

    async def live(self, rounds: int) -> None:
        for _ in range(rounds):
            self.tick += 1
            load = self.dice.normal(0, 0.3)
            self.errors += self.dice.poisson(0.005, self.count)
            said = {
                name: level + load + self.offset[name] + self.dice.normal(0, 0.5, self.count) for name, level in METERS.items()
            }
            said["chip_hbm_correctable_total"] = self.errors.copy()
            said["chip_throttle_score"] = np.zeros(self.count)
            for fault in self.faults:
                fault(self.tick, said)
            for number, name in enumerate(self.names):
                mine = slice(4 * number, 4 * number + 4)
                self.stage.speakers[name].readings |= {metric: values[mine].tolist() for metric, values in said.items()}
            await self.stage.rounds(1)

    def slow(self, part: str = SICK, by: float = 6.0, *, until: int = 10_000) -> None:
        """Let a chip work less than its peers."""
        self._moved(METERS, part, -by, until)

    def throttled(self, part: str = SICK, *, until: int = 10_000) -> None:
        """Let a chip say that it is throttled."""
        self._moved(("chip_throttle_score",), part, 3.0, until)

    def _moved(self, metrics: Iterable[str], part: str, by: float, until: int) -> None:
        member, since = self.member(part), self.tick

        def fault(tick: int, said: Said) -> None:
            if since < tick <= since + until:
                for name in metrics:
                    said[name][member] += by

        self.faults.append(fault)


def ours(stage: Stage) -> dict[str, Finding]:
    return {key: one for key, one in stage.kept.items() if one.kind in {Kind.PART_SUSPECT, Kind.PART_CONDEMNED}}


def firing(stage: Stage) -> set[str]:
    return {key for key, one in ours(stage).items() if one.state is State.FIRING}


def kept_in(folder: Path) -> Stage:
    """Give a watcher that keeps its baselines there."""
    return Stage(environ={"SLICEWARD_STATISTICS__FOLDER": str(folder), "SLICEWARD_STATISTICS__SAVE_EVERY": "30s"})


def rewritten(path: Path, **more: object) -> None:
    """Write other things into a file of baselines: arrays by path, or what stands about them."""
    with np.load(path) as file:
        found = {name: file[name] for name in file.files}
    about = json.loads(found["about"].tobytes())
    for name, value in more.items():
        if isinstance(value, np.ndarray):
            found[name] = value
        else:
            about[name] = {**about[name], **value} if isinstance(value, dict) else value
    found["about"] = np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)
    np.savez(path, allow_pickle=False, **found)
