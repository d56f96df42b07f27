"""Cases run: frames into a panel, rounds of the real detection, and what was found held against what was expected."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import yaml

from sliceward.detectors.finding import State
from sliceward.detectors.frame import Frame, pack
from sliceward.detectors.metrics import CATALOGUE, EntityKind
from sliceward.detectors.panel import Panel, PanelSize
from sliceward.detectors.rules.schema import meant
from sliceward.detectors.run import evaluate
from sliceward.detectors.traps.catalog import TRAPS
from sliceward.detectors.trials.cases import CaseHost
from sliceward.detectors.witness import write_own
from sliceward.topology.errors import Misconfigured
from sliceward.topology.fleet import Fleet, Host
from sliceward.topology.health import Health
from sliceward.topology.ids import ChipId, HostId
from sliceward.topology.names import NAMES
from sliceward.topology.plan import fleet_from_yaml

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from sliceward.detectors.finding import Finding
    from sliceward.detectors.rules.schema import Rule
    from sliceward.detectors.trials.cases import Case, Expected, Moment, Placed, Where

CLUSTER = "test"
FIRST = 1_000_000_000.0
"""Unix seconds of the first sample: any will do."""
ROWS = 720
_OTHERS = frozenset({"kubernetes", "prometheus", "watcher"})


@dataclass(frozen=True, slots=True)
class Miss:
    """Something expected that was not found, or the other way round."""

    case: str
    where: str
    why: str


def run_case(placed: Placed, rules: Sequence[Rule], *, tried: Collection[str]) -> list[Miss]:
    """Give what is wrong; ``tried``: names of the rules whose findings must all be expected."""
    case = placed.case
    try:
        fleet = _fleet_of(case)
    except Misconfigured as error:
        return [Miss(case.name, placed.place, str(error))]
    cluster = next((host.cluster for host in fleet.hosts), CLUSTER)
    names = {*(rule.name for rule in rules), *TRAPS}
    if unknown := [
        Miss(case.name, where, f"at {moment.at:g} s: no rule is named {one.rule}{meant(one.rule, names)}")
        for moment, where in zip(case.expect, placed.moments, strict=True)
        for one in moment.findings
        if one.rule not in names
    ]:
        return unknown
    tracked = {name for rule in rules for name in rule.stalled}
    panel = Panel(cluster, PanelSize(case.period, ROWS), track=tracked)
    panel.advance(FIRST - case.period)
    panel.expect(case.host_names)
    misses: list[Miss] = []
    findings: tuple[Finding, ...] = ()
    moments = sorted(zip(case.expect, placed.moments, strict=True), key=lambda one: one[0].at)
    for tick in range(math.ceil(case.length / case.period) + 1):
        now = FIRST + tick * case.period
        _say(panel, case, tick, now)
        write_own(panel, fleet, grace=case.grace)
        _say_of_hosts(panel, case, tick, now)
        findings = evaluate(panel, rules, fleet, grace=timedelta(seconds=case.grace), previous=findings)
        while moments and moments[0][0].at < (tick + 1) * case.period:
            moment, where = moments.pop(0)
            misses += [Miss(case.name, where, why) for why in _compared(moment, findings, tried)]
    return misses


def _say(panel: Panel, case: Case, tick: int, now: float) -> None:
    panel.advance(now)
    for number, name in enumerate(case.host_names):
        if now - FIRST < case.silent.get(name, math.inf):
            host = case.hosts.get(name, CaseHost())
            columns: dict[str, list[float]] = {}
            for where, values in case.series():
                if where.host == name and CATALOGUE[where.metric].source not in _OTHERS:
                    column = columns.setdefault(where.metric, [math.nan] * _size(where.metric, host))
                    for place in _places(where, host):
                        column[place] = _at(values, tick)
            raw = {metric: pack(CATALOGUE[metric], column) for metric, column in columns.items()}
            frame = Frame(
                panel.cluster, name, f"i-{name}", "boot", number, FIRST - 60, tick + 1, now, case.period,
                host.chips, host.ports, raw, case.notes.get(name, {}), full_notes=True,
            )  # fmt: skip
            panel.put(frame, now)


def _say_of_hosts(panel: Panel, case: Case, tick: int, now: float) -> None:
    """Put in what is not the agent's to say: Kubernetes, Prometheus, and what the watcher itself would find out."""
    for where, values in case.series():
        if CATALOGUE[where.metric].source in _OTHERS:
            host = case.hosts.get(where.host, CaseHost())
            column = [math.nan] * _size(where.metric, host)
            for place in _places(where, host):
                column[place] = _at(values, tick)
            panel.write(where.metric, where.host, column, now)


def _size(metric: str, host: CaseHost) -> int:
    return {EntityKind.CHIP: host.chips, EntityKind.LINK: host.chips * host.ports}.get(CATALOGUE[metric].kind, 1)


def _places(where: Where, host: CaseHost) -> Iterable[int]:
    size = _size(where.metric, host)
    if where.chip is None:
        return range(size)
    if where.port is not None:
        return [place for place in (where.chip * host.ports + where.port,) if place < size]
    each = size // host.chips
    return range(where.chip * each, min((where.chip + 1) * each, size))


def _at(values: Sequence[float], tick: int) -> float:
    return values[min(tick, len(values) - 1)]


def _fleet_of(case: Case) -> Fleet:
    as_of = datetime.fromtimestamp(FIRST, UTC)
    if case.fleet is not None:
        return fleet_from_yaml(yaml.safe_dump(case.fleet), as_of, where=f"{case.name}: fleet")
    hosts = {}
    for number, name in enumerate(case.host_names):
        told = case.hosts.get(name, CaseHost())
        pool = {NAMES.node_pool: told.pool} if told.pool else {}
        hosts[HostId(CLUSTER, name)] = Host(
            HostId(CLUSTER, name), told.generation, told.chips, None, None, number, f"i-{name}", "boot", Health.HEALTHY,
            cordoned=False, marks=(), labels=pool, annotations={},
        )  # fmt: skip
    return Fleet(as_of, hosts, {}, {}, {})


def _compared(moment: Moment, findings: Iterable[Finding], tried: Collection[str]) -> list[str]:
    named = {(finding.detector, part): finding for finding in findings for part in _names(finding)}
    wanted = {(one.rule, one.part) for one in moment.findings}
    told = f"at {moment.at:g} s"
    misses = [f"{told}: {why}" for one in moment.findings if (why := _missed(one, named.get((one.rule, one.part))))]
    for finding in named.values():
        known = wanted.isdisjoint((finding.detector, part) for part in _names(finding))
        if known and finding.state is State.FIRING and finding.detector in tried:
            misses.append(f"{told}: {finding.detector} fires for {_names(finding)[0]}, which is not expected: {finding.text}")
    return list(dict.fromkeys(misses))


def _missed(one: Expected, finding: Finding | None) -> str:
    state = "nothing" if finding is None else finding.state.value
    if finding is None or finding.state is not one.state:
        return f"{one.rule} should be {one.state.value} for {one.part}, and is {state}"
    return "" if one.says in finding.text else f"{one.rule} says {finding.text!r}, and not {one.says!r}"


def _names(finding: Finding) -> list[str]:
    """Give how a finding's part is written in a case: the short way where there is one, and the id."""
    part, port = finding.part, finding.labels.get("port")
    match part:
        case HostId():
            return [part.name, str(part)]
        case ChipId():
            short = f"{part.host}/{part.index}"
            return [short if port is None else f"{short}/{port}", str(part)]
        case _:
            return [str(part)]
