"""The two namespaces, and how important their pods are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sliceward.daemons.manifests.install import made
from sliceward.daemons.manifests.processes import AGENT_PRIORITY, PRIORITY

if TYPE_CHECKING:
    from sliceward.daemons.manifests.install import Install
    from sliceward.remediations.ports import Object

EXEMPT = {"sliceward.dev/webhooks": "exempt"}
"""Label for the ``namespaceSelector`` of other people's webhooks: whoever repairs must not wait for what is broken."""
_LEVEL = "pod-security.kubernetes.io"


def namespaces(install: Install) -> tuple[Object, ...]:
    """Give both. The Jobs of a burn-in run in ours, so it enforces ``baseline``; what we ship keeps to ``restricted``."""
    ours = {f"{_LEVEL}/enforce": "baseline", f"{_LEVEL}/warn": "restricted", f"{_LEVEL}/audit": "restricted"}
    return (
        made("v1", "Namespace", install.namespace, labels={**EXEMPT, **ours}),
        made("v1", "Namespace", install.agents_namespace, labels={**EXEMPT, f"{_LEVEL}/enforce": "privileged"}),
    )


def priorities() -> tuple[Object, ...]:
    """Give both classes. An agent is the last to be evicted from its host, and never the reason that training is."""
    api = "scheduling.k8s.io/v1"
    return (
        made(
            api,
            "PriorityClass",
            PRIORITY,
            value=100_000_000,
            description="Watcher, coordinator and broker of sliceward: before any work of users.",
        ),
        made(
            api,
            "PriorityClass",
            AGENT_PRIORITY,
            value=900_000_000,
            preemptionPolicy="Never",
            description="Agents of sliceward: last to be evicted, and they take no other pod's place.",
        ),
    )
