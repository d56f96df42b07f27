"""What the coordinator's configuration says of placement: what is protected, expected and dear."""

from __future__ import annotations

from dataclasses import fields
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from sliceward.daemons.settings import Section
from sliceward.scheduling.costs import Costs
from sliceward.scheduling.ground import checked_mix
from sliceward.topology.errors import Misconfigured
from sliceward.topology.generations import GENERATIONS, shape_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sliceward.scheduling.ground import Mix

Levels = Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]


class PlacementSettings(Section):
    """What placement goes by, beside quota."""

    protected: list[str] = Field(
        default_factory=list,
        description="Tenants whose gangs never go for another tenant's as long as they stay within their quota; each needs a quota.",
    )
    mix: dict[str, dict[str, float]] = Field(
        default_factory=dict,
        description="Requests that are expected, as shares of all by generation and shape: `{tpu7x: {4x4x4: 0.7, 4x4x8: 0.3}}`; places"
        " for them are not given away lightly. None: the usual ones, small more often than large.",
    )
    count_gangs: bool = Field(
        default=False, description="For a generation without a `mix` count the slices of the gangs that are there, over or not."
    )
    costs: dict[str, float] = Field(
        default_factory=dict,
        description="Weights of the cost in chip-seconds or seconds, by name, e.g. `{restart: 900, repair: 28800}`; `docs/placement.md`"
        " names them all.",
    )
    levels: dict[str, Levels] = Field(
        default_factory=dict,
        description="Clusters that are placed as a tree of node labels: from the top, last the level that a slice must not leave, e.g."
        " `{edge: [example.org/room, example.org/rack]}`.",
    )
    spares_sure: float = Field(
        default=0.999,
        gt=0,
        lt=1,
        description="How sure the spares of a block are to make it that each used cube can be replaced.",
    )

    @model_validator(mode="after")
    def _can_be(self) -> Self:
        try:
            _ = self.mixes, self.weights
        except Misconfigured as error:
            raise ValueError(f"{error.where}: {error.why}. {error.what_to_do}") from None
        return self

    @cached_property
    def mixes(self) -> Mapping[str, Mix]:
        """The expected requests by generation. Raises `Misconfigured`."""
        names = {kind.name: label for label, kind in GENERATIONS.items()} | {label: label for label in GENERATIONS}
        found: dict[str, Mix] = {}
        for told, shares in self.mix.items():
            if told not in names:
                raise Misconfigured(f"mix.{told}", "is no TPU generation", _near(told, names))
            kind = GENERATIONS[names[told]]
            if kind.label in found:
                raise Misconfigured(f"mix.{told}", "is there twice, by name and by label", "Keep one")
            shapes = []
            for text, share in shares.items():
                shape = shape_of(text)
                if shape is None or not kind.admits(shape):
                    raise Misconfigured(f"mix.{told}.{text}", f"is no shape of {kind.name}", "Shapes look like 4x4x8")
                shapes.append((shape, share))
            found[kind.label] = checked_mix(tuple(shapes), kind.label)
        return found

    @cached_property
    def weights(self) -> Costs:
        """The weights. Raises `Misconfigured`."""
        known = [field.name for field in fields(Costs)]
        for name in self.costs:
            if name not in known:
                raise Misconfigured(f"costs.{name}", "is no weight of the cost", _near(name, known))
        return Costs(**self.costs)


def _near(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, known, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"Known are {', '.join(sorted(known))}"
