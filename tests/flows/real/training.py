"""The fleet that trains where our daemons are processes: four cubes, one of them spare, a gang of two slices and one of one."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sliceward.simulation.faults import links_to_break, place_on_link
from sliceward.simulation.training import Program
from sliceward.topology.ids import CubeId
from sliceward.topology.plan import fleet_of
from sliceward.topology.planned import plans_from_yaml

if TYPE_CHECKING:
    from sliceward.simulation.faults import Place
    from sliceward.topology.planned import ClusterPlan
    from tests.flows.real.witness import Witness

HURT, OTHER = "llm", "vision"
PODS = {HURT: 32, OTHER: 16}
LOOK = 0.1


def plan_of(cluster: str) -> ClusterPlan:
    """Give the plan of it."""
    return plans_from_yaml(f"""
clusters:
  - name: {cluster}
    generation: tpu7x
    cubes: 4
    spares: [cube-3]
    gangs:
      - {{name: {HURT}, namespace: ml, slices: 2, cubes: [cube-0, cube-1]}}
      - {{name: {OTHER}, namespace: ml, cubes: [cube-2]}}
""")[0]


def hosts_in(plan: ClusterPlan, cube: str) -> set[str]:
    """Give all hosts of a cube."""
    return {plan.host(cube, number) for number in range(16)}


def link_in(plan: ClusterPlan, cube: str, *, at: str = "") -> Place:
    """Give a link inside a cube, between two hosts, each of which sees only its own end; ``at``: one of them."""
    fleet = fleet_of(plan, datetime.now(UTC))
    links = links_to_break(fleet, CubeId(plan.name, cube), between_cubes=False)
    apart = (link for link in links if link.host_a != link.host_b and (not at or at in {link.host_a, link.host_b}))
    return place_on_link(fleet, next(apart))


async def first_cube(witness: Witness, *, within: float) -> str:
    """Give the cube of the first slice of the first gang, which the scheduler chose, once all pods of both run."""
    async with asyncio.timeout(within):
        while not _all_run(witness):  # noqa: ASYNC110 (what is waited for is on a server)
            await asyncio.sleep(LOOK)
    return min(witness.cubes(HURT)["0"])


def _all_run(witness: Witness) -> bool:
    pods = {gang: witness.of(gang) for gang in PODS}
    return {gang: len(found) for gang, found in pods.items()} == PODS and all(
        pod["status"].get("phase") == "Running" for found in pods.values() for pod in found
    )


def all_train(shown: dict[str, Any]) -> bool:
    """Whether a ``Fleet`` of docs/api.md shows both gangs at speed."""
    gangs = [gang for cluster in shown.get("clusters", ()) for gang in cluster["gangs"]]
    full = 0.5 * Program().rate
    return len(gangs) == len(PODS) and all(gang["progress"] and (gang["progress"]["rate"] or 0) >= full for gang in gangs)
