"""Which hosts a pod may run on by taints, selector and affinity, and how well it likes them.

The rules are Kubernetes' own (documentation "Taints and Tolerations", "Assigning Pods to Nodes"), for the two effects that keep a
new pod away.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sliceward.scheduling.tree.amounts import checked_count
from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Mapping

KEEPS_AWAY = frozenset({"NoSchedule", "NoExecute"})
OPERATORS = frozenset({"In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"})


@dataclass(frozen=True, slots=True)
class Taint:
    """A taint of a host."""

    key: str
    effect: str
    value: str = ""

    def __str__(self) -> str:
        """As kubectl writes it: ``key=value:effect``."""
        return f"{self.key}={self.value}:{self.effect}" if self.value else f"{self.key}:{self.effect}"


@dataclass(frozen=True, slots=True)
class Toleration:
    """A toleration of a pod. ``seconds``: how long it lasts against NoExecute; None: for ever."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""
    seconds: int | None = None

    def covers(self, taint: Taint) -> bool:
        """Whether it tolerates a taint (for a while at least)."""
        if (self.effect and self.effect != taint.effect) or (self.key and self.key != taint.key):
            return False
        if self.operator == "Exists":
            return True
        return bool(self.key) and self.operator in {"", "Equal"} and self.value == taint.value


@dataclass(frozen=True, slots=True)
class Requirement:
    """One expression over labels, or over a host's name where it stands in ``Term.fields``."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse an operator that Kubernetes does not know."""
        if self.operator not in OPERATORS:
            known = ", ".join(sorted(OPERATORS))
            raise Misconfigured(f"requirement on {self.key}", f"{self.operator!r} is no operator", f"Known are {known}")

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether labels meet it. A label that is not there meets ``NotIn`` and ``DoesNotExist`` alone."""
        told = labels.get(self.key)
        if self.operator == "In":
            return told in self.values
        if self.operator == "NotIn":
            return told not in self.values
        if self.operator in {"Exists", "DoesNotExist"}:
            return (told is not None) is (self.operator == "Exists")
        return self._compared(told)

    def _compared(self, told: str | None) -> bool:
        try:
            number, bound = int(told or ""), int(self.values[0])
        except (ValueError, IndexError):
            return False
        return number > bound if self.operator == "Gt" else number < bound


@dataclass(frozen=True, slots=True)
class Term:
    """Expressions that must all hold; an empty term matches no host."""

    labels: tuple[Requirement, ...] = ()
    fields: tuple[Requirement, ...] = ()

    def matches(self, host: Host) -> bool:
        """Whether a host meets all of it."""
        named = {"metadata.name": host.name}
        together = [r.holds(host.labels) for r in self.labels] + [r.holds(named) for r in self.fields]
        return bool(together) and all(together)


@dataclass(frozen=True, slots=True)
class Liking:
    """A preference: so much weight for a host that matches."""

    term: Term
    weight: int

    def __post_init__(self) -> None:
        """Refuse a weight that is no whole number."""
        checked_count(self.weight, "preference: weight")


@dataclass(frozen=True, slots=True)
class Host:
    """A host as the tree sees it. ``usable``: it is Ready for certain and takes new pods."""

    name: str
    labels: Mapping[str, str]
    allocatable: Mapping[str, int]
    taints: tuple[Taint, ...] = ()
    usable: bool = True


@dataclass(frozen=True, slots=True)
class Template:
    """What a pod says about hosts. ``affinity``: alternatives, one of which must match; None: no affinity is asked for."""

    selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    affinity: tuple[Term, ...] | None = None
    likings: tuple[Liking, ...] = ()

    def why_not(self, host: Host) -> str | None:
        """Say what keeps the pod from a host: the first untolerated taint, then selector, then affinity; None: nothing."""
        for taint in host.taints:
            if taint.effect in KEEPS_AWAY and not any(toleration.covers(taint) for toleration in self.tolerations):
                return f"taint {taint}"
        if self.selector and any(host.labels.get(key) != value for key, value in self.selector.items()):
            return "selector"
        if self.affinity is not None and not any(term.matches(host) for term in self.affinity):
            return "affinity"
        return None

    def liking(self, host: Host) -> int:
        """Add up the weights of the preferences that a host meets."""
        return sum(liking.weight for liking in self.likings if liking.term.matches(host))
