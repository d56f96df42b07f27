"""A hang of which Megascale suspects a bad chip: once a suspicion, the same host again after a restart a chip."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sliceward.detectors.finding import Kind
from sliceward.detectors.memory import Crash
from sliceward.detectors.traps.crashes import WITHIN
from sliceward.detectors.traps.hangs import Cause, hangs
from sliceward.detectors.traps.trap import Trap, Trapped
from sliceward.topology.health import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sliceward.detectors.panel import Panel
    from sliceward.topology.fleet import Fleet


def find(panel: Panel, fleet: Fleet) -> Iterator[Trapped]:
    """Give each host that a digest names, and how often."""
    known = panel.memory.hangs
    for key in [key for key, at in known.items() if panel.now - at > WITHIN]:
        del known[key]
    for hang in hangs(panel, fleet):
        for name, host in hang.culprits if hang.cause is Cause.CHIP else ():
            if host is None or host not in fleet.hosts:
                continue
            machine = panel.known(host.name)
            instance = "" if machine is None else machine.instance_id
            # A restart makes new pods: who printed it tells one hang from the next.
            known.setdefault(Crash(host, instance, name, str(hang.gang), hang.pods[0]), hang.at)
            times = len({(one.gang, one.pod) for one in known if (one.host, one.machine) == (host, instance)})
            again = (
                f"{times} hangs in a day name this host: let a burn-in decide"
                if times > 1
                else "once, which is a suspicion and no more"
            )
            yield Trapped(host, f"Megascale suspects a bad chip at {name} in a hang of {hang.gang.name}: {again}", hang.evidence)


CHIP_HUNG = Trap(
    name="chip-hung",
    kind=Kind.CHIP_HUNG,
    part="host",
    severity=Severity.WARNING,
    says="Megascale suspects a bad chip at {worker} in a hang of {gang}: {once, which is a suspicion and no more; or how many hangs in a day name this host}",
    about="Megascale's digest of a hang says BAD_TPU_CHIP and names a worker whose program counter is not 0. Most such hangs are something else: a restart, a program, slow"
    " I/O in a barrier. One is a suspicion; the same host again after a restart speaks against its chips, and a burn-in decides.",
    limits="A digest in a job's log that names a member of the gang. Hangs are told apart by the pod that printed it, within a day and since the watcher began; names of pods"
    " that come back with a restart (StatefulSets) make two of them one.",
    sources=(
        "Megascale: HANG_DETECTED; Google's guide: most often a restart, hardware, a mismatched program or slow I/O in a barrier",
    ),
    advice="Restart the gang once. If the same host is named again, place nothing new there and let a burn-in decide.",
    find=find,
    accuses=True,
)
