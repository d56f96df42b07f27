"""Our daemons as processes of their own, each with the configuration, service account and broker user that the manifests give it.

What differs from a pod: files lie in a folder of the test instead of ``/etc/sliceward``, ports are free ones, the host below an agent is
a simulated one. What an operator adds to the coordinator's file (mode, pagers, provider) is added here, with a quicker pace.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from sliceward.daemons.agent.settings import AgentSettings
from sliceward.daemons.demo.plans import quick_rules
from sliceward.daemons.manifests import agent, coordinator, rbac, secrets, watcher
from sliceward.daemons.manifests.install import COORDINATOR_USER, DISK, WATCHER_USER, Install
from sliceward.daemons.settings import load
from tests.daemons.manifests.deployed import KEY, Broker, kubeconfig_of, token_of, with_the_agents_capabilities
from tests.services.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sliceward.simulation.hosts import SimulatedHost
    from tests.flows.real.toll import Tolls

Json = dict[str, Any]

ROOT = Path(__file__).resolve().parents[3]
PERIOD, SLOW = "1s", "5s"
PATIENCE = 60.0
"""Seconds that a process may take to end in order."""


@dataclass(eq=False)
class Daemon:
    """One process of ours that can end and be started again. ``port``: where its HTTP API is."""

    name: str
    command: Sequence[str]
    environ: Mapping[str, str]
    folder: Path
    port: int = 0
    process: asyncio.subprocess.Process | None = None

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process is not None and self.process.returncode is None

    @property
    def log(self) -> Path:
        """Where its output is, over all its lives."""
        return self.folder / f"{self.name}.log"

    def said(self, text: str) -> bool:
        """Whether a text stands in its log."""
        return self.log.exists() and text in self.log.read_text(encoding="utf-8", errors="replace")

    async def start(self) -> None:
        """Start it, where it does not run."""
        if self.alive:
            return
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.command, env=dict(self.environ), stdout=log, stderr=log, cwd=self.folder
            )

    def send(self, which: signal.Signals) -> None:
        """Send a signal, where it runs."""
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(which)

    async def kill(self) -> None:
        """End it as ``kill -9`` does."""
        self.send(signal.SIGKILL)
        if self.process is not None:
            await self.process.wait()

    async def end(self) -> None:
        """End it in order, and by force where that takes too long."""
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(PATIENCE):
                if self.process is not None:
                    await self.process.wait()
        except TimeoutError:
            await self.kill()


@dataclass(frozen=True)
class Doors:
    """Where the daemons find the world.

    ``server``: kubeconfig of the administrator; ``api``: where the API server is for a daemon; ``store``: URL of the database;
    ``silence``: for how long a host may be silent, in the watcher's eyes.
    """

    folder: Path
    install: Install
    server: Path
    api: str
    kubectl: str
    broker: Broker
    store: str
    receiver: str
    provider: str
    secret: str
    silence: str = "20s"

    def through(self, tolls: Tolls) -> Doors:
        """Give the same doors, each through a gate."""
        broker = replace(self.broker, url=tolls.broker)
        return replace(self, api=tolls.kubernetes, broker=broker, receiver=tolls.receiver, provider=tolls.provider)

    def watcher(self) -> Daemon:
        """Give the watcher, with windows of seconds."""
        port, home = free_port(), self._home("watcher", WATCHER_USER)
        rules = {"folders": [str(_rules(home))], "grace": self.silence, "warm_up": "3s", "refresh": "5s"}
        quick = {"panel": {"period": PERIOD, "rows": 120, "max_hosts": 256}, "rules": rules}
        listen = {"health": {"host": "127.0.0.1", "port": port}}
        file = self._file("watcher", watcher.config(self.install)["data"]["watcher.yaml"], quick | listen)
        environ = {"KUBECONFIG": str(self._kubeconfig("watcher", "watcher", self.api))}
        return Daemon("watcher", _command("watcher", file), _environ(environ), self.folder, port)

    def coordinator(self, name: str) -> Daemon:
        """Give a replica of the coordinator, as one of several over PostgreSQL."""
        port, home = free_port(), self._home(name, COORDINATOR_USER)
        for role in coordinator.ROLES.values():
            _write(home / "tokens" / role, secrets.token_of(KEY, self.install.cluster, role))
        _write(home / "store" / "password", "nobody-asks-for-it")
        _write(home / "pager", self.secret)
        account = self._kubeconfig("coordinator", name, self.api)
        added = {
            "playbooks": {"mode": "Enforce", "settle_at_most": "10s"},
            "pagers": [{"name": "on-call", "kind": "webhook", "url": self.receiver, "secret": {"file": str(home / "pager")}}],
            "provider": {"kind": "http", "url": self.provider},
            "pace": {"decide_every": "1s", "sweep_every": "5s", "broker_grace": "1s"},
            "api": {"host": "127.0.0.1", "port": port},
            "leader": {"kubeconfig": str(account)},
        }
        text = coordinator.config(self.install)["data"]["coordinator.yaml"]
        file = self._file(name, text, added)
        environ = {
            "KUBECONFIG": str(account),
            "SLICEWARD_STORE_URL": self.store,
            "SLICEWARD_LEADER__ADDRESS": f"http://127.0.0.1:{port}",
        }
        return Daemon(name, _command("coordinator", file), _environ(environ), self.folder, port)

    def agent(self, host: SimulatedHost) -> Daemon:
        """Give the agent of a host: root, with the capabilities of the manifest alone."""
        file, environ = self._of_agent(host)
        command = [*with_the_agents_capabilities(), *_command("agent", file)]
        return Daemon(f"agent-{host.state.node}", command, _environ(environ), self.folder)

    def agent_settings(self, host: SimulatedHost) -> AgentSettings:
        """Give the same configuration for an agent inside of this process."""
        file, environ = self._of_agent(host)
        return load(AgentSettings, file=file, environ=environ)

    def _of_agent(self, host: SimulatedHost) -> tuple[Path, dict[str, str]]:
        node = host.state.node
        home = self._home(node, node)
        _write(home / "broker" / node, self.broker.password(node))
        # The host tells its identity, size and place by its node and its files, as a real one does.
        simulated = host.agent_configuration(cluster=self.install.cluster, broker=self.broker.url, period=PERIOD, slow=SLOW)
        wanted = {key: simulated[key] for key in ("period", "state", "sources")}
        token = self.folder / "agent.token"
        if not token.exists():
            _write(token, token_of(self.server, self.kubectl, rbac.accounts(self.install)["agent"]))
        wanted["kubernetes"] = {
            "url": self.api,
            "token_file": str(token),
            "ca_file": str(self.server.parent / "certs" / "apiserver.crt"),
            "every": "10s",
        }
        wanted["listen"] = {"port": 0}
        file = self._file(node, agent.config(self.install)["data"]["agent.yaml"], wanted)
        return file, {one["name"]: self._value(one, node, home) for one in _variables(self.install)}

    def _value(self, variable: Json, node: str, home: Path) -> str:
        """Give what a variable of the agent's pod would say; the one field of its pod that it is told is its node."""
        if "valueFrom" in variable:
            return node
        return str(variable["value"]).replace("$(SLICEWARD_NODE_NAME)", node).replace("/etc/sliceward", str(home))

    def _home(self, name: str, user: str) -> Path:
        """Make the folder that a pod of this process would find as /etc/sliceward."""
        home = self.folder / "etc" / name
        _write(home / "broker" / "password", self.broker.password(user))
        if not (home / "ca").exists():
            (home / "ca").symlink_to(self.broker.ca.parent)
        return home

    def _file(self, name: str, text: str, more: Mapping[str, Any]) -> Path:
        home = self.folder / "etc" / name
        text = text.replace(self.install.url, self.broker.url).replace("/etc/sliceward", str(home)).replace(DISK, str(home))
        return _write(home / "config.yaml", json.dumps(_merged(yaml.safe_load(text), more), indent=1))

    def _kubeconfig(self, process: str, name: str, api: str) -> Path:
        file = self.folder / f"{name}.kubeconfig"
        kubeconfig_of(self.server, self.kubectl, account=rbac.accounts(self.install)[process], file=file)
        return _write(file, file.read_text(encoding="utf-8").replace(api_of(self.server), api))


def _rules(home: Path) -> Path:
    """Write the shipped rules with windows of seconds, but let a pod that ended hold its device as long as deployed.

    Three of five readings are 30 s there, and here 3 s: on a busy machine a pod takes longer to end.
    """
    folder = quick_rules(home)
    file = folder / "chips.yaml"
    text, shipped = file.read_text(encoding="utf-8"), 'chip_foreign_holder, op: ">=", value: 1, k: 3, n: 5'
    assert shipped in text
    file.write_text(text.replace(shipped, 'chip_foreign_holder, op: ">=", value: 1, k: 30, n: 50'), encoding="utf-8")
    return folder


def _variables(install: Install) -> list[Json]:
    pod = agent.daemon_set(install)["spec"]["template"]["spec"]
    found: list[Json] = pod["containers"][0]["env"]
    return found


def api_of(kubeconfig: Path) -> str:
    """Give the API server's address."""
    return str(yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))["clusters"][0]["cluster"]["server"])


def _command(process: str, file: Path) -> list[str]:
    return [sys.executable, "-m", "sliceward.daemons.cli", process, "--config", str(file)]


def _environ(more: Mapping[str, str]) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "PYTHONPATH": str(ROOT / ".types"), **more}


def _write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> Json:
    """Give both, section by section; what ``other`` says counts."""
    both = dict(one)
    for key, value in other.items():
        both[key] = _merged(both[key], value) if isinstance(value, dict) and isinstance(both.get(key), dict) else value
    return both
