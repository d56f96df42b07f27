"""The Kubernetes adapter: the only home of kubernetes_asyncio.

`connect` gives a `KubernetesCluster`: raw small reads and writes with a time-out on each (`sliceward.remediations.ports`
Cluster), and `mirror`, our own list-and-watch. Of the client library come configuration, credentials and TLS alone: its
typed lists block the loop for 12 s at 10,000 nodes, and its ``Watch`` reconnects without a pause.
"""

from __future__ import annotations

from sliceward.remediations.kubernetes.cluster import KubernetesCluster
from sliceward.remediations.kubernetes.connection import connect
from sliceward.remediations.kubernetes.mirror import Mirror

__all__ = ["KubernetesCluster", "Mirror", "connect"]
