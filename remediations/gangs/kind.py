"""What sliceward must know of a kind of gang in order to move it whole: `GangKind`.

A kind reads its owner object and makes merge patches for it; it does no I/O. Each patch carries the version that it was
made from, so that two writers never mix.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Protocol

from sliceward.topology.names import NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sliceward.remediations.ports import Kind, Object

SUSPENDED_BY = "sliceward.dev/suspended-by"
"""Annotation of an owner: the incident that suspended it, written in the patch that did."""
RESUMED_BY = "sliceward.dev/resumed-by"
"""Annotation of an owner: the incident that resumed it and when, as JSON, written in the patch that did."""


class Suspension(Enum):
    """How far a suspension has come, from the owner object alone (pods may still be ending)."""

    NOT = auto()
    ASKED = auto()
    DONE = auto()


@dataclass(frozen=True, slots=True)
class WantedSlice:
    """One slice that should run: ``pods`` pods, each on a TPU host of its own where ``tpu``."""

    role: str
    index: int
    pods: int
    tpu: bool


class GangKind(Protocol):
    """A kind of gang."""

    owner_kind: str
    kind: Kind

    def pods(self, name: str) -> str:
        """Give the label selector of all pods of the gang of this name."""
        ...

    def place_of(self, pod: Object) -> tuple[str, int]:
        """Give role and slice index of a pod."""
        ...

    def wanted(self, owner: Object) -> tuple[WantedSlice, ...]:
        """Give the slices that should run."""
        ...

    def ended(self, owner: Object) -> str:
        """Say how the gang has ended by itself (``finished``, ``failed``); "" while it has not."""
        ...

    def suspension(self, owner: Object) -> Suspension:
        """Give how far a suspension has come."""
        ...

    def suspend(self, owner: Object, notes: Mapping[str, str | None]) -> Object:
        """Give the patch that suspends the gang and sets annotations in the same write."""
        ...

    def resume(self, owner: Object, notes: Mapping[str, str | None]) -> Object:
        """Give the patch that resumes the gang and sets annotations in the same write."""
        ...

    def templates(self, owner: Object) -> tuple[Object, ...]:
        """Give the pod templates that ask for TPUs."""
        ...

    def select(self, owner: Object, label: str, value: str) -> Object:
        """Give the patch that makes every TPU template select nodes by a label, beside what it selects already."""
        ...


class SuspendedInSpec:
    """What kinds have in common whose owner has ``spec.suspend`` and answers with the condition ``Suspended``."""

    def suspension(self, owner: Object) -> Suspension:
        """Give how far a suspension has come: JobSet's condition follows 0.06 to 0.2 s after the patch."""
        if not owner.get("spec", {}).get("suspend"):
            return Suspension.NOT
        return Suspension.DONE if condition(owner, "Suspended") else Suspension.ASKED

    def suspend(self, owner: Object, notes: Mapping[str, str | None]) -> Object:
        """Give the patch that suspends the gang."""
        return _suspend_patch(owner, notes, suspended=True)

    def resume(self, owner: Object, notes: Mapping[str, str | None]) -> Object:
        """Give the patch that resumes the gang."""
        return _suspend_patch(owner, notes, suspended=False)


def _suspend_patch(owner: Object, notes: Mapping[str, str | None], *, suspended: bool) -> Object:
    version = owner["metadata"]["resourceVersion"]
    return {"metadata": {"resourceVersion": version, "annotations": dict(notes)}, "spec": {"suspend": suspended}}


def asks_for_tpu(template: Mapping[str, Any]) -> bool:
    """Whether a pod template asks for TPUs."""
    containers = template.get("spec", {}).get("containers") or []
    wishes = [container.get("resources", {}) for container in containers]
    return any(NAMES.tpu_resource in (wish.get(half) or {}) for wish in wishes for half in ("requests", "limits"))


def selector_of(template: Mapping[str, Any]) -> dict[str, str]:
    """Give the node selector of a pod template."""
    return dict(template.get("spec", {}).get("nodeSelector") or {})


def tolerated(template: Mapping[str, Any]) -> frozenset[str]:
    """Give the keys of the taints that a pod template tolerates."""
    tolerations = template.get("spec", {}).get("tolerations") or []
    return frozenset(item["key"] for item in tolerations if item.get("key"))


def condition(owner: Object, name: str) -> bool:
    """Whether a condition of an object is True."""
    conditions = owner.get("status", {}).get("conditions") or []
    return any(item.get("type") == name and item.get("status") == "True" for item in conditions)


def noted(owner: Object, key: str) -> str:
    """Give an annotation of an owner, "" where it is missing."""
    return str((owner["metadata"].get("annotations") or {}).get(key, ""))
