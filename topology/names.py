"""The one table of Google's, Kubernetes' and our own labels, taints, conditions, annotations and ports.

Google renames these without notice, so every use goes through `NAMES` or a copy with configured overrides (`override`; the
section ``names`` of each daemon's file, which must say the same in all of them).
Sources: GKE's TPU device plugin, GKE pages on TPUs and dynamic slicing, JobSet 0.12 and Kueue 0.19 API types.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Names:
    """Every name that sliceward reads or writes on objects of others. Field by field overridable."""

    # the resource that TPU pods ask for, and the taint of the same key that every TPU node carries
    tpu_resource: str = "google.com/tpu"
    tpu_taint: str = "google.com/tpu"

    # labels of nodes
    accelerator: str = "cloud.google.com/gke-tpu-accelerator"
    topology: str = "cloud.google.com/gke-tpu-topology"
    accelerator_count: str = "cloud.google.com/gke-accelerator-count"
    node_pool: str = "cloud.google.com/gke-nodepool"
    topology_mode: str = "cloud.google.com/gke-accelerator-topology-mode"
    partition_id: str = "cloud.google.com/gke-tpu-partition-4x4x4-id"
    partition_state: str = "cloud.google.com/gke-tpu-partition-4x4x4-state"
    sub_partition_id: str = "cloud.google.com/gke-tpu-partition-{shape}-id"
    sub_partition_state: str = "cloud.google.com/gke-tpu-partition-{shape}-state"
    slice: str = "cloud.google.com/gke-tpu-slice"
    slice_topology: str = "cloud.google.com/gke-tpu-slice-topology"
    block: str = "cloud.google.com/gce-topology-block"
    subblock: str = "cloud.google.com/gce-topology-subblock"
    physical_host: str = "cloud.google.com/gce-topology-host"
    ici_resiliency: str = "cloud.google.com/gke-tpu-ici-resiliency"
    location_hint: str = "cloud.google.com/gke-location-hint"
    reservation: str = "cloud.google.com/reservation-name"
    spot: str = "cloud.google.com/gke-spot"
    dra_driver: str = "cloud.google.com/gke-tpu-dra-driver"
    maintenance_time: str = "cloud.google.com/scheduled-maintenance-time"
    maintenance_active: str = "cloud.google.com/active-node-maintenance"
    perform_maintenance: str = "cloud.google.com/perform-maintenance"
    fault_behavior: str = "cloud.google.com/fault-behavior"
    report_status: str = "cloud.google.com/report-and-replace-status"
    report_operation: str = "cloud.google.com/report-and-replace-operation"
    hostname: str = "kubernetes.io/hostname"

    # taints of nodes
    impending_termination: str = "cloud.google.com/impending-node-termination"
    unschedulable: str = "node.kubernetes.io/unschedulable"
    not_ready: str = "node.kubernetes.io/not-ready"
    unreachable: str = "node.kubernetes.io/unreachable"
    kubernetes_out_of_service: str = "node.kubernetes.io/out-of-service"
    provider_shutdown: str = "node.cloudprovider.kubernetes.io/shutdown"

    # annotations of nodes
    chip_ids: str = "node.gke.io/tpu-chip-ids"
    created_by_mig: str = "node.gke.io/created-by-mig"
    instance_id: str = "container.googleapis.com/instance_id"

    # conditions of nodes and pods
    ready: str = "Ready"
    slice_error: str = "SliceErrorDetected"
    megascale_hang: str = "MegascaleHangDetected"
    kernel_deadlock: str = "KernelDeadlock"
    read_only: str = "ReadonlyFilesystem"
    runtime_restarts: str = "FrequentContainerdRestart"
    kubelet_restarts: str = "FrequentKubeletRestart"
    disruption_target: str = "DisruptionTarget"

    # partition states
    healthy: str = "HEALTHY"
    degraded: str = "DEGRADED"
    unhealthy: str = "UNHEALTHY"
    unset: str = "UNSET"
    incomplete: str = "INCOMPLETE"

    # JobSet
    jobset_name: str = "jobset.sigs.k8s.io/jobset-name"
    replicated_job: str = "jobset.sigs.k8s.io/replicatedjob-name"
    replicated_job_replicas: str = "jobset.sigs.k8s.io/replicatedjob-replicas"
    job_index: str = "jobset.sigs.k8s.io/job-index"
    job_global_index: str = "jobset.sigs.k8s.io/job-global-index"
    job_key: str = "jobset.sigs.k8s.io/job-key"
    restart_attempt: str = "jobset.sigs.k8s.io/restart-attempt"
    exclusive_topology: str = "alpha.jobset.sigs.k8s.io/exclusive-topology"
    jobset_completed: str = "Completed"
    jobset_failed: str = "Failed"

    # Job
    job_name: str = "batch.kubernetes.io/job-name"
    completion_index: str = "batch.kubernetes.io/job-completion-index"
    job_complete: str = "Complete"
    job_failed: str = "Failed"

    # Kueue
    kueue_queue: str = "kueue.x-k8s.io/queue-name"
    kueue_managed: str = "kueue.x-k8s.io/managed"
    kueue_managed_by_prefix: str = "kueue.x-k8s.io/"

    # GKE slice controller
    slice_owner_workload_namespace: str = "accelerator.gke.io/owner-workload-namespace"
    slice_owner_workload_name: str = "accelerator.gke.io/owner-workload-name"

    # our own
    out_of_service: str = "sliceward.dev/out-of-service"
    incident: str = "sliceward.dev/incident"
    gang: str = "sliceward.dev/gang"
    tenant: str = "sliceward.dev/tenant"
    fewest_slices: str = "sliceward.dev/fewest-slices"
    host_index: str = "sliceward.dev/host-index"
    spare: str = "sliceward.dev/spare"

    # ports
    runtime_metrics_port: int = 8431
    device_plugin_port: int = 2112


NAMES = Names()
"""The names as GKE, JobSet and Kueue use them today."""

FIXED = frozenset({
    "degraded", "gang", "healthy", "hostname", "incident", "incomplete", "instance_id", "job_complete", "job_failed",
    "job_index", "job_name", "jobset_completed", "jobset_failed", "jobset_name", "kubernetes_out_of_service",
    "kueue_managed_by_prefix", "kueue_queue", "maintenance_time", "out_of_service", "ready", "replicated_job",
    "slice", "slice_topology", "sub_partition_state", "topology_mode", "tpu_resource", "tpu_taint", "unhealthy",
    "unreachable", "unset",
})  # fmt: skip
"""Names that actions and placement spell as they stand: read under another name and written under this one they would do harm."""


def override(mapping: Mapping[str, Any], *, base: Names = NAMES, where: str = "names") -> Names:
    """Give ``base`` with the fields of ``mapping`` replaced.

    Raises:
        Misconfigured: an unknown field (with the nearest known one), one that is `FIXED` or a value of the wrong type;
            ``where`` is the path of the key that holds the mapping.
    """
    known = {field.name: type(getattr(base, field.name)) for field in fields(Names)}
    for key, value in mapping.items():
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            raise Misconfigured(f"{where}.{key}", "is not a known name", f"Did you mean {near[0]!r}?" if near else "")
        if key in FIXED:
            raise Misconfigured(f"{where}.{key}", "cannot have another name: actions write it", f"Leave {getattr(base, key)!r}")
        if type(value) is not known[key] or not value:
            wanted = "text" if known[key] is str else "a whole number"
            raise Misconfigured(f"{where}.{key}", f"is {value!r}", f"Give {wanted}, for example {getattr(base, key)!r}")
    return replace(base, **mapping)
