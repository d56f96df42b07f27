"""A small torus of chips that read like chips, seeded: for tests of the statistical passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sliceward.detectors.passes.layout import Cabling, Layout, torus
from sliceward.detectors.passes.verdicts import Level, Verdict
from sliceward.detectors.passes.watch import Watch

Readings = dict[str, dict[str, NDArray[np.float64]]]
Fault = Callable[[int, Readings], None]
PERIOD = 10.0


@dataclass
class Torus:
    """Chips in a box of whole 4x4x4 cubes, four a host, each axis a ring."""

    shape: tuple[int, int, int] = (4, 4, 8)
    host: NDArray[np.intp] = field(init=False)
    cube: NDArray[np.intp] = field(init=False)
    cabling: Cabling = field(init=False)

    def __post_init__(self) -> None:
        x, y, z = (axis.ravel() for axis in np.indices(self.shape))
        number = np.arange(len(x)).reshape(self.shape)
        self.host = (x // 2 * (self.shape[1] // 2) + y // 2) * self.shape[2] + z
        self.cube = (x // 4 * (self.shape[1] // 4) + y // 4) * (self.shape[2] // 4) + z // 4
        others, switches = [], []
        for axis, at in enumerate((x, y, z)):
            others.append(np.roll(number, -1, axis).ravel())
            a, b = [one for side, one in enumerate((x, y, z)) if side != axis]
            switches.append(np.where(at % 4 == 3, axis * 16 + a % 4 * 4 + b % 4, -1))
        self.cabling = Cabling(np.tile(number.ravel(), 3), np.concatenate(others), np.concatenate(switches))

    @property
    def chips(self) -> int:
        return len(self.host)

    @property
    def links(self) -> int:
        return len(self.cabling.one)

    def layout(self) -> Layout:
        place = np.stack([axis.ravel() for axis in np.indices(self.shape)], axis=-1)
        return torus(self.host, self.cube, self.cabling, place=place)


def healthy(tori: Torus, seed: int) -> Callable[[int], Readings]:
    """Give what healthy chips read, tick after tick."""
    dice = np.random.default_rng(seed)
    chips, links = tori.chips, tori.links
    offset, warmth, err = dice.normal(0, 0.004, chips), dice.normal(60, 1.2, chips), 10 ** dice.normal(-2.2, 0.6, links)
    drift, ecc, errors = np.zeros(chips), dice.integers(0, 500, chips).astype(float), dice.integers(0, 5000, links).astype(float)

    def read(_: int) -> Readings:
        nonlocal drift, ecc, errors
        busy = 1 + offset + dice.normal(0, 0.006, chips) + dice.normal(0, 0.003)
        infeed = 0.02 + np.abs(dice.normal(0, 0.004, chips))
        drift = 0.9 * drift + dice.normal(0, 0.15, chips)
        ecc, errors = ecc + dice.poisson(0.006, chips), errors + dice.poisson(err)
        wait = (busy + infeed).max() + 0.15 - busy - infeed + dice.normal(0, 0.004, chips)
        temp = warmth + drift + dice.normal(0, 0.3, chips)
        chip = {"busy": busy, "wait": wait, "infeed": infeed, "temp": temp, "ecc": ecc.copy()}
        return {"chip": chip, "link": {"err": errors.copy()}}

    return read


def slow(chips: NDArray[np.intp] | list[int], by: float, *, since: int) -> Fault:
    """Let chips compute longer, and so wait less."""

    def fault(tick: int, readings: Readings) -> None:
        if tick >= since:
            readings["chip"]["busy"][chips] += by
            readings["chip"]["wait"][chips] -= by

    return fault


def erring(links: NDArray[np.intp] | list[int], a_tick: float, *, since: int) -> Fault:
    """Let links count so many errors more a tick."""

    def fault(tick: int, readings: Readings) -> None:
        readings["link"]["err"][links] += np.floor(a_tick * max(0, tick - since + 1))

    return fault


def shift(name: str, members: NDArray[np.intp] | list[int], by: float, *, since: int) -> Fault:
    """Move one reading of some chips."""

    def fault(tick: int, readings: Readings) -> None:
        if tick >= since:
            readings["chip"][name][members] += by

    return fault


def run(tori: Torus, ticks: int, *faults: Fault, seed: int = 1, watch: Watch | None = None) -> list[Verdict]:
    """Give all verdicts of a run."""
    watch, read, told = watch or Watch(tori.layout()), healthy(tori, seed), []
    for tick in range(ticks):
        readings = read(tick)
        for fault in faults:
            fault(tick, readings)
        told += watch.step(tick * PERIOD, readings)
    return told


def named(verdicts: list[Verdict], level: Level = Level.SUSPECT) -> list[tuple[str, int]]:
    """Give the parts that verdicts of a level name, in order."""
    return [(one.kind, one.label) for one in verdicts if one.level is level]
