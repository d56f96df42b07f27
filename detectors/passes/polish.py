"""What a whole line of cubes shows is taken out of each: a cooling gradient along an axis is no fault of a cube; a failing fan is of one cube alone.

Cubes of a slice stand in a grid. Their mean deviations are swept by the medians of the lines along each axis, by turns (Tukey's median polish), and
what the lines explain is taken from the members. Of a line with few cubes nobody can say which is the odd one, so that it explains nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sliceward.detectors.passes.layout import Index, Rows

FEWEST = 3
"""Cubes of a line from which on their median is the line's."""
ROUNDS = 2
"""Sweeps: what is left after two is a tenth of a deviation."""
MATTERS = np.float32(0.5)
"""Deviations below which what a line shows is chance."""


def lines_of(where: Index) -> tuple[Index, ...]:
    """Give the cubes of each line, as tables ``[lines, cubes]``, those of one axis and length in one. ``where``: line of each cube, ``[axes, cubes]``, -1 for none."""
    tables: list[Index] = []
    for axis in where:
        by_size: dict[int, list[Index]] = {}
        for number in np.unique(axis[axis >= 0]):
            cubes = np.flatnonzero(axis == number)
            if len(cubes) >= FEWEST:
                by_size.setdefault(len(cubes), []).append(cubes)
        tables += [np.stack(found) for _, found in sorted(by_size.items())]
    return tuple(tables)


def tilt(means: Rows, lines: tuple[Index, ...]) -> Rows:
    """Give what the lines explain of the mean deviations ``[rows, cubes]``, NaN where nothing was read; 0 where it is chance."""
    known = np.nan_to_num(means)
    rest = known.copy()
    for _ in range(ROUNDS):
        for table in lines:
            effect = _middle(rest[:, table])
            rest[:, table] -= effect[:, :, None]
    explained = known - rest
    return np.asarray(np.where(np.abs(explained) >= MATTERS, explained, np.float32(0)))


def _middle(values: Rows) -> Rows:
    """Give the median along the last axis; of two middle ones the nearer to 0, or 0 between them: two sick cubes of four are no line."""
    size = values.shape[-1]
    low, high = (size - 1) // 2, size // 2
    parted = np.partition(values, (low, high), axis=-1)
    return np.asarray(np.maximum(parted[..., low], 0) + np.minimum(parted[..., high], 0))
