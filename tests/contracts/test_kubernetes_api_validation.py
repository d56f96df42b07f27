"""Validation: every rule that the emulator has, on both servers. What is not here is not validated by the emulator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.contracts.kubernetes_api import Api, Json

BATCH = "batch/v1"
POD: Json = {"schedulerName": "nobody", "containers": [{"name": "main", "image": "nothing"}]}
TEMPLATE: Json = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "nothing"}]}}
JOB: Json = {"suspend": True, "completionMode": "Indexed", "completions": 2, "parallelism": 2, "template": TEMPLATE}


@pytest.mark.parametrize(
    ("taint", "field", "reason"),
    [
        ({"key": "a", "effect": "Never"}, "metadata.taints[0].effect", "FieldValueNotSupported"),
        ({"key": "a"}, "metadata.taints[0].effect", "FieldValueRequired"),
        ({"key": "-a", "effect": "NoSchedule"}, "metadata.taints[0].key", "FieldValueInvalid"),
        ({"key": "a", "value": "b c", "effect": "NoSchedule"}, "metadata.taints[0].value", "FieldValueInvalid"),
    ],
    ids=["unknown effect", "no effect", "bad key", "bad value"],
)
async def test_a_taint_without_sense_is_refused(api: Api, taint: Json, field: str, reason: str) -> None:
    name = await api.node()
    path = f"/api/v1/nodes/{name}"
    answer = await api.patch(path, {"spec": {"taints": [taint]}})
    assert (answer.code, answer.reason) == (422, "Invalid")
    assert (field, reason) in [(of["field"], of["reason"]) for of in answer.causes]
    assert answer["details"]["kind"] == "Node"
    assert f'Node "{name}" is invalid' in answer["message"]


async def test_a_taint_given_twice_is_refused(api: Api) -> None:
    name = await api.node()
    taint = {"key": "a", "effect": "NoSchedule"}
    answer = await api.patch(f"/api/v1/nodes/{name}", {"spec": {"taints": [taint, taint | {"value": "b"}]}})
    assert answer.code == 422
    assert answer.causes[0]["reason"] == "FieldValueDuplicate"
    other = [taint, taint | {"effect": "NoExecute"}]
    assert (await api.patch(f"/api/v1/nodes/{name}", {"spec": {"taints": other}})).code == 200


@pytest.mark.parametrize(
    "labels",
    [{"-a": "b"}, {"a": "b c"}, {"a/b/c": "d"}, {"a" * 64: "b"}, {"a": "b" * 64}, {"UPPER.com/a": "b"}, {"": "b"}],
    ids=[
        "key begins badly",
        "value with a space",
        "two slashes",
        "long key",
        "long value",
        "capitals in the prefix",
        "empty key",
    ],
)
async def test_a_label_without_sense_is_refused(api: Api, labels: Json) -> None:
    answer = await api.post(api.at("configmaps"), {"metadata": {"name": "one", "labels": labels}})
    assert (answer.code, answer.reason) == (422, "Invalid")
    assert answer.causes[0]["field"] == "metadata.labels"


async def test_an_annotation_key_without_sense_is_refused(api: Api) -> None:
    bad = await api.post(api.at("configmaps"), {"metadata": {"name": "one", "annotations": {"a b": "c"}}})
    good = await api.post(api.at("configmaps"), {"metadata": {"name": "one", "annotations": {"a": "any text: {} \n"}}})
    assert (bad.code, good.code) == (422, 201)


@pytest.mark.parametrize("name", ["Capitals", "under_score", "-a", "a" * 254, "a..b"])
async def test_a_name_without_sense_is_refused(api: Api, name: str) -> None:
    answer = await api.post(api.at("configmaps"), {"metadata": {"name": name}})
    assert (answer.code, answer.causes[0]["field"]) == (422, "metadata.name")


async def test_a_name_is_required(api: Api) -> None:
    answer = await api.post(api.at("configmaps"), {"data": {}})
    assert (answer.code, answer.causes[0]["reason"]) == (422, "FieldValueRequired")


async def test_a_namespace_has_no_dots(api: Api) -> None:
    answer = await api.post("/api/v1/namespaces", {"metadata": {"name": "a.b"}})
    assert (answer.code, answer.causes[0]["field"]) == (422, "metadata.name")


async def test_an_owner_must_be_named_in_full(api: Api) -> None:
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": ""}
    answer = await api.post(api.at("configmaps"), {"metadata": {"name": "one", "ownerReferences": [owner]}})
    assert (answer.code, answer.causes[0]["field"]) == (422, "metadata.ownerReferences.uid")


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"containers": []}, "spec.containers"),
        ({"containers": [{"image": "b"}]}, "spec.containers[0].name"),
        ({"containers": [{"name": "a"}]}, "spec.containers[0].image"),
        ({"containers": [{"name": "A", "image": "b"}]}, "spec.containers[0].name"),
        ({"containers": [{"name": "a", "image": "b"}] * 2}, "spec.containers[1].name"),
        ({"restartPolicy": "Sometimes"}, "spec.restartPolicy"),
        ({"tolerations": [{"key": "a", "effect": "Never"}]}, "spec.tolerations[0].effect"),
        ({"tolerations": [{"value": "a"}]}, "spec.tolerations[0].operator"),
        ({"nodeSelector": {"a": "b c"}}, "spec.nodeSelector"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_pod_without_sense_is_refused(api: Api, spec: Json, field: str) -> None:
    answer = await api.post(api.at("pods"), {"metadata": {"name": "p"}, "spec": POD | spec})
    assert (answer.code, answer.reason) == (422, "Invalid")
    assert field in [of["field"] for of in answer.causes]


@pytest.mark.parametrize(
    "spec",
    [{"nodeName": "n"}, {"nodeSelector": {"a": "b"}}, {"priority": 7}, {"terminationGracePeriodSeconds": 5}, {"tolerations": []}],
    ids=["node", "selector", "priority", "grace", "fewer tolerations"],
)
async def test_a_pods_spec_stays_as_it_is(api: Api, spec: Json) -> None:
    await api.pod("p", spec={"tolerations": [{"key": "a", "operator": "Exists"}]})
    answer = await api.patch(api.at("pods", "p"), {"spec": spec})
    assert (answer.code, answer.causes[0]["reason"]) == (422, "FieldValueForbidden")


async def test_the_tolerations_that_every_pod_has_come_back(api: Api) -> None:
    await api.pod("p")
    answer = await api.patch(api.at("pods", "p"), {"spec": {"tolerations": []}})
    assert (answer.code, len(answer["spec"]["tolerations"])) == (200, 2)


async def test_a_pod_may_be_given_labels_an_image_and_more_tolerations(api: Api) -> None:
    made = await api.pod("p")
    more = [*made["spec"]["tolerations"], {"key": "a", "operator": "Exists"}]
    containers = [made["spec"]["containers"][0] | {"image": "other"}]
    body = {"metadata": {"labels": {"a": "b"}}, "spec": {"tolerations": more, "containers": containers}}
    assert (await api.patch(api.at("pods", "p"), body)).code == 200


async def test_a_gated_pod_may_lose_gates_and_gain_selectors(api: Api) -> None:
    await api.pod("p", spec={"schedulingGates": [{"name": "example.com/a"}]})
    path = api.at("pods", "p")
    gained = await api.patch(path, {"spec": {"nodeSelector": {"a": "b"}}})
    more = await api.patch(path, {"spec": {"schedulingGates": [{"name": "example.com/a"}, {"name": "example.com/b"}]}})
    lost = await api.patch(path, {"spec": {"schedulingGates": None}})
    assert (gained.code, more.code, lost.code) == (200, 422, 200)


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"template": {"spec": TEMPLATE["spec"] | {"restartPolicy": "Always"}}}, "spec.template.spec.restartPolicy"),
        ({"template": {"spec": {"restartPolicy": "Never", "containers": []}}}, "spec.template.spec.containers"),
        ({"parallelism": -1}, "spec.parallelism"),
        ({"completions": None}, "spec.completions"),
    ],
    ids=["restarts always", "no container", "negative", "indexed without a number"],
)
async def test_a_job_without_sense_is_refused(api: Api, spec: Json, field: str) -> None:
    answer = await api.post(api.at("jobs", api=BATCH), {"metadata": {"name": "j"}, "spec": JOB | spec})
    assert (answer.code, answer.reason) == (422, "Invalid")
    assert field in [of["field"] for of in answer.causes]


def template(**spec: Any) -> Json:  # noqa: ANN401 (fields)
    return {"spec": {"template": {"spec": spec}}}


@pytest.mark.parametrize(
    ("patch", "code"),
    [
        (template(nodeSelector={"a": "b"}), 200),
        (template(tolerations=[{"key": "a", "operator": "Exists"}]), 200),
        ({"spec": {"template": {"metadata": {"labels": {"a": "b"}, "annotations": {"a": "b"}}}}}, 200),
        (template(schedulingGates=[{"name": "example.com/a"}]), 200),
        (template(priorityClassName="high"), 422),
        (template(schedulerName="other"), 422),
        (template(containers=[{"name": "main", "image": "other"}]), 422),
        ({"spec": {"completionMode": "NonIndexed"}}, 422),
        ({"spec": {"completions": 3}}, 422),
        ({"spec": {"completions": 3, "parallelism": 3}}, 200),
        ({"spec": {"parallelism": 1}}, 200),
        ({"spec": {"backoffLimit": 3}}, 200),
        ({"spec": {"suspend": False, "template": {"spec": {"nodeSelector": {"a": "b"}}}}}, 200),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_a_suspended_job_takes_placement_and_no_other_template(api: Api, patch: Json, code: int) -> None:
    job = JOB | {"template": {"spec": TEMPLATE["spec"] | {"schedulerName": "nobody"}}}
    await api.made("jobs", {"metadata": {"name": "j"}, "spec": job}, BATCH)
    answer = await api.patch(api.at("jobs", "j", BATCH), patch)
    assert answer.code == code, answer


async def test_a_running_job_takes_no_placement(api: Api) -> None:
    job = JOB | {"suspend": False, "template": {"spec": TEMPLATE["spec"] | {"schedulerName": "nobody"}}}
    await api.made("jobs", {"metadata": {"name": "j"}, "spec": job}, BATCH)
    answer = await api.patch(api.at("jobs", "j", BATCH), template(nodeSelector={"a": "b"}))
    assert (answer.code, answer.causes[0]["field"]) == (422, "spec.template")
    assert "field is immutable" in answer["message"]


async def test_a_lease_lasts(api: Api) -> None:
    answer = await api.post(
        api.at("leases", api="coordination.k8s.io/v1"), {"metadata": {"name": "l"}, "spec": {"leaseDurationSeconds": 0}}
    )
    assert (answer.code, answer.causes[0]["field"]) == (422, "spec.leaseDurationSeconds")


async def test_a_budget_says_one_thing(api: Api) -> None:
    spec = {"minAvailable": 1, "maxUnavailable": 1, "selector": {"matchLabels": {"a": "b"}}}
    answer = await api.post(api.at("poddisruptionbudgets", api="policy/v1"), {"metadata": {"name": "b"}, "spec": spec})
    assert (answer.code, answer.causes[0]["field"]) == (422, "spec")


async def test_an_event_stands_where_its_subject_stands(api: Api) -> None:
    event = {"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "namespace": "elsewhere", "name": "p"}}
    assert (await api.post(api.at("events"), event)).code == 422


async def test_a_nodes_provider_id_is_given_once(api: Api) -> None:
    name = await api.node()
    first = await api.patch(f"/api/v1/nodes/{name}", {"spec": {"providerID": "gce://a"}})
    second = await api.patch(f"/api/v1/nodes/{name}", {"spec": {"providerID": "gce://b"}})
    assert (first.code, second.code) == (200, 422)
