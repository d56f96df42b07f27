"""What detection costs: a tick of 100,000 chips with 8 metrics and 300,000 links, a look of the learned pass, a lone series, naming, a restart, and rules.

The statistical passes run on one core in this process. The rules run as deployed, beside a Prometheus (`_detect_prometheus`), for six minutes.
"""

from __future__ import annotations

import importlib
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import _detect_prometheus
from benchmarks.claim import Claim, setup, tell
from sliceward.daemons.watcher import baselines
from sliceward.detectors.passes import learned, localise
from sliceward.detectors.passes.cables import Cables
from sliceward.detectors.passes.evidence import WARM
from sliceward.detectors.passes.fleet import Places
from sliceward.detectors.passes.keeping import kept, take_over
from sliceward.detectors.passes.layout import Cabling, torus
from sliceward.detectors.passes.stream import Stream
from sliceward.detectors.passes.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Column = NDArray[np.floating]

SHAPE = (48, 48, 44)
"""101,376 chips in 1,584 cubes, and 304,128 links."""
TICKS = 200
GAUGES = ("busy", "wait", "temp", "infeed", "chip_throttle_score")
COUNTERS = ("ecc", "chip_hbm_correctable_total", "chip_pcie_aer_correctable_total")


def layout() -> tuple[Cabling, NDArray[np.intp], NDArray[np.intp]]:
    """Give the cabling, and the host and cube of each chip."""
    x, y, z = (axis.ravel() for axis in np.indices(SHAPE))
    number, switches = np.arange(len(x)).reshape(SHAPE), []
    for axis, at in enumerate((x, y, z)):
        a, b = (one for side, one in enumerate((x, y, z)) if side != axis)
        switches.append(np.where(at % 4 == 3, axis * 16 + a % 4 * 4 + b % 4, -1))  # noqa: PLR2004 (the last of four: a face of its cube)
    others = np.concatenate([np.roll(number, -1, axis).ravel() for axis in range(3)])
    host = (x // 2 * (SHAPE[1] // 2) + y // 2) * SHAPE[2] + z
    cube = (x // 4 * (SHAPE[1] // 4) + y // 4) * (SHAPE[2] // 4) + z // 4
    return Cabling(np.tile(number.ravel(), 3), others, np.concatenate(switches)), host, cube


def readings(chips: int, links: int) -> Iterator[dict[str, dict[str, Column]]]:
    """Give ticks without end: noise, rare events, two in a thousand readings missing."""
    dice = np.random.default_rng(0)
    noise = [{name: dice.normal(1, 0.01, chips).astype(np.float32) for name in GAUGES} for _ in range(4)]
    ecc, err = np.zeros(chips), np.zeros(links)
    while True:
        for one in noise:
            ecc, err = ecc + (dice.random(chips) < 0.01), err + (dice.random(links) < 0.03)  # noqa: PLR2004 (rare events)
            rare = {name: (dice.random(chips) < 0.01).astype(np.float32) for name in COUNTERS}  # noqa: PLR2004 (rare events)
            chip: dict[str, Column] = {**one, **rare, "ecc": ecc}
            for name in ("busy", "temp"):
                chip[name] = np.where(dice.random(chips) < 0.002, np.float32(np.nan), chip[name])  # noqa: PLR2004 (lost)
            yield {"chip": chip, "link": {"err": err}}


def plain(rows: NDArray[np.float32], mean: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Give who is off by six robust deviations from a slow mean: what one would write first."""
    rest = rows - mean
    mean += 0.02 * rest
    middle = np.median(rest, axis=1, keepdims=True)
    away = np.abs(rest - middle)
    return np.asarray(away > 6 * 1.4826 * np.median(away, axis=1, keepdims=True))


def whole(cabling: Cabling, host: NDArray[np.intp], cube: NDArray[np.intp]) -> Watch:
    """Measure a tick of all passes but the learned one; give the watch as it is then."""
    watch, taken, simple = Watch(torus(host, cube, cabling)), [], []
    mean = np.ones((len(GAUGES) + len(COUNTERS), len(host)), dtype=np.float32)
    for tick, now in enumerate(readings(len(host), len(cabling.one))):
        began = time.process_time()
        watch.step(tick * 10.0, now)
        between = time.process_time()
        plain(np.stack([now["chip"][name] for name in (*GAUGES, *COUNTERS)]).astype(np.float32), mean)
        if tick > WARM:
            taken.append(1e3 * (between - began))
            simple.append(1e3 * (time.process_time() - between))
        if len(taken) == TICKS:
            break
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    what = f"{len(host)} chips x 8 metrics, {len(cabling.one)} links, p99 of {TICKS} ticks, CPU time, {size:.0f} MiB in all"
    reference = "numpy EWMA and MAD of the chips alone", float(np.percentile(simple, 99))
    say("full_pass_ms", float(np.percentile(taken, 99)), 100, reference, what)
    beside_river(8 * len(host) + len(cabling.one), 1e-3 * float(np.median(taken)))
    return watch


RIVER_POINTS = 4000


def beside_river(points: int, seconds: float) -> None:
    """Measure what goes point by point through 25 of river's HalfSpaceTrees, beside the points of a tick."""
    try:
        anomaly = importlib.import_module("river.anomaly")  # not among our own requirements
    except ImportError:
        print("no reference for full_pass_points_s: river is not installed", file=sys.stderr)
        return
    trees = anomaly.HalfSpaceTrees(n_trees=25, height=8, window_size=250, seed=1)
    values = np.random.default_rng(0).random(RIVER_POINTS).tolist()
    began = time.process_time()
    for value in values:
        trees.score_one({"x": value})
        trees.learn_one({"x": value})
    rate = RIVER_POINTS / (time.process_time() - began)
    what = f"{points} readings a tick, the median tick"
    say("full_pass_points_s", points / seconds, 1000 * rate, ("river HalfSpaceTrees, point by point", rate), what, "1/s")


def say(name: str, value: float, goal: float, reference: tuple[str, float], what: str, unit: str = "ms") -> None:  # noqa: PLR0913, PLR0917 (a claim)
    """Print one claim."""
    tell(
        Claim(
            claim=name, value=value, unit=unit, goal=goal, better="higher" if unit == "1/s" else "lower",
            reference=reference[0], reference_value=reference[1], setup=setup(what),
        )
    )  # fmt: skip


LOOKS, FAULTS, ROWS = 20, 500, 50


def learned_pass(watch: Watch) -> None:
    """Measure a look of the learned pass at all chips, beside a forest of a hundred trees on the same vectors; and how well both tell who is odd."""
    from sklearn.ensemble import IsolationForest  # noqa: PLC0415 (for this reference alone)
    from sklearn.metrics import roc_auc_score  # noqa: PLC0415 (likewise)

    dice, chips, fleet = np.random.default_rng(1), watch.crowds["chip"], learned.Fleet()
    need, taken, n = learned.need(watch.budget.suspects, watch.period), [], len(chips.crowd)
    for look in range(2 * learned.ENOUGH + LOOKS):
        load = dice.normal(0, 1, n)
        chips.base.short = (load + dice.normal(0, 0.5, (chips.gauges, n))).astype(np.float32)
        chips.scores = chips.base.short
        began = time.process_time()
        fleet.look(chips, 60.0 * look, need)
        taken.append(1e3 * (time.process_time() - began))
    rows = chips.base.short.T.copy()
    sick = np.arange(n) < FAULTS
    rows[sick, :2] += np.array([1.5, -1.5], dtype=np.float32)  # nothing that was not seen of each alone
    history = np.concatenate([one[2] for one in fleet.history])
    forest = IsolationForest(n_estimators=100, random_state=0).fit(history)
    began = time.process_time()
    seen = -forest.score_samples(rows)
    at_once = 1e3 * (time.process_time() - began)
    began = time.process_time()
    for row in rows[:ROWS]:
        forest.score_samples(row[None])
    each = 1e3 * (time.process_time() - began) / ROWS * n
    strong = [roc_auc_score(sick, one) for one in (fleet.models[0].oddity(rows), seen)]
    what = (
        f"{n} chips x {chips.gauges} features, the slowest of {LOOKS} looks, CPU time; {FAULTS} chips with two features that never stood together so: "
        f"area under ROC {strong[0]:.3f}, forest of 100 trees {strong[1]:.3f}; the forest row by row {each:.0f} ms"
    )
    say(
        "learned_pass_ms",
        max(taken[-LOOKS + 1 :]),
        500,
        ("IsolationForest.score_samples of 100 trees, the whole tick", at_once),
        what,
    )


def stream() -> None:
    """Measure the path of lone series, reading by reading, beside a loop that only averages."""
    values = (np.sin(np.arange(POINTS) / 100) + np.random.default_rng(0).normal(0, 0.1, POINTS)).tolist()
    one = Stream()
    began = time.process_time()
    for at, value in enumerate(values):
        one.step(300.0 * at, value)
    between = time.process_time()
    mean, spread = 0.0, 1.0
    for value in values:
        away = value - mean
        mean += 0.01 * away
        spread += 0.01 * (away * away - spread)
    rates = POINTS / (between - began), POINTS / (time.process_time() - between)
    say("stream_points_s", rates[0], 100_000, ("a loop of EWMA", rates[1]), f"{POINTS} readings of one series, CPU time", "1/s")


def restart(watch: Watch, cabling: Cabling, host: NDArray[np.intp]) -> None:
    """Measure how long baselines take to the disk and back into a new watch, beside a copy of as many bytes."""
    switches = tuple(f"ocs-{number}" for number in range(int(cabling.switch.max()) + 1))
    ports = np.repeat(np.arange(3) * 2, len(host))
    cables = Cables(cabling.one, cabling.other, ports, ports + 1, cabling.switch, switches)
    index = np.empty(len(host), dtype=np.intp)
    index[np.argsort(host, kind="stable")] = np.arange(len(host)) % 4
    hosts, cubes = (
        tuple(f"{kind}-{number}" for number in range(len(host) // size)) for kind, size in (("host", 4), ("cube", 64))
    )
    places = Places("c", hosts, np.arange(len(hosts)), host, index, cables, cubes, (), (), ("all",), watch.layout)
    told = {name: f"instance-{name}|boot-{name}" for name in hosts}
    new = Watch(watch.layout)
    new.prepare({"chip": (*GAUGES, *COUNTERS), "link": ("err",)})
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        baselines.save(Path(folder), "c", kept(watch, places, told), 0.0)
        saved = time.perf_counter()
        found = baselines.load(Path(folder), "c", now=1.0, oldest=60.0)
        if found is not None:
            take_over(new, places, found, told)
        loaded = time.perf_counter()
        file = Path(folder) / baselines.NAME
        size = file.stat().st_size
        Path(folder, "copy").write_bytes(file.read_bytes())
        copied = time.perf_counter() - loaded
    if new.tick != watch.tick or not np.array_equal(new.crowds["chip"].base.offset, watch.crowds["chip"].base.offset):
        raise AssertionError("what came back is not what was saved")
    what = f"{len(host)} chips x 8 metrics, {len(cabling.one)} links, {size >> 20} MiB: {saved - began:.2f} s saved, {loaded - saved:.2f} s loaded"
    say("restart_s", loaded - began, 1, ("read and write of as many bytes", copied), what, "s")


POINTS = 20_000
SUSPECTS = 500


def named() -> None:
    """Measure the naming of causes among many suspects in one slice of 9,216 chips."""
    dice, chips, taken = np.random.default_rng(2), 9216, []
    for _ in range(20):
        members = dice.choice(chips, SUSPECTS, replace=False)
        found = [
            localise.Candidate(
                ("chip", int(one)), "chip", "busy", "core clock", 30.0 + float(dice.random()), frozenset({int(one)}), 0
            )
            for one in members
        ]
        hosts = {int(one) // 4 for one in members}
        found += [
            localise.Candidate(("host", one), "chip", "busy", "core clock", 25.0, frozenset(range(4 * one, 4 * one + 4)), 0)
            for one in hosts
        ]
        began = time.process_time()
        localise.name(found, lambda _, place: 20.0 - float(np.log(place)))
        taken.append(1e3 * (time.process_time() - began))
    began = time.process_time()
    sorted(found, key=lambda one: one.nats)
    least = "as many candidates sorted", 1e3 * (time.process_time() - began)
    say("localise_ms", max(taken), 50, least, f"{SUSPECTS} suspects and their hosts of {chips} chips, CPU time")


def main() -> None:
    """Measure, and print the claims."""
    cabling, host, cube = layout()
    watch = whole(cabling, host, cube)
    restart(watch, cabling, host)
    learned_pass(watch)
    stream()
    named()
    _detect_prometheus.measure()


if __name__ == "__main__":
    main()
