"""A real Alertmanager delivers ten thousand alerts to a coordinator that is killed five times while they come in.

Store, control plane, broker and Alertmanager are real, the coordinator is a process of its own with the service account and the user of
the broker that are deployed. What it had processed before a
kill is read from the store at that moment, and must stand there unchanged in the end.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import yaml
from sqlalchemy import text

from sliceward.daemons.manifests.install import COORDINATOR_USER
from sliceward.daemons.store.connect import database
from sliceward.simulation.controllers.client import NODES, connect
from sliceward.simulation.receiver import running_receiver
from sliceward.simulation.world import furnish
from sliceward.topology.ids import ChipId, HostId
from sliceward.topology.names import NAMES
from tests.builders import a_fleet
from tests.daemons.manifests.deployed import an_install, broker_as_deployed, kubeconfigs_as_deployed
from tests.services import servers
from tests.services.processes import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from sliceward.daemons.store.connect import Database
    from sliceward.simulation.controllers.client import Client
    from sliceward.simulation.receiver import Receiver
    from tests.services.servers import Service

ROOT = Path(__file__).parents[2]
CLUSTER = "called"
PLAN = a_fleet(CLUSTER, "tpu-v6e-slice").with_pools("4x4", 4).plan
PATIENCE = 120.0
ALERTS, KILLS, GROUPS = 10_000, 5, 50
BATCH = ALERTS // KILLS
DOWN = ("pool-0-host-01", "pool-2-host-03")
"""Hosts that an alert calls lost: each takes its own pool out of service."""
SLOW = [(f"pool-3-host-{host:02}", chip) for host in range(4) for chip in range(4)]
TOKENS = {"alert": "a-token-of-the-alertmanager", "view": "a-token-that-looks"}
SECRET = "whsec_YS1zZWNyZXQtb2YtYS10ZXN0LXJlY2VpdmVyLTAxMjM="  # noqa: S105 (of a receiver in the test)
MAP = {
    "defaults": {"cluster": CLUSTER},
    "rules": [
        {"alert": "TPUHostDown", "kind": "HostLost", "part": "{cluster}/host/{node}", "severity": "critical"},
        {"alert": "TPUChipSlow", "kind": "ChipThrottled", "part": "{cluster}/chip/{node}/{chip}", "severity": "warning"},
    ],
}
CONFIG = """
route: {{receiver: sliceward, group_by: [rack], group_wait: 50ms, group_interval: 1s, repeat_interval: 4h}}
receivers:
- name: sliceward
  webhook_configs:
  - url: {url}/v1/webhooks/alertmanager/main
    http_config: {{authorization: {{credentials: {token}}}}}
"""


def an_alert(number: int) -> dict[str, Any]:
    """Give the alert of this number: a few are mapped, spread over all batches, the others are not."""
    labels = {"alertname": "DiskFull", "disk": f"disk-{number}", "rack": f"rack-{number % GROUPS}"}
    if number % (ALERTS // len(DOWN)) == 700:
        labels |= {"alertname": "TPUHostDown", "node": DOWN[number // (ALERTS // len(DOWN))]}
    elif number % (ALERTS // len(SLOW)) == 300:
        node, chip = SLOW[number // (ALERTS // len(SLOW))]
        labels |= {"alertname": "TPUChipSlow", "node": node, "chip": str(chip)}
    return {"labels": labels, "annotations": {"summary": f"alert {number}"}, "startsAt": BEGIN.isoformat()}


BEGIN = datetime.now(UTC).replace(microsecond=0)


@dataclass(eq=False)
class Scene:
    """The coordinator that lives now, and what outlives it."""

    folder: Path
    environ: dict[str, str]
    port: int
    session: aiohttp.ClientSession
    store: Database
    cluster: Client
    receiver: Receiver
    process: asyncio.subprocess.Process | None = None
    kept: dict[int, tuple[object, ...]] = field(default_factory=dict)

    async def live(self) -> None:
        """Start the coordinator."""
        with (self.folder / "coordinator.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "sliceward.daemons.cli", "coordinator", "--config", str(self.folder / "coordinator.yaml"),
                env=self.environ, stdout=log, stderr=log, cwd=self.folder,
            )  # fmt: skip

    async def die(self) -> None:
        """Kill it as the kernel does, and note what it had processed until then."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        for row in await self.rows("SELECT seq, processed, why FROM inbox WHERE processed IS NOT NULL"):
            assert self.kept.setdefault(row[0], row) == row

    async def rows(self, query: str) -> Sequence[tuple[Any, ...]]:
        async with self.store.reading() as connection:
            return [tuple(row) for row in (await connection.execute(text(query))).all()]

    async def number(self, query: str) -> int:
        ((found,),) = await self.rows(query)
        return int(found)

    async def ask(self, path: str) -> Any:  # noqa: ANN401 (any JSON)
        """Give what the coordinator answers, None where it does not."""
        headers = {"Authorization": f"Bearer {TOKENS['view']}"}
        try:
            async with self.session.get(f"http://127.0.0.1:{self.port}{path}", headers=headers) as answer:
                return await answer.json() if answer.status == 200 else None
        except (aiohttp.ClientError, TimeoutError):
            return None

    async def until(self, question: Callable[[], Awaitable[bool]], what: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                while not await question():
                    assert self.process is not None
                    assert self.process.returncode is None
                    await asyncio.sleep(0.1)
        except (TimeoutError, AssertionError):
            log = (self.folder / "coordinator.log").read_text(encoding="utf-8")[-3000:]
            pytest.fail(f"never came: {what}\n{log}", pytrace=False)

    async def marked(self) -> set[str]:
        """Give the hosts that carry a mark of ours."""
        nodes = (await self.cluster.call("GET", NODES.path()))["items"]
        keys = {node["metadata"]["name"]: {taint["key"] for taint in node["spec"].get("taints", ())} for node in nodes}
        return {name for name, there in keys.items() if NAMES.out_of_service in there}

    async def listed(self, path: str) -> list[Mapping[str, Any]]:
        """Give all rows of a list of the API, page after page."""
        found: list[Mapping[str, Any]] = []
        cursor = ""
        while True:
            page = await self.ask(f"{path}limit=500{cursor}")
            found += page["items"]
            if not page["next"]:
                return found
            cursor = f"&after={page['next']}"


@asynccontextmanager
async def a_scene(folder: Path, store: str, kubectl: str) -> AsyncIterator[Scene]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("SLICEWARD_")}
    (folder / "cluster").mkdir()
    async with AsyncExitStack() as stack:
        admin = stack.enter_context(servers.control_plane(folder / "cluster"))
        cluster = await stack.enter_async_context(connect(admin))
        await furnish(cluster, PLAN)
        kubeconfig = kubeconfigs_as_deployed(an_install(cluster=CLUSTER), admin, kubectl, folder)["coordinator"]
        receiver = await stack.enter_async_context(running_receiver(SECRET))
        (folder / "map.yaml").write_text(yaml.safe_dump(MAP), encoding="utf-8")
        broker = stack.enter_context(broker_as_deployed(folder / "broker", cluster=CLUSTER, nodes=[]))
        user = {"username": COORDINATOR_USER, "password": {"env": "BROKER_PASSWORD"}, "ca_file": str(broker.ca)}
        port = free_port()
        config = {
            "clusters": [{"name": CLUSTER, "broker": {"url": broker.url} | user, "kubeconfig": str(kubeconfig)}],
            "store": {"url": store},
            "api": {
                "port": port,
                "tokens": [{"name": role, "role": role, "token": {"env": f"TOKEN_{role.upper()}"}} for role in TOKENS],
            },
            "alerts": {"map": str(folder / "map.yaml")},
            "playbooks": {"modes": {"host-or-chip-lost": "Enforce"}},
            "pagers": [{"name": "receiver", "kind": "webhook", "url": receiver.url, "secret": {"env": "PAGER_SECRET"}}],
            "pace": {"decide_every": "200ms", "broker_grace": "1s"},
        }
        (folder / "coordinator.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        secrets = {f"TOKEN_{role.upper()}": token for role, token in TOKENS.items()} | {
            "PAGER_SECRET": SECRET,
            "BROKER_PASSWORD": broker.password(COORDINATOR_USER),
        }
        environ = plain | secrets | {"PYTHONPATH": str(ROOT / ".types")}
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)))
        opened = await stack.enter_async_context(database(store))
        scene = Scene(folder, environ, port, session, opened, cluster, receiver)
        await scene.live()
        try:
            yield scene
        finally:
            await scene.die()


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.db'}"
    return str(request.getfixturevalue("postgres")).replace("postgresql+asyncpg", "postgresql")


async def send(session: aiohttp.ClientSession, alertmanager: Service, numbers: range) -> None:
    for first in range(numbers.start, numbers.stop, 500):
        body = [an_alert(number) for number in range(first, min(first + 500, numbers.stop))]
        async with session.post(f"{alertmanager.url}/api/v2/alerts", json=body) as answer:
            assert answer.status == 200, await answer.text()


async def test_ten_thousand_alerts_outlive_five_kills_and_none_is_lost_or_processed_twice(
    store: str, kubectl: str, tmp_path: Path
) -> None:
    (tmp_path / "alertmanager").mkdir()
    async with a_scene(tmp_path, store, kubectl) as scene:
        url = f"http://127.0.0.1:{scene.port}"
        config = CONFIG.format(url=url, token=TOKENS["alert"])
        with servers.alertmanager(tmp_path / "alertmanager", config=config) as alertmanager:
            for kill in range(KILLS):
                wanted = await scene.number("SELECT count(*) FROM inbox") + BATCH // 10
                await send(scene.session, alertmanager, range(kill * BATCH, (kill + 1) * BATCH))
                await scene.until(partial(_more, scene, wanted), "alerts of the batch")
                await scene.die()
                await scene.live()
            await scene.until(partial(_more, scene, ALERTS), "all alerts")
            await scene.until(partial(_processed, scene), "all alerts processed")
        await _check_the_inbox(scene)
        await _check_what_was_done(scene)
        await _check_what_is_shown(scene)


async def _more(scene: Scene, wanted: int) -> bool:
    return await scene.number("SELECT count(*) FROM inbox") >= wanted


async def _processed(scene: Scene) -> bool:
    return not await scene.number("SELECT count(*) FROM inbox WHERE processed IS NULL")


async def _check_the_inbox(scene: Scene) -> None:
    """Each alert is one row, and what was processed before a kill was not touched after it."""
    assert await scene.number("SELECT count(*) FROM inbox") == ALERTS
    assert await scene.number("SELECT count(DISTINCT fingerprint) FROM inbox") == ALERTS
    now = {row[0]: row for row in await scene.rows("SELECT seq, processed, why FROM inbox")}
    assert scene.kept, "each life processes what the one before it left"
    assert {seq: now[seq] for seq in scene.kept} == scene.kept
    assert await scene.number("SELECT count(*) FROM inbox WHERE why = ''") == len(DOWN) + len(SLOW)


async def _check_what_was_done(scene: Scene) -> None:
    """Each mapped alert acts once: one incident, one run, one call of each step, one page."""
    sick = {f"{host.partition('-host-')[0]}-host-{number:02}" for host in DOWN for number in range(4)}

    async def all_marked() -> bool:
        return await scene.marked() >= sick

    await scene.until(all_marked, f"marks on {sorted(sick)}")
    assert await scene.marked() == sick
    rows = await scene.rows("SELECT id, part, kind FROM incidents")
    parts = [part for _, part, kind in rows if kind == "HostLost"]
    assert sorted(parts) == [str(HostId(CLUSTER, host)) for host in sorted(DOWN)]
    incidents = {str(one): str(part) for one, part, kind in rows if kind == "HostLost"}
    marks = await scene.rows("SELECT incident, count(*) FROM intents WHERE action = 'domain.mark' GROUP BY incident")
    assert dict(marks) == dict.fromkeys(incidents, 1)
    runs = dict(await scene.rows("SELECT incident, count(*) FROM runs GROUP BY incident"))
    assert {one: runs[one] for one in incidents} == dict.fromkeys(incidents, 1)

    opening = {f"{one}-open" for one in incidents}

    async def paged() -> bool:
        return opening <= scene.receiver.deliveries.keys()

    await scene.until(paged, "a page about each")
    told = await scene.rows("SELECT delivery_id FROM outbox")
    assert sorted(page for (page,) in told if page in opening) == sorted(opening)


async def _check_what_is_shown(scene: Scene) -> None:
    """What no rule takes stands there with the reason; what one takes with its finding."""
    shown = await scene.listed("/api/v1/alerts?")
    assert len(shown) == ALERTS
    assert {row["labels"]["rack"] for row in shown} == {f"rack-{number}" for number in range(GROUPS)}
    unmapped = [row for row in shown if row["finding"] is None]
    assert {row["why"] for row in unmapped} == {"no rule for alert 'DiskFull' with these labels"}
    assert len(unmapped) == ALERTS - len(DOWN) - len(SLOW)
    findings = await scene.listed("/api/v1/findings?")
    wanted = {str(HostId(CLUSTER, host)) for host in DOWN} | {str(ChipId(CLUSTER, host, chip)) for host, chip in SLOW}
    assert {row["part"] for row in findings} == wanted
    assert {row["source"] for row in findings} == {"alert/main"}
