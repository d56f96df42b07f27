"""JobSets, Jobs and pods become gangs with members; what holds chips without a gang is a stranger."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

from sliceward.topology.gangs import Gang, GangState, ManagedBy
from sliceward.topology.names import NAMES
from tests.builders import FleetBuilder, a_fleet, gang_id, host_id

if TYPE_CHECKING:
    from sliceward.topology.fleet import Fleet

Object = dict[str, Any]
LLM = a_fleet().with_gang("llm", slices=2).on("cube-0", "cube-1")


def gang_of(fleet: Fleet, name: str = "llm", kind: str = "JobSet") -> Gang:
    return fleet.gangs[gang_id(name, kind=kind)]


def problem_names(fleet: Fleet) -> set[str]:
    return {problem.name for problem in fleet.problems}


def template(jobset: Object) -> Object:
    found: Object = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]
    return found


def test_a_running_jobset_is_a_gang_with_its_members() -> None:
    fleet = LLM.build()
    gang = gang_of(fleet)
    (role,) = gang.roles
    assert fleet.problems == ()
    assert (role.name, role.slices, role.hosts, role.chips_per_host, role.topology) == ("slice", 2, 16, 4, (4, 4, 4))
    assert (gang.state, gang.managed_by, gang.tenant, gang.generation) == ("running", "nobody", "default", "tpu7x")
    assert (gang.exclusive_key, gang.restarts, gang.max_restarts) == (NAMES.partition_id, 0, 10)
    assert (len(gang.members), gang.chips, len(gang.hosts)) == (32, 128, 32)
    member = gang.members[17]
    assert (member.role, member.slice_index, member.rank, member.host) == ("slice", 1, 1, host_id("cube-1-host-01"))
    assert (member.ready, member.terminating, member.ended) == (True, False, False)
    assert member.uid
    assert member.pod.startswith("llm-slice-1-1-")


def test_an_indexed_job_is_a_gang_of_one_slice() -> None:
    fleet = a_fleet().with_gang("one", kind="Job", priority=7).on("cube-2").build()
    gang = gang_of(fleet, "one", "Job")
    assert fleet.problems == ()
    assert [(r.name, r.slices, r.hosts, r.topology) for r in gang.roles] == [("", 1, 16, (4, 4, 4))]
    assert (len(gang.members), gang.members[3].rank, gang.exclusive_key, gang.priority) == (16, 3, None, 7)
    assert [s.name for s in gang.slices] == ["default.one"]


def test_a_job_of_a_jobset_is_no_gang_of_its_own() -> None:
    def own(job: Object) -> None:
        job["metadata"]["ownerReferences"] = [{"kind": "JobSet", "name": "llm", "controller": True}]

    fleet = a_fleet().with_gang("one", kind="Job").waiting().gang_edited("one", own).build()
    assert fleet.gangs == {}


@pytest.mark.parametrize(
    ("spec", "status", "state"),
    [
        ({"suspend": True}, {}, GangState.SUSPENDED),
        ({}, {"conditions": [{"type": "Completed", "status": "True"}]}, GangState.FINISHED),
        ({}, {"conditions": [{"type": "Failed", "status": "True"}]}, GangState.FAILED),
        ({}, {"terminalState": "Failed"}, GangState.FAILED),
        ({}, {"conditions": [{"type": "Failed", "status": "False"}]}, GangState.RUNNING),
        ({"suspend": True}, {"conditions": [{"type": "Failed", "status": "True"}]}, GangState.FAILED),
    ],
)
def test_the_state_of_a_gang_comes_from_its_owner_alone(spec: Object, status: Object, state: GangState) -> None:
    def edit(jobset: Object) -> None:
        jobset["spec"].update(spec)
        jobset["status"] = status

    assert gang_of(LLM.gang_edited("llm", edit).build()).state is state


def test_a_complete_job_has_finished() -> None:
    def edit(job: Object) -> None:
        job["status"] = {"conditions": [{"type": "Complete", "status": "True"}], "failed": 2}

    gang = gang_of(a_fleet().with_gang("one", kind="Job").on("cube-0").gang_edited("one", edit).build(), "one", "Job")
    assert (gang.state, gang.restarts, gang.max_restarts) == (GangState.FINISHED, 2, 0)


def test_a_suspended_gang_has_no_members_but_knows_what_it_needs() -> None:
    gang = gang_of(a_fleet().with_gang("llm", slices=2).waiting().build())
    assert (gang.state, gang.members, gang.chips, gang.slices) == (GangState.SUSPENDED, (), 128, ())


def test_ended_pods_hold_nothing_and_ending_ones_still_do() -> None:
    assert gang_of(LLM.suspended("llm").build()).hosts == frozenset()
    ending = gang_of(LLM.suspended("llm", pods_gone=False).build())
    assert len(ending.hosts) == 32
    assert all(member.terminating for member in ending.members)


def kueue_label(jobset: Object) -> None:
    jobset["metadata"]["labels"][NAMES.kueue_queue] = "q"


def kueue_manager(jobset: Object) -> None:
    jobset["spec"]["managedBy"] = "kueue.x-k8s.io/multikueue"


def slice_selector(jobset: Object) -> None:
    template(jobset)["spec"]["nodeSelector"][NAMES.slice] = "s"


def slice_exclusive(jobset: Object) -> None:
    jobset["metadata"]["annotations"][NAMES.exclusive_topology] = NAMES.slice


@pytest.mark.parametrize(
    ("edit", "manager"),
    [
        (kueue_label, ManagedBy.KUEUE),
        (kueue_manager, ManagedBy.KUEUE),
        (slice_selector, ManagedBy.SLICE_CONTROLLER),
        (slice_exclusive, ManagedBy.SLICE_CONTROLLER),
    ],
)
def test_whoever_manages_a_gang_is_recognised(edit: Any, manager: ManagedBy) -> None:  # noqa: ANN401 (a function of this file)
    assert gang_of(LLM.gang_edited("llm", edit).build()).managed_by is manager


def test_a_workload_that_owns_nothing_else_marks_its_gang_as_kueues() -> None:
    workload = {
        "metadata": {"name": "jobset-llm-1", "namespace": "default", "ownerReferences": [{"kind": "JobSet", "name": "llm"}]}
    }
    fleet = LLM.build(workloads=[workload, {"metadata": 3}])
    assert gang_of(fleet).managed_by is ManagedBy.KUEUE
    assert [(p.name, p.about) for p in fleet.problems] == [("MalformedObject", "c1/workload[1]")]


def test_tenant_and_placement_labels_are_read() -> None:
    def edit(jobset: Object) -> None:
        template(jobset)["spec"]["nodeSelector"][NAMES.gang] = "llm-0123456789"

    gang = gang_of(a_fleet().with_gang("llm", tenant="research", max_restarts=3).on("cube-0").gang_edited("llm", edit).build())
    assert (gang.tenant, gang.placed_by_us, gang.max_restarts) == ("research", "llm-0123456789", 3)


def test_roles_without_chips_are_no_part_of_the_gang() -> None:
    def edit(jobset: Object) -> None:
        head = {"name": "head", "template": {"spec": {"template": {"spec": {"containers": [{"name": "h"}]}}}}}
        jobset["spec"]["replicatedJobs"].append(head)

    assert [role.name for role in gang_of(LLM.gang_edited("llm", edit).build()).roles] == ["slice"]


def test_exclusive_topology_may_stand_on_the_replicated_job() -> None:
    def edit(jobset: Object) -> None:
        jobset["metadata"]["annotations"] = {}
        jobset["spec"]["replicatedJobs"][0]["template"]["metadata"] = {"annotations": {NAMES.exclusive_topology: "a/key"}}

    assert gang_of(LLM.gang_edited("llm", edit).build()).exclusive_key == "a/key"


def test_generation_and_shape_follow_from_where_the_members_sit() -> None:
    def edit(jobset: Object) -> None:
        template(jobset)["metadata"] = {}
        template(jobset)["spec"]["nodeSelector"] = {}

    running = LLM.gang_edited("llm", edit)
    gang = gang_of(running.build())
    assert (gang.generation, gang.roles[0].topology) == ("tpu7x", (4, 4, 4))
    waiting = gang_of(a_fleet().with_gang("llm").waiting().gang_edited("llm", edit).build())
    assert (waiting.generation, waiting.roles[0].topology) == (None, None)


def tolerate(jobset: Object) -> None:
    template(jobset)["spec"]["tolerations"].append({"operator": "Exists"})


def bad_shape(jobset: Object) -> None:
    template(jobset)["metadata"]["annotations"][NAMES.slice_topology] = "4x4x8"


def no_shape(jobset: Object) -> None:
    template(jobset)["metadata"]["annotations"][NAMES.slice_topology] = "huge"


def unknown_accelerator(jobset: Object) -> None:
    template(jobset)["spec"]["nodeSelector"][NAMES.accelerator] = "tpu9"


def two_accelerators(jobset: Object) -> None:
    second = {**jobset["spec"]["replicatedJobs"][0], "name": "other"}
    jobset["spec"]["replicatedJobs"].append(copy.deepcopy(second))
    other = jobset["spec"]["replicatedJobs"][1]["template"]["spec"]["template"]
    other["spec"]["nodeSelector"] = {NAMES.accelerator: "tpu-v5p-slice", NAMES.gang: "b"}
    template(jobset)["spec"]["nodeSelector"][NAMES.gang] = "a"


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (tolerate, "ToleratesEverything"),
        (bad_shape, "ContradictoryLabels"),
        (no_shape, "ContradictoryLabels"),
        (unknown_accelerator, "UnknownAccelerator"),
        (two_accelerators, "ContradictoryLabels"),
    ],
)
def test_a_gang_that_contradicts_itself_is_a_problem_and_still_a_gang(edit: Any, problem: str) -> None:  # noqa: ANN401 (as above)
    fleet = LLM.gang_edited("llm", edit).build()
    assert problem_names(fleet) == {problem}
    assert gang_of(fleet).members


def test_a_gang_that_tolerates_everything_says_so() -> None:
    assert gang_of(LLM.gang_edited("llm", tolerate).build()).roles[0].tolerates_everything


def test_a_job_without_index_on_several_hosts_is_no_gang_and_its_hosts_are_taken() -> None:
    builder = a_fleet().with_gang("odd", kind="Job").on("cube-0")
    fleet = builder.gang_edited("odd", lambda job: job["spec"].pop("completionMode")).build()
    assert fleet.gangs == {}
    assert problem_names(fleet) == {"NotIndexed", "UnknownGang"}
    assert len(fleet.strangers) == 16


def test_pods_of_nobody_take_their_hosts_and_are_told_once_an_owner() -> None:
    fleet = a_fleet().with_stranger("cube-3-host-00").with_stranger("cube-3-host-00", "second").build()
    assert fleet.strangers == {host_id("cube-3-host-00"): ("other/second", "other/stranger")}
    assert [(p.name, p.about) for p in fleet.problems] == [
        ("UnknownGang", "c1/pod/other/second"),
        ("UnknownGang", "c1/pod/other/stranger"),
    ]


def test_pods_of_a_jobset_that_is_not_listed_are_strangers_under_its_job() -> None:
    drawn = LLM.objects()
    fleet = a_fleet().with_cubes(4).build()
    assert fleet.strangers == {}
    builder = FleetBuilder(a_fleet().plan, extra_pods=drawn.pods[:16])
    found = builder.build()
    assert len(found.strangers) == 16
    assert [p.about for p in found.problems] == ["c1/Job/default/llm-slice-0"]


def test_a_pod_on_a_node_that_is_gone_keeps_its_host_and_is_told() -> None:
    fleet = LLM.without("cube-0-host-05").build()
    assert ("UnknownHost", "c1/pod/default/" + gang_of(fleet).members[5].pod) in {(p.name, p.about) for p in fleet.problems}
    assert gang_of(fleet).members[5].host == host_id("cube-0-host-05")


def test_a_member_without_rank_is_told_and_stays_a_member() -> None:
    def edit(pod: Object) -> None:
        del pod["metadata"]["labels"][NAMES.completion_index]
        del pod["metadata"]["annotations"][NAMES.completion_index]

    fleet = LLM.pod_edited("llm-slice-0-5-", edit).build()
    assert problem_names(fleet) == {"MissingIndex"}
    assert len(gang_of(fleet).members) == 32
    assert sum(m.rank is None for m in gang_of(fleet).members) == 1


def test_the_rank_may_stand_in_the_annotation_alone() -> None:
    fleet = LLM.pod_edited("llm-", lambda pod: pod["metadata"]["labels"].pop(NAMES.completion_index)).build()
    assert fleet.problems == ()


def test_a_member_without_slice_index_is_a_stranger() -> None:
    fleet = LLM.pod_edited("llm-slice-0-5-", lambda pod: pod["metadata"]["labels"].pop(NAMES.job_index)).build()
    assert problem_names(fleet) == {"MissingLabel", "UnknownGang"}
    assert list(fleet.strangers) == [host_id("cube-0-host-05")]


def test_a_pod_that_cannot_be_read_still_takes_its_host() -> None:
    def edit(pod: Object) -> None:
        pod["metadata"]["labels"] = ["not", "a", "mapping"]

    fleet = LLM.pod_edited("llm-slice-0-5-", edit).build()
    assert problem_names(fleet) == {"MalformedObject", "UnknownGang"}
    assert list(fleet.strangers) == [host_id("cube-0-host-05")]


@pytest.mark.parametrize("spec", [None, {}, {"nodeName": 3}, {"nodeName": "-bad-"}])
def test_a_pod_that_cannot_be_read_and_names_no_host_is_only_a_problem(spec: Any) -> None:  # noqa: ANN401 (any JSON)
    pod = {"metadata": 7, "spec": spec}
    if spec is not None:
        pod["spec"] = {**spec, "containers": [{"resources": {"limits": {"google.com/tpu": "4"}}}]}
    fleet = FleetBuilder(a_fleet().plan, extra_pods=(pod,)).build()
    assert fleet.strangers == {}
    assert "MalformedObject" in problem_names(fleet)


def test_pods_that_ask_for_no_chips_are_passed_over() -> None:
    pod = {"metadata": {"name": "web"}, "spec": {"nodeName": "cube-0-host-00", "containers": [{"name": "w"}]}}
    fleet = FleetBuilder(a_fleet().plan, extra_pods=(pod,)).build()
    assert (fleet.strangers, fleet.problems) == ({}, ())


class TestSlices:
    """Slices come from Slice objects, classic pools and gangs."""

    def test_each_child_job_sits_in_a_slice_of_its_own(self) -> None:
        fleet = LLM.build()
        assert [(str(s.id), s.shape, [c.name for c in s.cubes], s.index) for s in fleet.slices.values()] == [
            ("c1/slice/default.llm-slice-0", (4, 4, 4), ["cube-0"], 0),
            ("c1/slice/default.llm-slice-1", (4, 4, 4), ["cube-1"], 1),
        ]
        assert gang_of(fleet).slices == tuple(fleet.slices)

    def test_a_slice_object_that_a_gang_sits_in_keeps_its_name(self) -> None:
        formed = {"metadata": {"name": "train"}, "spec": {"topology": "4x4x4", "partitionIds": ["cube-0"]}}
        fleet = LLM.build(slices=[formed])
        assert [s.name for s in gang_of(fleet).slices] == ["train", "default.llm-slice-1"]
        assert fleet.slices[gang_of(fleet).slices[0]].gang == gang_id("llm")

    def test_a_sub_slice_has_the_hosts_of_its_sub_partition(self) -> None:
        label = NAMES.sub_partition_id.replace("{shape}", "2x2x1")
        formed = {"metadata": {"name": "sub"}, "spec": {"topology": "2x2x1", "partitionIds": ["part-7"]}}
        fleet = a_fleet().labelled({label: "part-7"}, "cube-2-host-09").build(slices=[formed])
        (one,) = fleet.slices.values()
        assert (one.hosts, [c.name for c in one.cubes]) == ((host_id("cube-2-host-09"),), ["cube-2"])

    def test_a_slice_of_an_unknown_partition_is_told(self) -> None:
        formed = {"metadata": {"name": "s"}, "spec": {"topology": "4x4x8", "partitionIds": ["cube-0", "gone"]}}
        fleet = a_fleet().build(slices=[formed, {"metadata": {"name": "t"}, "spec": {"topology": "odd"}}, 3])
        assert [(p.name, p.about) for p in fleet.problems] == [
            ("UnknownCube", "c1/slice/s"),
            ("MalformedObject", "c1/slice/t"),
            ("MalformedObject", "c1/Slice[2]"),
        ]

    def test_a_classic_pool_is_a_slice_with_or_without_a_gang(self) -> None:
        fleet = a_fleet(generation="tpu-v6e-slice").with_pools("4x4", 2).with_gang("g", topology="4x4").on("pool-1").build()
        assert [(s.id.name, s.gang) for s in fleet.slices.values()] == [("pool-0", None), ("pool-1", gang_id("g"))]

    def test_a_gang_on_unknown_hosts_sits_in_no_slice(self) -> None:
        fleet = LLM.without(*a_fleet().hosts_of("cube-0")).build()
        assert [s.index for s in fleet.slices.values()] == [1]

    def test_a_slice_whose_shape_nobody_told_has_none(self) -> None:
        def edit(jobset: Object) -> None:
            template(jobset)["metadata"] = {}
            jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["parallelism"] = 64

        builder = a_fleet().with_gang("big", topology="4x8x8").on("cube-0", "cube-1", "cube-2", "cube-3")
        (one,) = builder.gang_edited("big", edit).build().slices.values()
        assert (one.shape, len(one.cubes)) == ((), 4)

    def test_a_member_of_an_unknown_role_sits_in_no_slice(self) -> None:
        def edit(pod: Object) -> None:
            pod["metadata"]["labels"][NAMES.replicated_job] = "renamed"

        fleet = LLM.pod_edited("llm-slice-0-", edit).build()
        assert [s.index for s in fleet.slices.values()] == [1]

    def test_positions_that_fit_no_torus_leave_the_order_to_the_ranks(self) -> None:
        builder = a_fleet().with_gang("big", topology="4x4x8").on("cube-0", "cube-1")
        plain = a_fleet().build()
        positions = {
            host_id(name): [[x, y, z + 4 * block] for x, y, z in plain.hosts[host_id(name)].coordinates]
            for block, cube in ((0, "cube-1"), (3, "cube-0"))
            for name in builder.hosts_of(cube)
        }
        (one,) = builder.build(positions=positions).slices.values()
        assert [cube.name for cube in one.cubes] == ["cube-0", "cube-1"]
