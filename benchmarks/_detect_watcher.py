"""``_detect_watcher.py URL PERIOD``: our watcher with the twenty rules of `_detect_rules` and no others.

Prints a line when it hears the broker; and once something is written to it, what it took in and found. No Kubernetes, no statistics, no Prometheus.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from benchmarks._detect_rules import SILENT, ours
from benchmarks._fleet import CLUSTER
from sliceward.daemons.collector import keep_short
from sliceward.daemons.logs import configure
from sliceward.daemons.loops import Loops
from sliceward.daemons.settings import load
from sliceward.daemons.watcher.run import wire_of
from sliceward.daemons.watcher.settings import WatcherSettings
from sliceward.daemons.watcher.surroundings import Surroundings
from sliceward.daemons.watcher.watcher import Parts, Watcher, utc_now
from sliceward.detectors.finding import State
from sliceward.detectors.rules import load_rules


def watcher_of(url: str, period: float) -> Watcher:
    """Put the watcher together as `sliceward.daemons.watcher.run` does, but for the rules."""
    environ = {
        "SLICEWARD_CLUSTER": CLUSTER,
        "SLICEWARD_MQTT_URL": url,
        "SLICEWARD_KUBERNETES": "false",
        "SLICEWARD_PANEL__PERIOD": f"{period}s",
        "SLICEWARD_RULES__GRACE": f"{SILENT * period}s",
        "SLICEWARD_RULES__WARM_UP": f"{SILENT * period}s",
        "SLICEWARD_LOG__LEVEL": "error",
    }
    settings = load(WatcherSettings, file=None, environ=environ)
    configure(settings.log, stream=sys.stderr)
    return Watcher(
        Parts(
            settings=settings, rules=load_rules({"twenty.yaml": ours()}), bus=wire_of(settings), surroundings=Surroundings(CLUSTER, None),
            loops=Loops(time.monotonic), clock=utc_now, monotonic=time.monotonic,
        )
    )  # fmt: skip


async def main(url: str, period: float) -> None:
    """Watch until somebody asks."""
    watcher = watcher_of(url, period)
    tasks = [asyncio.create_task(watcher.run()), asyncio.create_task(keep_short())]
    while not watcher.parts.bus.connected:  # noqa: ASYNC110 (a wire tells nobody that it is connected)
        await asyncio.sleep(0.05)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    rounds = next(loop.beats for loop in watcher.parts.loops if loop.name == "detect")
    found = sorted({(one.detector, str(one.part)) for one in watcher.findings if one.state is State.FIRING})
    print(json.dumps({"counts": watcher.panel.counts, "rounds": rounds, "found": found}), flush=True)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
