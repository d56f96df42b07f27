"""Recycled address or name: another machine answers for a host than the one that Kubernetes knows under its name.

An address or a name alone is never identity: every frame carries the machine's boot, and often the provider's id.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sliceward.detectors.finding import Evidence, Kind
from sliceward.detectors.traps.trap import Trap, Trapped
from sliceward.topology.health import Health, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sliceward.detectors.panel import Known, Panel
    from sliceward.topology.fleet import Fleet, Host

NAME = "machine-differs"
LASTS = 600.0
"""Seconds for which they may differ: a kubelet tells its new boot minutes after the agent does."""
EVERY = 30.0
"""Seconds between two looks at all hosts."""
SILENT = 3
"""Periods of silence after which nobody answers any more."""


def find(panel: Panel, fleet: Fleet) -> Iterator[Trapped]:
    """Give each host for which another machine has answered for longer than a boot takes to be told."""
    spells = panel.memory.spells
    found = panel.memory.lately(NAME, panel.now, EVERY, lambda: _all(panel, fleet))
    for key in [key for key in spells if key.startswith(f"{NAME}/") and key.removeprefix(f"{NAME}/") not in found]:
        del spells[key]
    for host, why in found.values():
        known, key = panel.known(host.id.name), f"{NAME}/{host.id}"
        if known is None:
            continue
        if panel.silence(panel.slots[host.id.name]) > SILENT * max(known.period, panel.size.period):
            yield Trapped(host.id, "the host is silent", seen=False)
            continue
        began = spells.setdefault(key, panel.now)
        if panel.now - began >= LASTS:
            at = datetime.fromtimestamp(panel.now, UTC)
            yield Trapped(
                host.id, why, (Evidence("seconds of another machine", panel.now - began, LASTS, "seconds", at, str(host.id)),)
            )


def _all(panel: Panel, fleet: Fleet) -> Mapping[str, tuple[Host, str]]:
    found: dict[str, tuple[Host, str]] = {}
    slots, knowns = panel.slots, panel.hosts
    for host in fleet.hosts.values():
        slot = slots.get(host.id.name)
        known = None if slot is None else knowns[slot]
        # Nearly always both are the same: 25,000 hosts are gone through on the loop.
        if known is None or known.speaker is None or known.speaker[1:] == (host.instance_id, host.boot_id):
            continue
        if why := _differs(known, host):
            found[str(host.id)] = (host, why)
    return found


def _differs(known: Known, host: Host) -> str:
    """Say what differs; "" where nothing does or one side does not tell. Ids are compared only where both are plain numbers."""
    theirs, its = (
        (known.instance_id, host.instance_id) if known.instance_id.isdecimal() and host.instance_id.isdecimal() else ("", "")
    )
    if theirs != its:
        return f"machine {theirs[:40]} answers for this host, and its node is machine {its[:40]}"
    # A node that is not Ready tells of the boot before; the frame is the newer word then.
    if known.boot_id and host.boot_id and known.boot_id != host.boot_id and host.ready is Health.HEALTHY:
        return f"boot {known.boot_id[:40]} answers for this host, and its node is Ready in boot {host.boot_id[:40]}"
    return ""


MACHINE_DIFFERS = Trap(
    name=NAME,
    kind=Kind.IDENTITY_CONFLICT,
    part="host",
    severity=Severity.WARNING,
    says="machine {id} answers for this host, and its node is machine {id}",
    about="The frames of a host come from another machine, or another boot, than the one that Kubernetes knows under its name: an address or a name that was given to a"
    " new machine, or an agent that speaks under another's name. What it says is no word about this host, and nothing is done to it meanwhile.",
    limits="Ten minutes: after a restart the kubelet tells its new boot later than the agent. Ids of the provider are compared where both sides tell them as plain numbers,"
    " boots where the node is Ready. Two nodes with one address are not compared: nothing of ours dials a host by its address.",
    sources=(
        "Post-mortems of production fleets: a dead worker's address went to a new machine, which answered 'healthy' and was sent work for 16 hours",
    ),
    advice="Find out which machine stands behind each id, delete the record of the one that is gone, and end the agent that speaks under the wrong name.",
    find=find,
)
