"""Agent, watcher and coordinator from the layouts of their images, with the configuration, rights, users and tokens that are deployed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from sliceward.daemons.manifests import agent, coordinator, rbac, secrets, tree, watcher
from sliceward.daemons.manifests.install import COORDINATOR_USER, DISK, WATCHER_USER
from sliceward.topology.names import NAMES
from tests.daemons.manifests.deployed import (
    KEY,
    Broker,
    an_install,
    broker_as_deployed,
    kubeconfig_of,
    kubectl_apply,
    token_of,
    with_the_agents_capabilities,
)
from tests.daemons.manifests.images import layout
from tests.services import servers
from tests.services.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

INSTALL = an_install()
NODE = "tpu-1"
PATIENCE = 60.0
TAKEN = re.compile(r'^sliceward_frames_total{.*outcome="taken".*} [1-9]', re.MULTILINE)
FILES = {
    "agent": agent.config(INSTALL)["data"]["agent.yaml"],
    "watcher": watcher.config(INSTALL)["data"]["watcher.yaml"],
    "coordinator": coordinator.config(INSTALL)["data"]["coordinator.yaml"],
}
HASTE = {"SLICEWARD_RULES__WARM_UP": "1s"}
A_NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {
        "name": NODE,
        "labels": {NAMES.accelerator: "tpu7x", NAMES.accelerator_count: "4", NAMES.host_index: "0"},
        "annotations": {NAMES.instance_id: "instance-1"},
    },
}


@dataclass
class Deployed:
    """A folder in the place of a container's files, and the daemons that were started over it, by name."""

    folder: Path
    server: Path
    kubectl: str
    broker: Broker
    programs: Mapping[str, Path]
    ports: dict[str, int] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def config(self, name: str, user: str) -> Path:
        """Write what the pod of a process would find below /etc/sliceward."""
        home = self.folder / name
        (home / "broker").mkdir(parents=True)
        (home / "broker" / "password").write_text(self.broker.password(user), encoding="utf-8")
        (home / "ca").symlink_to(self.broker.ca.parent)
        (home / "tokens").mkdir()
        for role in coordinator.ROLES.values():
            (home / "tokens" / role).write_text(secrets.token_of(KEY, INSTALL.cluster, role), encoding="utf-8")
        self.ports[name] = free_port()
        text = FILES[name].replace(INSTALL.url, self.broker.url).replace("/etc/sliceward", str(home))
        text = text.replace(DISK, str(home)).replace("host: 0.0.0.0", "host: 127.0.0.1").replace(agent.ROOT, "/")
        for port in ("8482", "8483", "8484"):
            text = text.replace(f"port: {port}", f"port: {self.ports[name]}")
        (home / f"{name}.yaml").write_text(text, encoding="utf-8")
        return home / f"{name}.yaml"

    @contextmanager
    def running(self, name: str, user: str, environ: dict[str, str], *, wrapped: Sequence[str] = ()) -> Iterator[None]:
        file = self.config(name, user)
        command = [*wrapped, str(self.programs[name]), name, "--config", str(file)]
        given = {"PATH": os.environ["PATH"], "HOME": str(self.folder), **environ}
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(command, cwd=file.parent, env=given, stdout=log, stderr=log)  # noqa: S603 (ours)
            self.processes[name] = process
            try:
                yield
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(timeout=20)
                finally:
                    process.kill()
                    process.wait()

    def ask(self, name: str, path: str) -> Any:  # noqa: ANN401 (JSON, or the text of metrics)
        token = secrets.token_of(KEY, INSTALL.cluster, "view")
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.ports[name]}{path}", headers={"Authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 (as above)
            text = answer.read().decode()
        return text if path == "/metrics" else json.loads(text)

    def until(self, question: Callable[[], bool], *, name: str) -> None:
        """Ask until the answer is yes; else show the end of the process's log."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self.processes[name].poll() is None:
            try:
                if question():
                    return
            except (OSError, ValueError):
                pass
            time.sleep(0.05)
        pytest.fail(f"{name}:\n" + (self.folder / f"{name}.log").read_text(encoding="utf-8")[-3000:], pytrace=False)

    def ready(self, name: str) -> None:
        self.until(lambda: bool(self.ask(name, "/readyz")["ok"]), name=name)


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Give the program of each process, from the layout of its image."""
    agents, ours = (layout(image, wheel, tmp_path_factory.mktemp("image") / image) for image in ("agent", "sliceward"))
    return {"agent": agents, "watcher": ours, "coordinator": ours}


@pytest.fixture(scope="module")
def deployed(programs: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory, kubectl: str) -> Iterator[Deployed]:
    folder = tmp_path_factory.mktemp("deployed")
    with ExitStack() as stack:
        server = stack.enter_context(servers.control_plane(tmp_path_factory.mktemp("server"), kubelets=False))
        kubectl_apply(kubectl, server, [*tree.objects(INSTALL), A_NODE])
        broker = stack.enter_context(broker_as_deployed(folder, cluster=INSTALL.cluster, nodes=[NODE]))
        yield Deployed(folder, server, kubectl, broker, programs)


def of_the_agent(deployed: Deployed) -> dict[str, str]:
    """Give the agent's environment: what its pod has, and where this machine differs from a pod."""
    found = yaml.safe_load(deployed.server.read_text(encoding="utf-8"))
    token = deployed.folder / "agent.token"
    token.write_text(token_of(deployed.server, deployed.kubectl, rbac.accounts(INSTALL)["agent"]), encoding="utf-8")
    return {
        "SLICEWARD_NODE_NAME": NODE,
        "SLICEWARD_BROKER__USERNAME": NODE,
        "SLICEWARD_BROKER__PASSWORD__FILE": str(deployed.folder / "agent" / "broker" / "password"),
        "SLICEWARD_PERIOD": "500ms",
        "SLICEWARD_STATE": str(deployed.folder / "state"),
        "SLICEWARD_SOURCES__REPORTER__SOCKET": str(deployed.folder / "reporter.sock"),
        "SLICEWARD_KUBERNETES__URL": found["clusters"][0]["cluster"]["server"],
        "SLICEWARD_KUBERNETES__TOKEN_FILE": str(token),
        "SLICEWARD_KUBERNETES__CA_FILE": str(deployed.server.parent / "certs" / "apiserver.crt"),
    }


def kubeconfig(deployed: Deployed, name: str) -> dict[str, str]:
    file = deployed.folder / f"{name}.kubeconfig"
    account = rbac.accounts(INSTALL)[name]
    return {"KUBECONFIG": str(kubeconfig_of(deployed.server, deployed.kubectl, account=account, file=file))}


def test_all_three_do_their_work_with_what_they_are_given(deployed: Deployed) -> None:
    with ExitStack() as stack:
        stack.enter_context(deployed.running("watcher", WATCHER_USER, {**kubeconfig(deployed, "watcher"), **HASTE}))
        stack.enter_context(deployed.running("coordinator", COORDINATOR_USER, kubeconfig(deployed, "coordinator")))
        environ = of_the_agent(deployed)
        stack.enter_context(deployed.running("agent", NODE, environ, wrapped=with_the_agents_capabilities()))
        for name in ("watcher", "coordinator", "agent"):
            deployed.ready(name)
        # The host is heard, and the agent found its identity on its own node.
        deployed.until(lambda: bool(TAKEN.search(deployed.ask("watcher", "/metrics"))), name="watcher")
        deployed.until(lambda: bool(deployed.ask("coordinator", "/api/v1/status")["clusters"][0]["watched"]), name="coordinator")
        (host,) = deployed.ask("coordinator", "/api/v1/hosts")["items"]
        assert host["id"] == f"{INSTALL.cluster}/host/{NODE}"
        log = (deployed.folder / "agent.log").read_text(encoding="utf-8")
        assert not re.search("identity incomplete|node unknown|pods unknown|cannot be read", log), log
