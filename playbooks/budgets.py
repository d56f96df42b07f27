"""Budgets in numbers: level (how much at once) and rate (how many starts), per scope, plus rest of a domain and per action.

What is used is counted from our own marks and open runs (`Usage`), never kept in a counter that could drift. One's own
hosts and start do not count against oneself, so a budget can be checked again right before each harmful call.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from sliceward.playbooks.decision import Spent
from sliceward.playbooks.run import StepState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sliceward.playbooks.run import Run
    from sliceward.playbooks.schema import BudgetSpec, Level, Rate
    from sliceward.playbooks.world import Started, World


def spend(spec: BudgetSpec, run: Run, world: World, now: datetime, *, opened: datetime) -> tuple[Spent, ...]:
    """Give each budget's numbers for ``run`` (begun or about to be): those of its playbook and those of the whole fleet.

    ``opened``: when the run's incident began.
    """
    specs = [("", spec)] + ([("limits.", world.limits)] if world.limits is not None else [])
    found: list[Spent] = []
    for prefix, one in specs:
        found += _hosts(prefix, one.hosts, run, world)
        found += _runs(prefix, one.runs, run, world)
        if one.rate is not None:
            found.append(_rate(prefix, one.rate, run, world, now))
        found.append(_rest(prefix, one, _ends(run, world, opened), now))
        found += _actions(prefix, one, run, world)
    return tuple(found)


def spend_on_step(spec: BudgetSpec, run: Run, world: World) -> tuple[Spent, ...]:
    """Give the numbers of the present step's own action: all that is left to ask once the run has taken its hosts."""
    limits = () if world.limits is None else _actions("limits.", world.limits, run, world)
    return (*_actions("", spec, run, world), *limits)


def _asked(run: Run, world: World) -> Counter[tuple[str, str]]:
    """Count the hosts that the run takes, per scope."""
    asked: Counter[tuple[str, str]] = Counter()
    for host_id in run.domain:
        host = world.fleet.hosts.get(host_id)
        asked["fleet", ""] += 1
        asked["cluster", run.cluster] += 1
        if host is not None and host.pod is not None:
            asked["pod", str(host.pod)] += 1
        if host is not None and host.cube is not None:
            asked["cube", str(host.cube)] += 1
        if run.tenant:
            asked["tenant", run.tenant] += 1
    return asked


def _hosts(prefix: str, level: Level, run: Run, world: World) -> Iterable[Spent]:
    for (scope, key), asked in sorted(_asked(run, world).items()):
        bound = getattr(level, scope)
        if bound is not None:
            limit = bound.limit(world.usage.total.get((scope, key), 0))
            used = world.usage.out.get((scope, key), 0) - world.usage.own.get((run.incident, scope, key), 0)
            yield Spent(f"{prefix}hosts.{scope}{_of(key)}", limit, used, asked, used + asked <= limit)


def _runs(prefix: str, level: Level, run: Run, world: World) -> Iterable[Spent]:
    for scope, key in sorted(_asked(run, world)):
        bound = getattr(level, scope)
        if bound is not None:
            used = world.usage.runs.get((scope, key), 0) - world.usage.own_runs.get((run.incident, scope, key), 0)
            yield Spent(f"{prefix}runs.{scope}{_of(key)}", bound.max, used, 1, used + 1 <= bound.max)


def _of(key: str) -> str:
    return f" {key}" if key else ""


def _rate(prefix: str, rate: Rate, run: Run, world: World, now: datetime) -> Spent:
    def counts(start: Started) -> bool:
        if start.incident == run.incident or start.at <= now - rate.window:
            return False
        if rate.per == "playbook":
            return start.playbook == run.playbook and start.cluster == run.cluster
        return rate.per == "fleet" or start.cluster == run.cluster

    times = sorted(start.at for start in world.started if counts(start))
    ok = len(times) + 1 <= rate.max
    # Room comes when enough of the oldest starts have left the window.
    until = times[len(times) - rate.max] + rate.window if not ok and 0 < rate.max <= len(times) else None
    return Spent(f"{prefix}starts.{rate.per}", rate.max, len(times), 1, ok, until)


def _ends(run: Run, world: World, opened: datetime) -> list[datetime]:
    """Give when others' runs on the same hosts ended.

    A second fault that was there before such a run ended needs no rest from it: the domain came back with it.
    """
    hosts = set(run.domain)
    others = [s for s in world.started if s.incident != run.incident and hosts & s.domain]
    return [s.ended or s.at for s in others if s.ended is None or s.ended <= opened]


def _rest(prefix: str, spec: BudgetSpec, ends: Sequence[datetime], now: datetime) -> Spent:
    """Give the rest that the domain still lacks since another run on it: ``used`` in seconds, of a limit of none."""
    if not ends:
        return Spent(f"{prefix}cooldown", 0, 0, 0, ok=True)
    until = max(ends) + spec.cooldown
    return Spent(f"{prefix}cooldown", 0, max(0.0, (until - now).total_seconds()), 0, now >= until, until)


def _actions(prefix: str, spec: BudgetSpec, run: Run, world: World) -> Iterable[Spent]:
    step = run.current
    if step is None or step.action not in spec.actions:
        return
    used = sum(
        1 for other in world.runs if other.incident != run.incident and other.cluster == run.cluster and _does(other, step.action)
    )
    yield Spent(f"{prefix}actions.{step.action}", spec.actions[step.action], used, 1, used + 1 <= spec.actions[step.action])


def _does(run: Run, action: str) -> bool:
    step = run.current
    return step is not None and step.action == action and step.state is StepState.RUNNING
