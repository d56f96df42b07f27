"""What twenty rules over 100,000 series cost in CPU: our watcher beside a real Prometheus, both fed at the same time with the same readings.

Half an hour of readings, 180 of each series at 10 s, is told in six minutes at 2 s: every time in the rules, of both, is a fifth, so that there are as many
readings, as many evaluations and as many readings in each window. CPU is counted from the first reading on, in whole processes: connections, decoding, storing
and evaluating are in it on both sides, and so is what each does besides (ours tells its findings to the broker, Prometheus writes its log ahead).
There is no claim where a frame was lost, a scrape or an evaluation missed, or one of both found anything else than what is sick.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import yaml

from benchmarks._detect_fleet import SERIES, expected
from benchmarks._detect_rules import TWINS, span, theirs
from benchmarks._fleet import CLUSTER, Cost, a_broker, a_process, free_port, hosts_of, until
from benchmarks.claim import Claim, setup, tell

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

HOSTS = -(-100_000 // SERIES)
PERIOD, TICKS = 2.0, 180
ENOUGH = 0.98
"""Share of scrapes and of evaluations that must have been made: each side begins and ends within a period."""
TIMES = 10
"""How many times less ours is to cost."""


def measure(period: float = PERIOD, ticks: int = TICKS) -> None:
    """Print the claim."""
    program = os.environ.get("SLICEWARD_PROMETHEUS") or shutil.which("prometheus")
    if program is None:
        raise SystemExit("no claim: there is no prometheus in PATH, and SLICEWARD_PROMETHEUS names none")
    with tempfile.TemporaryDirectory(prefix="sliceward-") as folder:
        both(Path(folder), program, period, ticks)


def both(folder: Path, program: str, period: float, ticks: int) -> None:
    """Run them beside each other."""
    scraped, port = free_port(), free_port()
    with a_broker(folder) as (url, broker), a_prometheus(folder, program, (scraped, port), period) as prometheus:
        command = [sys.executable, "-m", "benchmarks._detect_watcher", url, str(period)]
        until(lambda: asked(port, "/-/ready"), "Prometheus", alive=lambda: prometheus.poll() is None)
        with a_process(command, talks=True) as watcher:
            heard(watcher)
            pids = (watcher.pid, broker, prometheus.pid)
            before = [Cost.of(pid) for pid in pids]
            load = [
                sys.executable,
                "-m",
                "benchmarks._detect_fleet",
                url.rpartition(":")[2],
                str(scraped),
                str(HOSTS),
                str(period),
                str(ticks),
            ]
            with a_process(load) as fleet:
                sent = json.loads(heard(fleet))
                after = [Cost.of(pid) for pid in pids]
                theirs_ = {(one["labels"]["alertname"], one["labels"]["node"]) for one in firing(port)}
                counted = figures(port)
                time.sleep(period / 2)  # what is under way comes in, and no host is silent yet
                print(file=watcher.stdin, flush=True)
                ours = json.loads(heard(watcher))
    spent = [late.cpu - early.cpu for early, late in zip(before, after, strict=True)]
    print(f"CPU of ours, the broker and Prometheus {spent} s, sent {sent}, ours {ours}, Prometheus {counted}", file=sys.stderr)
    check(sent, ours, (theirs_, counted), ticks)
    told(spent, after, ours["rounds"], (period, ticks))


def told(spent: Sequence[float], after: Sequence[Cost], rounds: int, size: tuple[float, int]) -> None:
    """Print what each cost."""
    (mine, broker, prometheus), (period, ticks) = spent, size
    tell(
        Claim(
            claim=f"rules_vs_prometheus_cpu: {TWINS_}",
            value=mine, unit="CPU s", goal=prometheus / TIMES, better="lower", reference="Prometheus", reference_value=prometheus,
            setup=setup(
                f"{HOSTS * SERIES} series of {HOSTS} hosts, {ticks} readings of each at {period:g} s and all times of the rules as much shorter than at 10 s; both at once; "
                f"{prometheus / mine:.1f} times less; ours {rounds} rounds, {after[0].resident >> 20} MiB, Mosquitto beside it {broker:.1f} CPU s; "
                f"Prometheus one target a host, {after[2].resident >> 20} MiB"
            ),
        )
    )  # fmt: skip


TWINS_ = f"readings through broker, decoding, panel and {len(TWINS)} rules"


def a_prometheus(
    folder: Path, program: str, ports: tuple[int, int], period: float
) -> AbstractContextManager[subprocess.Popen[str]]:
    """Run a Prometheus that scrapes each host and evaluates the twenty alerts once a period."""
    scraped, port = ports
    targets = [
        {"targets": [f"127.0.0.1:{scraped}"], "labels": {"node": name, "__metrics_path__": f"/{name}"}}
        for name in hosts_of(HOSTS)
    ]
    times = {"scrape_interval": span(period), "scrape_timeout": span(period), "evaluation_interval": span(period)}
    config = {
        "global": times,
        "rule_files": ["twenty.yaml"],
        "scrape_configs": [{"job_name": "hosts", "static_configs": targets}],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    (folder / "twenty.yaml").write_text(theirs(period), encoding="utf-8")
    command = [
        program, f"--config.file={folder}/prometheus.yaml", f"--web.listen-address=127.0.0.1:{port}", f"--storage.tsdb.path={folder}/data",
        "--log.level=error",
    ]  # fmt: skip
    return a_process(command)


def heard(process: subprocess.Popen[str]) -> str:
    """Give the next line that a process prints; ends the benchmark where it prints none any more."""
    line = (process.stdout or sys.stdin).readline()
    if not line:
        raise SystemExit(f"no claim: {process.args!r} ended")
    return line


def asked(port: int, path: str, **query: str) -> bytes:
    """Ask Prometheus; nothing where it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}?{urlencode(query)}", timeout=30) as answer:
            return bytes(answer.read())
    except OSError:
        return b""


def firing(port: int) -> Iterator[dict[str, Any]]:
    """Give the alerts that fire."""
    yield from (one for one in json.loads(asked(port, "/api/v1/alerts"))["data"]["alerts"] if one["state"] == "firing")


def figures(port: int) -> dict[str, float]:
    """Give how many readings Prometheus took in, and how many evaluations it made and missed."""
    text = asked(port, "/metrics").decode()
    names = (
        "prometheus_tsdb_head_samples_appended_total",
        "prometheus_rule_group_iterations_total",
        "prometheus_rule_group_iterations_missed_total",
    )
    rows = [line.rpartition(" ") for line in text.splitlines()]
    return {name: sum(float(value) for key, _, value in rows if key.partition("{")[0] == name) for name in names}


def check(
    sent: dict[str, float], ours: dict[str, Any], prometheus: tuple[set[tuple[str, str]], dict[str, float]], ticks: int
) -> None:
    """End the benchmark where either did not do its work."""
    theirs_, counted = prometheus
    wanted = expected(HOSTS)
    found = {(rule, part.partition(f"{CLUSTER}/")[2].split("/")[1]) for rule, part in ours["found"]}
    refused = {name: count for name, count in ours["counts"].items() if count and name != "taken"}
    lost = sent["sent"] - ours["counts"]["taken"]
    samples, rounds, missed = counted.values()
    if lost or refused or found != wanted:
        raise SystemExit(
            f"no claim: ours lost {lost:g} frames, counted {refused or 'none else'}, and found {sorted(found ^ wanted)} wrongly or not"
        )
    if (
        ours["rounds"] < ENOUGH * ticks
        or samples < ENOUGH * HOSTS * SERIES * ticks
        or missed > (1 - ENOUGH) * ticks
        or rounds < ENOUGH * ticks
    ):
        raise SystemExit(
            f"no claim: this machine is too busy: {ours['rounds']} rounds of ours, Prometheus {counted}, who sends was {sent['latest']:.1f} s late"
        )
    if theirs_ != wanted:
        raise SystemExit(f"no claim: Prometheus found {sorted(theirs_ ^ wanted)} wrongly or not")


if __name__ == "__main__":
    measure(float((*sys.argv[1:2], str(PERIOD))[0]), int((*sys.argv[2:3], str(TICKS))[0]))
