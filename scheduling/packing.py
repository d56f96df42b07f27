"""Slices of several cubes into TPU pods: exact, because a pod is all or nothing for a slice.

Cubes of one pod can be joined in any combination (optical switches), cubes of two pods cannot. So a slice of k cubes needs k
free ones in one pod; several slices into several pods is bin packing, searched exactly (pods are few) with the fullest pod
that fits tried first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sliceward.topology.fleet import Cube
    from sliceward.topology.ids import PodId


def pack(sizes: Sequence[int], cubes: Sequence[Cube]) -> list[tuple[Cube, ...]] | None:
    """Give for each size that many cubes of one pod, each cube once, in the order of ``cubes``; None if there is no way."""
    pods: dict[PodId | None, list[Cube]] = {}
    for cube in cubes:
        pods.setdefault(cube.pod, []).append(cube)
    order = sorted(range(len(sizes)), key=lambda n: (-sizes[n], n))
    keys = sorted(pods, key=str)
    if len(set(sizes)) == 1:
        chosen = _alike(len(sizes), [len(pods[key]) // sizes[0] for key in keys])
    else:
        chosen = _choose([sizes[n] for n in order], [len(pods[key]) for key in keys], set())
    if chosen is None:
        return None
    found: dict[int, tuple[Cube, ...]] = {}
    for n, pod in zip(order, chosen, strict=True):
        free = pods[keys[pod]]
        found[n], pods[keys[pod]] = tuple(free[: sizes[n]]), free[sizes[n] :]
    return [found[n] for n in range(len(sizes))]


def _alike(count: int, room: list[int]) -> list[int] | None:
    """Give a pod for each of ``count`` slices of one size, the fullest pods first; ``room`` counts slices."""
    order = sorted((n for n, slices in enumerate(room) if slices), key=lambda n: (room[n], n))
    chosen = [n for n in order for _ in range(room[n])]
    return chosen[:count] if len(chosen) >= count else None


def _choose(sizes: list[int], room: list[int], dead: set[tuple[int, tuple[int, ...]]]) -> list[int] | None:
    """Give a pod for each size, largest size first. ``dead``: rests that are known to have no way."""
    if not sizes:
        return []
    rest = (len(sizes), tuple(sorted(room)))
    if rest in dead or sum(sizes) > sum(room):
        return None
    tried = set()
    for pod in sorted((n for n, free in enumerate(room) if free >= sizes[0]), key=lambda n: (room[n], n)):
        if room[pod] in tried:
            continue
        tried.add(room[pod])
        after = _choose(sizes[1:], [free - sizes[0] * (n == pod) for n, free in enumerate(room)], dead)
        if after is not None:
            return [pod, *after]
    dead.add(rest)
    return None
