"""Who may do what in Kubernetes. The coordinator's role is the union of what the actions in use declare, and a few rights of its own.

RBAC cannot say "its own node": the agent's role reads any.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from sliceward.daemons.manifests.install import made
from sliceward.playbooks.load import load_book
from sliceward.remediations.action import Verb
from sliceward.remediations.catalog import ACTIONS
from sliceward.remediations.ports import JOB, JOBSET, NODE, POD, SLICE, WORKLOAD

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sliceward.daemons.manifests.install import Install
    from sliceward.remediations.ports import Object

_API = "rbac.authorization.k8s.io"
LEASE = "sliceward-coordinator"
MIRRORED = {
    "watcher": (NODE, POD, JOB, JOBSET, SLICE),
    "coordinator": (NODE, POD, JOBSET, JOB, SLICE, WORKLOAD),
}
"""The kinds of which each keeps a copy."""
AGENT = (Verb("", "nodes", ("get",)), Verb("", "pods", ("list",)))
"""Its own node's labels, and the pods on it (field selector ``spec.nodeName``)."""
SWEEP = (Verb("", "nodes", ("get", "patch")),)
"""The sweep gives back marks of ours whose incident is over, whatever playbooks there are."""


def actions_of(playbooks: Mapping[str, str]) -> tuple[str, ...]:
    """Give the actions that these playbooks (file name -> text) can come to call, with those that take them back.

    Raises:
        Misconfigured: a playbook that cannot be used.
    """
    steps = [step for book in load_book(playbooks, ACTIONS).playbooks for step in (*book.steps, *book.on_failure)]
    return tuple(sorted({step.spec.action for step in steps} | {step.inverse for step in steps if step.inverse}))


def accounts(install: Install) -> Mapping[str, tuple[str, str]]:
    """Give the namespace and name of each process's service account."""
    return {
        "agent": (install.agents_namespace, "sliceward-agent"),
        "watcher": (install.namespace, "sliceward-watcher"),
        "coordinator": (install.namespace, "sliceward-coordinator"),
    }


def wide(install: Install) -> Mapping[str, tuple[Verb, ...]]:
    """Give what each process may do in all namespaces."""
    acts = [verb for name in install.actions for verb in ACTIONS[name].verbs if not verb.own]
    return {
        "agent": AGENT,
        "watcher": _mirrors("watcher"),
        "coordinator": (*_mirrors("coordinator"), *SWEEP, *acts),
    }


def own(install: Install) -> tuple[Verb, ...]:
    """Give what the coordinator may do in sliceward's own namespace alone, beside its Lease."""
    return tuple(verb for name in install.actions for verb in ACTIONS[name].verbs if verb.own)


def _mirrors(process: str) -> tuple[Verb, ...]:
    return tuple(Verb(kind.api.rpartition("/")[0], kind.plural, ("list", "watch")) for kind in MIRRORED[process])


def rules(verbs: Iterable[Verb]) -> list[Object]:
    """Give the union as rules: resources of one group with the same verbs stand together."""
    union: dict[tuple[str, str], set[str]] = defaultdict(set)
    for verb in verbs:
        union[verb.group, verb.resource].update(verb.verbs)
    together: dict[tuple[str, tuple[str, ...]], list[str]] = defaultdict(list)
    for (group, resource), names in sorted(union.items()):
        together[group, tuple(sorted(names))].append(resource)
    return [
        {"apiGroups": [group], "resources": resources, "verbs": list(names)} for (group, names), resources in together.items()
    ]


def objects(install: Install) -> tuple[Object, ...]:
    """Give accounts, roles and bindings that all overlays share."""
    found = []
    for process, (namespace, name) in accounts(install).items():
        found.append(made("v1", "ServiceAccount", name, namespace, automountServiceAccountToken=False))
        notes = {"sliceward.dev/actions": ", ".join(install.actions)} if process == "coordinator" else {}
        role = made(f"{_API}/v1", "ClusterRole", name, annotations=notes, rules=rules(wide(install)[process]))
        found += [role, _binding("Cluster", name, name, ("", namespace))]
    found += _own(install, "sliceward-coordinator", rules(own(install)))
    return tuple(found)


def lease(install: Install) -> tuple[Object, ...]:
    """Give the right to the one Lease by which replicas agree. ``create`` cannot be limited to a name."""
    leases = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"]}
    return _own(
        install,
        "sliceward-coordinator-lease",
        [{**leases, "verbs": ["create"]}, {**leases, "resourceNames": [LEASE], "verbs": ["get", "patch"]}],
    )


def _own(install: Install, name: str, allowed: list[Object]) -> tuple[Object, ...]:
    if not allowed:
        return ()
    namespace, account = accounts(install)["coordinator"]
    role = made(f"{_API}/v1", "Role", name, namespace, rules=allowed)
    return (role, _binding("", name, account, (namespace, namespace)))


def _binding(scope: str, role: str, account: str, namespaces: tuple[str, str]) -> Object:
    where, of_account = namespaces
    return made(
        f"{_API}/v1",
        f"{scope}RoleBinding",
        role,
        where,
        roleRef={"apiGroup": _API, "kind": f"{scope}Role", "name": role},
        subjects=[{"kind": "ServiceAccount", "name": account, "namespace": of_account}],
    )
