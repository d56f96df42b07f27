"""One fault on a real fleet, told as a whole: what breaks, who meddles, and how it must end whatever happens meanwhile."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sliceward.simulation.faults import FAULTS, Place
from sliceward.topology.names import NAMES
from tests.flows.real.fleet import CLUSTER, PLAN, STRUCK, RealFleet
from tests.flows.real.training import HURT, OTHER

if TYPE_CHECKING:
    from sliceward.simulation.faults import Fault
    from sliceward.topology.ids import PartId

Json = dict[str, Any]

STRANGE = {"key": "example.test/under-study", "value": "yes", "effect": "NoSchedule"}
BEFORE, TAINTED, DURING = 2, 3, 4
"""Hosts of the cube, by number, on which people cordon before and during, and put a taint of their own."""


@dataclass(eq=False)
class Healing:
    """A fault that was injected, and how it stood just before. ``named``: the part that must be named.

    ``hurt``, ``others``: hosts of the pods of either gang, by uid. ``elsewhere``: a host outside of the cube that a person cordoned.
    """

    fleet: RealFleet
    fault: Fault
    place: Place
    named: PartId
    others: dict[str, str]
    hurt: dict[str, str]
    elsewhere: str

    async def marked(self) -> None:
        """Wait until all hosts of the cube are out of service; then a person cordons one of them."""
        await self.fleet.until(lambda: len(self.fleet.witness.marks()) == len(self.fleet.hosts), "the whole cube is marked")
        await self.fleet.cordon(self.fleet.host(DURING))

    async def healed(self) -> Json:
        """Wait until the incident is closed and its last page out; gives its record."""
        told = await self.fleet.until_told("/api/v1/incidents?limit=500", self._is_over, "the incident is closed")
        (row,) = self._rows(told)
        world, receiver = self.fleet.world, self.fleet.receiver
        await self.fleet.until(lambda: all(one.stepping for one in world.trainings.values()), "all gangs train")
        await self.fleet.until(lambda: "resolve" in receiver.incidents[row["id"]].events, "the page is resolved")
        record: Json = await self.fleet.until_told(f"/api/v1/incidents/{row['id']}", bool, "the record")
        return record

    def _rows(self, told: Json) -> list[Json]:
        return [row for row in told["items"] if row["kind"] == self.fault.kind.value and row["how"] != "folded"]

    def _is_over(self, told: Json) -> bool:
        rows = self._rows(told)
        return bool(rows) and all(row["state"] == "closed" for row in rows)

    def check(self, record: Json) -> None:
        """Compare the end with the only one there is."""
        fleet, witness = self.fleet, self.fleet.witness
        assert witness.broken == []
        assert (record["kind"], record["part"], record["how"]) == (self.fault.kind.value, str(self.named), "healed")
        self._order(record)
        # All sixteen nodes of that cube, and no others, by one owner.
        assert witness.at_once == fleet.hosts
        assert dict(witness.marked) == {host: {record["id"]} for host in fleet.hosts}
        self._gangs()
        self._marks()
        self._pages(record)
        assert Counter(work.host for work in fleet.world.provider.works.values()) == Counter(self.place.nodes)

    def _order(self, record: Json) -> None:
        """Nothing is given back before it was repaired and proven, and nothing repaired before the gang was gone."""
        ended = [entry["text"].split()[0] for entry in record["timeline"] if entry["kind"] == "step-done"]
        wanted = ["mark", "suspend", "end-dead", "wait-gone", "place", "resume", "verify", "repair", "burn-in", "give-back"]
        assert [name for name in ended if name in wanted] == wanted, [entry["text"] for entry in record["timeline"]]

    def _gangs(self) -> None:
        """All pods of the gang are others, on the other cube and the spare, each slice in one; the other gang was not touched."""
        fleet, witness = self.fleet, self.fleet.witness
        assert witness.uids(OTHER) == self.others
        now = witness.uids(HURT)
        assert len(now) == len(self.hurt)
        assert not now.keys() & self.hurt.keys()
        cubes = witness.cubes(HURT)
        cubes_before = {_cube(host) for host in self.hurt.values()}
        spare = {cube.name for cube in PLAN.cubes} - cubes_before - {_cube(host) for host in self.others.values()}
        assert [len(found) for found in cubes.values()] == [1, 1]
        assert set().union(*cubes.values()) == cubes_before - {fleet.cube} | spare
        assert len(set(now.values())) == len(now)

    def _marks(self) -> None:
        """Nothing of ours is left, and everything of people's stands."""
        fleet = self.fleet
        nodes = {node["metadata"]["name"]: node for node in fleet.witness.nodes}
        assert fleet.witness.marks() == {}
        assert [name for name, node in nodes.items() if NAMES.incident in (node["metadata"].get("annotations") or {})] == []
        assert {name for name, node in nodes.items() if node["spec"].get("unschedulable")} == {
            self.elsewhere,
            fleet.host(BEFORE),
            fleet.host(DURING),
        }
        assert STRANGE in nodes[fleet.host(TAINTED)]["spec"]["taints"]

    def _pages(self, record: Json) -> None:
        receiver = self.fleet.receiver
        paged = [(one.key, one.events) for one in receiver.incidents.values()]
        assert paged == [(record["id"], ["trigger", "resolve"])], [one.summaries for one in receiver.incidents.values()]
        assert receiver.refused == 0


async def strike(fleet: RealFleet, name: str) -> Healing:
    """Let people meddle, then break something under the first slice of the first gang."""
    before = {gang: fleet.witness.uids(gang) for gang in (HURT, OTHER)}
    assert [len(before[gang]) for gang in (HURT, OTHER)] == [32, 16]
    elsewhere = min(before[OTHER].values())
    await fleet.cordon(elsewhere)
    await fleet.cordon(fleet.host(BEFORE))
    await fleet.taint(fleet.host(TAINTED), STRANGE)
    fault = FAULTS[name]
    place = fleet.link() if fault.part == "link" else Place(fleet.host(STRUCK))
    fleet.witness.known = frozenset(before[HURT] | before[OTHER])
    fleet.witness.sick = lambda: fleet.unrepaired(place.nodes)
    await fault.inject(fleet.world.hosts, place, fleet)
    return Healing(fleet, fault, place, fault.named(CLUSTER, place), others=before[OTHER], hurt=before[HURT], elsewhere=elsewhere)


def _cube(host: str) -> str:
    return host.partition("-host-")[0]
