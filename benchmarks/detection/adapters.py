"""Our detectors, the ones that the watcher runs, through the kit's interfaces. An adapter only reshapes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sliceward.detectors.passes.blame import blame
from sliceward.detectors.passes.equals import Equals
from sliceward.detectors.passes.layout import Cabling, torus
from sliceward.detectors.passes.learned import Lone
from sliceward.detectors.passes.signals import signals_of
from sliceward.detectors.passes.stream import Stream
from sliceward.detectors.passes.verdicts import Level
from sliceward.detectors.passes.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from detbench.synthfleet import Topology
    from numpy.typing import NDArray
    from pandas import DataFrame


class _Fleet:
    def __init__(self, topo: Topology, level: Level) -> None:
        cabling = Cabling(topo.link_a, topo.link_b, topo.link_ocs)
        self.watch, self.level = Watch(torus(topo.host, topo.cube, cabling, place=topo.xyz)), level

    def update(self, t: float, chip: Mapping[str, NDArray[Any]], link: Mapping[str, NDArray[Any]]) -> list[tuple[str, int]]:
        found = (*self.watch.step(t, {"chip": chip, "link": link}), *self.watch.look())
        return [(one.kind, one.label) for one in found if one.level is self.level]


def fleet(topo: Topology) -> _Fleet:
    """Give the suspects of a torus."""
    return _Fleet(topo, Level.SUSPECT)


def condemned(topo: Topology) -> _Fleet:
    """Give the condemned of a torus, from the same stream."""
    return _Fleet(topo, Level.CONDEMNED)


class _Peers:
    def __init__(self, info: Mapping[str, int]) -> None:
        self.equals = Equals.new(np.zeros(info["disks"], dtype=np.intp))

    def update(self, lat: NDArray[Any], thr: NDArray[Any]) -> NDArray[Any]:
        del thr
        return self.equals.step(lat)


def peers(info: Mapping[str, int]) -> _Peers:
    """Give who of a group of equals is slow."""
    return _Peers(info)


class _Series:
    def __init__(self) -> None:
        self.stream = Stream()

    def update(self, t: float, x: NDArray[Any]) -> float:
        return self.stream.step(float(t), float(x[0]))


def series(info: object) -> _Series:
    """Give how unusual each reading of a lone series is."""
    del info
    return _Series()


class _Machine:
    def __init__(self, period: float) -> None:
        self.period = period

    def fit(self, history: NDArray[Any]) -> None:
        self.lone = Lone.learn(history, period=self.period)

    def update(self, t: float, x: NDArray[Any]) -> float:
        del t
        return self.lone.step(x)


def machine(info: Mapping[str, float]) -> _Machine:
    """Give how odd a machine's readings are together."""
    return _Machine(info["period_s"])


def localize(  # noqa: PLR0913, PLR0917 (the kit's interface)
    graph: Mapping[str, set[str]], complaining: str, metric: str, statistic: str, normal: DataFrame, incident: DataFrame
) -> list[str]:
    """Give the parts to blame, the best first."""

    def read(frame: DataFrame) -> dict[str, NDArray[Any]]:
        columns = [one for one in frame.columns if one[1:] == (metric, statistic)]
        return {one[0]: frame[one].to_numpy(float) * signals_of(metric)[0].sense for one in columns}

    return [part for part, _ in blame(graph, complaining, read(normal), read(incident))]
