"""The clients that people really use: kubernetes-asyncio typed, custom and dynamic, and kubectl. On both servers."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from kubernetes_asyncio import client, config, dynamic, watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.contracts.kubernetes_api import Api


@pytest.fixture
async def connection(api: Api) -> AsyncIterator[client.ApiClient]:
    settings = client.Configuration()
    await config.load_kube_config(str(api.kubeconfig), client_configuration=settings)
    async with client.ApiClient(settings) as found:
        yield found


async def test_the_typed_client_writes_and_reads(api: Api, connection: client.ApiClient) -> None:
    core = client.CoreV1Api(connection)
    config_map = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="one"), data={"a": "1"})
    made = await core.create_namespaced_config_map(api.namespace, config_map)
    assert made.metadata.uid
    listed = await core.list_namespaced_config_map(api.namespace, field_selector="metadata.name=one")
    assert [item.data for item in listed.items] == [{"a": "1"}]
    body = {"data": {"a": "2"}, "metadata": {"resourceVersion": made.metadata.resource_version}}
    merge: Any = {"_content_type": "application/merge-patch+json"}  # the client's stubs do not know the option, its code does
    changed = await core.patch_namespaced_config_map("one", api.namespace, body, **merge)
    assert changed.data == {"a": "2"}
    with pytest.raises(client.ApiException) as stale:
        await core.patch_namespaced_config_map("one", api.namespace, body | {"data": {"a": "3"}}, **merge)
    assert (stale.value.status, json.loads(stale.value.body or "")["reason"]) == (409, "Conflict")
    await core.delete_namespaced_config_map("one", api.namespace)
    with pytest.raises(client.ApiException) as gone:
        await core.read_namespaced_config_map("one", api.namespace)
    assert gone.value.status == 404


async def test_the_typed_client_evicts(api: Api, connection: client.ApiClient) -> None:
    await api.pod("p", node="n", ready=True)
    eviction = client.V1Eviction(metadata=client.V1ObjectMeta(name="p", namespace=api.namespace))
    await client.CoreV1Api(connection).create_namespaced_pod_eviction("p", api.namespace, eviction)
    assert "deletionTimestamp" in (await api.get(api.at("pods", "p")))["metadata"]


async def test_a_lease_passes_from_hand_to_hand_by_version(api: Api, connection: client.ApiClient) -> None:
    leases = client.CoordinationV1Api(connection)
    spec = client.V1LeaseSpec(holder_identity="a", lease_duration_seconds=15)
    lease = await leases.create_namespaced_lease(
        api.namespace, client.V1Lease(metadata=client.V1ObjectMeta(name="leader"), spec=spec)
    )
    mine = await leases.read_namespaced_lease("leader", api.namespace)
    lease.spec.holder_identity, mine.spec.holder_identity = "b", "c"
    await leases.replace_namespaced_lease("leader", api.namespace, lease)
    with pytest.raises(client.ApiException) as late:
        await leases.replace_namespaced_lease("leader", api.namespace, mine)
    assert late.value.status == 409


async def test_the_clients_own_watch_sees_changes(api: Api, connection: client.ApiClient) -> None:
    core = client.CoreV1Api(connection)
    await api.made("configmaps", {"metadata": {"name": "one"}})
    seen = []
    async with watch.Watch() as stream:
        async for event in stream.stream(core.list_namespaced_config_map, api.namespace, field_selector="metadata.name=one"):
            seen.append((event["type"], event["object"].metadata.name))
            if event["type"] == "DELETED":
                break
            await api.delete(api.at("configmaps", "one"))
    assert seen == [("ADDED", "one"), ("DELETED", "one")]


async def test_custom_objects_and_dynamic_discovery(api: Api, connection: client.ApiClient) -> None:
    group = f"g{uuid.uuid4().hex[:8]}.example.com"
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    spec = {
        "group": group, "scope": "Namespaced", "names": {"kind": "Thing", "plural": "things"},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
    }  # fmt: skip
    definition: Any = {"metadata": {"name": f"things.{group}"}, "spec": spec}
    definitions = client.ApiextensionsV1Api(connection)
    await definitions.create_custom_resource_definition(definition)
    try:
        custom = client.CustomObjectsApi(connection)
        async with asyncio.timeout(15):
            while (await api.get(api.at("things", api=f"{group}/v1"))).code != 200:  # noqa: ASYNC110 - it is on a server
                await asyncio.sleep(0.05)
        thing = {"apiVersion": f"{group}/v1", "kind": "Thing", "metadata": {"name": "one"}, "spec": {"a": 1}}
        made = await custom.create_namespaced_custom_object(group, "v1", api.namespace, "things", thing)
        assert made["spec"] == {"a": 1}
        merge: Any = {"_content_type": "application/merge-patch+json"}
        place = (group, "v1", api.namespace, "things", "one")
        changed = await custom.patch_namespaced_custom_object(*place, {"spec": {"a": 2}}, **merge)
        assert changed["spec"] == {"a": 2}
        found = await dynamic.DynamicClient(connection)
        things = await found.resources.get(api_version=f"{group}/v1", kind="Thing")
        listed = await things.get(namespace=api.namespace)
        assert [item["spec"]["a"] for item in listed.to_dict()["items"]] == [2]
    finally:
        await definitions.delete_custom_resource_definition(f"things.{group}")


class Kubectl:
    """kubectl on this server."""

    def __init__(self, program: str, api: Api, cache: Path) -> None:
        self._start = (program, "--kubeconfig", str(api.kubeconfig), "--cache-dir", str(cache), "-n", api.namespace)

    async def __call__(self, *words: str, stdin: str = "") -> str:
        """Run a command; give what it printed, or fail with what it said."""
        running = await asyncio.create_subprocess_exec(
            *self._start, *words, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(60):
            out, error = await running.communicate(stdin.encode())
        assert running.returncode == 0, error.decode()
        return out.decode()


@pytest.fixture
def run(api: Api, kubectl: str, tmp_path: Path) -> Kubectl:
    return Kubectl(kubectl, api, tmp_path / "cache")


async def test_kubectl_gets_by_name_and_label(api: Api, run: Kubectl) -> None:
    name = await api.node()
    await api.node()
    assert json.loads(await run("get", "node", name, "-o", "json"))["metadata"]["name"] == name
    await run("label", "node", name, "colour=red")
    assert (await run("get", "nodes", "-l", "colour=red,probe=" + api.namespace, "-o", "name")).split() == [f"node/{name}"]
    assert name in await run("get", "nodes")


async def test_kubectl_taints_and_untaints(api: Api, run: Kubectl) -> None:
    name = await api.node(spec={"taints": [{"key": "stranger", "effect": "NoSchedule"}]})
    await run("taint", "node", name, "ours=incident:NoSchedule")
    keys = {taint["key"] for taint in (await api.get(f"/api/v1/nodes/{name}"))["spec"]["taints"]}
    assert {"stranger", "ours"} <= keys
    await run("taint", "node", name, "ours-")
    keys = {taint["key"] for taint in (await api.get(f"/api/v1/nodes/{name}"))["spec"]["taints"]}
    assert "stranger" in keys
    assert "ours" not in keys


async def test_kubectl_cordons_and_drains(api: Api, run: Kubectl) -> None:
    name = await api.node()
    await api.pod("p", node=name, spec={"terminationGracePeriodSeconds": 30})
    await run("cordon", name)
    assert (await api.get(f"/api/v1/nodes/{name}"))["spec"]["unschedulable"] is True

    async def kubelet() -> None:
        async with asyncio.timeout(30):
            while "deletionTimestamp" not in (found := await api.get(api.at("pods", "p"))).body.get("metadata", {}):
                assert found.code in {200, 404}
                if found.code == 404:
                    return
                await asyncio.sleep(0.05)
        await api.delete(api.at("pods", "p"), {"gracePeriodSeconds": 0})

    ending = asyncio.create_task(kubelet())
    await run("drain", name, "--force", "--timeout=20s")
    await ending
    await run("uncordon", name)
    assert "unschedulable" not in (await api.get(f"/api/v1/nodes/{name}"))["spec"]


@pytest.mark.parametrize("how", [(), ("--server-side",)], ids=["by the client", "by the server"])
async def test_kubectl_applies_changes_and_deletes(api: Api, run: Kubectl, how: tuple[str, ...]) -> None:
    first = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"a": "1", "b": "2"}}
    second = first | {"data": {"a": "9"}}
    for body in (first, first, second):
        await run("apply", "--validate=false", *how, "-f", "-", stdin=yaml.safe_dump(body))
    assert (await api.get(api.at("configmaps", "one")))["data"] == {"a": "9"}
    await run("delete", "configmap", "one", "--timeout=10s")
    assert (await api.get(api.at("configmaps", "one"))).code == 404


async def test_kubectl_deletes_and_waits_for_the_end(api: Api, run: Kubectl) -> None:
    await api.pod("p", node="n", ready=True)
    await run("delete", "pod", "p", "--wait=false")
    assert "deletionTimestamp" in (await api.get(api.at("pods", "p")))["metadata"]
    await run("delete", "pod", "p", "--force", "--grace-period=0")
    assert (await api.get(api.at("pods", "p"))).code == 404


async def test_kubectl_waits_for_a_condition(api: Api, run: Kubectl) -> None:
    await api.pod("p", node="n")

    async def later() -> None:
        await asyncio.sleep(0.3)
        await api.patch(
            api.at("pods", "p/status"), {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
        )

    becoming = asyncio.create_task(later())
    told = await run("wait", "--for=condition=Ready", "pod/p", "--timeout=20s")
    await becoming
    assert told == "pod/p condition met\n"


async def test_kubectl_knows_the_kinds(run: Kubectl) -> None:
    names = (await run("api-resources", "-o", "name", "--cached=false")).split()
    assert {"nodes", "pods", "jobs.batch", "leases.coordination.k8s.io", "poddisruptionbudgets.policy"} <= set(names)
