"""One fault under a running gang, told as a whole: what breaks, who meddles, how it must end however often we die."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from sliceward.daemons.store import open_store
from sliceward.detectors.finding import Kind
from sliceward.topology.ids import ChipId, HostId
from sliceward.topology.names import NAMES
from tests.builders import a_fleet
from tests.flows.mortal import Fate
from tests.flows.stage import CLUSTER, PATIENCE, a_life, a_stage, hosts_of, sick_link

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from sliceward.topology.ids import PartId
    from tests.builders import FleetBuilder
    from tests.flows.stage import Stage


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

    async def see_through(self, strikes: Callable[[str], bool] = lambda _moment: False) -> None:
        """Let coordinators live, one after another, until one has lived to the end."""
        try:
            async with asyncio.timeout(PATIENCE):
                dead = True
                while dead:
                    self.lives += 1
                    async with a_life(self.stage, Fate(strikes)) as life:
                        dead = await life.live()
        except TimeoutError:
            pytest.fail(f"no end within {PATIENCE:.0f} s, in life {self.lives}:\n{self.stage.as_it_stands()}")

    async def check(self) -> None:
        """Compare the end with the only one there is."""
        stage = self.stage
        assert stage.invariants.broken == []
        assert stage.chores == []
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
        stage.chores.append(lambda: stage.meddle_during(pool))
        yield Incident(stage, pool, hosts_of(part), uids(stage, "other"))


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
