"""Indexed Job: a gang of one slice. Its template's node selector may change while it is suspended (Kubernetes 1.36)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sliceward.remediations.gangs.kind import SuspendedInSpec, WantedSlice, asks_for_tpu, condition, selector_of
from sliceward.remediations.ports import JOB
from sliceward.topology.names import NAMES

if TYPE_CHECKING:
    from sliceward.remediations.ports import Kind, Object


class JobGang(SuspendedInSpec):
    """A gang that an Indexed Job owns. Its one role has no name, as in the fleet."""

    owner_kind: str = "Job"
    kind: Kind = JOB

    def pods(self, name: str) -> str:
        """Give the label selector of all pods of the gang of this name."""
        return f"{NAMES.job_name}={name}"

    def place_of(self, pod: Object) -> tuple[str, int]:
        """Give role and slice index of a pod: there is one of each."""
        del pod
        return "", 0

    def wanted(self, owner: Object) -> tuple[WantedSlice, ...]:
        """Give the one slice that should run."""
        spec = owner["spec"]
        return (WantedSlice("", 0, int(spec.get("parallelism", 1)), asks_for_tpu(spec["template"])),)

    def ended(self, owner: Object) -> str:
        """Say how the gang has ended by itself; "" while it has not."""
        if condition(owner, NAMES.job_failed):
            return "failed"
        return "finished" if condition(owner, NAMES.job_complete) else ""

    def templates(self, owner: Object) -> tuple[Object, ...]:
        """Give the pod template, if it asks for TPUs."""
        template = owner["spec"]["template"]
        return (template,) if asks_for_tpu(template) else ()

    def select(self, owner: Object, label: str, value: str) -> Object:
        """Give the patch of the template's node selector."""
        selector = {**selector_of(owner["spec"]["template"]), label: value}
        version = owner["metadata"]["resourceVersion"]
        return {
            "metadata": {"resourceVersion": version},
            "spec": {"template": {"spec": {"nodeSelector": selector}}},
        }
