"""A host whose kubelet and agent die under a gang, from the silence to the host given back, on real parts at Kubernetes' own pace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sliceward.simulation.controllers.client import NODES
from tests.flows.real.fleet import STRUCK, a_real_fleet
from tests.flows.real.healing import strike
from tests.flows.real.training import HURT

if TYPE_CHECKING:
    from pathlib import Path


async def test_the_gang_leaves_a_dead_host_which_stays_out_until_it_is_repaired_and_proven(tmp_path: Path, kubectl: str) -> None:
    async with a_real_fleet(tmp_path, kubectl) as fleet:
        healing = await strike(fleet, "host-died")
        dead = fleet.host(STRUCK)
        frozen = next(uid for uid, host in healing.hurt.items() if host == dead)
        await healing.marked()
        # Its pod is told to end, and no kubelet hears it: it outlives all others of the gang.
        await fleet.until(lambda: fleet.witness.uids(HURT) == {frozen: dead}, "only the frozen pod is left")
        node = await fleet.world.client.call("GET", NODES.path(name=dead))
        assert node["metadata"]["labels"]["kubelet"] == "dead"
        await fleet.until(lambda: frozen not in fleet.witness.uids(HURT), "the frozen pod is ended")
        assert dead in fleet.witness.marks()
        healing.check(await healing.healed())
