"""Parts that stand out among their peers outright, and always did: what was slow before anybody watched has no past of its own to be compared with.

A part may be away from its peers by nature, and its own offset says so. Only how far its peers are from each other tells where that ends: beyond it by
so many spreads that the larger prior is paid, by a share of the reading that matters, and nearly alone; several alike are a design.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sliceward.detectors.passes.localise import Candidate
from sliceward.detectors.passes.peers import ROBUST

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from sliceward.detectors.passes.evidence import Evidence
    from sliceward.detectors.passes.layout import Groups, Rows

EVERY = 30
"""Ticks from one look to the next."""
PRIOR = 10.0
"""Nats that it costs on top of a part's own change: offsets are legal, and no bell curve far out."""
MATTERS, OF_A_JOB = 0.05, 0.10
"""Share of a reading that matters (SuperBench: a node 5 % below its peers is defective), and of one that the job moves as easily."""
FEWEST, ALIKE, SHARE = 8, 4, 0.02
"""Peers among whom a part can stand out; and how many of them may be half as far out: a host's chips, or a share of the peers."""
LEAST = 1e-3
"""Share of a reading below which peers are never believed to lie together."""


def candidates(evidence: Evidence, named: Mapping[str, NDArray[np.floating]], known: int, least: float) -> Iterator[Candidate]:
    """Give members and groups that stand out by ``least`` nats. ``known``: readings after which a place is known; ``named``: those of this tick."""
    gauges, sample = evidence.gauges, evidence.roles.sample
    if evidence.level.shape[-1] != len(evidence.crowd):
        return
    for row, signal in enumerate(evidence.signals[:gauges]):
        own = np.minimum(evidence.level[row], 2 * evidence.base.offset[row])  # what it shows now, and has shown for long
        own = np.where((evidence.base.seen[row] >= known) & ~evidence.muted[row], own, np.float32(np.nan))
        read = np.abs(named.get(signal.name, np.zeros(0))[sample]) if signal.name in named else np.zeros(0)
        size = float(np.nanmean(read)) if np.isfinite(read).any() else 0.0
        floor, matters = max(signal.least, LEAST * size), (OF_A_JOB if signal.job else MATTERS) * size
        spread = max(_spread(own[sample]), floor)
        for member in np.flatnonzero(_nats(own, spread, matters) >= least):
            peers = own[evidence.crowd.role == evidence.crowd.role[member]]
            nats = _nats(own[member : member + 1], max(spread, _spread(peers)), matters)
            if nats[0] >= least and _alone(own[member], peers, ALIKE):
                key = (evidence.crowd.kind, int(member))
                yield Candidate(
                    key, evidence.crowd.kind, signal.called, signal.meter, float(nats[0]), frozenset((int(member),)), 0
                )
        for held in evidence.held:
            yield from _groups(evidence, held.groups, row, (own, floor, matters), least)


def _groups(evidence: Evidence, groups: Groups, row: int, how: tuple[Rows, float, float], least: float) -> Iterator[Candidate]:
    own, floor, matters = how
    there = np.isfinite(own)
    count = groups.totals(there.astype(np.float32)[None])[0]
    total = groups.totals(np.where(there, own, np.float32(0))[None])[0]
    means = np.where(count > groups.size / 2, total / np.maximum(count, 1), np.float32(np.nan))
    nats = _nats(means, max(_spread(means), floor / np.sqrt(max(1, int(groups.size.min(initial=1))))), matters)
    for place in np.flatnonzero(nats >= least):
        members = groups.members(int(place))
        if len(members) > 1 and _alone(means[place], means, 1) and np.median(own[members]) >= means[place] / 2:
            signal = evidence.signals[row]
            key = (groups.kind, int(groups.label[place]))
            yield Candidate(
                key, evidence.crowd.kind, signal.called, signal.meter, float(nats[place]), frozenset(map(int, members)), 0
            )


def _spread(values: NDArray[np.floating]) -> float:
    """Give how far peers lie apart; without end where there are too few."""
    there = values[np.isfinite(values)]
    return float(ROBUST) * float(np.median(np.abs(there - np.median(there)))) if len(there) >= FEWEST else np.inf


def _nats(away: NDArray[np.floating], spread: float, matters: float) -> NDArray[np.float64]:
    """Give the evidence of each, 0 where it does not matter or is not known."""
    far = np.nan_to_num(away) / spread
    return np.where((far > 0) & (np.nan_to_num(away) >= matters), far * far / 2 - PRIOR, 0.0)


def _alone(away: float, peers: NDArray[np.floating], alike: int) -> bool:
    return int((peers >= away / 2).sum()) <= max(alike, SHARE * len(peers))
