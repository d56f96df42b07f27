"""Jobs that stand still, all at once or a chip alone; and parts that stand accused when they do nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from sliceward.detectors.passes.layout import Crowd, Groups, Layout
from sliceward.detectors.passes.rest import IDLE, MOST, SETTLE, Pulse
from sliceward.detectors.passes.verdicts import Level, Verdict
from sliceward.detectors.passes.watch import Watch
from tests.detectors.passes.fleet import PERIOD, Readings, Torus, erring, healthy, named, run, shift

HOSTS, CHIPS = 24, 96
LEVELS = {"chip_duty_cycle_percent": 70.0, "chip_hbm_bandwidth_percent": 55.0, "chip_tensorcore_percent": 60.0}
ONSET = 90
Share = Callable[[int], NDArray[np.float64]]


def small(jobs: int = 1) -> Layout:
    """Lay out hosts of four chips, in so many jobs."""
    host = np.arange(CHIPS) // 4
    of_hosts = Groups.by("host", host)
    crowds = {
        "chip": Crowd("chip", np.arange(CHIPS) * jobs // CHIPS, (of_hosts,)),
        "host": Crowd("host", np.arange(HOSTS) * jobs // HOSTS),
    }
    return Layout(crowds, {"chip": Groups.by("chip", np.arange(CHIPS)), "host": of_hosts})


@dataclass
class Job:
    """Chips whose readings are their own level times the share of a tick in which they work. ``fault`` may change what is read."""

    share: Share
    seed: int = 1
    fault: Callable[[int, Readings], None] | None = None

    def __post_init__(self) -> None:
        self.watch = Watch(small())
        self.dice = np.random.default_rng(self.seed)
        self.own = {name: self.dice.normal(level, 0.8, CHIPS) for name, level in LEVELS.items()}
        self.host_own = self.dice.normal(1000, 10, HOSTS)
        self.ticks = 0

    def go(self, ticks: int) -> list[Verdict]:
        told = []
        for tick in range(self.ticks, self.ticks + ticks):
            share = self.share(tick)
            chip = {
                name: np.clip(own + self.dice.normal(0, 0.3) + self.dice.normal(0, 0.5, CHIPS), 0, 100) * share
                for name, own in self.own.items()
            }
            took = np.where(share[::4] > 0, self.host_own + self.dice.normal(0, 10, HOSTS), np.nan)
            throttled = {"chip_throttle_score": np.zeros(CHIPS)}
            readings: Readings = {"chip": chip | throttled, "host": {"host_hlo_execution_p50_us": took}}
            if self.fault is not None:
                self.fault(tick, readings)
            told += self.watch.step(tick * PERIOD, readings)
        self.ticks += ticks
        return told


def pauses(length: int, every: int, *, ragged: bool = False, ramp: int = 0, since: int = ONSET) -> Share:
    """Let the job stand still for so many ticks; ``ragged``: hosts read at other times; ``ramp``: ticks in which it comes up again."""
    phase = np.random.default_rng(0).random(HOSTS).repeat(4) if ragged else np.zeros(CHIPS)

    def share(tick: int) -> NDArray[np.float64]:
        if tick < since:
            return np.ones(CHIPS)
        spans = []
        for part in (0.0, 0.5, 1.0):  # of what a reading covers
            at = (tick - since - phase - part) % every
            up = np.clip((at - length + 1) / (ramp + 1), 0, 1)
            spans.append(np.where(tick - since - phase - part < 0, 1.0, np.where(at < length, 0.0, up)))
        return np.asarray(np.mean(spans, axis=0))

    return share


def late(begins: int) -> Share:
    return lambda tick: np.full(CHIPS, float(tick >= begins))


PAUSES = [
    pytest.param(pauses(30, 90), id="of five minutes"),
    pytest.param(pauses(30, 90, ragged=True), id="that hosts read at other times"),
    pytest.param(pauses(12, 60, ramp=8), id="from which it comes up slowly"),
    pytest.param(pauses(3, 25, ragged=True), id="of half a minute, often"),
    pytest.param(pauses(1, 20, ragged=True), id="of less than a reading"),
    pytest.param(late(130), id="before its first step"),
]


@pytest.mark.parametrize("share", PAUSES)
def test_a_job_that_stands_still_and_starts_anew_accuses_nobody(share: Share) -> None:
    job = Job(share)
    assert job.go(330) == []
    assert job.watch.docket.stricter == 0


def sick(since: int, chip: int = 9, until: int = 10**9) -> Callable[[int, Readings], None]:
    """Let a chip be throttled, and work less, while it works."""

    def fault(tick: int, readings: Readings) -> None:
        column = readings["chip"]["chip_duty_cycle_percent"]
        if since <= tick < until and column[chip] > 0:
            column[chip] -= 8
            readings["chip"]["chip_throttle_score"][chip] = 3

    return fault


@pytest.mark.parametrize("share", [pauses(30, 90, ragged=True), pauses(4, 25, ragged=True)], ids=["long", "short"])
def test_a_fault_is_seen_between_pauses_and_pauses_clear_nobody_of_it(share: Share) -> None:
    job = Job(share, fault=sick(160))
    assert named(job.go(400)) == [("chip", 9)]
    assert ("chip", 9) in job.watch.docket.standing


def test_one_chip_that_stops_while_its_peers_work_is_named() -> None:
    def stops(tick: int, readings: Readings) -> None:
        for column in readings["chip"].values():
            column[9] *= tick < ONSET

    assert named(Job(lambda _: np.ones(CHIPS), fault=stops).go(130)) == [("chip", 9)]


def test_who_is_condemned_and_then_does_nothing_is_not_cleared_and_is_when_it_works_well() -> None:
    def moved(tick: int, readings: Readings) -> None:
        sick(ONSET, until=140)(tick, readings)
        for column in readings["chip"].values():
            column[8:12] *= not 140 <= tick < 300  # the job went elsewhere

    def errs(tick: int, readings: Readings) -> None:
        readings["chip"]["chip_pcie_aer_correctable_total"] = np.zeros(CHIPS)
        readings["chip"]["chip_pcie_aer_correctable_total"][9] = 3.0 * (ONSET <= tick < 140)
        moved(tick, readings)

    job = Job(lambda _: np.ones(CHIPS), fault=errs)
    told = job.go(139)
    assert (named(told), named(told, Level.CONDEMNED)) == ([("chip", 9)], [("chip", 9)])
    assert [one for one in job.go(160) if one.label == 9] == []
    assert job.watch.docket.standing["chip", 9].unheard > 0
    cleared = job.go(100)
    assert ("chip", 9) in named(cleared, Level.CLEARED)


def test_links_and_hosts_whose_chips_do_nothing_are_not_cleared_either() -> None:
    tori = Torus()
    link, host = 40, 5
    ends = [int(tori.cabling.one[link]), int(tori.cabling.other[link])]
    off = [*ends, *np.flatnonzero(tori.host == host).tolist()]

    def idle(tick: int, readings: Readings) -> None:
        if tick >= 130:
            readings["chip"]["busy"][off] = readings["chip"]["wait"][off] = readings["chip"]["infeed"][off] = 0

    def errs(tick: int, readings: Readings) -> None:
        erring([link], 1.0, since=ONSET)(min(tick, 130), readings)

    watch = Watch(tori.layout())
    feeds = shift("infeed", np.flatnonzero(tori.host == host), 0.01, since=ONSET)
    told = run(tori, 300, feeds, errs, idle, watch=watch)
    assert {("link", link), ("host", host)} <= set(named(told))
    assert {("link", link), ("host", host)} <= set(watch.docket.standing)


def test_a_torus_whose_job_stands_still_accuses_nobody_and_learns_no_rates_meanwhile() -> None:
    def still(tick: int, readings: Readings) -> None:
        if 100 <= tick < 130:
            for name in ("busy", "wait", "infeed"):
                readings["chip"][name][:] = 0
        if tick >= 100:  # warmer and colder chips cool down by more and by less
            readings["chip"]["temp"] -= (readings["chip"]["temp"] - 30) * 0.4 * (130 - tick) / 30 * (tick < 130)

    watch = Watch(Torus().layout())
    told = run(Torus(), 105, still, watch=watch)
    before = watch.crowds["link"].rates.ticks.copy()
    assert told == run(Torus(), 250, still) == []
    read = healthy(Torus(), 1)
    for tick in range(106, 110):
        readings = read(tick)
        still(tick, readings)
        watch.step(tick * PERIOD, readings)
    assert (watch.crowds["link"].rates.ticks == before).all()


def test_one_throttled_chip_is_named_and_not_its_host() -> None:
    def throttled(tick: int, readings: Readings) -> None:
        readings["chip"]["chip_throttle_score"][9] = 3.0 * (tick >= 250)

    assert named(Job(lambda _: np.ones(CHIPS), fault=throttled).go(260)) == [("chip", 9)]


# ── what was said long ago ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_second_meter_that_spoke_long_ago_condemns_nobody() -> None:
    tori = Torus()
    watch, read, told = Watch(tori.layout()), healthy(tori, 1), list[Verdict]()
    ill = shift("busy", [17], 0.03, since=ONSET)
    for tick in range(150):
        readings = read(tick)
        ill(tick, readings)
        told += watch.step(tick * PERIOD, readings)
        if tick == ONSET + 6:
            watch.docket.standing["chip", 17].corroborated = True  # for a moment, when nobody could tell yet whether it stands
    assert named(told) == [("chip", 17)]
    assert named(told, Level.CONDEMNED) == []


# ── one role ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class Role:
    """One role of four, one pulse."""

    def __init__(self) -> None:
        self.pulse, self.usual = Pulse(np.zeros(4, dtype=np.intp)), np.zeros((1, 4), dtype=np.float32)

    def step(self, *read: float) -> tuple[list[bool], list[bool], int, int]:
        row = np.array([read * 4 if len(read) == 1 else read], dtype=np.float32)
        rest = self.pulse.step(row, self.usual, np.array([0.25], dtype=np.float32))
        return rest.still.tolist(), rest.idle.tolist(), len(rest.stopped), len(rest.begun)


AT_WORK = ([False] * 4, [False] * 4, 0, 0)


def test_a_role_is_at_rest_from_the_tick_it_stops_until_it_is_steady() -> None:
    role = Role()
    assert [role.step(50.0) for _ in range(5)] == [AT_WORK] * 5
    assert role.step(0.0) == ([True] * 4, [True] * 4, 4, 0)
    assert role.step(0.0) == ([True] * 4, [True] * 4, 0, 0)
    assert [role.step(50.0)[0] for _ in range(SETTLE)] == [[True] * 4] * SETTLE
    assert role.step(50.0) == AT_WORK


def test_another_level_of_the_whole_role_is_taken_for_usual_once_it_is_steady() -> None:
    role = Role()
    role.step(50.0)
    assert [role.step(25.0)[0][0] for _ in range(SETTLE + 2)] == [True] * SETTLE + [False] * 2
    assert role.step(25.0) == AT_WORK
    assert role.step(25.0 * IDLE * 0.9)[1] == [True] * 4


def test_a_role_that_is_never_steady_is_compared_after_a_while() -> None:
    role = Role()
    role.step(50.0)
    role.step(0.0)
    rests = [role.step(30.0 + 40.0 * (tick % 2))[0][0] for tick in range(MOST + 2)]
    assert rests[: MOST - 1] == [True] * (MOST - 1)
    assert False in rests[MOST - 1 :]


def test_a_role_that_rested_since_it_is_known_begins_with_its_first_work_and_one_never_heard_before_has_always_worked() -> None:
    role = Role()
    assert role.step(0.0) == ([False] * 4, [True] * 4, 0, 0)
    assert role.step(50.0)[0] == [True] * 4
    assert [role.step(50.0)[3] for _ in range(SETTLE)] == [0] * (SETTLE - 1) + [4]
    assert Role().step(50.0) == AT_WORK


def test_one_member_of_a_role_that_stops_is_idle_and_not_at_rest_and_silence_is_neither() -> None:
    role = Role()
    role.step(50.0)
    assert role.step(50.0, 50.0, 50.0, 40.0) == AT_WORK
    assert role.step(50.0, 50.0, 50.0, 5.0)[1] == [False, False, False, True]
    silent = float("nan")
    assert role.step(silent) == (role.step(silent)[0], [False] * 4, 0, 0)
