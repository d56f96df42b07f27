"""The table of TPU generations: what a chip, host, cube and pod of each kind looks like, and which tori wrap round.

In comes the value of the node label ``cloud.google.com/gke-tpu-accelerator``; out goes a `Generation`. Figures and rules are
those of Google's Cloud TPU pages and of GKE's TPU device plugin (``wrapVersion``, ``wrapLitePod``, ``CHIPS_PER_HOST_BOUNDS``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Mapping

Shape = tuple[int, ...]
"""Lengths along x, y (and z), in chips unless said otherwise."""

FIRST_METRICS_PORT = 8431
"""libtpu's runtime metric service; one port a device, counted upwards (device plugin, ``TPU_RUNTIME_METRICS_PORTS``)."""

_TRAYS: Mapping[int, Shape] = {1: (1, 1, 1), 2: (1, 2, 1), 4: (2, 2, 1), 8: (2, 4, 1)}
_SHAPE = re.compile(r"[1-9][0-9]{0,3}(?:x[1-9][0-9]{0,3}){1,2}")
_FLAT_SHAPES: tuple[Shape, ...] = ((1, 1), (2, 2), (2, 4), (4, 4), (4, 8), (8, 8), (8, 16), (16, 16))
_SMALL_SHAPES: tuple[Shape, ...] = ((1, 1, 1), (2, 2, 1), (2, 2, 2), (2, 2, 4), (2, 4, 4))
_CUBE: Shape = (4, 4, 4)
_FLAT_WRAP = 16


@dataclass(frozen=True, slots=True)
class Generation:
    """One TPU generation.

    ``label``: value of the accelerator label. ``chips_a_host``: the machine types' choices. ``devices_a_chip``: how many
    devices JAX sees a chip, and so how many metric ports a chip takes. ``ports_a_chip``: ICI ports. ``cube``: the unit that
    optical switches join, None where there are none (2D). ``largest_slice`` and ``pod_chips`` in chips.
    ``device_node``: pattern of the device files, ``{n}`` being the device number or IOMMU group.
    """

    label: str
    name: str
    dimensions: int
    chips_a_host: tuple[int, ...]
    devices_a_chip: int
    cube: Shape | None
    pod_chips: int
    largest_slice: int
    pci_id: str
    device_node: str
    hbm_gib: int

    @property
    def ports_a_chip(self) -> int:
        """ICI ports of a chip: one each way along each dimension."""
        return 2 * self.dimensions

    def devices(self, chips: int) -> int:
        """Count the devices of a host with so many chips."""
        return chips * self.devices_a_chip

    def metrics_ports(self, chips: int, first: int = FIRST_METRICS_PORT) -> tuple[int, ...]:
        """Give the ports that libtpu's runtime metrics may answer on, on a host with so many chips."""
        return tuple(range(first, first + self.devices(chips)))

    def tray(self, chips: int) -> Shape:
        """Give the box of chips that one host carries (``CHIPS_PER_HOST_BOUNDS``), cut to this generation's dimensions."""
        return _TRAYS[chips][: self.dimensions]

    def host_bounds(self, shape: Shape, chips: int) -> Shape:
        """Give how many hosts stand along each dimension of ``shape`` (``HOST_BOUNDS``).

        Raises:
            Misconfigured: the shape is not made of whole hosts.
        """
        tray = self.tray(chips)
        if len(shape) != self.dimensions or any(length % part for length, part in zip(shape, tray, strict=True)):
            raise Misconfigured(
                f"topology {text_of(shape)}",
                f"is not made of whole {self.name} hosts of {chips} chips ({text_of(tray)})",
                "Correct the topology or the chips a host",
            )
        return tuple(length // part for length, part in zip(shape, tray, strict=True))

    def hosts(self, shape: Shape, chips: int) -> int:
        """Count the hosts of a slice of ``shape``. Raises like `host_bounds`."""
        return prod(self.host_bounds(shape, chips))

    def wrap(self, shape: Shape) -> tuple[bool, ...]:
        """Tell along which dimensions a slice of ``shape`` wraps round.

        3D: all of them if every one is at least 4, else none. 2D: a dimension of 16 (GKE device plugin).
        """
        if self.cube is None:
            return tuple(length == _FLAT_WRAP for length in shape)
        return (all(length >= edge for length, edge in zip(shape, self.cube, strict=True)),) * len(shape)

    def is_whole_cubes(self, shape: Shape) -> bool:
        """Whether a slice of ``shape`` is made of whole cubes."""
        return self.cube is not None and all(length % edge == 0 for length, edge in zip(shape, self.cube, strict=True))

    def cube_grid(self, shape: Shape) -> Shape:
        """Give how many cubes stand along each dimension of a slice made of whole cubes."""
        return tuple(length // edge for length, edge in zip(shape, self.cube or shape, strict=True))

    def admits(self, shape: Shape) -> bool:
        """Whether slices of this shape exist: whole cubes up to the largest slice, or one of the listed small shapes."""
        if len(shape) != self.dimensions or prod(shape) > self.largest_slice:
            return False
        return shape in self.small_shapes or self.is_whole_cubes(shape)

    @property
    def small_shapes(self) -> tuple[Shape, ...]:
        """Shapes that are listed one by one: all of 2D, and those below one cube in 3D."""
        return _FLAT_SHAPES if self.cube is None else _SMALL_SHAPES

    def only_shape(self, chips: int) -> Shape | None:
        """Give the shape of a slice of so many chips if there is only one (256 chips in 3D are 4x4x16 or 4x8x8: None)."""
        shapes = self.shapes(chips)
        return shapes[0] if len(shapes) == 1 else None

    def shapes(self, chips: int) -> list[Shape]:
        """Give all shapes of slices of so many chips, those below one cube first."""
        return [shape for shape in self.small_shapes if prod(shape) == chips] + self._cube_shapes(chips)

    def _cube_shapes(self, chips: int) -> list[Shape]:
        """Shapes of whole cubes with sides in rising order, as GKE asks for them."""
        if self.cube is None or chips % prod(self.cube) or not 0 < chips <= self.largest_slice:
            return []
        cubes, edge = chips // prod(self.cube), self.cube[0]
        return [
            (a * edge, b * edge, cubes // (a * b) * edge)
            for a in range(1, cubes + 1)
            for b in range(a, cubes + 1)
            if cubes % (a * b) == 0 and b <= cubes // (a * b)
        ]


GENERATIONS: Mapping[str, Generation] = {
    g.label: g
    for g in (
        Generation("tpu-v4-podslice", "v4", 3, (4,), 1, _CUBE, 4096, 3072, "0x005e", "/dev/accel{n}", 32),
        Generation("tpu-v5-lite-podslice", "v5e", 2, (1, 4, 8), 1, None, 256, 256, "0x0063", "/dev/vfio/{n}", 16),
        Generation("tpu-v5p-slice", "v5p", 3, (4,), 1, _CUBE, 8960, 6144, "0x0062", "/dev/vfio/{n}", 95),
        Generation("tpu-v6e-slice", "v6e", 2, (1, 4, 8), 1, None, 256, 256, "0x006f", "/dev/vfio/{n}", 32),
        Generation("tpu7x", "tpu7x", 3, (1, 4), 2, _CUBE, 9216, 9216, "0x0076", "/dev/vfio/{n}", 192),
    )
}
"""By accelerator label."""

PCI_VENDOR = "0x1ae0"
"""Google's PCI vendor id."""


def shape_of(text: str) -> Shape | None:
    """Give the shape that prints as ``text`` (``4x4x8``, ``2x4``), or None if it is none."""
    return tuple(int(length) for length in text.split("x")) if _SHAPE.fullmatch(text) else None


def text_of(shape: Shape) -> str:
    """Print a shape as Google writes it: ``4x4x8``."""
    return "x".join(str(length) for length in shape)
