"""Our detectors, the ones that the watcher runs, through the kit's interfaces. An adapter only reshapes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sliceward.detectors.passes.layout import Cabling, torus
from sliceward.detectors.passes.verdicts import Level
from sliceward.detectors.passes.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from detbench.synthfleet import Topology
    from numpy.typing import NDArray


class _Fleet:
    def __init__(self, topo: Topology, level: Level) -> None:
        cabling = Cabling(topo.link_a, topo.link_b, topo.link_ocs)
        self.watch, self.level = Watch(torus(topo.host, topo.cube, cabling)), level

    def update(self, t: float, chip: Mapping[str, NDArray[Any]], link: Mapping[str, NDArray[Any]]) -> list[tuple[str, int]]:
        found = self.watch.step(t, {"chip": chip, "link": link})
        return [(one.kind, one.label) for one in found if one.level is self.level]


def fleet(topo: Topology) -> _Fleet:
    """Give the suspects of a torus."""
    return _Fleet(topo, Level.SUSPECT)


def condemned(topo: Topology) -> _Fleet:
    """Give the condemned of a torus, from the same stream."""
    return _Fleet(topo, Level.CONDEMNED)
