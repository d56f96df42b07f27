"""The Kubernetes objects of a planned cluster: nodes as GKE labels them, JobSets and Jobs, and pods where gangs run.

The reverse of reading. Everything is made from names alone (uids and instance ids are digests), so that the same plan gives
the same objects. Shapes of objects: Kubernetes 1.36, JobSet v1alpha2, GKE node labels.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sliceward.topology.fleet import Fleet, joined
from sliceward.topology.generations import text_of
from sliceward.topology.names import NAMES, Names
from sliceward.topology.planned import ClusterPlan, CubePlan, GangPlan, cubes_a_slice, plans_from_yaml
from sliceward.topology.reading import read_fleet
from sliceward.topology.torus import coordinate_at, index_at

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

Object = dict[str, Any]

ROLE = "slice"
"""Name of the one replicated job of a planned JobSet."""


@dataclass(frozen=True, slots=True)
class Objects:
    """The objects of one cluster, as its API server would list them."""

    nodes: tuple[Object, ...]
    pods: tuple[Object, ...]
    jobsets: tuple[Object, ...]
    jobs: tuple[Object, ...]


def fleet_from_yaml(text: str, as_of: datetime, *, where: str = "fleet") -> Fleet:
    """Give the fleet that a YAML file describes. Raises `Misconfigured` with the path of the key."""
    return joined(fleet_of(plan, as_of) for plan in plans_from_yaml(text, where=where))


def fleet_of(plan: ClusterPlan, as_of: datetime, *, names: Names = NAMES) -> Fleet:
    """Give the fleet of a planned cluster, read back from its objects."""
    drawn = objects_of(plan, names=names)
    return read_fleet(
        plan.name, nodes=drawn.nodes, pods=drawn.pods, jobsets=drawn.jobsets, jobs=drawn.jobs, names=names, as_of=as_of
    )


def objects_of(plan: ClusterPlan, *, names: Names = NAMES) -> Objects:
    """Draw everything."""
    return Objects(
        nodes=nodes_of(plan, names=names),
        pods=tuple(pod for gang in plan.gangs for pod in pods_of(plan, gang, names=names)),
        jobsets=tuple(gang_of(plan, gang, names=names) for gang in plan.gangs if gang.kind == "JobSet"),
        jobs=tuple(gang_of(plan, gang, names=names) for gang in plan.gangs if gang.kind == "Job"),
    )


def nodes_of(plan: ClusterPlan, *, names: Names = NAMES) -> tuple[Object, ...]:
    """Draw the nodes, Ready and with the taint that every TPU node carries."""
    return tuple(
        _node(plan, cube, index, names) for cube in plan.cubes for index in range(plan.kind.hosts(cube.shape, plan.chips_a_host))
    )


def gang_of(plan: ClusterPlan, gang: GangPlan, *, names: Names = NAMES) -> Object:
    """Draw the JobSet or Indexed Job of a gang; suspended where it runs nowhere."""
    labels = {names.tenant: gang.tenant} if gang.tenant else {}
    labels |= {names.kueue_queue: gang.queue} if gang.queue else {}
    meta: Object = {"name": gang.name, "namespace": gang.namespace, "labels": labels, "annotations": {}}
    meta |= {"uid": _uid(plan.name, gang.namespace, gang.kind, gang.name), "resourceVersion": "1"}
    job = _job(plan, gang, names)
    if gang.kind == "Job":
        return {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": {**job, "suspend": not gang.on}, "status": {}}
    if gang.exclusive:
        meta["annotations"] = {names.exclusive_topology: _cube_label(plan, gang, names)}
    spec = {
        "suspend": not gang.on,
        "failurePolicy": {"maxRestarts": gang.max_restarts},
        "replicatedJobs": [{"name": ROLE, "replicas": gang.slices, "template": {"spec": job}}],
    }
    return {"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "metadata": meta, "spec": spec, "status": {}}


def pods_of(plan: ClusterPlan, gang: GangPlan, *, names: Names = NAMES) -> tuple[Object, ...]:
    """Draw the pods of a gang where it runs, Ready; none where it waits."""
    pods = []
    for slice_index, hosts in enumerate(seats_of(plan, gang)):
        pods += [_pod(plan, gang, (slice_index, rank, host), names) for rank, host in enumerate(hosts)]
    return tuple(pods)


def seats_of(plan: ClusterPlan, gang: GangPlan) -> Iterator[tuple[str, ...]]:
    """Give the node names of each slice of a gang by rank: row by row, x fastest, over the slice's HOST_BOUNDS."""
    cubes = [next(c for c in plan.cubes if c.name == name) for name in gang.on]
    each = cubes_a_slice(gang, cubes[0] if cubes else None)
    used: dict[str, int] = {}
    for start in range(0, len(cubes), each):
        group = cubes[start : start + each]
        box = used.get(group[0].name, 0)
        used[group[0].name] = box + 1
        yield _ranked(plan, gang, group, box)


def _ranked(plan: ClusterPlan, gang: GangPlan, group: list[CubePlan], box: int) -> tuple[str, ...]:
    kind, chips = plan.kind, plan.chips_a_host
    bounds, inner = kind.host_bounds(gang.topology, chips), kind.host_bounds(group[0].shape, chips)
    grid = tuple(max(1, a // b) for a, b in zip(bounds, inner, strict=True))
    corner = coordinate_at(tuple(max(1, b // a) for a, b in zip(bounds, inner, strict=True)), box)
    hosts = []
    for rank in range(kind.hosts(gang.topology, chips)):
        at = tuple(x + c * a for x, c, a in zip(coordinate_at(bounds, rank), corner, bounds, strict=True))
        cube = group[index_at(grid, tuple(x // length % g for x, length, g in zip(at, inner, grid, strict=True)))]
        hosts.append(plan.host(cube.name, index_at(inner, tuple(x % length for x, length in zip(at, inner, strict=True)))))
    return tuple(hosts)


def _node(plan: ClusterPlan, cube: CubePlan, index: int, names: Names) -> Object:
    name = plan.host(cube.name, index)
    chips = str(plan.chips_a_host)
    labels = {
        names.accelerator: plan.generation,
        names.accelerator_count: chips,
        names.node_pool: cube.name if cube.classic else f"pool-{cube.name}",
        names.block: cube.block,
        names.host_index: str(index),
        names.hostname: name,
    }
    if cube.classic:
        labels[names.topology] = text_of(cube.shape)
    else:
        labels |= {names.partition_id: cube.name, names.partition_state: names.healthy, names.topology_mode: "PROVISION_ONLY"}
    labels |= {names.spare: "true"} if cube.spare else {}
    uid = _uid(plan.name, "Node", name)
    quantities = {"cpu": "224", "memory": "940Gi", "pods": "110", names.tpu_resource: chips}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "uid": uid,
            "resourceVersion": "1",
            "labels": labels,
            "annotations": {names.instance_id: str(int(uid[:8], 16))},
        },
        "spec": {
            "providerID": f"gce://sliceward/{plan.name}/{name}",
            "taints": [{"key": names.tpu_taint, "value": "present", "effect": "NoSchedule"}],
        },
        "status": {
            "capacity": quantities,
            "allocatable": quantities,
            "conditions": [{"type": names.ready, "status": "True", "reason": "KubeletReady"}],
            "nodeInfo": {"bootID": _uid(plan.name, "boot", name), "kubeletVersion": "v1.36.0"},
        },
    }


def _job(plan: ClusterPlan, gang: GangPlan, names: Names) -> Object:
    hosts = plan.kind.hosts(gang.topology, plan.chips_a_host)
    return {
        "parallelism": hosts,
        "completions": hosts,
        "completionMode": "Indexed",
        "backoffLimit": 0,
        "template": {
            "metadata": {"annotations": {names.slice_topology: text_of(gang.topology)}},
            "spec": _pod_spec(plan, gang, names),
        },
    }


def _pod_spec(plan: ClusterPlan, gang: GangPlan, names: Names) -> Object:
    classic = _sits_in_pools(plan, gang)
    selector = {names.accelerator: plan.generation}
    selector |= {names.topology: text_of(gang.topology)} if classic else {}
    chips = {names.tpu_resource: str(plan.chips_a_host)}
    return {
        "restartPolicy": "Never",
        "nodeSelector": selector,
        "tolerations": [{"key": names.tpu_taint, "operator": "Exists", "effect": "NoSchedule"}],
        "priority": gang.priority,
        "containers": [{"name": "train", "image": "example.org/train:1", "resources": {"limits": chips, "requests": chips}}],
    }


def _sits_in_pools(plan: ClusterPlan, gang: GangPlan) -> bool:
    """Whether a gang sits in classic pools, or, while it waits, may have to."""
    if gang.on:
        return next(cube.classic for cube in plan.cubes if cube.name == gang.on[0])
    return any(cube.classic for cube in plan.cubes)


def _cube_label(plan: ClusterPlan, gang: GangPlan, names: Names) -> str:
    classic = _sits_in_pools(plan, gang)
    return names.node_pool if classic else names.partition_id


def _pod(plan: ClusterPlan, gang: GangPlan, seat: tuple[int, int, str], names: Names) -> Object:
    slice_index, rank, host = seat
    job = gang.name if gang.kind == "Job" else f"{gang.name}-{ROLE}-{slice_index}"
    uid = _uid(plan.name, gang.namespace, job, str(rank), host)
    labels = {names.job_name: job, names.completion_index: str(rank)}
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job, "controller": True}
    if gang.kind == "JobSet":
        labels |= {names.jobset_name: gang.name, names.replicated_job: ROLE, names.job_index: str(slice_index)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{job}-{rank}-{uid[:5]}",
            "namespace": gang.namespace,
            "uid": uid,
            "resourceVersion": "1",
            "labels": labels,
            "annotations": {names.completion_index: str(rank)},
            "ownerReferences": [{**owner, "uid": _uid(plan.name, gang.namespace, "Job", job)}],
        },
        "spec": {**_pod_spec(plan, gang, names), "nodeName": host},
        "status": {"phase": "Running", "conditions": [{"type": names.ready, "status": "True"}]},
    }


def _uid(*parts: str) -> str:
    """Give a UUID-shaped digest of names."""
    digest = hashlib.sha256("/".join(parts).encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:32]}"
