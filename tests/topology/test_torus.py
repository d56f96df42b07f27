"""A torus is the same from every side."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sliceward.topology.errors import Misconfigured
from sliceward.topology.torus import PORTS, Torus, coordinate_at, index_at, opposite


@st.composite
def tori(draw: st.DrawFn) -> Torus:
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=2, max_size=3)))
    return Torus(shape, tuple(length >= 3 and draw(st.booleans()) for length in shape))


@given(tori())
def test_every_link_leads_back_through_the_opposite_port(torus: Torus) -> None:
    for index in range(torus.size):
        here = torus.coordinate(index)
        for port in torus.ports:
            there = torus.neighbour(here, port)
            if there is not None:
                assert torus.neighbour(there, opposite(port)) == here


@given(tori())
def test_a_torus_has_the_links_that_its_lengths_and_wraps_make(torus: Torus) -> None:
    links = list(torus.links())
    expected = sum(
        torus.size // length * (length if wraps else length - 1) for length, wraps in zip(torus.shape, torus.wrap, strict=True)
    )
    assert len(links) == expected
    assert len({frozenset(link) for link in links}) == expected
    assert sum(len(torus.neighbours(torus.coordinate(i))) for i in range(torus.size)) == 2 * expected


@given(tori(), st.data())
def test_distance_is_symmetric_and_one_between_neighbours(torus: Torus, data: st.DataObject) -> None:
    one, other = (torus.coordinate(data.draw(st.integers(0, torus.size - 1))) for _ in range(2))
    assert torus.distance(one, other) == torus.distance(other, one)
    assert (torus.distance(one, other) == 0) == (one == other)
    assert all(torus.distance(one, near) == 1 for near in torus.neighbours(one))


@given(tori())
def test_places_are_counted_there_and_back(torus: Torus) -> None:
    assert [torus.index(torus.coordinate(i)) for i in range(torus.size)] == list(range(torus.size))


def test_places_are_counted_x_fastest() -> None:
    assert [coordinate_at((2, 2, 4), n) for n in (0, 1, 2, 4)] == [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    assert index_at((2, 2, 4), (1, 1, 3)) == 15


def test_a_cube_that_wraps_gives_each_chip_six_neighbours() -> None:
    cube = Torus((4, 4, 4), (True, True, True))
    assert all(len(set(cube.neighbours(cube.coordinate(i)))) == 6 for i in range(64))
    assert cube.neighbour((3, 0, 0), PORTS.index("x+")) == (0, 0, 0)
    assert Torus((4, 4, 4), (False,) * 3).neighbour((3, 0, 0), PORTS.index("x+")) is None


@pytest.mark.parametrize(
    ("shape", "wrap"),
    [((4,), (True,)), ((4, 4), (True,)), ((0, 4), (False, False)), ((2, 4), (True, False)), ((2, 2, 2, 2), (False,) * 4)],
)
def test_what_is_no_torus_is_refused(shape: tuple[int, ...], wrap: tuple[bool, ...]) -> None:
    with pytest.raises(Misconfigured):
        Torus(shape, wrap)
