"""What a watch knows, as named arrays, and how it is taken over by another watch: after a restart, or when the fleet is laid out anew.

Members are found again by name (host, chip, port), groups by theirs, so that both may have other numbers. What is about nobody who is there any
more is left behind; who is new begins with nothing. From disk come baselines, and no evidence: that begins anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass, replace
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from sliceward.detectors.passes.lessons import lessons_of, take_lessons
from sliceward.detectors.passes.verdicts import Level, Standing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from _typeshed import DataclassInstance
    from numpy.typing import NDArray

    from sliceward.detectors.passes.evidence import Evidence
    from sliceward.detectors.passes.fleet import Places
    from sliceward.detectors.passes.layout import Groups, Index
    from sliceward.detectors.passes.localise import Key
    from sliceward.detectors.passes.signals import Signal
    from sliceward.detectors.passes.watch import Watch

    Array = NDArray[Any]

COMMON = frozenset({"moment", "scale", "length", "squares", "means"})
"""Arrays that are about all members together."""
OF_ROLES = frozenset({"shape", "spread"})
"""Arrays ``[rows, roles]``, fitted again soon: until then all roles have their mean."""
BY_OTHERS = "|kubernetes"
"""How an incarnation ends that others tell of, and not the machine itself."""
OF_TICKS = frozenset({"level", "scores"})
"""Arrays that are made at the first tick, and are of no size before."""
EVIDENCE = frozenset({"nats", "most", "age", "level", "scores"})
"""Arrays that speak against somebody."""


class Unsound(ValueError):
    """What was kept is not what a watch keeps, and why."""


@dataclass(frozen=True, slots=True, eq=False)
class Names:
    """Who is behind the numbers of what was kept; as in `Places`. ``incarnations``: what each host was, as ``instance|boot``; ``role`` of each chip, ``roles`` its name."""

    hosts: tuple[str, ...]
    incarnations: tuple[str, ...]
    cubes: tuple[str, ...]
    domains: tuple[str, ...]
    slices: tuple[str, ...]
    switches: tuple[str, ...]
    roles: tuple[str, ...]
    chip_host: Index
    chip_index: Index
    one: Index
    other: Index
    port: Index
    role: Index

    @classmethod
    def of(cls, places: Places, incarnations: Mapping[str, str]) -> Names:
        """Give the names of a layout as it is."""
        cables, chips = places.cables, places.layout.crowds.get("chip")
        role = np.zeros(0, dtype=np.intp) if chips is None else chips.role
        return cls(
            places.hosts, tuple(incarnations.get(name, "") for name in places.hosts), places.cubes, places.domains, places.slices,
            cables.switches, places.roles, places.chip_host, places.chip_index, cables.one, cables.other, cables.port_one, role,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """A watch as values. ``arrays`` and ``numbers`` by path (``chip/base/offset``); ``signals`` by crowd; ``accused``: rows of `_accused`.

    ``lessons``: by kind of member what the learned pass knows (`sliceward.detectors.passes.lessons`), whose arrays are among the others.
    """

    names: Names
    arrays: Mapping[str, Array]
    numbers: Mapping[str, float]
    signals: Mapping[str, tuple[str, ...]]
    accused: tuple[Mapping[str, Any], ...]
    lessons: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """What became of it. ``other``: members by crowd that have other peers now; ``left``: hosts that are another machine or boot now."""

    other: Mapping[str, Index]
    left: frozenset[str]


def kept(watch: Watch, places: Places, incarnations: Mapping[str, str]) -> Kept:
    """Give what a watch knows. The arrays are its own: copy or write them before its next step."""
    arrays, numbers = dict[str, "Array"](), dict[str, float]()
    arrays |= {path: getattr(owner, name) for path, owner, name in _known(watch.flaps, "flaps")}
    for kind, evidence in watch.crowds.items():
        for path, owner, name in _known(evidence, kind):
            value = getattr(owner, name)
            if isinstance(value, np.ndarray):
                arrays[path] = value
            else:
                numbers[path] = value
        for held in evidence.held:
            # by which others know the groups
            arrays[f"{kind}/groups/{held.groups.kind}"] = held.groups.label
    numbers |= {"tick": watch.tick, "at": watch.at if isfinite(watch.at) else 0.0, "stricter": watch.docket.stricter}
    signals = {kind: tuple(map(_told, evidence.signals)) for kind, evidence in watch.crowds.items()}
    more, lessons = lessons_of(watch)
    return Kept(Names.of(places, incarnations), arrays | more, numbers, signals, tuple(_accused(watch, places)), lessons)


def without_evidence(before: Kept) -> Kept:
    """Give baselines alone: what speaks against somebody must be seen by who acts on it, and not be read from a disk."""
    return replace(before, arrays={path: one for path, one in before.arrays.items() if path.rpartition("/")[2] not in EVIDENCE})


def take_over(watch: Watch, places: Places, before: Kept, incarnations: Mapping[str, str]) -> Taken:
    """Let a new watch know what another one knew of those who are still there; who has other peers, or is another machine, is told.

    Raises:
        Unsound: an array is of another shape than what it was about.
    """
    members = _members(places, before.names)
    watch.tick, watch.docket.stricter = int(before.numbers["tick"]), before.numbers["stricter"]
    for kind, evidence in watch.crowds.items():
        if before.signals.get(kind) == tuple(map(_told, evidence.signals)):
            _take(evidence, kind, before, members)
    for path, owner, name in list(_known(watch.flaps, "flaps")):
        if path in before.arrays:
            took = _taken(getattr(owner, name), before.arrays[path], path, members["link"], _size_of(before.names, "link"))
            setattr(owner, name, took)
    take_lessons(watch, before.arrays, before.lessons, members)
    for row in before.accused:
        _accuse(watch, places, row)
    watch.mute()
    old = dict(zip(before.names.hosts, before.names.incarnations, strict=True))
    left = frozenset(name for name, was in old.items() if is_another(was, incarnations.get(name, "")))
    return Taken(_elsewhere(places, before.names, members), left)


def is_another(was: str, now: str) -> bool:
    """Whether a host is another machine or boot. Kubernetes and the machine itself may name one machine by two names: that is no change.

    What becomes known of a machine, or is not told any more, is no change either.
    """
    return _same_teller(was, now) and any(
        one and other and one != other for one, other in zip(_words(was), _words(now), strict=True)
    )


def is_another_machine(was: str, now: str) -> bool:
    """Whether a host is another machine, and not only another boot of it."""
    return _same_teller(was, now) and bool(_words(was)[0] and _words(now)[0]) and _words(was)[0] != _words(now)[0]


def completed(was: str, now: str) -> str:
    """Give what a host is by now, with what was known of it where nobody tells any more; its own word stands over that of others."""
    if not _same_teller(was, now):
        return was if not now or (was and now.endswith(BY_OTHERS)) else now
    instance, boot = (one or other for one, other in zip(_words(now), _words(was), strict=True))
    return f"{instance}|{boot}{BY_OTHERS if now.endswith(BY_OTHERS) else ''}"


def _same_teller(was: str, now: str) -> bool:
    return bool(was and now) and was.endswith(BY_OTHERS) == now.endswith(BY_OTHERS)


def _words(told: str) -> tuple[str, str]:
    instance, _, boot = told.removesuffix(BY_OTHERS).partition("|")
    return instance, boot


def _told(signal: Signal) -> str:
    return f"{signal.called} {signal.sense} {signal.form}"


# ── arrays ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _known(owner: DataclassInstance, path: str) -> Iterator[tuple[str, Any, str]]:
    """Go through all arrays and numbers of an evidence: path, who holds it, and under which name."""
    for one in fields(owner):
        value = getattr(owner, one.name)
        if isinstance(value, np.ndarray | int | float):
            if one.name != "gauges":
                yield f"{path}/{one.name}", owner, one.name
        elif one.name == "held":
            for held in value:
                yield from _known(held, f"{path}/{held.groups.kind}")
        elif is_dataclass(value) and not isinstance(value, type) and not getattr(value, "__dataclass_params__").frozen:  # noqa: B009 (no type has it)
            yield from _known(value, f"{path}/{one.name}")


def _take(evidence: Evidence, kind: str, before: Kept, members: Mapping[str, Index]) -> None:
    places = {f"{kind}/{held.groups.kind}": _groups(held.groups, before, kind, members) for held in evidence.held}
    sizes = {path: len(before.arrays.get(f"{kind}/groups/{path.rpartition('/')[2]}", ())) for path in places}
    whole = _size_of(before.names, kind)
    for path, owner, name in list(_known(evidence, kind)):
        inner = "/".join(path.split("/")[:2])
        if path in before.numbers:
            setattr(owner, name, type(getattr(owner, name))(before.numbers[path]))
        elif path in before.arrays:
            took, was = places.get(inner, members[kind]), sizes.get(inner, whole)
            if inner in places and not was:
                continue  # groups that nobody named
            setattr(owner, name, _taken(getattr(owner, name), before.arrays[path], path, took, was))


def _taken(new: Array, old: Array, path: str, took: Index, was: int) -> Array:
    """Give an array under the numbers of today. ``was``: how many members it was of. Raises `Unsound` where it is of another shape."""
    name = path.rpartition("/")[2]
    if name in COMMON:
        _same(path, old.shape, new.shape)
        return np.array(old, dtype=new.dtype)
    if name in OF_ROLES:
        _same(path, old.shape[:-1], new.shape[:-1])
        if old.shape[-1]:
            new[...] = old.mean(axis=-1, keepdims=True)
        return new
    if name in OF_TICKS:
        if old.shape[-1] != was or not was:
            return new  # made at the first tick, of which there was none yet
        new = np.zeros((*old.shape[:-1], len(took)), dtype=old.dtype)
    _same(path, old.shape, (*new.shape[:-1], was))
    there = np.flatnonzero(took >= 0)
    if len(there) == len(took) == was and (took == np.arange(was)).all():
        return np.asarray(old, dtype=new.dtype)  # as it is: who knew it before is gone
    new[..., there] = old[..., took[there]]
    return new


def _same(path: str, found: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    if found != wanted:
        raise Unsound(f"{path[:80]} has the shape {found}, and not {wanted}")


def _size_of(names: Names, kind: str) -> int:
    return {"host": len(names.hosts), "chip": len(names.chip_host), "link": len(names.one)}[kind]


# ── who is who ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _members(places: Places, names: Names) -> dict[str, Index]:
    """Give for each member of each crowd the number that it had, -1 where it was not there."""
    number = {name: place for place, name in enumerate(names.hosts)}
    host = np.array([number.get(name, -1) for name in places.hosts], dtype=np.intp)
    width = int(max(names.chip_index.max(initial=0), places.chip_index.max(initial=0))) + 1
    chip_at = np.full((len(names.hosts) + 1, width), -1, dtype=np.intp)  # the last row is of hosts that were not there
    chip_at[names.chip_host, names.chip_index] = np.arange(len(names.chip_host))
    chip = chip_at[host[places.chip_host], places.chip_index]
    ports = int(max(names.port.max(initial=0), places.cables.port_one.max(initial=0))) + 1
    link_at = np.full((len(names.chip_host) + 1, ports), -1, dtype=np.intp)
    link_at[names.one, names.port] = np.arange(len(names.one))
    link = link_at[chip[places.cables.one], places.cables.port_one]
    same = np.zeros(len(link), dtype=bool)
    same[link >= 0] = names.other[link[link >= 0]] == chip[places.cables.other[link >= 0]]
    cubes, domains, slices, switches = (
        _renumbered(now, was)
        for now, was in (
            (places.cubes, names.cubes),
            (places.domains, names.domains),
            (places.slices, names.slices),
            (places.cables.switches, names.switches),
        )
    )
    link = np.where(same, link, -1)
    return {"host": host, "chip": chip, "link": link, "cube": cubes, "domain": domains, "slice": slices, "ocs": switches}


def _renumbered(now: tuple[str, ...], was: tuple[str, ...]) -> Index:
    number = {name: place for place, name in enumerate(was)}
    return np.array([number.get(name, -1) for name in now], dtype=np.intp)


def _groups(groups: Groups, before: Kept, kind: str, members: Mapping[str, Index]) -> Index:
    """Give for each group the place that it had among those of its kind, -1 where there was none."""
    labels = before.arrays.get(f"{kind}/groups/{groups.kind}", np.zeros(0, dtype=np.intp))
    wanted = members[groups.kind][groups.label]
    if not len(labels):
        return np.full(len(groups), -1, dtype=np.intp)
    if labels.ndim != 1 or (np.diff(labels) <= 0).any():
        raise Unsound(f"the groups {kind}/{groups.kind} are not in order")
    place = np.minimum(np.searchsorted(labels, wanted), len(labels) - 1)
    return np.where((wanted >= 0) & (labels[place] == wanted), place, -1)


def _elsewhere(places: Places, names: Names, members: Mapping[str, Index]) -> dict[str, Index]:
    """Give the chips, and with them the hosts, that were there before and have other peers now."""
    crowd = places.layout.crowds.get("chip")
    if crowd is None:
        return {}
    was = members["chip"]
    there = was >= 0
    by_name = {name: number for number, name in enumerate(names.roles)}
    now = np.array([by_name.get(name, -1) for name in places.roles], dtype=np.intp)
    moved = np.flatnonzero(there & (now[crowd.role] != names.role[np.where(there, was, 0)])) if there.any() else was[:0]
    return {"chip": moved, "host": np.unique(places.chip_host[moved])}


# ── those that stand accused ──────────────────────────────────────────────────────────────────────────────────────────


def _accused(watch: Watch, places: Places) -> Iterator[dict[str, Any]]:
    for key, one in watch.docket.standing.items():
        yield {"part": str(places.part(*key)), **{each.name: _plain(getattr(one, each.name)) for each in fields(Standing)}}
    for key, (count, tick) in watch.docket.offences.items():
        yield {"part": str(places.part(*key)), "offences": count, "tick": tick}


def _plain(value: object) -> object:
    return value.value if isinstance(value, Level) else float(value) if isinstance(value, np.floating) else value


def _accuse(watch: Watch, places: Places, row: Mapping[str, Any]) -> None:
    key: Key | None = places.label(row["part"])
    if key is None:
        return
    if "offences" in row:
        watch.docket.offences[key] = (row["offences"], row["tick"])
        return
    crowd, models = watch.crowds.get(row["crowd"]), watch.models.get(row["crowd"])
    known = {one.name: row[one.name] for one in fields(Standing) if one.name in row}
    if known.get("learned"):
        if models is None or key[0] != row["crowd"] or key[1] not in models.suspected:
            return
    elif crowd is None or not len(crowd.members(key)) or not any(one.called == row["signal"] for one in crowd.signals):
        return
    watch.docket.standing[key] = Standing(**{**known, "level": Level(known["level"])})
