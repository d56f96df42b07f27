"""What a watch knows goes over to another one: after a restart, and when everybody has another number."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from sliceward.detectors.finding import Kind, State
from sliceward.detectors.passes.fleet import Places, Seen, places_of
from sliceward.detectors.passes.keeping import (
    COMMON,
    OF_ROLES,
    OF_TICKS,
    Kept,
    Unsound,
    completed,
    is_another,
    is_another_machine,
    kept,
    take_over,
)
from sliceward.detectors.passes.told import UNHEARD, Case, finding_of, picture_of
from sliceward.detectors.passes.verdicts import Level, Standing, Verdict
from sliceward.detectors.passes.watch import Watch
from sliceward.detectors.ring import Ring
from sliceward.topology.ids import LinkId
from tests.builders import a_fleet

FLEET = a_fleet().with_gang("llm", topology="4x4x8").on("cube-0", "cube-1").build()
NAMES = {"chip": ("chip_duty_cycle_percent", "chip_throttle_score", "chip_hbm_correctable_total"), "link": ("link_health",)}
NOBODY: dict[str, str] = {}


def laid_out(*, without: int = 0) -> Places:
    hosts = sorted(host.name for host in FLEET.hosts)[without:]
    return places_of("c1", [Seen(name, slot, 0) for slot, name in enumerate(hosts)], FLEET)


class Life:
    """Readings by the name of the part, so that they are the same under any number."""

    def __init__(self) -> None:
        self.whole = laid_out()
        self.dice = np.random.default_rng(3)
        self.tick = 0
        self.offset = self.dice.normal(70, 1, 256)
        self.health = np.zeros(len(self.whole.cables.one))

    def live(self, watch: Watch, places: Places, ticks: int, *, sick: str = "") -> list[Verdict]:
        told = []
        for _ in range(ticks):
            self.tick += 1
            duty = self.offset + self.dice.normal(0, 0.5, 256)
            errors = self.dice.poisson(0.01, 256).astype(float)
            label = self.whole.label(sick) if sick else None
            if label is not None:
                duty[label[1]] -= 5
            mine = self._mine(places)
            chip = {NAMES["chip"][0]: duty[mine], NAMES["chip"][1]: np.zeros(len(mine)), NAMES["chip"][2]: errors[mine]}
            link = {"link_health": self.health[: len(places.cables.one)]}
            told += watch.step(10.0 * self.tick, {"chip": chip, "link": link})
        return told

    def _mine(self, places: Places) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
        first = self.whole.number_of[places.hosts[0]]
        return np.flatnonzero(self.whole.chip_host >= first)


def a_watch(places: Places) -> Watch:
    watch = Watch(places.layout)
    watch.prepare(NAMES)
    return watch


def test_every_array_is_known_to_be_of_members_of_groups_or_of_all() -> None:
    places = laid_out()
    watch = a_watch(places)
    Life().live(watch, places, 3)
    sizes = {len(crowd) for crowd in places.layout.crowds.values()}
    sizes |= {len(groups) for crowd in places.layout.crowds.values() for groups in crowd.groups}
    for path, value in kept(watch, places, NOBODY).arrays.items():
        if path.rpartition("/")[2] not in COMMON | OF_ROLES:
            assert value.shape[-1] in sizes, path


def test_what_is_kept_goes_on_as_if_nothing_had_happened() -> None:
    one, other = Life(), Life()
    places = laid_out()
    watch, same = a_watch(places), a_watch(places)
    sick = "c1/chip/cube-0-host-03/1"
    for life, each in ((one, watch), (other, same)):
        life.live(each, places, 70)
        assert [v.level for v in life.live(each, places, 12, sick=sick)] == [Level.SUSPECT]
    new = a_watch(places)
    taken = take_over(new, places, kept(watch, places, NOBODY), NOBODY)
    assert (len(taken.other["chip"]), taken.left) == (0, frozenset())
    assert one.live(new, places, 60) == other.live(same, places, 60) != []


def test_under_other_numbers_every_part_keeps_what_was_known_of_it() -> None:
    life = Life()
    places = laid_out(without=5)
    watch = a_watch(places)
    sick = "c1/chip/cube-0-host-07/1"
    life.live(watch, places, 70)
    life.live(watch, places, 12, sick=sick)
    whole = laid_out()
    new = a_watch(whole)
    told = {"cube-0-host-07": "i|1", "cube-0-host-08": "i|2"}
    taken = take_over(new, whole, kept(watch, places, {"cube-0-host-07": "i|1", "cube-0-host-08": "i|1"}), told)
    assert taken.left == {"cube-0-host-08"}
    key = whole.label(sick)
    assert key is not None
    assert list(new.docket.standing) == [key]
    assert new.accused()[key[1]]
    old = watch.crowds["chip"].base.offset
    assert np.array_equal(new.crowds["chip"].base.offset[:, 20:], old)
    assert not new.crowds["chip"].base.seen[:, :20].any(), "who is new begins with nothing"
    new.acquit(key)
    assert not new.accused().any()
    new.acquit(key)


def test_who_has_other_peers_is_told() -> None:
    life, places = Life(), laid_out()
    watch = a_watch(places)
    life.live(watch, places, 5)
    before = kept(watch, places, NOBODY)
    elsewhere = tuple("another" if name == places.roles[0] else name for name in places.roles)
    moved = take_over(a_watch(places), places, replace(before, names=replace(before.names, roles=elsewhere)), NOBODY).other
    assert len(moved["chip"]) == 128
    assert len(moved["host"]) == 32


def test_arrays_of_another_shape_are_refused() -> None:
    life, places = Life(), laid_out()
    watch = a_watch(places)
    life.live(watch, places, 5)
    before = kept(watch, places, NOBODY)
    for path, one in before.arrays.items():
        if one.size and "/groups/" not in path and path.rpartition("/")[2] not in OF_TICKS:
            spoilt = np.concatenate((one, one[:1]))
            with pytest.raises(Unsound, match=path):
                take_over(a_watch(places), places, replace(before, arrays={**before.arrays, path: spoilt}), NOBODY)


@pytest.mark.parametrize("lost", ["signals", "groups", "accused"])
def test_what_is_not_the_same_any_more_is_left_behind(lost: str) -> None:
    life, places = Life(), laid_out()
    watch = a_watch(places)
    life.live(watch, places, 5)
    before: Kept = kept(watch, places, NOBODY)
    match lost:
        case "signals":
            before = replace(before, signals={})
        case "groups":
            before = replace(before, arrays={path: one for path, one in before.arrays.items() if "/groups/" not in path})
        case _:
            row = {"part": "c1/host/gone", "offences": 1.0, "tick": 1}
            before = replace(before, accused=(row, {**row, "part": "c1/host/cube-0-host-01"}, _accusation("no such signal")))
    new = a_watch(places)
    take_over(new, places, before, NOBODY)
    assert new.tick == 5
    assert new.docket.standing == {}
    assert len(life.live(new, places, 3)) == 0


def _accusation(signal: str) -> dict[str, object]:
    return {
        "part": "c1/host/cube-0-host-01", "since": 1, "crowd": "chip", "signal": signal, "best": 0, "nats": 1.0, "quiet": 0,
        "level": "suspect", "corroborated": False, "sticky": False,
    }  # fmt: skip


def test_a_clock_that_was_set_stops_no_watch() -> None:
    life, places = Life(), laid_out()
    watch = a_watch(places)
    life.live(watch, places, 5)
    life.tick -= 4
    life.live(watch, places, 1)
    assert watch.tick == 5, "old news"
    watch.set_clock()
    life.live(watch, places, 1)
    assert watch.tick == 6


# ── links that come and go ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_link_that_comes_and_goes_is_a_suspect_and_stays_one_though_it_is_well() -> None:
    life, places = Life(), laid_out()
    watch = a_watch(places)
    told = life.live(watch, places, 62)
    for _ in range(3):
        life.health[9] = 10.0
        told += life.live(watch, places, 4)
        life.health[9] = 0.0
        told += life.live(watch, places, 8)
    link = [one for one in told if (one.kind, one.label) == ("link", 9)]
    assert [one.level for one in link] == [Level.SUSPECT]
    assert life.live(watch, places, 45) == [], "it is well, and no less a suspect"
    assert watch.docket.standing["link", 9].sticky
    part = places.part("link", 9)
    assert isinstance(part, LinkId)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    case = Case(("link", 9), part, watch.docket.standing["link", 9], link[0], now)
    finding = finding_of(case, watch, places, now, None)
    assert finding.kind is Kind.PART_SUSPECT
    assert finding.text.startswith("went down and came back 3 times within 12 hours")
    assert finding.labels["between-cubes"] == ("true" if places.cables.switch[9] >= 0 else "false")
    life.tick += 9000
    life.live(watch, places, 1)
    assert not watch.docket.standing["link", 9].sticky, "forgiven after a day"


# ── what is told ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("crowd", "signal", "key", "said"),
    [
        pytest.param("chip", NAMES["chip"][0] + " low", "c1/host/cube-0-host-00", " of 4 chips ", id="a host by its chips"),
        pytest.param("link", "link_health", "c1/host/cube-0-host-00", " of its links ", id="a host by its links"),
        pytest.param("host", NAMES["chip"][0] + " low", "c1/cube/cube-0", " of 16 hosts ", id="a cube by its hosts"),
        pytest.param(
            "host", NAMES["chip"][0] + " low", "c1/slice/default.llm-slice-0", " of 32 hosts ", id="a slice by its hosts"
        ),
    ],
)
def test_a_finding_says_by_whom_a_part_shows_it_and_who_came_next(crowd: str, signal: str, key: str, said: str) -> None:
    life, places = Life(), laid_out()
    watch = a_watch(places)
    life.live(watch, places, 2)
    label = places.label(key)
    assert label is not None
    standing = Standing(1, crowd, signal, 0, 40.0, level=Level.CONDEMNED)
    verdict = Verdict(*label, Level.CONDEMNED, 0.0, 40.0, ((signal, 40.0), ("other", 9.0)), ("chip", 0, 12.0), 2.0)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    case = Case(label, places.part(*label), standing, verdict, now)
    finding = finding_of(case, watch, places, now, None)
    assert finding.kind is Kind.PART_CONDEMNED
    for text in (said, "other say the same", "c1/chip/cube-0-host-00/0 with 12", "accused before"):
        assert text in finding.text
    assert bool(finding.also) == (label[0] != "host")
    assert finding.state is State.FIRING
    standing.unheard = UNHEARD
    unheard = finding_of(case, watch, places, now, None)
    assert unheard.state is State.UNKNOWN
    assert "it does nothing now" in unheard.text


def test_a_picture_of_what_nobody_reads_is_none() -> None:
    life, places = Life(), laid_out()
    watch = a_watch(places)
    life.live(watch, places, 2)
    row = {**_accusation(NAMES["chip"][0] + " low"), "part": "c1/chip/cube-0-host-00/0"}
    take_over(watch, places, replace(kept(watch, places, NOBODY), accused=(row,)), NOBODY)
    (key, standing), now = next(iter(watch.docket.standing.items())), datetime(2026, 1, 1, tzinfo=UTC)
    case = Case(key, places.part(*key), standing, Verdict(*key, Level.SUSPECT, 0.0, 1.0, (), ("host", 0, 3.0)), now)
    ring = Ring(rows=8, period=10.0, max_bytes=1 << 20)
    ring.advance(1000.0)
    empty = picture_of(case, watch, places, ring, rows=60)
    assert empty is not None
    assert len(empty.values) == 7
    assert np.isnan(empty.values).all()
    assert (empty.rival, empty.rival_nats, empty.peers) == ("c1/host/cube-0-host-00", 3.0, 127)
    unknown = replace(case, standing=replace(standing, signal="busy"))
    assert picture_of(unknown, watch, places, ring, rows=60) is None


# ── who is another ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("was", "now", "another", "machine", "known"),
    [
        pytest.param("i|b", "i|b", False, False, "i|b", id="the same"),
        pytest.param("i|b", "j|b", True, True, "j|b", id="another machine"),
        pytest.param("i|b", "i|c", True, False, "i|c", id="another boot"),
        pytest.param("|b", "i|b", False, False, "i|b", id="its name becomes known"),
        pytest.param("i|b", "|b", False, False, "i|b", id="its name is told no more"),
        pytest.param("i|b", "|c", True, False, "i|c", id="another boot of what has no name now"),
        pytest.param("", "i|b", False, False, "i|b", id="nothing was known"),
        pytest.param("i|b", "", False, False, "i|b", id="nobody tells"),
        pytest.param("i|b", "gce|b2|kubernetes", False, False, "i|b", id="others name it otherwise"),
        pytest.param("gce|b2|kubernetes", "i|b", False, False, "i|b", id="it speaks for itself now"),
        pytest.param("gce|b|kubernetes", "gce|c|kubernetes", True, False, "gce|c|kubernetes", id="others tell of another boot"),
    ],
)
def test_only_what_is_known_of_both_makes_another_machine_or_boot(
    was: str, now: str, *, another: bool, machine: bool, known: str
) -> None:
    assert (is_another(was, now), is_another_machine(was, now), completed(was, now)) == (another, machine, known)
