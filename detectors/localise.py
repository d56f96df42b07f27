"""Localisation: from what fired where to the smallest set of parts that explains it.

A link is seen from both its ends and is one part. A sick chip shows on its links, a sick host on its chips and all their
links. Causes are chosen greedily, as in set cover with a prior cost a cause (link < chip < host): a larger part is named
only if most of its members show the fault (Flock, arXiv 2305.03348, does the same with likelihoods). What a cause
explains is not named again; it stands in `Located.also`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sliceward.detectors.finding import Kind
from sliceward.topology import ids
from sliceward.topology.ids import ChipId, HostId, LinkId
from sliceward.topology.links import is_between_cubes, link_at, links_of_chip

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sliceward.detectors.finding import Evidence
    from sliceward.detectors.rules import Rule
    from sliceward.topology.fleet import Cube, Fleet, Slice
    from sliceward.topology.ids import PartId

COST = {"link": 0.9, "chip": 1.8, "host": 3.5}
"""Prior cost of a cause, in links explained: one or two sick links are links, three on one chip of four to six are a chip."""
MOST = 0.5
"""A larger part is named only if more than this share of its members shows the fault."""
LEAST_SILENT, AT_ONCE = 4, 120.0
"""Hosts, and seconds between the first and the last of them, that are a silence of a whole slice: of fewer each speaks for itself."""
MAX_EVIDENCE = 8
MAX_ALSO = 256


@dataclass(frozen=True, slots=True)
class Suspect:
    """One entity that fired. ``port`` is set for the end of a link, which ``part``, a chip, reports."""

    rule: Rule
    part: HostId | ChipId
    evidence: tuple[Evidence, ...]
    note: str = ""
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Located:
    """A part that is named, with the evidence of all that it explains."""

    rule: Rule
    part: PartId
    evidence: tuple[Evidence, ...]
    score: float
    note: str = ""
    also: tuple[PartId, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


def locate(fleet: Fleet, suspects: Iterable[Suspect]) -> tuple[Located, ...]:
    """Name the smallest set of parts that explains the suspects."""
    by_rule: dict[str, list[Suspect]] = defaultdict(list)
    for suspect in suspects:
        by_rule[suspect.rule.name].append(suspect)
    named: list[Located] = []
    links: list[Suspect] = []
    for found in by_rule.values():
        rule = found[0].rule
        if rule.part == "link":
            links.extend(found)
        elif rule.lift:
            named.extend(_lifted(fleet, found))
        elif rule.fold:
            named.extend(_folded(fleet, found))
        else:
            named.extend(_as_is(suspect) for suspect in found)
    named = _silent_together(fleet, _explained(named))
    named, left = _links_of_the_dead(fleet, named, links)
    return tuple(sorted((*named, *_links(fleet, left)), key=lambda one: (str(one.part), one.rule.name)))


def hosts_of(fleet: Fleet, part: PartId) -> tuple[HostId, ...]:
    """Give the hosts on which a part sits: one for a chip, one or two for a link, those that hold it for a gang or slice."""
    for group in (fleet.gangs, fleet.slices, fleet.cubes):
        if part in group:
            return tuple(sorted(group[part].hosts))  # type: ignore[index]  # the group that knows the part
    return ids.hosts_of(part)


def _as_is(suspect: Suspect) -> Located:
    return Located(suspect.rule, suspect.part, suspect.evidence, suspect.rule.score, suspect.note)


def _joined(found: list[Suspect], part: PartId, score: float) -> Located:
    evidence = tuple(number for suspect in found for number in suspect.evidence)[:MAX_EVIDENCE]
    notes = dict.fromkeys(suspect.note for suspect in found if suspect.note)
    return Located(found[0].rule, part, evidence, score, "; ".join(list(notes)[:4]))


def _lifted(fleet: Fleet, found: list[Suspect]) -> list[Located]:
    """Name the gang, slice or cube of the hosts that show it; a host that belongs to none is named itself."""
    groups: dict[PartId, list[Suspect]] = defaultdict(list)
    for suspect in found:
        host = suspect.part if isinstance(suspect.part, HostId) else suspect.part.host_id
        groups[_group_of(fleet, host, suspect.rule.lift)].append(suspect)
    located = []
    for part, members in groups.items():
        also = tuple(sorted((s.part for s in members if s.part != part), key=str))[:MAX_ALSO]
        located.append(replace(_joined(members, part, members[0].rule.score), also=also))
    return located


def _group_of(fleet: Fleet, host: HostId, lift: str | None) -> PartId:
    if lift == "gang":
        return next(iter(fleet.gangs_on.get(host, ())), host)
    known = fleet.hosts.get(host)
    if known is None or known.cube is None:
        return host
    if lift == "cube":
        return known.cube
    return next((one for one in fleet.slices_in.get(known.cube, ()) if host in fleet.slices[one].hosts), host)


def _folded(fleet: Fleet, found: list[Suspect]) -> list[Located]:
    """Name the host where more than one and most of its chips show the same."""
    by_host: dict[HostId, list[Suspect]] = defaultdict(list)
    for suspect in found:
        if isinstance(suspect.part, ChipId):
            by_host[suspect.part.host_id].append(suspect)
    located = []
    for host, members in by_host.items():
        known = fleet.hosts.get(host)
        chips = known.chips if known is not None else len(members)
        if len(members) > 1 and len(members) > MOST * chips:
            also = tuple(sorted((s.part for s in members), key=str))
            located.append(replace(_joined(members, host, members[0].rule.score), also=also))
        else:
            located.extend(_as_is(suspect) for suspect in members)
    return located


def _explained(named: list[Located]) -> list[Located]:
    """Let a lost host explain what its chips and itself show besides; only what accuses a part is explained away."""
    lost = {one.part: one for one in named if one.rule.kind is Kind.HOST_LOST}
    kept: list[Located] = []
    under: dict[PartId, list[PartId]] = defaultdict(list)
    for one in named:
        host = one.part.host_id if isinstance(one.part, ChipId) else one.part
        if one.rule.hardware and one.rule.kind is not Kind.HOST_LOST and host in lost:
            under[host].append(one.part)
        else:
            kept.append(one)
    return [_with_also(one, under.get(one.part, ())) if one.part in lost else one for one in kept]


def _silent_together(fleet: Fleet, named: list[Located]) -> list[Located]:
    """Name the slice or cube of which half and more falls silent at once: the network or the broker, not so many hosts."""
    silent = {one.part: one for one in named if one.rule.kind is Kind.TELEMETRY_LOST and isinstance(one.part, HostId)}
    if len(silent) < LEAST_SILENT:
        return named
    groups: tuple[Mapping[Any, Slice] | Mapping[Any, Cube], ...] = (fleet.slices, fleet.cubes)
    for part, hosts in ((part, whole.hosts) for group in groups for part, whole in group.items()):
        members = [silent[host] for host in hosts if host in silent]
        since = [one.evidence[0].value for one in members if one.evidence]
        if len(members) < max(LEAST_SILENT, MOST * len(hosts)) or max(since, default=0.0) - min(since, default=0.0) > AT_ONCE:
            continue
        evidence = tuple(number for one in members for number in one.evidence)[:MAX_EVIDENCE]
        also = tuple(sorted((one.part for one in members), key=str))[:MAX_ALSO]
        whole_of_them = Located(members[0].rule, part, evidence, members[0].score, also=also)
        gone = {one.part for one in members}
        silent = {host: one for host, one in silent.items() if host not in gone}
        named = [one for one in named if one.rule.kind is not Kind.TELEMETRY_LOST or one.part not in gone]
        named.append(whole_of_them)
    return named


def _with_also(one: Located, more: Iterable[PartId]) -> Located:
    also = sorted({*one.also, *(part for part in more if part != one.part)}, key=str)
    return replace(one, also=tuple(also)[:MAX_ALSO])


def _links_of_the_dead(fleet: Fleet, named: list[Located], ends: list[Suspect]) -> tuple[list[Located], list[Suspect]]:
    """Let lost hosts and lost chips explain the links that end in them: their other ends report those as down."""
    dead: dict[PartId, int] = {
        one.part: place for place, one in enumerate(named) if one.rule.kind in (Kind.HOST_LOST, Kind.CHIP_LOST)
    }
    if not dead:
        return named, ends
    under: dict[int, list[PartId]] = defaultdict(list)
    left = []
    for end in ends:
        link = _link_of(fleet, end)
        sides: tuple[PartId, ...] = (end.part,) if link is None else link.ends
        cause = next((dead[side] for side in (*sides, *_hosts(sides)) if side in dead), None)
        if cause is None:
            left.append(end)
        else:
            under[cause].append(link or end.part)
    return [_with_also(one, under.get(place, ())) for place, one in enumerate(named)], left


def _hosts(sides: Iterable[PartId]) -> list[HostId]:
    return [side.host_id for side in sides if isinstance(side, ChipId)]


def _link_of(fleet: Fleet, end: Suspect) -> LinkId | None:
    return link_at(fleet, end.part, end.port) if isinstance(end.part, ChipId) and end.port is not None else None


def _links(fleet: Fleet, ends: list[Suspect]) -> list[Located]:
    """Cover the sick links with links, chips and hosts at the least cost."""
    located: list[Located] = []
    by_link: dict[LinkId, list[Suspect]] = defaultdict(list)
    for end in ends:
        link = _link_of(fleet, end)
        if link is None:
            # Where the other end is not known the link has no name: the chip that reports it is named, with the port.
            labels = {"port": str(end.port), "between-cubes": "true"}
            located.append(replace(_as_is(end), score=end.rule.score * 0.7, labels=labels))
        else:
            by_link[link].append(end)
    while by_link:
        part, links = _best_cause(fleet, by_link)
        members = [end for link in links for end in by_link.pop(link)]
        worst = min(members, key=lambda end: _SEVERITY.index(end.rule.severity.value))
        members.sort(key=lambda end: end.rule is not worst.rule)
        one = _joined(members, part, _sureness(members))
        if isinstance(part, LinkId):
            labels = {"between-cubes": "true" if is_between_cubes(fleet, part) else "false"}
            located.append(replace(one, labels=labels))
        else:
            located.append(replace(one, also=tuple(sorted(links, key=str))[:MAX_ALSO]))
    return _merged(located)


_SEVERITY = ("critical", "error", "warning", "info")


def _sureness(ends: list[Suspect]) -> float:
    """Be surer of a link that both its ends call sick than of one that a single end complains of."""
    reporters = {(end.part, end.port) for end in ends}
    return ends[0].rule.score if len(reporters) == 1 else min(1.0, ends[0].rule.score + 0.15)


def _best_cause(fleet: Fleet, sick: Mapping[LinkId, list[Suspect]]) -> tuple[PartId, tuple[LinkId, ...]]:
    chips: dict[ChipId, set[LinkId]] = defaultdict(set)
    hosts: dict[HostId, set[LinkId]] = defaultdict(set)
    for link in sick:
        for chip in link.ends:
            chips[chip].add(link)
            hosts[chip.host_id].add(link)
    best: tuple[float, PartId, tuple[LinkId, ...]] | None = None
    first = min(sick)
    candidates: list[tuple[float, PartId, set[LinkId], int]] = [(COST["link"], first, {first}, 1)]
    candidates += [
        (COST["chip"], c, links, len(links_of_chip(fleet, c))) for c, links in chips.items() if len(links) > COST["chip"]
    ]
    for host, links in hosts.items():
        if len(links) > COST["host"]:
            candidates.append((COST["host"], host, links, len(_links_of_host(fleet, host))))
    for cost, part, links, members in sorted(candidates, key=lambda one: str(one[1])):
        gain = len(links) - cost
        if len(links) > MOST * members and (best is None or gain > best[0]):
            best = (gain, part, tuple(sorted(links)))
    if best is None:
        return first, (first,)
    return best[1], best[2]


def _links_of_host(fleet: Fleet, host: HostId) -> set[LinkId]:
    known = fleet.hosts.get(host)
    count = known.chips if known is not None else 0
    return {link for index in range(count) for link in links_of_chip(fleet, ChipId(host.cluster, host.name, index))}


def _merged(located: list[Located]) -> list[Located]:
    """Join what several ports of one chip say when their links have no name: one part, one finding."""
    merged: dict[tuple[str, PartId], Located] = {}
    for one in located:
        known = merged.get((one.rule.name, one.part))
        merged[one.rule.name, one.part] = (
            one if known is None else replace(known, evidence=(known.evidence + one.evidence)[:MAX_EVIDENCE])
        )
    return list(merged.values())
