"""Two replicas of the coordinator heal a sick link while the lead changes: its holder is killed, the next frozen, the next told to end.

They are as deployed: service accounts, broker users, TLS, PostgreSQL, and the Lease as it is shipped.
"""

from __future__ import annotations

import asyncio
import signal
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import asyncpg

from tests.flows.real.changes import Changes
from tests.flows.real.fleet import LOOK, PATIENCE, a_real_fleet
from tests.flows.real.healing import strike

if TYPE_CHECKING:
    from pathlib import Path

    from tests.flows.real.fleet import RealFleet

WITHIN = timedelta(seconds=15)
"""After the death of the first, the second acts."""


async def in_store(fleet: RealFleet, what: str, *given: object) -> Any:  # noqa: ANN401 (any column)
    """Give one column of what the store holds."""
    connection = await asyncpg.connect(fleet.doors.store)
    try:
        return [row[0] for row in await connection.fetch(what, *given)]
    finally:
        await connection.close()


async def first_line_after(fleet: RealFleet, death: datetime) -> datetime:
    """Give when whoever came after the one who died then first wrote something: what its first calls answered, if not before."""
    later = "SELECT min(at) FROM journal WHERE epoch > (SELECT max(epoch) FROM journal WHERE at <= $1)"
    async with asyncio.timeout(PATIENCE):
        while (written := (await in_store(fleet, later, death.strftime("%Y-%m-%dT%H:%M:%S.%fZ")))[0]) is None:  # noqa: ASYNC110 (what is waited for is in a store)
            await asyncio.sleep(LOOK)
    return datetime.fromisoformat(written)


async def test_a_gang_is_moved_once_while_the_lead_passes_from_the_killed_to_the_frozen_to_who_must_end(
    tmp_path: Path, kubectl: str
) -> None:
    gate = Changes(kills="PATCH nodes taints mark", freezes="PATCH jobsets suspend true")
    async with a_real_fleet(tmp_path, kubectl, gate=gate) as fleet:
        leader, other = await fleet.leader()
        ready = await fleet.until_told("/readyz", bool, "whoever stands by is ready", of=other)
        assert ready["ok"]
        await fleet.leads(leader, of=other)
        healing = await strike(fleet, "link-degraded")

        # Killed, about to take the first host out of service: the other does.
        await healing.marked()
        (blow,) = gate.blows
        assert timedelta(0) < await first_line_after(fleet, blow.at) - blow.at < WITHIN

        # Frozen, about to suspend the gang: the other does, and what the frozen one wakes up with is refused.
        await fleet.until(lambda: gate.frozen, "one is frozen")
        assert gate.frozen is not None
        frozen = gate.frozen.victim
        assert frozen is not None
        other = next(one for one in fleet.coordinators if one is not frozen)
        await fleet.until(lambda: gate.passed.count(gate.late[0]) == 1, "the gang is suspended by the other")
        gate.let_go()
        await fleet.until(lambda: frozen.said(" is over: "), "what it wrote is refused")
        gate.hears()
        await fleet.until(lambda: frozen.said("stands by again"), "it stands by")
        assert (gate.more, gate.passed.count(gate.late[0])) == ([], 1), (
            "it asked for nothing more, and what it had asked for came too late"
        )
        await fleet.leads(other, of=frozen)

        # Told to end: hands over, and nothing is left undone.
        leader, other = await fleet.leader()
        assert leader.process is not None
        leader.send(signal.SIGTERM)
        await fleet.leads(other)
        assert await leader.process.wait() == 0
        healing.check(await healing.healed())
        epochs = await in_store(fleet, "SELECT epoch FROM journal ORDER BY seq")
        assert epochs == sorted(epochs), "who led before writes nothing once another leads"
