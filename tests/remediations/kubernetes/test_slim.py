"""What mirrors hold of nodes and pods: all that a reading of the fleet asks for, and what is said alike once."""

from __future__ import annotations

import json
import sys
import tracemalloc
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sliceward.remediations.kubernetes.slim import decoder, saver
from sliceward.remediations.ports import NODE, POD
from sliceward.topology.reading import read_fleet
from tests.builders import a_fleet

if TYPE_CHECKING:
    from sliceward.remediations.ports import Object

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
    first, second = (saver(NODE)(decoder(NODE)(json.dumps(node).encode())) for node in FLEET.objects().nodes[:2])
    assert first["status"]["conditions"][0] is second["status"]["conditions"][0]
    assert first["status"]["capacity"] is second["status"]["capacity"]
    labels, others = first["metadata"]["labels"], second["metadata"]["labels"]
    pool = "cloud.google.com/gke-nodepool"
    assert next(key for key in labels if key == pool) is next(key for key in others if key == pool)
    assert labels[pool] is others[pool]
    assert labels is not others


def a_pod(labels: dict[str, str], annotations: dict[str, str]) -> Object:
    raw = json.dumps({"metadata": {"name": "p", "labels": labels, "annotations": annotations}}).encode()
    return saver(POD)(decoder(POD)(raw))


def test_no_text_of_a_pod_is_given_to_the_interpreter_which_some_never_free() -> None:
    """Python 3.12.0 to 3.12.6 keep for ever what is interned (https://github.com/python/cpython/issues/113993)."""
    pod = a_pod({"never-said-before/key": "never-said-before-value"}, {"never-said-before/too": "never-said-before-text"})
    for part in ("labels", "annotations"):
        for text in (word for pair in pod["metadata"][part].items() for word in pair):
            assert sys.intern("".join([*text])) is not text


def test_what_only_one_pod_says_goes_with_it() -> None:
    tracemalloc.start()
    try:
        for number in range(30):
            a_pod({}, {f"{number}": f"{number}" + "x" * 100_000, f"{number}/" + "y" * 100_000: ""})
        assert tracemalloc.get_traced_memory()[0] < 1 << 20
    finally:
        tracemalloc.stop()
