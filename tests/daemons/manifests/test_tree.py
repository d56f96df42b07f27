"""``deploy/`` is what `sliceward manifests` says, file by file, and kustomize makes the same objects of it."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from sliceward.daemons.manifests import tree
from sliceward.daemons.manifests.install import Overlay
from sliceward.daemons.manifests.yaml_out import documents, text_of
from tests.daemons.manifests.deployed import an_install

if TYPE_CHECKING:
    from sliceward.remediations.ports import Object

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
OVERLAYS = pytest.mark.parametrize("overlay", list(Overlay))


def key(one: Object) -> tuple[str, str, str]:
    return one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]


def test_deploy_is_what_the_command_writes() -> None:
    made = tree.texts(an_install())
    there = {
        str(file.relative_to(DEPLOY)): file.read_text(encoding="utf-8")
        for folder in ("base", "overlays")
        for file in (DEPLOY / folder).rglob("*")
        if file.is_file()
    }
    assert sorted(made) == sorted(there), "run `sliceward manifests --out deploy`"
    assert [name for name, text in made.items() if there[name] != text] == [], "run `sliceward manifests --out deploy`"


@OVERLAYS
def test_kustomize_makes_the_same_objects_of_it(overlay: Overlay, kubectl: str) -> None:
    told = subprocess.run(  # noqa: S603 (found by the fixture)
        [kubectl, "kustomize", DEPLOY / "overlays" / overlay], check=True, capture_output=True, text=True
    ).stdout
    rendered = {key(one): one for one in yaml.safe_load_all(told)}
    assert rendered == {key(one): one for one in tree.objects(an_install(overlay))}


@OVERLAYS
def test_no_object_stands_twice_and_each_has_its_namespace(overlay: Overlay) -> None:
    objects = tree.objects(an_install(overlay))
    assert [one for one, count in Counter(map(key, objects)).items() if count > 1] == []
    wide = {"Namespace", "ClusterRole", "ClusterRoleBinding", "PriorityClass"}
    spaces = {one["metadata"].get("namespace") for one in objects if one["kind"] not in wide}
    assert spaces == {"sliceward", "sliceward-agents"}


@OVERLAYS
def test_what_pods_name_is_there_or_is_a_secret_or_the_authority_that_people_bring(overlay: Overlay) -> None:
    objects = tree.objects(an_install(overlay))
    names = {(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in objects}
    missing = set()
    for one in objects:
        if one["kind"] in ("Deployment", "DaemonSet"):
            space, pod = one["metadata"]["namespace"], one["spec"]["template"]["spec"]
            assert ("ServiceAccount", space, pod["serviceAccountName"]) in names
            assert ("PriorityClass", None, pod["priorityClassName"]) in names
            maps = {volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume}
            missing |= {name for name in maps if ("ConfigMap", space, name) not in names}
            mounted = [mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]]
            assert sorted(mounted) == sorted(volume["name"] for volume in pod["volumes"])
    assert missing == {"sliceward-broker-ca"}


@OVERLAYS
def test_services_and_selectors_choose_the_pods_that_they_mean(overlay: Overlay) -> None:
    objects = tree.objects(an_install(overlay))
    made = [one["spec"] for one in objects if one["kind"] in ("Deployment", "DaemonSet")]
    labels = [spec["template"]["metadata"]["labels"] for spec in made]
    assert [spec["selector"]["matchLabels"] for spec in made] == labels
    assert all(one["spec"]["selector"] in labels for one in objects if one["kind"] == "Service")


def test_what_needs_the_host_lives_apart_and_both_are_exempt_by_one_label() -> None:
    spaces = {
        one["metadata"]["name"]: one["metadata"]["labels"] for one in tree.objects(an_install()) if one["kind"] == "Namespace"
    }
    level = "pod-security.kubernetes.io/enforce"
    assert {name: marks[level] for name, marks in spaces.items()} == {"sliceward": "baseline", "sliceward-agents": "privileged"}
    assert all(marks["sliceward.dev/webhooks"] == "exempt" for marks in spaces.values())


def test_an_agent_takes_no_other_pods_place() -> None:
    classes = {one["metadata"]["name"]: one for one in tree.objects(an_install()) if one["kind"] == "PriorityClass"}
    assert classes["sliceward-agent"]["preemptionPolicy"] == "Never"
    assert classes["sliceward-agent"]["value"] > classes["sliceward"]["value"]


def test_another_namespace_and_cluster_go_everywhere() -> None:
    text = documents(tree.objects(an_install(Overlay.HA, cluster="prod", namespace="health")))
    assert "health-agents" in text
    assert "namespace: sliceward" not in text
    assert "mosquitto.health.svc" in text
    assert "v1/prod/hosts" in text
    assert "/tpu/" not in text


@pytest.mark.parametrize(
    "value",
    [
        {"a": ["b", "c"]},
        {"text": "one\ntwo\n"},
        {"quoted": "yes", "number": "1"},
        {"long": ["x" * 50, "y" * 50]},
        {"deep": [{"a": {"b": None}}]},
    ],
)
def test_what_is_written_is_what_is_read(value: Any) -> None:  # noqa: ANN401 (JSON)
    assert yaml.safe_load(text_of(value)) == value


def test_short_leaves_stand_on_one_line_and_texts_as_they_are() -> None:
    assert text_of({"verbs": ["get", "list"]}) == "verbs: [get, list]\n"
    assert text_of({"file": "one\ntwo\n"}) == "file: |\n  one\n  two\n"
