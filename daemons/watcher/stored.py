"""Baselines over a restart: saved now and then, read once, set aside as soon as they lead to a mistake, and believed as far as the broker agrees.

Who stood accused when the file was written may have been cleared or condemned since; what was told last is at the broker, and it decides.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from sliceward.daemons.watcher import baselines
from sliceward.detectors.finding import Kind, State
from sliceward.detectors.passes import told
from sliceward.detectors.passes.drift import CAP
from sliceward.detectors.passes.evidence import WARM
from sliceward.detectors.passes.verdicts import Level, Standing

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from sliceward.daemons.watcher.settings import StatisticsSettings
    from sliceward.daemons.watcher.sight import Sight
    from sliceward.detectors.finding import Finding
    from sliceward.detectors.passes.fleet import Places
    from sliceward.detectors.passes.keeping import Kept
    from sliceward.detectors.passes.localise import Key
    from sliceward.detectors.passes.watch import Watch

log = structlog.get_logger(__name__)

OLDEST = 3600.0
"""Seconds after which baselines on disk are no help: the noise of another hour of the day, or other jobs."""


@dataclass(eq=False)
class Stored:
    """The file of one cluster's baselines. ``counts``: what became of it; ``asked``: whether it was read, or was found not to be worth it."""

    cluster: str
    settings: StatisticsSettings
    counts: Counter[str]
    asked: bool = False
    saved_at: float = 0.0
    _complaint: str = ""

    @property
    def waiting(self) -> bool:
        """Whether there may be baselines that were not read yet."""
        folder = self.settings.folder
        return not self.asked and folder is not None and (folder / baselines.NAME).exists()

    def load(self, now: float) -> Kept | None:
        """Give what was kept, once: after a mistake of ours it may be what led to it."""
        folder, asked = self.settings.folder, self.asked
        self.asked = True
        if folder is None or asked:
            return None
        try:
            found = baselines.load(folder, self.cluster, now=now, oldest=OLDEST)
        except (baselines.BadBaselines, OSError, MemoryError) as error:
            self.refuse(str(error) or type(error).__name__)
            return None
        if found is not None:
            self.counts["baselines_restored"] += 1
            log.info("baselines restored", hosts=len(found.names.hosts), ticks=int(found.numbers["tick"]))
        return found

    def save(self, watch: Watch, now: float, kept: Callable[[], Kept]) -> None:
        """Write what is known, where it is time to."""
        folder = self.settings.folder
        if folder is None or watch.tick <= WARM or abs(now - self.saved_at) < self.settings.save_every.total_seconds():
            return
        self.saved_at = now
        try:
            baselines.save(folder, self.cluster, kept(), now)
        except OSError as error:
            self.counts["baselines_unsaved"] += 1
            if str(error) != self._complaint:
                self._complaint = str(error)
                log.warning(
                    "baselines cannot be saved", folder=str(folder), why=str(error), more="counted, not logged again until it is another",
                    what_to_do="Give the watcher a folder that it may write",
                )  # fmt: skip
            return
        self.counts["baselines_saved"] += 1

    def refuse(self, why: str) -> None:
        """Set the file aside."""
        self.counts["baselines_refused"] += 1
        log.warning(
            "baselines set aside", folder=str(self.settings.folder), why=why,
            what_to_do="None: they are learnt anew within ten minutes. The file stays beside as *.refused",
        )  # fmt: skip
        try:
            if self.settings.folder is not None:
                baselines.set_aside(self.settings.folder)
        except OSError as error:
            log.warning("baselines cannot be moved", folder=str(self.settings.folder), why=str(error))

    def spoilt(self, why: str) -> None:
        """Set the file aside, if there is one: what it holds led to a mistake, or was made of what did."""
        self.asked = True
        if self.settings.folder is not None and (self.settings.folder / baselines.NAME).exists():
            self.refuse(why)


def believe(watch: Watch, places: Places, sight: Sight, saved_at: float) -> None:
    """Let those that stand accused by the file stand as they were told last: nothing on a disk condemns anybody by itself."""
    words: dict[str, list[Finding]] = defaultdict(list)
    for finding in sight.previous:
        if finding.detector == told.DETECTOR:
            words[str(finding.part)].append(finding)
    for key, standing in list(watch.docket.standing.items()):
        said = words.pop(str(places.part(*key)), [])
        if any(_condemns(one) for one in said):
            standing.level, standing.corroborated = Level.CONDEMNED, True
        elif said and all(one.state is State.RESOLVED and one.seen.timestamp() > saved_at for one in said):
            del watch.docket.standing[key]
        elif standing.level is Level.CONDEMNED:
            standing.level, standing.corroborated, standing.since = Level.SUSPECT, False, watch.tick
    for part, said in words.items():
        found, here = [one for one in said if one.state is not State.RESOLVED], places.label(part)
        if found and here is not None:
            _accuse(watch, here, next((one for one in found if _condemns(one)), found[0]))
    watch.mute()


def _condemns(finding: Finding) -> bool:
    return finding.kind is Kind.PART_CONDEMNED and finding.state is not State.RESOLVED


def _accuse(watch: Watch, key: Key, finding: Finding) -> None:
    """Let a part stand as it was told after the file was written."""
    signal, condemned = finding.labels.get("signal", ""), _condemns(finding)
    nats = min(max((one.value for one in finding.evidence if one.metric == signal), default=0.0), float(CAP))
    for kind, evidence in watch.crowds.items():
        if len(evidence.members(key)) and any(one.called == signal for one in evidence.signals):
            standing = Standing(since=watch.tick, crowd=kind, signal=signal, best=1, nats=nats, corroborated=condemned)
            standing.level = Level.CONDEMNED if condemned else Level.SUSPECT
            watch.docket.standing[key] = standing
            return
