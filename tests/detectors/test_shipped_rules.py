"""Each shipped rule, by name: a healthy cluster says nothing, its own fault says this rule and no other."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from importlib import resources
from typing import TYPE_CHECKING

import pytest

from sliceward.daemons.watcher.surroundings import write_readings
from sliceward.detectors.finding import Finding, State
from sliceward.detectors.panel import Panel, PanelSize
from sliceward.detectors.rules import load_rules
from sliceward.detectors.rules.load import is_rules
from sliceward.detectors.run import evaluate
from sliceward.detectors.witness import write_own
from tests.builders import a_fleet
from tests.detectors.frames import START, speakers_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.builders import FleetBuilder

HOST = "cube-0-host-00"
GRACE = 60.0
PERIOD = 10.0


def _rules() -> Mapping[str, str]:
    folder = resources.files("sliceward.detectors") / "rules"
    return {file.name: file.read_text("utf-8") for file in folder.iterdir() if is_rules(file.name)}


RULES = load_rules(_rules())


def _cluster() -> FleetBuilder:
    return a_fleet().with_cubes(1).with_gang("llm").on("cube-0")


@dataclass(frozen=True)
class Fault:
    """What turns a healthy host into one that the rule is for. ``well``: readings before; ``sick``: after."""

    well: Mapping[str, float] = field(default_factory=dict)
    sick: Mapping[str, float] = field(default_factory=dict)
    everywhere: bool = False
    silent: bool = False
    boot_id: str | None = None
    fleet: FleetBuilder = field(default_factory=_cluster)
    rounds: int = 9


FAULTS: Mapping[str, Fault] = {
    "chip-missing": Fault(sick={"chip_present": 0}),
    "chip-unscraped": Fault(sick={"chip_scraped": 0}),
    "hbm-uncorrectable": Fault({"chip_hbm_uncorrectable_total": 3}, {"chip_hbm_uncorrectable_total": 4}),
    "memory-errors-chip": Fault({"chip_hbm_correctable_total": 5}, {"chip_hbm_correctable_total": 15}),
    "chip-throttled": Fault(sick={"chip_throttle_score": 2}),
    "pcie-aer-storm": Fault({"chip_pcie_aer_nonfatal_total": 1}, {"chip_pcie_aer_nonfatal_total": 2}),
    "device-occupied": Fault({"chip_foreign_holder": 0}, {"chip_foreign_holder": 1}),
    "host-lost": Fault(silent=True, fleet=_cluster().not_ready(HOST)),
    "telemetry-lost": Fault(silent=True),
    "provider-disagrees": Fault(fleet=_cluster().tainted("node.cloudprovider.kubernetes.io/shutdown", HOST), rounds=66),
    "identity-missing": Fault(boot_id=""),
    "agent-unwell": Fault({"host_source_age_host_seconds": 0}, {"host_source_age_host_seconds": 300}),
    "host-dying": Fault({"host_disk_free_percent": 40}, {"host_disk_free_percent": 1}),
    "memory-errors-host": Fault({"host_edac_correctable_total": 0}, {"host_edac_correctable_total": 100}),
    "collective-stuck": Fault(
        {"host_step": 5, "host_step_age_seconds": 0, "chip_duty_cycle_percent": 99},
        {"host_step_age_seconds": 900},
        everywhere=True,
        rounds=95,  # a little over 15 minutes without a step
    ),
    "input-starved": Fault(
        {"host_step": 5, "host_step_age_seconds": 0, "chip_duty_cycle_percent": 0, "host_hlo_queue_size": 0},
        {"host_step_age_seconds": 900},
        everywhere=True,
        rounds=95,
    ),
    "slice-error": Fault({"host_slice_error": 0}, {"host_slice_error": 1}),
    "partition-unhealthy": Fault(fleet=_cluster().partition_state("cube-0", "UNHEALTHY")),
    "ici-link-down": Fault(sick={"link_health": 10}),
    "ici-link-degraded": Fault(sick={"link_health": 6}),
}  # fmt: skip


AGES = ("host", "kernel_log", "holders", "selftest")


def detectors_that_fire(fault: Fault, *, sick: bool) -> set[str]:
    fleet = (fault.fleet if sick else _cluster()).build()
    panel, speakers, now = Panel("c1", PanelSize(PERIOD, 120), track=("host_step",)), speakers_of(fleet), START
    panel.advance(now)
    panel.expect(speakers)
    for speaker in speakers.values():
        speaker.readings |= fault.well
    found: tuple[Finding, ...] = ()
    for n in range(3 + fault.rounds):
        if sick and n == 3:
            for name, speaker in speakers.items():
                if fault.everywhere or name == HOST:
                    speaker.readings |= fault.sick
                    speaker.boot_id = speaker.boot_id if fault.boot_id is None else fault.boot_id
        now += PERIOD
        panel.advance(now)
        for name, speaker in speakers.items():
            if not (sick and fault.silent and name == HOST and n >= 3):
                panel.put(speaker.say(now), now)
        write_readings(panel, fleet)
        write_own(panel, fleet, grace=GRACE)
        found = evaluate(panel, RULES, fleet, grace=timedelta(seconds=GRACE), previous=found)
    return {finding.detector for finding in found if finding.state is State.FIRING}


def test_each_shipped_rule_is_tried_here() -> None:
    assert set(FAULTS) == {rule.name for rule in RULES} - {"identity-conflict"}  # two speakers: test_run.py


@pytest.mark.parametrize("name", FAULTS)
def test_a_shipped_rule_fires_for_its_own_fault_alone(name: str) -> None:
    assert detectors_that_fire(FAULTS[name], sick=True) == {name}


@pytest.mark.parametrize("source", AGES)
def test_a_source_of_the_host_that_is_not_read_any_more_is_told(source: str) -> None:
    age = f"host_source_age_{source}_seconds"
    a_while, long_ago = (70, 300) if source == "selftest" else (30, 120)
    assert detectors_that_fire(Fault({age: 0}, {age: a_while}), sick=True) == set()
    assert detectors_that_fire(Fault({age: 0}, {age: long_ago}), sick=True) == {"agent-unwell"}


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.well and fault.rounds < 20])
def test_the_readings_before_the_fault_are_no_fault(name: str) -> None:
    assert detectors_that_fire(FAULTS[name], sick=False) == set()
