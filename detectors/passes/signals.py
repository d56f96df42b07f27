"""What is read of a member: which direction is bad, whether it counts, and by which meter it is measured."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sliceward.detectors.metrics import CATALOGUE, Bad, EntityKind, Metric, Shape


class Form(StrEnum):
    """How a reading is to be taken: a level; a count since some start; or what was counted since the reading before."""

    GAUGE = "gauge"
    TOTAL = "total"
    INCREASE = "increase"


@dataclass(frozen=True, slots=True)
class Signal:
    """One row of readings. ``sense``: 1 where high is bad, -1 where low is; a signal that is bad both ways is two rows.

    ``meter``: who measures. Two signals corroborate each other only where their meters are two. ``least``: the smallest deviation that is believed to
    be one, in the unit of the reading. ``way``: ``high`` or ``low`` where either is bad. ``job``: what a job moves
    as easily as a fault does, so that by itself it is never enough. ``pulse``: shows whether a job works at all. ``rests``: says nothing of a member
    whose job stands still.
    """

    name: str
    sense: int = 1
    form: Form = Form.GAUGE
    meter: str = ""
    least: float = 0.0
    way: str = ""
    job: bool = False
    pulse: bool = False
    rests: bool = True

    @property
    def called(self) -> str:
        """Give the name of the row: of a reading that is bad both ways each way has its own."""
        return f"{self.name} {self.way}" if self.way else self.name


# Times of a step and what a chip tells of itself, by the plain names under which profilers and job reporters give them.
_PLAIN = {
    one.name: one
    for one in (
        Signal("busy", 1, meter="core clock", pulse=True),
        Signal("wait", -1, meter="collectives"),
        Signal("infeed", 1, meter="input"),
        Signal("temp", 1, meter="thermometer"),
        Signal("ecc", 1, Form.TOTAL, "memory"),
        Signal("err", 1, Form.TOTAL, "link"),
        Signal("latency", 1, meter="clock"),
        Signal("availability", -1, meter="answers"),
    )
}
SCORE, PERCENT = 0.5, 0.25
"""Smallest deviation of a score in whole steps, which is 0 nearly always: one step for one tick is no news; and of a share that is given in per cent."""
_WAYS = {1: "high", -1: "low"}
_SENSES = {Bad.HIGH: (1,), Bad.LOW: (-1,), Bad.NEITHER: (1, -1)}


def signals_of(name: str) -> tuple[Signal, ...]:
    """Give the rows of a reading by its name. Of one that nobody knows either direction may be bad, and it is its own meter."""
    if name in _PLAIN:
        return (_PLAIN[name],)
    metric = CATALOGUE.get(name)
    if metric is None:
        return tuple(Signal(name, sense, meter=name, way=_WAYS[sense]) for sense in (1, -1))
    if metric.shape is Shape.COUNTER:
        return (Signal(name, 1, Form.INCREASE, _meter(metric)),)
    least = SCORE if metric.unit == "1" else PERCENT if metric.unit == "percent" else 0.0
    senses, meter = _SENSES[metric.bad], _meter(metric)
    return tuple(
        Signal(
            name,
            one,
            meter=meter,
            least=least,
            way=_WAYS[one] if len(senses) > 1 else "",
            job=meter in _OF_THE_JOB,
            pulse=meter == ACTIVITY and metric.kind is EntityKind.CHIP and one == 1,
            rests=metric.source != "host" or meter == ACTIVITY,
        )
        for one in senses
    )


_METERS = {
    "chip_hbm_correct": "memory",
    "chip_hbm_uncorrect": "memory",
    "chip_pcie": "pcie",
    "host_edac": "host memory",
    "host_megascale": "network",
}
"""Meters by how the name of their readings begins: readings of one meter move together, and corroborate nothing."""
ACTIVITY = "activity"
_OF_THE_JOB = frozenset({ACTIVITY, "network"})


def _meter(metric: Metric) -> str:
    if metric.bad is Bad.NEITHER and metric.unit == "percent":
        return ACTIVITY
    return next((meter for start, meter in _METERS.items() if metric.name.startswith(start)), metric.door or metric.name)
