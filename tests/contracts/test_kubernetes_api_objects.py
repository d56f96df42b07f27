"""Objects: create, read, replace, list, page, select; what refusals look like. On both servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.contracts.kubernetes_api import Api, Json

CONFIG = {"metadata": {"name": "one"}, "data": {"a": "1"}}
LEASES = "coordination.k8s.io/v1"


async def test_a_created_object_has_identity_version_and_time(api: Api) -> None:
    made = await api.post(api.at("configmaps"), CONFIG)
    meta = made["metadata"]
    assert made.code == 201
    assert (made["kind"], made["apiVersion"]) == ("ConfigMap", "v1")
    assert len(meta["uid"]) == 36
    assert int(meta["resourceVersion"]) > 0
    assert meta["creationTimestamp"].endswith("Z")
    assert (meta["name"], meta["namespace"]) == ("one", api.namespace)
    assert (await api.get(api.at("configmaps", "one")))["metadata"]["uid"] == meta["uid"]


async def test_a_generated_name_begins_as_asked(api: Api) -> None:
    made = await api.made("configmaps", {"metadata": {"generateName": "some-"}})
    assert made["metadata"]["name"].startswith("some-")
    assert len(made["metadata"]["name"]) == len("some-") + 5


async def test_versions_are_one_rising_sequence_over_all_kinds(api: Api) -> None:
    versions = [int((await api.made("configmaps", CONFIG))["metadata"]["resourceVersion"])]
    versions.append(int((await api.pod("p"))["metadata"]["resourceVersion"]))
    versions.append(int((await api.made("leases", {"metadata": {"name": "l"}}, LEASES))["metadata"]["resourceVersion"]))
    assert versions == sorted(set(versions))


async def test_a_name_that_is_taken_is_a_conflict_by_another_name(api: Api) -> None:
    await api.made("configmaps", CONFIG)
    again = await api.post(api.at("configmaps"), CONFIG)
    assert (again.code, again.reason) == (409, "AlreadyExists")
    assert again["message"] == 'configmaps "one" already exists'
    assert again["details"] == {"name": "one", "kind": "configmaps"}


async def test_a_missing_object_is_named_in_the_refusal(api: Api) -> None:
    gone = await api.get(api.at("jobs", "none", "batch/v1"))
    assert (gone.code, gone.reason) == (404, "NotFound")
    assert gone["message"] == 'jobs.batch "none" not found'
    assert gone["details"] == {"name": "none", "group": "batch", "kind": "jobs"}
    assert (gone["kind"], gone["status"], gone["code"]) == ("Status", "Failure", 404)


async def test_a_kind_that_is_not_served_is_a_404_without_details_of_an_object(api: Api) -> None:
    answer = await api.get("/apis/nobody.example.com/v1/things")
    assert answer.code == 404


async def test_an_object_in_a_missing_namespace_is_refused(api: Api) -> None:
    answer = await api.post("/api/v1/namespaces/nowhere-at-all/configmaps", CONFIG)
    assert (answer.code, answer.reason) == (404, "NotFound")
    assert answer["details"]["kind"] == "namespaces"


async def test_a_body_of_another_namespace_or_kind_is_a_bad_request(api: Api) -> None:
    other = await api.post(api.at("configmaps"), {"metadata": {"name": "x", "namespace": "default"}})
    kind = await api.post(api.at("configmaps"), {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}})
    broken = await api.post(api.at("configmaps"), {"metadata": {"name": "x", "labels": {"a": True}}})
    assert [(answer.code, answer.reason) for answer in (other, kind, broken)] == [(400, "BadRequest")] * 3


async def test_a_replace_of_the_current_version_raises_it(api: Api) -> None:
    made = await api.made("configmaps", CONFIG)
    done = await api.put(api.at("configmaps", "one"), made | {"data": {"a": "2"}})
    assert (done.code, done["data"]) == (200, {"a": "2"})
    assert int(done.version) > int(made["metadata"]["resourceVersion"])
    assert done["metadata"]["uid"] == made["metadata"]["uid"]


async def test_a_replace_of_a_stale_version_is_a_conflict(api: Api) -> None:
    made = await api.made("configmaps", CONFIG)
    await api.put(api.at("configmaps", "one"), made | {"data": {"a": "2"}})
    stale = await api.put(api.at("configmaps", "one"), made | {"data": {"a": "3"}})
    assert (stale.code, stale.reason) == (409, "Conflict")
    assert "the object has been modified" in stale["message"]
    assert (await api.get(api.at("configmaps", "one")))["data"] == {"a": "2"}


async def test_a_replace_with_another_uid_is_a_conflict(api: Api) -> None:
    made = await api.made("configmaps", CONFIG)
    meta = made["metadata"] | {"uid": "00000000-0000-0000-0000-000000000000"}
    answer = await api.put(api.at("configmaps", "one"), made | {"metadata": meta})
    assert (answer.code, answer.reason) == (409, "Conflict")


async def test_a_replace_that_changes_nothing_keeps_the_version(api: Api) -> None:
    made = await api.made("configmaps", CONFIG)
    done = await api.put(api.at("configmaps", "one"), made)
    assert done.version == made["metadata"]["resourceVersion"]


async def test_a_replace_of_a_missing_object_is_a_404_but_creates_a_lease(api: Api) -> None:
    missing = await api.put(api.at("configmaps", "one"), CONFIG)
    lease = await api.put(api.at("leases", "l", LEASES), {"metadata": {"name": "l"}, "spec": {"holderIdentity": "me"}})
    assert (missing.code, lease.code) == (404, 201)


async def test_a_lease_is_replaced_only_under_its_version(api: Api) -> None:
    made = await api.made("leases", {"metadata": {"name": "l"}, "spec": {"holderIdentity": "a"}}, LEASES)
    path = api.at("leases", "l", LEASES)
    without = await api.put(path, {"metadata": {"name": "l"}, "spec": {"holderIdentity": "b"}})
    first = await api.put(path, made | {"spec": {"holderIdentity": "b"}})
    second = await api.put(path, made | {"spec": {"holderIdentity": "c"}})
    assert (without.code, without.reason) == (422, "Invalid")
    assert (first.code, second.code, second.reason) == (200, 409, "Conflict")


async def test_generation_counts_changes_of_the_spec_only(api: Api) -> None:
    made = await api.made("jobs", a_job("j"), "batch/v1")
    path = api.at("jobs", "j", "batch/v1")
    labelled = await api.patch(path, {"metadata": {"labels": {"a": "b"}}})
    changed = await api.patch(path, {"spec": {"parallelism": 2}})
    assert [of["metadata"]["generation"] for of in (made, labelled.body, changed.body)] == [1, 1, 2]


async def test_the_status_is_a_door_of_its_own(api: Api) -> None:
    name = await api.node(spec={"unschedulable": True})
    path = f"/api/v1/nodes/{name}"
    conditions = [{"type": "SliceErrorDetected", "status": "True"}]
    by_front = await api.patch(path, {"status": {"conditions": conditions}})
    by_side = await api.patch(f"{path}/status", {"status": {"conditions": conditions}, "spec": {"unschedulable": False}})
    assert "SliceErrorDetected" not in str(by_front.body.get("status"))
    assert "SliceErrorDetected" in str(by_side["status"])
    assert by_side["spec"]["unschedulable"] is True
    assert (await api.get(f"{path}/status")).code == 200


async def test_a_pod_begins_pending_whatever_its_author_says(api: Api) -> None:
    body = {"metadata": {"name": "p"}, "spec": {"schedulerName": "nobody", "containers": [{"name": "a", "image": "b"}]}}
    made = await api.made("pods", body | {"status": {"phase": "Running"}})
    assert made["status"]["phase"] == "Pending"
    assert made["status"]["qosClass"] == "BestEffort"
    spec = made["spec"]
    assert (spec["restartPolicy"], spec["terminationGracePeriodSeconds"]) == ("Always", 30)
    assert {of["key"]: of["tolerationSeconds"] for of in spec["tolerations"]} == {
        "node.kubernetes.io/not-ready": 300,
        "node.kubernetes.io/unreachable": 300,
    }


def a_job(name: str, **spec: object) -> Json:
    """A suspended Job: no controller makes pods of it."""
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "nothing"}]}}
    return {"metadata": {"name": name}, "spec": {"suspend": True, "template": template, "backoffLimit": 0} | spec}


async def test_a_job_is_given_its_defaults_selector_and_labels(api: Api) -> None:
    made = await api.made("jobs", a_job("j"), "batch/v1")
    spec, uid = made["spec"], made["metadata"]["uid"]
    assert (spec["parallelism"], spec["completions"], spec["completionMode"]) == (1, 1, "NonIndexed")
    assert spec["podReplacementPolicy"] == "TerminatingOrFailed"
    assert spec["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    labels = spec["template"]["metadata"]["labels"]
    assert labels["batch.kubernetes.io/job-name"] == "j"
    assert labels["job-name"] == "j"
    assert made["metadata"]["labels"] == labels


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("team=red", ["a", "b"]),
        ("team==red,tier=1", ["a"]),
        ("team!=red", ["c", "d"]),
        ("team", ["a", "b", "c"]),
        ("!team", ["d"]),
        ("team in (red, blue)", ["a", "b", "c"]),
        ("team notin (red)", ["c", "d"]),
        ("tier in (1,2),team=red", ["a", "b"]),
    ],
)
async def test_a_label_selector_selects(api: Api, selector: str, names: list[str]) -> None:
    labels: dict[str, Json] = {
        "a": {"team": "red", "tier": "1"},
        "b": {"team": "red", "tier": "2"},
        "c": {"team": "blue"},
        "d": {"x": "y"},
    }
    for name, of in labels.items():
        await api.made("leases", {"metadata": {"name": name, "labels": of}}, LEASES)
    found = await api.get(api.at("leases", api=LEASES), labelSelector=selector)
    assert [item["metadata"]["name"] for item in found["items"]] == names


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("metadata.name=a", ["a"]),
        ("metadata.name!=a", ["b", "c"]),
        ("spec.nodeName=n", ["b", "c"]),
        ("spec.nodeName=", ["a"]),
        ("status.phase=Running", ["c"]),
        ("spec.nodeName=n,status.phase!=Running", ["b"]),
    ],
)
async def test_a_field_selector_selects_pods(api: Api, selector: str, names: list[str]) -> None:
    await api.pod("a")
    await api.pod("b", node="n")
    await api.pod("c", node="n", ready=True)
    found = await api.get(api.at("pods"), fieldSelector=selector)
    assert [item["metadata"]["name"] for item in found["items"]] == names


async def test_nodes_are_selected_by_being_schedulable(api: Api) -> None:
    name = await api.node(spec={"unschedulable": True})
    await api.node()
    found = await api.get("/api/v1/nodes", fieldSelector="spec.unschedulable=true", labelSelector=f"probe={api.namespace}")
    assert [item["metadata"]["name"] for item in found["items"]] == [name]


@pytest.mark.parametrize("query", [{"fieldSelector": "spec.colour=red"}, {"labelSelector": "a in ("}, {"labelSelector": "-a=b"}])
async def test_a_selector_without_sense_is_a_bad_request(api: Api, query: dict[str, str]) -> None:
    answer = await api.get(api.at("pods"), **query)
    assert (answer.code, answer.reason) == (400, "BadRequest")


async def test_a_list_names_its_kind_and_version(api: Api) -> None:
    made = await api.made("configmaps", CONFIG)
    found = await api.get(api.at("configmaps"))
    assert (found["kind"], found["apiVersion"]) == ("ConfigMapList", "v1")
    assert int(found.version) >= int(made["metadata"]["resourceVersion"])


async def test_pages_show_one_state_though_objects_come_and_go(api: Api) -> None:
    for at in range(5):
        await api.made("leases", {"metadata": {"name": f"l{at}"}}, LEASES)
    path = api.at("leases", api=LEASES)
    first = await api.get(path, limit=2)
    await api.delete(f"{path}/l3")
    await api.made("leases", {"metadata": {"name": "l2b"}}, LEASES)
    second = await api.get(path, limit=2, **{"continue": first["metadata"]["continue"]})
    third = await api.get(path, limit=2, **{"continue": second["metadata"]["continue"]})
    names = [[item["metadata"]["name"] for item in page["items"]] for page in (first, second, third)]
    assert names == [["l0", "l1"], ["l2", "l3"], ["l4"]]
    assert first["metadata"]["remainingItemCount"] == 3
    assert "continue" not in third["metadata"]
    assert first.version == third.version


async def test_a_list_of_a_future_version_says_later(api: Api) -> None:
    now = int((await api.get(api.at("pods"))).version)
    answer = await api.get(api.at("pods"), resourceVersion=now + 1_000_000, timeoutSeconds=1)
    assert answer.code == 504
    assert answer["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"
    assert answer["details"]["retryAfterSeconds"] == 1


async def test_a_dry_run_answers_and_changes_nothing(api: Api) -> None:
    made = await api.post(api.at("configmaps"), CONFIG, dryRun="All")
    assert made.code == 201
    assert (await api.get(api.at("configmaps", "one"))).code == 404
    await api.made("configmaps", CONFIG)
    changed = await api.patch(api.at("configmaps", "one"), {"data": {"a": "9"}}, dryRun="All")
    assert changed["data"] == {"a": "9"}
    assert (await api.get(api.at("configmaps", "one")))["data"] == {"a": "1"}


async def test_a_method_that_a_path_has_not_is_refused(api: Api) -> None:
    answer = await api.delete("/api/v1/pods")
    assert (answer.code, answer.reason) == (405, "MethodNotAllowed")
