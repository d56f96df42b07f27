"""The HTTP API: shapes of docs/api.md, roles, errors, pages of lists, events, the webhook table."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from sliceward.daemons.coordinator.alerts import AlertMap, AlertRule
from sliceward.daemons.coordinator.api import Api
from sliceward.daemons.coordinator.settings import TokenSettings
from sliceward.daemons.coordinator.tokens import Tokens
from sliceward.daemons.coordinator.webhook import MOST_BYTES
from sliceward.daemons.serving import serving
from sliceward.daemons.settings import Secret
from sliceward.daemons.store import Unstorable
from sliceward.detectors.finding import Kind, State
from sliceward.playbooks.load import load_book
from sliceward.playbooks.schema import Mode
from sliceward.remediations.catalog import ACTIONS
from sliceward.scheduling.quota import Quota
from sliceward.topology.errors import Retry
from tests.daemons.coordinator.bench import World, a_bench, the_fleet
from tests.daemons.coordinator.test_alerts import a_payload, an_alert
from tests.daemons.coordinator.test_whole_incident import PART, PLAYBOOK, some_rounds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.daemons.coordinator.bench import Bench

DOCS = Path(__file__).parents[3] / "docs" / "api.md"
VIEW, OPERATE, ALERT = "v" * 32, "o" * 32, "a" * 32


@dataclass
class Caller:
    """HTTP to one coordinator."""

    bench: Bench
    session: aiohttp.ClientSession
    base: str

    async def get(self, path: str, *, token: str = "", **more: Any) -> tuple[int, Any]:  # noqa: ANN401 (aiohttp's)
        async with self.session.get(self.base + path, headers=_bearer(token), allow_redirects=False, **more) as answer:
            return answer.status, await answer.json()

    async def post(self, path: str, body: object, *, token: str = "", **headers: str) -> tuple[int, Any]:
        async with self.session.post(
            self.base + path, json=body, headers=_bearer(token) | headers, allow_redirects=False
        ) as answer:
            return answer.status, await answer.json()

    async def rows(self, kind: str) -> list[dict[str, Any]]:
        status, body = await self.get(f"/api/v1/{kind}")
        assert status == 200, body
        return list(body["items"])


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path, actions=ACTIONS, quota=Quota.from_mapping({"default": {"tpu7x": 256}}))
    world.book = load_book({"repair-chip.yaml": PLAYBOOK}, ACTIONS)
    world.alerts = AlertMap(
        defaults={"cluster": "c1"}, rules=[AlertRule(alert="NodeBad", kind=Kind.HOST_LOST, part="{cluster}/host/{node}")]
    )
    world.fill(the_fleet())
    return world


@asynccontextmanager
async def calling(world: World, *tokens: TokenSettings) -> AsyncIterator[Caller]:
    async with a_bench(world) as bench:
        app = Api(bench.coordinator, Tokens(tokens, world.clock.seconds)).application()
        async with serving(app, host="127.0.0.1", port=0) as port, aiohttp.ClientSession() as session:
            yield Caller(bench, session, f"http://127.0.0.1:{port}")
            bench.coordinator.bell.close()


def the_tokens() -> tuple[TokenSettings, ...]:
    return tuple(
        TokenSettings(name=role, role=role, token=Secret(value=value))  # type: ignore[arg-type]  # pydantic checks the roles
        for role, value in (("view", VIEW), ("operate", OPERATE), ("alert", ALERT))
    )


def documented() -> dict[str, set[str]]:
    """Give the fields of each shape that docs/api.md promises."""
    block = DOCS.read_text().split("```")[1]
    shapes: dict[str, set[str]] = {}
    for line in block.splitlines():
        match = re.match(r"^([A-Z][a-z]+)\s+\{(.*)\}", line)
        if match:
            text = match[2]
            while re.search(r"[\[{][^\[\]{}]*[\]}]", text):
                text = re.sub(r"[\[{][^\[\]{}]*[\]}]", "", text)
            shapes[match[1]] = {part.split(":")[0].strip() for part in text.split(",") if part.strip()}
    return shapes


async def test_every_row_has_the_fields_that_the_docs_promise(world: World) -> None:
    world.tell(world.finding(PART, Kind.CHIP_LOST))
    async with calling(world) as caller:
        await some_rounds(caller.bench, 6)
        shapes = documented()
        for kind, shape in {
            "hosts": "Host",
            "cubes": "Cube",
            "slices": "Slice",
            "gangs": "Gang",
            "findings": "Finding",
            "incidents": "Incident",
            "quota": "Quota",
            "pages": "Page",
        }.items():
            rows = await caller.rows(kind)
            assert rows, kind
            assert shapes[shape] <= rows[0].keys(), kind
        _, fleet = await caller.get("/api/v1/fleet")
        cluster = fleet["clusters"][0]
        wanted = {"name", "reachable", "generation", "pods", "cubes", "slices", "gangs", "quota", "links", "problems"}
        assert wanted <= cluster.keys()
        assert shapes["Cube"] <= cluster["cubes"][0].keys()
        assert {"at", "host", "index", "health"} <= cluster["cubes"][0]["chips"][0].keys()
        (row,) = await caller.rows("incidents")
        _, story = await caller.get(f"/api/v1/incidents/{row['id']}")
        assert shapes["Entry"] <= story["timeline"][0].keys()
        assert shapes["Decision"] <= story["decisions"][0].keys()
        assert shapes["Step"] <= story["steps"][0].keys()
        assert shapes["Page"] <= story["pages"][0].keys()
        assert {entry["kind"] for entry in story["timeline"]} >= {"seen", "located", "decided", "step-started", "paged"}
        assert story["decisions"][-1]["outcome"] in {"run", "hold"}


async def test_the_fault_is_on_its_cell_and_the_spare_is_none_any_more(world: World) -> None:
    async with calling(world) as caller:
        await some_rounds(caller.bench, 1)
        assert [cube["name"] for cube in await caller.rows("cubes") if cube["spare"]] == []
        world.tell(world.finding(PART, Kind.CHIP_LOST, State.RESOLVED))
        await caller.bench.settle()
        assert [cube["name"] for cube in await caller.rows("cubes") if cube["spare"]] == ["cube-3"]
        world.tell(world.finding(PART, Kind.CHIP_LOST))
        await caller.bench.settle()
        cubes = {cube["name"]: cube for cube in await caller.rows("cubes")}
        sick = [(chip["host"], chip["index"]) for chip in cubes["cube-3"]["chips"] if chip["health"] != "healthy"]
        assert sick == [(PART.host, PART.index)]
        assert (cubes["cube-3"]["health"], cubes["cube-3"]["spare"]) == ("unhealthy", False)
        assert cubes["cube-0"]["gang"] == "c1/gang/default/JobSet/train"
        gangs = {gang["name"]: gang for gang in await caller.rows("gangs")}
        assert [part["cubes"] for part in gangs["train"]["slices"]] == [["c1/cube/cube-0"], ["c1/cube/cube-1"]]
        assert all(part["whole"] for part in gangs["train"]["slices"])


async def test_without_telemetry_everything_is_unknown_and_nothing_healthy(world: World) -> None:
    async with calling(world) as caller:
        cubes = await caller.rows("cubes")
        assert {cube["health"] for cube in cubes} == {"unknown"}
        assert not any(cube["spare"] for cube in cubes)


async def test_lists_are_given_page_by_page_and_filtered(world: World) -> None:
    async with calling(world) as caller:
        seen, path = [], "/api/v1/hosts?limit=20"
        while path:
            _, body = await caller.get(path)
            assert len(body["items"]) <= 20
            seen += [row["name"] for row in body["items"]]
            path = f"/api/v1/hosts?limit=20&after={body['next']}" if body["next"] else ""
        assert len(seen) == len(set(seen)) == 64
        _, body = await caller.get("/api/v1/hosts?cube=c1/cube/cube-1&in_service=true&limit=500")
        assert len(body["items"]) == 16


BAD_LISTS = ["limit=0", "limit=501", "limit=x", f"limit={'1' * 5000}", "after=%%%", "after=_w", "colour=red"]


@pytest.mark.parametrize("query", BAD_LISTS)
@pytest.mark.parametrize("kind", ["hosts", "incidents", "pages"])
async def test_a_bad_query_is_told_and_not_guessed(world: World, kind: str, query: str) -> None:
    async with calling(world) as caller:
        status, body = await caller.get(f"/api/v1/{kind}?{query}")
        assert status == 400, body
        assert body["error"]["why"]


@pytest.mark.parametrize("kind", ["pages", "audit", "alerts"])
async def test_a_cursor_that_no_store_counts_to_is_told(world: World, kind: str) -> None:
    far = base64.urlsafe_b64encode(b"9" * 40).decode().rstrip("=")
    async with calling(world) as caller:
        assert (await caller.get(f"/api/v1/{kind}?after={far}"))[0] == 400
        assert (await caller.get(f"/api/v1/events?after={'9' * 40}"))[0] == 400


ROLES = [
    ("GET", "/api/v1/status", "", 401),
    ("GET", "/api/v1/status", "x" * 32, 401),
    ("GET", "/api/v1/status", VIEW, 200),
    ("GET", "/api/v1/status", OPERATE, 200),
    ("GET", "/api/v1/status", ALERT, 403),
    ("POST", "/api/v1/pause", VIEW, 403),
    ("POST", "/api/v1/pause", OPERATE, 200),
    ("POST", "/v1/webhooks/alertmanager/main", "", 401),
    ("POST", "/v1/webhooks/alertmanager/main", VIEW, 403),
    ("POST", "/v1/webhooks/alertmanager/main", ALERT, 400),
    ("GET", "/healthz", "", 200),
]


@pytest.mark.parametrize(("method", "path", "token", "wanted"), ROLES)
async def test_roles(world: World, method: str, path: str, token: str, wanted: int) -> None:
    async with calling(world, *the_tokens()) as caller:
        call = caller.get(path, token=token) if method == "GET" else caller.post(path, {"reason": "test"}, token=token)
        assert (await call)[0] == wanted


async def test_changes_need_a_reason_and_are_audited(world: World) -> None:
    world.book = load_book({"repair-chip.yaml": PLAYBOOK}, ACTIONS, modes=Mode.APPROVE)
    world.tell(world.finding(PART, Kind.CHIP_LOST))
    async with calling(world, *the_tokens()) as caller:
        await some_rounds(caller.bench, 5)
        _, body = await caller.get("/api/v1/incidents?state=open", token=VIEW)
        (row,) = body["items"]
        assert row["needs"] == "approval"
        path = f"/api/v1/incidents/{row['id']}"
        assert (await caller.post(f"{path}/approve", {}, token=OPERATE))[0] == 400
        status, changed = await caller.post(f"{path}/approve", {"reason": "go on"}, token=OPERATE)
        assert (status, changed["approved_by"]) == (200, "operate")
        status, body = await caller.post(f"{path}/approve", {"reason": "again"}, token=OPERATE)
        assert (status, body["error"]["code"]) == (409, "Refused")
        assert (await caller.post("/api/v1/incidents/inc-none/abort", {"reason": "x"}, token=OPERATE))[0] == 404
        _, body = await caller.get("/api/v1/audit", token=VIEW)
        assert [(one["who"], one["what"], one["reason"]) for one in body["items"]] == [
            ("operate", "approve", "go on"),
            ("operate", "approve", "again"),
            ("operate", "abort", "x"),
        ]


@pytest.mark.parametrize("name", ["x" * 300, "a%00b"], ids=["long", "NUL"])
@pytest.mark.parametrize("path", ["incidents/{}/approve", "incidents/{}/abort", "silences/{}/end"])
async def test_a_name_that_no_store_takes_is_audited_as_far_as_it_can_be(world: World, path: str, name: str) -> None:
    async with calling(world) as caller:
        status, body = await caller.post("/api/v1/" + path.format(name), {"reason": "why"})
        assert status == 404, body
        ((about,),) = [{one["about"] for one in await caller.rows("audit")}]
        assert "\0" not in about
        assert len(about) <= 255


async def test_what_cannot_be_asked_of_the_store_is_a_bad_request(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As PostgreSQL says it of a NUL."""

    async def never(*_given: object, **_more: object) -> None:
        raise Unstorable("the store cannot keep this: UntranslatableCharacterError")

    async with calling(world) as caller:
        monkeypatch.setattr(caller.bench.coordinator.store, "load", never)
        status, body = await caller.get("/api/v1/incidents/a%00b")
        assert (status, body["error"]["code"]) == (400, "BadRequest")


async def test_pause_is_shown_told_and_undone(world: World) -> None:
    async with calling(world) as caller:
        _, status = await caller.post("/api/v1/pause", {"reason": "storm"})
        assert (status["paused"], status["why_paused"]) == (True, "local: storm")
        _, status = await caller.post("/api/v1/resume", {"reason": "over"})
        assert status["paused"] is False


@pytest.mark.parametrize("bad", ["\0", "\ud800"], ids=["NUL", "half a surrogate pair"])
async def test_a_reason_is_kept_without_what_no_store_takes(world: World, bad: str) -> None:
    async with calling(world) as caller:
        code, status = await caller.post("/api/v1/pause", {"reason": f"st{bad}rm"})
        assert (code, status["why_paused"]) == (200, "local: st\ufffdrm")


async def test_status_and_readiness_name_each_dependency_and_only_the_store_takes_it_out_of_service(world: World) -> None:
    async with calling(world) as caller:
        _, status = await caller.get("/api/v1/status")
        assert {"version", "mode", "paused", "started", "clusters", "store", "broker"} <= status.keys()
        assert {"name", "reachable", "age_seconds"} <= status["clusters"][0].keys()
        code, ready = await caller.get("/readyz")
        assert (code, ready["ok"]) == (200, True)
        assert {need["name"] for need in ready["dependencies"]} == {"store", "cluster c1", "broker c1"}
        world.broker.stop()
        await caller.bench.settle()
        code, ready = await caller.get("/readyz")
        assert (code, ready["ok"]) == (200, True), "people and alerts of all other clusters still need it"
        assert [need["name"] for need in ready["dependencies"] if not need["ok"]] == ["broker c1"]
        caller.bench.coordinator.store._last_ok -= 1000  # noqa: SLF001 (its age is in real seconds)
        assert (await caller.get("/readyz"))[0] == 503
        assert (await caller.get("/healthz"))[0] == 200
        loops = await caller.rows("loops")
        assert {loop["name"] for loop in loops} == {"alerts", "deciding", "outbox", "sweep", "vigil"}


async def test_an_unknown_path_and_a_wrong_method_are_json_too(world: World) -> None:
    async with calling(world) as caller:
        status, body = await caller.get("/api/v1/nonsense")
        assert (status, body["error"]["code"]) == (404, "NotFound")
        status, body = await caller.post("/api/v1/fleet", {})
        assert (status, body["error"]["code"]) == (405, "MethodNotAllowed")


async def test_answers_carry_headers_that_keep_browsers_safe(world: World) -> None:
    async with calling(world) as caller, caller.session.get(caller.base + "/") as answer:
        assert answer.status == 200
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.content_type == "text/html"


async def test_no_file_outside_the_page_is_served(world: World) -> None:
    async with calling(world) as caller:
        for path in ("/../api.py", "/%2e%2e/settings.py", "/js/../../settings.py"):
            async with caller.session.get(caller.base + path) as answer:
                assert answer.status in {403, 404}, path


# ── events ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _events(answer: aiohttp.ClientResponse, count: int) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    block: dict[str, str] = {}
    while len(found) < count:
        line = (await asyncio.wait_for(answer.content.readline(), 30)).decode().rstrip("\n")
        name, _, value = line.partition(": ")
        if line and name:
            block[name] = value
        elif not line and block.get("event"):
            found.append(block)
            block = {}
    return found


async def test_events_go_on_where_a_client_stopped(world: World) -> None:
    async with calling(world) as caller:
        await caller.post("/api/v1/pause", {"reason": "one"})
        async with caller.session.get(caller.base + "/api/v1/events?after=0") as answer:
            (first,) = await _events(answer, 1)
            assert (first["event"], json.loads(first["data"])["kind"]) == ("entry", "paused")
            await caller.post("/api/v1/resume", {"reason": "two"})
            later = await _events(answer, 2)
            assert {one["event"] for one in later} == {"entry", "fleet"}
            resumed = next(one for one in later if one["event"] == "entry")
        headers = {"Last-Event-ID": first["id"]}
        async with caller.session.get(caller.base + "/api/v1/events", headers=headers) as answer:
            (again,) = await _events(answer, 1)
            assert again["id"] == resumed["id"]
        assert (await caller.get("/api/v1/events?after=x"))[0] == 400


# ── the webhook ───────────────────────────────────────────────────────────────────────────────────────────────────────

HOOK = "/v1/webhooks/alertmanager/main"


async def _post(caller: Caller, body: bytes, path: str = HOOK, kind: str = "application/json") -> tuple[int, Any]:
    async with caller.session.post(
        caller.base + path, data=body, headers={"Content-Type": kind}, allow_redirects=False
    ) as answer:
        assert answer.status < 300 or answer.status >= 400, "Alertmanager follows redirects with an empty GET"
        assert answer.status != 429, "Alertmanager never retries 429"
        return answer.status, await answer.json()


WEBHOOK = {
    "good": (a_payload(an_alert()), HOOK, "application/json", 200),
    "with a slash": (a_payload(an_alert()), HOOK + "/", "application/json", 200),
    "with a charset": (a_payload(an_alert()), HOOK, "application/json; charset=utf-8", 200),
    "no json": (b"{", HOOK, "application/json", 400),
    "another version": (b'{"version":"3","alerts":[]}', HOOK, "application/json", 400),
    "another type": (a_payload(an_alert()), HOOK, "text/plain", 415),
    "bad name": (a_payload(an_alert()), "/v1/webhooks/alertmanager/..%2fx", "application/json", 404),
}


@pytest.mark.parametrize("name", WEBHOOK)
async def test_webhook(world: World, name: str) -> None:
    body, path, kind, wanted = WEBHOOK[name]
    async with calling(world) as caller:
        assert (await _post(caller, body, path, kind))[0] == wanted


def _counted(caller: Caller) -> dict[tuple[str, str], float]:
    (family,) = caller.bench.coordinator.webhooks.collect()
    samples = [sample for sample in family.samples if sample.name.endswith("_total")]
    return {(sample.labels["receiver"], sample.labels["code"]): sample.value for sample in samples}


async def test_each_refused_post_is_counted_wherever_it_is_refused(world: World) -> None:
    async with calling(world, *the_tokens()) as caller:
        for headers in ({}, _bearer("x" * 32), _bearer(VIEW), _bearer(ALERT)):
            async with caller.session.post(caller.base + HOOK, data=a_payload(an_alert()), headers=headers):
                pass
        assert _counted(caller) == {("", "401"): 2, ("", "403"): 1, ("main", "415"): 1}
        # A name that somebody with a token showed is known from then on; one that nobody did is no series.
        for name in ("main", "invented"):
            async with caller.session.post(f"{caller.base}/v1/webhooks/alertmanager/{name}", data=b""):
                pass
        async with caller.session.post(f"{caller.base}/v1/webhooks/elsewhere", headers=_bearer(ALERT)) as answer:
            assert answer.status == 404
        assert _counted(caller) == {("", "401"): 3, ("", "403"): 1, ("main", "415"): 1, ("main", "401"): 1, ("", "404"): 1}


async def test_a_post_that_is_too_large_is_refused_before_it_is_read(world: World) -> None:
    async with calling(world) as caller:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(caller.base.rpartition(":")[2]))
        head = f"POST {HOOK} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {MOST_BYTES + 1}\r\n\r\n"
        writer.write(head.encode())
        line = await asyncio.wait_for(reader.readline(), 30)
        writer.close()
        assert b" 413 " in line


async def test_a_group_sent_again_is_a_duplicate_and_its_end_is_news(world: World) -> None:
    async with calling(world) as caller:
        assert await _post(caller, a_payload(an_alert())) == (200, {"accepted": 1, "duplicate": 0})
        assert await _post(caller, a_payload(an_alert())) == (200, {"accepted": 0, "duplicate": 1})
        gone = an_alert(status="resolved", endsAt="2026-11-22T12:10:00Z")
        assert await _post(caller, a_payload(gone)) == (200, {"accepted": 1, "duplicate": 0})


async def test_a_store_that_is_away_is_told_with_503_so_that_the_sender_comes_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with calling(world) as caller:

        async def away(*_: object, **__: object) -> None:
            raise Retry("the disk is full")

        monkeypatch.setattr(caller.bench.coordinator.store.inbox, "put", away)
        async with caller.session.post(caller.base + HOOK, json=json.loads(a_payload(an_alert()))) as answer:
            assert answer.status == 503
            assert int(answer.headers["Retry-After"]) > 0


async def test_a_mapped_alert_opens_an_incident_and_an_unmapped_one_is_only_shown(world: World) -> None:
    bad = an_alert(labels={"alertname": "NodeBad", "node": "cube-3-host-01"}, fingerprint="01")
    async with calling(world) as caller:
        await _post(caller, a_payload(bad, an_alert(fingerprint="02")))
        await caller.bench.round()
        alerts = {row["alertname"]: row for row in await caller.rows("alerts")}
        assert alerts["NodeBad"]["finding"] is not None
        assert alerts["LinkErrors"]["finding"] is None
        assert "no rule" in alerts["LinkErrors"]["why"]
        (finding,) = await caller.rows("findings")
        assert (finding["kind"], finding["source"]) == ("HostLost", "alert/main")
        (incident,) = await caller.rows("incidents")
        assert incident["part"] == "c1/host/cube-3-host-01"


async def test_an_alert_survives_a_restart(world: World) -> None:
    bad = an_alert(labels={"alertname": "NodeBad", "node": "cube-3-host-01"})
    async with calling(world) as caller:
        await _post(caller, a_payload(bad))
    async with calling(world) as caller:
        assert len(await caller.rows("findings")) == 1


async def test_metrics_count_posts_by_code(world: World) -> None:
    async with calling(world) as caller:
        await _post(caller, b"{")
        async with caller.session.get(caller.base + "/metrics") as answer:
            text = await answer.text()
        assert 'sliceward_webhook_requests_total{code="400",receiver="main"} 1.0' in text
        assert 'sliceward_loop_age_seconds{loop="deciding"}' in text
