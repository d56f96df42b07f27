"""Progress of gangs, from what the in-job reporters say: step, rate, the rate it used to have, checkpoint, members.

In: the panel (steps and notes of each host) and what was known of each gang before. Out: one `Pace` a gang. A gang is as far
as its slowest host; a step that goes back (a restart from a checkpoint) begins the rate anew and keeps the former one.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from sliceward.topology.errors import Misconfigured
from sliceward.topology.ids import GangId, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sliceward.detectors.panel import Known, Panel

WINDOW = 12
"""Readings over which the rate is taken."""
MEMORY = 120
"""Rates that are remembered; their median is the rate before, which a slow spell of half of them does not move."""
KEPT_RATES = 10
"""Times that the rate before counts after a restart, so that the first rates of a slow start do not move it."""
EXACT = 2**53
"""Larger numbers are not exact in JSON, and no gang has made so many steps."""
STALE = 3
"""Periods after which what a host said of its job is no news."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How a gang gets on. ``rate`` in steps a second, None where unknown; ``checkpoint_age`` in seconds; ``at`` unix seconds.

    ``marks``: (time, step) of the last readings; ``rates``: the rates over half a window and more while it stepped, oldest first.
    """

    gang: GangId
    at: float
    step: int | None = None
    rate: float | None = None
    rate_before: float | None = None
    checkpoint_step: int | None = None
    checkpoint_age: float | None = None
    members: int = 0
    marks: tuple[tuple[float, int], ...] = ()
    rates: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Voice:
    """What one host says of its job at one instant."""

    step: int | None
    checkpoint_step: int | None
    checkpoint_age: float | None


def follow(panel: Panel, before: Mapping[GangId, Pace]) -> dict[GangId, Pace]:
    """Give the pace of every gang that a reporter speaks for now, and of those known before, whose age then shows."""
    voices = _voices(panel)
    paces = {gang: _next(before.get(gang) or Pace(gang, panel.now), heard, panel.now) for gang, heard in voices.items()}
    return {**before, **paces}


def _voices(panel: Panel) -> dict[GangId, list[Voice]]:
    heard: dict[GangId, list[Voice]] = defaultdict(list)
    for name, slot in panel.slots.items():
        known = panel.hosts[slot]
        if known is None or "gang" not in known.notes:
            continue
        try:
            gang = gang_of(panel.cluster, known.notes["gang"])
            if gang is not None and panel.silence(slot) <= STALE * max(known.period, panel.size.period):
                heard[gang].append(_voice(panel, name, known))
        except Exception:  # noqa: BLE001 (what one host's job says must not stop the detection of all)
            panel.counts["jobs_set_aside"] += 1
    return heard


def gang_of(cluster: str, note: str) -> GangId | None:
    """Read the gang out of a frame's note ``id|role|slice|rank``; None where it names none of this cluster."""
    try:
        gang = parse(note.partition("|")[0])
    except Misconfigured:
        return None
    return gang if isinstance(gang, GangId) and gang.cluster == cluster else None


def _voice(panel: Panel, name: str, known: Known) -> Voice:
    step = latest(panel, "host_step", name)
    base = _whole(known.notes.get("step_base"))
    age = latest(panel, "host_checkpoint_age_seconds", name)
    return Voice(None if step is None or base is None else base + int(step), _whole(known.notes.get("checkpoint_step")), age)


def latest(panel: Panel, metric: str, name: str) -> float | None:
    """Give the newest reading of a host's metric that is still news; None where there is none."""
    column, known = panel.ring.columns.get(metric), panel.known(name)
    if column is None or known is None:
        return None
    rows = panel.ring.recent(STALE * max(known.period, panel.size.period))
    series = column[rows, panel.slots[name]]
    there = np.flatnonzero(~np.isnan(series))
    return float(series[there[0]]) if len(there) else None


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() and len(text) < 16 else None  # noqa: PLR2004 (2**53)


def _next(pace: Pace, voices: Iterable[Voice], now: float) -> Pace:
    heard = list(voices)
    steps = [voice.step for voice in heard if voice.step is not None]
    saved = [voice.checkpoint_step for voice in heard if voice.checkpoint_step is not None]
    ages = [voice.checkpoint_age for voice in heard if voice.checkpoint_age is not None]
    step = min(steps, default=None)
    marks = pace.marks
    if step is not None:
        marks = () if marks and step < marks[-1][1] else marks
        marks = (*marks[-WINDOW:], (now, step)) if not marks or now > marks[-1][0] else marks
    rate = _rate(marks)
    # The first steps are heard of in a burst, and few readings tell the wrong rate.
    rates = (*pace.rates[-MEMORY + 1 :], rate) if rate and len(marks) > WINDOW // 2 else pace.rates
    return replace(
        pace,
        at=now,
        step=step,
        rate=rate if step is not None else None,
        rate_before=median(rates) if rates else pace.rate_before,
        checkpoint_step=min(saved, default=None),
        checkpoint_age=max(ages, default=None),
        members=len(heard),
        marks=marks,
        rates=rates,
    )


def _rate(marks: tuple[tuple[float, int], ...]) -> float | None:
    """Give the median of the slopes between readings half a window apart: what is heard of late, and in one burst, moves few of them."""
    slopes = [
        (last - first) / (now - then)
        for (then, first), (now, last) in zip(marks, marks[len(marks) // 2 :], strict=False)
        if now > then
    ]
    return median(slopes) if slopes else None


def to_json(pace: Pace) -> bytes:
    """Give the message of topic ``…/gangs/{gang}/progress``."""
    body = {
        "gang": str(pace.gang),
        "at": datetime.fromtimestamp(pace.at, UTC).isoformat(),
        "step": pace.step,
        "rate": pace.rate,
        "rate_before": pace.rate_before,
        "checkpoint_step": pace.checkpoint_step,
        "checkpoint_age": pace.checkpoint_age,
        "members": pace.members,
    }
    return json.dumps(body).encode()


def from_json(payload: bytes) -> Pace:
    """Read a message of ours back after a restart: all that it says stays known until somebody speaks for the gang again.

    Raises:
        ValueError: it is none.
    """
    try:
        body = json.loads(payload)
        gang, at = parse(body["gang"]), datetime.fromisoformat(body["at"]).timestamp()
    except (KeyError, TypeError, AttributeError, OverflowError, RecursionError, Misconfigured) as error:
        raise ValueError(f"is no progress message: {error}") from error
    if not isinstance(gang, GangId) or at < 0:
        raise ValueError(f"is no progress message: {gang} at {at:g}")
    rate_before = _number(body, "rate_before") or None
    return Pace(
        gang,
        at,
        step=_count(body, "step"),
        rate=_number(body, "rate"),
        rate_before=rate_before,
        checkpoint_step=_count(body, "checkpoint_step"),
        checkpoint_age=_number(body, "checkpoint_age"),
        members=_count(body, "members") or 0,
        rates=(rate_before,) * KEPT_RATES if rate_before else (),
    )


def _number(body: Mapping[str, object], key: str) -> float | None:
    value = body.get(key)
    known = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < EXACT
    return float(value) if known else None  # type: ignore[arg-type]  # known says that it is a number


def _count(body: Mapping[str, object], key: str) -> int | None:
    value = body.get(key)
    return int(value) if isinstance(value, int) and _number(body, key) is not None else None
