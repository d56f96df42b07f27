"""Pods in: the members of each gang, and the strangers that hold chips without belonging to a gang that we know."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from sliceward.topology.errors import Misconfigured
from sliceward.topology.fields import Fields
from sliceward.topology.gangs import Gang, Member
from sliceward.topology.generations import GENERATIONS
from sliceward.topology.ids import GangId, HostId
from sliceward.topology.owners import chips_asked, controller_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sliceward.topology.fleet import Host
    from sliceward.topology.problems import Desk

_NUMBER = re.compile(r"[0-9]{1,6}")
_ENDED = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class _Found:
    """A pod that holds or wants chips: of a gang, or of nobody that we know (``gang`` None, ``owner`` says whose)."""

    gang: GangId | None
    about: str
    member: Member
    owner: str
    priority: int


def read_members(
    desk: Desk,
    pods: Iterable[object],
    gangs: Mapping[GangId, Gang],
    hosts: Mapping[HostId, Host],
    nodes: frozenset[str],
) -> tuple[dict[GangId, Gang], dict[HostId, tuple[str, ...]]]:
    """Give the gangs with their members, and the strangers by host. ``nodes``: every node name that exists."""
    crews: dict[GangId, list[_Found]] = {gang: [] for gang in gangs}
    strangers: dict[HostId, list[str]] = {}
    unknown: dict[str, int] = {}
    for number, value in enumerate(pods):
        gang = desk.once(("gang of", id(value)), (value,), partial(_named, desk, value))
        if gang is False:
            continue
        present = gang in gangs
        reading = partial(_pod, desk, value, number, present=present)
        # Who has no name is called by his number, which is another's once a pod before him is gone.
        found = reading() if gang is True else desk.once(("pod", id(value)), (value, present), reading)
        if found is None:
            continue
        if found.member.host is not None and found.member.host.name not in nodes and not found.member.ended:
            why = f"is bound to node {found.member.host.name}, which does not exist"
            desk.report("UnknownHost", f"{desk.cluster}/pod/{found.about}", why, "The node may have been deleted; end the pod")
        if found.gang is not None:
            crews[found.gang].append(found)
        elif not found.member.ended:
            unknown[found.owner] = unknown.get(found.owner, 0) + 1
            if found.member.host is not None:
                strangers.setdefault(found.member.host, []).append(found.about)
    for owner, count in sorted(unknown.items()):
        why = f"{count} of its pods ask for chips, but it is no JobSet or Indexed Job that can be read"
        desk.report("UnknownGang", f"{desk.cluster}/{owner}", why, "Its hosts count as taken; it is never moved")
    crewed = {gang.id: _crewed(gang, crews[gang.id], hosts) for gang in gangs.values()}
    return crewed, {host: tuple(sorted(strangers[host])) for host in sorted(strangers, key=lambda host: host.name)}


def _crewed(gang: Gang, found: list[_Found], hosts: Mapping[HostId, Host]) -> Gang:
    """Add members, and what only they (or where they sit) can tell: priority, generation, shapes."""
    members = tuple(sorted((f.member for f in found), key=lambda m: (m.role, m.slice_index, m.rank or 0, m.pod, m.uid)))
    sat_on = {hosts[m.host].generation for m in members if m.host is not None and m.host in hosts}
    generation = gang.generation or (sat_on.pop() if len(sat_on) == 1 else None)
    roles = gang.roles
    if generation is not None:
        kind = GENERATIONS[generation]
        roles = tuple(
            role if role.topology else replace(role, topology=kind.only_shape(role.hosts * role.chips_per_host)) for role in roles
        )
    priority = max((f.priority for f in found), default=gang.priority)
    return replace(gang, members=members, generation=generation, roles=roles, priority=priority)


def _named(desk: Desk, value: object) -> GangId | bool | None:
    """Give the gang that a pod names, None where it names none, False where it asks for no chips, True where it cannot be read."""
    try:
        fields = Fields.of(value, "")
        meta = fields.at("metadata")
        if not chips_asked(fields.at("spec"), desk.names):
            return False
        meta.text("name")
        return _gang_of(desk, meta.text("namespace", "default"), meta.texts("labels"))
    except Misconfigured:
        return True  # read whole it is, and set aside by name


def _pod(desk: Desk, value: object, number: int, *, present: bool) -> _Found | None:
    """Read a pod that asks for chips. ``present``: the gang that it names exists."""
    about = f"pod[{number}]"
    try:
        fields = Fields.of(value, "")
        meta, spec = fields.at("metadata"), fields.at("spec")
        if not chips_asked(spec, desk.names):
            return None
        about = f"{meta.text('namespace', 'default')}/{meta.text('name')}"
        return _sorted_in(desk, about, fields, present=present)
    except Misconfigured as error:
        desk.set_aside(f"{desk.cluster}/pod/{about}", error)
        return _unreadable(desk, about, value)


def _unreadable(desk: Desk, about: str, value: object) -> _Found | None:
    """Let a pod that cannot be read still take its host, if that much can be read."""
    spec = value.get("spec") if isinstance(value, Mapping) else None
    node = spec.get("nodeName") if isinstance(spec, Mapping) else None
    try:
        host = HostId(desk.cluster, node) if isinstance(node, str) and node else None
    except Misconfigured:
        host = None
    if host is None:
        return None
    return _Found(None, about, Member(about, "", "", 0, None, host, ready=False, terminating=False), f"pod/{about}", 0)


def _sorted_in(desk: Desk, about: str, fields: Fields, *, present: bool) -> _Found:
    names, meta, spec, status = desk.names, fields.at("metadata"), fields.at("spec"), fields.at("status")
    labels, annotations = meta.texts("labels"), meta.texts("annotations")
    node, phase = spec.text("nodeName"), status.text("phase")
    named = _gang_of(desk, meta.text("namespace", "default"), labels)
    gang = named if present else None
    of_jobset = gang is not None and gang.owner_kind == "JobSet"
    rank = _number(labels.get(names.completion_index)) if names.completion_index in labels else None
    rank = rank if rank is not None else _number(annotations.get(names.completion_index))
    index = _number(labels.get(names.job_index)) if of_jobset else 0
    ended = phase in _ENDED
    if gang is not None and rank is None and not ended:
        desk.report("MissingIndex", f"{desk.cluster}/pod/{about}", f"no {names.completion_index}", "Its rank is unknown")
    if index is None:
        why = f"no usable label {names.job_index}, so its slice is unknown"
        desk.report("MissingLabel", f"{desk.cluster}/pod/{about}", why, "Its host counts as taken by a stranger")
        gang = None
    member = Member(
        pod=meta.text("name"),
        uid=meta.text("uid"),
        role=labels.get(names.replicated_job, "") if of_jobset else "",
        slice_index=index or 0,
        rank=rank,
        host=HostId(desk.cluster, node) if node else None,
        ready=any(c.text("type") == names.ready and c.text("status") == "True" for c in status.each("conditions")),
        terminating=meta.has("deletionTimestamp"),
        ended=ended,
    )
    priority = spec.mapping.get("priority")
    kind, name = controller_of(meta)
    owner = f"{kind}/{meta.text('namespace', 'default')}/{name}" if name else f"pod/{about}"
    return _Found(gang, about, member, owner, priority if isinstance(priority, int) else 0)


def _gang_of(desk: Desk, namespace: str, labels: Mapping[str, str]) -> GangId | None:
    for kind, label in (("JobSet", desk.names.jobset_name), ("Job", desk.names.job_name)):
        if labels.get(label):
            return GangId(desk.cluster, namespace, kind, labels[label])
    return None


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and _NUMBER.fullmatch(text) else None
