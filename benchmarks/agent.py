"""Memory and processor time of one agent as it is installed and deployed; reference: a bare exporter in the same environment.

The environment is made of requirements/agent.txt and the wheel, with the variables of the manifest. Everything that the agent
reads is there: a host with four chips, a job on them that reports, device plugin, libtpu, kernel log, API server and broker
over TLS, probes and a scraper. Takes two minutes, and needs mosquitto, openssl and what `pip` needs.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import ssl
import sys
import tempfile
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web

from benchmarks.claim import Claim, run_quietly, setup, tell
from sliceward.daemons.manifests import agent as manifest
from sliceward.daemons.manifests.install import Install
from sliceward.simulation.hosts import HostState, RunningJob, SimulatedHost
from sliceward.simulation.kube.server import make_api
from sliceward.topology.generations import GENERATIONS
from sliceward.topology.names import NAMES
from tests.services import servers
from tests.services.processes import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

ROOT = Path(__file__).resolve().parent.parent
PERIOD = 10.0
WARM = 35.0
"""Seconds until every source has been read, and the slow ones again."""
MEASURED = 60.0
ADDRESS = "127.119.250.1"
MOST_MB, MOST_MILLICORES = 64.0, 5.0
POD = "0a0b0c0d-1111-2222-3333-000000000001"
COPIED = ("daemons", "detectors", "playbooks", "remediations", "scheduling", "simulation", "topology", "workload")


@dataclass(frozen=True, slots=True)
class Cost:
    """What a process takes: memory in MB of 2^20 bytes, time in thousandths of a core."""

    resident: float
    peak: float
    shared_out: float
    alone: float
    millicores: float


def install(folder: Path) -> Path:
    """Make the agent's environment as its image does; gives its Python."""
    tree = folder / "tree"
    tree.mkdir()
    for name in COPIED:
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / file, tree / file)
    run_quietly([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(tree)])
    python = folder / "venv" / "bin" / "python"
    uv = [sys.executable, "-m", "uv", "--quiet"]
    run_quietly([*uv, "venv", "--python", sys.executable, str(folder / "venv")])
    into = [*uv, "pip", "install", "--python", str(python), "--compile-bytecode"]
    run_quietly([*into, "--require-hashes", "--requirements", str(ROOT / "requirements" / "agent.txt")])
    run_quietly([*into, "--no-deps", *(str(wheel) for wheel in folder.glob("*.whl"))])
    return python


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for loopback that is its own authority; gives it and its key."""
    cert, key = folder / "tls.crt", folder / "tls.key"
    named = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", str(key), "-out", str(cert)]
    run_quietly([*made, *named])
    return cert, key


@asynccontextmanager
async def api_server(node: str, cert: Path, key: Path) -> AsyncIterator[str]:
    """Serve an emulated Kubernetes API with this node over TLS."""
    api = make_api()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        url = f"https://127.0.0.1:{runner.addresses[0][1]}"
        trusted = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=cert))
        labels = {NAMES.accelerator: "tpu7x"}
        async with aiohttp.ClientSession(connector=trusted) as session:
            made = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node, "labels": labels}}
            async with session.post(f"{url}/api/v1/nodes", json=made) as answer:
                answer.raise_for_status()
        yield url
    finally:
        await runner.cleanup()


def deployed() -> dict[str, str]:
    """Give the variables that the manifest sets, but for the settings: those are in the file here."""
    container = manifest.daemon_set(Install(actions=()))["spec"]["template"]["spec"]["containers"][0]
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("SLICEWARD_", "PYTHON"))}
    ours = {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}
    return plain | {name: value for name, value in ours.items() if not name.startswith("SLICEWARD_")}


@asynccontextmanager
async def a_process(
    command: Sequence[str | Path], environ: dict[str, str], log: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run it for as long as the block lasts."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(*map(str, command), env=environ, stdout=output, stderr=output)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def spent(process: int) -> float:
    """Give the seconds of processor time that it has taken (proc(5), fields 14 and 15 of stat)."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(process: int) -> dict[str, float]:
    """Give Rss, Pss and what is the process's alone, with the peak, in MB."""
    kinds = dict[str, float]()
    for file in ("smaps_rollup", "status"):
        for line in Path(f"/proc/{process}/{file}").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if value.endswith(" kB"):
                kinds[name] = int(value.split()[0]) / 1024
    return kinds


async def cost(process: int, began: float, at_start: float) -> Cost:
    """Give what it takes now, and took since ``began``."""
    kinds = memory(process)
    millicores = 1000 * (spent(process) - at_start) / (time.monotonic() - began)
    return Cost(kinds["Rss"], kinds["VmHWM"], kinds["Pss"], kinds["Private_Clean"] + kinds["Private_Dirty"], millicores)


async def asked_like_deployed(ports: Sequence[int]) -> None:
    """Ask as kubelet and Prometheus do, for ever: liveness and a scrape each 30 s, readiness each 15 s."""
    async with aiohttp.ClientSession() as session:
        for turn in range(10_000):
            for port in ports:
                for path in ("/readyz", "/healthz", "/metrics") if turn % 2 == 0 else ("/readyz",):
                    async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                        await answer.read()
            await asyncio.sleep(15)


async def all_is_read(port: int) -> None:
    """Wait until every source has been read."""
    async with aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"http://127.0.0.1:{port}/readyz") as answer:
                    needs: list[dict[str, Any]] = (await answer.json())["dependencies"]
            except aiohttp.ClientError:
                needs = []
            if needs and all(need["ok"] and need["age_seconds"] is not None for need in needs):
                return
            await asyncio.sleep(0.5)


async def measure(folder: Path, python: Path) -> tuple[Cost, Cost]:
    """Give what the agent takes, and what the bare exporter does."""
    cert, key = certificate(folder)
    tls = [f"certfile {cert}", f"keyfile {key}"]
    state = HostState("node-1", GENERATIONS["tpu7x"], 4, "77001", "b00t-1", index=3)
    port, other = free_port(), free_port()
    async with AsyncExitStack() as stack:
        broker = stack.enter_context(servers.mosquitto(folder, lines=tls))
        url = await stack.enter_async_context(api_server(state.node, cert, key))
        root = folder / "host"
        host = SimulatedHost(state, address=ADDRESS, folder=root, socket=folder / "reporter.sock")
        await stack.enter_async_context(host)
        places = ((0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0))
        await host.start_job(RunningJob("ml/JobSet/llm", "slice", 1, 3, POD, 4711, time.time(), coordinates=places))
        config = host.agent_configuration(cluster="prod", broker=broker.url.replace("mqtt:", "mqtts:"), period="10s", slow="10s")
        config["broker"]["ca_file"] = str(cert)
        config["kubernetes"] = {"url": url, "ca_file": str(cert)}
        config["listen"] = {"host": "127.0.0.1", "port": port}
        (folder / "agent.yaml").write_text(json.dumps(config), encoding="utf-8")
        ours = (python.parent / "sliceward", "agent", "--config", folder / "agent.yaml")
        bare = (python, Path(__file__).with_name("_agent_reference.py"), str(PERIOD), str(other))
        agent = await stack.enter_async_context(a_process(ours, deployed(), folder / "agent.log"))
        reference = await stack.enter_async_context(a_process(bare, deployed(), folder / "reference.log"))
        async with asyncio.timeout(3 * WARM):
            await all_is_read(port)
        asking = asyncio.create_task(asked_like_deployed((port, other)))
        await asyncio.sleep(WARM)
        began, before = time.monotonic(), [spent(one.pid) for one in (agent, reference)]
        await asyncio.sleep(MEASURED)
        if asking.done():
            asking.result()
        costs = [await cost(one.pid, began, at) for one, at in zip((agent, reference), before, strict=True)]
        asking.cancel()
    return costs[0], costs[1]


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="sliceward-") as name:
        folder = Path(name)
        python = install(folder)
        agent, bare = asyncio.run(measure(folder, python))
    of = "a bare exporter of /proc in the same environment"
    how = f"4 chips, all sources, a job that reports, TLS, {PERIOD:g} s period, requirements/agent.txt, {MEASURED:g} s"
    split = f"peak {agent.peak:.1f} MB, PSS {agent.shared_out:.1f} MB, its own alone {agent.alone:.1f} MB"
    tell(
        Claim(
            claim="agent_rss_mb: an agent takes of memory",
            value=agent.resident,
            unit="MB",
            goal=MOST_MB,
            better="lower",
            reference=of,
            reference_value=bare.resident,
            setup=setup(f"{how}; {split}"),
        )
    )
    tell(
        Claim(
            claim="agent_millicores: an agent takes of a core",
            value=agent.millicores,
            unit="millicores",
            goal=MOST_MILLICORES,
            better="lower",
            reference=of,
            reference_value=bare.millicores,
            setup=setup(how),
        )
    )


if __name__ == "__main__":
    main()
