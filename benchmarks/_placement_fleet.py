"""A fleet of 100,000 chips as a snapshot: how long from node objects, and how much memory with all that was asked of it once."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import tracemalloc
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from benchmarks._fleet import CLUSTER, drawn
from benchmarks.claim import Claim, median_seconds, setup
from sliceward.scheduling.fleet import snapshot_of
from sliceward.scheduling.ground import Want
from sliceward.scheduling.mix import usual_mix
from sliceward.topology.reading import read_fleet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sliceward.scheduling.snapshot import Snapshot

HOSTS = 25_000
NOW = datetime(2026, 1, 1, tzinfo=UTC)
TIMES = 5
MEGABYTE = 1e6


def seconds() -> Claim:
    """From node objects to the snapshot that decisions are made on, cold."""
    nodes = drawn(HOSTS).nodes
    gc.collect()
    gc.freeze()  # the objects are somebody else's, and no matter of ours

    def read() -> Snapshot:
        return snapshot_of(read_fleet(CLUSTER, nodes=nodes, pods=(), as_of=NOW), NOW)

    return Claim(
        claim="snapshot_100k_s",
        value=median_seconds(read, times=TIMES),
        unit="s",
        goal=1.0,
        better="lower",
        reference="plain dict copy of the same objects, all the way down",
        reference_value=median_seconds(lambda: [_copied(node) for node in nodes], times=TIMES),
        setup=setup(f"{len(nodes):,} nodes of 4 chips"),
    )


def _copied(value: Any) -> Any:  # noqa: ANN401 (JSON)
    if type(value) is dict:
        return {key: _copied(inner) for key, inner in value.items()}
    return [_copied(inner) for inner in value] if type(value) is list else value


def memory() -> Claim:
    """Count what the snapshot holds beside the fleet, once each ground has been asked for each expected shape."""
    told = subprocess.run(
        [sys.executable, "-m", "benchmarks._placement_fleet"], check=True, capture_output=True, text=True
    ).stdout
    found = json.loads(told)
    return Claim(
        claim="memory_100k_mb",
        value=found["snapshot"],
        unit="MB",
        goal=200.0,
        better="lower",
        reference="the fleet that it is made from",
        reference_value=found["fleet"],
        setup=setup(f"{found['hosts']:,} hosts of 4 chips, allocated, after the answers for {found['shapes']} shapes"),
    )


def measure() -> dict[str, float]:
    """Measure memory; in a process of its own."""
    objects = drawn(HOSTS)
    tracemalloc.start()
    fleet = read_fleet(CLUSTER, nodes=objects.nodes, pods=objects.pods, jobsets=objects.jobsets, as_of=NOW)
    read = _traced()
    snapshot = snapshot_of(fleet, NOW)
    mix = usual_mix("tpu7x")
    for shape, _ in mix:
        want = Want("tpu7x", shape)
        for ground in snapshot.grounds.values():
            ground.best(want, snapshot.terms("tpu7x", None))
            ground.alive(shape)
    return {"hosts": len(fleet.hosts), "shapes": len(mix), "fleet": read, "snapshot": _traced() - read}


def _traced() -> float:
    gc.collect()
    return tracemalloc.get_traced_memory()[0] / MEGABYTE


CLAIMS: Mapping[str, Callable[[], Claim]] = {"snapshot_100k_s": seconds, "memory_100k_mb": memory}


if __name__ == "__main__":
    print(json.dumps(measure()))
