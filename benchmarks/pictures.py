"""Draws docs/placement.svg and writes the worked example of docs/placement.md: ``python -m benchmarks.pictures [--check]``.

One pod of 16x16 chips with three hosts down gets the same requests in the same order by our placement and by Slurm's rule.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._slurm import Slurm
from sliceward.scheduling.fleet import snapshot_of
from sliceward.scheduling.ground import Want
from sliceward.scheduling.occupancy import Grade, Standing, Window
from sliceward.scheduling.place import place, planned, room_of
from sliceward.scheduling.plan import NoFit, Plan
from sliceward.scheduling.refusal import in_words
from sliceward.scheduling.request import Request, SliceAsked
from sliceward.scheduling.snapshot import HeldSlice, Running, Snapshot
from sliceward.scheduling.torus.board import places_on
from sliceward.scheduling.torus.ground import TorusGround
from sliceward.scheduling.torus.lattice import Lattice
from sliceward.scheduling.torus.state import Site
from sliceward.topology.generations import GENERATIONS, text_of
from sliceward.topology.ids import GangId, HostId, PodId
from sliceward.topology.plan import fleet_from_yaml
from sliceward.topology.torus import Torus

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sliceward.topology.generations import Shape
    from sliceward.topology.torus import Coordinate

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "placement.svg"
PAGE = ROOT / "docs" / "placement.md"
BEGIN, END = "<!-- worked example: python -m benchmarks.pictures -->\n", "<!-- end of the worked example -->\n"

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GENERATION = "tpu-v6e-slice"
LATTICE = Lattice(Torus((16, 16), (True, True)), GENERATIONS[GENERATION].tray(4))
DOWN: tuple[Coordinate, ...] = ((1, 1), (6, 2), (2, 6))
ASKED: tuple[Shape, ...] = ((8, 8), (4, 8), (4, 4), (8, 8), (2, 4), (4, 8), (4, 4), (2, 2), (2, 2))


@dataclass(frozen=True, slots=True)
class Layout:
    """Who sits where, by place of a host, and which requests wait: both by their number in the queue."""

    held: Mapping[Coordinate, int]
    waiting: tuple[int, ...]

    @property
    def chips(self) -> int:
        """Chips in use."""
        return len(self.held) * LATTICE.chips_a_host


def ours() -> Layout:
    """Place the requests by our rule."""
    hosts = tuple(HostId("c1", f"host-{number}") for number in range(LATTICE.hosts.size))
    snapshot = Snapshot.of(NOW, [TorusGround(PodId("c1", "pod"), GENERATION, Site(LATTICE, hosts))])
    down = {hosts[LATTICE.hosts.index(at)]: Standing(Grade.SICK, "down") for at in DOWN}
    snapshot = snapshot.with_standings(down)
    at = {host: LATTICE.hosts.coordinate(number) for number, host in enumerate(hosts)}
    held: dict[Coordinate, int] = {}
    waiting = []
    for number, shape in enumerate(ASKED):
        gang = GangId("c1", "ml", "Job", f"job-{number}")
        plan = planned(snapshot, Request(gang, "ml", (SliceAsked("", 0, Want(GENERATION, shape)),)))
        if plan is None:
            waiting.append(number)
            continue
        held |= {at[host]: number for host in plan.hosts}
        slices = tuple(HeldSlice(each.role, each.index, each.shape, each.hosts) for each in plan.slices)
        snapshot = snapshot.with_gang(Running(gang, "ml", GENERATION, slices))
    return Layout(held, tuple(waiting))


def by_slurm() -> Layout:
    """Place them by Slurm's rule; every way in which a shape may lie is configured."""
    rule = Slurm(LATTICE.hosts, {shape: LATTICE.boxes(shape) for shape in ASKED})
    idle = (1 << LATTICE.hosts.size) - 1
    for at in DOWN:
        idle &= ~(1 << LATTICE.hosts.index(at))
    held: dict[Coordinate, int] = {}
    waiting = []
    for number, shape in enumerate(ASKED):
        choice = rule.choose(shape, [idle])
        if choice is None:
            waiting.append(number)
            continue
        idle &= ~choice.nodes
        held |= dict.fromkeys(places_on(LATTICE.hosts, choice.nodes), number)
    return Layout(held, tuple(waiting))


# ── the picture ───────────────────────────────────────────────────────────────────────────────────────────────────────

CELL, MARGIN, TOP = 34, 24, 56
COLOURS = ("#4e79a7", "#f28e2b", "#59a14f", "#76b7b2", "#edc948", "#b07aa1", "#9c755f", "#ff9da7", "#bab0ac")
LEGEND = "A square is a host of four chips; the pod wraps round. Dark: down. Light: free. Numbers: requests in their order."
GRAY, INK = "#eceff1", "#263238"


def picture() -> str:
    """Give the SVG: the same fleet twice."""
    width = LATTICE.hosts.shape[0] * CELL
    total = 2 * width + 3 * MARGIN
    height = TOP + LATTICE.hosts.shape[1] * CELL + 3 * MARGIN
    size = f'width="{total}" height="{height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {total} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{total}" height="{height}" fill="#ffffff"/>',
        *_panel("sliceward", ours(), MARGIN),
        *_panel("fixed anchors (Slurm's rule)", by_slurm(), 2 * MARGIN + width),
        f'<text x="{MARGIN}" y="{height - 12}" fill="{INK}">{LEGEND}</text>',
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _panel(title: str, layout: Layout, left: int) -> Iterator[str]:
    free = LATTICE.hosts.size - len(DOWN) - len(layout.held)
    yield f'<text x="{left}" y="24" font-size="15" font-weight="bold" fill="{INK}">{title}</text>'
    yield f'<text x="{left}" y="44" fill="{INK}">{layout.chips} chips in use, {free * LATTICE.chips_a_host} healthy chips idle</text>'
    for number in range(LATTICE.hosts.size):
        at = LATTICE.hosts.coordinate(number)
        x, y = left + at[0] * CELL, TOP + at[1] * CELL
        job = layout.held.get(at)
        colour = INK if at in DOWN else GRAY if job is None else COLOURS[job]
        yield f'<rect x="{x + 1}" y="{y + 1}" width="{CELL - 2}" height="{CELL - 2}" rx="3" fill="{colour}"/>'
        if job is not None:
            yield f'<text x="{x + CELL // 2}" y="{y + CELL // 2 + 4}" text-anchor="middle" fill="#ffffff">{job + 1}</text>'
    waits = ", ".join(f"{number + 1} ({text_of(ASKED[number])})" for number in layout.waiting)
    bottom = TOP + LATTICE.hosts.shape[1] * CELL + 20
    yield f'<text x="{left}" y="{bottom}" fill="{INK}">{f"wait: {waits}" if waits else "all requests are placed"}</text>'


# ── the worked example ────────────────────────────────────────────────────────────────────────────────────────────────

FLEET = """
clusters:
  - name: c1
    cubes: [a-0, a-1, a-2, a-3, a-4]
    block: a
    spares: [a-4]
    gangs:
      - {name: box, kind: Job, topology: 2x2x4, cubes: [a-3]}
"""


def example() -> str:
    """Give the worked example: a slice of two cubes in a block of five, place by place and item by item."""
    snapshot = snapshot_of(fleet_from_yaml(FLEET, NOW), NOW)
    hosts = {host.name: host for host in snapshot.ground_of}
    snapshot = snapshot.with_standing(hosts["a-0-host-03"], Standing(risk=0.02))
    soon = Window(NOW + timedelta(hours=6), NOW + timedelta(hours=8))
    snapshot = snapshot.with_standing(hosts["a-1-host-00"], Standing(window=soon))
    want = Want("tpu7x", (4, 4, 8), worst=Grade.DEGRADED)
    request = Request(GangId("c1", "ml", "Job", "train"), "ml", (SliceAsked("", 0, want),))
    lines = ["| cubes | " + " | ".join(ITEMS) + " | all |", "|" + "---|" * (len(ITEMS) + 2)]
    lines += _rows(snapshot, request)
    large = replace(request, slices=(SliceAsked("", 0, replace(want, shape=(4, 4, 20))),))
    lines += ["", "    " + _told(place(snapshot, request)), "", "A slice of all five cubes finds no place:", ""]
    return "\n".join([*lines, "    " + _told(place(snapshot, large)), ""])


def _told(answer: Plan | NoFit) -> str:
    return answer.reasons[0] if isinstance(answer, Plan) else in_words(answer)


ITEMS = ("places", "risk", "maintenance", "slowdown", "spares", "switching")


def _rows(snapshot: Snapshot, request: Request) -> Iterator[str]:
    terms = snapshot.terms(request.generation, None)
    want = request.slices[0].want
    found = [
        ground.priced(seat, want, terms) for ground in room_of(snapshot, request).views[0].values() for seat in ground.seats(want)
    ]
    for seat in sorted(found, key=lambda seat: (seat.cost, seat.cubes)):
        price = dict(seat.price)
        cells = [f"{price[item]:,.0f}" if item in price else "" for item in ITEMS]
        yield f"| {', '.join(sorted(cube.name for cube in seat.cubes))} | {' | '.join(cells)} | {seat.cost:,.0f} |"


def page(text: str) -> str:
    """Give the page with the worked example as the code says it now."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + example() + END + after


def main(arguments: Sequence[str]) -> int:
    """Write both, or with ``--check`` say which differ."""
    made = {PICTURE: picture(), PAGE: page(PAGE.read_text(encoding="utf-8"))}
    wrong = [file for file, text in made.items() if not file.exists() or file.read_text(encoding="utf-8") != text]
    for file in wrong:
        if "--check" not in arguments:
            file.write_text(made[file], encoding="utf-8")
        print(f"docs/{file.name}")
    return int("--check" in arguments and bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
