"""While everything fails around daemons that run, and throws back what it gets, no secret turns up anywhere.

Real processes at log level debug, a real broker with passwords, a real PostgreSQL; every HTTP server says no and repeats all
that it was sent. Looked at are logs, every answer of the API, metrics, all rows of the store, what the broker keeps, and what
our own commands print and collect.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
import tarfile
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import asyncpg
import pytest
import yaml

from sliceward.daemons import topics
from sliceward.daemons.wire import Message, Wire, WireOptions
from sliceward.detectors.finding import Kind, to_json
from sliceward.simulation.kube.server import running_api
from tests.canaries import Canaries, a_parrot
from tests.daemons.coordinator.bench import World, the_fleet
from tests.daemons.coordinator.test_whole_incident import PART, PLAYBOOK
from tests.services import servers
from tests.services.processes import free_port, need_program

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

ROOT = Path(__file__).resolve().parents[1]
KINDS = (
    "fleet", "status", "incidents", "findings", "hosts", "cubes", "slices", "gangs", "links", "quota", "alerts", "playbooks",
    "pages", "loops", "audit", "silences", "windows", "configuration",
)  # fmt: skip
PACE = {"decide_every": "200ms", "broker_grace": "1s", "silence_paged_after": "1s", "page_timeout": "2s", "call_timeout": "5s"}
MAP = "rules: [{alert: ChipGone, kind: ChipLost, part: 'c1/chip/{node}/{chip}'}]\n"


@dataclass
class Scene:
    """Files, secrets and what was heard. ``way``: whether secrets come by a file or by the environment."""

    folder: Path
    way: str
    canaries: Canaries = field(default_factory=Canaries)
    environ: dict[str, str] = field(default_factory=dict)
    heard: list[list[str]] = field(default_factory=list)
    told: dict[str, str] = field(default_factory=dict)

    def file(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def secret(self, variable: str, word: str) -> dict[str, str] | None:
        """Plant a word by the way of this scene: gives what stands in the file."""
        if self.way == "environment":
            self.environ[f"SLICEWARD_{variable}"] = word
            return None
        return {"file": self.file(variable, word + "\n")}

    def kubeconfig(self, name: str, server: str) -> str:
        body = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "k", "cluster": {"server": server}}],
            "users": [{"name": "u", "user": {"token": self.canaries.plain(f"kubeconfig of {name}")}}],
            "contexts": [{"name": "here", "context": {"cluster": "k", "user": "u"}}],
            "current-context": "here",
        }
        return self.file(f"kubeconfig-{name}", yaml.safe_dump(body))


def _without_nothing(value: Any) -> Any:  # noqa: ANN401 (YAML)
    if isinstance(value, dict):
        return {key: _without_nothing(held) for key, held in value.items() if held is not None}
    return [_without_nothing(held) for held in value] if isinstance(value, list) else value


@dataclass(frozen=True)
class Around:
    """Addresses of what the daemons speak to."""

    broker: str
    store: str
    api_server: str
    no: str
    later: str
    ports: dict[str, int]


def coordinators(scene: Scene, at: Around) -> dict[str, Any]:
    words = scene.canaries
    (scene.folder / "books").mkdir()
    scene.file("books/chip.yaml", PLAYBOOK)
    broker: dict[str, Any] = {"url": at.broker, "username": "coordinator"}
    broker["password"] = scene.secret("CLUSTERS__0__BROKER__PASSWORD", words.words["broker of the coordinator"])
    # An address with a password in it comes by the environment, whatever the way of the others: the file must not hold it.
    at_no_broker = f"mqtt://me:{words.plain('broker in an address')}@127.0.0.1:{free_port()}"
    scene.environ["SLICEWARD_CLUSTERS__1__BROKER__URL"] = at_no_broker
    heartbeat: dict[str, Any] = {"url": f"{at.later}/{words.plain('address of the heartbeat')}", "every": "1s"}
    heartbeat["token"] = scene.secret("PAGERS__0__HEARTBEAT__TOKEN", f"GenieKey {words.plain('heartbeat')}")
    chat: dict[str, Any] = {
        "name": "chat",
        "kind": "webhook",
        "url": f"{at.later}/{words.plain('address of the chat')}",
        "heartbeat": heartbeat,
    }
    chat["secret"] = scene.secret("PAGERS__0__SECRET", words.signing("chat"))
    duty = {
        "name": "duty",
        "kind": "pagerduty",
        "url": at.no,
        "secret": scene.secret("PAGERS__1__SECRET", words.routing_key("duty")),
    }
    gone: dict[str, Any] = {
        "name": "gone",
        "kind": "webhook",
        "url": f"http://127.0.0.1:{free_port()}/{words.plain('address of who is gone')}",
    }
    gone["secret"] = scene.secret("PAGERS__2__SECRET", words.signing("gone"))
    tokens = [
        {"name": role, "role": role, "token": scene.secret(f"API__TOKENS__{place}__TOKEN", words.plain(f"token to {role}"))}
        for place, role in enumerate(("view", "operate", "alert"))
    ]
    return {
        "clusters": [
            {"name": "c1", "kubeconfig": scene.kubeconfig("c1", at.api_server), "broker": broker},
            {"name": "c2", "kubeconfig": scene.kubeconfig("c2", at.no)},
        ],
        "store": {"url": at.store, "password": scene.secret("STORE__PASSWORD", words.awkward("store"))},
        "playbooks": {"folders": [str(scene.folder / "books")]},
        "pagers": [chat, duty, gone],
        "provider": {"kind": "http", "url": at.later, "token": scene.secret("PROVIDER__TOKEN", words.plain("provider"))},
        "api": {"port": at.ports["coordinator"], "tokens": tokens},
        "alerts": {"map": scene.file("alerts.yaml", MAP)},
        "pace": PACE,
        "log": {"level": "debug", "format": "json"},
    }


def watchers(scene: Scene, at: Around) -> dict[str, Any]:
    words, place = scene.canaries, at.no.removeprefix("http://")
    broker: dict[str, Any] = {"url": at.broker, "username": "watcher"}
    broker["password"] = scene.secret("CLUSTER__BROKER__PASSWORD", words.words["broker of the watcher"])
    scene.environ["SLICEWARD_PROMETHEUS_URL"] = f"http://me:{words.plain('Prometheus in an address')}@{place}"
    prometheus: dict[str, Any] = {"every": "1s"}
    prometheus["token"] = scene.secret("PROMETHEUS__TOKEN", words.plain("Prometheus"))
    return {
        "cluster": {"name": "c1", "kubeconfig": scene.kubeconfig("the watcher", at.api_server), "broker": broker},
        "prometheus": prometheus,
        "health": {"port": at.ports["watcher"]},
        "log": {"level": "debug", "format": "json"},
    }


def agents(scene: Scene, at: Around) -> dict[str, Any]:
    words = scene.canaries
    (scene.folder / "state").mkdir()
    broker = {
        "url": at.broker,
        "username": "agent",
        "password": scene.secret("BROKER__PASSWORD", words.awkward("wrong one of the agent")),
    }
    return {
        "cluster": "c1",
        "node": "n1",
        "generation": "tpu7x",
        "chips": 4,
        "period": "1s",
        "state": str(scene.folder / "state"),
        "broker": broker,
        "kubernetes": {"url": at.no, "token_file": scene.file("account", words.plain("account of the agent"))},
        "sources": {"enabled": ["host"]},
        "listen": {"port": at.ports["agent"]},
        "log": {"level": "debug", "format": "json"},
    }


@asynccontextmanager
async def a_daemon(scene: Scene, name: str, whole: dict[str, Any]) -> AsyncIterator[None]:
    """Run one as a process; all that it says is told at the end."""
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / ".types"), **scene.environ}
    scene.environ.clear()
    command = [sys.executable, "-m", "sliceward.daemons.cli", name, "--config"]
    command.append(scene.file(f"{name}.yaml", yaml.safe_dump(_without_nothing(whole))))
    with (scene.folder / f"{name}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, env=environ, stdout=log, stderr=log)
        try:
            yield
            assert process.returncode is None, (scene.folder / f"{name}.log").read_text()[-3000:]
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(process.wait(), 20)
    scene.told[f"log of the {name}"] = (scene.folder / f"{name}.log").read_text()


@asynccontextmanager
async def at_work(scene: Scene, store: str) -> AsyncIterator[Around]:
    """Give daemons that run, with all that they speak to."""
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(running_api())
        await _fill(api.url)
        (scene.folder / "mosquitto").mkdir()
        passwords = {who: scene.canaries.plain(f"broker of the {who}") for who in ("coordinator", "watcher")}
        users = scene.file("users", "".join(f"{who}:{word}\n" for who, word in {**passwords, "agent": "another"}.items()))
        _hashed(users)
        broker = stack.enter_context(servers.mosquitto(scene.folder / "mosquitto", lines=[f"password_file {users}"]))
        (no, refused), (later, put_off) = (stack.enter_context(a_parrot(status)) for status in (403, 503))
        scene.heard += [refused, put_off]
        ports = {name: free_port() for name in ("coordinator", "watcher", "agent")}
        at = Around(broker.url, store.replace("+asyncpg", ""), api.url, no, later, ports)
        for name, make in (("coordinator", coordinators), ("watcher", watchers), ("agent", agents)):
            await stack.enter_async_context(a_daemon(scene, name, make(scene, at)))
        yield at


def _hashed(users: str) -> None:
    subprocess.run([need_program("mosquitto_passwd"), "-U", users], check=True)  # noqa: S603 (found there)
    Path(users).chmod(0o644)


async def _fill(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        for node in the_fleet().objects().nodes:
            for key in ("resourceVersion", "uid"):
                node["metadata"].pop(key, None)
            async with session.post(f"{url}/api/v1/nodes", json=node) as answer:
                assert answer.status == 201


# ── what happens ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def until(question: Callable[[], bool], what: str) -> None:
    """Wait until so."""
    try:
        async with asyncio.timeout(60):
            while not question():  # noqa: ASYNC110 (other processes tell nobody)
                await asyncio.sleep(0.1)
    except TimeoutError:
        pytest.fail(f"it never came: {what}", pytrace=False)


async def speak(scene: Scene, at: Around) -> None:
    """Publish a finding as the watcher would, until the provider was asked; keep what the broker keeps."""
    finding = World(scene.folder).finding(PART, Kind.CHIP_LOST)
    kept: list[str] = []
    options = WireOptions(username="watcher", password=scene.canaries.words["broker of the watcher"])
    wire = Wire(at.broker, client_id="test", subscribe=("#",), options=options)
    running = asyncio.create_task(wire.run(lambda message: kept.append(f"{message.topic} {message.payload!r}")))
    await until(lambda: wire.connected, "a connection")
    asked = 0
    while not any("/v1/repairs" in text for heard in scene.heard for text in heard):
        asked += 1
        assert asked < 600, "the provider was never asked"
        told = Message(topics.finding("c1", finding.id), to_json(finding), retain=True)
        await wire.publish(told.topic, told.payload, retain=True)
        await asyncio.sleep(0.1)
    running.cancel()
    await asyncio.wait([running])
    scene.told["the broker"] = "\n".join(kept)


async def molest(scene: Scene, port: int) -> None:
    """Send what is malformed, with secrets in it; who sent it may hear it again, the log may not."""
    word = scene.canaries.plain("token that nobody knows")
    known = scene.canaries.words["token to view"]
    for line in (
        f"Authorization: Bearer {word}",
        f"Authorization: Bearer {known}\x01",
        f"Authorization: Bearer {known} {'x' * 20_000}",
        f"Authorization {known}",
        f"Authorization: {base64.b64encode(known.encode()).decode()}",
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET /api/v1/status HTTP/1.1\r\nHost: 127.0.0.1\r\n{line}\r\nConnection: close\r\n\r\n".encode("latin-1"))
        await reader.read(1 << 20)
        writer.close()


async def ask(scene: Scene, port: int) -> None:
    """Read everything that the coordinator shows, and post an alert."""
    base = f"http://127.0.0.1:{port}"
    alert = {"status": "firing", "labels": {"alertname": "X"}, "fingerprint": "0a", "startsAt": "2026-09-01T12:00:00Z"}
    bearer = {
        role: {"Authorization": f"Bearer {scene.canaries.words[f'token to {role}']}"} for role in ("view", "operate", "alert")
    }
    async with aiohttp.ClientSession() as session:
        body = {"version": "4", "alerts": [alert]}
        async with session.post(f"{base}/v1/webhooks/alertmanager/main", json=body, headers=bearer["alert"]) as answer:
            assert answer.status == 200
        async with session.post(f"{base}/api/v1/pause", json={"reason": "storm"}, headers=bearer["operate"]) as answer:
            assert answer.status == 200
        for path in (*(f"api/v1/{kind}" for kind in KINDS), "metrics", "healthz", "readyz", ""):
            async with session.get(f"{base}/{path}", headers=bearer["view"]) as answer:
                assert answer.status in (200, 503), path
                scene.told[f"GET /{path}"] = await answer.text()
        for row in json.loads(scene.told["GET /api/v1/incidents"])["items"]:
            async with session.get(f"{base}/api/v1/incidents/{row['id']}", headers=bearer["view"]) as answer:
                scene.told[f"incident {row['id']}"] = await answer.text()


async def run_ours(scene: Scene, at: Around) -> None:
    """Call our own commands beside the daemons."""
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / ".types")}
    environ |= {"SLICEWARD_SERVER": f"http://127.0.0.1:{at.ports['coordinator']}"}
    environ |= {"SLICEWARD_TOKEN_FILE": scene.file("token", scene.canaries.words["token to view"])}
    out, logs = scene.folder / "bundle.tar.gz", [f"--log={scene.folder / name}.log" for name in ("coordinator", "watcher")]
    files = [f"--{name}={scene.folder / name}.yaml" for name in at.ports] if scene.way == "file" else []
    commands: Sequence[Sequence[str]] = (
        ("check", *files),
        ("support-bundle", "--out", str(out), *logs),
        ("get", "pages"),
        ("get", "loops", "-o", "yaml"),
    )
    for words in commands:
        command = [sys.executable, "-m", "sliceward.daemons.cli", *words]
        process = await asyncio.create_subprocess_exec(*command, env=environ, stdout=-1, stderr=-2)
        said, _ = await asyncio.wait_for(process.communicate(), 90)
        scene.told[f"sliceward {words[0]}"] = said.decode()
    with tarfile.open(out) as archive:
        for one in archive.getmembers():
            held = archive.extractfile(one)
            scene.told[f"bundle: {one.name}"] = held.read().decode() if held else ""


async def look_into(store: str) -> str:
    """Give all rows of all tables."""
    connection = await asyncpg.connect(store.replace("+asyncpg", ""))
    try:
        tables = [row[0] for row in await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        rows = [str(row[0]) for table in tables for row in await connection.fetch(f'SELECT t::text FROM "{table}" t')]  # noqa: S608 (our tables)
    finally:
        await connection.close()
    assert len(tables) > 8
    return "\n".join(rows)


@pytest.mark.parametrize("way", ["file", "environment"])
async def test_no_secret_turns_up_while_everything_fails(way: str, tmp_path: Path, postgres: str) -> None:
    scene = Scene(tmp_path, way)
    async with at_work(scene, postgres) as at:
        await speak(scene, at)
        await until(lambda: "not delivered" in (tmp_path / "coordinator.log").read_text(), "a page that was not delivered")
        await until(lambda: _was_heard(scene, "Prometheus in an address"), "the watcher's question to Prometheus")
        await until(lambda: _was_heard(scene, "account of the agent"), "the agent's question")
        await molest(scene, at.ports["coordinator"])
        await ask(scene, at.ports["coordinator"])
        await run_ours(scene, at)
        async with aiohttp.ClientSession() as session:
            for name in ("watcher", "agent"):
                for path in ("metrics", "healthz", "readyz"):
                    async with session.get(f"http://127.0.0.1:{at.ports[name]}/{path}") as answer:
                        scene.told[f"{path} of the {name}"] = await answer.text()
        scene.told["the store"] = await look_into(postgres)
    # They were really used: whoever says no has heard them.
    for name in ("provider", "duty", "heartbeat", "kubeconfig of c2", "account of the agent"):
        assert _was_heard(scene, name), name
    assert "page not delivered" in scene.told["log of the coordinator"]
    assert {where: found for where, text in scene.told.items() if (found := scene.canaries.in_text(text))} == {}


def _was_heard(scene: Scene, name: str) -> bool:
    return any(name in scene.canaries.in_text(text) for heard in scene.heard for text in heard)
