"""What is read of a member: which direction is bad, whether it counts, and by which meter it is measured."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sliceward.detectors.metrics import CATALOGUE, Bad, Shape


class Form(StrEnum):
    """How a reading is to be taken: a level; a count since some start; or what was counted since the reading before."""

    GAUGE = "gauge"
    TOTAL = "total"
    INCREASE = "increase"


@dataclass(frozen=True, slots=True)
class Signal:
    """One row of readings. ``sense``: 1 where high is bad, -1 where low is; a signal that is bad both ways is two rows.

    ``meter``: who measures. Two signals corroborate each other only where their meters are two.
    """

    name: str
    sense: int = 1
    form: Form = Form.GAUGE
    meter: str = ""


# Times of a step and what a chip tells of itself, by the plain names under which profilers and job reporters give them.
_PLAIN = {
    one.name: one
    for one in (
        Signal("busy", 1, meter="core clock"),
        Signal("wait", -1, meter="collectives"),
        Signal("infeed", 1, meter="input"),
        Signal("temp", 1, meter="thermometer"),
        Signal("ecc", 1, Form.TOTAL, "memory"),
        Signal("err", 1, Form.TOTAL, "link"),
        Signal("latency", 1, meter="clock"),
        Signal("availability", -1, meter="answers"),
    )
}
_SENSES = {Bad.HIGH: (1,), Bad.LOW: (-1,), Bad.NEITHER: (1, -1)}


def signals_of(name: str) -> tuple[Signal, ...]:
    """Give the rows of a reading by its name. Of one that nobody knows either direction may be bad, and it is its own meter."""
    if name in _PLAIN:
        return (_PLAIN[name],)
    metric = CATALOGUE.get(name)
    if metric is None:
        return tuple(Signal(name, sense, meter=name) for sense in (1, -1))
    if metric.shape is Shape.COUNTER:
        return (Signal(name, 1, Form.INCREASE, metric.door or name),)
    return tuple(Signal(name, sense, meter=metric.door or name) for sense in _SENSES[metric.bad])
