"""A large fleet for the benchmarks: objects as GKE's API server lists them, frames as agents send them, what a process costs."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sliceward.daemons.manifests import broker
from sliceward.detectors.frame import column_sizes, entities, pack
from sliceward.detectors.metrics import CATALOGUE, Shape
from sliceward.topology.names import NAMES
from sliceward.topology.plan import Objects, objects_of
from sliceward.topology.planned import ClusterPlan, CubePlan, GangPlan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

CLUSTER = "c1"
CHIPS, PORTS = 4, 6
CUBE = (4, 4, 4)
HOSTS_A_CUBE = 16
CUBES_A_GANG = 8
PATIENCE = 300.0


def a_plan(hosts: int) -> ClusterPlan:
    """Plan cubes of 16 hosts; a gang sits on each eight of them, the rest is free."""
    cubes = tuple(
        CubePlan(f"cube-{n:04}", CUBE, classic=False, block=f"block-{n // 144}") for n in range(-(-hosts // HOSTS_A_CUBE))
    )
    names = [cube.name for cube in cubes]
    crews = [names[n : n + CUBES_A_GANG] for n in range(0, len(names) - CUBES_A_GANG, CUBES_A_GANG)]
    gangs = tuple(
        GangPlan(f"gang-{n:03}", "ml", "JobSet", slices=CUBES_A_GANG, topology=CUBE, on=tuple(crew))
        for n, crew in enumerate(crews)
    )
    return ClusterPlan(CLUSTER, "tpu7x", CHIPS, cubes, gangs)


def drawn(hosts: int, *, pods_a_host: int = 0) -> Objects:
    """Give the objects in their usual size, the gangs' pods and those of DaemonSets up to ``pods_a_host``."""
    found = objects_of(a_plan(hosts))
    of_gangs = {pod["spec"]["nodeName"] for pod in found.pods}
    more = [
        _daemon_pod(node["metadata"]["name"], n)
        for node in found.nodes
        for n in range(pods_a_host - (node["metadata"]["name"] in of_gangs))
    ]
    return Objects(tuple(map(_as_gke, found.nodes)), (*map(_as_run, found.pods), *more), found.jobsets, found.jobs)


def _as_gke(node: dict[str, Any]) -> dict[str, Any]:
    """Add what a real node carries beside it: conditions, addresses, images, annotations, managed fields."""
    name, moment = node["metadata"]["name"], "2026-01-01T00:00:00Z"
    pressures = ("MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable", "KernelDeadlock", "ReadonlyFilesystem")
    conditions = [
        {"type": kind, "status": "False", "reason": f"No{kind}", "message": f"kubelet has no {kind} to tell of",
         "lastTransitionTime": moment, "lastHeartbeatTime": moment}
        for kind in pressures
    ]  # fmt: skip
    labels = {f"cloud.google.com/gke-label-{n}": f"value-{n}" for n in range(14)} | {"kubernetes.io/os": "linux"}
    annotations = {f"node.gke.io/annotation-{n}": f"some text of annotation {n} on {name}" for n in range(8)}
    meta = node["metadata"] | {
        "labels": labels | node["metadata"]["labels"],
        "annotations": annotations | node["metadata"]["annotations"],
        "creationTimestamp": moment,
        "managedFields": [{"manager": "kubelet", "operation": "Update", "fieldsV1": {f"f:{n}": {} for n in range(60)}}],
    }
    words = (
        "architecture",
        "containerRuntimeVersion",
        "kernelVersion",
        "kubeProxyVersion",
        "machineID",
        "operatingSystem",
        "osImage",
        "systemUUID",
    )
    status = node["status"] | {
        "nodeInfo": dict.fromkeys(words, "as real nodes say") | node["status"]["nodeInfo"],
        "conditions": [*node["status"]["conditions"], *conditions],
        "addresses": [{"type": "InternalIP", "address": "10.1.2.3"}, {"type": "Hostname", "address": name}],
        "images": [{"names": [f"registry.example/image-{n}@sha256:{'0' * 64}"], "sizeBytes": n} for n in range(30)],
    }
    return node | {"metadata": meta, "status": status}


def _as_run(pod: dict[str, Any]) -> dict[str, Any]:
    moment = "2026-01-01T00:00:00Z"
    kinds = ("PodReadyToStartContainers", "Initialized", "ContainersReady", "PodScheduled")
    conditions = [{"type": kind, "status": "True", "lastTransitionTime": moment} for kind in kinds]
    volumes = [{"name": f"volume-{n}", "configMap": {"name": f"map-{n}"}} for n in range(4)]
    env = [{"name": f"VARIABLE_{n}", "value": f"value {n}"} for n in range(12)]
    containers = [one | {"env": env, "volumeMounts": volumes} for one in pod["spec"]["containers"]]
    fields = [{"manager": "kubelet", "fieldsV1": {f"f:{n}": {} for n in range(40)}}]
    return pod | {
        "metadata": pod["metadata"] | {"creationTimestamp": moment, "managedFields": fields},
        "spec": pod["spec"] | {"containers": containers, "volumes": volumes},
        "status": pod["status"] | {"conditions": [*pod["status"]["conditions"], *conditions], "podIP": "10.1.2.3"},
    }


def _daemon_pod(node: str, number: int) -> dict[str, Any]:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"daemon-{number}-{node}",
            "namespace": "kube-system",
            "uid": f"00000000-0000-0000-000{number}-{abs(hash(node)) % 10**12:012}",
            "resourceVersion": "1",
            "labels": {"k8s-app": f"daemon-{number}", "pod-template-generation": "1", "controller-revision-hash": "77d4b5c9f"},
            "annotations": {"components.gke.io/component-name": f"daemon-{number}"},
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "DaemonSet",
                    "name": f"daemon-{number}",
                    "uid": f"daemon-{number}",
                    "controller": True,
                }
            ],
        },
        "spec": {
            "nodeName": node,
            "tolerations": [{"operator": "Exists", "effect": "NoSchedule"}, {"operator": "Exists", "effect": "NoExecute"}],
            "containers": [{"name": "main", "image": "registry.example/daemon:1", "resources": {"requests": {"cpu": "100m"}}}],
        },
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }
    return _as_run(pod)


def hosts_of(count: int) -> list[str]:
    """Give the first node names of the plan."""
    plan = a_plan(count)
    return list(islice((plan.host(cube.name, n) for cube in plan.cubes for n in range(HOSTS_A_CUBE)), count))


def machines_of(count: int) -> list[tuple[str, str]]:
    """Give instance and boot of those nodes, as the API server tells them."""
    told = {
        node["metadata"]["name"]: (node["metadata"]["annotations"][NAMES.instance_id], node["status"]["nodeInfo"]["bootID"])
        for node in objects_of(a_plan(count)).nodes
    }
    return [told[name] for name in hosts_of(count)]


def columns(variant: int = 0, *, sick: bool = False) -> dict[str, bytes]:
    """Give one column for every metric that an agent can read: the whole catalogue, well but for a ``sick`` chip."""
    found: dict[str, bytes] = {}
    for metric in map(CATALOGUE.__getitem__, column_sizes(CHIPS, PORTS)):
        count = entities(metric.kind, chips=CHIPS, ports=PORTS)
        value = _WELL.get(metric.name, 0.0) if metric.shape is Shape.GAUGE else 7.0
        spread = float(variant % 7) if metric.name.endswith(("_percent", "_bytes")) and value else 0.0
        values = [value + spread] * count
        if sick and metric.name == "chip_throttle_score":
            values[1] = 7.0
        found[metric.name] = pack(metric, values)
    return found


_WELL = {
    "chip_present": 1.0,
    "chip_duty_cycle_percent": 50.0,
    "chip_tensorcore_percent": 50.0,
    "host_disk_free_percent": 60.0,
    "host_disk_writable": 1.0,
    "host_runtime_answers": 1.0,
    "host_cpu_percent": 20.0,
    "host_memory_percent": 30.0,
}


# ── processes ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Cost:
    """What a process has cost so far: seconds of CPU, and resident bytes now."""

    cpu: float
    resident: int

    @classmethod
    def of(cls, pid: int) -> Cost:
        """Read it; see proc(5)."""
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        return cls(ticks / os.sysconf("SC_CLK_TCK"), int(fields[21]) * os.sysconf("SC_PAGE_SIZE"))


def free_port() -> int:
    """Give a loopback port that nobody holds at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


@contextmanager
def a_process(
    command: Sequence[str], environ: dict[str, str] | None = None, *, talks: bool = False
) -> Iterator[subprocess.Popen[str]]:
    """Run a program until the block ends; its output can be read, and it can be told something if it ``talks``."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("SLICEWARD_")}
    with subprocess.Popen(  # noqa: S603 (programs of ours, and Mosquitto)
        command,
        env=plain | (environ or {}),
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def a_broker(folder: Path) -> Iterator[tuple[str, int]]:
    """Run a real Mosquitto with the limits of the configuration that we ship; gives its address and process id."""
    port = free_port()
    shipped = broker.config(broker.Folders()).splitlines()
    settings = (
        f"listener {port} 127.0.0.1",
        "allow_anonymous true",
        "persistence false",
        "log_type error",
        "sys_interval 1",
        *(line for line in shipped if line.startswith(("max_", "message_size_limit"))),
        *(["user root"] if os.geteuid() == 0 else []),
    )
    file = folder / "mosquitto.conf"
    file.write_text("\n".join(settings) + "\n", encoding="utf-8")
    program = os.environ.get("SLICEWARD_MOSQUITTO", "/usr/sbin/mosquitto")
    with a_process([program, "-c", str(file)]) as process:
        until(lambda: _accepts(port), "Mosquitto")
        yield f"mqtt://127.0.0.1:{port}", process.pid


def _accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@contextmanager
def an_api(folder: Path, *, hosts: int, pods_a_host: int = 0, beat: float = 0.0) -> Iterator[Path]:
    """Run the emulated API server with a fleet in a process of its own; gives its kubeconfig."""
    file = folder / "kubeconfig"
    with a_process([sys.executable, "-m", "benchmarks._api", str(file), str(hosts), str(pods_a_host), str(beat)]) as process:
        until(file.exists, "the emulated API server", alive=lambda: process.poll() is None)
        yield file


def until(
    question: Callable[[], object], what: str, *, alive: Callable[[], bool] = lambda: True, within: float = PATIENCE
) -> None:
    """Ask again and again until the answer is yes; ends the benchmark where it never is."""
    end = time.monotonic() + within
    while not question():
        if time.monotonic() > end or not alive():
            raise SystemExit(f"{what} did not come")
        time.sleep(0.05)
