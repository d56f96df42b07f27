"""Silences as people make and end them over HTTP, as the next leader finds them, and as deciding obeys them."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sliceward.daemons.coordinator import silencing
from sliceward.daemons.coordinator.metrics import Figures
from sliceward.daemons.coordinator.settings import TokenSettings
from sliceward.daemons.settings import Secret
from sliceward.detectors.finding import Kind, State
from sliceward.playbooks.silences import Matches, Once, Window
from sliceward.topology.errors import Retry
from tests.daemons.coordinator.bench import BEGIN, a_bench
from tests.daemons.coordinator.test_api import OPERATE, VIEW, calling, documented, world
from tests.daemons.coordinator.test_whole_incident import PART, some_rounds

if TYPE_CHECKING:
    from tests.daemons.coordinator.bench import World
    from tests.daemons.coordinator.test_api import Caller

__all__ = ["world"]
HOST = PART.host
AFTER_ALL = base64.urlsafe_b64encode(b"9" * 40).decode().rstrip("=")
ASKED: dict[str, Any] = {"reason": "new optics", "matches": {"hosts": [HOST]}, "for": "2h"}


async def silence(caller: Caller, **more: object) -> dict[str, Any]:
    status, body = await caller.post("/api/v1/silences", ASKED | more)
    assert status == 200, body
    return dict(body)


async def test_a_silence_holds_what_deciding_would_do_and_gives_it_free_when_it_is_ended(world: World) -> None:
    world.tell(world.finding(PART, Kind.CHIP_LOST))
    async with calling(world) as caller:
        made = await silence(caller)
        assert made["covers"] == {"hosts": 1}
        assert (made["state"], made["by"], made["why"]) == ("active", "local", "new optics")
        await some_rounds(caller.bench, 6)
        (incident,) = await caller.rows("incidents")
        assert (incident["phase"], incident["silenced"]) == ("held", incident["why"])
        assert f"silenced by {made['id']} of local until 2026-11-22 14:00 UTC: new optics" == incident["why"]
        _, status = await caller.get("/api/v1/status")
        assert (status["silences"], status["silenced_incidents"]) == (1, 1)
        shown = {metric.name: metric.samples for metric in Figures(caller.bench.coordinator).collect()}
        assert [shown[name][0].value for name in ("sliceward_silences", "sliceward_silenced_incidents")] == [1, 1]
        code, ended = await caller.post(f"/api/v1/silences/{made['id']}/end", {"reason": "done early"})
        assert (code, ended["state"], ended["ended_by"], ended["ended_why"]) == (200, "ended", "local", "done early")
        await some_rounds(caller.bench, 2)
        (incident,) = await caller.rows("incidents")
        assert (incident["phase"], incident["silenced"]) == ("repairing", None)
        code, _ = await caller.post(f"/api/v1/silences/{made['id']}/end", {"reason": "again"})
        assert code == 409
    assert [page.event.value for page in world.pager.pages] == ["trigger"], "the page waited for the end"


async def test_the_story_and_the_audit_tell_who_silenced_what_and_why(world: World) -> None:
    async with calling(world) as caller:
        made = await silence(caller)
        await caller.post(f"/api/v1/silences/{made['id']}/end", {"reason": "done"})
        lines = [dict(row) for row in (await caller.bench.coordinator.store.history.entries()).items]
        assert [line["kind"] for line in lines] == ["silenced", "silence-ended"]
        assert f"hosts {HOST}" in lines[0]["text"]
        assert lines[1]["facts"]["silence"] == made["id"]
        audit = [(row["what"], row["about"], row["reason"]) for row in await caller.rows("audit")]
    assert audit == [("silence", f"hosts {HOST}", "new optics"), ("end-silence", made["id"], "done")]


async def test_the_next_leader_finds_silences_and_they_run_out_by_themselves(world: World) -> None:
    world.tell(world.finding(PART, Kind.CHIP_LOST))
    async with calling(world) as caller:
        await silence(caller)
        await some_rounds(caller.bench, 5)
    async with calling(world) as caller:
        await some_rounds(caller.bench, 5)
        (incident,) = await caller.rows("incidents")
        assert incident["phase"] == "held"
        world.clock.pass_(2 * 3600)
        world.tell(world.finding(PART, Kind.CHIP_LOST))
        await some_rounds(caller.bench, 2)
        (incident,) = await caller.rows("incidents")
        assert (incident["phase"], incident["silenced"]) == ("repairing", None)


async def test_what_resolves_in_a_silence_closes_without_a_page(world: World) -> None:
    world.tell(world.finding(PART, Kind.CHIP_LOST))
    async with calling(world) as caller:
        await silence(caller)
        await some_rounds(caller.bench, 5)
        world.clock.pass_(600)
        world.tell(world.finding(PART, Kind.CHIP_LOST, State.RESOLVED))
        for _ in range(3):
            await caller.bench.round()
        (incident,) = await caller.rows("incidents")
        assert incident["how"] == "resolved-itself"
    assert world.pager.pages == []


async def test_a_maintenance_window_holds_and_is_listed_with_its_next_occurrence(world: World) -> None:
    window = Window("power", Matches(hosts=(HOST,)), "power work", Once(BEGIN, BEGIN + timedelta(hours=1)))
    world.windows = (window,)
    world.tell(world.finding(PART, Kind.CHIP_LOST))
    async with calling(world) as caller:
        await some_rounds(caller.bench, 5)
        (incident,) = await caller.rows("incidents")
        assert incident["why"] == "silenced by window power until 2026-11-22 13:00 UTC: power work"
        (row,) = await caller.rows("windows")
        assert (row["id"], row["state"], row["by"]) == ("window/power", "active", "configuration")
        assert documented()["Silence"] <= row.keys()
        code, body = await caller.post("/api/v1/silences/window%2Fpower/end", {"reason": "x"})
        assert (code, "configuration" in body["error"]["why"]) == (409, True)


async def test_they_are_listed_by_state_and_page_by_page(world: World) -> None:
    async with calling(world) as caller:
        now = await silence(caller)
        assert documented()["Silence"] <= now.keys()
        later = await silence(caller, **{"from": (BEGIN + timedelta(hours=1)).isoformat()})
        assert [row["id"] for row in await caller.rows("silences")] == [now["id"], later["id"]]
        assert [row["id"] for row in await caller.rows("silences?state=pending")] == [later["id"]]
        _, first = await caller.get("/api/v1/silences?limit=1")
        _, second = await caller.get(f"/api/v1/silences?limit=1&after={first['next']}")
        assert [row["id"] for row in (*first["items"], *second["items"])] == [now["id"], later["id"]]
        assert second["next"] is None


@pytest.mark.parametrize("query", ["state=odd", "colour=red", "after=eHl6", f"after={AFTER_ALL}", "limit=0"])
async def test_a_list_that_cannot_be_given_is_refused(world: World, query: str) -> None:
    async with calling(world) as caller:
        assert (await caller.get(f"/api/v1/silences?{query}"))[0] == 400


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"matches": {}}, 400, "matches: names nothing"),
        ({"matches": {"hosts": ["a b"]}}, 400, "matches.hosts.0"),
        ({"matches": {"hosts": ["ü"]}}, 400, "matches.hosts.0"),
        ({"matches": {"hosts": ["x" * 600]}}, 400, "matches.hosts.0"),
        ({"matches": {"hosts": ["x"] * 100}}, 400, "matches.hosts"),
        ({"matches": {"pods": ["x"]}}, 400, "matches.pods"),
        ({"matches": {"hosts": "x"}}, 400, "matches.hosts"),
        ({"colour": "red"}, 400, "colour"),
        ({"for": "2 hours"}, 400, "for: '2 hours' is no duration"),
        ({"for": 7200}, 400, "for"),
        ({"for": "9" * 400 + "d"}, 400, "for"),
        ({"for": "0s"}, 409, "over before it begins"),
        ({"for": "31d"}, 409, "longer than 30 days"),
        ({"for": "9999999d"}, 409, "after the end of all calendars"),
        ({"until": "2027-01-01T00:00:00Z"}, 400, "either until or for"),
        ({"for": None}, 400, "either until or for"),
        ({"for": None, "until": "2026-11-22T14:00:00"}, 400, "until"),
        ({"for": None, "until": "2026-11-22T11:00:00Z"}, 409, "over before it begins"),
        ({"reason": ""}, 400, "a reason is needed"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_what_cannot_be_a_silence_is_refused_with_where_and_why(
    world: World, change: dict[str, Any], status: int, said: str
) -> None:
    asked = {key: value for key, value in (ASKED | change).items() if value is not None}
    async with calling(world) as caller:
        code, body = await caller.post("/api/v1/silences", asked)
        assert (code, said in body["error"]["why"]) == (status, True), body
        assert await caller.rows("silences") == []


async def test_there_is_a_most_of_silences(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silencing, "MOST", 2)
    async with calling(world) as caller:
        for minutes in (1, 2):
            await silence(caller, **{"for": f"{minutes}m"})
        assert (await caller.post("/api/v1/silences", ASKED))[0] == 409
        world.clock.pass_(61)
        await silence(caller)


async def test_who_may_only_view_may_not_silence(world: World) -> None:
    tokens = [
        TokenSettings(name=role, role=role, token=Secret(value=value))  # type: ignore[arg-type]  # a literal from a table
        for role, value in (("view", VIEW), ("operate", OPERATE))
    ]
    async with calling(world, *tokens) as caller:
        assert (await caller.post("/api/v1/silences", ASKED, token=VIEW))[0] == 403
        code, made = await caller.post("/api/v1/silences", ASKED, token=OPERATE)
        assert (code, made["by"]) == (200, "operate")
        assert (await caller.post(f"/api/v1/silences/{made['id']}/end", {"reason": "x"}, token=VIEW))[0] == 403
        assert (await caller.get("/api/v1/silences", token=VIEW))[0] == 200


async def test_what_is_not_there_cannot_be_ended(world: World) -> None:
    async with calling(world) as caller:
        assert (await caller.post("/api/v1/silences/sil-none/end", {"reason": "x"}))[0] == 404


async def test_while_the_store_is_away_nothing_is_silenced(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with calling(world) as caller:
        coordinator = caller.bench.coordinator

        async def away(_silence: object) -> None:
            raise Retry("the store did not answer")

        monkeypatch.setattr(coordinator.store.silences, "add", away)
        assert (await caller.post("/api/v1/silences", ASKED))[0] == 503
        assert coordinator.silencing.present(world.clock()) == ()


async def test_a_silence_that_cannot_be_read_is_shown_and_the_others_hold(world: World) -> None:
    async with a_bench(world) as bench:
        made = await bench.coordinator.silencing.add(
            Matches(hosts=("a",)), world.clock(), world.clock() + timedelta(hours=1), by="ada", why="x"
        )
        other = await bench.coordinator.silencing.add(
            Matches(hosts=("b",)), world.clock(), world.clock() + timedelta(hours=1), by="ada", why="x"
        )
        async with bench.coordinator.store._fenced() as connection:  # noqa: SLF001 (a row that is spoiled)
            await connection.exec_driver_sql(f"UPDATE silences SET body = 'x' WHERE id = '{made.id}'")  # noqa: S608 (as above)
    async with a_bench(world) as bench:
        assert [one.id for one in bench.coordinator.silencing.active(world.clock())] == [other.id]
        assert f"silence {made.id}" in bench.coordinator.deciding.loop.set_aside
