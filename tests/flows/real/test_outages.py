"""Both ways to heal with everything away once in the middle, and a new leader: the end must be the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.flows.real.fleet import Pace, a_real_fleet
from tests.flows.real.healing import strike

if TYPE_CHECKING:
    from pathlib import Path

    from tests.flows.real.fleet import RealFleet

PATIENT = Pace(node_grace=20, silence="45s")
"""Agents find a broker that is back within 30 s, and are not lost before."""


async def unhealed(fleet: RealFleet) -> None:
    """Say that what is taken away now is taken away in the middle: an incident is open, and hosts are out of service."""
    told = await fleet.until_told("/api/v1/incidents?state=open&limit=500", bool, "the API answers")
    assert told["items"]
    assert fleet.witness.marks()


@pytest.mark.parametrize("fault", ["link-degraded", "host-died"])
async def test_it_heals_the_same_through_a_change_of_leaders_and_every_outage(fault: str, tmp_path: Path, kubectl: str) -> None:
    async with a_real_fleet(tmp_path, kubectl, pace=PATIENT) as fleet:
        healing = await strike(fleet, fault)
        await healing.marked()
        paused = await fleet.change_of_leaders()
        await unhealed(fleet)
        watching = await fleet.watching()
        await fleet.without(fleet.api_server)
        await fleet.were_told_410(watching)
        await unhealed(fleet)
        await fleet.watcher.kill()
        await fleet.without(fleet.broker)
        await fleet.watcher.start()
        await unhealed(fleet)
        await fleet.without(fleet.database)
        healing.check(await healing.healed())
        assert paused.alive
