"""The way to a port and back: it takes time, and it may be slow, fail before the effect, after it, long after it, or not answer at all.

Every fake port sends its calls over a `Way`. A call is a wait, the effect, and often another wait, so that a crash may fall before the
effect, or after it and before the answer. Once its caller is dead, nothing of it has an effect any more.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, NoReturn, TypeVar

from sliceward.topology.errors import Refused, Retry

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

    from sliceward.simulation.virtual.agenda import Agenda

T = TypeVar("T")

LATENCY = 0.02
BACK = 0.4
"""Share of good calls whose answer takes a moment, too."""
PATIENCE = (3.0, 12.0)
"""Seconds after which an adapter gives up waiting for an answer."""
SLOW = (0.5, 2.5)
"""Seconds that a slow call takes, and then succeeds."""
LATE = (1.0, 40.0)
"""Seconds after which a request that was given up still takes effect."""
REFUSAL = 0.5
"""Seconds until a connection that nobody takes is refused."""


class Gone(BaseException):
    """Raised to who is dead and asks for something: clean-up code of a process that lost its power."""


@dataclass(slots=True)
class Life:
    """Whether who asks is still alive."""

    alive: bool = True


class Fate(Enum):
    """What becomes of a call."""

    GOOD = auto()
    BEFORE = auto()
    AFTER = auto()
    LATE = auto()
    STALL = auto()
    SLOW = auto()


BAD = (Fate.BEFORE, Fate.AFTER, Fate.LATE, Fate.STALL, Fate.SLOW)
PROMPT = (Fate.BEFORE, Fate.AFTER, Fate.STALL, Fate.SLOW)
"""Of a database: whoever writes next waits for the lock of a transaction that is not over, so that none takes effect after it."""


@dataclass(slots=True)
class Weather:
    """How ports fare. ``rates``: share of bad calls by port. ``away``: (from, to) in seconds by port. Calm from ``calm_at`` on."""

    rates: Mapping[str, float] = field(default_factory=dict)
    away: Mapping[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)
    calm_at: float = 0.0

    def is_away(self, port: str, now: float) -> bool:
        """Whether nobody answers there now."""
        return any(begin <= now < end for begin, end in self.away.get(port, ()))


@dataclass(slots=True)
class Way:
    """The way of one caller to one port. ``bad``: what may become of its bad calls."""

    port: str
    life: Life
    agenda: Agenda
    dice: random.Random
    weather: Weather
    bad: tuple[Fate, ...] = BAD

    @property
    def is_away(self) -> bool:
        """Whether nobody answers there now."""
        return self.weather.is_away(self.port, self.agenda.clock.seconds)

    async def call(self, effect: Callable[[], T]) -> T:
        """Let a call take place. Raises `Retry` where its answer is lost, and what ``effect`` raises."""
        self._living()
        dice, now = self.dice, self.agenda.clock.seconds
        if self.weather.is_away(self.port, now):
            await asyncio.sleep(REFUSAL if dice.getrandbits(1) else dice.uniform(*PATIENCE))
            self._living()
            raise Retry(f"{self.port}: no connection")
        fate = self._fate(now)
        await asyncio.sleep(LATENCY * dice.random())
        self._living()
        if fate is Fate.GOOD:
            found = effect()
            if dice.random() < BACK:
                await asyncio.sleep(LATENCY * dice.random())
            return found
        if fate is Fate.SLOW:
            await asyncio.sleep(dice.uniform(*SLOW))
            self._living()
            return effect()
        return await self._bad(fate, effect)

    def _fate(self, now: float) -> Fate:
        rate = self.weather.rates.get(self.port, 0.0) if now < self.weather.calm_at else 0.0
        return self.dice.choice(self.bad) if rate and self.dice.random() < rate else Fate.GOOD

    async def _bad(self, fate: Fate, effect: Callable[[], object]) -> NoReturn:
        dice = self.dice
        if fate is Fate.BEFORE:
            raise Retry(f"{self.port}: 503 before the effect")
        if fate is Fate.LATE:
            self.agenda.after(dice.uniform(*LATE), lambda: _quietly(effect))
        elif fate is Fate.AFTER:
            _quietly(effect)
        if fate is Fate.AFTER and dice.getrandbits(1):
            await asyncio.sleep(LATENCY * dice.random())
        else:
            await asyncio.sleep(dice.uniform(*PATIENCE))
        self._living()
        raise Retry(f"{self.port}: no answer in time")

    def _living(self) -> None:
        if not self.life.alive:
            raise Gone


def _quietly(effect: Callable[[], object]) -> None:
    """Let it take effect; whatever comes of it, nobody hears it."""
    try:
        effect()
    except (Retry, Refused):
        return
