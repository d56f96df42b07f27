"""Boxes inside one cube: which are free, and what taking one destroys there for every other size."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from sliceward.scheduling.cubes.nest import free_runs, seats_of
from sliceward.scheduling.occupancy import Grade

if TYPE_CHECKING:
    from sliceward.scheduling.cubes.room import Now, Room
    from sliceward.scheduling.ground import Want

Lost = tuple[int, ...]
"""How many places of each level of a nest are gone, the whole cube first."""


class Box(NamedTuple):
    """A box that could be taken: its seats as bits, whether a part of it limps, and what it destroys in its cube.

    ``lost``: of what is free now; ``later``: of what is free once all that is nobody's is well.
    """

    bits: int
    limps: bool
    lost: Lost
    later: Lost


def starts(room: Room, now: Now, level: int, want: Want) -> tuple[int, int]:
    """Give the first seats, as bits, of the boxes of a level that are clean, and of those that limp but are accepted."""
    run, torn = room.nest.runs[level], now.torn[level]
    clean = free_runs(now.free, run) & room.sound[level] & ~torn
    if want.worst is Grade.HEALTHY and not (want.broken_links and torn):
        return clean, 0
    accepted = room.sound[level]
    seats = now.free
    if want.worst is Grade.DEGRADED:
        seats, accepted = seats | now.poor, accepted | room.shaky[level]
    whole = free_runs(seats, run) & accepted
    return clean, whole & ~clean if want.broken_links else whole & ~clean & ~torn


def boxes(room: Room, now: Now, level: int, want: Want) -> tuple[Box, ...]:
    """Give the boxes of a level below the cube that may be taken, clean ones first, lowest seat first."""
    return _boxes(_cell(room, now), _later(room, now), level, starts(room, now, level, want))


def unlike(room: Room, now: Now, level: int, want: Want) -> tuple[Box, ...]:
    """Give the first of the boxes that destroy the same: where all hosts cost the same, no other one is better."""
    return _unlike(_cell(room, now), _later(room, now), level, starts(room, now, level, want))


def alive(room: Room, now: Now) -> Lost:
    """Count, by level, the boxes that are clean."""
    return _alive(_cell(room, now))


def lost(room: Room, now: Now, bits: int) -> Lost:
    """Count, by level, the clean boxes that are gone when these seats are taken."""
    return _lost(_cell(room, now), bits)


def lost_later(room: Room, now: Now, bits: int) -> Lost:
    """Count, by level, the boxes that are gone when these seats are taken and all that is nobody's is well again."""
    return _lost(_later(room, now), bits)


def whole_later(room: Room, now: Now) -> bool:
    """Whether the cube is free as a whole once all that is nobody's is well again."""
    return _alive(_later(room, now))[0] == 1


class _Cell(NamedTuple):
    """What the boxes of a cube depend on: many cubes of a fleet are alike, and what is found out of one holds for all."""

    runs: tuple[int, ...]
    sound: tuple[int, ...]
    torn: tuple[int, ...]
    free: int


def _cell(room: Room, now: Now) -> _Cell:
    return _Cell(room.nest.runs, room.sound, now.torn, now.free)


def _later(room: Room, now: Now) -> _Cell:
    return _Cell(room.nest.runs, room.built, (0,) * len(room.nest.runs), now.free | now.back)


@lru_cache(maxsize=1 << 16)
def _alive(cell: _Cell) -> Lost:
    return tuple(
        (free_runs(cell.free, run) & well & ~broken).bit_count()
        for run, well, broken in zip(cell.runs, cell.sound, cell.torn, strict=True)
    )


@lru_cache(maxsize=1 << 16)
def _lost(cell: _Cell, bits: int) -> Lost:
    after = _alive(cell._replace(free=cell.free & ~bits))
    return tuple(a - b for a, b in zip(_alive(cell), after, strict=True))


@lru_cache(maxsize=1 << 14)
def _boxes(cell: _Cell, later: _Cell, level: int, found: tuple[int, int]) -> tuple[Box, ...]:
    run = (1 << cell.runs[level]) - 1
    return tuple(
        Box(run << seat, limps, _lost(cell, run << seat), _lost(later, run << seat))
        for firsts, limps in zip(found, (False, True), strict=True)
        for seat in seats_of(firsts)
    )


@lru_cache(maxsize=1 << 14)
def _unlike(cell: _Cell, later: _Cell, level: int, found: tuple[int, int]) -> tuple[Box, ...]:
    first: dict[tuple[bool, Lost, Lost], Box] = {}
    for box in _boxes(cell, later, level, found):
        first.setdefault((box.limps, box.lost, box.later), box)
    return tuple(first.values())
