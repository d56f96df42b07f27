"""Rights follow from the actions in use: their union, what is mirrored, what the sweep gives back, and nothing more."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sliceward.daemons.coordinator import leadership, side
from sliceward.daemons.coordinator.settings import LeaderSettings
from sliceward.daemons.manifests import rbac
from sliceward.daemons.manifests.install import Install, Overlay
from sliceward.daemons.watcher import surroundings
from sliceward.playbooks.shipped import shipped
from sliceward.remediations.action import Verb
from sliceward.remediations.catalog import ACTIONS
from sliceward.topology.errors import Misconfigured
from tests.daemons.manifests.deployed import SHIPPED, an_install

if TYPE_CHECKING:
    from sliceward.remediations.ports import Object

ROOT = Path(__file__).resolve().parents[3]
HAND_OVER = """\
apiVersion: sliceward.dev/v1alpha1
kind: Playbook
metadata: {name: only-tell, annotations: {sliceward.dev/runbook: docs/playbooks/telemetry-lost.md}}
spec:
  summary: Tell.
  mode: Observe
  handOver: look at it
  trigger: {findings: [{kinds: [TelemetryLost]}]}
  timeout: 30m
  steps: [{name: tell, action: human.hand_over, timeout: 1m}]
"""


def roles(install: Install, kind: str = "ClusterRole") -> dict[str, Object]:
    made = (*rbac.objects(install), *rbac.lease(install))
    return {one["metadata"]["name"]: one for one in made if one["kind"] == kind}


def rights(role: Object) -> set[tuple[str, str, str]]:
    return {right for rule in role["rules"] for right in product(rule["apiGroups"], rule["resources"], rule["verbs"])}


def declared(*names: str, own: bool = False) -> set[tuple[str, str, str]]:
    verbs = [verb for name in names for verb in ACTIONS[name].verbs if verb.own is own]
    return {(verb.group, verb.resource, name) for verb in verbs for name in verb.verbs}


def watched(kinds: tuple[object, ...]) -> set[tuple[str, str, str]]:
    return {
        (kind.api.rpartition("/")[0], kind.plural, verb)  # type: ignore[attr-defined]  # Kind
        for kind in kinds
        for verb in ("list", "watch")
    }


def test_the_coordinator_may_do_what_its_actions_declare_and_what_it_keeps_copies_of() -> None:
    sweep = {("", "nodes", "get"), ("", "nodes", "patch")}
    assert rights(roles(an_install())["sliceward-coordinator"]) == declared(*SHIPPED) | watched(side.KINDS) | sweep


def test_the_watcher_may_only_list_and_watch_what_it_mirrors() -> None:
    assert rights(roles(an_install())["sliceward-watcher"]) == watched(surroundings.KINDS)


def test_the_agent_may_read_its_node_and_list_pods_and_nothing_else() -> None:
    install = an_install()
    assert rights(roles(install)["sliceward-agent"]) == {("", "nodes", "get"), ("", "pods", "list")}
    bound = [one for one in rbac.objects(install) if any(who["name"] == "sliceward-agent" for who in one.get("subjects", ()))]
    assert [(one["kind"], one["roleRef"]["name"]) for one in bound] == [("ClusterRoleBinding", "sliceward-agent")]


def test_jobs_are_made_in_our_own_namespace_alone() -> None:
    install = an_install()
    assert rights(roles(install, "Role")["sliceward-coordinator"]) == {("batch", "jobs", "create"), ("batch", "jobs", "get")}
    everywhere = {right for role in roles(install).values() for right in rights(role)}
    assert {right for right in everywhere if right[2] in ("create", "update", "deletecollection", "*")} == set()


def test_nobody_may_read_secrets_or_everything() -> None:
    for kind in ("ClusterRole", "Role"):
        for role in roles(an_install(Overlay.HA), kind).values():
            assert all("*" not in right and "secrets" not in right for right in rights(role))


def test_the_shipped_playbooks_need_every_action_but_the_two_that_cordon() -> None:
    assert set(ACTIONS) - set(SHIPPED) == {"node.cordon", "node.uncordon"}


def test_what_takes_a_step_back_is_in_use_with_it() -> None:
    texts = shipped()
    cordoning = {name: text.replace("action: domain.mark", "action: node.cordon") for name, text in texts.items()}
    assert "node.uncordon" in rbac.actions_of(cordoning)


def test_playbooks_that_only_tell_leave_nothing_to_write_but_marks_to_give_back() -> None:
    install = Install(actions=rbac.actions_of({"only-tell.yaml": HAND_OVER}))
    assert install.actions == ("human.hand_over",)
    found = rights(roles(install)["sliceward-coordinator"])
    assert {right for right in found if right[2] not in ("get", "list", "watch")} == {("", "nodes", "patch")}
    assert roles(install, "Role") == {
        name: role for name, role in roles(install, "Role").items() if name == "sliceward-coordinator-lease"
    }


def test_a_playbook_that_cannot_be_used_grants_nothing() -> None:
    with pytest.raises(Misconfigured):
        rbac.actions_of({"broken.yaml": HAND_OVER.replace("human.hand_over", "human.hand_out")})


def test_the_lease_is_the_one_by_which_replicas_agree() -> None:
    role = roles(an_install(Overlay.HA), "Role")["sliceward-coordinator-lease"]
    create, named = role["rules"]
    assert create == {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]}
    assert named["resourceNames"] == [rbac.LEASE]
    assert named["verbs"] == ["get", "patch"]
    assert leadership.LEASE.api.startswith("coordination.k8s.io/")
    assert role["metadata"]["namespace"] == LeaderSettings().namespace


def test_resources_with_the_same_verbs_stand_in_one_rule() -> None:
    made = rbac.rules([Verb("", "pods", ("list",)), Verb("", "nodes", ("list",)), Verb("", "pods", ("list",))])
    assert made == [{"apiGroups": [""], "resources": ["nodes", "pods"], "verbs": ["list"]}]


def test_no_part_of_a_daemon_calls_kubernetes_of_which_the_roles_know_nothing() -> None:
    """Actions declare, and the guard passes on what they call; mirrors list and watch; the sweep and the lease (also what is noted on it) have their lines in
    `rbac`; `check` only asks what we may.
    """
    call = re.compile(r"(?:cluster|link)\.(?:get|list|create|patch|delete)\(")
    callers = {file.name for file in (ROOT / "daemons").rglob("*.py") if call.search(file.read_text(encoding="utf-8"))}
    assert callers - {"check_cluster.py", "guarded.py"} == {"leadership.py", "memo.py", "sweep.py"}
