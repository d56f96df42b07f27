"""What a source is: something on the host that is read each period, with a floor, a time-out and nothing to say on failure.

A source that fails raises `Retry` (or anything): the agent counts it, lets its age grow, and goes on. A source never makes up
a value: what was not read is left out or NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, Self

from sliceward.detectors.frame import entities
from sliceward.detectors.metrics import CATALOGUE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from sliceward.topology.generations import Generation


@dataclass(frozen=True, slots=True)
class Layout:
    """What the host carries: ``chips`` of one ``generation``, each with ``ports`` ICI ports and ``devices`` devices."""

    generation: Generation
    chips: int

    @property
    def ports(self) -> int:
        """ICI ports of each chip."""
        return self.generation.ports_a_chip

    @property
    def devices(self) -> int:
        """Devices of each chip (2 on tpu7x), which is how libtpu counts memory."""
        return self.generation.devices_a_chip

    def column(self, metric: str) -> list[float]:
        """Give a column of NaN for ``metric``, one place an entity."""
        return [math.nan] * entities(CATALOGUE[metric].kind, chips=self.chips, ports=self.ports)


@dataclass(frozen=True, slots=True)
class Reading:
    """What one source says at one instant. ``columns``: metric -> values in the order of the frame; ``notes``: texts."""

    columns: Mapping[str, Sequence[float]] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)


class Source(Protocol):
    """One source. ``floor``: least seconds between two reads; ``timeout``: most seconds that one may take.

    ``age_metric``: the reading that tells how old this source's last good one is, "" where there is none.
    """

    @property
    def name(self) -> str:
        """Name in settings, logs and metrics."""
        ...

    @property
    def floor(self) -> float:
        """Least seconds between two reads."""
        ...

    @property
    def timeout(self) -> float:
        """Most seconds that one read may take."""
        ...

    @property
    def age_metric(self) -> str:
        """Catalogue name of the age of this source's last good reading."""
        ...

    async def __aenter__(self) -> Self:
        """Open what is held between reads."""
        ...

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Let go of it."""
        ...

    async def read(self, now: float) -> Reading:
        """Read once; ``now`` is unix seconds. Raises `Retry` where the other side does not answer."""
        ...


class Held:
    """A source that holds nothing between reads: enters and leaves without effect."""

    async def __aenter__(self) -> Self:
        """Open nothing."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close nothing."""
