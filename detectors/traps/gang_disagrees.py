"""Members that disagree: half a gang joined another coordinator, attempt or number of slices, all run, and no step comes.

What each process was told stands in the note ``rendezvous`` of its host's frames: ``coordinator|attempt|slices``, from the
environment in which the in-job reporter began.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from sliceward.detectors.finding import Kind
from sliceward.detectors.progress import gang_of
from sliceward.detectors.traps.trap import Trap, Trapped
from sliceward.topology.health import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sliceward.detectors.panel import Panel
    from sliceward.topology.fleet import Fleet
    from sliceward.topology.gangs import Gang
    from sliceward.topology.ids import GangId

NAME = "gang-disagrees"
START_UP = 120.0
"""Seconds for which members may disagree: those of the former attempt end while the first of the next begin."""
SILENT = 3
"""Periods after which what a host said is no news."""
FIELDS = ("coordinator", "attempt", "number of slices")
MOST_NAMED = 4


def find(panel: Panel, fleet: Fleet) -> Iterator[Trapped]:
    """Give each gang whose members have disagreed for longer than a start takes, and those of which a member is silent."""
    told, silent = _said(panel, fleet)
    spells = panel.memory.spells
    spoken = {_spell(gang, fleet): gang for gang in sorted({*told, *silent}, key=str)}
    for key in [one for one in spells if one.startswith(f"{NAME}/") and one not in spoken]:
        del spells[key]  # a gang that is gone, or another one of the same name
    for key, gang in spoken.items():
        why = _odds(told.get(gang, {}), fleet.gangs.get(gang))
        if why:
            began = spells.setdefault(key, panel.now)
            if panel.now - began >= START_UP:
                yield Trapped(gang, why)
        elif gang in silent:
            yield Trapped(gang, "a member is silent", seen=False)
        else:
            spells.pop(key, None)


def _spell(gang: GangId, fleet: Fleet) -> str:
    known = fleet.gangs.get(gang)
    return f"{NAME}/{gang}" if known is None else f"{NAME}/{gang} {known.uid}"


def _said(panel: Panel, fleet: Fleet) -> tuple[dict[GangId, dict[str, list[str]]], set[GangId]]:
    """Give the hosts by what their members were told, by gang, and the gangs of which a member is silent."""
    told: dict[GangId, dict[str, list[str]]] = {}
    silent: set[GangId] = set()
    # Who is a member is read once a fleet: a gang may have thousands of them.
    members: dict[GangId, frozenset[str] | None] = panel.memory.about("members", fleet, dict)
    # By the text of the id: 25,000 hosts are of few gangs, and to read or hash an id takes longer than all the rest.
    gangs: dict[str, tuple[GangId, frozenset[str] | None, dict[str, list[str]]] | None] = {}
    for name, slot in panel.slots.items():
        known = panel.hosts[slot]
        if known is None or "rendezvous" not in known.notes:
            continue
        note = known.notes.get("gang", "").partition("|")[0]
        if note not in gangs:
            gang = gang_of(panel.cluster, note)
            if gang is not None and gang not in members:
                members[gang] = _members(fleet.gangs.get(gang))
            gangs[note] = None if gang is None else (gang, members[gang], told.setdefault(gang, {}))
        found = gangs[note]
        if found is None or (found[1] is not None and name not in found[1]):
            continue
        if panel.silence(slot) > SILENT * max(known.period, panel.size.period):
            silent.add(found[0])
        else:
            found[2].setdefault(known.notes["rendezvous"], []).append(name)
    return told, silent


def _members(gang: Gang | None) -> frozenset[str] | None:
    """Give the hosts that still hold a member; None of a gang that nobody shows us: then any may."""
    return None if gang is None else frozenset(one.name for one in gang.hosts)


def _odds(told: Mapping[str, list[str]], gang: Gang | None) -> str:
    """Say in what members disagree, with each other or with what the gang is; "" where they agree."""
    split = {note: note.split("|") for note in told}
    for place, field in enumerate(FIELDS):
        said: dict[str, list[str]] = defaultdict(list)
        for note, words in split.items():
            if place < len(words) and words[place]:
                said[words[place]] += told[note]
        if len(said) > 1:
            fewest = sorted(said.items(), key=lambda one: (len(one[1]), one[0]))
            named = "; ".join(f"{word[:80]} on {_hosts(sorted(hosts))}" for word, hosts in fewest[:MOST_NAMED])
            return f"members disagree on the {field}: {named}"
        # Of several roles each may be a job of its own; of one the number of slices is known.
        if field == FIELDS[-1] and said and gang is not None and len(gang.roles) == 1:
            word = next(iter(said))
            if word.isdecimal() and int(word) != gang.roles[0].slices:
                return f"members were told of {word} slices, and the gang has {gang.roles[0].slices}"
    return ""


def _hosts(hosts: list[str]) -> str:
    more = f" and {len(hosts) - MOST_NAMED} more" if len(hosts) > MOST_NAMED else ""
    return ", ".join(hosts[:MOST_NAMED]) + more


GANG_DISAGREES = Trap(
    name=NAME,
    kind=Kind.GANG_DISAGREES,
    part="gang",
    severity=Severity.ERROR,
    says="members disagree on the {coordinator, attempt or number of slices}: {who said what}",
    about="The processes of one gang were told of different coordinators, attempts or numbers of slices, or of a number that the gang does not have: all"
    " run, none fails, and no step ever comes. The odd ones are named first. It reads what the in-job reporter tells of its environment"
    " (`JAX_COORDINATOR_ADDRESS`, `MEGASCALE_COORDINATOR_ADDRESS`, `MEGASCALE_NUM_SLICES`, `SLICEWARD_ATTEMPT`), so it sees only jobs that import it.",
    limits="Two minutes: while a gang starts again, processes of the former attempt may live beside those of the next. While a member is silent it is"
    " unknown.",
    sources=(
        "Post-mortems of production fleets: half of a gang joined the address of attempt 0, half that of attempt 1; all running, no step",
        "Ray issue 62893: MEGASCALE_NUM_SLICES was 3 in a job of 2 slices after one was replaced",
    ),
    advice="Let the whole gang start again once, so that all are told the same; if it comes back, look at who writes these variables. The hardware is well.",
    find=find,
)
