"""What one finding may explain away of another: the same fault seen twice, never another fault of the same part."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from sliceward.detectors.finding import Finding, Kind, State
from sliceward.detectors.rules import load_rules
from sliceward.detectors.run import evaluate
from sliceward.topology.health import Severity
from sliceward.topology.ids import ChipId, HostId
from sliceward.topology.links import links_of_chip
from tests.builders import NOW, a_fleet
from tests.detectors.scene import FLEET, GRACE, H0, H1, RULES, Scene

if TYPE_CHECKING:
    from sliceward.topology.fleet import Fleet

HOT = {
    "name": "link-hot", "kind": "IciLinkDegraded", "part": "link", "severity": "error", "says": "hot",
    "when": {"threshold": {"metric": "chip_throttle_score", "op": ">=", "value": 9}},
}  # fmt: skip
MEMORY, CHIP = f"MemoryErrorsRising c1/host/{H0}", ChipId("c1", H0, 3)


def with_condition(fleet: Fleet, name: str) -> Fleet:
    host = HostId("c1", H0)
    shown = fleet.hosts[host]
    return replace(fleet, hosts={**fleet.hosts, host: replace(shown, conditions={**shown.conditions, name: "True"})})


def errors_of_memory() -> Scene:
    scene = Scene()
    scene[H0].readings["host_edac_uncorrectable_total"] = 0
    scene.go(3)
    scene[H0].readings["host_edac_uncorrectable_total"] = 5
    assert set(scene.go(3).of()) == {MEMORY}
    return scene


def test_a_sick_host_is_not_explained_by_an_error_of_its_slice() -> None:
    scene = errors_of_memory()
    scene.silent.add(H0)
    scene.go(8)
    scene.fleet = with_condition(FLEET, "SliceErrorDetected")
    scene.go(3)
    assert "SliceError" in {finding.kind for finding in scene.of().values()}
    assert MEMORY in scene.of(State.UNKNOWN)


def test_what_was_said_of_a_host_that_fell_silent_is_unknown_and_never_over() -> None:
    """Its chips' links are down for their peers, but of the other faults of the host nobody says anything."""
    scene = errors_of_memory()
    scene[H0].chip("chip_hbm_uncorrectable_total", 3, 1)
    scene.go(2)
    scene.fleet = a_fleet().with_cubes(2).with_gang("llm", slices=2).on("cube-0", "cube-1").not_ready(H0).build()
    scene.silent.add(H0)
    scene.go(12)
    assert {finding.kind for finding in scene.of().values()} == {Kind.HOST_LOST}
    assert set(scene.of(State.UNKNOWN)) == {MEMORY, f"HbmUncorrectable {CHIP}"}
    assert scene.of(State.RESOLVED) == {}


def test_a_fault_of_one_chip_is_not_explained_by_another_fault_of_all_chips() -> None:
    scene = Scene()
    scene[H0].chip("chip_hbm_uncorrectable_total", 3, 0)
    scene.go(2)
    scene[H0].chip("chip_hbm_uncorrectable_total", 3, 1)
    assert f"HbmUncorrectable {CHIP}" in scene.go(2).of()
    scene[H0].readings["chip_present"] = 0
    scene[H0].readings["chip_hbm_uncorrectable_total"] = float("nan")
    scene.go(80)
    assert f"ChipLost c1/host/{H0}" in scene.of()
    assert f"HbmUncorrectable {CHIP}" in scene.of(State.UNKNOWN)


def down(scene: Scene, chip: ChipId) -> None:
    for link in links_of_chip(FLEET, chip):
        scene.sick_link(link)


def test_a_lost_chip_explains_its_links_however_sick_they_were_called() -> None:
    scene = Scene()
    link = next(link for link in links_of_chip(FLEET, CHIP) if {end.host for end in link.ends} == {H0, H1})
    scene.sick_link(link, 7)
    assert set(scene.go(6).of()) == {f"IciLinkDegraded {link}"}
    down(scene, CHIP)
    scene[H0].chip("chip_present", 3, 0)
    scene.go(6)
    assert set(scene.of()) == {f"ChipLost {CHIP}"}
    assert all("explained by ChipLost" in finding.text for finding in scene.of(State.RESOLVED).values())


def test_a_link_of_which_its_own_rule_knows_nothing_stays_unknown_under_a_sick_chip() -> None:
    (hot,) = load_rules({"hot.yaml": json.dumps(HOT)})
    link = links_of_chip(FLEET, CHIP)[0]
    scene = Scene()
    for speaker in scene.speakers.values():
        del speaker.readings["chip_throttle_score"]
    down(scene, CHIP)
    scene.go(6)
    told = Finding(Kind.ICI_LINK_DEGRADED, link, State.FIRING, Severity.ERROR, NOW, NOW, 0.9, hot.name, "1", "hot")
    found = evaluate(scene.panel, (*RULES, hot), FLEET, grace=GRACE, previous=(told,))
    assert {(f.kind, f.part): f.state for f in found} == {
        (Kind.ICI_LINK_DOWN, CHIP): State.FIRING, (Kind.ICI_LINK_DEGRADED, link): State.UNKNOWN,
    }  # fmt: skip


def test_a_chip_called_sick_by_its_links_explains_a_link_that_was_called_worse_or_better() -> None:
    scene = Scene()
    link = links_of_chip(FLEET, CHIP)[0]
    scene.sick_link(link, 7)
    assert set(scene.go(6).of()) == {f"IciLinkDegraded {link}"}
    down(scene, CHIP)
    scene.go(6)
    (found,) = scene.of().values()
    assert (found.kind, found.part) == (Kind.ICI_LINK_DOWN, CHIP)
    over: dict[str, Finding] = scene.of(State.RESOLVED)
    assert "explained by IciLinkDown" in over[f"IciLinkDegraded {link}"].text
