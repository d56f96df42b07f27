"""A sick link is found and healed as ever while all kinds of hostile input come: nobody ends, nothing else is touched, all is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.flows.real.training import HURT, OTHER
from tests.fuzz.hostile import all_hostile
from tests.fuzz.stage import FAULT, a_stage

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fuzz.stage import Stage

Json = dict[str, Any]


async def healed(stage: Stage) -> Json:
    """Wait until the incident is closed, both gangs train and its last page is out; gives its record."""

    def is_over(told: Json) -> bool:
        rows = _of_the_fault(told)
        return bool(rows) and all(row["state"] == "closed" for row in rows)

    told = await stage.until("/api/v1/incidents?limit=500", is_over, "the incident is closed")
    (row,) = _of_the_fault(told)
    await stage.until(
        "/api/v1/pages?limit=500",
        lambda _: "resolve" in stage.receiver.incidents[row["id"]].events,
        "the page is resolved",
    )
    await stage.until("/api/v1/status", lambda _: all(one.stepping for one in stage.world.trainings.values()), "all gangs train")
    return await stage.until(f"/api/v1/incidents/{row['id']}", bool, "the record")


def _of_the_fault(told: Json) -> list[Json]:
    return [row for row in told.get("items", ()) if row["kind"] == FAULT.kind.value and row["how"] != "folded"]


async def test_a_sick_link_is_healed_beside_all_that_is_hostile(tmp_path: Path) -> None:
    async with a_stage(tmp_path) as stage:
        witness = stage.witness
        others, hurt = witness.uids(OTHER), witness.uids(HURT)
        witness.known = frozenset(others | hurt)
        async with all_hostile(stage) as kinds:
            await stage.strike()
            record = await healed(stage)
        sent = {kind.name: kind.sent for kind in kinds}
        assert min(sent.values()) >= 5, sent
        assert (record["kind"], record["part"], record["how"]) == (FAULT.kind.value, str(stage.named), "healed")
        # One incident, and one page about it.
        told = await stage.until("/api/v1/incidents?limit=500", bool, "all incidents")
        assert [row["id"] for row in told["items"] if row["how"] != "folded"] == [record["id"]], told
        assert {one.key: one.events for one in stage.receiver.incidents.values()} == {record["id"]: ["trigger", "resolve"]}
        # The whole cube left service and came back, nothing else did, and no rule was broken on the way.
        assert witness.broken == []
        assert dict(witness.marked) == {host: {record["id"]} for host in stage.hosts}
        assert witness.marks() == {}
        # The gang is elsewhere, whole, and the other one was not touched.
        assert witness.uids(OTHER) == others
        now = witness.uids(HURT)
        assert len(now) == len(hurt)
        assert not now.keys() & hurt.keys()
        assert [len(cubes) for cubes in witness.cubes(HURT).values()] == [1, 1]
        assert not any(stage.cube in cubes for cubes in witness.cubes(HURT).values())
