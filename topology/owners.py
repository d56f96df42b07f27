"""JobSets and Jobs in, gangs out: what should run. Members are added by `sliceward.topology.members`.

Only what asks for TPU chips is a gang, and of a JobSet only the replicated jobs that do. Read by the rules of JobSet 0.12 and
Kueue 0.19: no object says "ready"; ``suspend`` and the conditions Completed, Complete and Failed say where the owner stands.
"""

from __future__ import annotations

import re
from functools import partial
from math import prod
from typing import TYPE_CHECKING

from sliceward.topology.errors import Misconfigured
from sliceward.topology.fields import Fields
from sliceward.topology.gangs import Gang, GangState, ManagedBy, Role
from sliceward.topology.generations import GENERATIONS, Shape, shape_of
from sliceward.topology.ids import GangId
from sliceward.topology.preempted import preempted, went_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from sliceward.topology.names import Names
    from sliceward.topology.problems import Desk

_NUMBER = re.compile(r"[0-9]{1,9}")
_BACKOFF_LIMIT = 6
"""What an absent ``backoffLimit`` of a Job means (batch/v1)."""


def read_owners(
    desk: Desk, jobsets: Iterable[object], jobs: Iterable[object], workloads: Iterable[object], as_of: datetime
) -> dict[GangId, Gang]:
    """Read the gangs, without members."""
    queues = tuple(workloads)
    queued = desk.once("queued", queues, partial(_owners_of_workloads, desk, queues))
    gone = desk.once("preempted", queues, partial(preempted, desk, queues))
    found: dict[GangId, Gang] = {}
    for kind, objects in (("JobSet", jobsets), ("Job", jobs)):
        for number, value in enumerate(objects):
            gang = desk.once((kind, id(value)), (value, queued), partial(_owner, desk, kind, value, number, queued))
            if gang is not None:
                went = gone.get((kind, gang.id.namespace, gang.id.name)) if gone else None
                found[gang.id] = gang if went is None else went_for(desk, gang, went, as_of)
    return dict(sorted(found.items()))


def chips_asked(pod_spec: Fields, names: Names) -> int:
    """Count the chips that a pod (or pod template) asks for, over its containers."""
    total = 0
    for container in pod_spec.each("containers"):
        resources = container.at("resources")
        asked = [_quantity(resources.at(kind), names.tpu_resource) for kind in ("limits", "requests")]
        total += max(asked)
    return total


def asks_for_chips(pod: Mapping[str, object], *, names: Names) -> bool:
    """Whether a pod asks for chips, or cannot be read: then whoever reads the fleet says so by its name."""
    try:
        return chips_asked(Fields.of(pod, "").at("spec"), names) > 0
    except Misconfigured:
        return True


def controller_of(meta: Fields) -> tuple[str, str]:
    """Give kind and name of the object that controls this one, empty where none does."""
    owners = meta.each("ownerReferences")
    chosen = next((owner for owner in owners if owner.flag("controller")), owners[0] if owners else Fields({}, ""))
    return chosen.text("kind"), chosen.text("name")


def _owners_of_workloads(desk: Desk, workloads: Iterable[object]) -> frozenset[tuple[str, str, str]]:
    """Give (kind, namespace, name) of every object for which Kueue keeps a Workload."""
    found: set[tuple[str, str, str]] = set()
    for number, value in enumerate(workloads):
        about = f"{desk.cluster}/workload[{number}]"
        try:
            meta = Fields.of(value, "").at("metadata")
            about = f"{desk.cluster}/workload/{meta.text('namespace')}/{meta.text('name')}"
            found.update(
                (owner.text("kind"), meta.text("namespace"), owner.text("name")) for owner in meta.each("ownerReferences")
            )
        except Misconfigured as error:
            desk.set_aside(about, error)
    return frozenset(found)


def _owner(desk: Desk, kind: str, value: object, number: int, queued: frozenset[tuple[str, str, str]]) -> Gang | None:
    about = f"{desk.cluster}/{kind}[{number}]"
    try:
        fields = Fields.of(value, "")
        meta = fields.at("metadata")
        if kind == "Job" and controller_of(meta)[0] == "JobSet":
            return None
        gang = GangId(desk.cluster, meta.text("namespace", "default"), kind, meta.text("name"))
        about = str(gang)
        return _gang(desk, fields, gang, is_queued=(kind, gang.namespace, gang.name) in queued)
    except Misconfigured as error:
        desk.set_aside(about, error)
        return None


def _gang(desk: Desk, fields: Fields, gang: GangId, *, is_queued: bool) -> Gang | None:
    names, meta, spec, status = desk.names, fields.at("metadata"), fields.at("spec"), fields.at("status")
    roles, keys = _roles(desk, gang, spec)
    if not roles:
        return None
    labels, annotations = meta.texts("labels"), meta.texts("annotations")
    exclusive = annotations.get(names.exclusive_topology) or next(iter(sorted(keys)), None)
    selectors = [role.node_selector for role in roles]
    restarts, most = _restarts(gang, spec, status)
    placed = {selector[names.gang] for selector in selectors if names.gang in selector}
    slices = sum(role.slices for role in roles)
    if len(placed) > 1:
        desk.report("ContradictoryLabels", str(gang), f"its roles select different {names.gang}", "Give all roles one value")
    queue = labels.get(names.kueue_queue, "") or spec.text("managedBy").startswith(names.kueue_managed_by_prefix)
    return Gang(
        id=gang,
        uid=meta.text("uid"),
        state=_state(fields, names),
        managed_by=_managed_by(names, selectors, exclusive, is_queued=is_queued or bool(queue)),
        roles=roles,
        members=(),
        tenant=labels.get(names.tenant) or gang.namespace,
        priority=max((_priority(pod) for pod in _templates(gang, spec)), default=0),
        generation=_generation(desk, gang, selectors),
        exclusive_key=exclusive,
        restarts=restarts,
        max_restarts=most,
        placed_by_us=placed.pop() if len(placed) == 1 else None,
        fewest=_fewest(desk, gang, annotations.get(names.fewest_slices), slices),
    )


def _fewest(desk: Desk, gang: GangId, told: str | None, slices: int) -> int:
    """Read with how many slices a gang can do; all of them is 0, for it is not elastic."""
    if told is None:
        return 0
    fewest = int(told) if _NUMBER.fullmatch(told) else 0
    if not 0 < fewest <= slices:
        why = f"{desk.names.fewest_slices} is {told!r}, and it has {slices} slices"
        desk.report("ContradictoryLabels", str(gang), why, f"Give a number from 1 to {slices}; until then it needs all of them")
        return 0
    return fewest if fewest < slices else 0


def _templates(gang: GangId, spec: Fields) -> list[Fields]:
    if gang.owner_kind == "Job":
        return [spec.at("template").at("spec")]
    return [job.at("template").at("spec").at("template").at("spec") for job in spec.each("replicatedJobs")]


def _priority(pod_spec: Fields) -> int:
    """Priorities may be negative."""
    value = pod_spec.mapping.get("priority")
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _roles(desk: Desk, gang: GangId, spec: Fields) -> tuple[tuple[Role, ...], set[str]]:
    """Give the roles that ask for chips, and the keys of exclusive topology set on single replicated jobs."""
    names = desk.names
    if gang.owner_kind == "Job":
        role = _role(desk, gang, "", 1, spec)
        if role is not None and spec.text("completionMode") != "Indexed" and role.hosts > 1:
            why = "asks for chips on several hosts but is not Indexed, so its pods have no rank"
            desk.report("NotIndexed", str(gang), why, "Set completionMode: Indexed; it is not moved until then")
            return (), set()
        return ((role,) if role else ()), set()
    roles, keys = [], set()
    for job in spec.each("replicatedJobs"):
        template = job.at("template")
        role = _role(desk, gang, job.text("name"), job.integer("replicas", 1), template.at("spec"))
        if role is not None:
            roles.append(role)
            key = template.at("metadata").texts("annotations").get(names.exclusive_topology)
            keys.update([key] if key else [])
    return tuple(roles), keys


def _role(desk: Desk, gang: GangId, name: str, replicas: int, job: Fields) -> Role | None:
    names, template = desk.names, job.at("template")
    pod = template.at("spec")
    chips, hosts = chips_asked(pod, names), job.integer("parallelism", 1)
    if not chips or not replicas or not hosts:
        return None
    selector = pod.texts("nodeSelector")
    told = template.at("metadata").texts("annotations").get(names.slice_topology)
    told = told or selector.get(names.topology) or selector.get(names.slice_topology)
    return Role(
        name=name,
        slices=replicas,
        hosts=hosts,
        chips_per_host=chips,
        topology=_topology(desk, gang, told, hosts * chips),
        node_selector=selector,
        tolerates_everything=_tolerates_everything(desk, gang, pod),
    )


def _topology(desk: Desk, gang: GangId, told: str | None, chips: int) -> Shape | None:
    if not told:
        return None
    shape = shape_of(told)
    if shape is None or prod(shape) != chips:
        why = f"topology {told} has not the {chips} chips that its pods ask for" if shape else f"topology {told} is no shape"
        desk.report("ContradictoryLabels", str(gang), why, "Correct the topology or the pods; it is not moved until then")
        return None
    return shape


def _tolerates_everything(desk: Desk, gang: GangId, pod: Fields) -> bool:
    """Whether a toleration ``operator: Exists`` without key makes every taint void (Kubernetes taints and tolerations)."""
    found = any(
        t.text("operator") == "Exists" and not t.text("key") and t.text("effect") in {"", "NoSchedule"}
        for t in pod.each("tolerations")
    )
    if found:
        why = "tolerates every taint, so that no mark keeps it off a sick host"
        desk.report("ToleratesEverything", str(gang), why, f"Tolerate {desk.names.tpu_taint} by name instead")
    return found


def _state(fields: Fields, names: Names) -> GangState:
    status = fields.at("status")
    true = {c.text("type") for c in status.each("conditions") if c.text("status") == "True"} | {status.text("terminalState")}
    if true & {names.jobset_completed, names.job_complete}:
        return GangState.FINISHED
    if true & {names.jobset_failed, names.job_failed}:
        return GangState.FAILED
    return GangState.SUSPENDED if fields.at("spec").flag("suspend") else GangState.RUNNING


def _managed_by(names: Names, selectors: list[Mapping[str, str]], exclusive: str | None, *, is_queued: bool) -> ManagedBy:
    if is_queued:
        return ManagedBy.KUEUE
    if exclusive == names.slice or any(names.slice in selector for selector in selectors):
        return ManagedBy.SLICE_CONTROLLER
    return ManagedBy.NOBODY


def _generation(desk: Desk, gang: GangId, selectors: list[Mapping[str, str]]) -> str | None:
    told = {selector[desk.names.accelerator] for selector in selectors if desk.names.accelerator in selector}
    for label in sorted(told - set(GENERATIONS)):
        desk.report("UnknownAccelerator", str(gang), f"selects {label}", f"Known are {', '.join(GENERATIONS)}")
    if len(told) > 1:
        why = f"its roles select {', '.join(sorted(told))}"
        desk.report("ContradictoryLabels", str(gang), why, "Select one accelerator; it is not moved until then")
        return None
    return next(iter(told & set(GENERATIONS)), None)


def _restarts(gang: GangId, spec: Fields, status: Fields) -> tuple[int, int]:
    """Restarts so far and at most. A JobSet without failure policy fails at the first failure (JobSet API)."""
    if gang.owner_kind == "Job":
        return status.integer("failed"), spec.integer("backoffLimit", _BACKOFF_LIMIT)
    return status.integer("restarts"), spec.at("failurePolicy").integer("maxRestarts")


def _quantity(resources: Fields, key: str) -> int:
    """Chips are whole: Kubernetes prints them as text, people write numbers."""
    value = resources.mapping.get(key)
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return int(value)
    return resources.integer(key)
