"""Whether a host is lost to the gangs that have places on it, and which pods wait there in vain.

KEP-2724, "Node failures" (Kueue 0.19): a host that is gone, or never said Ready, is lost at once. One that is not Ready, or has a
taint that the pods do not tolerate, is lost once none of the gang's pods there goes on any more: a place is not given twice while a
pod may still run. A gang that loses a second host before the first is replaced is evicted. One that is over is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING

from sliceward.scheduling.tree.suiting import KEEPS_AWAY, Taint, Toleration

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sliceward.scheduling.tree.assignment import Assignment


@dataclass(frozen=True, slots=True)
class Ready:
    """The host says that it is Ready."""


@dataclass(frozen=True, slots=True)
class NotReady:
    """The host is not Ready, or nobody knows, since then."""

    since: datetime


@dataclass(frozen=True, slots=True)
class Unreported:
    """The host never said whether it is Ready."""


@dataclass(frozen=True, slots=True)
class HostSeen:
    """A host that there is."""

    name: str
    readiness: Ready | NotReady | Unreported
    taints: tuple[Taint, ...] = ()


@dataclass(frozen=True, slots=True)
class HostGone:
    """A host that there is no more."""

    name: str


@dataclass(frozen=True, slots=True)
class Held:
    """The places of one pod set, and what its pods tolerate (with what flavor and admission checks add)."""

    assignment: Assignment
    tolerations: tuple[Toleration, ...] = ()


@dataclass(frozen=True, slots=True)
class GangSeen:
    """A gang with its places. ``lost_hosts``: marked before and not replaced yet. ``over``: finished or evicted."""

    name: str
    held: tuple[Held, ...] = ()
    lost_hosts: tuple[str, ...] = ()
    over: bool = False

    def has_place_on(self, host: str) -> bool:
        """Whether the gang has places on a host."""
        return any(held.assignment.on_host(host) for held in self.held)


class Stage(Enum):
    """How far a pod is."""

    GATED = auto()
    PENDING = auto()
    RUNNING = auto()
    ENDED = auto()


@dataclass(frozen=True, slots=True)
class PodSeen:
    """A pod of a gang. ``host``: where it runs; ``waits_for``: the host that it selects; ``leaving``: its deletion has begun."""

    name: str
    gang: str
    stage: Stage
    host: str | None = None
    waits_for: str | None = None
    leaving: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """Gangs and their pods as they are now."""

    gangs: tuple[GangSeen, ...]
    pods: tuple[PodSeen, ...] = ()


@dataclass(frozen=True, slots=True)
class LossRules:
    """What of the rules is in force; the defaults are those of Kueue 0.19, with the feature gate that each follows.

    ``after_pods_end``: TASReplaceNodeOnPodTermination. ``on_taints``: TASReplaceNodeOnNodeTaints. ``after_patience``:
    TASReplaceNodeDueToNotReadyOverFixedTime.
    """

    after_pods_end: bool = True
    on_taints: bool = True
    after_patience: bool = False
    patience: timedelta = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class MarkLost:
    """The gang's pods on the host are to be placed anew."""


@dataclass(frozen=True, slots=True)
class Unmark:
    """The host was marked and serves the gang again."""


@dataclass(frozen=True, slots=True)
class Evict:
    """The gang has lost several hosts at once: it goes as a whole."""

    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Leave:
    """Nothing is to be done for the gang."""


Verdict = MarkLost | Unmark | Evict | Leave


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict for each gang that the host concerns, and the pods to fail: they wait for a host that takes them no more."""

    verdicts: Mapping[str, Verdict]
    fail_pods: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LookAgain:
    """Too early to say."""

    after: timedelta


def judge(host: HostSeen | HostGone, seen: Seen, *, now: datetime, rules: LossRules) -> Judged | LookAgain:
    """Say what the state of a host means for each gang with places or waiting pods there."""
    name = host.name
    living = [gang for gang in seen.gangs if not gang.over]
    placed = [gang for gang in living if gang.has_place_on(name)]
    if isinstance(host, HostGone) or isinstance(host.readiness, Unreported):
        return Judged({gang.name: _verdict(gang, name, lost=True) for gang in placed})
    expired = False
    if isinstance(host.readiness, NotReady):
        left = host.readiness.since + rules.patience - now
        expired = left <= timedelta()
        if not expired and not rules.after_pods_end:
            return LookAgain(left)
    evicted: dict[str, Verdict] = {}
    if rules.after_patience and expired:
        first = {gang.name: _verdict(gang, name, lost=True) for gang in placed}
        evicted = {gang: verdict for gang, verdict in first.items() if isinstance(verdict, Evict)}
    late = {pod.gang for pod in seen.pods if pod.waits_for == name}
    looked_at = [gang for gang in living if (gang in placed or gang.name in late) and gang.name not in evicted]
    states = {gang.name: gang_state(gang, host, seen.pods, rules) for gang in looked_at}
    verdicts = evicted | {gang.name: _verdict(gang, name, lost=states[gang.name].lost) for gang in looked_at}
    failing = [pod for gang, state in states.items() if not isinstance(verdicts[gang], Evict) for pod in state.fail_pods]
    return Judged(verdicts, tuple(failing))


def _verdict(gang: GangSeen, host: str, *, lost: bool) -> Verdict:
    marked = host in gang.lost_hosts
    if lost:
        return Evict((*gang.lost_hosts, host)) if gang.lost_hosts and not marked else MarkLost()
    return Unmark() if marked else Leave()


@dataclass(frozen=True, slots=True)
class GangState:
    """Whether a host is lost to a gang, and which of its pods wait there in vain."""

    lost: bool
    fail_pods: tuple[str, ...] = ()


def gang_state(gang: GangSeen, host: HostSeen, pods: Iterable[PodSeen], rules: LossRules) -> GangState:
    """Say what a host that there is means for one gang, by itself."""
    if not gang.has_place_on(host.name):
        return GangState(lost=False, fail_pods=_in_vain(gang, host, pods))
    if isinstance(host.readiness, Ready):
        if not rules.on_taints:
            return GangState(lost=False)
        bearing = _bearing(host.taints, [held for held in gang.held if held.assignment.on_host(host.name)])
        if bearing is _Bearing.FOR_EVER:
            return GangState(lost=False)
        waits = rules.after_pods_end or bearing is _Bearing.FOR_A_WHILE
    else:
        waits = rules.after_pods_end
    if not waits:
        return GangState(lost=True)
    everyone = list(pods)
    goes_on = any(
        pod.gang == gang.name and pod.host == host.name and not pod.leaving and pod.stage is not Stage.ENDED for pod in everyone
    )
    return GangState(lost=not goes_on, fail_pods=_in_vain(gang, host, everyone))


def _in_vain(gang: GangSeen, host: HostSeen, pods: Iterable[PodSeen]) -> tuple[str, ...]:
    """Give the gang's pods that were let go towards the host and are not on any; those behind their gate wait for a new place."""
    mine = (pod for pod in pods if pod.gang == gang.name and pod.waits_for == host.name)
    return tuple(pod.name for pod in mine if pod.host is None and pod.stage is Stage.PENDING)


class _Bearing(Enum):
    """How long a gang's pods bear the taints of a host."""

    FOR_EVER = auto()
    FOR_A_WHILE = auto()
    NOT = auto()


def _bearing(taints: Iterable[Taint], held: Sequence[Held]) -> _Bearing:
    """Say how long the least tolerant pod set bears the worst taint that keeps pods away."""
    found = _Bearing.FOR_EVER
    for taint in taints:
        if taint.effect not in KEEPS_AWAY:
            continue
        for each in held:
            covering = [toleration for toleration in each.tolerations if toleration.covers(taint)]
            if not covering:
                return _Bearing.NOT
            if all(toleration.seconds is not None for toleration in covering):
                found = _Bearing.FOR_A_WHILE
    return found
