"""All objects of an installation, and the kustomize tree that is ``deploy/``: which file holds what."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sliceward.daemons.manifests import agent, broker, coordinator, namespace, network, rbac, watcher
from sliceward.daemons.manifests.install import Install, Overlay
from sliceward.daemons.manifests.yaml_out import documents, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sliceward.remediations.ports import Object

MADE = "# Made by `sliceward manifests --out FOLDER`; changes belong into a kustomization of your own.\n"


@dataclass(frozen=True, slots=True)
class File:
    """One file of the tree. ``about`` stands at its head."""

    name: str
    about: str
    objects: Sequence[Object]


def base(install: Install) -> tuple[File, ...]:
    """Give the files that all overlays share."""
    files = (
        File(
            "namespace.yaml",
            "Two namespaces: what needs the host lives apart. Their label sliceward.dev/webhooks=exempt is for the"
            " namespaceSelector of other people's webhooks.",
            (*namespace.namespaces(install), *namespace.priorities()),
        ),
        File("rbac.yaml", "The coordinator may do what the actions in use declare, and no more.", rbac.objects(install)),
        File("network.yaml", "What is not allowed here is refused.", network.shared(install)),
        File(
            "broker.yaml",
            "An example broker: TLS, a user for each host. Each agent writes and hears under its own name alone.",
            broker.objects(install),
        ),
        File(
            "agent.yaml",
            "One agent on each TPU host. Annotations why.sliceward.dev/* give the reason for each right that it has.",
            (agent.config(install), agent.daemon_set(install)),
        ),
        File(
            "watcher.yaml",
            "One watcher a cluster. Its windows are in memory: a restart holds findings back until they are filled again; baselines outlive its process, not its pod.",
            (watcher.config(install), *watcher.objects(install)),
        ),
    )
    return tuple(file for file in files if file.objects)


_ABOUT = {
    Overlay.SINGLE_CLUSTER: "One coordinator, with its store on one volume.",
    Overlay.HA: "Two coordinators with one PostgreSQL: a Lease says which one acts, the other passes requests on to it.",
}


def overlay(install: Install) -> tuple[File, ...]:
    """Give the files of the chosen overlay alone."""
    lease = rbac.lease(install) if install.overlay is Overlay.HA else ()
    made = (*coordinator.objects(install), network.coordinator(install), *lease)
    return (File("coordinator.yaml", _ABOUT[install.overlay], made),)


def objects(install: Install) -> tuple[Object, ...]:
    """Give everything, in the order in which it can be applied."""
    return tuple(one for file in (*base(install), *overlay(install)) for one in file.objects)


def texts(install: Install) -> Mapping[str, str]:
    """Give the whole kustomize tree, base and all overlays: path below its folder -> text."""
    found = _folder("base", base(install), ())
    for each in Overlay:
        found |= _folder(f"overlays/{each}", overlay(replace(install, overlay=each)), ("../../base",))
    return found


def _folder(name: str, files: Sequence[File], below: Sequence[str]) -> dict[str, str]:
    resources = [*below, *(file.name for file in files)]
    kustomization = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": resources}
    found = {f"{name}/{file.name}": f"# {file.about}\n{MADE}{documents(file.objects)}" for file in files}
    return found | {f"{name}/kustomization.yaml": MADE + text_of(kustomization)}
