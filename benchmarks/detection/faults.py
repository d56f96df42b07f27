"""Several faults in one torus at once: effects with known truth, added to what a quiet episode of the kit reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from detbench.synthfleet import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from detbench.synthfleet import Topology
    from numpy.typing import NDArray

    Column = NDArray[np.float64]

RAMP = 60


@dataclass
class Effect:
    """One fault of the kit's kinds and severities. ``counted``: errors so far, over chips or links."""

    topo: Topology
    kind: str
    dice: np.random.Generator
    truth: tuple[str, int] = field(init=False)
    severity: float = field(init=False)
    counted: Column = field(init=False)
    flapping: bool = False

    def __post_init__(self) -> None:
        """Draw what breaks and how badly."""
        what = self.kind.split("_")[0]
        counts = {"chip": self.topo.n, "link": self.topo.links, "host": len(self.topo.chips_of_host)}
        counts |= {"cube": len(self.topo.chips_of_cube), "ocs": len(self.topo.links_of_ocs)}
        self.truth, self.severity = (what, int(self.dice.integers(counts[what]))), float(self.dice.random())
        self.counted = np.zeros(self.topo.n if self.kind == "chip_ecc" else self.topo.links)

    def add(self, age: int, chip: Mapping[str, Column], link: Mapping[str, Column]) -> None:
        """Add what it does ``age`` ticks after its onset; a chip that is busier or fed later waits less."""
        one, s = self.truth[1], self.severity
        match self.kind:
            case "chip_slow":
                self._busy(chip, np.array([one]), 0.015 + 0.085 * s)
            case "chip_hot":
                rise = (3 + 7 * s) * min(1.0, age / RAMP)
                chip["temp"][one] += rise
                self._busy(chip, np.array([one]), max(0.0, rise - 4) * 0.006)
            case "host_infeed":
                if self.dice.random() < 0.6:  # noqa: PLR2004 (the kit's share of ticks)
                    late, chips = 0.01 + 0.05 * s * self.dice.random(), self.topo.chips_of_host[one]
                    chip["infeed"][chips] += late
                    chip["wait"][chips] -= late
            case "cube_cooling":
                chip["temp"][self.topo.chips_of_cube[one]] += (1.5 + 3 * s) * min(1.0, age / RAMP)
            case _:
                self._count(one, s)
                (chip["ecc"] if self.kind == "chip_ecc" else link["err"])[:] += self.counted

    def _busy(self, chip: Mapping[str, Column], chips: NDArray[np.intp], by: float) -> None:
        longer = chip["busy"][chips] * by
        chip["busy"][chips] += longer
        chip["wait"][chips] -= longer

    def _count(self, one: int, s: float) -> None:
        rate, where = 0.15 + 2 * s, np.array([one])
        if self.kind == "link_flap":
            self.flapping ^= bool(self.dice.random() < 0.1)  # noqa: PLR2004 (the kit's chance a tick)
            rate = self.flapping * (1 + 4 * s)
        elif self.kind == "ocs_errors":
            rate, where = 0.08 + 0.6 * s, self.topo.links_of_ocs[one]
        self.counted[where] += self.dice.poisson(rate, len(where))


def several(topo: Topology, count: int, dice: np.random.Generator) -> list[Effect]:
    """Draw faults of different kinds."""
    return [Effect(topo, str(kind), dice) for kind in dice.choice(KINDS, count, replace=False)]
