"""Lines of a job's log that mean something, as they travel in a frame: agent writes the note ``sightings``, traps read it.

No numpy here: the agent imports it. Times are unix seconds by the host's clock, as the container runtime stamped the line.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

NOTE, END_NOTE = "sightings", "end"
"""From the logs of pods, and what an in-job reporter said of its process's end."""
MOST, LONGEST = 16, 8000
"""Sightings of one host, and characters that they may take together."""
BURST = 600.0
"""Seconds between two lines of one sighting; what comes later is another."""
KEPT = 900.0
"""Seconds for which a sighting is told after its last line."""


class Line(StrEnum):
    """What a line says. Patterns are data (`daemons/sources/pod_log.yaml`); this is what they may mean."""

    MISSED = "missed"
    """The slice's master tells of a worker that missed health checks; ``what``: its address."""
    REPORTS = "reports"
    """The slice's master tells of a worker that reports an error; ``what``: its address, ``chips``: physical places."""
    SLICE_FAILURE = "slice_failure"
    """``what``: code of the failure, as libtpu's callback extension names it."""
    CHIP_FATAL = "chip_fatal"
    """An error on a chip that ends the program; ``what``: physical place, device or core."""
    HANG_CHIP = "hang_chip"
    """Megascale's digest suspects a bad chip."""
    HANG_PROGRAM = "hang_program"
    """Megascale's digest suspects that hosts run different programs."""
    CULPRIT = "culprit"
    """Megascale's digest names a worker; ``what``: its name."""
    COUNTER = "counter"
    """Megascale's digest tells a program counter; ``what``: the worker's name, ``chips``: the counter."""
    PORT_TAKEN = "port_taken"
    """A port could not be listened at; ``what``: its number."""
    DEVICE_BUSY = "device_busy"
    """Somebody else holds the device."""
    NO_TOPOLOGY = "no_topology"
    """libtpu could not find where it is: the environment of the container, until a reference job fails there too."""
    CRASHED = "crashed"
    """The process ends by itself, and says why."""
    PEER_LOST = "peer_lost"
    """A peer is gone. It dates the event and counts against nobody who prints it."""


class Sighting(msgspec.Struct, frozen=True, omit_defaults=True):
    """One kind of line of one pod. ``first`` and ``last``: when; ``seat``: place in its gang as in the note ``gang``; ``text``: its first line."""

    line: Line
    first: float
    last: float
    count: int = 1
    what: str = ""
    chips: str = ""
    seat: str = ""
    pod: str = ""
    text: str = ""


_MANY = msgspec.json.Decoder(list[Sighting])


def plain(text: str) -> str:
    """Give the text in one line that prints as it stands: what a job says goes to terminals and pages."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def to_note(sightings: list[Sighting]) -> str:
    """Give the note, "" of none: the first of each kind of line first, then their seconds, as many as fit."""
    turns: dict[Line, int] = {}
    ordered: list[tuple[int, float, Sighting]] = []
    for one in sorted(sightings, key=lambda one: one.first):
        turns[one.line] = turns.get(one.line, -1) + 1
        ordered.append((turns[one.line], one.first, one))
    kept = [one for _, _, one in sorted(ordered, key=lambda told: told[:2])][:MOST]
    while kept and len(note := msgspec.json.encode(kept).decode()) > LONGEST:
        kept.pop()
    return note if kept else ""


def from_note(note: str) -> tuple[Sighting, ...]:
    """Give what a note tells.

    Raises:
        ValueError: it is none, or tells of more than an agent does.
    """
    found = _MANY.decode(note)
    if len(found) > MOST:
        raise ValueError(f"tells of {len(found)} kinds of lines, and an agent of {MOST} at most")
    return tuple(found)
