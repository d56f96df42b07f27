"""``run.py [NAME…]``: every figure of detection, one JSON object a claim, over the data in ``BENCH_DATA``; one configuration for all.

Names: fleet, hard, several, false, series, machine, peers, inject, stragglers, petshop; without any all of them run, an hour on one core. Our detectors
are those of ``adapters``; beside each figure stands the same figure of a detector that guesses, or of the kit's simple one. The kit's own scripts run
the same with ``--detector adapters:fleet``. Needs pandas and pyarrow for petshop and stragglers.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / ".types"), str(HERE.parents[1]), str(HERE), str(HERE / "kit")]

import adapters  # noqa: E402 (found by the path above, as the kit finds it)
from detbench import baselines, core, failslow, nab, petshop, smd, synthfleet  # noqa: E402 (likewise)
from faults import several as draw  # noqa: E402 (likewise)

from benchmarks.claim import Claim, setup, tell  # noqa: E402 (likewise)
from sliceward.detectors.passes.equals import Equals, slow  # noqa: E402 (likewise)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SEED = 20
"""No detector was looked at on this one."""
SHAPE = (8, 8, 8)
ONSET, TICKS, TICK, SOON = 180, 360, 10.0, 90
NULL_DAYS = 30_000.0
TRIALS = 5
"""Slowdowns of each kind and host: with the kit's two a share is known to a tenth only."""
TWO_METERS = ("chip_slow", "host_infeed", "cube_cooling", "ocs_errors")
"""Kinds of fault that always show on two meters, or on the meters of several members."""


def claim(  # noqa: PLR0913 (the fields of a claim)
    name: str, value: float, goal: float, reference: tuple[str, float], *, what: str = "", lower: str = ""
) -> None:
    """Print one claim. ``lower``: the unit of one that is better the lower it is; all others are shares and scores, better the higher."""
    tell(
        Claim(
            claim=name,
            value=value,
            unit=lower or "1",
            goal=goal,
            better="lower" if lower else "higher",
            reference=reference[0],
            reference_value=reference[1],
            setup=setup(what),
        )
    )


class Guess:
    """A detector of fleets that guesses: now and then some part."""

    def __init__(self, topo: synthfleet.Topology) -> None:
        """Guess by a seed of its own."""
        self.dice, self.topo = np.random.default_rng(0), topo

    def update(self, *_: object) -> list[tuple[str, int]]:
        """Name a chip once in a hundred ticks."""
        return [("chip", int(self.dice.integers(self.topo.n)))] if self.dice.random() < 0.01 else []  # noqa: PLR2004 (above)


def fleet(scale: float = 1.0) -> None:
    """Single faults of eight kinds: detected, named, how soon."""
    ours, guess = (synthfleet.run(one, SHAPE, 20, 4, SEED, scale=scale) for one in (adapters.fleet, Guess))
    hard = "_hard" if scale < 1 else ""
    what = f"{ours['episodes']} faults, seed {SEED}, {'x'.join(map(str, SHAPE))}, severity x {scale:g}"
    goals = (0.90, 0.85) if hard else (0.99, 0.97)
    claim(f"torus{hard}_detected", ours["detected"], goals[0], ("a guess", guess["detected"]), what=what)
    claim(f"torus{hard}_named", ours["named_exactly"], goals[1], ("a guess", guess["named_exactly"]), what=what)
    if not hard:
        claim("delay_median_s", ours["median_delay_s"], 120, ("a guess", guess["median_delay_s"] or 0.0), what=what, lower="s")
        claim("delay_p95_s", ours["p95_delay_s"], 500, ("a guess", guess["p95_delay_s"] or 0.0), what=what, lower="s")


def several() -> None:
    """Two and three faults at once: how many are named, and how often something else is."""
    topo = synthfleet.Topology(SHAPE)
    told: dict[str, int] = defaultdict(int)
    for count in (2, 3):
        for number in range(20):
            dice = np.random.default_rng((SEED, count, number))
            faults, episode = draw(topo, count, dice), synthfleet.Episode(topo, "quiet", int(dice.integers(2**31)))
            makers: dict[str, Callable[[Any], Any]] = {"ours": adapters.fleet, "guess": Guess}
            dets = {name: make(topo) for name, make in makers.items()}
            said: dict[str, set[tuple[str, int]]] = defaultdict(set)
            for tick in range(TICKS):
                chip, link = episode.step(tick)
                for fault in faults if tick >= ONSET else ():
                    fault.add(tick - ONSET, chip, link)
                for name, det in dets.items():
                    said[name] |= set(det.update(tick * TICK, chip, link))
            truth = {fault.truth for fault in faults}
            told["faults"] += len(truth)
            told["others"] += len(said["ours"] - truth)
            for name in makers:
                told[name] += len(said[name] & truth)
    what = f"{told['faults']} faults in 40 episodes, {told['others']} other verdicts, seed {SEED}"
    claim("torus_two_faults_named", told["ours"] / told["faults"], 0.85, ("a guess", told["guess"] / told["faults"]), what=what)


def condemned() -> None:
    """Faults that two meters show: condemned rightly within a quarter of an hour."""
    topo, right, wrong, total = synthfleet.Topology(SHAPE), 0, 0, 0
    for kind in TWO_METERS:
        for number in range(20):
            episode, det = synthfleet.Episode(topo, kind, SEED * 100_003 + 1000 + number), adapters.condemned(topo)
            said = [(tick, one) for tick in range(TICKS) for one in det.update(tick * TICK, *episode.step(tick))]
            total += 1
            right += any(one == episode.truth and ONSET <= tick <= ONSET + SOON for tick, one in said)
            wrong += sum(one != episode.truth for _, one in said)
    what = f"{total} faults of {', '.join(TWO_METERS)}, {wrong} others condemned, seed {SEED}"
    claim("condemned_right", right / total, 0.8, ("a guess of a chip each", 1 / topo.n), what=what)


def false(days: float = NULL_DAYS) -> None:
    """Quiet fleets, job changes, reboots, dropouts and waves of load: verdicts that should not be."""
    topo, seen, number = synthfleet.Topology((16, 16, 16)), 0.0, 0
    told: dict[str, int] = defaultdict(int)
    while seen < days:
        kind = synthfleet.NULLS[number % len(synthfleet.NULLS)]
        episode = synthfleet.Episode(topo, kind, SEED * 100_003 + 5000 + number)
        ours, guess = adapters.fleet(topo).watch, Guess(topo)
        for tick in range(TICKS):
            chip, link = episode.step(tick)
            for one in ours.step(tick * TICK, {"chip": chip, "link": link}):  # both levels are of one stream
                told[one.level] += 1
            told["guess"] += len(guess.update(tick * TICK, chip, link))
        seen, number = seen + topo.n * TICKS * TICK / 86_400, number + 1
    what = f"{seen:.0f} chip-days, {told['suspect']} suspects, seed {SEED}, 16x16x16"
    rate = {name: 1e4 * told[name] / seen for name in ("suspect", "condemned", "guess")}
    unit = "per 10k chip-days"
    claim("false_suspect", rate["suspect"], 2, ("a guess", rate["guess"]), what=what, lower=unit)
    claim("false_condemned", rate["condemned"], 0.5, ("a guess", rate["guess"]), what=what, lower=unit)


def series() -> None:
    """Give the official score of NAB on the groups that its developers tune by."""
    data = nab.load()
    ours, _ = nab.run(adapters.series, data)
    guess, _ = nab.run(baselines.Random, data)
    probe = data["realAWSCloudwatch/ec2_cpu_utilization_5f5533.csv"]
    info = {"columns": 1, "name": "probe", "period_s": 300.0, "n": len(probe["v"])}
    causal = core.check_causal(adapters.series, info, probe["t"].astype(float), probe["v"][:, None])
    what = f"{len(data)} series, causal {causal}"
    claim("nab_dev_standard", ours["standard"]["score"], 52, ("random", guess["standard"]["score"]), what=what)


def machine() -> None:
    """Score machines of 38 metrics, learnt from history without labels; the threshold is set on history too."""
    simple = {
        "random": baselines.Random,
        "deviation": baselines.TrainedZ,
        "three deviations": partial(baselines.TrainedZ, top=3),
        "moving deviations": baselines.OnlineEwmaZ,
        "plane": baselines.TrainedPCA,
        "plane, smoothed": lambda info: baselines.Smoothed(info, baselines.TrainedPCA(info)),
        "isolation forest": partial(baselines.TrainedModel, kind="iforest"),
    }
    data = smd.load()
    ours, others = smd.run(adapters.machine, data), {name: smd.run(make, data) for name, make in simple.items()}
    probe = next(iter(data.values()))
    rows, info = probe["test"][:1500], {"columns": probe["test"].shape[1], "name": "probe", "period_s": 60.0}
    causal = core.check_causal(adapters.machine, info, np.arange(len(rows)) * 60.0, rows, train=probe["train"][:3000])
    what = f"{len(data)} machines, causal {causal}, {ours['fixed_false_per_machine_day']} false alarms a machine and day (at most 0.3)"
    for name, key in (("smd_vus_pr", "vus_pr"), ("smd_f1_fixed", "fixed_f1")):
        best = max(others, key=lambda one: others[one][key])
        guess = f"{best}, the best simple one (random {others['random'][key]})"
        claim(name, ours[key], 1.1 * others[best][key], (guess, others[best][key]), what=what)
    told = "best of the simple ones", min(one["fixed_false_per_machine_day"] for one in others.values())
    claim("smd_false", ours["fixed_false_per_machine_day"], 0.3, told, what=what, lower="per machine-day")


def peers() -> None:
    """Slow disks among twelve: the threshold of one cluster carried to another."""
    ours, plain = (failslow.run(one) for one in (adapters.peers, failslow.BASELINES["peer_mad_z"]))
    for letter, what in (("P", "precision"), ("R", "recall")):
        claim(f"failslow_carried_{what}", ours["C2"][letter], 1.0, ("peer_mad_z", plain["C2"][letter]))
        for cluster in ("C1", "C2"):
            first, simple = ours[cluster]["first_day"], plain[cluster]["first_day"]
            claim(f"failslow_first_day_{cluster}_{what}", first[letter], 1.0, ("peer_mad_z", simple[letter]))


def inject() -> None:
    """Small slowdowns put into healthy disks, at ten false alarms per 10,000 disk-days carried over."""
    ours, plain = (
        failslow.inject(one, seed=SEED, trials=TRIALS) for one in (adapters.peers, failslow.BASELINES["own_scale_peer_mad_z"])
    )
    what = f"{ours['false_per_10k_disk_days_held']} false per 10k disk-days on the other cluster, seed {SEED}"
    for name, goal in (("steady_1.1", 0.85), ("flapping_1.25", 0.9), ("flapping_1.1", 0.3)):
        claim(f"inject_small_{name}", ours[name]["recall"], goal, ("own_scale_peer_mad_z", plain[name]["recall"]), what=what)


def stragglers() -> None:
    """Three real jobs: one slow worker named, a slow stage and long sequences blamed on no hardware."""
    import pandas as pd  # noqa: PLC0415 (not among our own requirements)

    right = 0
    for name, wanted in (("AR", {(0, 0)}), ("ST", set()), ("SE", set())):
        table = pd.read_parquet(nab.data_dir() / f"straggler-{name}.parquet")
        said = set()
        for _, rows in table[table.optype.str.contains("compute")].groupby("optype"):
            times = rows.groupby(["step", "dp_rank", "stage"])["duration"].median().unstack(["dp_rank", "stage"])  # noqa: PD010 (one level of an index becomes columns)
            equals, steps = Equals.new(times.columns.get_level_values("stage").to_numpy().astype(np.intp)), times.to_numpy(float)
            evidence = np.array([equals.step(steps[at : at + 4]) for at in range(0, len(steps), 4)])
            said |= {tuple(map(int, times.columns[one])) for one in slow(evidence)}
        right += said == wanted
    claim("stragglers", right, 3, ("a guess of one worker each", 1 / 16))


def graph() -> None:
    """Name the culprit in a graph of services."""
    ours, plain = petshop.run(adapters.localize, splits=("train",)), petshop.run(petshop.rank_only, splits=("train",))
    what = f"{ours['issues']} issues, specificity {ours['specificity']}"
    for top, goal in (("top1", 0.68), ("top3", 0.85)):
        claim(f"petshop_{top}", float(ours[top]), goal, ("rank_only", float(plain[top])), what=what)


RUNS: Mapping[str, Callable[[], None]] = {
    "fleet": fleet, "hard": partial(fleet, 0.4), "several": several, "condemned": condemned, "false": false,
    "series": series, "machine": machine, "peers": peers, "inject": inject, "stragglers": stragglers, "petshop": graph,
}  # fmt: skip


def main(*names: str) -> int:
    """Run what is named, or all."""
    if unknown := sorted(set(names) - set(RUNS)):
        print(f"nothing of the name {', '.join(unknown)}; there are {', '.join(RUNS)}", file=sys.stderr)
        return 2
    for name in names or RUNS:
        RUNS[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
