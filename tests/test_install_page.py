"""Every command of the pages on installing, observing and upgrading, in order, at a real API server.

Real are kubectl, the API server with its controllers and scheduler, openssl and `sliceward`. Pods run nowhere (their kubelets
are fake), so that what answers on the forwarded port is a coordinator on the bench, and what is said to a pod is tried apart.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from sliceward.daemons.manifests import tree
from sliceward.daemons.manifests.install import Install, Overlay
from sliceward.daemons.store import open_store
from sliceward.detectors.finding import Kind
from sliceward.playbooks.load import load_book
from sliceward.playbooks.schema import Mode
from sliceward.remediations.catalog import ACTIONS
from sliceward.topology.errors import Misconfigured
from sliceward.topology.names import NAMES
from tests.daemons.coordinator.bench import World, a_bench, the_fleet
from tests.daemons.coordinator.test_whole_incident import PART, PLAYBOOK, some_rounds
from tests.daemons.stage import a_story, a_world, on_stage
from tests.services import servers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.daemons.stage import Stage

ROOT = Path(__file__).resolve().parents[1]
INSTALL, OBSERVE, UPGRADE = (ROOT / f"docs/how-to/{name}.md" for name in ("install", "observe-on-a-cluster", "upgrade"))
HOSTS = [f"tpu-{number}" for number in range(2)]


def blocks(page: Path, language: str = "") -> list[str]:
    """Give the fenced blocks of a language, in order."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return [text for written_in, text in found if written_in == language]


def nodes() -> list[dict[str, object]]:
    """Give two TPU hosts, and a node for everything else."""
    labels = {NAMES.accelerator: "tpu7x", NAMES.accelerator_count: "4"}
    room = {"cpu": "8", "memory": "32Gi", "pods": "110"}
    return [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": labels if name in HOSTS else {"kubernetes.io/os": "linux"}},
            "status": {"allocatable": room, "capacity": room},
        }
        for name in (*HOSTS, "plain")
    ]


def a_volume() -> dict[str, object]:
    """Give the room that a storage class would make for the store."""
    spec = {"capacity": {"storage": "10Gi"}, "accessModes": ["ReadWriteOncePod"], "hostPath": {"path": "/var/lib/store"}}
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "store"}, "spec": spec}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    (tmp_path / "world").mkdir()
    with on_stage(a_world(tmp_path / "world", Mode.APPROVE)) as stage:
        a_story(stage)
        yield stage


@pytest.fixture
def cluster(tmp_path: Path, kubectl: str) -> Iterator[Path]:
    """Give a kubeconfig of a cluster with TPU hosts, as the page finds it."""
    with servers.control_plane(tmp_path / "plane") as kubeconfig:
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "monitoring"}}
        there = {"apiVersion": "v1", "kind": "List", "items": [*nodes(), a_volume(), namespace]}
        command = [kubectl, "--kubeconfig", str(kubeconfig), "apply", "-f", "-"]
        subprocess.run(command, input=json.dumps(there), check=True, capture_output=True, text=True)  # noqa: S603 (found by the fixture)
        # The kubelets are fake, and manage what carries a label.
        _call(kubectl, kubeconfig, "wait", "--for=condition=Ready", "nodes", "--all", "--timeout=60s")
        yield kubeconfig


@pytest.fixture
def folder(tmp_path: Path, kubectl: str) -> Path:
    """Give a folder with the two files of the page, and the commands that it calls."""
    made = tmp_path / "here"
    (made / "bin").mkdir(parents=True)
    coordinator, kustomization = blocks(INSTALL, "yaml")
    (made / "coordinator.yaml").write_text(coordinator, encoding="utf-8")
    (made / "kustomization.yaml").write_text(kustomization, encoding="utf-8")
    (made / "deploy").symlink_to(ROOT / "deploy")
    (made / "postgres.password").write_text("of the database\n", encoding="utf-8")
    # No kubelet: no port to forward, and nothing to call in a pod.
    forwarded = f'#!/bin/bash\ncase "$*" in *port-forward*|*" exec "*) exit 0;; *) exec {kubectl} "$@";; esac\n'
    ours = f'#!/bin/bash\nexec {sys.executable} -m sliceward.daemons.cli "$@"\n'
    for name, text in (("kubectl", forwarded), ("sliceward", ours), ("docker", "#!/bin/bash\n")):
        (made / "bin" / name).write_text(text, encoding="utf-8")
        (made / "bin" / name).chmod(0o755)
    return made


QUOTA, BUDGET = {"ml": {"tpu7x": 256}}, {"fleet": {"max": 32, "percent": 10, "atLeast": 16}}


def test_every_command_of_the_pages_does_what_it_says(folder: Path, cluster: Path, stage: Stage, kubectl: str) -> None:
    environ = {
        **os.environ,
        "KUBECONFIG": str(cluster),
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / ".types"),
        "SLICEWARD_SERVER": stage.address,
    }
    *steps, last = blocks(INSTALL)
    ran = _bash(folder, environ, "".join(steps))
    _is_up(kubectl, cluster, image="sliceward:0.1.0")
    token = (folder / "operate.token").read_text()
    assert len(token) >= 32
    assert (folder / "alert.token").read_text() not in ("", token)
    assert "✓ coordinator: answers at" in ran
    assert "\nyes\n" in ran
    again = "export CLUSTER=tpu SLICEWARD_TOKEN_FILE=operate.token\n"
    observing, two = _parted(blocks(OBSERVE), "export SLICEWARD_STORE_URL=")
    asking, acting = _parted(observing, "sed -i 's/ici-link-in-cube: Approve/")
    _bash(folder, environ, again + "".join(asking))
    settings = _is_up(kubectl, cluster, image="sliceward:0.1.0")
    assert settings["playbooks"] == {"modes": {"ici-link-in-cube": "Approve"}}
    _bash(folder, environ, again + "".join(acting))
    *forward, back = blocks(UPGRADE)
    assert "REGISTRY/sliceward:0.1.1" in _bash(folder, environ, again + "".join(forward))
    _is_up(kubectl, cluster, image="sliceward:0.1.1")
    _bash(folder, environ, again + back)
    settings = _is_up(kubectl, cluster, image="sliceward:0.1.0")
    assert settings["store"] == {"url": "sqlite:////var/lib/sliceward/before.db"}
    # What was set on one page outlives the next: it stands in files of one's own.
    _bash(folder, environ, again + "".join(two) + "kubectl apply -k .\n")
    settings = _is_up(kubectl, cluster, image="sliceward:0.1.0", coordinators=2)
    assert settings["store"] == {"password": {"file": "/etc/sliceward/store/password"}}
    assert settings["leader"] == {"lease": "sliceward-coordinator", "namespace": "sliceward"}
    assert settings["playbooks"] == {"modes": {"ici-link-in-cube": "Enforce"}}
    assert "pause" in _bash(folder, environ, again + last)
    gone = _call(kubectl, cluster, "get", "namespaces", "-o", "name")
    assert "sliceward" not in gone


def test_the_images_that_the_page_builds_are_those_that_it_deploys() -> None:
    built, *_, written = (block for block in blocks(INSTALL) if "REGISTRY/" in block)
    targets = dict(re.findall(r"--target (\S+) --tag (\S+) ", built))
    stages = re.findall(r"^FROM \S+ AS (\S+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert targets.keys() <= set(stages)
    assert re.findall(r"^docker push (\S+)$", built, flags=re.MULTILINE) == list(targets.values())
    assert re.findall(r"--(?:agent-)?image (\S+)", written) == [targets["sliceward"], targets["agent"]]


def _parted(steps: list[str], beginning: str) -> tuple[list[str], list[str]]:
    """Give the blocks before the one that begins so, and the rest."""
    (place,) = (place for place, block in enumerate(steps) if block.startswith(beginning))
    return steps[:place], steps[place:]


def _bash(folder: Path, environ: dict[str, str], text: str) -> str:
    script = f"set -euo pipefail\n{text}"
    done = subprocess.run(["bash", "-c", script], cwd=folder, env=environ, check=False, capture_output=True, text=True)  # noqa: S603, S607 (our own page)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def _call(kubectl: str, cluster: Path, *words: str) -> str:
    command = [kubectl, "--kubeconfig", str(cluster), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 (found by the fixture)


def _is_up(kubectl: str, cluster: Path, *, image: str, coordinators: int = 1) -> dict[str, Any]:
    """See that everything runs as the folder says; give the settings of the coordinator."""
    pods = json.loads(_call(kubectl, cluster, "get", "pods", "--all-namespaces", "-o", "json"))["items"]
    ours = [(pod["metadata"]["labels"].get("app.kubernetes.io/component"), pod["spec"].get("nodeName")) for pod in pods]
    assert {("agent", host) for host in HOSTS} <= set(ours)
    components = [component for component, _ in ours]
    assert set(components) >= {"agent", "broker", "watcher"}
    assert components.count("coordinator") == coordinators
    config = json.loads(
        _call(kubectl, cluster, "--namespace", "sliceward", "get", "configmap", "sliceward-coordinator", "-o", "json")
    )
    settings: dict[str, Any] = yaml.safe_load(config["data"]["coordinator.yaml"])
    assert (settings["quota"], settings["budget"]["hosts"]) == (QUOTA, BUDGET)
    images = {box["image"] for pod in pods for box in pod["spec"]["containers"]}
    assert {f"REGISTRY/{image}", f"REGISTRY/{image.replace(':', '-agent:')}"} <= images
    assert not any(one.startswith("sliceward") for one in images)
    return settings


async def test_the_copy_of_a_store_that_runs_is_one_to_go_back_to(tmp_path: Path) -> None:
    world = World(tmp_path, actions=ACTIONS)
    world.book = load_book({"repair-chip.yaml": PLAYBOOK}, ACTIONS)
    world.fill(the_fleet())
    world.tell(world.finding(PART, Kind.CHIP_LOST))
    (told,) = re.findall(r'python3 -c "(.*)"', blocks(UPGRADE)[0])
    copying = told.replace("/var/lib/sliceward/sliceward.db", str(tmp_path / "store.db"))
    copying = copying.replace("/var/lib/sliceward/before.db", str(tmp_path / "before.db"))
    async with a_bench(world) as bench:
        await some_rounds(bench, 6)
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", copying)
        assert await process.wait() == 0
        (before,) = (await bench.coordinator.store.history.incidents()).items
        world.provider.now_all("done")
        await some_rounds(bench, 12)
        assert bench.coordinator.deciding.docket.cases == {}
    async with open_store(f"sqlite:///{tmp_path / 'before.db'}") as store:
        (case,) = (await store.load_open()).cases
        assert case.incident.id == before["id"]


def test_what_the_pages_configure_is_what_is_deployed() -> None:
    """Snippets are copied over a file that works: each names the broker that is there, and files in folders that are mounted."""
    objects = {(one["kind"], one["metadata"]["name"]): one for one in tree.objects(Install(actions=tuple(ACTIONS)))}
    folders = {
        Path(mount["mountPath"])
        for overlay in Overlay
        for one in tree.objects(Install(actions=tuple(ACTIONS), overlay=overlay))
        if (one["kind"], one["metadata"]["name"]) == ("Deployment", "sliceward-coordinator")
        for mount in one["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    }
    deployed = yaml.safe_load(objects["ConfigMap", "sliceward-coordinator"]["data"]["coordinator.yaml"])["clusters"][0]["broker"]
    seen = 0
    for page in sorted(INSTALL.parent.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        for file in map(Path, re.findall(r"/etc/sliceward/[\w./-]+", text)):
            assert folders & {file, *file.parents}, f"{page.name}: {file} is mounted nowhere"
        for block in re.findall(r"sliceward: coordinator -->\s*```yaml\n(.*?)```", text, flags=re.DOTALL):
            for cluster in yaml.safe_load(textwrap.dedent(block)).get("clusters", ()):
                assert cluster["broker"] == deployed, page.name
                seen += 1
    assert seen >= 4


def test_commands_of_the_pages_look_for_a_pod_where_it_is() -> None:
    homes = {"agent": "sliceward-agents", "coordinator": "sliceward", "watcher": "sliceward", "broker": "sliceward"}
    for page in sorted((ROOT / "docs").rglob("*.md")):
        for space, component in re.findall(
            r"kubectl (?:-n|--namespace) (\S+) [^`\n]*component=(\w+)", page.read_text(encoding="utf-8")
        ):
            assert space == homes[component], f"{page.name}: {component}"


def test_a_store_of_a_later_version_is_refused_with_the_words_of_the_page(tmp_path: Path) -> None:
    async def opened() -> None:
        async with open_store(f"sqlite:///{tmp_path / 'store.db'}"):
            pass

    asyncio.run(opened())
    with closing(sqlite3.connect(tmp_path / "store.db")) as connection, connection:
        connection.execute("UPDATE schema_version SET version_num = 'v9999'")
    with pytest.raises(Misconfigured) as refused:
        asyncio.run(opened())
    words = " ".join(UPGRADE.read_text(encoding="utf-8").split())
    assert "was written by another sliceward" in words
    assert "was written by another sliceward" in refused.value.why
