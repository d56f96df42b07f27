"""JobSet (measured with 0.12.0): its templates may change while it is suspended; a suspend keeps its Jobs and restarts."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from sliceward.remediations.gangs.kind import SuspendedInSpec, WantedSlice, asks_for_tpu, condition
from sliceward.remediations.ports import JOBSET
from sliceward.topology.names import NAMES

if TYPE_CHECKING:
    from sliceward.remediations.ports import Kind, Object


class JobSetGang(SuspendedInSpec):
    """A gang that a JobSet owns: each replica of a replicatedJob is a slice."""

    owner_kind: str = "JobSet"
    kind: Kind = JOBSET

    def pods(self, name: str) -> str:
        """Give the label selector of all pods of the gang of this name."""
        return f"{NAMES.jobset_name}={name}"

    def place_of(self, pod: Object) -> tuple[str, int]:
        """Give role and slice index of a pod."""
        labels = pod["metadata"].get("labels") or {}
        return labels.get(NAMES.replicated_job, ""), int(labels.get(NAMES.job_index, "0") or 0)

    def wanted(self, owner: Object) -> tuple[WantedSlice, ...]:
        """Give the slices that should run."""
        slices = []
        for role in _roles(owner):
            job = role["template"]["spec"]
            pods = int(job.get("parallelism", 1))
            tpu = asks_for_tpu(job["template"])
            slices += [WantedSlice(role["name"], index, pods, tpu) for index in range(int(role.get("replicas", 1)))]
        return tuple(slices)

    def ended(self, owner: Object) -> str:
        """Say how the gang has ended by itself; "" while it has not."""
        terminal = owner.get("status", {}).get("terminalState", "")
        if terminal == NAMES.jobset_failed or condition(owner, NAMES.jobset_failed):
            return "failed"
        return "finished" if terminal == NAMES.jobset_completed or condition(owner, NAMES.jobset_completed) else ""

    def templates(self, owner: Object) -> tuple[Object, ...]:
        """Give the pod templates that ask for TPUs."""
        templates = (role["template"]["spec"]["template"] for role in _roles(owner))
        return tuple(template for template in templates if asks_for_tpu(template))

    def select(self, owner: Object, label: str, value: str) -> Object:
        """Give the patch of all replicatedJobs: a merge patch replaces the list, so it goes whole, at its version."""
        roles = copy.deepcopy(_roles(owner))
        for role in roles:
            template = role["template"]["spec"]["template"]
            if asks_for_tpu(template):
                template["spec"]["nodeSelector"] = {**(template["spec"].get("nodeSelector") or {}), label: value}
        version = owner["metadata"]["resourceVersion"]
        return {"metadata": {"resourceVersion": version}, "spec": {"replicatedJobs": roles}}


def _roles(owner: Object) -> list[Object]:
    return list(owner.get("spec", {}).get("replicatedJobs") or [])
