"""Findings fold into one incident per cause."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sliceward.detectors.finding import Finding, Kind, State
from sliceward.playbooks.incident import EntryKind, How, Incident, Phase
from sliceward.playbooks.incidents import Near, fold, same_cause
from sliceward.playbooks.inputs import inputs
from sliceward.playbooks.load import Book, load_book
from sliceward.playbooks.shipped import shipped
from sliceward.playbooks.sufferers import overlap
from sliceward.remediations.catalog import ACTIONS
from sliceward.topology.ids import ClusterId, CubeId, GangId, HostId, LinkId, PartId, PodId, SliceId, hosts_of
from tests.builders import NOW, FleetBuilder, a_fleet, gang_id
from tests.playbooks.stage import ENFORCED, Stage, a_finding, chip, inner_link, outer_link, seconds, two_gangs

if TYPE_CHECKING:
    from collections.abc import Sequence

FLEET = two_gangs().build()
IDLE = replace(FLEET, gangs={})
HOST = HostId("c1", "cube-0-host-00")
LINK = inner_link()


def folded(*findings: Finding, before: Sequence[Incident] = (), later: float = 0) -> tuple[Incident, ...]:
    return fold(before, findings, FLEET, ENFORCED, NOW + seconds(later)).incidents


ANYWHERE: list[PartId] = [
    HOST,
    HostId("c1", "cube-0-host-01"),
    HostId("c1", "cube-1-host-00"),
    HostId("c1", "of-no-fleet"),
    chip("cube-0-host-00"),
    chip("cube-0-host-00", 1),
    LINK,
    outer_link(),
    CubeId("c1", "cube-0"),
    CubeId("c1", "of-no-fleet"),
    gang_id("vision"),
    gang_id("llm"),
    SliceId("c1", "of-no-fleet"),
    ClusterId("c1"),
    PodId("c1", "pod-0"),
]


@given(
    parts=st.lists(st.sampled_from(ANYWHERE), min_size=2, max_size=6),
    kinds=st.lists(st.sampled_from(list(Kind)), min_size=6, max_size=6),
    also=st.lists(st.sampled_from(ANYWHERE), max_size=2),
)
def test_whoever_shares_a_cause_is_near(parts: list[PartId], kinds: list[Kind], also: list[PartId]) -> None:
    findings = [a_finding(kind, part) for kind, part in zip(kinds, parts, strict=False)]
    findings[0] = replace(findings[0], also=tuple(also))
    for fleet in (FLEET, IDLE):
        for one, other in itertools.permutations(findings, 2):
            for incident in fold((), [one], fleet, ENFORCED, NOW).incidents:
                shares = same_cause(incident, other, fleet, ENFORCED)
                assert not shares or Near(fleet, [incident]).places(other) == [0]


def test_a_crowd_of_strangers_is_compared_with_nobody() -> None:
    crowd = tuple(
        incident for number in range(16) for incident in folded(a_finding(Kind.HOST_LOST, HostId("c1", f"strange-{number}")))
    )
    near = Near(FLEET, crowd)
    assert [near.places(incident.root) for incident in crowd] == [[place] for place in range(16)]
    near.note(3, crowd[5])
    assert near.places(crowd[3].root) == []
    assert near.places(crowd[5].root) == [3, 5]


def test_an_incident_that_keeps_hosts_out_of_service_is_not_told_elsewhere() -> None:
    (old,) = folded(a_finding(Kind.COLLECTIVE_STUCK, gang_id("vision")))
    (young,) = folded(a_finding(Kind.ICI_LINK_DOWN, LINK), later=60)
    old, young = replace(old, gang=gang_id("llm")), replace(young, opened=NOW + seconds(60), phase=Phase.HANDED_OVER)
    findings = (*old.findings, *young.findings)
    free = fold((old, young), findings, FLEET, ENFORCED, NOW + seconds(90)).incidents
    assert [one.how for one in free if one.id == young.id] == [How.FOLDED]
    marked = two_gangs().marked(young.id, "cube-0-host-00").build()
    kept = fold((old, young), findings, marked, ENFORCED, NOW + seconds(90)).incidents
    assert all(one.open for one in kept)


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        (HOST, chip("cube-0-host-00", 3), True),
        (HOST, LINK, True),
        (HOST, outer_link(), True),
        (HOST, HostId("c1", "cube-0-host-01"), False),
        (chip("cube-0-host-00"), chip("cube-0-host-00", 1), True),
        (chip("cube-0-host-00"), chip("cube-0-host-01"), False),
        (chip("cube-0-host-00"), LINK, True),
        (chip("cube-0-host-00", 3), LINK, False),
        (LINK, LinkId.between(chip("cube-0-host-00", 1), chip("cube-0-host-00", 3)), True),
        (LINK, outer_link(), False),
        (LINK, inner_link("cube-1"), False),
        (CubeId("c1", "cube-0"), HOST, True),
        (CubeId("c1", "cube-0"), LINK, True),
        (CubeId("c1", "cube-0"), outer_link(), False),
        (CubeId("c1", "cube-0"), HostId("c1", "cube-1-host-00"), False),
        (CubeId("c1", "cube-0"), CubeId("c1", "cube-1"), False),
        (PodId("c1", "c1-block-0"), HOST, False),
    ],
    ids=str,
)
def test_parts_belong_together_by_containment(one: PartId, other: PartId, together: bool) -> None:  # noqa: FBT001 (a table)
    assert overlap(FLEET, one, other) is together
    assert overlap(FLEET, other, one) is together
    first, second = a_finding(Kind.HOST_LOST, one), a_finding(Kind.CHIP_LOST, other)
    assert len(folded(first, second)) == (1 if together else 2)


def test_a_part_that_explains_others_away_tells_of_them() -> None:
    far = chip("cube-1-host-09")
    (incident,) = folded(a_finding(Kind.HOST_LOST, HOST, also=(far,)), a_finding(Kind.CHIP_LOST, far))
    assert incident.part == HOST


@pytest.mark.parametrize("symptom", [Kind.COLLECTIVE_STUCK, Kind.SLICE_ERROR, Kind.SLICE_MIXED])
@pytest.mark.parametrize("order", [1, -1], ids=["hardware first", "symptom first"])
def test_a_symptom_and_the_hardware_of_its_gang_are_one_incident_rooted_in_the_hardware(symptom: Kind, order: int) -> None:
    hardware = a_finding(Kind.ICI_LINK_DOWN, LINK, since=NOW + seconds(5))
    effect = a_finding(symptom, gang_id("llm"), since=NOW)
    first, second = (hardware, effect)[::order]
    before = folded(first)
    (incident,) = folded(first, second, before=before, later=1)
    assert (incident.id, incident.part) == (before[0].id, LINK)
    assert {finding.kind for finding in incident.findings} == {Kind.ICI_LINK_DOWN, symptom}
    assert incident.gang == gang_id("llm")
    assert len(incident.domain) == 16


def test_a_symptom_on_a_slice_finds_the_gang_by_its_slice() -> None:
    name = next(s.id for s in FLEET.slices.values() if s.gang == gang_id("llm"))
    (incident,) = folded(a_finding(Kind.SLICE_ERROR, name), a_finding(Kind.CHIP_LOST, chip("cube-0-host-00")))
    assert incident.kind is Kind.CHIP_LOST
    (alone,) = folded(a_finding(Kind.SLICE_ERROR, name))
    assert alone.slice == name
    assert folded(a_finding(Kind.SLICE_ERROR, SliceId("c1", "unknown")))[0].gang is None


def test_a_symptom_of_another_gang_is_another_incident() -> None:
    assert len(folded(a_finding(Kind.ICI_LINK_DOWN, LINK), a_finding(Kind.COLLECTIVE_STUCK, gang_id("vision")))) == 2


def test_two_hardware_faults_of_one_gang_in_two_cubes_are_two_causes() -> None:
    both = folded(a_finding(Kind.ICI_LINK_DOWN, LINK), a_finding(Kind.CHIP_LOST, chip("cube-1-host-00")))
    assert len(both) == 2
    assert {incident.gang for incident in both} == {gang_id("llm")}


def test_a_kind_that_the_playbook_absorbs_is_told_with_the_gang() -> None:
    text = shipped()["host-or-chip-lost.yaml"].replace("settle: 10s", "settle: 10s\n    absorb: [ChipThrottled]")
    book = load_book({"a": text}, ACTIONS)
    findings = [a_finding(Kind.HOST_LOST, HOST), a_finding(Kind.CHIP_THROTTLED, chip("cube-1-host-00"), since=NOW + seconds(1))]
    assert len(fold((), findings, FLEET, book, NOW).incidents) == 1
    assert len(fold((), findings, FLEET, ENFORCED, NOW).incidents) == 2


def test_the_root_is_the_earliest_hardware_evidence_and_never_lost_telemetry() -> None:
    blind = a_finding(Kind.TELEMETRY_LOST, HOST, since=NOW - seconds(60))
    late = a_finding(Kind.CHIP_LOST, chip("cube-0-host-00"), since=NOW)
    early = a_finding(Kind.ICI_LINK_DOWN, LINK, since=NOW - seconds(9))
    for order in itertools.permutations((blind, late, early)):
        (incident,) = folded(*order)
        assert incident.kind is Kind.ICI_LINK_DOWN


def test_a_root_stays_while_a_run_acts_and_changes_when_it_was_handed_over() -> None:
    (incident,) = folded(a_finding(Kind.CHIP_LOST, chip("cube-0-host-00")))
    earlier = a_finding(Kind.HOST_LOST, HOST, since=NOW - seconds(60))
    findings = (incident.root, earlier)
    acting = replace(incident, run="r", phase=Phase.ACTING)
    assert folded(*findings, before=[acting])[0].kind is Kind.CHIP_LOST
    handed = replace(incident, run="r", phase=Phase.HANDED_OVER)
    assert folded(*findings, before=[handed])[0].kind is Kind.HOST_LOST


def test_a_gang_that_was_moved_away_is_no_longer_told_by_the_old_incident() -> None:
    (incident,) = folded(a_finding(Kind.ICI_LINK_DOWN, LINK))
    repairing = replace(incident, run="r", phase=Phase.REPAIRING)
    stuck = a_finding(Kind.COLLECTIVE_STUCK, gang_id("llm"))
    assert len(folded(incident.root, stuck, before=[repairing])) == 2


def test_a_finding_that_joins_two_incidents_folds_the_younger_away() -> None:
    one = a_finding(Kind.ICI_LINK_DOWN, LINK)
    two = a_finding(Kind.ICI_LINK_DOWN, LinkId.between(chip("cube-0-host-00", 2), chip("cube-0-host-01", 3)), since=NOW)
    before = folded(one, two)
    assert len(before) == 2
    result = fold(before, (one, two, a_finding(Kind.HOST_LOST, HOST, since=NOW - seconds(5))), FLEET, ENFORCED, NOW)
    (kept,) = (i for i in result.incidents if i.open)
    (gone,) = (i for i in result.incidents if not i.open)
    assert (gone.how, gone.folded_into) == (How.FOLDED, kept.id)
    assert len(kept.findings) == 3
    assert any(entry.incident == gone.id and entry.kind is EntryKind.CLOSED for entry in result.entries)


def test_settling_counts_from_arrival_and_follows_the_root() -> None:
    old = a_finding(Kind.TELEMETRY_LOST, HOST, since=NOW - seconds(3600))
    (incident,) = folded(old)
    assert incident.settles == NOW + seconds(300)
    (worse,) = folded(old, a_finding(Kind.HOST_LOST, HOST), before=[incident], later=20)
    assert worse.settles == NOW + seconds(10)
    (unnamed,) = fold((), [old], FLEET, Book(), NOW).incidents
    assert unnamed.settles == NOW + seconds(10)


def test_only_what_fires_opens_an_incident() -> None:
    assert folded(a_finding(Kind.HOST_LOST, HOST, state=State.UNKNOWN)) == ()
    assert folded(a_finding(Kind.HOST_LOST, HOST, state=State.RESOLVED)) == ()


def test_a_finding_that_is_gone_is_unknown_and_not_resolved() -> None:
    before = folded(a_finding(Kind.HOST_LOST, HOST))
    (incident,) = folded(before=before, later=5)
    assert incident.root.state is State.UNKNOWN


def test_a_closed_incident_is_left_alone() -> None:
    (incident,) = folded(a_finding(Kind.HOST_LOST, HOST))
    closed = replace(incident, closed=NOW)
    assert folded(before=[closed]) == ()


def test_what_did_not_change_in_substance_is_not_saved_again() -> None:
    finding = a_finding(Kind.HOST_LOST, HOST)
    before = folded(finding)
    again = replace(finding, seen=NOW + seconds(10), score=0.96)
    result = fold(before, [again], FLEET, ENFORCED, NOW + seconds(10))
    assert result.changed == frozenset()
    assert result.entries == ()
    assert result.incidents[0].root.seen == NOW + seconds(10)


def test_each_finding_is_told_once_and_the_place_when_it_changes() -> None:
    result = fold((), [a_finding(Kind.HOST_LOST, HOST)], FLEET, ENFORCED, NOW)
    assert [entry.kind for entry in result.entries] == [EntryKind.SEEN, EntryKind.LOCATED]
    assert "16 hosts" in result.entries[1].text
    assert result.entries[1].facts["gang"] == str(gang_id("llm"))


def test_a_finding_about_a_whole_cluster_has_an_incident_there() -> None:
    (incident,) = folded(a_finding(Kind.TELEMETRY_LOST, ClusterId("c1")))
    assert (incident.cluster, incident.domain, incident.gang) == ("c1", (), None)


@pytest.mark.parametrize(
    ("fleet", "gang"),
    [
        (a_fleet().with_gang("llm").on("cube-0"), gang_id("llm")),
        (a_fleet().with_gang("llm").on("cube-0").suspended("llm"), None),
        (a_fleet().with_gang("llm").on("cube-1"), None),
        (a_fleet(), None),
    ],
    ids=["running", "suspended by somebody", "elsewhere", "none"],
)
def test_who_is_hurt_is_the_gang_that_runs_in_the_domain(fleet: FleetBuilder, gang: GangId | None) -> None:
    (incident,) = fold((), [a_finding(Kind.CHIP_LOST, chip("cube-0-host-05"))], fleet.build(), ENFORCED, NOW).incidents
    assert incident.gang == gang


PARTS = [
    HOST,
    LINK,
    outer_link(),
    *(chip(f"cube-{c}-host-{h:02}", n) for c in (0, 1) for h in (0, 1) for n in (0, 1)),
    gang_id("llm"),
]
FINDINGS = st.builds(
    lambda kind, part, since, state: a_finding(kind, part, since=NOW + seconds(since), state=state),
    st.sampled_from(Kind),
    st.sampled_from(PARTS),
    st.integers(-100, 100),
    st.sampled_from([State.FIRING, State.FIRING, State.UNKNOWN, State.RESOLVED]),
)


@given(st.lists(FINDINGS, max_size=10))
def test_every_firing_finding_is_in_exactly_one_open_incident_whatever_the_order(findings: list[Finding]) -> None:
    unique = {finding.id: finding for finding in findings}
    incidents = folded(*unique.values())
    told = [finding.id for incident in incidents if incident.open for finding in incident.findings]
    assert sorted(told) == sorted(key for key, finding in unique.items() if finding.state is State.FIRING)
    assert len({incident.id for incident in incidents}) == len(incidents)
    again = fold(incidents, unique.values(), FLEET, ENFORCED, NOW + seconds(1))
    assert again.changed == frozenset(), "folding the same again changes nothing"
    reverse = folded(*reversed(unique.values()))
    assert {frozenset(f.id for f in i.findings) for i in reverse if i.open} == {
        frozenset(f.id for f in i.findings) for i in incidents if i.open
    }


@pytest.mark.parametrize(
    ("link", "label", "hosts"),
    [
        (LINK, "true", 0),
        (LINK, "false", 16),
        (LINK, None, 16),
        (LinkId.between(chip("cube-0-host-00", 0), chip("cube-0-host-05", 3)), "false", 16),
        (LinkId.between(chip("cube-0-host-00", 0), chip("cube-0-host-05", 3)), None, 0),
        (outer_link(), "false", 0),
        (LinkId.between(chip("cube-0-host-00"), chip("unheard-of")), "false", 0),
    ],
)
def test_who_saw_where_the_chips_are_is_believed_before_labels_of_nodes(link: LinkId, label: str | None, hosts: int) -> None:
    labels = {} if label is None else {"between-cubes": label}
    finding = a_finding(Kind.ICI_LINK_DOWN, link, labels=labels)
    (incident,) = folded(finding)
    assert len(incident.domain) == hosts
    world = Stage().see(finding).world()
    assert inputs(incident, finding, world, NOW)["finding.betweenCubes"] == (hosts == 0)


def test_parts_without_hosts_sit_on_none() -> None:
    assert hosts_of(gang_id("llm")) == ()
    assert hosts_of(LINK) == (HOST,)


def test_two_sources_of_one_fault_fold_and_a_second_incident_of_one_instant_has_its_own_id() -> None:
    watched, alerted = a_finding(Kind.HOST_LOST, HOST), a_finding(Kind.HOST_LOST, HOST, source="alert/am")
    (incident,) = folded(watched, alerted)
    assert len(incident.findings) == 2
    acting = replace(
        folded(watched)[0], run="r", phase=Phase.ACTING, findings=(a_finding(Kind.CHIP_LOST, chip("cube-2-host-00")),)
    )
    again = folded(acting.root, watched, before=[acting])
    assert len({one.id for one in again}) == 2


def test_a_slice_that_the_finding_names_is_the_one_that_is_hurt() -> None:
    name = next(s.id for s in FLEET.slices.values() if s.gang == gang_id("llm"))
    (incident,) = folded(a_finding(Kind.CHIP_LOST, chip("cube-0-host-00"), slice=name))
    assert incident.slice == name
