"""Black hole: whatever starts on one host dies within a minute, again and again, while its peers elsewhere go on.

Lives are counted from the fleet alone: when a pod was first seen on its host, and when it was first seen to have ended. What
had ended when we first looked, and what was told to go, died of nothing that this host is to blame for.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sliceward.detectors.finding import Evidence, Kind
from sliceward.detectors.memory import Death, Life
from sliceward.detectors.traps.trap import Trap, Trapped
from sliceward.topology.gangs import GangState
from sliceward.topology.health import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sliceward.detectors.memory import Memory
    from sliceward.detectors.panel import Panel
    from sliceward.topology.fleet import Fleet
    from sliceward.topology.gangs import Gang
    from sliceward.topology.ids import HostId

SHORT = 60.0
"""Seconds: a life that is shorter did no work."""
ENOUGH, GANGS = 3, 2
"""Short deaths on one host, and different gangs that they are of: one gang alone may be a program that fails."""
WITHIN = 3600.0
"""Seconds for which a death counts."""


def find(panel: Panel, fleet: Fleet) -> Iterator[Trapped]:
    """Give each host on which enough attempts of different gangs died at once and alone."""
    memory, now = panel.memory, panel.now
    if memory.looked_at is not fleet:  # it is read again only after a change
        memory.looked_at = fleet
        _follow(memory, fleet, now)
    memory.deaths = [one for one in memory.deaths if now - one.at <= WITHIN]
    by_host: dict[HostId, list[Death]] = defaultdict(list)
    for one in memory.deaths:
        by_host[one.host].append(one)
    for host, deaths in sorted(by_host.items()):
        gangs = {one.gang for one in deaths}
        if len(deaths) < ENOUGH or len(gangs) < GANGS or host not in fleet.hosts:
            continue
        longest = max(one.seconds for one in deaths)
        text = f"{len(deaths)} attempts of {len(gangs)} gangs died here within {longest:.0f} s while their peers went on"
        at = datetime.fromtimestamp(max(one.at for one in deaths), UTC)
        yield Trapped(host, text, (Evidence("short_deaths", len(deaths), ENOUGH, "attempts", at, str(host)),))


def _follow(memory: Memory, fleet: Fleet, now: float) -> None:
    first, seen = memory.lives is None, {}
    before = memory.lives or {}
    for gang in fleet.gangs.values():
        died: list[Death] = []
        for member in gang.members:
            if member.host is None or not member.uid:
                continue
            life = before.get(member.uid) or Life(now, over=first and member.ended)
            if member.ended and not life.over:
                if now - life.born <= SHORT and gang.state is GangState.RUNNING and not member.terminating:
                    died.append(Death(now, member.host, str(gang.id), now - life.born))
                life = Life(life.born, over=True)
            elif member.terminating:
                life = Life(life.born, over=True)  # told to go: how it ends now says nothing
            seen[member.uid] = life
        memory.deaths += died if _alone(gang, died) else []
    memory.lives = seen


def _alone(gang: Gang, died: list[Death]) -> bool:
    """Whether those that died are of one host, and most of the gang is on others and goes on; a gang of one host has no peers."""
    hosts = {one.host for one in died}
    if len(hosts) != 1:
        return False
    elsewhere = [member for member in gang.members if member.host is not None and member.host not in hosts]
    return not elsewhere or 2 * sum(not member.ended for member in elsewhere) > len(elsewhere)


SHORT_DEATHS = Trap(
    name="short-deaths",
    kind=Kind.SHORT_DEATHS,
    part="host",
    severity=Severity.ERROR,
    says="{count} attempts of {gangs} gangs died here within {seconds} s while their peers went on",
    about="Whatever starts on a host dies within a minute, also with exit code 0, and is sent there again: a black hole. The members of the same gangs on"
    " other hosts go on, so it is not the program; different gangs die, so it is not the job. It reads no metric: it counts lives of pods.",
    limits="Three attempts under 60 s of at least two gangs within an hour, seen from round to round. A gang that dies on several hosts at once, a pod that"
    " was told to go, and what had ended before the watcher began do not count. A pod that is deleted before a round saw it end is not seen.",
    sources=(
        "Post-mortems of production fleets: a dead worker's address went to another machine; each task there ended after 10 to 16 s, exit code 0, for 16 h",
    ),
    advice="Place nothing there. Look for another machine behind its address, an orphan that holds the devices, a full disk or a stuck runtime before you"
    " look at the hardware.",
    find=find,
)
