"""Coordinator port held by a foreign process: what is left of the gang before still listens where the next one wants to meet."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from sliceward.detectors.finding import Evidence, Kind
from sliceward.detectors.look import EPSILON
from sliceward.detectors.sightings import Line
from sliceward.detectors.traps.heard import heard
from sliceward.detectors.traps.trap import Trap, Trapped
from sliceward.topology.health import Severity
from sliceward.topology.ids import HostId

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sliceward.detectors.panel import Panel
    from sliceward.topology.fleet import Fleet

SEEN, OF = 3, 5
"""Readings in which a foreigner holds it: a process that just ended may for seconds."""
SILENT = 3
"""Periods after which a host's notes are no news."""
LATELY = 180.0
"""Seconds for which a line of a job that found the port taken counts: it is tried again each minute or so."""


def find(panel: Panel, fleet: Fleet) -> Iterator[Trapped]:
    """Give each host at which a port is held by a process of no pod, or by one that a job's log tells of."""
    taken = {one.host.name: one for one in heard(panel) if one.said.line is Line.PORT_TAKEN and panel.now - one.last <= LATELY}
    for name in sorted({*taken, *_held(panel)}):
        host, known = HostId(panel.cluster, name), panel.known(name)
        if host not in fleet.hosts or known is None:
            continue
        if panel.silence(panel.slots[name]) > SILENT * max(known.period, panel.size.period) + EPSILON:
            yield Trapped(host, "the host is silent", seen=False)
            continue
        who, said = known.notes.get("ports", ""), taken.get(name)
        text = f"a process outside of all TPU pods of the node listens there: {who}"
        if said is not None:
            text = f"{said.said.pod} could not listen at port {said.said.what or '?'}: {who or 'who holds it is not known'}"
        proof = () if said is None else (said.evidence,)
        at = datetime.fromtimestamp(panel.now, UTC)
        yield Trapped(
            host, text, (*proof, Evidence("host_port_foreign", float(said is None or "foreign: " in who), 1, "1", at, str(host)))
        )


def _held(panel: Panel) -> list[str]:
    """Give the hosts of which most readings of late show a foreigner."""
    column = panel.ring.columns.get("host_port_foreign")
    if column is None:
        return []
    shown = np.nansum(column[panel.ring.recent(OF * panel.size.period)], axis=0) >= SEEN
    return [known.name for slot in np.flatnonzero(shown) if (known := panel.hosts[int(slot)]) is not None]


PORT_HELD = Trap(
    name="port-held",
    kind=Kind.PORT_HELD,
    part="host",
    severity=Severity.WARNING,
    says="{pod} could not listen at port {number}: {who holds it} or: a process outside of all TPU pods of the node listens there: {pid, container, age}",
    about="The port at which members of a gang meet (JAX's coordinator, 8476, or libtpu's slice builder, 8471) is held in the host's own network by a process of no"
    " TPU pod of the node, mostly of the gang before: the next one dies with `Failed to add port to server` and exit code 139, 20 to 60 s after its"
    " start, again and again. The holder is named; a job's log that tells of it is evidence, and alone it is enough to look there.",
    limits="Three of five readings, or a line of a job's log within three minutes. Only pods with the host's network can be in each other's way: others have their own"
    " ports, and are not looked at. Who holds it is not known where the agent may not look at processes of others.",
    sources=(
        "Post-mortems of production fleets: two gangs ground each other for 707 attempts over JAX's coordinator port, one assigned a second after the other was freed",
    ),
    advice="End the holder, wait until the port is free, and let the gang start again; the hardware is well. Ports that change with the attempt avoid it.",
    find=find,
)
