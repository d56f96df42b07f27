"""Fleets for tests, in one line: `a_fleet` gives a builder whose every call returns a new one.

::

    fleet = a_fleet().with_gang("llm", slices=2).on("cube-0", "cube-1").spare("cube-3").build()
    objects = a_fleet().not_ready("cube-0-host-05").objects()   # Kubernetes JSON of the same fleet

Default: cluster ``c1``, four tpu7x cubes ``cube-0`` .. ``cube-3`` of 64 chips on 16 hosts (``cube-0-host-00`` ..).
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sliceward.topology.generations import GENERATIONS, shape_of
from sliceward.topology.ids import CubeId, GangId, HostId
from sliceward.topology.names import NAMES
from sliceward.topology.plan import Objects, objects_of
from sliceward.topology.planned import ClusterPlan, CubePlan, GangPlan
from sliceward.topology.reading import read_fleet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sliceward.topology.fleet import Fleet

NOW = datetime(2026, 9, 1, 12, 0, tzinfo=UTC)

Object = dict[str, Any]
Edit = tuple[str, "Callable[[Object], None]"]


def a_fleet(cluster: str = "c1", generation: str = "tpu7x", *, chips_a_host: int = 4) -> FleetBuilder:
    """Give a builder with four cubes where the generation has cubes, else with four 4x4 pools."""
    empty = FleetBuilder(ClusterPlan(cluster, generation, chips_a_host, ()))
    return empty.with_cubes(4) if GENERATIONS[generation].cube else empty.with_pools("4x4", 4)


def host_id(name: str, cluster: str = "c1") -> HostId:
    """Give the id of a host."""
    return HostId(cluster, name)


def cube_id(name: str, cluster: str = "c1") -> CubeId:
    """Give the id of a cube."""
    return CubeId(cluster, name)


def gang_id(name: str, namespace: str = "default", kind: str = "JobSet", cluster: str = "c1") -> GangId:
    """Give the id of a gang."""
    return GangId(cluster, namespace, kind, name)


@dataclass(frozen=True)
class FleetBuilder:
    """A fleet to be. ``edits`` change single nodes, ``removed`` are nodes that do not exist."""

    plan: ClusterPlan
    edits: tuple[Edit, ...] = ()
    gang_edits: tuple[Edit, ...] = ()
    pod_edits: tuple[Edit, ...] = ()
    removed: frozenset[str] = frozenset()
    extra_pods: tuple[Object, ...] = ()

    def with_cubes(self, count: int, *, block: str = "c1-block-0", prefix: str = "cube") -> FleetBuilder:
        """Have exactly ``count`` cubes, all in one TPU pod."""
        shape = GENERATIONS[self.plan.generation].cube
        assert shape is not None
        cubes = tuple(CubePlan(f"{prefix}-{n}", shape, classic=False, block=block) for n in range(count))
        return replace(self, plan=replace(self.plan, cubes=cubes))

    def and_cubes(self, count: int, *, block: str, prefix: str) -> FleetBuilder:
        """Have more cubes, in another TPU pod."""
        more = self.with_cubes(count, block=block, prefix=prefix).plan.cubes
        return replace(self, plan=replace(self.plan, cubes=self.plan.cubes + more))

    def with_pools(self, topology: str, count: int, *, prefix: str = "pool") -> FleetBuilder:
        """Have classic node pools, each one slice of ``topology``."""
        shape = shape_of(topology)
        assert shape is not None
        pools = tuple(CubePlan(f"{prefix}-{n}", shape, classic=True, block="c1-block-0") for n in range(count))
        return replace(self, plan=replace(self.plan, cubes=pools))

    def with_gang(self, name: str, *, slices: int = 1, topology: str = "", kind: str = "JobSet", **more: Any) -> GangOfFleet:  # noqa: ANN401 (fields of GangPlan)
        """Have a gang; say where with ``.on(...)``, or leave it waiting, suspended, with ``.waiting()``."""
        first = self.plan.cubes[0].shape if self.plan.cubes else (4, 4, 4)
        shape = shape_of(topology) or first
        given: dict[str, Any] = {"namespace": "default", "exclusive": kind == "JobSet"} | more
        return GangOfFleet(self, GangPlan(name=name, kind=kind, slices=slices, topology=shape, on=(), **given))

    def spare(self, *cubes: str) -> FleetBuilder:
        """Keep cubes as spares."""
        changed = tuple(replace(cube, spare=True) if cube.name in cubes else cube for cube in self.plan.cubes)
        return replace(self, plan=replace(self.plan, cubes=changed))

    def not_ready(self, *hosts: str, status: str = "Unknown") -> FleetBuilder:
        """Have hosts whose condition Ready is not True."""
        return self.with_condition("Ready", status, *hosts)

    def with_condition(self, kind: str, status: str, *hosts: str) -> FleetBuilder:
        """Have a node condition on hosts."""

        def edit(node: Object) -> None:
            others = [c for c in node["status"]["conditions"] if c["type"] != kind]
            node["status"]["conditions"] = [*others, {"type": kind, "status": status}]

        return self._edited(hosts, edit)

    def cordoned(self, *hosts: str) -> FleetBuilder:
        """Have hosts that a human cordoned, with the taint that the controller manager adds."""

        def edit(node: Object) -> None:
            node["spec"]["unschedulable"] = True
            node["spec"]["taints"].append({"key": NAMES.unschedulable, "effect": "NoSchedule"})

        return self._edited(hosts, edit)

    def tainted(self, key: str, *hosts: str, value: str = "", effect: str = "NoSchedule") -> FleetBuilder:
        """Have a taint on hosts."""

        def edit(node: Object) -> None:
            node["spec"]["taints"].append({"key": key, "value": value, "effect": effect})

        return self._edited(hosts, edit)

    def marked(self, incident: str, *hosts: str) -> FleetBuilder:
        """Have our own mark on hosts: taint and annotation."""

        def edit(node: Object) -> None:
            note = {"incident": incident, "since": NOW.isoformat(), "why": "test", "owner": "sliceward"}
            node["metadata"]["annotations"][NAMES.incident] = json.dumps(note)

        marked = self.tainted(NAMES.out_of_service, *hosts, value=incident)
        return replace(marked, edits=marked.edits + tuple((host, edit) for host in hosts))

    def labelled(self, labels: Mapping[str, str | None], *hosts: str) -> FleetBuilder:
        """Have other labels on hosts; None takes one away."""

        def edit(node: Object) -> None:
            merged = node["metadata"]["labels"] | dict(labels)
            node["metadata"]["labels"] = {key: value for key, value in merged.items() if value is not None}

        return self._edited(hosts, edit)

    def partition_state(self, cube: str, state: str | None) -> FleetBuilder:
        """Have Google's word on a partition."""
        return self.labelled({NAMES.partition_state: state}, *self.hosts_of(cube))

    def edited(self, host: str, edit: Callable[[Object], None]) -> FleetBuilder:
        """Change the JSON of a node at will."""
        return self._edited((host,), edit)

    def gang_edited(self, gang: str, edit: Callable[[Object], None]) -> FleetBuilder:
        """Change the JSON of a gang's JobSet or Job at will."""
        return replace(self, gang_edits=(*self.gang_edits, (gang, edit)))

    def pod_edited(self, start: str, edit: Callable[[Object], None]) -> FleetBuilder:
        """Change the JSON of every pod whose name begins with ``start``."""
        return replace(self, pod_edits=(*self.pod_edits, (start, edit)))

    def suspended(self, gang: str, *, pods_gone: bool = True) -> FleetBuilder:
        """Have a gang suspended; its pods are gone, or still ending."""

        def suspend(owner: Object) -> None:
            owner["spec"]["suspend"] = True

        def end(pod: Object) -> None:
            if pods_gone:
                pod["status"]["phase"] = "Succeeded"
            else:
                pod["metadata"]["deletionTimestamp"] = NOW.isoformat()

        return self.gang_edited(gang, suspend).pod_edited(f"{gang}-", end)

    def without(self, *hosts: str) -> FleetBuilder:
        """Have no such nodes."""
        return replace(self, removed=self.removed | set(hosts))

    def with_stranger(self, host: str, name: str = "stranger") -> FleetBuilder:
        """Have a pod of nobody that we know, holding the chips of ``host``."""
        chips = {"limits": {NAMES.tpu_resource: str(self.plan.chips_a_host)}}
        pod = {
            "metadata": {"name": name, "namespace": "other", "uid": name},
            "spec": {"nodeName": host, "containers": [{"name": "x", "resources": chips}]},
            "status": {"phase": "Running"},
        }
        return replace(self, extra_pods=(*self.extra_pods, pod))

    def hosts_of(self, cube: str) -> tuple[str, ...]:
        """Give the node names of a cube."""
        shape = next(c.shape for c in self.plan.cubes if c.name == cube)
        return tuple(self.plan.host(cube, n) for n in range(self.plan.kind.hosts(shape, self.plan.chips_a_host)))

    def objects(self) -> Objects:
        """Give the Kubernetes objects, each a fresh copy."""
        drawn = copy.deepcopy(objects_of(self.plan))
        nodes = tuple(node for node in drawn.nodes if node["metadata"]["name"] not in self.removed)
        for name, edit in self.edits:
            for node in nodes:
                if node["metadata"]["name"] == name:
                    edit(node)
        for name, edit in self.gang_edits:
            for owner in (*drawn.jobsets, *drawn.jobs):
                if owner["metadata"]["name"] == name:
                    edit(owner)
        for start, edit in self.pod_edits:
            for pod in drawn.pods:
                if pod["metadata"]["name"].startswith(start):
                    edit(pod)
        return replace(drawn, nodes=nodes, pods=(*drawn.pods, *copy.deepcopy(self.extra_pods)))

    def build(
        self,
        as_of: datetime = NOW,
        *,
        positions: Mapping[HostId, object] | None = None,
        slices: Sequence[object] = (),
        workloads: Sequence[object] = (),
    ) -> Fleet:
        """Give the fleet, read from the objects."""
        drawn = self.objects()
        return read_fleet(
            self.plan.name,
            nodes=drawn.nodes,
            pods=drawn.pods,
            jobsets=drawn.jobsets,
            jobs=drawn.jobs,
            slices=slices,
            workloads=workloads,
            as_of=as_of,
            positions=positions,
        )

    def _edited(self, hosts: Sequence[str], edit: Callable[[Object], None]) -> FleetBuilder:
        return replace(self, edits=self.edits + tuple((host, edit) for host in hosts))


@dataclass(frozen=True)
class GangOfFleet:
    """A gang that still needs its place."""

    fleet: FleetBuilder
    gang: GangPlan

    def on(self, *cubes: str) -> FleetBuilder:
        """Let it run there: its cubes slice by slice."""
        placed = replace(self.gang, on=cubes)
        plan = replace(self.fleet.plan, gangs=(*self.fleet.plan.gangs, placed))
        return replace(self.fleet, plan=plan)

    def waiting(self) -> FleetBuilder:
        """Let it wait, suspended."""
        return self.on()
