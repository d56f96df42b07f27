"""What a group of pod sets needs, in numbers: levels of this tree instead of labels, slices with their sizes, the leader's pod."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from sliceward.scheduling.tree.amounts import POD_SLOTS, Amounts, plus
from sliceward.scheduling.tree.ask import Ask, Failure, Layer, NoLevelAsked, Preferred, Required, UnknownLevel, WrongLayers

if TYPE_CHECKING:
    from sliceward.scheduling.tree.suiting import Template
    from sliceward.scheduling.tree.tree import LabelTree


@dataclass(frozen=True, slots=True)
class Need:
    """One search. ``size``: pods of an outermost slice, 1 without layers. ``inner``: by level below, the size to cut slices into.

    ``request`` and ``leader`` are of one pod, its slot included. ``inside``: the one domain that may be used, for a repair.
    """

    pods: int
    request: Amounts
    leader: Amounts | None
    level: int
    slice_level: int
    size: int
    inner: Mapping[int, int]
    layers: tuple[Layer, ...]
    required: bool
    anywhere: bool
    template: Template
    inside: int | None = None

    @property
    def slices(self) -> int:
        """How many outermost slices."""
        return self.pods // self.size

    @property
    def leaders(self) -> int:
        """How many leaders: one or none."""
        return int(self.leader is not None)


def level_asked(tree: LabelTree, ask: Ask) -> str | None:
    """Give the level that binds the pod set as a whole: the one it names; else the top for slices, the lowest for pods."""
    if isinstance(ask.where, Required | Preferred):
        return ask.where.level
    if ask.layers:
        return tree.levels[0]
    return tree.levels[-1] if ask.anywhere else None


def has_levels(tree: LabelTree, ask: Ask) -> bool:
    """Whether the tree has every level that a pod set asks for; one that asks for none is not for a tree."""
    level = level_asked(tree, ask)
    return level is not None and all(label in tree.levels for label in (level, *(layer.level for layer in ask.layers)))


def need_of(tree: LabelTree, workers: Ask, leader: Ask | None = None, *, inside: int | None = None) -> Need | Failure:
    """Say what placing ``workers`` (and the one pod of ``leader``) takes, or why that cannot be said."""
    size = workers.layers[0].size if workers.layers else 1
    if size == 0:
        return WrongLayers("slices are asked for without a size")
    levels = _levels(tree, workers)
    if not isinstance(levels, tuple):
        return levels
    inner = _inner_sizes(tree, workers.layers)
    if not isinstance(inner, Mapping):
        return inner
    if workers.count % size:
        return WrongLayers(f"{workers.count} pods cannot be cut into slices of {size}")
    return Need(
        pods=workers.count,
        request=plus(workers.requests, {POD_SLOTS: 1}),
        leader=plus(leader.requests, {POD_SLOTS: 1}) if leader is not None else None,
        level=levels[0],
        slice_level=levels[1],
        size=size,
        inner=inner,
        layers=workers.layers,
        required=isinstance(workers.where, Required),
        anywhere=workers.anywhere,
        template=workers.template,
        inside=inside,
    )


def _levels(tree: LabelTree, ask: Ask) -> tuple[int, int] | Failure:
    """Give the level of the whole and that of the slices."""
    label = level_asked(tree, ask)
    if label is None:
        return NoLevelAsked()
    level = tree.level_of(label)
    if level is None:
        return UnknownLevel(label, "gang")
    of_slices = ask.layers[0].level if ask.layers else tree.levels[-1]
    slice_level = tree.level_of(of_slices)
    if slice_level is None:
        return UnknownLevel(of_slices, "slices")
    if level > slice_level:
        return WrongLayers(f"slices at {of_slices} lie above {label}, which the whole pod set asks for")
    return level, slice_level


def _inner_sizes(tree: LabelTree, layers: tuple[Layer, ...]) -> Mapping[int, int] | Failure:
    """Give, for each level from below the outermost slices to the innermost layer, the size to cut into there."""
    sizes: dict[int, int] = {}
    for outer, layer in pairwise(layers):
        above, level = tree.level_of(outer.level) or 0, tree.level_of(layer.level)
        if level is None:
            return UnknownLevel(layer.level, "inner slices")
        if level <= above:
            return WrongLayers(f"inner slices at {layer.level} do not lie below {outer.level}")
        if not layer.size or outer.size % layer.size:
            return WrongLayers(f"slices of {outer.size} at {outer.level} cannot be cut into slices of {layer.size}")
        sizes.update(dict.fromkeys(range(above + 1, level + 1), layer.size))
    return sizes
