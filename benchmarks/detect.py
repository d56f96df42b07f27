"""How long one tick of the statistical passes takes: 100,000 chips with 8 metrics and 300,000 links, beside a plain pass of numpy."""

from __future__ import annotations

import resource
import time
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.claim import Claim, setup, tell
from sliceward.detectors.passes.evidence import WARM
from sliceward.detectors.passes.layout import Cabling, torus
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


def main() -> None:
    """Measure, and print one claim."""
    cabling, host, cube = layout()
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
    tell(
        Claim(
            claim="full_pass_ms",
            value=float(np.percentile(taken, 99)),
            unit="ms",
            goal=100,
            better="lower",
            reference="numpy EWMA and MAD of the chips alone",
            reference_value=float(np.percentile(simple, 99)),
            setup=setup(what),
        )
    )


if __name__ == "__main__":
    main()
