"""What a pod set asks of the tree, and why there may be no place for it.

*Required*: all pods in one domain of a level. *Preferred*: so, else in one of a level above, else in several at the top.
*Unconstrained*: anywhere. *Layers*: the pods come in slices of a size, each slice in one domain of its layer's level; an inner
layer cuts the slices of the one outside it. Pod sets of one group are placed together: the smaller is the leader (KEP-2724).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sliceward.scheduling.tree.amounts import Amounts, checked, checked_count
from sliceward.scheduling.tree.suiting import Template

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sliceward.scheduling.tree.assignment import Assignment


@dataclass(frozen=True, slots=True)
class Required:
    """All pods in one domain of this level."""

    level: str


@dataclass(frozen=True, slots=True)
class Preferred:
    """All pods in one domain of this level if that can be, else of one above."""

    level: str


@dataclass(frozen=True, slots=True)
class Unconstrained:
    """Pods wherever there is room; with layers, slices wherever there is room for one."""


Where = Required | Preferred | Unconstrained


@dataclass(frozen=True, slots=True)
class Layer:
    """Slices of ``size`` pods, each in one domain of ``level``. Size 0 stands for one that was not said."""

    level: str
    size: int


@dataclass(frozen=True, slots=True)
class Ask:
    """One pod set. ``requests``: of one pod. ``where`` None: nothing was said. ``before``: its place before it grew or shrank."""

    name: str
    count: int
    requests: Amounts
    where: Where | None = None
    layers: tuple[Layer, ...] = ()
    group: str | None = None
    template: Template = field(default_factory=Template)
    before: Assignment | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be counted with."""
        checked_count(self.count, f"pod set {self.name}: count")
        checked(self.requests, f"pod set {self.name}: requests")
        for layer in self.layers:
            checked_count(layer.size, f"pod set {self.name}: slices at {layer.level}: size")

    @property
    def anywhere(self) -> bool:
        """Whether no level binds the pod set as a whole; layers alone bind slices, not the whole."""
        return isinstance(self.where, Unconstrained) or (self.where is None and bool(self.layers))


@dataclass(frozen=True, slots=True)
class Rules:
    """What of the rules is in force; the defaults are those of Kueue 0.19, with the feature gate that each follows.

    ``balanced``: TASBalancedPlacement. ``least_free``: TASProfileMixed. ``by_liking``: TASRespectNodeAffinityPreferred.
    ``grow_in_place``: ElasticJobsViaWorkloadSlicesWithTAS. ``keep_lone_pods``: SkipReassignmentForPodOwnedWorkloads.
    """

    balanced: bool = False
    least_free: bool = True
    by_liking: bool = False
    grow_in_place: bool = False
    keep_lone_pods: bool = True


@dataclass(frozen=True, slots=True)
class Exclusions:
    """Why leaves take no pod at all: ``leaves`` looked at, and how many each cause excludes."""

    leaves: int = 0
    causes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LayerFit:
    """How many slices of a layer fit in the domain that holds most."""

    level: str
    fits: int
    asked: int


@dataclass(frozen=True, slots=True)
class NoLevelAsked:
    """The pod set names no level."""

    why: str = "the pod set names no level of the tree"


@dataclass(frozen=True, slots=True)
class UnknownLevel:
    """The tree has no such level. ``of``: what asks for it (gang, slices, inner slices)."""

    level: str
    of: str

    @property
    def why(self) -> str:
        """One line."""
        return f"the tree has no level {self.level}, asked for by the {self.of}"


@dataclass(frozen=True, slots=True)
class WrongLayers:
    """Slices that cannot be cut as asked, whatever is free."""

    why: str


@dataclass(frozen=True, slots=True)
class WrongGroup:
    """Pod sets that cannot be placed together as asked, whatever is free."""

    why: str


@dataclass(frozen=True, slots=True)
class NoDomains:
    """No usable host bears the level's label."""

    level: str

    @property
    def why(self) -> str:
        """One line."""
        return f"no usable host has a domain at level {self.level}"


@dataclass(frozen=True, slots=True)
class TooLittleRoom:
    """So many of the pods or slices fit at most."""

    fits: int
    asked: int
    slices: bool
    exclusions: Exclusions

    @property
    def why(self) -> str:
        """One line."""
        unit = "slices" if self.slices else "pods"
        causes = ", ".join(f"{cause}: {leaves}" for cause, leaves in sorted(self.exclusions.causes.items()))
        excluded = f"; of {self.exclusions.leaves} leaves excluded: {causes}" if causes else ""
        return f"{self.fits} of {self.asked} {unit} fit{excluded}"


@dataclass(frozen=True, slots=True)
class LayersDoNotFit:
    """So many slices of each layer fit in the best domain."""

    layers: tuple[LayerFit, ...]
    exclusions: Exclusions

    @property
    def why(self) -> str:
        """One line."""
        said = ", ".join(f"{layer.fits} of {layer.asked} slices at {layer.level}" for layer in self.layers)
        return f"{said} fit"


@dataclass(frozen=True, slots=True)
class StalePlace:
    """Pods that stay sit in a domain that the tree has no more."""

    domain: str

    @property
    def why(self) -> str:
        """One line."""
        return f"pods that would stay sit in {self.domain}, which is gone too"


Failure = NoLevelAsked | UnknownLevel | WrongLayers | WrongGroup | NoDomains | TooLittleRoom | LayersDoNotFit | StalePlace
