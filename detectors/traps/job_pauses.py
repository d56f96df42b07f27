"""Slow steps that are the job's own: the garbage collector, waiting for data, compiling again, checkpoints that steps wait for."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from sliceward.detectors.finding import Evidence, Kind
from sliceward.detectors.progress import gang_of
from sliceward.detectors.traps.trap import Trap, Trapped
from sliceward.topology.health import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sliceward.detectors.panel import Panel
    from sliceward.topology.fleet import Fleet
    from sliceward.topology.ids import GangId

NAME = "job-pauses"
WITHIN = 600.0
"""Seconds over which the share is taken."""
SHARE = 0.2
"""Share of the time in which steps were made."""
LEAST = 300.0
"""Seconds of steps that must have been seen."""
EVERY = 60.0
"""Seconds between two looks at all hosts."""
MOST_NAMED = 4
WORDS = {
    "host_gc_seconds_total": "collecting garbage",
    "host_input_seconds_total": "waiting for input",
    "host_compile_seconds_total": "compiling",
    "host_checkpoint_seconds_total": "saving checkpoints",
}

Pause = tuple[str, str, float]
"""Host, metric and share."""


def find(panel: Panel, fleet: Fleet) -> Iterator[Trapped]:
    """Give each gang that steps, and of which a host spends much time on something else."""
    for gang, pauses in sorted(
        panel.memory.lately(NAME, panel.now, EVERY, lambda: _all(panel)).items(), key=lambda one: str(one[0])
    ):
        if gang not in fleet.gangs:
            continue
        metric = max(pauses, key=lambda one: one[2])[1]
        found = sorted((one for one in pauses if one[1] == metric), key=lambda one: (-one[2], one[0]))
        more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
        named = ", ".join(host for host, _, _ in found[:MOST_NAMED])
        text = f"{WORDS[metric]} takes up to {found[0][2]:.0%} of the time on {named}{more}: slow steps are the job, not the hardware"
        at = datetime.fromtimestamp(panel.now, UTC)
        yield Trapped(
            gang, text, (Evidence(metric, found[0][2], SHARE, "share of time", at, f"{panel.cluster}/host/{found[0][0]}"),)
        )


def _all(panel: Panel) -> dict[GangId, list[Pause]]:
    ring = panel.ring
    found: dict[GangId, list[Pause]] = defaultdict(list)
    steps = ring.columns.get("host_step")
    if steps is None:
        return found
    rows = ring.recent(min(WITHIN, (ring.rows - 1) * ring.period))
    stepping = ~np.isnan(steps[rows])
    seconds = stepping.sum(axis=0) * ring.period
    for metric in WORDS:
        column = ring.columns.get(metric)
        if column is None:
            continue
        spent = np.where(stepping, np.nan_to_num(column[rows]), 0.0).sum(axis=0)
        for slot in np.flatnonzero((seconds >= LEAST) & (spent >= SHARE * seconds)):
            known = panel.hosts[int(slot)]
            gang = None if known is None else gang_of(panel.cluster, known.notes.get("gang", ""))
            if known is not None and gang is not None:
                found[gang].append((known.name, metric, min(1.0, float(spent[slot] / seconds[slot]))))
    return found


JOB_PAUSES = Trap(
    name=NAME,
    kind=Kind.JOB_PAUSES,
    part="gang",
    severity=Severity.INFO,
    says="{collecting garbage, waiting for input, compiling or saving checkpoints} takes up to {share} of the time on {hosts}: slow steps are the job, not the hardware",
    about="A gang steps, and a process of it spends a fifth of its time or more on something else: Python's garbage collector, its input, compiling again, checkpoints that"
    " steps wait for. In a synchronous job all wait for it, and its host looks slow. It tells whoever looks at a slow host that it is the job; nobody is paged.",
    limits="A fifth of the last 10 minutes in which steps were told, of 5 at least; looked at each minute. The collector is counted by the reporter itself, the rest where"
    " the job says so (`with reporter.doing(…)`).",
    sources=(
        "A study of stragglers in production (ByteDance, OSDI 2025): most are not hardware: uneven stages, long sequences, garbage collection",
    ),
    advice="Freeze or schedule the collector (`gc.freeze`, `gc.disable` and a collection each few hundred steps), or look at the named cause; the hardware is well.",
    find=find,
)
