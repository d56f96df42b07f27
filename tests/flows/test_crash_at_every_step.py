"""A restart at any step of the shipped playbooks reaches the same end, against the emulated Kubernetes and the real store.

The coordinator is killed, not stopped: from one instant on nothing of it reaches the world. A new one begins on the same
store and cluster. The invariants are looked at on every change meanwhile (`tests.flows.invariants`).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from sliceward.daemons.store import open_store
from sliceward.detectors.finding import Kind
from sliceward.playbooks.load import load_book
from sliceward.playbooks.shipped import shipped
from sliceward.remediations.catalog import ACTIONS
from sliceward.topology.ids import ChipId, HostId
from sliceward.topology.names import NAMES
from tests.builders import a_fleet
from tests.flows.mortal import Fate
from tests.flows.stage import CLUSTER, PATIENCE, a_life, a_stage, sick_link

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from sliceward.topology.ids import PartId
    from tests.builders import FleetBuilder
    from tests.flows.stage import Stage

PLAYBOOK = load_book(shipped(), ACTIONS).named("ici-link-in-cube")
assert PLAYBOOK is not None
STEPS = {step.spec.name: step.spec.action for step in PLAYBOOK.steps}
IRREVERSIBLE = [step.spec.name for step in PLAYBOOK.steps if step.irreversible]
MOMENTS = ("before intent", "after intent", "before call", "after call", "before answer", "after answer")
OUTSIDE_OF_STEPS = {
    f"{when} {what}"
    for when in ("before", "after")
    for what in ("save of observing", "save of closed", "page trigger", "page resolve")
}


def small_pools() -> FleetBuilder:
    """Four pools of four hosts; a gang of two slices, one of one, and room for one more."""
    fleet = a_fleet(generation="tpu-v6e-slice").with_gang("train", slices=2, namespace="ml").on("pool-0", "pool-1")
    return fleet.with_gang("other", slices=1, namespace="ml").on("pool-2")


def cubes() -> FleetBuilder:
    """Four tpu7x cubes of sixteen hosts, with the same gangs."""
    fleet = a_fleet().with_gang("train", slices=2, namespace="ml").on("cube-0", "cube-1")
    return fleet.with_gang("other", slices=1, namespace="ml").on("cube-2")


@dataclass
class OnceAt:
    """Strikes at each moment that is wanted, the first time that it comes. ``struck``: those that came."""

    wanted: Callable[[str], bool]
    struck: list[str] = field(default_factory=list)

    def __call__(self, moment: str) -> bool:
        if moment in self.struck or not self.wanted(moment):
            return False
        self.struck.append(moment)
        return True


@dataclass
class Incident:
    """A fault in one pool of a running fleet, and what must be so in the end."""

    stage: Stage
    pool: str
    sick: set[str]
    others: dict[str, str]
    lives: int = 0

    async def see_through(self, strikes: OnceAt) -> None:
        """Let coordinators live, one after another, until one has lived to the end."""
        async with asyncio.timeout(PATIENCE):
            dead = True
            while dead:
                self.lives += 1
                async with a_life(self.stage, Fate(strikes)) as life:
                    dead = await life.live()

    async def check(self) -> None:
        """Compare the end with the only one there is."""
        stage = self.stage
        assert stage.invariants.broken == []
        self._gangs_are_where_they_belong()
        self._marks_are_those_of_others()
        assert Counter(host for host, _, _ in stage.provider.requests.values()) == Counter(self.sick)
        assert stage.invariants.suspensions == {"train": 1}
        async with open_store(f"sqlite:///{stage.folder / 'store.db'}") as store:
            (row,) = (await store.history.incidents()).items
            assert (row["state"], row["how"]) == ("closed", "healed")
            assert store.epoch == 0
            intents = Counter(intent.action for intent in await store.history.intents(row["id"]) if intent.irreversible)
            assert set(intents.values()) == {1}
            pages = (await store.history.pages()).items
        assert [(page["event"], page["state"]) for page in pages] == [("trigger", "sent"), ("resolve", "sent")]
        assert [page["delivery_id"] for page in pages] == list(stage.pager.delivered)

    def _gangs_are_where_they_belong(self) -> None:
        stage = self.stage
        assert stage.whole("train")
        pools = stage.pools_of("train")
        assert [len(of) for of in pools.values()] == [1, 1]
        assert pools["0"] != pools["1"]
        assert self.pool not in pools["0"] | pools["1"]
        assert uids(stage, "other") == self.others

    def _marks_are_those_of_others(self) -> None:
        nodes = self.stage.nodes()
        assert self.stage.marked() == {}
        assert [name for name, node in nodes.items() if NAMES.incident in (node["metadata"].get("annotations") or {})] == []
        first, second, third, *_ = self.stage.hosts_in(self.pool)
        assert {name for name, node in nodes.items() if node["spec"].get("unschedulable")} == {first, third}
        assert _strange(nodes[second]) == ["team/before"]
        assert _strange(nodes[third]) == ["team/during"]


def _strange(node: dict[str, Any]) -> list[str]:
    return [taint["key"] for taint in node["spec"]["taints"] if taint["key"].startswith("team/")]


def uids(stage: Stage, gang: str) -> dict[str, str]:
    return {pod["metadata"]["uid"]: pod["spec"]["nodeName"] for pod in stage.pods(gang)}


@asynccontextmanager
async def an_incident(folder: Path, fleet: FleetBuilder, kind: Kind = Kind.ICI_LINK_DEGRADED) -> AsyncIterator[Incident]:
    """Break something under the first slice of a running gang; people have marks of their own on the hosts beside it."""
    async with a_stage(folder, fleet) as stage:
        pool = min(stage.pools_of("train")["0"])
        part = await _break(stage, pool, kind)
        stage.faults[part] = kind
        await stage.meddle_before(pool)
        yield Incident(stage, pool, _hosts(part), uids(stage, "other"))


async def _break(stage: Stage, pool: str, kind: Kind) -> PartId:
    *_, last = stage.hosts_in(pool)
    match kind:
        case Kind.HOST_LOST:
            await stage.edit(last, {"metadata": {"labels": {"kubelet": "dead"}}})
            return HostId(CLUSTER, last)
        case Kind.HBM_UNCORRECTABLE | Kind.CHIP_LOST:
            return ChipId(CLUSTER, last, 2)
        case _:
            return sick_link(stage, pool)


def _hosts(part: PartId) -> set[str]:
    match part:
        case HostId():
            return {part.name}
        case ChipId():
            return {part.host}
        case _:
            return {getattr(part, "host_a", ""), getattr(part, "host_b", "")}


def moments_of(step: str) -> set[str]:
    return {f"{moment} of {STEPS[step] if 'call' in moment else step}" for moment in MOMENTS}


@pytest.mark.parametrize("step", STEPS)
async def test_a_coordinator_that_dies_at_every_moment_of_one_step_reaches_the_same_end(tmp_path: Path, step: str) -> None:
    wanted = moments_of(step)
    async with an_incident(tmp_path, small_pools()) as incident:
        strikes = OnceAt(wanted.__contains__)
        await incident.see_through(strikes)
        assert set(strikes.struck) == wanted
        assert incident.lives == len(wanted) + 1
        await incident.check()


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_coordinator_that_dies_at_one_moment_of_every_step_reaches_the_same_end(tmp_path: Path, moment: str) -> None:
    async with an_incident(tmp_path, small_pools()) as incident:
        strikes = OnceAt(lambda now: now.startswith(f"{moment} of"))
        await incident.see_through(strikes)
        assert len(strikes.struck) == len(STEPS)
        await incident.check()


@pytest.mark.parametrize("step", IRREVERSIBLE)
@pytest.mark.parametrize("moment", ["after intent", "after call", "after answer"])
async def test_one_death_at_an_irreversible_step_makes_no_second_call(tmp_path: Path, step: str, moment: str) -> None:
    async with an_incident(tmp_path, small_pools()) as incident:
        strikes = OnceAt(lambda now: now in moments_of(step) and now.startswith(moment))
        await incident.see_through(strikes)
        assert len(strikes.struck) == 1
        await incident.check()


async def test_a_coordinator_that_dies_at_opening_closing_and_paging_pages_once_each(tmp_path: Path) -> None:
    async with an_incident(tmp_path, small_pools()) as incident:
        strikes = OnceAt(OUTSIDE_OF_STEPS.__contains__)
        await incident.see_through(strikes)
        assert set(strikes.struck) == OUTSIDE_OF_STEPS
        await incident.check()
        assert Counter(page.event for page in incident.stage.pager.pages) == {"trigger": 2, "resolve": 2}


async def test_a_coordinator_that_dies_before_and_after_every_write_to_the_cluster_reaches_the_same_end(tmp_path: Path) -> None:
    async with an_incident(tmp_path, small_pools()) as incident:
        strikes = OnceAt(lambda now: any(word in now for word in (" patch of ", " request for ")))
        await incident.see_through(strikes)
        assert incident.lives > 40
        await incident.check()


async def test_a_coordinator_that_never_lives_past_a_new_moment_moves_a_gang_of_cubes(tmp_path: Path) -> None:
    """It dies the first time at everything: each save, call, page and request, on a fleet of 64 hosts."""
    async with an_incident(tmp_path, cubes()) as incident:
        strikes = OnceAt(lambda now: " patch of nodes/" not in now)
        await incident.see_through(strikes)
        assert set(strikes.struck) >= OUTSIDE_OF_STEPS.union(*map(moments_of, STEPS))
        await incident.check()


@pytest.mark.parametrize("kind", [Kind.HOST_LOST, Kind.CHIP_LOST, Kind.HBM_UNCORRECTABLE])
async def test_other_playbooks_that_move_a_gang_reach_their_end_too(tmp_path: Path, kind: Kind) -> None:
    async with an_incident(tmp_path, small_pools(), kind) as incident:
        strikes = OnceAt(lambda now: now.startswith(("after call of", "before answer of", "after request for")))
        await incident.see_through(strikes)
        assert len(strikes.struck) >= 2 * len(STEPS) + 1
        await incident.check()


async def test_a_coordinator_that_never_dies_reaches_that_end(tmp_path: Path) -> None:
    async with an_incident(tmp_path, small_pools()) as incident:
        await incident.see_through(OnceAt(lambda _moment: False))
        assert incident.lives == 1
        await incident.check()
        assert incident.stage.invariants.seen.keys() >= {"nodes", "pods", "jobsets"}
