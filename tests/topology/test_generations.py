"""The table of TPU generations against Google's published figures."""

from __future__ import annotations

import pytest

from sliceward.topology.errors import Misconfigured
from sliceward.topology.generations import GENERATIONS, shape_of, text_of


def known(text: str) -> tuple[int, ...]:
    shape = shape_of(text)
    assert shape is not None
    return shape


BY_NAME = {g.name: g for g in GENERATIONS.values()}


@pytest.mark.parametrize(
    ("name", "label", "dimensions", "chips_a_host", "devices", "ports", "pod_chips", "pci", "node"),
    [
        ("v4", "tpu-v4-podslice", 3, (4,), 1, 6, 4096, "0x005e", "/dev/accel{n}"),
        ("v5e", "tpu-v5-lite-podslice", 2, (1, 4, 8), 1, 4, 256, "0x0063", "/dev/vfio/{n}"),
        ("v5p", "tpu-v5p-slice", 3, (4,), 1, 6, 8960, "0x0062", "/dev/vfio/{n}"),
        ("v6e", "tpu-v6e-slice", 2, (1, 4, 8), 1, 4, 256, "0x006f", "/dev/vfio/{n}"),
        ("tpu7x", "tpu7x", 3, (1, 4), 2, 6, 9216, "0x0076", "/dev/vfio/{n}"),
    ],
)
def test_each_generation_has_its_published_figures(  # noqa: PLR0913, PLR0917 (one a column)
    name: str,
    label: str,
    dimensions: int,
    chips_a_host: tuple[int, ...],
    devices: int,
    ports: int,
    pod_chips: int,
    pci: str,
    node: str,
) -> None:
    g = BY_NAME[name]
    assert GENERATIONS[label] is g
    assert (g.dimensions, g.chips_a_host, g.devices_a_chip, g.ports_a_chip) == (dimensions, chips_a_host, devices, ports)
    assert (g.pod_chips, g.pci_id, g.device_node) == (pod_chips, pci, node)
    assert (g.cube is None) == (dimensions == 2)


@pytest.mark.parametrize(
    ("name", "shape", "wrap"),
    [
        ("v4", "2x2x4", (False, False, False)),
        ("v4", "4x4x4", (True, True, True)),
        ("v5p", "4x4x8", (True, True, True)),
        ("v5p", "2x4x4", (False, False, False)),
        ("tpu7x", "4x4x4", (True, True, True)),
        ("tpu7x", "2x2x1", (False, False, False)),
        ("v5e", "8x8", (False, False)),
        ("v5e", "8x16", (False, True)),
        ("v6e", "16x16", (True, True)),
        ("v6e", "4x4", (False, False)),
    ],
)
def test_a_slice_wraps_round_as_gke_sets_it(name: str, shape: str, wrap: tuple[bool, ...]) -> None:
    assert BY_NAME[name].wrap(known(shape)) == wrap


@pytest.mark.parametrize(
    ("name", "chips", "ports"),
    [
        ("v5e", 1, (8431,)),
        ("v5e", 4, (8431, 8432, 8433, 8434)),
        ("v6e", 8, tuple(range(8431, 8439))),
        ("v5p", 4, (8431, 8432, 8433, 8434)),
        ("tpu7x", 4, tuple(range(8431, 8439))),
        ("tpu7x", 1, (8431, 8432)),
    ],
)
def test_metric_ports_follow_the_devices(name: str, chips: int, ports: tuple[int, ...]) -> None:
    assert BY_NAME[name].metrics_ports(chips) == ports


@pytest.mark.parametrize(
    ("name", "shape", "chips", "bounds", "hosts"),
    [
        ("tpu7x", "4x4x4", 4, (2, 2, 4), 16),
        ("v5p", "4x4x8", 4, (2, 2, 8), 32),
        ("v6e", "4x8", 4, (2, 4), 8),
        ("v5e", "4x8", 8, (2, 2), 4),
        ("v5e", "1x1", 1, (1, 1), 1),
        ("tpu7x", "2x2x1", 4, (1, 1, 1), 1),
    ],
)
def test_hosts_stand_in_a_slice_as_host_bounds_says(
    name: str, shape: str, chips: int, bounds: tuple[int, ...], hosts: int
) -> None:
    assert BY_NAME[name].host_bounds(known(shape), chips) == bounds
    assert BY_NAME[name].hosts(known(shape), chips) == hosts


def test_a_shape_that_cuts_a_host_is_refused_with_its_name() -> None:
    with pytest.raises(Misconfigured, match="topology 2x1x1: is not made of whole tpu7x hosts"):
        BY_NAME["tpu7x"].host_bounds((2, 1, 1), 4)
    with pytest.raises(Misconfigured):
        BY_NAME["v5e"].host_bounds((4, 4, 4), 4)


@pytest.mark.parametrize(
    ("name", "shape", "admitted"),
    [
        ("tpu7x", (4, 4, 8), True),
        ("tpu7x", (8, 4, 4), True),
        ("tpu7x", (2, 2, 2), True),
        ("tpu7x", (2, 4, 2), False),
        ("tpu7x", (16, 24, 24), True),
        ("tpu7x", (16, 24, 28), False),
        ("v4", (16, 16, 16), False),
        ("v5e", (8, 16), True),
        ("v5e", (16, 8), False),
        ("v5e", (4, 4, 4), False),
    ],
)
def test_only_published_shapes_are_slices(name: str, shape: tuple[int, ...], *, admitted: bool) -> None:
    assert BY_NAME[name].admits(shape) is admitted


@pytest.mark.parametrize(
    ("name", "chips", "shape"),
    [
        ("tpu7x", 64, (4, 4, 4)),
        ("tpu7x", 16, (2, 2, 4)),
        ("tpu7x", 128, (4, 4, 8)),
        ("tpu7x", 192, (4, 4, 12)),
        ("tpu7x", 256, None),
        ("tpu7x", 48, None),
        ("tpu7x", 0, None),
        ("v5e", 32, (4, 8)),
        ("v5e", 3, None),
        ("v4", 4096, None),
    ],
)
def test_a_shape_follows_from_chips_only_where_there_is_but_one(name: str, chips: int, shape: tuple[int, ...] | None) -> None:
    assert BY_NAME[name].only_shape(chips) == shape


def test_cubes_of_a_slice_form_a_grid() -> None:
    assert BY_NAME["tpu7x"].cube_grid((4, 8, 12)) == (1, 2, 3)
    assert BY_NAME["v5e"].cube_grid((4, 8)) == (1, 1)
    assert not BY_NAME["v5e"].is_whole_cubes((4, 4))


@pytest.mark.parametrize("text", ["", "4", "4x", "x4", "0x4", "4x4x4x4", "4X4", "-4x4", "4x4x99999", "²x4"])
def test_what_is_no_shape_gives_none(text: str) -> None:
    assert shape_of(text) is None


def test_a_shape_prints_as_it_was_read() -> None:
    assert text_of(known("4x4x16")) == "4x4x16"
