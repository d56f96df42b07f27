"""The hosts of a pod: which boxes a shape may take, and what a link between chips means for them."""

from __future__ import annotations

import random

import pytest

from sliceward.scheduling.torus.anchors import anchors
from sliceward.scheduling.torus.board import board_of, full_board, places_on
from sliceward.scheduling.torus.footprint import footprint
from sliceward.scheduling.torus.lattice import Breaks, Lattice
from sliceward.topology.errors import Misconfigured
from sliceward.topology.torus import Torus

POD = Lattice(Torus((16, 24, 24), (True, True, True)), (2, 2, 1))


@pytest.mark.parametrize(
    ("shape", "turned", "boxes"),
    [
        ((4, 4, 4), True, [(2, 2, 4)]),
        ((2, 2, 1), True, [(1, 1, 1)]),
        ((4, 4, 8), False, [(2, 2, 8)]),
        ((4, 4, 8), True, [(2, 2, 8), (2, 4, 4), (4, 2, 4)]),
        ((20, 24, 24), True, []),
        ((16, 24, 24), True, [(8, 12, 24)]),
        ((4, 4), True, []),
        ((4, 4, 28), True, []),
    ],
    ids=str,
)
def test_a_shape_takes_whole_hosts_and_may_be_turned(
    shape: tuple[int, ...], *, turned: bool, boxes: list[tuple[int, ...]]
) -> None:
    assert list(POD.boxes(shape, turned=turned)) == boxes


def test_a_pod_that_is_not_made_of_whole_hosts_is_refused() -> None:
    with pytest.raises(Misconfigured, match="15x16 chips: is not made of whole hosts of 2x4"):
        Lattice(Torus((15, 16), (False, True)), (2, 4))


def test_a_link_between_strangers_is_refused() -> None:
    with pytest.raises(Misconfigured, match="joins no neighbours"):
        POD.breaks([((0, 0, 0), (2, 0, 0))])


@pytest.mark.parametrize("seed", range(60))
def test_no_box_of_hosts_holds_a_condemned_link_of_chips_and_all_others_fit(seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311 (a story told again)
    tray = draw.choice([(2, 2, 1), (2, 4, 1), (1, 1, 1), (2, 2), (2, 4), (1, 2)])
    shape = tuple(part * draw.randint(1, 4) for part in tray)
    pod = Lattice(Torus(shape, tuple(length > 2 and draw.random() < 0.7 for length in shape)), tray)
    links = draw.sample(all_links := list(pod.chips.links()), min(len(all_links), draw.randint(0, 3)))
    some = [link if draw.random() < 0.5 else link[::-1] for link in links]
    breaks = pod.breaks(some)
    box = tuple(draw.randint(1, length) for length in pod.hosts.shape)
    free = full_board(pod.hosts) & ~breaks.within
    found = set(places_on(pod.hosts, anchors(pod.hosts, frozenset({box}), free, breaks.between)[box]))
    everywhere = places_on(pod.hosts, anchors(pod.hosts, frozenset({box}), full_board(pod.hosts), {})[box])
    assert found == {at for at in everywhere if not any(holds(pod, box, at, link) for link in links)}


def holds(pod: Lattice, box: tuple[int, ...], at: tuple[int, ...], link: tuple[tuple[int, ...], tuple[int, ...]]) -> bool:
    """Whether a slice of these hosts has this link inside, by its chips: from one to the next, and round a ring that it fills."""
    low, high = link
    chips = pod.in_chips(box)
    offsets = []
    for end in (low, high):
        first = tuple(host * part for host, part in zip(at, pod.tray, strict=True))
        offset = tuple(
            (there - here) % room if wraps else there - here
            for there, here, room, wraps in zip(end, first, pod.chips.shape, pod.chips.wrap, strict=True)
        )
        if not all(0 <= n < length for n, length in zip(offset, chips, strict=True)):
            return False
        offsets.append(offset)
    axis = next(n for n in range(len(low)) if low[n] != high[n])
    step = offsets[1][axis] - offsets[0][axis]
    return abs(step) == 1 or (pod.chips.wrap[axis] and chips[axis] == pod.chips.shape[axis])


def test_nothing_is_broken_where_no_link_is() -> None:
    assert POD.breaks([]) == Breaks.none()


def test_a_chip_is_found_by_its_number_on_its_host() -> None:
    places = {POD.chip_place((1, 2, 3), chip) for chip in range(4)}
    assert places == {(2, 4, 3), (3, 4, 3), (2, 5, 3), (3, 5, 3)}


def test_the_footprint_of_a_box_runs_over_the_edge() -> None:
    torus = Torus((3, 4), (False, True))
    assert footprint(torus, (2, 3), (1, 2)) == board_of(torus, [(x, y) for x in (1, 2) for y in (2, 3, 0)])
