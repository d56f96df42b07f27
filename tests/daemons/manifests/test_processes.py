"""Watcher, coordinator and broker: nobody, nowhere to write but where they must, probed, and fitting their own settings."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from sliceward.daemons.coordinator.settings import CoordinatorSettings
from sliceward.daemons.manifests import tree
from sliceward.daemons.manifests.install import CONFIG, Install, Overlay
from sliceward.daemons.manifests.processes import probes
from sliceward.daemons.settings import load
from sliceward.daemons.watcher.settings import WatcherSettings
from tests.daemons.manifests.deployed import an_install

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sliceward.remediations.ports import Object

ROOT = Path(__file__).resolve().parents[3]
OVERLAYS = pytest.mark.parametrize("overlay", list(Overlay))
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
NAMES = ("sliceward-watcher", "sliceward-coordinator", "mosquitto")


def named(install: Install, kind: str) -> dict[str, Object]:
    return {one["metadata"]["name"]: one for one in tree.objects(install) if one["kind"] == kind}


def pods(install: Install) -> Mapping[str, dict[str, Any]]:
    return {name: one["spec"]["template"]["spec"] for name, one in named(install, "Deployment").items()}


@OVERLAYS
@pytest.mark.parametrize("name", NAMES)
def test_each_is_nobody_without_rights(overlay: Overlay, name: str) -> None:
    pod = pods(an_install(overlay))[name]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not any(pod.get(shared) for shared in ("hostPID", "hostNetwork", "hostIPC"))
    assert not any("hostPath" in volume for volume in pod["volumes"])
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


@OVERLAYS
@pytest.mark.parametrize("name", NAMES)
def test_each_is_probed_has_a_budget_and_a_priority(overlay: Overlay, name: str) -> None:
    install = an_install(overlay)
    pod = pods(install)[name]
    assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(pod["containers"][0])
    assert pod["priorityClassName"] in named(install, "PriorityClass")
    assert named(install, "PodDisruptionBudget")[name]["spec"] == {
        "maxUnavailable": 1,  # a single replica may be drained
        "unhealthyPodEvictionPolicy": "AlwaysAllow",  # one that is not ready holds up no drain
        "selector": {"matchLabels": named(install, "Deployment")[name]["spec"]["template"]["metadata"]["labels"]},
    }


@OVERLAYS
def test_what_is_away_around_a_process_of_ours_makes_it_unready_and_never_restarts_it(overlay: Overlay) -> None:
    install = an_install(overlay)
    agent = named(install, "DaemonSet")["sliceward-agent"]["spec"]["template"]["spec"]
    found = {name: pod["containers"][0] for name, pod in (*pods(install).items(), ("sliceward-agent", agent))}
    assert {*NAMES, "sliceward-agent"} == found.keys()
    broker = found.pop("mosquitto")
    assert all(broker[kind].keys() & {"httpGet", "tcpSocket", "exec"} == {"tcpSocket"} for kind in PROBES)
    for container in found.values():
        asked = {kind: container[kind]["httpGet"]["path"] for kind in PROBES}
        assert asked == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}


@OVERLAYS
def test_a_token_is_mounted_only_where_it_is_used(overlay: Overlay) -> None:
    install = an_install(overlay)
    assert all(one["automountServiceAccountToken"] is False for one in named(install, "ServiceAccount").values())
    mounted = {name: pod["automountServiceAccountToken"] for name, pod in pods(install).items()}
    assert mounted == {"sliceward-watcher": True, "sliceward-coordinator": True, "mosquitto": False}


@OVERLAYS
def test_nothing_is_mounted_below_a_folder_that_is_mounted(overlay: Overlay) -> None:
    """A runtime cannot make the inner folder where the outer one is read-only."""
    install = an_install(overlay)
    agent = named(install, "DaemonSet")["sliceward-agent"]["spec"]["template"]["spec"]
    for pod in (*pods(install).values(), agent):
        paths = [mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]]
        assert [(a, b) for a in paths for b in paths if a != b and b.startswith(f"{a}/")] == []


def test_one_coordinator_keeps_its_store_on_a_volume_that_no_second_can_mount() -> None:
    install = an_install()
    claim = named(install, "PersistentVolumeClaim")["sliceward-coordinator"]
    assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]
    deployment = named(install, "Deployment")["sliceward-coordinator"]["spec"]
    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})


def test_two_coordinators_share_a_database_and_keep_apart() -> None:
    install = an_install(Overlay.HA)
    assert named(install, "PersistentVolumeClaim") == {}
    deployment = named(install, "Deployment")["sliceward-coordinator"]["spec"]
    assert deployment["replicas"] == 2
    pod = deployment["template"]["spec"]
    assert "podAntiAffinity" in pod["affinity"]
    named_secrets = {
        one["valueFrom"]["secretKeyRef"]["name"]
        for one in pod["containers"][0]["env"]
        if "secretKeyRef" in one.get("valueFrom", {})
    }
    assert named_secrets == {"sliceward-store"}


@OVERLAYS
def test_there_is_one_watcher_a_cluster(overlay: Overlay) -> None:
    spec = named(an_install(overlay), "Deployment")["sliceward-watcher"]["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def written(install: Install, name: str, file: str, folder: Path) -> Path:
    path = folder / file
    path.write_text(named(install, "ConfigMap")[name]["data"][file], encoding="utf-8")
    assert pods(install)[name]["containers"][0]["args"][-1] == f"{CONFIG}/{file}"
    return path


@OVERLAYS
def test_the_coordinators_file_is_one_that_it_reads(overlay: Overlay, tmp_path: Path) -> None:
    install = an_install(overlay, cluster="prod")
    file = written(install, "sliceward-coordinator", "coordinator.yaml", tmp_path)
    variables = pods(install)["sliceward-coordinator"]["containers"][0].get("env", ())
    environ = {one["name"]: one.get("value", "postgresql://sliceward@db/sliceward") for one in variables}
    settings = load(CoordinatorSettings, file=file, environ=environ)
    assert settings.playbooks.mode is None
    assert settings.clusters[0].name == "prod"
    assert pods(install)["sliceward-coordinator"]["containers"][0]["ports"][0]["containerPort"] == settings.api.port
    assert bool(settings.leader.lease) == (overlay is Overlay.HA)
    assert settings.store.url.startswith("postgresql:" if overlay is Overlay.HA else "sqlite:////var/lib/sliceward/")


@OVERLAYS
def test_a_coordinator_that_is_told_to_end_has_the_time_to_finish_its_calls(overlay: Overlay, tmp_path: Path) -> None:
    install = an_install(overlay)
    file = written(install, "sliceward-coordinator", "coordinator.yaml", tmp_path)
    pace = load(CoordinatorSettings, file=file, environ={"SLICEWARD_STORE_URL": "postgresql://sliceward@db/sliceward"}).pace
    granted = timedelta(seconds=pods(install)["sliceward-coordinator"].get("terminationGracePeriodSeconds", 30))
    assert granted >= pace.call_timeout + timedelta(seconds=20)  # to save what they answered, and to give the lead back


def test_a_replica_says_where_the_other_reaches_it(tmp_path: Path) -> None:
    install = an_install(Overlay.HA)
    variables = pods(install)["sliceward-coordinator"]["containers"][0]["env"]
    named_ones = [one["name"] for one in variables]
    assert named_ones.index("POD_IP") < named_ones.index("SLICEWARD_LEADER__ADDRESS")  # only earlier ones are filled in
    file = written(install, "sliceward-coordinator", "coordinator.yaml", tmp_path)
    environ = {one["name"]: one.get("value", "10.0.0.7") for one in variables}
    environ["SLICEWARD_LEADER__ADDRESS"] = environ["SLICEWARD_LEADER__ADDRESS"].replace("$(POD_IP)", environ["POD_IP"])
    assert load(CoordinatorSettings, file=file, environ=environ).leader.address == "http://10.0.0.7:8482"


@OVERLAYS
def test_the_watchers_file_is_one_that_it_reads(overlay: Overlay, tmp_path: Path) -> None:
    install = an_install(overlay, cluster="prod")
    settings = load(WatcherSettings, file=written(install, "sliceward-watcher", "watcher.yaml", tmp_path), environ={})
    assert settings.cluster.name == "prod"
    assert settings.cluster.broker.url == "mqtts://mosquitto.sliceward.svc:8883"
    assert pods(install)["sliceward-watcher"]["containers"][0]["ports"][0]["containerPort"] == settings.health.port


@OVERLAYS
def test_each_secret_is_read_from_a_file_that_is_mounted(overlay: Overlay) -> None:
    for name, pod in pods(an_install(overlay)).items():
        paths = [mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]]
        texts = named(an_install(overlay), "ConfigMap")[name]["data"].values()
        files = {word.strip("{},") for text in texts for word in text.split() if word.startswith("/etc/sliceward/")}
        assert [file for file in files if not any(file.startswith(f"{path}/") for path in paths)] == []


def test_a_loop_that_is_late_is_told_before_it_is_restarted() -> None:
    rules = yaml.safe_load((ROOT / "deploy" / "monitoring" / "alerts.yaml").read_text(encoding="utf-8"))
    (late,) = (rule for group in rules["groups"] for rule in group["rules"] if rule["alert"] == "SlicewardLoopLate")
    lasting = timedelta(minutes=int(late["for"].removesuffix("m")))
    scraped = timedelta(minutes=1)
    probe = probes("http")["livenessProbe"]
    assert timedelta(seconds=probe["periodSeconds"] * probe["failureThreshold"]) > lasting + 2 * scraped


@OVERLAYS
def test_the_watcher_has_the_memory_that_25000_hosts_of_four_chips_take(overlay: Overlay) -> None:
    """The figures of docs/limits.md: MB beside all else, MB for each 1,000 hosts, KiB of baselines a chip, twice while they are saved."""
    takes = (115 + 80 * 25) * 10**6 + 2 * 100_000 * 2**10
    (container,) = pods(an_install(overlay))["sliceward-watcher"]["containers"]
    allowed = container["resources"]["limits"]["memory"]
    assert allowed.endswith("Gi")
    assert int(allowed.removesuffix("Gi")) * 2**30 > 1.5 * takes
    assert container["resources"]["requests"]["memory"] == "256Mi"
