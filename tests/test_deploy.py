"""The manifests on a real API server: accepted strictly, and each process may do with its own token what it must and no more."""

from __future__ import annotations

import asyncio
import re
import subprocess
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import yaml

from sliceward.daemons.coordinator import side
from sliceward.daemons.coordinator.leadership import LEASE, Candidacy, Leadership
from sliceward.daemons.loops import Loops
from sliceward.daemons.manifests import rbac
from sliceward.daemons.manifests.install import Overlay
from sliceward.daemons.mirrors import Mirrors
from sliceward.daemons.watcher import surroundings
from sliceward.remediations import kubernetes
from sliceward.remediations.catalog import ACTIONS
from sliceward.remediations.ports import JOB, KINDS, NODE, Kind
from sliceward.topology.errors import Refused
from tests.daemons.manifests.deployed import an_install, kubeconfig_of, token_of
from tests.services import servers

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
INSTALL = an_install(Overlay.HA)
OTHERS = (
    ("", "secrets"),
    ("", "configmaps"),
    ("", "pods/exec"),
    ("", "pods/log"),
    ("", "namespaces"),
    ("", "serviceaccounts/token"),
    ("apps", "deployments"),
    ("rbac.authorization.k8s.io", "clusterroles"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"),
    ("coordination.k8s.io", "leases"),
)
VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
Right = tuple[str, str, str, str]
"""Namespace, group, resource, verb."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give an API server of these tests alone: what they apply must not start in the others'."""
    with servers.control_plane(tmp_path_factory.mktemp("deploy"), kubelets=False) as kubeconfig:
        yield kubeconfig


def apply(server: Path, kubectl: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [kubectl, "--kubeconfig", str(server), "apply", "--validate=strict", *map(str, words)]
    return subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 (found by the fixture)


@pytest.fixture(scope="module")
def applied(server: Path, kubectl: str) -> Path:
    told = apply(server, kubectl, "--kustomize", ROOT / "deploy/overlays/ha")
    assert told.returncode == 0, told.stderr
    return server


@pytest.mark.parametrize("overlay", list(Overlay))
def test_the_api_server_accepts_each_overlay_strictly_and_without_a_warning(overlay: Overlay, server: Path, kubectl: str) -> None:
    """Its warnings would also tell of pods that do not keep to the namespaces' level ``restricted``."""
    told = apply(server, kubectl, "--kustomize", ROOT / "deploy/overlays" / overlay)
    assert told.returncode == 0, told.stderr
    assert "Warning" not in told.stderr


def test_strict_means_that_a_field_that_does_not_exist_is_refused(server: Path, kubectl: str, tmp_path: Path) -> None:
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "default"}, "datta": {}}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(made), encoding="utf-8")
    assert "datta" in apply(server, kubectl, "--filename", tmp_path / "a.yaml").stderr


def test_a_pod_that_keeps_to_no_level_is_warned_of(applied: Path, kubectl: str, tmp_path: Path) -> None:
    """So that no warning above means that there was none to give."""
    pod = {"hostNetwork": True, "containers": [{"name": "x", "image": "x", "securityContext": {"privileged": True}}]}
    marks = {"matchLabels": {"app": "loose"}}
    template = {"metadata": {"labels": marks["matchLabels"]}, "spec": pod}
    made = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "loose", "namespace": "sliceward"}}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump({**made, "spec": {"replicas": 0, "selector": marks, "template": template}}))
    told = apply(applied, kubectl, "--dry-run=server", "--filename", tmp_path / "a.yaml")
    assert told.returncode == 0, told.stderr
    assert "Warning" in told.stderr


class Asking:
    """Asks the server, as a service account, what that account may do."""

    def __init__(self, server: Path, token: str) -> None:
        found = yaml.safe_load(server.read_text(encoding="utf-8"))
        self.url = found["clusters"][0]["cluster"]["server"]
        self._headers = {"Authorization": f"Bearer {token}"}
        self._at_once = asyncio.Semaphore(16)

    async def rights(self, wanted: set[Right]) -> set[Right]:
        async with aiohttp.ClientSession(headers=self._headers, connector=aiohttp.TCPConnector(ssl=False)) as session:
            answers = await asyncio.gather(*(self._may(session, right) for right in wanted))
        return {right for right, allowed in zip(wanted, answers, strict=True) if allowed}

    async def _may(self, session: aiohttp.ClientSession, right: Right) -> bool:
        namespace, group, resource, verb = right
        resource, _, part = resource.partition("/")
        asked = {"namespace": namespace, "group": group, "resource": resource, "subresource": part, "verb": verb}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": asked},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        async with self._at_once, session.post(self.url + path, json=body) as answer:
            found: dict[str, Any] = await answer.json()
            return bool(found["status"]["allowed"])


def wanted_of(process: str) -> set[Right]:
    """Give what a process may do, here in two namespaces: any, and our own."""
    verbs = {(verb.group, verb.resource, name) for verb in rbac.wide(INSTALL)[process] for name in verb.verbs}
    rights = {(namespace, *right) for namespace in ("default", "sliceward") for right in verbs}
    if process == "coordinator":
        rights |= {("sliceward", verb.group, verb.resource, name) for verb in rbac.own(INSTALL) for name in verb.verbs}
        rights.add(("sliceward", "coordination.k8s.io", "leases", "create"))
    return rights


@pytest.mark.parametrize("process", ["agent", "watcher", "coordinator"])
async def test_each_process_may_do_what_it_must_and_nothing_else(process: str, applied: Path, kubectl: str) -> None:
    kinds = {(kind.api.rpartition("/")[0] if "/" in kind.api else "", kind.plural) for kind in KINDS.values()}
    asked = {
        (namespace, *resource, verb) for namespace, resource, verb in product(("default", "sliceward"), kinds | {*OTHERS}, VERBS)
    }
    assert wanted_of(process) <= asked
    asking = Asking(applied, token_of(applied, kubectl, rbac.accounts(INSTALL)[process]))
    assert await asking.rights(asked) == wanted_of(process)


@pytest.mark.parametrize(("process", "kinds"), [("watcher", surroundings.KINDS), ("coordinator", side.KINDS)])
async def test_mirrors_are_filled_with_the_token_of_their_process(
    process: str, kinds: tuple[Kind, ...], applied: Path, kubectl: str, tmp_path: Path
) -> None:
    file = kubeconfig_of(applied, kubectl, account=rbac.accounts(INSTALL)[process], file=tmp_path / "kubeconfig")
    async with kubernetes.connect("c1", kubeconfig=file) as cluster:
        mirrors, changed = Mirrors(cluster, kinds), asyncio.Event()
        async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
            keeping = tasks.create_task(_kept(mirrors, changed))
            while not mirrors.synced:
                with suppress(TimeoutError):  # a kind that does not exist is synced without a change
                    await asyncio.wait_for(changed.wait(), timeout=0.05)
                changed.clear()
            keeping.cancel()
        assert mirrors.problem == ""


async def _kept(mirrors: Mirrors, changed: asyncio.Event) -> None:
    async with asyncio.TaskGroup() as tasks:
        mirrors.keep(tasks, changed.set, where="c1")


async def test_the_coordinator_makes_jobs_in_its_own_namespace_alone(applied: Path, kubectl: str, tmp_path: Path) -> None:
    file = kubeconfig_of(applied, kubectl, account=rbac.accounts(INSTALL)["coordinator"], file=tmp_path / "kubeconfig")
    container = {"name": "x", "image": "example.test/x"}
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "burn-in"},
        "spec": {"suspend": True, "template": {"spec": {"restartPolicy": "Never", "containers": [container]}}},
    }
    async with kubernetes.connect("c1", kubeconfig=file) as cluster:
        made = await cluster.create(JOB, job, "sliceward")
        assert made["metadata"]["namespace"] == "sliceward"
        with pytest.raises(Refused, match="403"):
            await cluster.create(JOB, job, "default")
        with pytest.raises(Refused, match="403"):
            await cluster.delete(NODE, "any")


async def test_a_replica_takes_renews_and_gives_back_its_lease_and_no_other(applied: Path, kubectl: str, tmp_path: Path) -> None:
    file = kubeconfig_of(applied, kubectl, account=rbac.accounts(INSTALL)["coordinator"], file=tmp_path / "kubeconfig")
    times = {"duration": timedelta(seconds=8), "renew_every": timedelta(seconds=2), "give_up_after": timedelta(seconds=6)}
    loop = Loops(time.monotonic).add("lease", deadline=60)
    async with kubernetes.connect("c1", kubeconfig=file) as cluster, asyncio.timeout(30):
        stands = Candidacy(rbac.LEASE, "sliceward", "replica-1", "http://10.0.0.7:8482", **times)
        leadership = Leadership(cluster, stands, time.monotonic, lambda: datetime.now(UTC), loop)
        await leadership.acquire()
        await leadership.acquire()
        assert leadership.leads
        await leadership.release()
        found = await cluster.get(LEASE, rbac.LEASE, "sliceward")
        assert found is not None
        assert not found["spec"].get("holderIdentity")
        with pytest.raises(Refused, match="403"):
            await cluster.get(LEASE, "another", "sliceward")


def test_webhooks_of_others_that_leave_out_our_label_hold_up_none_of_our_pods(
    applied: Path, kubectl: str, tmp_path: Path
) -> None:
    def run(namespace: str) -> str:
        command = [kubectl, "--kubeconfig", str(applied), "--namespace", namespace, "run", "a", "--image", "example.test/x"]
        return subprocess.run(command, check=False, capture_output=True, text=True).stderr  # noqa: S603 (found by the fixture)

    page = (ROOT / "docs/how-to/observe-on-a-cluster.md").read_text(encoding="utf-8")
    (told,) = re.findall(r"^  ```yaml\n(  matchExpressions:.*?)^  ```", page, flags=re.DOTALL | re.MULTILINE)
    pods = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}
    hook = {
        "name": "down.example.test",
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "namespaceSelector": yaml.safe_load(told),
        "rules": [pods],
    }
    made = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
    (tmp_path / "hook.yaml").write_text(
        yaml.safe_dump({**made, "metadata": {"name": "down"}, "webhooks": [hook]}), encoding="utf-8"
    )
    assert apply(applied, kubectl, "--filename", tmp_path / "hook.yaml").returncode == 0
    end = time.monotonic() + 30
    while "failed calling webhook" not in (said := run("default")):  # it is heard of within a second
        assert time.monotonic() < end, said
    assert "failed calling webhook" not in run("sliceward")
    assert "failed calling webhook" not in run("sliceward-agents")


def test_no_action_declares_what_the_role_of_all_of_them_does_not_hold() -> None:
    everything = {verb for action in ACTIONS.values() for verb in action.verbs}
    kept = {*rbac.wide(INSTALL)["coordinator"], *rbac.own(INSTALL)}
    assert {(verb.group, verb.resource) for verb in everything} <= {(verb.group, verb.resource) for verb in kept}
