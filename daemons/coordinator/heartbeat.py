"""The dead man's switch: a word to each configured receiver while this coordinator leads and gets on with its work.

A beat goes out only after a look at everything that may be stuck: the lead, the progress of every loop and what came of it, clusters
that are set aside as a whole, and the store, by a write that only the leader can make. Otherwise it is withheld, and the receiver pages for want of it. A receiver that is slow
or away delays nobody: each heartbeat is a task of its own.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from sliceward.remediations.paging.heartbeat import Beat, HeartbeatPlan
from sliceward.topology.errors import Misconfigured, Refused, Retry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime, timedelta

    from prometheus_client import Metric

    from sliceward.daemons.coordinator.settings import PagerSettings
    from sliceward.daemons.loops import Loop, Loops
    from sliceward.daemons.store import Store
    from sliceward.remediations.paging.heartbeat import Heartbeat

log = structlog.get_logger(__name__)

LATE = 3
"""A heartbeat that was not accepted for so many of its periods is shown as wrong."""


def heartbeat_plan(pager: PagerSettings) -> HeartbeatPlan | None:
    """Give the heartbeat that the configuration asks for beside a pager. Raises `Misconfigured` where a secret is not there."""
    wanted = pager.heartbeat
    if wanted is None:
        return None
    return HeartbeatPlan(
        pager=pager.name,
        url=wanted.url,
        every=wanted.every,
        method=wanted.method,
        token=wanted.token.reveal() if wanted.token else "",
        secret=pager.secret.reveal() if pager.secret and pager.kind == "webhook" else "",
    )


@dataclass(frozen=True, slots=True)
class Pulse:
    """What says that the coordinator lives. ``leads``: whether this replica decides now; ``loops``: all of the process."""

    store: Store
    loops: Loops
    leads: Callable[[], bool]
    clock: Callable[[], datetime]
    monotonic: Callable[[], float]
    source: str

    async def stuck(self, but: Loop) -> str:
        """Say what does not go on as it should, "" where all does; ``but``: who asks."""
        if not self.leads():
            return "this replica does not lead"
        late = [loop.name for loop in self.loops if loop.late and loop is not but]
        if late:
            return f"late loops: {', '.join(late)}"
        stalled = [f"{loop.name} ({loop.error})" for loop in self.loops if loop.stalled and loop is not but]
        if stalled:
            return f"loops without a result: {', '.join(stalled)}"
        if self.loops.undecided:
            return f"set aside: {', '.join(self.loops.undecided)}"
        try:
            await self.store.prove(now=self.clock())
        except (Retry, Refused) as error:
            return str(error)
        return "" if self.leads() else "this replica does not lead"


@dataclass(eq=False)
class Beating:
    """One heartbeat. ``within``: longest time of one delivery; ``why``: why the last beat was withheld or not accepted."""

    heart: Heartbeat
    pulse: Pulse
    loop: Loop
    within: timedelta
    why: str = "none was sent yet"
    counts: Counter[str] = field(default_factory=Counter)
    _begun: float = field(init=False)
    _tried: float | None = None
    _accepted: float | None = None

    def __post_init__(self) -> None:
        """Count its age from now until the first is accepted."""
        self._begun = self.pulse.monotonic()

    @property
    def age(self) -> float:
        """Seconds since the last beat was accepted; since the start where none was."""
        return self.pulse.monotonic() - (self._begun if self._accepted is None else self._accepted)

    async def round(self) -> None:
        """Send what is due, or withhold it; one that is withheld is due until it can go out."""
        every, now = self.heart.every.total_seconds(), self.pulse.monotonic()
        if self._tried is None or now - self._tried >= every:
            stuck = await self.pulse.stuck(self.loop)
            if stuck:
                self._say("withheld", stuck)
            else:
                self._tried = self.pulse.monotonic()
                await self._send()
        self.loop.beat()

    async def _send(self) -> None:
        epoch, at = self.pulse.store.epoch, self.pulse.clock()
        beat = Beat(f"beat-{epoch}-{int(at.timestamp() * 1000)}", at, self.pulse.source, epoch)
        try:
            async with asyncio.timeout(self.within.total_seconds()):
                await self.heart.send(beat)
        except (Retry, Refused, Misconfigured) as error:
            self._say("failed", str(error))
        except TimeoutError:
            self._say("failed", f"pager {self.heart.name}: no answer in {self.within.total_seconds():g} s")
        else:
            self._accepted = self.pulse.monotonic()
            self._say("accepted", "")

    def _say(self, outcome: str, why: str) -> None:
        self.counts[outcome] += 1
        if why != self.why:
            tell = log.warning if why else log.info
            tell("heartbeat", pager=self.heart.name, outcome=outcome, why=why or None)
        self.why = why

    def row(self) -> dict[str, Any]:
        """Give its line of the status."""
        every = self.heart.every.total_seconds()
        return {
            "pager": self.heart.name,
            "every_seconds": every,
            "age_seconds": None if self._accepted is None else round(self.age, 3),
            "ok": not self.why and self.age <= LATE * every + self.within.total_seconds(),
            "why": self.why,
        }


class HeartbeatFigures(Collector):
    """Ages and counts at each scrape; told by the leader alone, since a replica that stands by sends none."""

    def __init__(self, beatings: Sequence[Beating]) -> None:
        """Show ``beatings``."""
        self._beatings = beatings

    def collect(self) -> Iterator[Metric]:
        """Give the figures now."""
        about = "Seconds since the receiver accepted the last heartbeat."
        age = GaugeMetricFamily("sliceward_heartbeat_age_seconds", about, labels=["pager"])
        sent = CounterMetricFamily("sliceward_heartbeats", "Heartbeats by what became of them.", labels=["pager", "outcome"])
        for one in self._beatings:
            if one.pulse.leads():
                age.add_metric([one.heart.name], one.age)
            for outcome, count in sorted(one.counts.items()):
                sent.add_metric([one.heart.name, outcome], count)
        yield age
        yield sent
