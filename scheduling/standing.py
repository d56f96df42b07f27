"""What a fleet says of each host: how it stands, and what closes it.

Only what is surely Ready, in service and in a whole cube that Google does not call sick is healthy. Who marked it says which it is:
what we or Google took out of service is sick, what people cordoned or tainted is closed until they open it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sliceward.scheduling.occupancy import PLAIN, Bar, Cause, Grade, Standing, Window
from sliceward.topology.generations import GENERATIONS, text_of
from sliceward.topology.health import Health

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sliceward.topology.fleet import Cube, Fleet, Host
    from sliceward.topology.ids import HostId
    from sliceward.topology.names import Names

MAINTENANCE = timedelta(hours=4)
"""How long announced maintenance is taken to last: Google announces when it begins and not when it ends."""

_LATEST = 32_503_680_000
"""The year 3000 in seconds since 1970: a later time on a label is a mistake."""


def standings_of(fleet: Fleet, names: Names, risks: Mapping[HostId, float]) -> dict[HostId, Standing]:
    """Give what is known of the hosts that are not plainly healthy. ``risks``: failures expected per day."""
    found: dict[HostId, Standing] = {}
    for cube in fleet.cubes.values():
        told = _of_cube(cube, names)
        if told is not None:
            meant = [host for host in cube.hosts if not _is_in_a_healthy_part(fleet.hosts[host], names)]
            found.update(dict.fromkeys(meant or cube.hosts, told))
    for host_id, host in fleet.hosts.items():
        known = _of_host(host, found.get(host_id), names, risks.get(host_id, 0.0))
        if known is not None:
            found[host_id] = known
    return found


def bars_of(fleet: Fleet) -> dict[HostId, Bar]:
    """Give what closes hosts to everybody: cordons and taints of others, pods of nobody that we know, a second gang."""
    found: dict[HostId, Bar] = {}
    found.update((at, Bar(Cause.HELD, f"held by {gangs[1].name}")) for at, gangs in fleet.gangs_on.items() if len(gangs) > 1)
    found.update((at, Bar(Cause.HELD, f"held by pod {pods[0]}")) for at, pods in fleet.strangers.items() if pods)
    for host_id, host in fleet.hosts.items():
        if host.cordoned:
            found[host_id] = Bar(Cause.RESERVED, "cordoned")
        elif host.marks:
            away = next((mark for mark in host.marks if mark.effect in _KEEPS_OUT and not mark.ours), None)
            if away is not None:
                found[host_id] = Bar(Cause.RESERVED, f"tainted {away.key}")
    return found


_KEEPS_OUT = frozenset({"NoSchedule", "NoExecute"})


def _of_cube(cube: Cube, names: Names) -> Standing | None:
    """Say what a cube's hosts share; None: nothing."""
    if not cube.complete:
        return Standing(Grade.SICK, f"cube has {len(cube.hosts)} of {cube.expected_hosts} hosts")
    if cube.state is None or cube.state == names.healthy:
        return None
    grades = {names.degraded: Grade.DEGRADED} | dict.fromkeys((names.unhealthy, names.incomplete, names.unset), Grade.SICK)
    return Standing(grades.get(cube.state, Grade.UNKNOWN), f"cube is {cube.state} in Google's words")


def _is_in_a_healthy_part(host: Host, names: Names) -> bool:
    """Whether Google calls a smaller partition healthy in which the host lies: what ails its cube is then another part's."""
    kind = GENERATIONS.get(host.generation)
    shapes = kind.small_shapes if kind is not None else ()
    return any(host.labels.get(names.sub_partition_state.replace("{shape}", text_of(s))) == names.healthy for s in shapes)


def _of_host(host: Host, cube: Standing | None, names: Names, risk: float) -> Standing | None:
    """Say what is known of one host; None: nothing."""
    announced = host.labels.get(names.maintenance_time)
    if host.ready is Health.HEALTHY and not host.marks and not risk and announced is None:
        return None
    window = _window(announced) if announced is not None else None
    known = Standing(*_worst(host, cube), risk, window)
    return known if known != PLAIN else None


def _worst(host: Host, cube: Standing | None) -> tuple[Grade, str]:
    """Give the worst that is said of a host or its cube, and why."""
    if host.ready is Health.UNHEALTHY:
        return Grade.SICK, "not Ready"
    ours = next(iter(host.our_marks), None)
    if ours is not None:
        return Grade.SICK, f"out of service for incident {ours.value}"
    if host.ready is Health.UNKNOWN and (cube is None or cube.grade is not Grade.SICK):
        return Grade.UNKNOWN, "readiness unknown"
    return (cube.grade, cube.why) if cube is not None else (Grade.HEALTHY, "")


def _window(label: str | None) -> Window | None:
    """Read the time at which maintenance begins: seconds since 1970 (GKE's node label)."""
    if label is None or not label.isascii() or not label.isdigit() or int(label) > _LATEST:
        return None
    begins = datetime.fromtimestamp(int(label), tz=UTC)
    return Window(begins, begins + MAINTENANCE)
