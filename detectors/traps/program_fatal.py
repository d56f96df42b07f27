"""Same program, different places: the compiler or the program, and none of the chips."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sliceward.detectors.finding import Evidence, Kind
from sliceward.detectors.progress import gang_of
from sliceward.detectors.traps.crashes import crashes
from sliceward.detectors.traps.trap import Trap, Trapped
from sliceward.topology.gangs import GangState
from sliceward.topology.health import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sliceward.detectors.memory import Crash
    from sliceward.detectors.panel import Panel
    from sliceward.topology.fleet import Fleet

PLACES = 2
"""Hosts on which one program ended, in different attempts or in one."""


def find(panel: Panel, fleet: Fleet) -> Iterator[Trapped]:
    """Give each gang that errors of chips ended on several hosts."""
    by_program: dict[str, list[tuple[Crash, float]]] = defaultdict(list)
    for crash, at in crashes(panel).items():
        by_program[crash.gang].append((crash, at))
    for program, found in sorted(by_program.items()):
        gang, hosts = gang_of(panel.cluster, program), sorted({crash.host.name for crash, _ in found})
        if gang is None or gang not in fleet.gangs or fleet.gangs[gang].state is GangState.FINISHED or len(hosts) < PLACES:
            continue
        last = datetime.fromtimestamp(max(at for _, at in found), UTC)
        text = f"errors of chips ended this program on {len(hosts)} hosts ({', '.join(hosts[:4])}): the compiler or the program, not the chips"
        yield Trapped(gang, text, (Evidence("hosts_ended_on", len(hosts), PLACES, "hosts", last, str(gang)),))


PROGRAM_FATAL = Trap(
    name="program-fatal",
    kind=Kind.PROGRAM_FATAL,
    part="gang",
    severity=Severity.ERROR,
    says="errors of chips ended this program on {count} hosts ({names}): the compiler or the program, not the chips",
    about="One and the same program that errors of chips end at different places is a bug of the compiler or of the program: chips do not fail in company."
    " Nothing is said against any of the hosts.",
    limits="Two hosts within 24 hours, since the watcher began, in one attempt or in several. A program is a gang by its name.",
    sources=("libtpu: 'This is likely an XLA compiler bug or your job hit a bad TPU hardware'",),
    advice="Look at the program: what changed in it, in JAX or in libtpu. Run the former version of it at the same place.",
    find=find,
)
