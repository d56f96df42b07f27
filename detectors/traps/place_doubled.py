"""Twin places: two hosts of a gang say that they are the same worker, and another place stays empty. All of them are healthy."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sliceward.detectors.finding import Evidence, Kind
from sliceward.detectors.progress import gang_of
from sliceward.detectors.traps.trap import Trap, Trapped
from sliceward.topology.health import Severity
from sliceward.topology.ids import HostId

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sliceward.detectors.panel import Panel
    from sliceward.topology.fleet import Fleet

NAME = "place-doubled"
START_UP = 120.0
"""Seconds for which two may say so: a process of the former attempt ends while that of the next begins."""
EVERY = 30.0
"""Seconds between two looks at all hosts."""
SILENT = 3
"""Periods after which what a host said is no news."""


def find(panel: Panel, fleet: Fleet) -> Iterator[Trapped]:
    """Give each host that says that it is a worker which another host says it is too, for longer than a start takes."""
    spells = panel.memory.spells
    doubled = panel.memory.lately(NAME, panel.now, EVERY, lambda: _doubled(panel))
    for key in [key for key in spells if key.startswith(f"{NAME}/") and key.removeprefix(f"{NAME}/") not in doubled]:
        del spells[key]
    for note, names in sorted(doubled.items()):
        began = spells.setdefault(f"{NAME}/{note}", panel.now)
        gang = gang_of(panel.cluster, note)
        if any(_is_silent(panel, name) for name in names):
            yield from (Trapped(HostId(panel.cluster, name), "one of them is silent", seen=False) for name in names)
            continue
        if gang is None or panel.now - began < START_UP:
            continue
        _, role, slice_, rank = note.split("|")
        wanted = sum(one.hosts for one in fleet.gangs[gang].roles if one.name == role) if gang in fleet.gangs else 0
        heard = sum(1 for known in panel.hosts if known and known.notes.get("gang", "").startswith(f"{gang}|{role}|{slice_}|"))
        others = f"; {heard - len(names) + 1} of {wanted} workers of that slice are told apart" if wanted else ""
        text = f"says that it is worker {rank} of slice {role}-{slice_} of {gang.name}, and so does"
        at = datetime.fromtimestamp(panel.now, UTC)
        for name in names:
            rest = ", ".join(one for one in names if one != name)
            host = HostId(panel.cluster, name)
            yield Trapped(
                host, f"{text} {rest}{others}", (Evidence("hosts at one place", len(names), 2, "hosts", at, str(host)),)
            )


def _doubled(panel: Panel) -> Mapping[str, list[str]]:
    """Give the hosts that say the same of their place, by what they say."""
    first: dict[str, str] = {}
    found: dict[str, list[str]] = defaultdict(list)
    for known in panel.hosts:
        note = "" if known is None else known.notes.get("gang", "")
        if known is None or note.count("|") != 3 or note.endswith("|"):  # noqa: PLR2004 (gang|role|slice|rank; no rank says nothing)
            continue
        if (other := first.setdefault(note, known.name)) != known.name:
            found[note] = [*(found[note] or [other]), known.name]
    return found


def _is_silent(panel: Panel, name: str) -> bool:
    known = panel.known(name)
    return known is None or panel.silence(panel.slots[name]) > SILENT * max(known.period, panel.size.period)


PLACE_DOUBLED = Trap(
    name=NAME,
    kind=Kind.IDENTITY_CONFLICT,
    part="host",
    severity=Severity.WARNING,
    says="says that it is worker {rank} of slice {slice} of {gang}, and so does {host}; {count} of {count} workers of that slice are told apart",
    about="Two hosts of one slice tell of the same worker number, mostly because one of them has none and somebody read missing as 0. The gang then waits for ever for a"
    " worker that is there and healthy. Both hosts are named, with how many workers are told apart.",
    limits="Two minutes: while a gang starts again, a process of the former attempt may live beside that of the next. It reads what in-job reporters tell and the labels of"
    " their pods, so it sees only jobs that import one.",
    sources=(
        "Post-mortems of production fleets: 'need 256 workers, largest group has 254' for ever, while 256 machines were healthy: one had no worker index",
    ),
    advice="Look at who gives these hosts their number: labels, metadata, environment. Do not replace the slice, it does not help.",
    find=find,
)
