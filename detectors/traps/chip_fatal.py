"""Same place, different programs: the chip. One program alone, however often, proves nothing against it."""

from __future__ import annotations

import re
from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sliceward.detectors.finding import Evidence, Kind
from sliceward.detectors.traps.crashes import crashes
from sliceward.detectors.traps.trap import Trap, Trapped
from sliceward.topology.health import Severity
from sliceward.topology.ids import ChipId

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sliceward.detectors.memory import Crash
    from sliceward.detectors.panel import Panel
    from sliceward.topology.fleet import Fleet
    from sliceward.topology.ids import HostId

PROGRAMS = 2
"""Different programs that ended at one place."""
_DEVICE = re.compile(r"/dev/accel(\d{1,2})")


def find(panel: Panel, fleet: Fleet) -> Iterator[Trapped]:
    """Give each host, or chip where the line names its device, at one place of which enough programs ended."""
    by_place: dict[tuple[HostId, str], list[tuple[Crash, float]]] = defaultdict(list)
    for crash, at in crashes(panel).items():
        known = panel.known(crash.host.name)
        # What a former machine of this name did says nothing of this one.
        if crash.host in fleet.hosts and known is not None and crash.machine == known.instance_id:
            by_place[crash.host, crash.place].append((crash, at))
    for (host, place), found in sorted(by_place.items()):
        programs = sorted({crash.gang for crash, _ in found})
        if len(programs) < PROGRAMS:
            continue
        device = _DEVICE.fullmatch(place)
        chip = int(device[1]) if device else fleet.hosts[host].chips
        part = ChipId(host.cluster, host.name, chip) if chip < fleet.hosts[host].chips else host
        last = datetime.fromtimestamp(max(at for _, at in found), UTC)
        where = f" at {place}" if place else ""
        text = f"errors of a chip ended {len(programs)} different programs here{where}: the chip, not the programs"
        yield Trapped(part, text, (Evidence("programs_ended", len(programs), PROGRAMS, "programs", last, str(part), place),))


CHIP_FATAL = Trap(
    name="chip-fatal",
    kind=Kind.CHIP_FATAL,
    part="host or chip",
    severity=Severity.ERROR,
    says="errors of a chip ended {count} different programs here at {place}: the chip, not the programs",
    about="libtpu says of a program that a chip's error ended that it is likely a bug of the compiler or bad hardware. Which of both is told by counting over"
    " jobs: different programs that end at one physical place are the chip's fault. It accuses hardware and drains nothing: a person or a burn-in decides.",
    limits="Two programs within 24 hours, since the watcher began. A program is a gang by its name: two runs of one program under two names count as two."
    " libtpu's places (tpuN:peM:K) are not mapped to our chips by any public document, so the host that logs it is named, and the chip where the line names its"
    " device file. A machine that was replaced begins anew.",
    sources=(
        "libtpu: 'This is likely an XLA compiler bug or your job hit a bad TPU hardware'",
        "Google's guide: bad hardware is on the machine that logs it; try again a few times, and recreate it if it repeats there",
    ),
    advice="Place nothing new there and let a burn-in decide. If it passes, look at what both programs have in common.",
    find=find,
    accuses=True,
)
