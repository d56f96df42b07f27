"""Nodes, pods and gangs with anything in them, at the API server that watcher and coordinator watch.

What a real server vouches for (name, namespace, uid, version) is kept; all else may be worse than any server lets through.
"""

from __future__ import annotations

import asyncio
import copy
import json
import math
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sliceward.remediations.kubernetes.slim import decoder
from sliceward.remediations.ports import JOB, JOBSET, NODE, POD
from sliceward.simulation.kube.store import Change, Item
from tests.fuzz.ground import CLUSTER, FUZZ, PLURALS, Ground, kind_of, put, the_fleet, until
from tests.fuzz.junk import JUNK, broken_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fuzz.processes import Daemon

Json = dict[str, Any]

OBJECTS: dict[str, Json] = {}
for _plural in PLURALS:
    OBJECTS[_plural] = getattr(the_fleet().objects(), _plural)[0] if getattr(the_fleet().objects(), _plural) else {}
KINDS = {"nodes": NODE, "pods": POD, "jobsets": JOBSET, "jobs": JOB}
KNOWN = ("cube-0-host-00", "cube-3-host-01")
"""Hosts of the fleet, for objects that speak of those that are there."""


@st.composite
def hostile(draw: st.DrawFn, plural: str) -> Json:
    """One object of this kind, with one to three fields somewhere that are not what they should be."""
    one = copy.deepcopy(OBJECTS[plural])
    for _ in range(draw(st.integers(1, 3))):
        part = draw(st.sampled_from([key for key in one if isinstance(one[key], dict) and one[key]] or ["metadata"]))
        one[part] = draw(broken_tree(one[part], JUNK | st.sampled_from(KNOWN)))
        if not isinstance(one.get("metadata"), dict):
            one["metadata"] = {}
    return one


@dataclass
class Writer:
    """Who writes. ``probe``: a node of the fleet that changes after each, and must be seen to."""

    ground: Ground
    coordinator: Daemon
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    cordoned: bool = False
    refusals: Counter[str] = field(default_factory=Counter)

    def write(self, plural: str, one: Json, *, raw: bytes = b"") -> str:
        """Put it there under a name of its own; give the name by which it is complained about."""
        name = f"hostile-{next(self.numbers):04}"
        namespaced = plural != "nodes"
        meta = one["metadata"]
        meta |= {"name": name, "uid": f"uid-{name}"}
        if namespaced:
            meta["namespace"] = "default"
        self.ground.backstage.do(self._write(plural, one, raw))
        return f"{CLUSTER}: {plural} {'default/' if namespaced else ''}{name}"

    async def _write(self, plural: str, one: Json, raw: bytes) -> None:
        await asyncio.sleep(0)
        store, kind = self.ground.api.store, kind_of(self.ground.api, plural)
        store.version += 1
        meta = one["metadata"]
        meta["resourceVersion"] = str(store.version)
        body = json.dumps(one, allow_nan=False).encode().replace(b'"DEEP"', raw or b'"DEEP"')
        key = f"default/{meta['name']}" if kind.namespaced else str(meta["name"])
        fields = {"metadata.name": str(meta["name"]), "metadata.namespace": "default" if kind.namespaced else ""}
        item = Item(key, store.version, body, {}, fields, meta["uid"], (), leaving=False, ownership=None)
        collection = store.collection(kind)
        collection.items[key] = item
        collection.keys.append(key)
        collection.keys.sort()
        collection.record(Change(store.version, None, item))

    def remove(self, where: str, plural: str) -> None:
        key = where.rpartition(" ")[2]
        self.ground.backstage.do(self._remove(plural, key))

    async def _remove(self, plural: str, key: str) -> None:
        await asyncio.sleep(0)
        store = self.ground.api.store
        collection = store.collection(kind_of(self.ground.api, plural))
        store.version += 1
        item = collection.items.pop(key)
        collection.keys.remove(key)
        body = json.loads(item.raw)
        body["metadata"]["resourceVersion"] = str(store.version)
        last = Item(key, store.version, json.dumps(body).encode(), {}, item.fields, item.uid, (), leaving=False, ownership=None)
        collection.record(Change(store.version, item, last, gone=True))

    def well(self) -> None:
        """Cordon a node of the fleet, or take that back; the coordinator must see it."""
        self.cordoned = not self.cordoned
        self.ground.backstage.do(self._cordon(self.cordoned))
        until(self._seen, "a node beside that was cordoned or not")

    async def _cordon(self, cordoned: bool) -> None:  # noqa: FBT001 (what is written)
        await asyncio.sleep(0)
        api = self.ground.api
        node = api.store.get(kind_of(api, "nodes"), "cube-3-host-00")
        assert node is not None
        node["spec"]["unschedulable"] = cordoned
        put(api, "nodes", node)

    def _seen(self) -> bool:
        found = self.coordinator.counts("sliceward_fleet_hosts_cordoned", "cluster").get(CLUSTER)
        return found == float(self.cordoned)


@pytest.fixture(scope="module")
def writer(ground: Ground, watcher: Daemon, coordinator: Daemon) -> Writer:
    assert watcher.process.poll() is None
    until(lambda: coordinator.counts("sliceward_fleet_hosts", "cluster").get(CLUSTER) == 64, "the fleet")
    return Writer(ground, coordinator)


def sound(value: Any) -> Any:  # noqa: ANN401 (JSON)
    """Give it as JSON can hold it."""
    match value:
        case float() if not math.isfinite(value):
            return str(value)
        case dict():
            return {str(key): sound(held) for key, held in value.items()}
        case list():
            return [sound(held) for held in value]
        case _:
            return value


@pytest.mark.parametrize("plural", [plural for plural in PLURALS if OBJECTS[plural]])
@FUZZ
@given(data=st.data())
def test_objects_that_no_kubelet_or_controller_writes(writer: Writer, watcher: Daemon, plural: str, data: st.DataObject) -> None:
    one = sound(data.draw(hostile(plural)))
    where = writer.write(plural, one)
    try:
        decoder(KINDS[plural])(json.dumps(one).encode())
    except msgspec.MsgspecError:
        for daemon in (writer.coordinator, watcher) if plural != "jobs" else (writer.coordinator,):
            daemon.says("object set aside", where)
        writer.refusals[plural] += 1
    name = where.rpartition("/")[2].rpartition(" ")[2]
    problems = [p for p in writer.coordinator.json("/api/v1/fleet")["clusters"][0]["problems"] if name in p["about"]]
    for problem in problems:
        assert problem["name"]
        assert 0 < len(problem["why"]) < 2000
        assert problem["what_to_do"]
    writer.refusals[plural] += bool(problems)
    writer.remove(where, plural)
    if int(name[-4:]) % 5 == 0:
        writer.well()


@pytest.mark.parametrize("plural", [plural for plural in PLURALS if OBJECTS[plural]])
def test_what_could_not_be_used_of_them_was_told(writer: Writer, plural: str) -> None:
    assert writer.refusals[plural] >= 20


@pytest.mark.parametrize("plural", [plural for plural in PLURALS if OBJECTS[plural]])
@pytest.mark.parametrize("depth", [900, 9_990])
def test_an_object_that_is_nested_without_end(writer: Writer, plural: str, depth: int) -> None:
    one = copy.deepcopy(OBJECTS[plural])
    one["spec"]["odd"] = "DEEP"
    where = writer.write(plural, one, raw=b"[" * depth + b"]" * depth)
    if depth > 1_000:
        assert "nested" in writer.coordinator.says("object set aside", where)["why"]
    writer.well()


@pytest.mark.parametrize("plural", [plural for plural in PLURALS if OBJECTS[plural]])
def test_an_object_with_a_text_that_is_no_utf_8(writer: Writer, plural: str) -> None:
    one = copy.deepcopy(OBJECTS[plural])
    one["metadata"].setdefault("labels", {})["odd"] = "DEEP"
    where = writer.write(plural, one, raw=b'"\xff"')
    assert "utf-8" in writer.coordinator.says("object set aside", where)["why"]
    writer.well()


def test_a_list_that_holds_them_is_read_at_a_restart_of_the_watches(writer: Writer) -> None:
    writer.ground.backstage.do(_forget(writer.ground))
    before = writer.coordinator.counts("sliceward_cluster_set_aside", "cluster")[CLUSTER]
    assert before >= 3
    for _ in range(3):
        writer.well()
    assert writer.coordinator.counts("sliceward_cluster_set_aside", "cluster")[CLUSTER] == before


async def _forget(ground: Ground) -> None:
    await asyncio.sleep(0)
    ground.api.compact()


def test_a_thousand_objects_that_cannot_be_read_fill_no_log(writer: Writer) -> None:
    one = copy.deepcopy(OBJECTS["pods"])
    one["spec"] = "none"
    for _ in range(1_000):
        writer.write("pods", copy.deepcopy(one))
    writer.well()
    told = [line for line in writer.coordinator.told() if line["event"] == "object set aside"]
    assert len(told) < 400


def test_after_all_that_both_are_well(writer: Writer, watcher: Daemon) -> None:
    writer.well()
    for daemon in (watcher, writer.coordinator):
        assert daemon.sees_all()
        daemon.unharmed()
