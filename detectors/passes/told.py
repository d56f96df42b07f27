"""From verdicts to findings: the part by its name, who says so, why it and not its neighbour, and the picture of it beside its peers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import nan
from typing import TYPE_CHECKING

import numpy as np

from sliceward.detectors.finding import Evidence, Finding, Kind, Picture, State
from sliceward.detectors.metrics import CATALOGUE
from sliceward.detectors.passes.counts import RETURNS
from sliceward.detectors.passes.fleet import reading
from sliceward.detectors.passes.verdicts import Level
from sliceward.detectors.passes.watch import FLAPPING
from sliceward.topology.health import Severity
from sliceward.topology.ids import ChipId, HostId, LinkId

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sliceward.detectors.passes.evidence import Evidence as Known
    from sliceward.detectors.passes.fleet import Places
    from sliceward.detectors.passes.layout import Index
    from sliceward.detectors.passes.localise import Key
    from sliceward.detectors.passes.verdicts import Standing, Verdict
    from sliceward.detectors.passes.watch import Watch
    from sliceward.detectors.ring import Ring
    from sliceward.topology.ids import PartId

DETECTOR, VERSION = "statistics", "1"
SCORES = {Level.SUSPECT: 0.5, Level.CONDEMNED: 0.95}
MOST_PEERS = 256
"""Peers by which a band is drawn: with more its edges do not move by what can be seen."""
MOST_TOLD = 6
"""Signals that are told of a part."""
MOST_ALSO = 256
UNHEARD = 6
"""Ticks without anything that is evidence after which a part is unknown: a minute at 10 s."""
BAND = (10, 50, 90)


@dataclass(frozen=True, slots=True)
class Case:
    """A part that stands accused, with what was said when it was named."""

    key: Key
    part: PartId
    standing: Standing
    verdict: Verdict
    since: datetime


def finding_of(case: Case, watch: Watch, places: Places, now: datetime, picture: Picture | None) -> Finding:
    """Give the finding of a part that stands accused, without who suffers: firing, or unknown where it does nothing that would tell."""
    condemned = case.standing.level is Level.CONDEMNED
    kind, severity = (Kind.PART_CONDEMNED, Severity.ERROR) if condemned else (Kind.PART_SUSPECT, Severity.INFO)
    need = watch.need(watch.budget.condemned if condemned else watch.budget.suspects)
    evidence = _evidence(case, need, now)
    labels = {"level": case.standing.level.value, "signal": case.standing.signal, "offences": f"{case.verdict.offences:.1f}"}
    if isinstance(case.part, LinkId):
        label = case.key[1]
        labels["between-cubes"] = "true" if places.cables.switch[label] >= 0 else "false"
    state = State.UNKNOWN if _unheard(case.standing) else State.FIRING
    return Finding(
        kind, case.part, state, severity, case.since, now, SCORES[case.standing.level], DETECTOR, VERSION,
        _says(case, need, places), evidence, _also(case, places), labels=labels, picture=picture,
    )  # fmt: skip


def _unheard(standing: Standing) -> bool:
    return standing.unheard >= UNHEARD and not standing.sticky


def resolved(finding: Finding, now: datetime, why: str) -> Finding:
    """Give the finding as over."""
    return replace(finding, state=State.RESOLVED, seen=now, text=why)


def _says(case: Case, need: float, places: Places) -> str:
    one, verdict = case.standing, case.verdict
    if one.sticky and one.nats <= 0:
        return f"went down and came back {RETURNS} times within 12 hours: well at the moment says nothing"
    if one.learned:
        return f"its readings never stood together so among its peers, though each is usual: {max(one.nats, 0):.0f} nats of evidence by {one.signal}"
    members = f" of {_count(case, places)}" if case.key[0] not in {one.crowd, "chip", "link"} else ""
    text = f"{one.signal}{members} is away from its peers: {max(one.nats, 0):.0f} nats of evidence, {need:.0f} needed"
    others = [name for name, _ in verdict.signals if name != one.signal]
    if one.level is Level.CONDEMNED:
        text = f"{text}; {' and '.join(others[:2]) or 'most of its members'} say the same"
    if verdict.rival is not None:
        kind, label, nats = verdict.rival
        text = f"{text}; the next best explanation is {places.part(kind, label)} with {nats:.0f}"
    if _unheard(one):
        text = f"{text}; it does nothing now, or says nothing, which clears nobody"
    if verdict.offences >= 2:  # noqa: PLR2004 (the second time)
        text = f"{text}; accused before"
    return text


def _count(case: Case, places: Places) -> str:
    if case.standing.crowd == "host":
        return f"{len(places.hosts_of(*case.key))} hosts"
    if case.standing.crowd == "link":
        return "its links"
    return f"{len(places.layout.chips(*case.key))} chips"


def _evidence(case: Case, need: float, now: datetime) -> tuple[Evidence, ...]:
    one = case.standing
    told = {one.signal: one.nats} | {name: nats for name, nats in case.verdict.signals if name != one.signal}
    found = [Evidence(name, float(nats), need, _unit(name), now, str(case.part)) for name, nats in list(told.items())[:MOST_TOLD]]
    if case.verdict.rival is not None:
        _, _, nats = case.verdict.rival
        found.append(Evidence(one.signal, float(nats), need, "nats", now, "next best explanation"))
    return tuple(found)


def _unit(name: str) -> str:
    return "returns" if name == FLAPPING else "nats"


def _also(case: Case, places: Places) -> tuple[PartId, ...]:
    """Give the hosts that a part lies on which is not of one host, so that its gang and its neighbours are found."""
    if isinstance(case.part, HostId | ChipId | LinkId):
        return ()
    hosts = sorted(places.hosts_of(*case.key))[:MOST_ALSO]
    return tuple(HostId(places.cluster, places.hosts[number]) for number in hosts)


# ── the picture ───────────────────────────────────────────────────────────────────────────────────────────────────────


def picture_of(case: Case, watch: Watch, places: Places, ring: Ring, *, rows: int) -> Picture | None:
    """Draw the signal that decided over the last rows of the panel: the part (the median of its members), and the band of its peers."""
    crowd, metric = watch.crowds.get(case.standing.crowd), CATALOGUE.get(case.standing.signal.split(" ")[0])
    if crowd is None or metric is None:
        return None
    count = max(1, min(rows, ring.rows - 1))
    ticks = ring.newest - np.arange(count, 0, -1)  # the newest still fills
    at, members = np.asarray(ticks % ring.rows, dtype=np.intp), crowd.members(case.key)
    mine, peers = (reading(places, ring, metric.name, at, of=of) for of in (members, _peers(crowd, members)))
    low, middle, high = _quantiles(peers, BAND)
    (values,) = _quantiles(mine, (50,))
    rival, nats = "", nan
    if case.verdict.rival is not None:
        kind, label, found = case.verdict.rival
        rival, nats = str(places.part(kind, label)), float(found)
    need = watch.need(watch.budget.condemned if case.standing.level is Level.CONDEMNED else watch.budget.suspects)
    until = datetime.fromtimestamp(float(ring.newest * ring.period), UTC)
    return Picture(
        metric.name, metric.unit, until, ring.period, values, low, middle, high, peers.shape[1], float(case.standing.nats), need,
        rival, nats,
    )  # fmt: skip


def _peers(crowd: Known, members: Index) -> Index:
    role = crowd.crowd.role
    peers = np.setdiff1d(np.flatnonzero(np.isin(role, role[members])), members)
    return peers[:: max(1, -(-len(peers) // MOST_PEERS))]


def _quantiles(rows: NDArray[np.floating], shares: tuple[int, ...]) -> list[tuple[float, ...]]:
    """Give percentiles of each row, NaN where a row has nothing; rounded to what can be seen."""
    found = np.full((len(shares), len(rows)), np.nan)
    there = np.isfinite(rows).any(axis=1)
    if there.any():
        found[:, there] = np.nanpercentile(rows[there], shares, axis=1)
    return [tuple(float(f"{value:.5g}") for value in line) for line in found.tolist()]
