"""One contract for the port `Cluster`: the fake, the emulated API server and a real one answer alike."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import uuid
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

import pytest

import sliceward.remediations.kubernetes.cluster as adapter
import sliceward.remediations.kubernetes.mirror as adapter_mirror
from sliceward.remediations.kubernetes import connect
from sliceward.remediations.ports import EVENT, JOBSET, NODE, POD, Cluster, Kind, Object
from sliceward.topology.errors import Conflict, Refused, Retry
from tests.fakes.cluster import FakeCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection

CONFIG = Kind("v1", "configmaps")
UNKNOWN = Kind("nobody.example.test/v1", "things")
NAMESPACE = "default"


class LivingMirror(Protocol):
    """What a mirror shows."""

    synced: bool
    absent: bool

    @property
    def objects(self) -> Collection[Object]: ...

    async def run(self, on_change: Callable[[], None] | None = None) -> None: ...


class MirroringCluster(Cluster, Protocol):
    """The port, and mirrors."""

    def mirror(
        self, kind: Kind, *, fields: str = "", labels: str = "", needed: Callable[[Object], bool] | None = None
    ) -> Any: ...  # noqa: ANN401 (two classes, one shape)


@pytest.fixture(params=["fake", "emulator", "real"])
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[MirroringCluster]:
    async with AsyncExitStack() as stack:
        match request.param:
            case "fake":
                yield FakeCluster()
                return
            case "emulator":
                server = importlib.import_module("sliceward.simulation.kube.server")
                kubeconfig = (await stack.enter_async_context(server.running_api(port=0))).kubeconfig
                if callable(kubeconfig):
                    kubeconfig = kubeconfig(request.getfixturevalue("tmp_path") / "kubeconfig")
            case _:
                kubeconfig = request.getfixturevalue("bare_control_plane")
        yield await stack.enter_async_context(connect("c1", kubeconfig=kubeconfig))


@pytest.fixture
def name() -> str:
    return f"t-{uuid.uuid4().hex[:12]}"


async def _config(cluster: Cluster, name: str, **labels: str) -> Object:
    return await cluster.create(CONFIG, _body("v1", "ConfigMap", name, labels=labels) | {"data": {"a": "1"}}, NAMESPACE)


def _body(api: str, kind: str, name: str, *, labels: dict[str, str] | None = None) -> Object:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "labels": labels or {}}}


async def _node(cluster: Cluster, name: str) -> Object:
    stranger = {"key": "example.test/theirs", "value": "x", "effect": "NoSchedule"}
    return await cluster.create(NODE, _body("v1", "Node", name) | {"spec": {"taints": [stranger]}})


async def _pod(cluster: Cluster, name: str, node: str) -> Object:
    spec = {
        "nodeName": node,
        "terminationGracePeriodSeconds": 30,
        "automountServiceAccountToken": False,
        "containers": [{"name": "c", "image": "i"}],
    }
    async with asyncio.timeout(30):
        while True:
            try:
                return await cluster.create(POD, _body("v1", "Pod", name, labels={"t": name}) | {"spec": spec}, NAMESPACE)
            except Refused as error:
                # A new server has no service account in the namespace for its first second.
                if "serviceaccount" not in str(error):
                    raise
            await asyncio.sleep(0.2)


async def test_what_does_not_exist_is_none_and_an_unknown_kind_is_empty(cluster: MirroringCluster, name: str) -> None:
    assert await cluster.get(NODE, name) is None
    assert await cluster.get(UNKNOWN, name, NAMESPACE) is None
    assert list(await cluster.list(UNKNOWN)) == []
    assert await cluster.delete(CONFIG, name, NAMESPACE) is False


async def test_creating_again_gives_the_object_that_is_there(cluster: MirroringCluster, name: str) -> None:
    first = await _config(cluster, name, who="first")
    again = await _config(cluster, name, who="second")
    assert again["metadata"]["uid"] == first["metadata"]["uid"]
    assert again["metadata"]["labels"] == {"who": "first"}


async def test_a_merge_patch_sets_removes_and_keeps(cluster: MirroringCluster, name: str) -> None:
    await _config(cluster, name, keep="me", drop="me")
    body: Object = {"metadata": {"labels": {"drop": None, "new": "one"}}, "data": {"b": "2"}}
    patched = await cluster.patch(CONFIG, name, body, NAMESPACE)
    assert patched["metadata"]["labels"] == {"keep": "me", "new": "one"}
    assert patched["data"] == {"a": "1", "b": "2"}
    assert await cluster.get(CONFIG, name, NAMESPACE) == patched


async def test_a_patch_with_a_stale_version_is_a_conflict_and_changes_nothing(cluster: MirroringCluster, name: str) -> None:
    old = await _config(cluster, name)
    new = await cluster.patch(CONFIG, name, {"data": {"a": "2"}}, NAMESPACE)
    stale: Object = {"metadata": {"resourceVersion": old["metadata"]["resourceVersion"]}, "data": {"a": "3"}}
    with pytest.raises(Conflict):
        await cluster.patch(CONFIG, name, stale, NAMESPACE)
    assert await cluster.get(CONFIG, name, NAMESPACE) == new


async def test_a_patch_that_changes_nothing_keeps_the_version(cluster: MirroringCluster, name: str) -> None:
    old = await _config(cluster, name)
    assert await cluster.patch(CONFIG, name, {"data": {"a": "1"}}, NAMESPACE) == old


async def test_a_patch_of_what_is_not_there_is_refused(cluster: MirroringCluster, name: str) -> None:
    with pytest.raises(Refused):
        await cluster.patch(NODE, name, {"metadata": {"labels": {"a": "b"}}})


async def test_taints_are_one_list_that_a_patch_replaces_whole(cluster: MirroringCluster, name: str) -> None:
    await _node(cluster, name)
    ours = {"key": "sliceward.dev/out-of-service", "value": "inc-1", "effect": "NoSchedule"}
    patched = await cluster.patch(NODE, name, {"spec": {"taints": [ours]}})
    assert [taint["key"] for taint in patched["spec"]["taints"]] == ["sliceward.dev/out-of-service"]
    await cluster.delete(NODE, name)


async def test_a_patch_at_the_main_door_does_not_touch_status(cluster: MirroringCluster, name: str) -> None:
    await _node(cluster, name)
    patched = await cluster.patch(NODE, name, {"status": {"phase": "Wrong"}, "metadata": {"labels": {"a": "b"}}})
    assert patched.get("status", {}).get("phase") != "Wrong"
    assert patched["metadata"]["labels"]["a"] == "b"
    await cluster.delete(NODE, name)


async def test_a_delete_for_another_uid_deletes_nothing(cluster: MirroringCluster, name: str) -> None:
    found = await _config(cluster, name)
    assert await cluster.delete(CONFIG, name, NAMESPACE, uid=str(uuid.uuid4())) is False
    assert await cluster.get(CONFIG, name, NAMESPACE) is not None
    assert await cluster.delete(CONFIG, name, NAMESPACE, uid=found["metadata"]["uid"]) is True
    assert await cluster.get(CONFIG, name, NAMESPACE) is None


async def test_a_bound_pod_ends_after_its_grace_and_at_once_by_force(cluster: MirroringCluster, name: str) -> None:
    pod = await _pod(cluster, name, f"{name}-node")
    assert await cluster.delete(POD, name, NAMESPACE) is True
    ending = await cluster.get(POD, name, NAMESPACE)
    assert ending is not None
    assert ending["metadata"]["deletionTimestamp"]
    assert ending["metadata"]["deletionGracePeriodSeconds"] == 30
    assert await cluster.delete(POD, name, NAMESPACE, uid=pod["metadata"]["uid"], grace=timedelta()) is True
    assert await cluster.get(POD, name, NAMESPACE) is None


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("a=1", {"one", "both"}),
        ("a=1,b=2", {"both"}),
        ("b!=2", {"one", "none"}),
        ("!a", {"none"}),
        ("a", {"one", "both"}),
        ("b in (2,3)", {"both"}),
        ("a notin (1)", {"none"}),
    ],
)
async def test_label_selectors(cluster: MirroringCluster, name: str, labels: str, expected: set[str]) -> None:
    await _config(cluster, f"{name}-one", t=name, a="1")
    await _config(cluster, f"{name}-both", t=name, a="1", b="2")
    await _config(cluster, f"{name}-none", t=name)
    found = await cluster.list(CONFIG, namespace=NAMESPACE, labels=f"t={name},{labels}")
    assert {item["metadata"]["name"].removeprefix(f"{name}-") for item in found} == expected


async def test_field_selectors_find_the_pods_of_a_node(cluster: MirroringCluster, name: str) -> None:
    await _pod(cluster, f"{name}-a", f"{name}-x")
    await _pod(cluster, f"{name}-b", f"{name}-y")
    found = await cluster.list(POD, fields=f"spec.nodeName={name}-x")
    assert [item["metadata"]["name"] for item in found] == [f"{name}-a"]
    for pod in ("a", "b"):
        await cluster.delete(POD, f"{name}-{pod}", NAMESPACE, grace=timedelta())


async def test_events_are_found_by_what_they_are_about(cluster: MirroringCluster, name: str) -> None:
    for about in (name, f"{name}-other"):
        event = _body("events.k8s.io/v1", "Event", f"{about}.1") | {
            "regarding": {"kind": "Node", "name": about, "apiVersion": "v1"},
            "eventTime": "2026-09-01T12:00:00.000000Z",
            "reportingController": "sliceward.dev/test",
            "reportingInstance": "t",
            "action": "Test",
            "reason": "Test",
            "type": "Normal",
        }
        await cluster.create(EVENT, event, NAMESPACE)
    found = await cluster.list(EVENT, fields=f"regarding.name={name}")
    assert [item["regarding"]["name"] for item in found] == [name]


async def test_a_long_list_comes_whole(cluster: MirroringCluster, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "PAGE", 3)
    for number in range(8):
        await _config(cluster, f"{name}-{number}", t=name)
    found = await cluster.list(CONFIG, namespace=NAMESPACE, labels=f"t={name}")
    assert len({item["metadata"]["uid"] for item in found}) == 8


async def test_a_mirror_holds_what_there_is_and_follows_every_change(
    cluster: MirroringCluster, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter_mirror, "PAGE", 2)
    for number in range(5):
        await _config(cluster, f"{name}-{number}", t=name)
    mirror: LivingMirror = cluster.mirror(CONFIG, labels=f"t={name}")
    async with _following(mirror) as changed:
        await changed(lambda: len(mirror.objects) == 5)
        await _config(cluster, f"{name}-new", t=name)
        await changed(lambda: _names(mirror) >= {f"{name}-new"})
        await cluster.patch(CONFIG, f"{name}-0", {"data": {"a": "9"}}, NAMESPACE)
        await changed(lambda: any(item["data"]["a"] == "9" for item in mirror.objects))
        await cluster.delete(CONFIG, f"{name}-1", NAMESPACE)
        await changed(lambda: f"{name}-1" not in _names(mirror))
        await cluster.patch(CONFIG, f"{name}-2", {"metadata": {"labels": {"t": "other"}}}, NAMESPACE)
        await changed(lambda: f"{name}-2" not in _names(mirror))
        assert len(mirror.objects) == 4


async def test_a_mirror_of_nodes_and_pods_keeps_what_sliceward_reads(cluster: MirroringCluster, name: str) -> None:
    await _node(cluster, name)
    await _pod(cluster, name, name)
    nodes: LivingMirror = cluster.mirror(NODE, fields=f"metadata.name={name}")
    pods: LivingMirror = cluster.mirror(POD, fields=f"spec.nodeName={name}")
    async with _following(nodes) as node_changed, _following(pods) as pod_changed:
        await node_changed(lambda: len(nodes.objects) == 1)
        await pod_changed(lambda: len(pods.objects) == 1)
    (node,), (pod,) = nodes.objects, pods.objects
    assert node["metadata"]["name"] == name
    assert "example.test/theirs" in {taint["key"] for taint in node["spec"]["taints"]}
    assert "managedFields" not in node["metadata"]
    assert pod["spec"]["nodeName"] == name
    assert pod["metadata"]["labels"]["t"] == name
    assert pod["status"]["phase"] == "Pending"
    await cluster.delete(POD, name, NAMESPACE, grace=timedelta())
    await cluster.delete(NODE, name)


async def test_a_mirror_of_an_unknown_kind_is_empty_and_in_step(cluster: MirroringCluster) -> None:
    mirror: LivingMirror = cluster.mirror(UNKNOWN)
    async with _following(mirror) as changed:
        await changed(lambda: mirror.synced)
        assert list(mirror.objects) == []


async def test_jobsets_are_optional(cluster: MirroringCluster) -> None:
    with contextlib.suppress(Retry):
        assert list(await cluster.list(JOBSET, labels="t=nobody")) == []


def _names(mirror: LivingMirror) -> set[str]:
    return {item["metadata"]["name"] for item in mirror.objects}


@contextlib.asynccontextmanager
async def _following(mirror: LivingMirror) -> AsyncIterator[Callable[[Callable[[], bool]], Any]]:
    """Run a mirror; the function that is given waits until a state is reached, by the mirror's own wakes."""
    woken = asyncio.Event()

    async def until(reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not (mirror.synced and reached()):
                await woken.wait()
                woken.clear()

    running = asyncio.create_task(mirror.run(woken.set))
    try:
        yield until
    finally:
        running.cancel()
        await asyncio.wait([running])
