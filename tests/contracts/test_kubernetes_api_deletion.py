"""Deletion: preconditions, grace, finalizers, owners, collections, namespaces. On both servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contracts.kubernetes_api import until

if TYPE_CHECKING:
    from tests.contracts.kubernetes_api import Api, Json

LEASES = "coordination.k8s.io/v1"
BATCH = "batch/v1"


async def gone(api: Api, path: str) -> None:
    async def look() -> bool:
        return (await api.get(path)).code == 404

    await until(look)


def owned_by(owner: Json, **more: object) -> Json:
    reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"]}
    return {"ownerReferences": [reference | {"uid": owner["metadata"]["uid"]} | more]}


async def test_a_delete_names_what_it_deleted(api: Api) -> None:
    made = await api.made("leases", {"metadata": {"name": "a"}}, LEASES)
    path = api.at("leases", "a", LEASES)
    done = await api.delete(path)
    assert (done.code, done["kind"], done["status"]) == (200, "Status", "Success")
    assert done["details"] == {"name": "a", "group": "coordination.k8s.io", "kind": "leases", "uid": made["metadata"]["uid"]}
    assert (await api.get(path)).code == 404
    assert (await api.delete(path)).code == 404


async def test_a_delete_demands_identity_and_version(api: Api) -> None:
    made = await api.made("leases", {"metadata": {"name": "a"}}, LEASES)
    path = api.at("leases", "a", LEASES)
    other = await api.delete(path, {"preconditions": {"uid": "00000000-0000-0000-0000-000000000000"}})
    stale = await api.delete(path, {"preconditions": {"resourceVersion": "1"}})
    right = await api.delete(path, {"preconditions": {"uid": made["metadata"]["uid"]}})
    assert (other.code, other.reason, stale.code, stale.reason) == (409, "Conflict", 409, "Conflict")
    assert "does not match the UID in record" in other["message"]
    assert right.code == 200


async def test_a_dry_run_deletes_nothing(api: Api) -> None:
    await api.made("leases", {"metadata": {"name": "a"}}, LEASES)
    path = api.at("leases", "a", LEASES)
    by_query = await api.delete(path, dryRun="All")
    by_body = await api.delete(path, {"dryRun": ["All"]})
    assert (by_query.code, by_body.code, (await api.get(path)).code) == (200, 200, 200)


async def test_an_unbound_pod_goes_at_once(api: Api) -> None:
    await api.pod("p")
    done = await api.delete(api.at("pods", "p"))
    assert (done.code, done["kind"]) == (200, "Pod")
    assert (await api.get(api.at("pods", "p"))).code == 404


async def test_a_bound_pod_is_given_its_grace_and_stays_until_forced(api: Api) -> None:
    made = await api.pod("p", node="n", ready=True)
    path = api.at("pods", "p")
    done = await api.delete(path)
    meta = done["metadata"]
    assert meta["deletionGracePeriodSeconds"] == 30
    assert "deletionTimestamp" in meta
    assert meta["generation"] == made["metadata"]["generation"] + 1
    again = await api.delete(path)
    assert again["metadata"]["deletionTimestamp"] == meta["deletionTimestamp"]
    shorter = await api.delete(path, {"gracePeriodSeconds": 5})
    assert shorter["metadata"]["deletionGracePeriodSeconds"] == 5
    forced = await api.delete(path, {"gracePeriodSeconds": 0})
    assert forced.code == 200
    assert (await api.get(path)).code == 404


async def test_a_pod_that_has_ended_needs_no_grace(api: Api) -> None:
    await api.pod("p", node="n", ready=True)
    await api.patch(api.at("pods", "p/status"), {"status": {"phase": "Failed"}})
    await api.delete(api.at("pods", "p"))
    assert (await api.get(api.at("pods", "p"))).code == 404


async def test_a_finalizer_holds_even_a_forced_delete(api: Api) -> None:
    await api.pod("p", node="n", finalizers=["example.com/hold"])
    path = api.at("pods", "p")
    held = await api.delete(path, {"gracePeriodSeconds": 0})
    assert held["metadata"]["deletionGracePeriodSeconds"] == 0
    assert (await api.get(path)).code == 200
    added = await api.patch(path, {"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}})
    assert added.code == 422
    freed = await api.patch(path, {"metadata": {"finalizers": None}})
    assert freed.code == 200
    assert (await api.get(path)).code == 404


async def test_grace_holds_a_pod_whose_finalizers_are_off(api: Api) -> None:
    await api.pod("p", node="n", ready=True, finalizers=["example.com/hold"])
    path = api.at("pods", "p")
    await api.delete(path)
    await api.patch(path, {"metadata": {"finalizers": None}})
    assert (await api.get(path)).code == 200
    await api.delete(path, {"gracePeriodSeconds": 0})
    assert (await api.get(path)).code == 404


async def test_a_collection_is_deleted_by_selector(api: Api) -> None:
    for name, on in (("a", "yes"), ("b", "no"), ("c", "yes")):
        await api.made("leases", {"metadata": {"name": name, "labels": {"on": on}}}, LEASES)
    path = api.at("leases", api=LEASES)
    done = await api.delete(path, labelSelector="on=yes")
    assert done.code == 200
    left = await api.get(path)
    assert [item["metadata"]["name"] for item in left["items"]] == ["b"]


async def test_what_is_owned_goes_after_its_owner(api: Api) -> None:
    owner = await api.made("leases", {"metadata": {"name": "owner"}}, LEASES)
    await api.made("configmaps", {"metadata": {"name": "child"} | owned_by(owner)})
    await api.made("configmaps", {"metadata": {"name": "stranger"}})
    await api.delete(api.at("leases", "owner", LEASES))
    await gone(api, api.at("configmaps", "child"))
    assert (await api.get(api.at("configmaps", "stranger"))).code == 200


async def test_one_living_owner_is_enough(api: Api) -> None:
    first = await api.made("leases", {"metadata": {"name": "first"}}, LEASES)
    second = await api.made("leases", {"metadata": {"name": "second"}}, LEASES)
    owners = owned_by(first)["ownerReferences"] + owned_by(second)["ownerReferences"]
    await api.made("configmaps", {"metadata": {"name": "both", "ownerReferences": owners}})
    await api.made("configmaps", {"metadata": {"name": "one"} | owned_by(first)})
    await api.delete(api.at("leases", "first", LEASES))
    await gone(api, api.at("configmaps", "one"))
    assert (await api.get(api.at("configmaps", "both"))).code == 200
    await api.delete(api.at("leases", "second", LEASES))
    await gone(api, api.at("configmaps", "both"))


async def test_an_owner_deleted_in_the_foreground_waits_for_what_blocks_it(api: Api) -> None:
    owner = await api.made("leases", {"metadata": {"name": "owner"}}, LEASES)
    child = {"name": "child", "finalizers": ["example.com/hold"]} | owned_by(owner, blockOwnerDeletion=True)
    await api.made("configmaps", {"metadata": child})
    path = api.at("leases", "owner", LEASES)
    done = await api.delete(path, {"propagationPolicy": "Foreground"})
    assert done["metadata"]["finalizers"] == ["foregroundDeletion"]

    async def child_leaves() -> bool:
        return "deletionTimestamp" in (await api.get(api.at("configmaps", "child")))["metadata"]

    await until(child_leaves)
    assert (await api.get(path)).code == 200
    await api.patch(api.at("configmaps", "child"), {"metadata": {"finalizers": None}})
    await gone(api, path)


async def test_orphans_outlive_their_owner(api: Api) -> None:
    owner = await api.made("leases", {"metadata": {"name": "owner"}}, LEASES)
    await api.made("configmaps", {"metadata": {"name": "child"} | owned_by(owner)})

    async def known() -> bool:
        # The real collector learns of a child by watching: asked too early, it finds no child to orphan.
        return (await api.get(api.at("configmaps", "child"))).code == 200

    await until(known)
    await api.delete(api.at("leases", "owner", LEASES), {"propagationPolicy": "Orphan"})
    await gone(api, api.at("leases", "owner", LEASES))
    child = await api.get(api.at("configmaps", "child"))
    assert child.code == 200


async def test_an_unknown_propagation_is_refused(api: Api) -> None:
    await api.made("leases", {"metadata": {"name": "a"}}, LEASES)
    answer = await api.delete(api.at("leases", "a", LEASES), {"propagationPolicy": "Sideways"})
    assert answer.code == 422


async def test_a_namespace_takes_all_it_holds_with_it(api: Api) -> None:
    name = f"{api.namespace}-2"
    await api.post("/api/v1/namespaces", {"metadata": {"name": name}})
    path = f"/api/v1/namespaces/{name}"
    held = {"metadata": {"name": "a", "finalizers": ["example.com/hold"]}}
    await api.post(f"{path}/configmaps", held)
    await api.delete(path)
    assert (await api.get(path))["status"]["phase"] == "Terminating"
    late = await api.post(f"{path}/configmaps", {"metadata": {"name": "late"}})
    assert (late.code, late.reason) == (403, "Forbidden")

    async def leaving() -> bool:
        return "deletionTimestamp" in (await api.get(f"{path}/configmaps/a"))["metadata"]

    await until(leaving)
    await api.patch(f"{path}/configmaps/a", {"metadata": {"finalizers": None}})


@pytest.mark.parametrize("propagation", ["Background", "Foreground"])
async def test_a_job_takes_its_pods_with_it_when_asked(api: Api, propagation: str) -> None:
    template = {"spec": {"restartPolicy": "Never", "schedulerName": "nobody", "containers": [{"name": "a", "image": "b"}]}}
    job = await api.made("jobs", {"metadata": {"name": "j"}, "spec": {"suspend": True, "template": template}}, BATCH)
    await api.pod("p", **owned_by(job, blockOwnerDeletion=True))
    await api.pod("stranger")
    await api.delete(api.at("jobs", "j", BATCH), {"propagationPolicy": propagation})
    await gone(api, api.at("jobs", "j", BATCH))
    await gone(api, api.at("pods", "p"))
    assert [pod["metadata"]["name"] for pod in (await api.get(api.at("pods")))["items"]] == ["stranger"]
