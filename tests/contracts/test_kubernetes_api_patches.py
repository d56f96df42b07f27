"""Patches of all four types, and who owns what after an apply. On both servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.contracts.kubernetes_api import APPLY, JSON_PATCH, MERGE, STRATEGIC

if TYPE_CHECKING:
    from tests.contracts.kubernetes_api import Answer, Api, Json

TAINTS = [{"key": "a", "effect": "NoSchedule"}, {"key": "b", "effect": "NoSchedule"}]


def our_taints(answer: Answer) -> list[str]:
    """Taint keys but those of the cluster's own controllers."""
    return [taint["key"] for taint in answer["spec"].get("taints", ()) if "kubernetes.io" not in taint["key"]]


async def config(api: Api, data: Json) -> str:
    await api.made("configmaps", {"metadata": {"name": "one"}, "data": data})
    return api.at("configmaps", "one")


async def test_a_merge_patch_adds_changes_and_removes(api: Api) -> None:
    path = await config(api, {"a": "1", "b": "2"})
    done = await api.patch(path, {"data": {"a": "9", "b": None, "c": "3"}, "metadata": {"labels": {"x": "y"}}})
    assert (done.code, done["data"]) == (200, {"a": "9", "c": "3"})
    assert done["metadata"]["labels"] == {"x": "y"}


@pytest.mark.parametrize("kind", [MERGE, STRATEGIC])
async def test_a_patch_replaces_taints_as_a_whole(api: Api, kind: str) -> None:
    name = await api.node(spec={"taints": TAINTS})
    done = await api.patch(f"/api/v1/nodes/{name}", {"spec": {"taints": TAINTS[:1]}}, kind)
    assert our_taints(done) == ["a"]
    empty = await api.patch(f"/api/v1/nodes/{name}", {"spec": {"taints": []}}, kind)
    assert our_taints(empty) == []


@pytest.mark.parametrize("kind", [MERGE, STRATEGIC])
async def test_a_patch_with_a_stale_version_is_a_conflict(api: Api, kind: str) -> None:
    made = await api.made("configmaps", {"metadata": {"name": "one"}, "data": {"a": "1"}})
    path = api.at("configmaps", "one")
    body = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "data": {"a": "2"}}
    first = await api.patch(path, body, kind)
    second = await api.patch(path, body | {"data": {"a": "3"}}, kind)
    assert (first.code, second.code, second.reason) == (200, 409, "Conflict")
    assert (await api.get(path))["data"] == {"a": "2"}


async def test_a_patch_that_changes_nothing_keeps_the_version(api: Api) -> None:
    path = await config(api, {"a": "1"})
    before = await api.get(path)
    done = await api.patch(path, {"data": {"a": "1"}})
    assert done.version == before.version


async def test_a_strategic_patch_merges_conditions_by_type(api: Api) -> None:
    name = await api.node()
    path = f"/api/v1/nodes/{name}/status"
    await api.patch(
        path, {"status": {"conditions": [{"type": "A", "status": "True"}, {"type": "B", "status": "True"}]}}, STRATEGIC
    )
    done = await api.patch(path, {"status": {"conditions": [{"type": "B", "status": "False"}]}}, STRATEGIC)
    states = {of["type"]: of["status"] for of in done["status"]["conditions"]}
    assert (states["A"], states["B"]) == ("True", "False")


async def test_a_merge_patch_replaces_conditions(api: Api) -> None:
    name = await api.node()
    path = f"/api/v1/nodes/{name}/status"
    await api.patch(path, {"status": {"conditions": [{"type": "A", "status": "True"}, {"type": "B", "status": "True"}]}})
    done = await api.patch(path, {"status": {"conditions": [{"type": "B", "status": "False"}]}})
    assert "A" not in {of["type"] for of in done["status"]["conditions"]}


async def test_a_strategic_patch_deletes_and_replaces_by_directive(api: Api) -> None:
    name = await api.node()
    path = f"/api/v1/nodes/{name}/status"
    three = [{"type": of, "status": "True"} for of in ("A", "B", "C")]
    await api.patch(path, {"status": {"conditions": three}})
    gone = await api.patch(path, {"status": {"conditions": [{"type": "B", "$patch": "delete"}]}}, STRATEGIC)
    kinds = {of["type"] for of in gone["status"]["conditions"]}
    assert {"A", "C"} <= kinds
    assert "B" not in kinds
    only = {"status": {"conditions": [{"$patch": "replace"}, {"type": "D", "status": "True"}]}}
    replaced = await api.patch(path, only, STRATEGIC)
    assert [of["type"] for of in replaced["status"]["conditions"]] == ["D"]


async def test_a_strategic_patch_merges_finalizers_as_a_set(api: Api) -> None:
    await api.made("configmaps", {"metadata": {"name": "one", "finalizers": ["a.example.com/x"]}})
    path = api.at("configmaps", "one")
    more = await api.patch(path, {"metadata": {"finalizers": ["b.example.com/x"]}}, STRATEGIC)
    assert sorted(more["metadata"]["finalizers"]) == ["a.example.com/x", "b.example.com/x"]
    less = await api.patch(path, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a.example.com/x"]}}, STRATEGIC)
    assert less["metadata"]["finalizers"] == ["b.example.com/x"]
    await api.patch(path, {"metadata": {"finalizers": None}})


async def test_a_json_patch_tests_before_it_writes(api: Api) -> None:
    path = await config(api, {"a": "1"})
    done = await api.patch(
        path, [{"op": "test", "path": "/data/a", "value": "1"}, {"op": "replace", "path": "/data/a", "value": "2"}], JSON_PATCH
    )
    failed = await api.patch(
        path, [{"op": "test", "path": "/data/a", "value": "1"}, {"op": "remove", "path": "/data/a"}], JSON_PATCH
    )
    missing = await api.patch(path, [{"op": "remove", "path": "/data/none"}], JSON_PATCH)
    assert (done.code, failed.code, missing.code) == (200, 422, 422)
    assert (failed.reason, missing.reason) == ("Invalid", "Invalid")
    assert (await api.get(path))["data"] == {"a": "2"}


@pytest.mark.parametrize(
    ("patch", "kind", "code"),
    [
        ({"data": {}}, "application/json", 415),
        ({"data": {}}, JSON_PATCH, 400),
        ([1], MERGE, 400),
        ([{"op": "dance", "path": "/data"}], JSON_PATCH, 422),
        ({"metadata": {"name": "two"}}, MERGE, 400),
    ],
    ids=["plain JSON", "a map as JSON patch", "a list as merge", "unknown operation", "another name"],
)
async def test_a_patch_that_makes_no_sense_is_refused(api: Api, patch: Any, kind: str, code: int) -> None:  # noqa: ANN401 (JSON)
    path = await config(api, {"a": "1"})
    assert (await api.patch(path, patch, kind)).code == code


async def test_a_patch_of_a_missing_object_is_a_404(api: Api) -> None:
    assert (await api.patch(api.at("configmaps", "none"), {"data": {}})).code == 404


def applied(data: Json, **meta: object) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"} | meta, "data": data}


async def test_an_apply_creates_then_changes(api: Api) -> None:
    path = api.at("configmaps", "one")
    made = await api.patch(path, applied({"a": "1"}), APPLY, fieldManager="us")
    done = await api.patch(path, applied({"a": "2"}), APPLY, fieldManager="us")
    same = await api.patch(path, applied({"a": "2"}), APPLY, fieldManager="us")
    assert (made.code, done.code) == (201, 200)
    assert done["data"] == {"a": "2"}
    assert same.version == done.version


async def test_an_apply_removes_what_its_manager_no_longer_names_and_leaves_the_rest(api: Api) -> None:
    path = api.at("configmaps", "one")
    await api.patch(path, applied({"a": "1", "b": "2"}), APPLY, fieldManager="us")
    await api.patch(path, applied({"c": "3"}), APPLY, fieldManager="them")
    done = await api.patch(path, applied({"a": "1"}), APPLY, fieldManager="us")
    assert done["data"] == {"a": "1", "c": "3"}


async def test_an_apply_conflicts_with_another_manager_unless_forced(api: Api) -> None:
    path = api.at("configmaps", "one")
    await api.patch(path, applied({"a": "1"}), APPLY, fieldManager="them")
    refused = await api.patch(path, applied({"a": "2"}), APPLY, fieldManager="us")
    assert (refused.code, refused.reason) == (409, "Conflict")
    assert refused.causes[0]["reason"] == "FieldManagerConflict"
    assert refused.causes[0]["field"] == ".data.a"
    assert 'conflict with "them"' in refused.causes[0]["message"]
    forced = await api.patch(path, applied({"a": "2"}), APPLY, fieldManager="us", force="true")
    again = await api.patch(path, applied({"a": "3"}), APPLY, fieldManager="them")
    assert (forced.code, again.code) == (200, 409)


async def test_an_ordinary_write_takes_a_field_from_whoever_applied_it(api: Api) -> None:
    path = api.at("configmaps", "one")
    await api.patch(path, applied({"a": "1"}), APPLY, fieldManager="us")
    await api.patch(path, {"data": {"a": "2"}}, fieldManager="them")
    refused = await api.patch(path, applied({"a": "1"}), APPLY, fieldManager="us")
    assert refused.code == 409
    same = await api.patch(path, applied({"a": "2"}), APPLY, fieldManager="us")
    assert same.code == 200


async def test_two_managers_that_agree_share_a_field(api: Api) -> None:
    path = api.at("configmaps", "one")
    await api.patch(path, applied({"a": "1", "b": "1"}), APPLY, fieldManager="us")
    await api.patch(path, applied({"a": "1"}), APPLY, fieldManager="them")
    done = await api.patch(path, applied({"b": "1"}), APPLY, fieldManager="us")
    assert done["data"] == {"a": "1", "b": "1"}


async def test_an_apply_to_conditions_merges_by_type(api: Api) -> None:
    name = await api.node()
    path = f"/api/v1/nodes/{name}/status"
    await api.patch(path, {"status": {"conditions": [{"type": "A", "status": "True"}]}})
    body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
    mine = {"status": {"conditions": [{"type": "B", "status": "True"}]}}
    done = await api.patch(path, body | mine, APPLY, fieldManager="us")
    assert {"A", "B"} <= {of["type"] for of in done["status"]["conditions"]}
    dropped = await api.patch(path, body | {"status": {}}, APPLY, fieldManager="us")
    kinds = {of["type"] for of in dropped["status"]["conditions"]}
    assert "A" in kinds
    assert "B" not in kinds


async def test_an_apply_must_name_its_kind_and_manager(api: Api) -> None:
    path = api.at("configmaps", "one")
    nameless = await api.patch(path, {"metadata": {"name": "one"}}, APPLY, fieldManager="us")
    ownerless = await api.patch(path, applied({"a": "1"}), APPLY)
    assert (nameless.code, ownerless.code) == (400, 422)
