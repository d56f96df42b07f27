"""A panel at one instant, with what every rule asks of its hosts: who is silent, what exists, which of them a rule means."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from sliceward.detectors.metrics import EntityKind
from sliceward.topology.generations import GENERATIONS
from sliceward.topology.ids import HostId
from sliceward.topology.names import NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from sliceward.detectors.panel import Panel
    from sliceward.detectors.rules.schema import Where
    from sliceward.detectors.rules.units import Span
    from sliceward.topology.fleet import Fleet

    Verdicts = NDArray[np.int8]

NO, UNKNOWN, YES = np.int8(0), np.int8(1), np.int8(2)
EPSILON = 1e-6

_Any = TypeVar("_Any", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Hosts:
    """Name, generation (its name and its label) and node pool of each host, by slot; "" where it is not known."""

    names: Sequence[str]
    generations: Sequence[tuple[str, str]]
    pools: Sequence[str]

    @classmethod
    def of(cls, panel: Panel, fleet: Fleet | None) -> Hosts:
        """Read them, with room for the whole ring."""
        room = panel.ring.hosts
        names, generations, pools = [""] * room, [("", "")] * room, [""] * room
        for name, slot in panel.slots.items():
            names[slot] = name
            shown = None if fleet is None else fleet.hosts.get(HostId(panel.cluster, name))
            if shown is not None:
                known = GENERATIONS.get(shown.generation)
                generations[slot] = (shown.generation, known.name if known is not None else "")
                pools[slot] = shown.labels.get(NAMES.node_pool, "")
        return cls(names, generations, pools)

    def within(self, where: Where) -> NDArray[np.bool_]:
        """Give which hosts ``where`` means: each of generations, pools and hosts that it names must fit."""
        wanted = set(where.generations)
        fits: list[list[bool]] = []
        if wanted:
            fits.append([not wanted.isdisjoint(kinds) for kinds in self.generations])
        fits += [
            _matched(words, patterns) for words, patterns in ((self.pools, where.pools), (self.names, where.hosts)) if patterns
        ]
        return np.asarray(np.array(fits, dtype=bool).all(axis=0))


def _matched(words: Sequence[str], patterns: Sequence[str]) -> list[bool]:
    known = {word: bool(word) and any(fnmatchcase(word, pattern) for pattern in patterns) for word in set(words)}
    return [known[word] for word in words]


@dataclass(frozen=True)
class Look:
    """A panel at one instant.

    ``periods`` [hosts]: seconds between frames; ``silent`` [hosts]: nothing its agent said is news; ``heard`` [hosts]: its agent
    spoke at all since the panel began, or it was scraped. ``told``: by rule the entities of which it was told before, in the shape of a row: what a
    rule remembered of them went with a start of ours.
    """

    panel: Panel
    grace: float
    periods: NDArray[np.float64]
    silence: NDArray[np.float64]
    silent: NDArray[np.bool_]
    heard: NDArray[np.bool_]
    fleet: Fleet | None = None
    told: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)

    @classmethod
    def at(cls, panel: Panel, *, grace: float, fleet: Fleet | None = None) -> Look:
        """Look now. A host is silent beyond ``grace`` seconds of attention and three of its periods.

        ``fleet`` tells generations and pools; without it rules for some hosts hold by names alone.
        """
        periods = np.full(panel.ring.hosts, panel.size.period)
        silence = np.zeros(panel.ring.hosts)
        heard = np.zeros(panel.ring.hosts, dtype=bool)
        there = [(slot, known) for slot, known in enumerate(panel.hosts) if known is not None]
        if there:
            slots = np.array([slot for slot, _ in there], dtype=np.intp)
            periods[slots] = np.maximum([known.period for _, known in there], panel.size.period)
            silence[slots] = panel.attended - np.array([known.silent_since for _, known in there])
            heard[slots] = [known.speaker is not None or known.scraped for _, known in there]
        return cls(panel, grace, periods, silence, silence >= np.maximum(grace, 3 * periods) - EPSILON, heard, fleet)

    def exists(self, kind: EntityKind) -> NDArray[np.bool_]:
        """Give which entities there are, in the shape of one row."""
        if kind not in self._there:
            self._there[kind] = self._exists(kind)
        return self._there[kind]

    @cached_property
    def _there(self) -> dict[EntityKind, NDArray[np.bool_]]:
        return {}

    @cached_property
    def _sizes(self) -> NDArray[np.intp]:
        sizes = [(-1, 0) if known is None else (known.chips, known.ports) for known in self.panel.hosts]
        return np.array(sizes, dtype=np.intp).reshape(-1, 2)

    def _exists(self, kind: EntityKind) -> NDArray[np.bool_]:
        chips, ports = self._sizes.T
        there = np.zeros(self.panel.ring.entities(kind), dtype=bool)
        if kind is EntityKind.HOST:
            there[: len(chips)] = chips >= 0
            return there
        has_chip = np.arange(self.panel.ring.chips) < chips[:, None]
        if kind is EntityKind.CHIP:
            there[: len(chips)] = has_chip
        else:
            there[: len(chips)] = has_chip[:, :, None] & (np.arange(self.panel.ring.ports) < ports[:, None, None])
        return there

    @cached_property
    def hosts(self) -> Hosts:
        """The hosts by place, as rules tell them apart."""
        return Hosts.of(self.panel, self.fleet)

    def was_told(self, rule: str, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """Give of which entities, in the shape of a condition, a rule was told before; a part stands for all of its own."""
        told = self.told.get(rule)
        if told is None:
            return np.zeros(shape, dtype=bool)
        more = len(shape) - told.ndim
        there = widened(told, more) if more > 0 else told.any(axis=tuple(range(len(shape), told.ndim))) if more else told
        return np.broadcast_to(there, shape)

    def seconds(self, span: Span) -> NDArray[np.float64]:
        """Give a time of a rule in seconds, for each host."""
        return np.full_like(self.periods, self.grace) if span.grace else span.seconds + span.periods * self.periods


def widened(hosts: NDArray[_Any], more: int) -> NDArray[_Any]:
    """Give numbers of hosts a shape that spreads over ``more`` dimensions of their parts."""
    return hosts.reshape(hosts.shape + (1,) * more)
