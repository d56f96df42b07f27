"""What mirrors hold of nodes and pods: all that a reading of the fleet asks for, and what is said alike once."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from sliceward.remediations.kubernetes.slim import decoder
from sliceward.remediations.ports import NODE, POD
from sliceward.topology.reading import read_fleet
from tests.builders import a_fleet

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FLEET = (
    a_fleet()
    .with_gang("llm", slices=2, priority=7)
    .on("cube-0", "cube-1")
    .cordoned("cube-2-host-03")
    .tainted("example.test/theirs", "cube-2-host-03", effect="NoExecute")
    .marked("i-7", "cube-2-host-05")
    .with_condition("Odd", "Unknown", "cube-2-host-04")
    .with_stranger("cube-3-host-01")
    .pod_edited("llm-slice-0-3", lambda pod: pod["metadata"].update(deletionTimestamp="2026-01-01T00:00:00Z"))
)


def test_the_fleet_reads_the_same_from_slim_objects() -> None:
    whole = FLEET.objects()
    nodes, pods = (
        [decoder(kind)(json.dumps(one).encode()) for one in found] for kind, found in ((NODE, whole.nodes), (POD, whole.pods))
    )
    read = read_fleet("c1", nodes=nodes, pods=pods, jobsets=whole.jobsets, jobs=whole.jobs, as_of=NOW)
    assert read == read_fleet("c1", nodes=whole.nodes, pods=whole.pods, jobsets=whole.jobsets, jobs=whole.jobs, as_of=NOW)
    assert len(read.hosts) == 64
    assert read.strangers


def test_what_nodes_say_alike_is_held_once() -> None:
    first, second = (decoder(NODE)(json.dumps(node).encode()) for node in FLEET.objects().nodes[:2])
    assert first["status"]["conditions"][0] is second["status"]["conditions"][0]
    assert first["status"]["capacity"] is second["status"]["capacity"]
    labels, others = first["metadata"]["labels"], second["metadata"]["labels"]
    pool = "cloud.google.com/gke-nodepool"
    assert next(key for key in labels if key == pool) is next(key for key in others if key == pool)
    assert labels is not others
