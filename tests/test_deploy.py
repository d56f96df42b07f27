"""The manifests parse, fit each other, and name commands, options, keys and rights that exist."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from sliceward.daemons.agent.settings import AgentSettings
from sliceward.daemons.cli.main import COMMANDS
from sliceward.daemons.coordinator.settings import CoordinatorSettings
from sliceward.daemons.settings import load
from sliceward.daemons.watcher.settings import WatcherSettings
from sliceward.remediations.catalog import ACTIONS
from sliceward.remediations.ports import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPLOY = Path(__file__).resolve().parents[1] / "deploy"
KUSTOMIZATION = yaml.safe_load((DEPLOY / "kustomization.yaml").read_text(encoding="utf-8"))
OBJECTS: list[dict[str, Any]] = [
    made for name in KUSTOMIZATION["resources"] for made in yaml.safe_load_all((DEPLOY / name).read_text(encoding="utf-8"))
]


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    return {made["metadata"]["name"]: made for made in OBJECTS if made["kind"] == kind}


def pod_specs() -> Iterator[tuple[str, dict[str, Any]]]:
    for kind in ("Deployment", "DaemonSet"):
        for name, made in of_kind(kind).items():
            yield name, made["spec"]["template"]["spec"]


def test_each_manifest_is_in_the_kustomization() -> None:
    files = {file.name for file in DEPLOY.glob("*.yaml")} - {"kustomization.yaml"}
    assert files == set(KUSTOMIZATION["resources"])


def test_everything_lives_in_one_namespace() -> None:
    wide = {"Namespace", "ClusterRole", "ClusterRoleBinding"}
    assert {made["metadata"].get("namespace") for made in OBJECTS if made["kind"] not in wide} == {"sliceward"}


def test_each_container_of_ours_runs_a_command_that_exists() -> None:
    ran = [
        container["args"][0]
        for _, spec in pod_specs()
        for container in spec["containers"]
        if container["image"].startswith("sliceward")
    ]
    assert sorted(ran) == ["agent", "coordinator", "watcher"]
    assert set(ran) <= set(COMMANDS)


def test_what_pods_name_exists_beside_them() -> None:
    maps, accounts, claims = of_kind("ConfigMap"), of_kind("ServiceAccount"), of_kind("PersistentVolumeClaim")
    for name, spec in pod_specs():
        assert spec.get("serviceAccountName", "default") in {*accounts, "default"}, name
        mounted = {volume["name"] for volume in spec["volumes"]}
        for volume in spec["volumes"]:
            assert volume.get("configMap", {}).get("name", "sliceward") in maps
            assert volume.get("persistentVolumeClaim", {}).get("claimName") in {*claims, None}
        for container in spec["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} == mounted, name
            assert {source["configMapRef"]["name"] for source in container.get("envFrom", ())} <= set(maps)


def test_selectors_choose_the_pods_they_mean() -> None:
    for kind in ("Deployment", "DaemonSet"):
        for made in of_kind(kind).values():
            assert made["spec"]["selector"]["matchLabels"] == made["spec"]["template"]["metadata"]["labels"]
    labels = [made["spec"]["template"]["metadata"]["labels"] for made in of_kind("Deployment").values()]
    assert all(service["spec"]["selector"] in labels for service in of_kind("Service").values())


def test_the_coordinators_file_is_one_that_it_reads(tmp_path: Path) -> None:
    text = of_kind("ConfigMap")["sliceward-coordinator"]["data"]["coordinator.yaml"]
    (tmp_path / "coordinator.yaml").write_text(text, encoding="utf-8")
    settings = load(CoordinatorSettings, file=tmp_path / "coordinator.yaml", environ={})
    assert settings.playbooks.mode is None
    assert settings.clusters[0].name == of_kind("ConfigMap")["sliceward"]["data"]["SLICEWARD_CLUSTER"]
    ports = {port["containerPort"] for _, spec in pod_specs() for box in spec["containers"] for port in box.get("ports", ())}
    assert settings.api.port in ports


def test_the_agents_variables_make_a_configuration() -> None:
    agent = of_kind("DaemonSet")["sliceward-agent"]["spec"]["template"]["spec"]["containers"][0]
    environ = {
        **of_kind("ConfigMap")["sliceward"]["data"],
        **{given["name"]: given.get("value", "a-node") for given in agent["env"]},
    }
    settings = load(AgentSettings, file=None, environ=environ)
    assert settings.node == "a-node"
    assert settings.listen is not None
    assert settings.listen.port == agent["livenessProbe"]["httpGet"]["port"]
    assert str(settings.state) in {mount["mountPath"] for mount in agent["volumeMounts"]}


def test_the_watchers_variables_make_a_configuration() -> None:
    watcher = of_kind("Deployment")["sliceward-watcher"]["spec"]["template"]["spec"]["containers"][0]
    environ = {**of_kind("ConfigMap")["sliceward"]["data"], **{given["name"]: given["value"] for given in watcher["env"]}}
    settings = load(WatcherSettings, file=None, environ=environ)
    assert settings.cluster.broker.url == environ["SLICEWARD_MQTT_URL"]
    assert settings.health.port == watcher["ports"][0]["containerPort"]


def rights(role: str) -> set[tuple[str, str, str]]:
    return {
        (group, resource, verb)
        for rule in of_kind("ClusterRole")[role]["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_the_coordinator_may_do_what_its_actions_declare() -> None:
    declared = {(verb.group, verb.resource, name) for action in ACTIONS.values() for verb in action.verbs for name in verb.verbs}
    assert declared - rights("sliceward-coordinator") == set()


def test_the_coordinator_may_write_nothing_that_no_action_declares() -> None:
    declared = {(verb.group, verb.resource, name) for action in ACTIONS.values() for verb in action.verbs for name in verb.verbs}
    written = {right for right in rights("sliceward-coordinator") if right[2] not in ("get", "list", "watch")}
    assert written - declared == set()


@pytest.mark.parametrize("role", ["sliceward-watcher", "sliceward-coordinator"])
def test_who_mirrors_a_kind_may_read_and_watch_it(role: str) -> None:
    groups = {kind.plural: kind.api.rpartition("/")[0] for kind in KINDS.values() if kind.plural != "events"}
    wanted = {(group, plural, verb) for plural, group in groups.items() for verb in ("list", "watch")}
    assert wanted - rights(role) == set()


def test_only_the_agent_is_privileged_and_nobody_else_runs_as_root() -> None:
    for name, spec in pod_specs():
        for container in spec["containers"]:
            context = {**spec.get("securityContext", {}), **container["securityContext"]}
            assert context.get("readOnlyRootFilesystem") is True
            assert context.get("privileged", False) is (name == "sliceward-agent")
            assert context.get("runAsNonRoot", False) is (name != "sliceward-agent")


def test_the_api_server_accepts_them(control_plane: Path, kubectl: str) -> None:
    told = subprocess.run(  # noqa: S603 (found by the fixture)
        [kubectl, "--kubeconfig", control_plane, "apply", "--kustomize", DEPLOY, "--validate=strict"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told.stderr
    assert "Warning" not in told.stderr
