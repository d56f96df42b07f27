"""Kinds of our own: definitions, what their schemas do, and discovery. On both servers."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from tests.contracts.kubernetes_api import APPLY, JSON_PATCH, MERGE, STRATEGIC, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.contracts.kubernetes_api import Api, Json

SPEC: Json = {
    "type": "object",
    "required": ["size"],
    "properties": {
        "size": {"type": "integer", "minimum": 1, "maximum": 9},
        "colour": {"type": "string", "enum": ["red", "blue"], "default": "red"},
        "fixed": {"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "Value is immutable"}]},
        "word": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5},
        "loose": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "port": {"x-kubernetes-int-or-string": True},
    },
}
CHECKS: Json = {
    "type": "array",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["name"],
    "items": {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string"}, "state": {"type": "string"}, "count": {"type": "integer"}},
    },
}


@pytest.fixture
async def things(api: Api) -> AsyncIterator[str]:
    """The path of a kind that nobody else has, in our namespace."""
    group = f"g{uuid.uuid4().hex[:8]}.example.com"
    schema = {"type": "object", "properties": {"spec": SPEC, "status": {"type": "object", "properties": {"checks": CHECKS}}}}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": schema},
    }
    names = {"kind": "Thing", "plural": "things", "shortNames": ["tg"]}
    definition = {
        "metadata": {"name": f"things.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [version]},
    }
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    made = await api.post(path, definition)
    assert made.code == 201, made

    async def served() -> bool:
        return (await api.get(api.at("things", api=f"{group}/v1"))).code == 200

    await until(served)
    yield api.at("things", api=f"{group}/v1")
    await api.delete(f"{path}/things.{group}")


def thing(things: str, name: str = "one", **spec: object) -> Json:
    return {
        "apiVersion": "/".join(things.split("/")[2:4]),
        "kind": "Thing",
        "metadata": {"name": name},
        "spec": {"size": 1} | spec,
    }


async def test_a_definition_is_established(api: Api, things: str) -> None:
    group = things.split("/")[2]
    found = await api.get(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.{group}")
    states = {of["type"]: of["status"] for of in found["status"]["conditions"]}
    assert (states["Established"], states["NamesAccepted"]) == ("True", "True")
    assert found["spec"]["names"]["listKind"] == "ThingList"


async def test_an_object_is_pruned_and_given_defaults(api: Api, things: str) -> None:
    made = await api.post(things, thing(things, stray=1, loose={"any": {"thing": [1]}}) | {"more": 2})
    assert made.code == 201
    assert made["spec"] == {"size": 1, "colour": "red", "loose": {"any": {"thing": [1]}}}
    assert "more" not in made.body
    assert made["metadata"]["generation"] == 1


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"size": "big"}, "spec.size"),
        ({"size": 0}, "spec.size"),
        ({"size": 10}, "spec.size"),
        ({"size": None}, "spec.size"),
        ({"colour": "green"}, "spec.colour"),
        ({"word": "A"}, "spec.word"),
        ({"word": "abcdef"}, "spec.word"),
    ],
    ids=str,
)
async def test_an_object_against_its_schema_is_refused(api: Api, things: str, spec: Json, field: str) -> None:
    answer = await api.post(things, thing(things, **spec))
    assert (answer.code, answer.reason) == (422, "Invalid")
    assert field in [of["field"] for of in answer.causes]


async def test_an_immutable_field_stays(api: Api, things: str) -> None:
    await api.post(things, thing(things, fixed="a"))
    changed = await api.patch(f"{things}/one", {"spec": {"fixed": "b"}})
    same = await api.patch(f"{things}/one", {"spec": {"fixed": "a", "size": 2}})
    assert (changed.code, same.code) == (422, 200)
    assert "Value is immutable" in changed["message"]


async def test_status_is_apart_and_counts_no_generation(api: Api, things: str) -> None:
    await api.post(things, thing(things) | {"status": {"checks": [{"name": "a"}]}})
    assert "status" not in (await api.get(f"{things}/one")).body
    done = await api.patch(
        f"{things}/one/status", {"status": {"checks": [{"name": "a"}]}, "spec": {"size": 5}, "metadata": {"labels": {"a": "b"}}}
    )
    assert (done["spec"]["size"], done["metadata"]["generation"]) == (1, 1)
    assert "labels" not in done["metadata"]
    assert done["status"] == {"checks": [{"name": "a"}]}
    changed = await api.patch(f"{things}/one", {"spec": {"size": 5}})
    assert changed["metadata"]["generation"] == 2


async def test_patches_of_custom_kinds_are_all_but_strategic(api: Api, things: str) -> None:
    await api.post(things, thing(things))
    strategic = await api.patch(f"{things}/one", {"spec": {"size": 2}}, STRATEGIC)
    merge = await api.patch(f"{things}/one", {"spec": {"size": 2}}, MERGE)
    json = await api.patch(f"{things}/one", [{"op": "replace", "path": "/spec/size", "value": 3}], JSON_PATCH)
    assert (strategic.code, merge.code, json.code) == (415, 200, 200)


async def test_an_apply_merges_lists_that_the_schema_keys(api: Api, things: str) -> None:
    await api.post(things, thing(things))
    await api.patch(
        f"{things}/one/status", {"status": {"checks": [{"name": "a", "state": "Ready", "count": 7}]}}, fieldManager="kueue"
    )
    body = {key: value for key, value in thing(things).items() if key != "spec"}
    mine = {"status": {"checks": [{"name": "b", "state": "Retry"}]}}
    done = await api.patch(f"{things}/one/status", body | mine, APPLY, fieldManager="us")
    assert done["status"]["checks"] == [{"name": "a", "state": "Ready", "count": 7}, {"name": "b", "state": "Retry"}]
    less = await api.patch(f"{things}/one/status", body | {"status": {}}, APPLY, fieldManager="us")
    assert less["status"]["checks"] == [{"name": "a", "state": "Ready", "count": 7}]


async def test_a_replace_needs_a_version(api: Api, things: str) -> None:
    await api.post(things, thing(things))
    answer = await api.put(f"{things}/one", thing(things, size=2))
    assert (answer.code, answer.causes[0]["field"]) == (422, "metadata.resourceVersion")


async def test_discovery_tells_of_all_kinds(api: Api, things: str) -> None:
    group = things.split("/")[2]
    groups = await api.get("/apis")
    resources = await api.get(f"/apis/{group}/v1")
    core = await api.get("/api/v1")
    assert group in [of["name"] for of in groups["groups"]]
    assert [of["name"] for of in resources["resources"]] == ["things", "things/status"]
    assert resources["resources"][0]["shortNames"] == ["tg"]
    pods = next(of for of in core["resources"] if of["name"] == "pods")
    assert (pods["kind"], pods["namespaced"]) == ("Pod", True)
    assert {"get", "list", "watch", "patch", "deletecollection"} <= set(pods["verbs"])
    assert {"nodes/status", "pods/eviction", "pods/binding", "serviceaccounts/token"} <= {of["name"] for of in core["resources"]}


@pytest.mark.parametrize(
    "path", ["/api", "/api/", "/apis", "/apis/", "/version", "/version/", "/api/v1/", "/apis/batch/v1/", "/apis/batch"]
)
async def test_discovery_answers_with_and_without_a_slash_at_the_end(api: Api, path: str) -> None:
    assert (await api.get(path)).code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/livez"])
async def test_health_is_a_word(api: Api, path: str) -> None:
    assert (await api.get(path))["text"] == "ok"


async def test_a_kind_goes_with_its_definition(api: Api, things: str) -> None:
    await api.post(things, thing(things))
    group = things.split("/")[2]
    await api.delete(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.{group}")

    async def gone() -> bool:
        return (await api.get(things)).code == 404

    await until(gone)
    assert (await api.get(f"{things}/one")).code == 404
    assert (await api.post(things, thing(things, "two"))).code == 404
