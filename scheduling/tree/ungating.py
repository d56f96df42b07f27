"""Which waiting pod is let go into which domain.

A gang's pods wait behind a gate until each has its domain. Where every pod bears a rank, rank r takes the r-th place of the
assignment, so that neighbours in the job are neighbours in the tree; a rank that is missing, doubled, out of range or contradicted
by a pod that runs elsewhere makes the whole pod set fill its domains in their order instead (KEP-2724, "Rank-based ordering").
Nobody is let go towards a lost host.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sliceward.scheduling.tree.amounts import checked_count

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sliceward.scheduling.tree.assignment import Assignment
    from sliceward.scheduling.tree.tree import Path


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of a pod set. ``gated``: it waits for its domain. ``offset``: what its pod set's indices begin with, as annotated."""

    name: str
    gated: bool
    selector: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    offset: str | None = None
    ended: bool = False
    uid: str = ""


@dataclass(frozen=True, slots=True)
class Ranks:
    """The labels that bear a pod's index, and that of its sub-job where there are several of one size."""

    index_label: str
    job_label: str | None = None
    jobs: int | None = None


@dataclass(frozen=True, slots=True)
class PodSet:
    """A pod set that has its places. ``group``: with whom it shares ranks."""

    name: str
    count: int
    assignment: Assignment | None
    pods: tuple[Pod, ...]
    ranks: Ranks | None = None
    group: str | None = None

    def __post_init__(self) -> None:
        """Refuse a count that is none."""
        checked_count(self.count, f"pod set {self.name}: count")


@dataclass(frozen=True, slots=True)
class Go:
    """One pod is let go, with the labels to select."""

    pod: str
    selector: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Release:
    """Pods to let go now."""

    pods: tuple[Go, ...] = ()


@dataclass(frozen=True, slots=True)
class Later:
    """Nobody goes now: earlier releases are not seen yet."""

    why: str


@dataclass(frozen=True, slots=True)
class BadOffset:
    """Nobody goes: a pod set's offset is no number."""

    why: str


def release(
    pod_sets: Sequence[PodSet], *, lost_hosts: frozenset[str] = frozenset(), in_flight: frozenset[str] = frozenset()
) -> Release | Later | BadOffset:
    """Say which pods of an admitted gang go where. ``in_flight``: uids of pods let go whose change was not read back yet."""
    if in_flight:
        return Later(f"{len(in_flight)} earlier releases are not seen yet")
    windows = _windows(pod_sets)
    going: list[Go] = []
    for pod_set in pod_sets:
        if pod_set.assignment is None:
            continue
        living = sorted((pod for pod in pod_set.pods if not pod.ended), key=lambda pod: pod.name)
        told = next((pod.offset for pod in living[:1] if pod.offset is not None), "0")
        try:
            offset = int(told)
        except ValueError:
            return BadOffset(f"pod set {pod_set.name}: offset {told!r} is no number")
        first, end = windows[pod_set.name]
        window = range(first + offset, end + offset)
        going += _release(pod_set, pod_set.assignment, living, window, lost_hosts)
    return Release(tuple(going))


def _windows(pod_sets: Sequence[PodSet]) -> dict[str, tuple[int, int]]:
    """Give the indices of each pod set: in a group those of the larger follow those of the smaller (leader 0, workers 1, 2 ...)."""
    groups: dict[tuple[str, str], list[PodSet]] = {}
    for pod_set in pod_sets:
        key = ("group", pod_set.group) if pod_set.group is not None else ("alone", pod_set.name)
        groups.setdefault(key, []).append(pod_set)
    found: dict[str, tuple[int, int]] = {}
    for members in groups.values():
        begin = 0
        for member in sorted(members, key=lambda member: member.count):
            found[member.name] = begin, begin + member.count
            begin += member.count
    return found


def _release(pod_set: PodSet, assignment: Assignment, pods: Sequence[Pod], window: range, lost_hosts: frozenset[str]) -> list[Go]:
    slots = [seat.values for seat in assignment.seats for _ in range(seat.pods)]
    by_rank = _by_rank(pod_set, pods, window)
    if by_rank is not None and _agrees(assignment, slots, by_rank):
        pairs = [(pod, slots[rank]) for rank, pod in by_rank.items() if pod.gated]
    else:
        pairs = _in_order(assignment, pods)
    return [
        Go(pod.name, dict(zip(assignment.levels, values, strict=True)))
        for pod, values in pairs
        if not (assignment.by_host and values[-1] in lost_hosts)
    ]


def _by_rank(pod_set: PodSet, pods: Sequence[Pod], window: range) -> dict[int, Pod] | None:
    """Give the pods by rank, counted from 0; None where one has none, or a wrong one."""
    if pod_set.ranks is None:
        return None
    found: dict[int, Pod] = {}
    for pod in pods:
        rank = _rank(pod, pod_set.ranks, pod_set.count, window)
        if rank is None or rank in found or not 0 <= rank < pod_set.count:
            return None
        found[rank] = pod
    return found


def _rank(pod: Pod, ranks: Ranks, count: int, window: range) -> int | None:
    """Give a pod's rank: its index from the window's beginning, behind the sub-jobs before its own."""
    index = _number(pod.labels.get(ranks.index_label), below=window.stop)
    if ranks.job_label is None or index is None:
        return None if index is None else index - window.start
    if not ranks.jobs or ranks.jobs < 0:
        return None
    size = count // ranks.jobs
    job = _number(pod.labels.get(ranks.job_label), below=ranks.jobs)
    return None if job is None or index >= size else index + job * size - window.start


def _number(told: str | None, *, below: int) -> int | None:
    """Read an index: digits alone, below a bound."""
    if told is None or not (told.isascii() and told.isdigit()):
        return None
    return int(told) if int(told) < below else None


def _agrees(assignment: Assignment, slots: Sequence[Path], by_rank: Mapping[int, Pod]) -> bool:
    """Whether each rank has a place, and those who run already run there."""
    return all(rank < len(slots) and (pod.gated or _selected(assignment, pod) == slots[rank]) for rank, pod in by_rank.items())


def _in_order(assignment: Assignment, pods: Sequence[Pod]) -> list[tuple[Pod, Path]]:
    """Fill the domains in their order with whoever waits, beside those who were let go before."""
    waiting = [pod for pod in pods if pod.gated]
    there: dict[Path, int] = {}
    for pod in pods:
        if not pod.gated:
            there[_selected(assignment, pod)] = there.get(_selected(assignment, pod), 0) + 1
    open_slots = [seat.values for seat in assignment.seats for _ in range(seat.pods - there.get(seat.values, 0))]
    return list(zip(waiting, open_slots, strict=False))


def _selected(assignment: Assignment, pod: Pod) -> Path:
    return tuple(pod.selector.get(level, "") for level in assignment.levels)
