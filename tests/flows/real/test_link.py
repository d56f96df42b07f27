"""An ICI link inside a cube of a gang of two one-cube slices, from the sick link to the cube given back, on real parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.flows.real.fleet import a_real_fleet
from tests.flows.real.healing import strike

if TYPE_CHECKING:
    from pathlib import Path


async def test_the_gang_leaves_the_cube_of_a_sick_link_and_the_cube_comes_back(tmp_path: Path, kubectl: str) -> None:
    async with a_real_fleet(tmp_path, kubectl) as fleet:
        healing = await strike(fleet, "link-degraded")
        await healing.marked()
        healing.check(await healing.healed())
