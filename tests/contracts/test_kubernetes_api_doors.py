"""Doors beside the object: eviction under budgets, binding, tokens, reviews, events. On both servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contracts.kubernetes_api import until

if TYPE_CHECKING:
    from tests.contracts.kubernetes_api import Answer, Api, Json

POLICY = "policy/v1"


async def evict(api: Api, name: str, **options: object) -> Answer:
    body = {"apiVersion": POLICY, "kind": "Eviction", "metadata": {"name": name}, "deleteOptions": options}
    return await api.post(api.at("pods", f"{name}/eviction"), body)


async def budget(api: Api, **spec: object) -> None:
    """Make a budget over all pods with label app=x, and wait until its status is computed."""
    await api.made(
        "poddisruptionbudgets", {"metadata": {"name": "b"}, "spec": {"selector": {"matchLabels": {"app": "x"}}} | spec}, POLICY
    )

    async def computed() -> bool:
        found = await api.get(api.at("poddisruptionbudgets", "b", POLICY))
        return bool(found["status"].get("observedGeneration") == 1)

    await until(computed)


async def allowed(api: Api, wanted: int) -> None:
    async def look() -> bool:
        found = await api.get(api.at("poddisruptionbudgets", "b", POLICY))
        return bool(found["status"]["disruptionsAllowed"] == wanted)

    await until(look)


async def test_an_eviction_marks_the_pod_and_begins_its_deletion(api: Api) -> None:
    await api.pod("p", node="n", ready=True)
    done = await evict(api, "p")
    assert (done.code, done["kind"], done["status"]) == (201, "Status", "Success")
    pod = await api.get(api.at("pods", "p"))
    assert "deletionTimestamp" in pod["metadata"]
    target = next(of for of in pod["status"]["conditions"] if of["type"] == "DisruptionTarget")
    assert (target["status"], target["reason"]) == ("True", "EvictionByEvictionAPI")


async def test_an_eviction_of_a_missing_pod_is_a_404(api: Api) -> None:
    assert (await evict(api, "none")).code == 404


async def test_an_eviction_demands_identity(api: Api) -> None:
    await api.pod("p", node="n", ready=True)
    other = await evict(api, "p", preconditions={"uid": "00000000-0000-0000-0000-000000000000"})
    assert (other.code, other.reason) == (409, "Conflict")


async def test_a_budget_by_number_allows_down_to_it(api: Api) -> None:
    await budget(api, minAvailable=1)
    for name in ("p", "q"):
        await api.pod(name, node="n", ready=True, labels={"app": "x"})
    await allowed(api, 1)
    asked = await evict(api, "p", dryRun=["All"])
    first = await evict(api, "p")
    second = await evict(api, "q")
    assert (asked.code, first.code) == (201, 201)
    assert (second.code, second.reason) == (429, "TooManyRequests")
    assert second["message"] == "Cannot evict pod as it would violate the pod's disruption budget."
    assert second.causes[0]["reason"] == "DisruptionBudget"
    assert "deletionTimestamp" not in (await api.get(api.at("pods", "q")))["metadata"]


async def test_a_budget_by_unavailability_never_allows_a_pod_of_a_job(api: Api) -> None:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "b"}]}}
    job = await api.made("jobs", {"metadata": {"name": "j"}, "spec": {"suspend": True, "template": template}}, "batch/v1")
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": job["metadata"]["uid"], "controller": True}
    await budget(api, maxUnavailable=1)
    await api.pod("p", node="n", ready=True, labels={"app": "x"}, ownerReferences=[owner])

    async def failed() -> bool:
        found = await api.get(api.at("poddisruptionbudgets", "b", POLICY))
        return any(of["reason"] == "SyncFailed" for of in found["status"].get("conditions", ()))

    await until(failed)
    refused = await evict(api, "p")
    assert (refused.code, refused.causes[0]["reason"]) == (429, "DisruptionBudget")


async def test_two_budgets_on_a_pod_are_an_error_of_the_server(api: Api) -> None:
    spec = {"selector": {"matchLabels": {"app": "x"}}, "minAvailable": 0}
    for name in ("b", "c"):
        await api.made("poddisruptionbudgets", {"metadata": {"name": name}, "spec": spec}, POLICY)
    await api.pod("p", node="n", ready=True, labels={"app": "x"})
    assert (await evict(api, "p")).code == 500


async def test_a_budget_does_not_hold_a_pod_that_has_ended_or_not_begun(api: Api) -> None:
    await budget(api, minAvailable=5)
    await api.pod("ended", node="n", ready=True, labels={"app": "x"})
    await api.patch(api.at("pods", "ended/status"), {"status": {"phase": "Failed"}})
    await api.pod("pending", labels={"app": "x"})
    assert [(await evict(api, name)).code for name in ("ended", "pending")] == [201, 201]


async def bind(api: Api, name: str, node: str) -> Answer:
    body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": {"kind": "Node", "name": node}}
    return await api.post(api.at("pods", f"{name}/binding"), body)


async def test_a_binding_gives_a_pod_its_node_once(api: Api) -> None:
    await api.pod("p")
    first = await bind(api, "p", "n")
    again = await bind(api, "p", "m")
    assert (first.code, first["status"]) == (201, "Success")
    assert (again.code, again.reason) == (409, "Conflict")
    assert 'already assigned to node "n"' in again["message"]
    pod = await api.get(api.at("pods", "p"))
    assert pod["spec"]["nodeName"] == "n"
    assert ("PodScheduled", "True") in [(of["type"], of["status"]) for of in pod["status"]["conditions"]]


async def test_a_gated_pod_is_not_bound(api: Api) -> None:
    await api.pod("p", spec={"schedulingGates": [{"name": "example.com/wait"}]})
    refused = await bind(api, "p", "n")
    assert refused.code == 409


async def test_a_service_account_is_given_a_token_that_a_review_knows(api: Api) -> None:
    await api.made("serviceaccounts", {"metadata": {"name": "agent"}})
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}}
    given = await api.post(api.at("serviceaccounts", "agent/token"), asked)
    assert given.code == 201
    assert given["status"]["expirationTimestamp"].endswith("Z")
    known = await review(api, given["status"]["token"])
    unknown = await review(api, "nonsense")
    assert known["authenticated"] is True
    assert known["user"]["username"] == f"system:serviceaccount:{api.namespace}:agent"
    assert not unknown.get("authenticated")


async def review(api: Api, token: str) -> Json:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    answer = await api.post("/apis/authentication.k8s.io/v1/tokenreviews", body)
    assert answer.code == 201
    return dict(answer["status"])


async def test_an_event_written_by_one_api_is_read_by_the_other(api: Api) -> None:
    regarding = {"apiVersion": "v1", "kind": "Pod", "name": "p", "namespace": api.namespace}
    event = {
        "metadata": {"name": "e"}, "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "sliceward.dev/coordinator",
        "reportingInstance": "one", "action": "Marking", "reason": "Marked", "type": "Normal", "regarding": regarding, "note": "because",
    }  # fmt: skip
    await api.made("events", event, "events.k8s.io/v1")
    old = await api.get(api.at("events", "e"))
    assert (old["message"], old["reason"], old["involvedObject"]["name"]) == ("because", "Marked", "p")
    assert old["reportingComponent"] == "sliceward.dev/coordinator"
    new = await api.get(api.at("events", "e", "events.k8s.io/v1"))
    assert (new["note"], new["regarding"]["name"]) == ("because", "p")
    found = await api.get(api.at("events"), fieldSelector="involvedObject.name=p")
    assert [item["metadata"]["name"] for item in found["items"]] == ["e"]


@pytest.mark.parametrize("door", ["eviction", "binding"])
async def test_a_door_takes_nothing_but_a_create(api: Api, door: str) -> None:
    await api.pod("p")
    assert (await api.get(api.at("pods", f"p/{door}"))).code == 405
