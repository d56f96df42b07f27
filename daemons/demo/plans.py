"""What the demo runs on: the planned fleet, where each fault strikes, and the settings of the daemons at the demo's pace."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from importlib import resources
from typing import TYPE_CHECKING

from sliceward.daemons.coordinator.settings import CoordinatorSettings
from sliceward.daemons.watcher.settings import WatcherSettings
from sliceward.simulation.controllers import Times
from sliceward.simulation.faults import Place, links_to_break, place_on_link
from sliceward.simulation.world import Pacing
from sliceward.topology.ids import CubeId
from sliceward.topology.planned import plans_from_yaml

if TYPE_CHECKING:
    from pathlib import Path

    from sliceward.simulation.faults import Fault
    from sliceward.simulation.world import World
    from sliceward.topology.planned import ClusterPlan

CLUSTER = "demo"
FLEET = f"""
clusters:
  - name: {CLUSTER}
    generation: tpu7x
    cubes: 4
    spares: [cube-3]
    gangs:
      - {{name: llm, namespace: ml, slices: 2, cubes: [cube-0, cube-1]}}
      - {{name: vision, namespace: ml, cubes: [cube-2]}}
"""
STRUCK_CUBE, STRUCK_HOST, STRUCK_CHIP = "cube-0", 5, 1
SETTLE, WINDOW = "4s", "8s"
"""How long siblings of a fault are waited for, and over how long counters are looked at; in production 10 s and 10 minutes."""
SECRET = "whsec_c2xpY2V3YXJkLWRlbW8tcGFnZXMtYXJlLW5vdC1zZWNyZXQ="  # noqa: S105 (the demo signs pages to itself)


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for. ``port`` of the page, 0 for any; ``stay``: keep the page until Ctrl-C."""

    fault: Fault
    port: int
    period: str
    stay: bool


@dataclass(frozen=True, slots=True)
class Doors:
    """Where the parts of the demo find each other."""

    folder: Path
    kubeconfig: Path
    broker: str
    provider: str
    receiver: str


def fleet_plan() -> ClusterPlan:
    """Give 4 cubes of tpu7x: a gang of two one-cube slices, a second gang, a spare."""
    return plans_from_yaml(FLEET)[0]


def pacing() -> Pacing:
    """Give a world that turns quicker than a real one: pods end in 1 s, a dead kubelet is noticed after 6 s."""
    times = Times(
        pod_starts=timedelta(seconds=0.4),
        pod_ends=timedelta(seconds=1),
        heartbeat=timedelta(seconds=1.5),
        node_grace=timedelta(seconds=6),
        job_batch=timedelta(seconds=0.3),
        toleration_scale=0.1,
    )
    return Pacing(times=times, repair=timedelta(seconds=5))


def where(fault: Fault, world: World) -> Place:
    """Give the place that the fault strikes: in the first slice of the first gang."""
    node = world.plan.host(STRUCK_CUBE, STRUCK_HOST)
    if fault.part != "link":
        return Place(node, STRUCK_CHIP)
    fleet = world.fleet()
    links = links_to_break(fleet, CubeId(CLUSTER, STRUCK_CUBE), between_cubes=fault.between_cubes)
    # A link between two hosts is the harder one to name: each of them sees only its own end.
    apart = [link for link in links if link.host_a != link.host_b and node in {link.host_a, link.host_b}]
    return place_on_link(fleet, (apart or links)[0])


def quick_rules(folder: Path) -> Path:
    """Write the shipped rules with windows of seconds: production looks back, and waits until it calls a part well, 10 minutes."""
    made = folder / "rules"
    made.mkdir()
    for file in (resources.files("sliceward.detectors") / "rules").iterdir():
        if file.name.endswith(".yaml"):
            (made / file.name).write_text(
                file.read_text("utf-8").replace("10 minutes", "8 seconds").replace("10m", WINDOW), encoding="utf-8"
            )
    return made


def watcher_settings(doors: Doors, period: str) -> WatcherSettings:
    """Give the watcher's settings at the demo's pace."""
    return WatcherSettings.model_validate_json(
        json.dumps(
            {
                "cluster": {"name": CLUSTER, "kubeconfig": str(doors.kubeconfig), "broker": {"url": doors.broker}},
                "panel": {"period": period, "rows": 120, "max_hosts": 256},
                "rules": {"folders": [str(quick_rules(doors.folder))], "grace": "5s", "warm_up": "3s", "refresh": "5s"},
                "health": {"port": 0},
            }
        )
    )


def coordinator_settings(doors: Doors, *, port: int) -> CoordinatorSettings:
    """Give the coordinator's settings: Enforce, as the demo says; shipped playbooks begin in Observe."""
    secret = doors.folder / "pager-secret"
    secret.write_text(SECRET, encoding="utf-8")
    return CoordinatorSettings.model_validate_json(
        json.dumps(
            {
                "clusters": [{"name": CLUSTER, "kubeconfig": str(doors.kubeconfig), "broker": {"url": doors.broker}}],
                "store": {"url": f"sqlite:///{doors.folder / 'sliceward.db'}"},
                "playbooks": {"mode": "Enforce", "settle_at_most": SETTLE},
                "quota": {"ml": {"tpu7x": 192}},
                "pagers": [
                    {"name": "console", "kind": "console"},
                    {"name": "receiver", "kind": "webhook", "url": doors.receiver, "secret": {"file": str(secret)}},
                ],
                "provider": {"kind": "http", "url": doors.provider},
                "api": {"port": port},
                "pace": {"decide_every": "1s", "sweep_every": "5s", "broker_grace": "1s"},
            }
        )
    )
