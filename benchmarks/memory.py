"""Memory of the watcher and of the coordinator for each 1,000 hosts, with a full window and everything of Kubernetes cached.

10,000 nodes and 40,000 pods, listed from the emulated API server by the real mirrors; for the watcher also 15 minutes of frames with
the whole catalogue, fed as fast as they are taken in, for the time is the panel's argument. Each is a process of its own, once with
the fleet and once with none: the difference is the claim, the latter is what a process takes anyway. Counted is the most that was
ever resident, for that is what a limit must allow. The reference in the same run: the same nodes and pods as plain dicts.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks._fleet import CLUSTER, a_broker, a_process, an_api, free_port
from benchmarks.claim import Claim, setup, tell

HOSTS, PODS_A_HOST = 10_000, 4
ROWS = 90
"""Of 10 s each."""
GOAL = 100.0
"""Megabytes that watcher and coordinator together may take for 1,000 hosts."""
MEGABYTE = 1e6


@dataclass(frozen=True, slots=True)
class Taken:
    """Megabytes that a process has resident, and the most that it ever had."""

    now: float
    most: float

    @classmethod
    def by(cls, pid: int) -> Taken:
        """Read it; see proc(5)."""
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
        told = dict(line.split(":", 1) for line in lines)
        return cls(*(int(told[name].split()[0]) * 1024 / MEGABYTE for name in ("VmRSS", "VmHWM")))


def measured(hosts: int) -> dict[str, Taken]:
    """Give what each process takes with so many hosts."""
    found = {}
    with (
        tempfile.TemporaryDirectory(prefix="sliceward-") as folder,
        a_broker(Path(folder)) as (broker, _),
        an_api(Path(folder), hosts=hosts, pods_a_host=PODS_A_HOST) as kubeconfig,
    ):
        both = {
            "SLICEWARD_CLUSTER": CLUSTER,
            "SLICEWARD_MQTT_URL": broker,
            "KUBECONFIG": str(kubeconfig),
            "SLICEWARD_LOG__LEVEL": "error",
        }
        own: dict[str, tuple[list[str], dict[str, str]]] = {
            "watcher": ([str(hosts), str(ROWS)], {"SLICEWARD_PANEL__ROWS": str(ROWS)}),
            "coordinator": (
                [],
                {"SLICEWARD_STORE_URL": f"sqlite:///{folder}/store.db", "SLICEWARD_API__PORT": str(free_port())},
            ),
            "reference": ([str(kubeconfig)], {}),
        }
        for name, (arguments, more) in own.items():
            with a_process([sys.executable, "-m", f"benchmarks._memory_{name}", *arguments], both | more) as process:
                if not (process.stdout or sys.stdin).readline().startswith("full"):
                    raise SystemExit(f"the {name} did not fill")
                found[name] = Taken.by(process.pid)
                print(f"{hosts} hosts, {name}: {found[name]}", file=sys.stderr, flush=True)
    return found


def main(hosts: int) -> None:
    """Measure all with the fleet and without."""
    base, full = measured(0), measured(hosts)
    each = {name: (full[name].most - base[name].most) / hosts * 1000 for name in full}
    for name in ("watcher", "coordinator"):
        other = "coordinator" if name == "watcher" else "watcher"
        tell(
            Claim(
                claim=f"{name}_mb_per_1000_hosts: together with the {other}'s at most {GOAL:g}",
                value=each[name],
                unit="MB",
                goal=GOAL - each[other],
                better="lower",
                reference="nodes and pods as plain dicts",
                reference_value=each["reference"],
                setup=setup(
                    f"{hosts} nodes, {hosts * PODS_A_HOST} pods"
                    + (f", {ROWS} rows of 10 s with the whole catalogue" if name == "watcher" else "")
                    + f"; the most that was resident, {full[name].now:.0f} MB at the end; without a fleet {base[name].most:.0f} MB"
                ),
            )
        )


if __name__ == "__main__":
    main(int((*sys.argv[1:2], str(HOSTS))[0]))
