"""The fleet as it is shown: healthy only where that is known, sick where it is said, unknown else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from sliceward.daemons.coordinator import views
from sliceward.daemons.coordinator.views import Sight
from sliceward.detectors.finding import Finding, Kind, State
from sliceward.playbooks.incident import Incident
from sliceward.scheduling.quota import Quota
from sliceward.topology import links
from sliceward.topology.health import Health, Severity
from sliceward.topology.ids import ChipId, CubeId, HostId, LinkId
from tests.builders import a_fleet

if TYPE_CHECKING:
    from sliceward.daemons.coordinator.views import Row
    from sliceward.topology.ids import PartId

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
BUILDER = (
    a_fleet()
    .with_cubes(4)
    .with_gang("train", slices=2)
    .on("cube-0", "cube-1")
    .with_gang("one", slices=1, topology="4x4x8")
    .on("cube-2", "cube-3")
)
FLEET = BUILDER.build(NOW)
HOST = HostId("c1", "cube-0-host-03")
CHIP = ChipId("c1", HOST.name, 1)


def a_finding(part: PartId, kind: Kind = Kind.ICI_LINK_DEGRADED, state: State = State.FIRING) -> Finding:
    return Finding(kind, part, state, Severity.ERROR, NOW, NOW, 1.0, "rule/x", "1", "text")


def a_sight(*findings: Finding, **more: object) -> Sight:
    sight = Sight("c1", FLEET, timedelta(0), reachable=True, telemetry=True, findings=findings)
    return replace(sight, **more)  # type: ignore[arg-type]  # fields of a Sight


def rows(kind: str, sight: Sight) -> list[Row]:
    return [draw() for _, draw in views.SKETCHES[kind](sight)]


def chip(sight: Sight, of: ChipId = CHIP) -> Health:
    assert sight.fleet is not None
    return views.chip_health(sight, sight.fleet.hosts[of.host_id], of)


HEALTH = {
    "nothing said": (a_sight(), Health.HEALTHY),
    "chip lost": (a_sight(a_finding(CHIP, Kind.CHIP_LOST)), Health.UNHEALTHY),
    "chip perhaps lost": (a_sight(a_finding(CHIP, Kind.CHIP_LOST, State.UNKNOWN)), Health.UNKNOWN),
    "chip was lost": (a_sight(a_finding(CHIP, Kind.CHIP_LOST, State.RESOLVED)), Health.HEALTHY),
    "host lost": (a_sight(a_finding(HOST, Kind.HOST_LOST)), Health.UNKNOWN),
    "no telemetry of the host": (a_sight(a_finding(HOST, Kind.TELEMETRY_LOST)), Health.UNKNOWN),
    "host occupied": (a_sight(a_finding(HOST, Kind.DEVICE_OCCUPIED)), Health.HEALTHY),
    "no watcher": (a_sight(telemetry=False), Health.UNKNOWN),
    "no API server": (a_sight(reachable=False), Health.UNKNOWN),
    "no watcher but known sick": (a_sight(a_finding(CHIP, Kind.CHIP_LOST), telemetry=False), Health.UNHEALTHY),
}


@pytest.mark.parametrize("name", HEALTH)
def test_health_of_a_chip(name: str) -> None:
    sight, wanted = HEALTH[name]
    assert chip(sight) is wanted


def test_a_host_that_is_not_ready_tells_nothing_about_its_chips() -> None:
    sight = a_sight(fleet=BUILDER.not_ready(HOST.name).build(NOW))
    assert chip(sight) is Health.UNKNOWN


def test_a_link_inside_a_cube_makes_the_cube_sick_and_its_chips_not() -> None:
    link = links.link_at(FLEET, CHIP, 1)
    assert link is not None
    sight = a_sight(a_finding(link))
    cube = views.cube_row(sight, FLEET.cubes[CubeId("c1", "cube-0")])
    assert cube["health"] == "unhealthy"
    assert {one["health"] for one in cube["chips"]} == {"healthy"}
    (row,) = views.link_rows(sight)
    assert (row["id"], row["between_cubes"], row["state"]) == (str(link), False, "firing")


def test_a_link_between_cubes_makes_no_cube_sick_and_is_said_to_be_between() -> None:
    two = CubeId("c1", "cube-2")
    between = next(link for link in links.links_of(FLEET, two) if len(FLEET.cubes_of(link)) > 1)
    sight = a_sight(a_finding(between))
    assert views.link_rows(sight)[0]["between_cubes"] is True
    assert {row["health"] for row in rows("cubes", sight)} == {"healthy"}


def test_a_link_of_hosts_that_nobody_knows_is_still_shown() -> None:
    link = LinkId.between(ChipId("c1", "x", 0), ChipId("c1", "y", 0))
    assert views.link_rows(a_sight(a_finding(link)))[0]["id"] == str(link)


def test_marks_cordons_and_the_incident_stand_at_their_host() -> None:
    fleet = BUILDER.marked("inc-1", HOST.name).cordoned("cube-0-host-04").build(NOW)
    hosts = {row["name"]: row for row in rows("hosts", a_sight(fleet=fleet))}
    assert (hosts[HOST.name]["in_service"], hosts[HOST.name]["incident"]) == (False, "inc-1")
    assert hosts[HOST.name]["marks"] == [
        {"key": "sliceward.dev/out-of-service", "value": "inc-1", "effect": "NoSchedule", "ours": True}
    ]
    assert (hosts["cube-0-host-04"]["in_service"], hosts["cube-0-host-04"]["cordoned"]) == (False, True)


def test_only_a_whole_healthy_cube_in_service_without_a_gang_is_a_spare() -> None:
    builder = a_fleet().with_cubes(3).with_gang("train", slices=1).on("cube-0")
    for fleet, wanted in (
        (builder, ["cube-1", "cube-2"]),
        (builder.cordoned("cube-1-host-00"), ["cube-2"]),
        (builder.marked("inc-1", "cube-1-host-00"), ["cube-2"]),
        (builder.not_ready("cube-1-host-00"), ["cube-2"]),
        (builder.without("cube-1-host-00"), ["cube-2"]),
    ):
        sight = a_sight(fleet=fleet.build(NOW))
        assert [row["name"] for row in rows("cubes", sight) if row["spare"]] == wanted


def test_a_gang_is_shown_slice_by_slice_with_where_its_pods_are() -> None:
    gangs = {row["name"]: row for row in rows("gangs", a_sight())}
    assert [part["cubes"] for part in gangs["train"]["slices"]] == [["c1/cube/cube-0"], ["c1/cube/cube-1"]]
    assert [part["cubes"] for part in gangs["one"]["slices"]] == [["c1/cube/cube-2", "c1/cube/cube-3"]]
    assert all(part["whole"] for row in gangs.values() for part in row["slices"])


def test_a_suspended_gang_has_its_slices_without_places() -> None:
    gang = next(row for row in rows("gangs", a_sight(fleet=BUILDER.suspended("train").build(NOW))) if row["name"] == "train")
    assert (gang["state"], [part["cubes"] for part in gang["slices"]], gang["hosts"]) == ("suspended", [[], []], 0)
    assert not any(part["whole"] for part in gang["slices"])


def test_quota_shows_what_is_held_and_what_is_allowed() -> None:
    accounts = views.quota_rows(a_sight(quota=Quota.from_mapping({"default": {"tpu7x": 300}, "idle": {"tpu7x": 64}})))
    assert {(row["tenant"], row["nominal"], row["used"]) for row in accounts} == {("default", 300, 256), ("idle", 64, 0)}


def test_a_cluster_that_was_never_read_is_shown_as_such() -> None:
    view = views.cluster_view(Sight("c1", None, None, reachable=False, telemetry=False, problem="nodes: connection refused"))
    assert (view["reachable"], view["age_seconds"], list(view["cubes"])) == (False, None, [])
    assert view["problems"][0]["why"] == "nodes: connection refused"


def test_hosts_of_an_open_incident_name_it() -> None:
    finding = a_finding(CHIP, Kind.CHIP_LOST)
    incident = Incident("inc-7", "c1", NOW, NOW, (finding,), domain=FLEET.domain_of(CHIP))
    sight = a_sight(finding, incidents=(incident,))
    assert {row["incident"] for row in rows("hosts", sight) if row["cube"] == "c1/cube/cube-0"} == {"inc-7"}
    assert {row["incident"] for row in rows("hosts", sight) if row["cube"] != "c1/cube/cube-0"} == {None}
