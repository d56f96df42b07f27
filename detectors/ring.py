"""The panel's arrays: for each metric one float32 ring ``[row, host, ...]`` whose rows are ticks of the panel's period.

Shapes: host metrics ``[rows, hosts]``, chip metrics ``[rows, hosts, chips]``, link metrics ``[rows, hosts, chips, ports]``.
All hosts have the same room for chips and ports; what is not there is NaN. Arrays are made when their first value comes
and grow with the hosts, one after the other, up to a limit of memory in all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

import numpy as np

from sliceward.detectors.metrics import CATALOGUE, EntityKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Column = NDArray[np.float32]

FIRST_HOSTS = 16
SPARE = 32
"""One host more for so many is made room for: a fleet that grows host by host is not copied at each."""


class Ring:
    """Rows of readings. A tick is ``floor(time / period)``; ``newest`` is the tick of the newest row."""

    def __init__(self, *, rows: int, period: float, max_bytes: int) -> None:
        """Begin empty: no host, no metric, no tick."""
        self.rows, self.period, self.max_bytes = rows, period, max_bytes
        self.hosts, self.chips, self.ports = FIRST_HOSTS, 1, 1
        self.newest = -1
        self.columns: dict[str, Column] = {}

    def entities(self, kind: EntityKind) -> tuple[int, ...]:
        """Give the shape of one row of a kind."""
        match kind:
            case EntityKind.HOST | EntityKind.SLICE:
                return (self.hosts,)
            case EntityKind.CHIP:
                return (self.hosts, self.chips)
            case EntityKind.LINK:
                return (self.hosts, self.chips, self.ports)
            case _:
                assert_never(kind)

    def column(self, name: str) -> Column | None:
        """Give the array of a metric, made now if it is new; None where memory does not allow it."""
        known = self.columns.get(name)
        if known is not None:
            return known
        shape = (self.rows, *self.entities(CATALOGUE[name].kind))
        if self.bytes + 4 * int(np.prod(shape)) > self.max_bytes:
            return None
        self.columns[name] = np.full(shape, np.nan, dtype=np.float32)
        return self.columns[name]

    def fit(self, *, hosts: int, chips: int, ports: int) -> bool:
        """Make room for at least so many hosts, chips a host and ports a chip; False where memory does not allow it."""
        room = self.hosts if hosts <= self.hosts else -(-(hosts + hosts // SPARE) // FIRST_HOSTS) * FIRST_HOSTS
        wanted = (room, max(self.chips, chips), max(self.ports, ports))
        if wanted == (self.hosts, self.chips, self.ports):
            return True
        before = (self.hosts, self.chips, self.ports)
        self.hosts, self.chips, self.ports = wanted
        shapes = {name: (self.rows, *self.entities(CATALOGUE[name].kind)) for name in self.columns}
        if sum(4 * int(np.prod(shape)) for shape in shapes.values()) > self.max_bytes:
            self.hosts, self.chips, self.ports = before
            return False
        for name, shape in shapes.items():
            old, new = self.columns[name], np.full(shape, np.nan, dtype=np.float32)
            new[tuple(slice(length) for length in old.shape)] = old
            self.columns[name] = new
        return True

    @property
    def bytes(self) -> int:
        """Memory that the arrays take."""
        return sum(column.nbytes for column in self.columns.values())

    def advance(self, time: float) -> None:
        """Let rows up to the tick of ``time`` begin; what lay there one turn ago is forgotten. Never goes back."""
        tick = int(time // self.period)
        if tick <= self.newest:
            return
        fresh = min(tick - self.newest, self.rows)
        places = [t % self.rows for t in range(tick - fresh + 1, tick + 1)]
        for column in self.columns.values():
            column[places] = np.nan
        self.newest = tick

    def row_at(self, time: float) -> int | None:
        """Give the row of ``time``; the newest for what is ahead of it, None for what has left the ring."""
        tick = min(int(time // self.period), self.newest)
        return tick % self.rows if tick > self.newest - self.rows and tick >= 0 else None

    def recent(self, seconds: float) -> NDArray[np.intp]:
        """Give the rows of the last ``seconds``, newest first; the newest, which still fills, counts as one."""
        count = max(1, min(self.rows, int(np.ceil(seconds / self.period)) + 1))
        return np.asarray((self.newest - np.arange(count)) % self.rows, dtype=np.intp)

    def forget(self, host: int) -> None:
        """Clear everything of one host."""
        for column in self.columns.values():
            column[:, host] = np.nan
