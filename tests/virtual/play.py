"""Seeds played to their end: ``python -m tests.virtual.play SEED…`` or ``FIRST-LAST``. Ends with 1 where one fails."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import logging
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from sliceward.detectors.finding import State
from sliceward.playbooks.incident import Needs
from sliceward.remediations.gangs.catalog import GANG_KINDS
from sliceward.remediations.ports import NODE
from sliceward.simulation.virtual.invariants import marks_of
from sliceward.simulation.virtual.scenario import drawn
from sliceward.simulation.virtual.timeline import Stuck
from sliceward.topology.errors import Refused, Retry
from sliceward.topology.ids import GangId
from sliceward.topology.names import NAMES
from tests.virtual.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from structlog.typing import EventDict

    from sliceward.simulation.virtual.scenario import Scenario

PATIENCE = 1_800.0
"""Seconds of virtual time after the calm in which every story must end."""
LOOK = 2.0
SWEEP = 100
"""Seeds after which the collector may look: until then a story's rings of objects are few."""
MOST_STEPS = 30_000
"""A story takes about a thousand; one that goes on and on writes the same lines again and again."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a seed. ``broken``: what was wrong, "" for nothing; ``story``: what was told."""

    seed: int
    broken: tuple[str, ...]
    steps: int
    seconds: float
    lives: int
    story: tuple[str, ...]

    @property
    def digest(self) -> str:
        """The same whenever the seed is played."""
        return hashlib.sha256("\n".join(self.story).encode()).hexdigest()[:16]

    def __str__(self) -> str:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        how = "\n  ".join(self.broken) or "all well"
        return (
            f"seed {self.seed} (Python {version}): {how}\n  again: PYTHONPATH=.types python -m tests.virtual.play -v {self.seed}"
        )


def play(seed: int, make: Callable[[Scenario], Stage] = Stage) -> Result:
    """Play one seed to its end."""
    with listening() as heard:
        return Player(make(drawn(seed)), heard).play()


@dataclass(slots=True)
class Player:
    """Plays a stage until all is well, or something is broken."""

    stage: Stage
    heard: list[str]
    _well: bool = False

    def play(self) -> Result:
        stage = self.stage
        stage.world.agenda.after(stage.scenario.calm, self._look)
        broken: list[str] = []
        try:
            stage.timeline.run()
        except Stuck as error:
            broken.append(str(error))
        broken += [*stage.invariants.broken, *stage.problems, *self.heard]
        if not self._well and not broken:
            broken.append(
                f"no end at {stage.world.clock.seconds:.0f} s, after {stage.timeline.steps} steps: {'; '.join(self.unwell())}"
            )
        for tenure in list(stage.tenures):
            stage.bury(tenure)
        steps, seconds = stage.timeline.steps, stage.world.clock.seconds
        return Result(stage.scenario.seed, tuple(broken), steps, seconds, stage.lives, self._story())

    def _look(self) -> None:
        """See whether all is well, or will never be."""
        stage = self.stage
        stage.world.agenda.after(LOOK, self._look)
        stage.invariants.look()
        self._well = not next(iter(self.unwell()), "")
        late = bool(self.heard) or stage.world.clock.seconds > stage.scenario.calm + PATIENCE
        stage.timeline.over |= self._well or late or stage.timeline.steps > MOST_STEPS

    def unwell(self) -> Iterator[str]:
        """Say what is not yet as it must be in the end."""
        stage, world = self.stage, self.stage.world
        for incident in stage.records.incidents.values():
            if incident.open:
                yield f"{incident.id} is open ({incident.phase}: {incident.why or incident.needs or Needs.NOTHING})"
        for ailment in world.ailments:
            # A link under no job shows to nobody.
            if not ailment.mended and ailment.told is not State.UNKNOWN:
                yield f"{ailment.fault.part} is still broken"
        for node in world.objects.all(NODE):
            name, meta = node["metadata"]["name"], node["metadata"]
            if marks_of(node) or NAMES.incident in (meta.get("annotations") or {}):
                yield f"{name} carries a mark of ours: {sorted(marks_of(node))}"
        for plan in stage.scenario.plan.gangs:
            gang = GangId(stage.scenario.plan.name, plan.namespace, plan.kind, plan.name)
            if plan.name not in stage.people.spared and not world.is_whole(gang):
                owner = world.objects.get(GANG_KINDS[plan.kind].kind, plan.name, plan.namespace)
                yield f"{gang} is not whole, suspended: {owner is not None and owner['spec'].get('suspend')}"
        yield from self._pages()
        open_here = {name for tenure in stage.tenures[-1:] for name in tenure.coordinator.deciding.docket.cases}
        if open_here:
            yield f"the coordinator still holds {sorted(open_here)}"

    def _pages(self) -> Iterator[str]:
        rows = self.stage.records.outbox.values()
        waiting = [row["delivery"].id for row in rows if row["delivery"].state == "pending"]
        if waiting:
            yield f"pages wait: {waiting}"
        shown: dict[str, str] = {}
        for page in self.stage.world.receiver.pages.values():
            shown[page.dedup_key] = page.event.value
        left = sorted(key for key, event in shown.items() if event == "trigger")
        if left:
            yield f"pages are not resolved: {left}"

    def _story(self) -> tuple[str, ...]:
        stage = self.stage
        told = [f"{row['at']} {row['incident']} {row['kind']} {row['text']}" for row in stage.records.journal]
        return (*told, f"{stage.timeline.steps} steps, {stage.world.clock.seconds!r} s, {stage.lives} lives")


@contextmanager
def listening() -> Iterator[list[str]]:
    """Log nothing, and give what is logged as an error that nobody expected: a loop sets it aside and goes on, here it is a bug."""
    heard: list[str] = []

    def hear(_logger: object, _method: str, event: EventDict) -> EventDict:
        if asyncio.get_running_loop().is_closed():
            raise structlog.DropEvent  # the last words of who is dead
        heard.extend(f"{event['event']}: {one!r}" for one in _leaves(sys.exc_info()[1]) if not isinstance(one, Retry | Refused))
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[hear], wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    try:
        yield heard
    finally:
        structlog.configure(**before)


def _leaves(error: BaseException | None) -> Iterator[BaseException | None]:
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _leaves(one)
    else:
        yield error


@contextmanager
def many() -> Iterator[None]:
    """Let the collector rest while seed after seed is played; who plays them sweeps up between two of them."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


def played(seeds: Iterable[int], make: Callable[[Scenario], Stage] = Stage) -> Iterator[Result]:
    """Play many seeds, one after the other."""
    with many():
        for number, seed in enumerate(seeds, start=1):
            yield play(seed, make)
            if number % SWEEP == 0:
                gc.collect()


def seeds_of(word: str) -> range:
    """Read ``7`` or ``0-249``."""
    first, _, last = word.partition("-")
    return range(int(first), int(last or first) + 1)


def main(*words: str) -> int:
    """Play the seeds that are named."""
    verbose, seeds = "-v" in words, [seed for word in words if word != "-v" for seed in seeds_of(word)]
    began, failed = time.process_time(), 0
    for result in played(seeds):
        failed += bool(result.broken)
        if result.broken or verbose:
            print(result, *(result.story if verbose else ()), f"  digest {result.digest}", sep="\n", flush=True)  # noqa: T201 (a command)
    print(f"{len(seeds)} seeds, {failed} failed, {len(seeds) / (time.process_time() - began):.1f} a second")  # noqa: T201 (a command)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
