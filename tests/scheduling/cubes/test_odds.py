"""What a block can give at best and how many spares it takes: the published figures, recomputed."""

from __future__ import annotations

import random

import pytest

from sliceward.scheduling.cubes.odds import healthy, healthy_of, most_usable, spares_for, surely, whole
from sliceward.scheduling.cubes.packing import NoPacking
from sliceward.scheduling.cubes.together import Together, seats_together
from sliceward.scheduling.occupancy import Grade, Occupancy, Standing
from sliceward.scheduling.request import Over
from sliceward.topology.errors import Misconfigured
from tests.scheduling.cubes.builders import drawn, gang, terms, want

DRAWS = 4_000

POD_OF_64 = {
    1: (0.851, 0.923, 0.984),
    4: (0.828, 0.900, 0.960),
    8: (0.796, 0.869, 0.920),
    16: (0.747, 0.751, 0.840),
    32: (0.500, 0.503, 0.679),
    48: (0.742, 0.750, 0.750),
    64: (0.000, 0.006, 0.359),
}
"""By cubes of a slice, at host availability 99.0, 99.5 and 99.9 %: TPU v4, ISCA 2023, figure 4, as a formula."""

POD_OF_144 = {
    0.995: {1: 0.923, 8: 0.898, 16: 0.883, 32: 0.877, 48: 0.667, 72: 0.50, 96: 0.667, 128: 0.842, 144: 0.000},
    0.999: {1: 0.984, 8: 0.950, 16: 0.900, 32: 0.889, 48: 0.70, 72: 0.55, 96: 0.667, 128: 0.889, 144: 0.10},
}

SPARES = {0.999: {1: 1, 16: 3, 48: 5, 144: 8}, 0.995: {1: 2, 16: 6, 48: 12, 144: 25}, 0.99: {1: 3, 16: 10, 48: 20, 144: 44}}


@pytest.mark.parametrize(("cubes", "figures"), POD_OF_64.items(), ids=lambda value: f"{value}" if isinstance(value, int) else "")
def test_the_bound_is_that_of_the_published_figure(cubes: int, figures: tuple[float, ...]) -> None:
    for availability, figure in zip((0.99, 0.995, 0.999), figures, strict=True):
        assert most_usable(64, cubes, whole(availability, 16)) == pytest.approx(figure, abs=0.0006)


@pytest.mark.parametrize("availability", POD_OF_144)
def test_the_bound_of_a_pod_of_144_cubes(availability: float) -> None:
    for cubes, figure in POD_OF_144[availability].items():
        assert most_usable(144, cubes, whole(availability, 16)) == pytest.approx(
            figure, abs=0.006 if figure in {0.5, 0.55, 0.7, 0.1} else 0.0006
        )


@pytest.mark.parametrize("availability", SPARES)
def test_so_many_spares_make_a_gang_sure(availability: float) -> None:
    assert {cubes: spares_for(cubes, whole(availability, 16), 0.999) for cubes in SPARES[availability]} == SPARES[availability]


@pytest.mark.parametrize(("place", "availability"), [(0, 0.99), (1, 0.995), (2, 0.999)])
def test_our_placement_reaches_the_published_figure_on_4000_draws_of_failures(place: int, availability: float) -> None:
    empty, draw = drawn(64).block, random.Random(place)  # noqa: S311 (a story told again)
    hosts, by = list(empty.hosts), terms()
    wants = {cubes: want(4, 4, 4 * cubes) for cubes in POD_OF_64}
    used = dict.fromkeys(wants, 0)
    for number in range(DRAWS):
        down = {host: Standing(Grade.SICK, "down") for host in hosts if draw.random() > availability}
        block = empty.changed(Occupancy(standings=down), list(down))
        for cubes, asked in wants.items():
            count = block.room(asked)
            if number % 200 == 0 and count:
                together = Together(gang("all"), [asked] * count, Over.CHEAPEST, {})
                found = seats_together({block.id: block}, together, by)
                assert not isinstance(found, NoPacking)
                taken = [host for seat in found[0] for host in seat.hosts]
                assert len(set(taken)) == len(taken) == count * cubes * 16
                assert down.keys().isdisjoint(taken)
            used[cubes] += count * cubes
    for cubes, figures in POD_OF_64.items():
        assert used[cubes] / DRAWS / 64 == pytest.approx(figures[place], abs=0.01), cubes


def test_what_can_never_be_had_needs_no_end_of_spares() -> None:
    assert spares_for(2, 0.0, 0.5, most=50) is None
    assert spares_for(2, 1.0, 1.0) == 0
    assert most_usable(4, 5, 0.9) == 0.0
    assert most_usable(4, 0, 0.9) == 0.0


def test_cubes_of_one_kind_are_a_case_of_cubes_of_many() -> None:
    assert healthy_of([0.7] * 9) == pytest.approx(healthy(9, 0.7))
    assert sum(healthy_of([0.1, 0.5, 0.99, 1.0, 0.0])) == pytest.approx(1)


def test_a_block_is_surely_good_for_so_many_cubes() -> None:
    assert surely([1.0, 1.0, 0.5], 0.999) == 2
    assert surely([1.0, 1.0, 0.5], 0.5) == 3
    assert surely([0.9] * 3, 0.9999) == 0
    each = [whole(0.999, 16)] * 56
    assert surely(each, 0.999) >= 48 > surely(each[:52], 0.999)


@pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan")])
def test_what_is_no_probability_is_refused(wrong: float) -> None:
    for call in (
        lambda: whole(wrong, 16),
        lambda: spares_for(1, 0.9, wrong),
        lambda: healthy_of([wrong]),
        lambda: surely([0.5], wrong),
    ):
        with pytest.raises(Misconfigured):
            call()
