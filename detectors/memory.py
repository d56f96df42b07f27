"""What detection remembers between rounds: of each entity how long something has held, and of each pod how long it lived.

One track a clause, in the shape of a row of the panel's ring; it grows with the ring and forgets with it. A round that is
evaluated twice at one instant changes nothing the second time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from sliceward.topology.fleet import Fleet
    from sliceward.topology.ids import HostId

Found = TypeVar("Found")


@dataclass(slots=True)
class Track:
    """One number an entity. ``began``: when it was first asked for, ``at``: when it was last moved, both unix seconds."""

    began: float
    at: float
    values: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Life:
    """One pod on its host: when it was first seen there. ``over``: it has ended, or was told to."""

    born: float
    over: bool


@dataclass(frozen=True, slots=True)
class Death:
    """A pod that ended soon after it began. ``at``: unix seconds, ``seconds``: how long it lived."""

    at: float
    host: HostId
    gang: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Crash:
    """A program that an error on a chip ended. ``machine``: the provider's id of the host then; ``place``: where on it, as libtpu names it."""

    host: HostId
    machine: str
    place: str
    gang: str
    pod: str


@dataclass(slots=True)
class Memory:
    """What is remembered. ``tracks`` by the name of their clause; ``spells``: since when something has held, by name.

    ``lives`` by pod, None before the first look; ``looked_at``: the fleet at the last one. ``crashes`` and ``hangs`` that a chip was suspected of: unix seconds of each.
    ``looks``: when something that takes long was looked at last, and what was found, by name; ``things``: the same of what does not change.
    """

    tracks: dict[str, Track] = field(default_factory=dict)
    spells: dict[str, float] = field(default_factory=dict)
    lives: dict[str, Life] | None = None
    deaths: list[Death] = field(default_factory=list)
    looked_at: Fleet | None = None
    crashes: dict[Crash, float] = field(default_factory=dict)
    hangs: dict[Crash, float] = field(default_factory=dict)
    looks: dict[str, tuple[float, Any]] = field(default_factory=dict)
    things: dict[str, tuple[object, Any]] = field(default_factory=dict)

    def lately(self, name: str, now: float, every: float, look: Callable[[], Found]) -> Found:
        """Give what ``look`` finds, or found less than ``every`` seconds ago; 0: once in a round."""
        at, found = self.looks.get(name, (math.nan, None))
        if not (at == now or 0 <= now - at < every):
            found = look()
            self.looks[name] = (now, found)
        return cast("Found", found)

    def about(self, name: str, thing: object, look: Callable[[], Found]) -> Found:
        """Give what ``look`` finds in a thing that does not change, or found in that very thing before."""
        before, found = self.things.get(name, (None, None))
        if before is not thing:
            found = look()
            self.things[name] = (thing, found)
        return cast("Found", found)

    def track(self, key: str, shape: tuple[int, ...], now: float) -> Track:
        """Give a track with room for ``shape``; NaN where nothing is remembered."""
        track = self.tracks.get(key)
        if track is None:
            track = self.tracks[key] = Track(now, now, np.full(shape, np.nan))
        elif track.values.shape != shape:
            grown = np.full(shape, np.nan)
            kept = tuple(slice(min(old, new)) for old, new in zip(track.values.shape, shape, strict=True))
            grown[kept] = track.values[kept]
            track.values = grown
        return track

    def forget(self, slot: int) -> None:
        """Remember nothing of a host any more: it is gone, or another machine or boot bears its name."""
        for track in self.tracks.values():
            if slot < len(track.values):
                track.values[slot] = np.nan
