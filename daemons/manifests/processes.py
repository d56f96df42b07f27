"""What watcher and coordinator have in common: one pod that is nobody, may write nowhere but where it must, and is probed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sliceward.daemons.manifests.install import NOBODY, labels, made, mount, volume

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sliceward.daemons.manifests.install import Install
    from sliceward.remediations.ports import Object

PRIORITY, AGENT_PRIORITY = "sliceward", "sliceward-agent"


@dataclass(frozen=True, slots=True)
class Process:
    """One Deployment of ours. ``mounts`` and ``volumes``: beside ``/tmp``; ``replicas`` > 1 are rolled one by one; ``memory``: its limit."""

    component: str
    port: int
    mounts: Sequence[Object]
    volumes: Sequence[Object]
    args: Sequence[str]
    env: Sequence[Object] = ()
    replicas: int = 1
    memory: str = "2Gi"
    more: Mapping[str, Any] = field(default_factory=dict)


def confined() -> Object:
    """Give what every container that is not the agent's may do: nothing."""
    return {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


def nobody(user: int = NOBODY) -> Object:
    """Give what a pod runs as."""
    return {
        "runAsNonRoot": True,
        "runAsUser": user,
        "runAsGroup": user,
        "fsGroup": user,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def probes(port: int | str, host: str = "") -> Object:
    """Give the three probes: alive is loop progress alone, ready means that what it needs answers.

    A first list of a large cluster may take a minute before the loops turn. A loop that is late is restarted after four minutes:
    by then its alert fires and its page is out, and there is something to look at.
    """
    where = {"port": port, **({"host": host} if host else {})}
    return {
        "startupProbe": {"httpGet": {"path": "/healthz", **where}, "periodSeconds": 2, "failureThreshold": 60},
        "livenessProbe": {"httpGet": {"path": "/healthz", **where}, "periodSeconds": 10, "failureThreshold": 24},
        "readinessProbe": {"httpGet": {"path": "/readyz", **where}, "periodSeconds": 5},
    }


def deployment(install: Install, process: Process) -> Object:
    """Give the Deployment of a process."""
    name, marks = f"sliceward-{process.component}", labels(process.component)
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 1}}
    container = {
        "name": process.component,
        "image": install.image,
        "args": list(process.args),
        **({"env": list(process.env)} if process.env else {}),
        "ports": [{"name": "http", "containerPort": process.port}],
        **probes("http"),
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": process.memory}},
        "securityContext": confined(),
        "volumeMounts": [*process.mounts, mount("tmp", "/tmp", read_only=False)],  # noqa: S108 (a folder in the container)
    }
    pod = {
        "serviceAccountName": name,
        "automountServiceAccountToken": True,
        "enableServiceLinks": False,
        "priorityClassName": PRIORITY,
        "securityContext": nobody(),
        **process.more,
        "containers": [container],
        "volumes": [*process.volumes, volume("tmp", emptyDir={"sizeLimit": "64Mi"})],
    }
    spec = {
        "replicas": process.replicas,
        "strategy": rolling if process.replicas > 1 else {"type": "Recreate"},
        "selector": {"matchLabels": marks},
        "template": {"metadata": {"labels": marks}, "spec": pod},
    }
    return made("apps/v1", "Deployment", name, install.namespace, labels=marks, spec=spec)


def budget(install: Install, name: str, component: str) -> Object:
    """Give the disruption budget of a Deployment. ``maxUnavailable``: a single replica must not block a drain for ever."""
    spec = {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": labels(component)},
    }
    return made("policy/v1", "PodDisruptionBudget", name, install.namespace, labels=labels(component), spec=spec)
