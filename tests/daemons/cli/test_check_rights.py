"""What `check` asks of an API server is what the shipped roles give: no more, and for several replicas the Lease too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sliceward.daemons.cli.check_cluster import cluster, needs, to_lead, to_mirror
from sliceward.daemons.coordinator.settings import CoordinatorSettings, LeaderSettings
from sliceward.daemons.manifests import namespace, rbac
from sliceward.daemons.settings import ClusterSettings, load
from sliceward.daemons.watcher.surroundings import KINDS
from sliceward.playbooks.load import load_book
from sliceward.playbooks.schema import Mode
from sliceward.playbooks.shipped import shipped
from sliceward.remediations.catalog import ACTIONS
from sliceward.topology.errors import Misconfigured
from tests.daemons.cli.misconfigured import API_SERVER, Answers, a_kubeconfig, an_http_server
from tests.daemons.manifests.deployed import an_install, kubeconfig_of, kubectl_apply

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sliceward.daemons.cli.check_cluster import Right

INSTALL = an_install(namespace="checked")
LEADER = LeaderSettings(lease=rbac.LEASE, namespace=INSTALL.namespace)


def wanted() -> dict[str, Mapping[Right, str]]:
    book = load_book(shipped(), ACTIONS, modes={"*": Mode.ENFORCE})
    return {"watcher": to_mirror(KINDS), "coordinator": needs(book, own=INSTALL.namespace)}


@pytest.fixture
def server(control_plane: Path, kubectl: str) -> Path:
    kubectl_apply(kubectl, control_plane, [*namespace.namespaces(INSTALL), *rbac.objects(INSTALL)])
    return control_plane


async def told(server: Path, kubectl: str, process: str, asked: Mapping[Right, str], folder: Path) -> list[str]:
    """Give what is wrong in the eyes of this process's account."""
    account = rbac.accounts(INSTALL)[process]
    file = kubeconfig_of(server, kubectl, account=account, file=folder / f"{process}.kubeconfig")
    lines = await cluster(ClusterSettings(name="c1", kubeconfig=file), asked)
    return [line.found for line in lines if not line.ok]


@pytest.mark.parametrize("process", ["watcher", "coordinator"])
async def test_the_shipped_role_is_enough(process: str, server: Path, kubectl: str, tmp_path: Path) -> None:
    assert await told(server, kubectl, process, wanted()[process], tmp_path) == []


async def test_the_rights_to_the_lease_are_asked_for_where_it_is(server: Path, kubectl: str, tmp_path: Path) -> None:
    asked = to_lead(LEADER)
    missing = await told(server, kubectl, "coordinator", asked, tmp_path)
    one = f"leases.coordination.k8s.io {rbac.LEASE} in checked"
    assert missing == [
        f"we may not {right}, which leader.lease needs (403)"
        for right in ("create leases.coordination.k8s.io in checked", f"get {one}", f"patch {one}")
    ]
    kubectl_apply(kubectl, server, list(rbac.lease(INSTALL)))
    assert await told(server, kubectl, "coordinator", asked, tmp_path) == []


def test_marks_are_given_back_also_where_all_only_observe() -> None:
    book = load_book(shipped(), ACTIONS, modes={"*": Mode.OBSERVE})
    writes = {str(right): who for right, who in needs(book, own="").items() if right.verb not in ("list", "watch")}
    assert writes == {"get nodes": "giving back marks", "patch nodes": "giving back marks"}


@pytest.mark.parametrize(("version", "ok"), [("v1.30.9", False), ("v1.31.0-gke.1", True), ("v2.0", True), ("main", True)])
async def test_a_cluster_that_is_too_old_is_told(version: str, ok: bool, tmp_path: Path) -> None:  # noqa: FBT001 (a table)
    with an_http_server(Answers(API_SERVER | {"/version": (200, {"gitVersion": version})})) as address:
        line, *_ = await cluster(ClusterSettings(name="c1", kubeconfig=a_kubeconfig(tmp_path, address)), {})
    assert (line.ok, "1.31 is the oldest" in line.found) == (ok, not ok)


def test_a_lease_over_sqlite_is_refused() -> None:
    environ = {"SLICEWARD_CLUSTER": "c1", "SLICEWARD_LEADER__LEASE": "x"}
    with pytest.raises(Misconfigured, match=r"SQLite of its own: set store\.url"):
        load(CoordinatorSettings, file=None, environ=environ)
    settings = load(CoordinatorSettings, file=None, environ=environ | {"SLICEWARD_STORE_URL": "postgresql://me@db/x"})
    assert settings.leader.lease == "x"
