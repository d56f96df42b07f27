"""One value of a fleet and what stands beside it: what is placed by it, is explained by it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sliceward.scheduling.beside import NOTHING_BESIDE, Beside
from sliceward.scheduling.candidates import Way
from sliceward.scheduling.displacement import NobodyGoes
from sliceward.scheduling.harm import Effect
from sliceward.scheduling.occupancy import Cause, Grade
from sliceward.scheduling.plan import NoFit, Plan, Repair
from sliceward.scheduling.questions import explain_gang, spares_rows, tidying_rows
from sliceward.scheduling.quota import Quota
from sliceward.scheduling.request import Request
from sliceward.scheduling.rights import Displaced
from sliceward.scheduling.scene import Scene
from sliceward.scheduling.told import Told
from sliceward.topology.names import NAMES
from tests.builders import NOW, FleetBuilder, a_fleet, gang_id, host_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from sliceward.topology.gangs import Gang

TWO = a_fleet().with_gang("llm", slices=2).on("cube-0", "cube-1").with_gang("small").on("cube-2")
LLM = gang_id("llm")
TENANT = ("default", "tpu7x")


def a_scene(builder: FleetBuilder = TWO, beside: Beside = NOTHING_BESIDE) -> Scene:
    return Scene(builder.build(), NOW, beside)


def gang_of(scene: Scene, name: str = "llm") -> Gang:
    return scene.fleet.gangs[gang_id(name)]


def request_of(scene: Scene, name: str = "llm") -> Request:
    found = scene.request(gang_of(scene, name))
    assert isinstance(found, Request)
    return found


def placed(scene: Scene, name: str = "llm") -> Plan | NoFit:
    return scene.placed(request_of(scene, name))


def cubes(found: Plan | NoFit) -> list[str]:
    assert isinstance(found, Plan), found
    return [cube.name for piece in found.slices for cube in piece.cubes]


def elastic(fewest: int) -> FleetBuilder:
    def edit(jobset: Any) -> None:  # noqa: ANN401 (an object of the cluster)
        jobset["metadata"].setdefault("annotations", {})[NAMES.fewest_slices] = str(fewest)

    return TWO.gang_edited("llm", edit)


class TestSick:
    """Hosts of which more is known than the fleet says."""

    SICK = host_id("cube-0-host-03")

    def test_a_slice_leaves_a_host_with_an_incident_and_the_refusal_names_the_host_to_repair(self) -> None:
        hurt = a_scene(beside=Beside(sick={self.SICK: "incident inc-1"}))
        assert cubes(placed(hurt)) == ["cube-3", "cube-1"]
        full = placed(a_scene(TWO.with_gang("last").on("cube-3"), hurt.beside))
        assert isinstance(full, NoFit)
        assert (full.cause, full.helps) == (Cause.SICK, (Repair((self.SICK,)),))
        assert {no.part.name: no.why for no in full.rejected}["cube-0"] == "incident inc-1 (1 of 16 hosts, e.g. cube-0-host-03)"

    def test_what_is_known_later_is_known_as_if_from_the_start(self) -> None:
        known = Beside(sick={self.SICK: "incident inc-1"}, reserved={host_id("cube-3-host-00"): gang_id("x")})
        later = a_scene().knowing(known.sick, known.reserved)
        assert later == a_scene(beside=known)
        assert later.snapshot.grounds.keys() == a_scene(beside=known).snapshot.grounds.keys()
        for key, ground in a_scene(beside=known).snapshot.grounds.items():
            assert later.snapshot.grounds[key].occupancy == ground.occupancy

    def test_what_is_forgiven_is_as_the_fleet_says(self) -> None:
        hurt = a_scene(TWO.not_ready("cube-1-host-00"), Beside(sick={self.SICK: "x", host_id("cube-1-host-00"): "x"}))
        mild = hurt.forgiving([self.SICK, host_id("cube-1-host-00")])
        assert mild.beside.sick == {}
        ground = mild.snapshot.grounds[mild.snapshot.ground_of[self.SICK]]
        assert ground.occupancy.standing(self.SICK).grade is Grade.HEALTHY
        assert ground.occupancy.standing(host_id("cube-1-host-00")).grade is Grade.UNKNOWN

    def test_a_gang_that_makes_steps_limps_on_what_is_sick_unless_it_is_dead(self) -> None:
        told = {LLM: Told(NOW, 0.5, 1.0)}
        limps = a_scene(beside=Beside(sick={self.SICK: "x"}, told=told))
        assert limps.seen(LLM).effects == {self.SICK: Effect.SLOWS}
        assert a_scene(beside=replace(limps.beside, lost=frozenset({self.SICK}))).seen(LLM).effects == {}
        silent = replace(limps.beside, told={LLM: Told(NOW - timedelta(hours=1), 0.5, 1.0)})
        assert a_scene(beside=silent).seen(LLM).effects == {}


class TestQuota:
    """By what gangs are admitted for, in all clusters."""

    @pytest.mark.parametrize(
        ("nominal", "elsewhere", "fits"), [(256, 0, True), (255, 0, False), (256, 1, False), (300, 44, True)], ids=str
    )
    def test_what_is_held_in_other_clusters_counts_too(self, nominal: int, elsewhere: int, fits: bool) -> None:  # noqa: FBT001 (a table)
        beside = Beside(quota=Quota({TENANT: nominal}), elsewhere={TENANT: elsewhere})
        scene = a_scene(TWO.with_gang("late").waiting(), beside)
        assert (scene.short_of_quota(gang_of(scene, "late")) == "") is fits
        assert isinstance(placed(scene, "late"), Plan) is fits

    def test_a_gang_that_is_admitted_pays_for_pods_that_have_not_come_yet(self) -> None:
        """Of llm all pods of a slice are gone: its chips are still its own, and nobody else's."""

        def gone(pod: Any) -> None:  # noqa: ANN401 (as above)
            pod["status"]["phase"] = "Failed"

        torn = TWO.pod_edited("llm-slice-1", gone).with_gang("late").waiting()
        scene = a_scene(torn, Beside(quota=Quota({TENANT: 192})))
        assert scene.short_of_quota(gang_of(scene)) == ""
        assert isinstance(placed(scene), Plan)
        refused = placed(scene, "late")
        assert isinstance(refused, NoFit)
        assert refused.cause is Cause.QUOTA

    def test_a_gang_that_a_run_stopped_keeps_what_was_its_own(self) -> None:
        quota = Beside(quota=Quota({TENANT: 64}))
        scene = a_scene(TWO.suspended("llm"), quota)
        assert scene.short_of_quota(gang_of(scene)) == "quota of default for tpu7x: 0 chips left, 128 needed"
        assert isinstance(placed(scene), NoFit)
        healed = scene.healing(LLM, stopped=True)
        assert healed.short_of_quota(gang_of(scene)) == ""
        assert isinstance(placed(healed), Plan)


class TestPromises:
    """What carries the label of a living gang is that gang's."""

    def test_no_other_gang_is_placed_there(self) -> None:
        labelled = TWO.labelled({NAMES.gang: gang_id("small").key}, "cube-3-host-05")
        assert isinstance(placed(a_scene(labelled.with_gang("late").waiting()), "late"), NoFit)
        nobody = TWO.labelled({NAMES.gang: gang_id("gone").key}, "cube-3-host-05")
        assert cubes(placed(a_scene(nobody.with_gang("late").waiting()), "late")) == ["cube-3"]


class TestElastic:
    """A gang that can do with fewer slices."""

    def test_it_may_shrink_when_it_is_hurt_and_is_healed_with_all_its_slices(self) -> None:
        hurt = elastic(1).not_ready("cube-0-host-03", status="False")
        for builder, open_ in ((hurt, True), (TWO.not_ready("cube-0-host-03", status="False"), False)):
            scene = a_scene(builder)
            ways = scene.ways(gang_of(scene), request_of(scene))
            assert not isinstance(ways, str)
            assert (ways.of(Way.SHRINK) is not None) is open_
            assert request_of(scene).fewest == 0

    def test_one_that_waits_goes_without_what_finds_no_place(self) -> None:
        waits = elastic(1).suspended("llm").with_gang("last").on("cube-3").with_gang("box").on("cube-0")
        found = placed(a_scene(waits))
        assert isinstance(found, Plan)
        assert found.left_out == (("slice", 1),)


class TestPast:
    """Who displaced whom."""

    FULL = a_fleet().with_cubes(1).with_gang("small").on("cube-0").with_gang("late", priority=5).waiting()

    def test_nobody_displaces_its_displacer(self) -> None:
        may = a_scene(self.FULL)
        assert not isinstance(may.displaced(request_of(may, "late")), NobodyGoes)
        past = (Displaced(gang_id("late"), gang_id("small"), NOW - timedelta(hours=2)),)
        must_not = a_scene(self.FULL, Beside(past=past))
        assert isinstance(must_not.displaced(request_of(must_not, "late")), NobodyGoes)
        assert "displaced it before" in explain_gang(must_not, "late")["displacement"]["why"]

    def test_who_was_displaced_or_moved_of_late_is_known_for_it(self) -> None:
        went, moved = NOW - timedelta(hours=3), NOW - timedelta(hours=2)
        scene = a_scene(beside=Beside(past=(Displaced(LLM, gang_id("small"), went),), moved={LLM: [moved]}))
        assert scene.snapshot.gangs[LLM].displaced == (went, moved)


def test_what_gangs_ask_for_is_worked_out_when_it_is_asked_for() -> None:
    scene = a_scene(TWO.with_gang("odd", topology="4x4x4").waiting().gang_edited("odd", _unclear))
    assert scene.requests[LLM] == request_of(scene)
    assert set(scene.requests) == {LLM, gang_id("small")}
    assert len(scene.requests) == 2
    assert scene.requests.get(gang_id("odd")) is None
    assert gang_id("nobody") not in scene.requests


def _unclear(jobset: Any) -> None:  # noqa: ANN401 (an object of the cluster)
    del jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]["nodeSelector"]


def _mixing(jobset: Any) -> None:  # noqa: ANN401 (as above)
    jobset["metadata"]["annotations"].clear()


@pytest.mark.parametrize(
    ("change", "why"),
    [(lambda b: b.suspended("llm"), "it does not run"), (lambda b: b.gang_edited("llm", _mixing), "no exclusive topology")],
    ids=["stopped", "unclear"],
)
def test_ways_that_cannot_be_priced_say_why(change: Callable[[FleetBuilder], FleetBuilder], why: str) -> None:
    scene = a_scene(change(TWO))
    found = scene.ways(gang_of(scene), scene.request(gang_of(scene)))
    assert isinstance(found, str)
    assert why in found


def test_what_is_explained_of_a_hurt_gang_is_where_a_run_would_move_it() -> None:
    scene = a_scene(beside=Beside(sick={host_id("cube-0-host-03"): "incident inc-1"}))
    found = explain_gang(scene, "llm")
    assert found["stands"] == "hurt"
    assert [cube for piece in found["placement"]["slices"] for cube in piece["cubes"]] == ["c1/cube/cube-3", "c1/cube/cube-1"]


def test_spares_are_to_make_it_as_sure_as_was_asked() -> None:
    kept = TWO.spare("cube-3")
    wanted = [spares_rows(a_scene(kept, Beside(sure=sure)))[0]["wanted"] for sure in (0.5, 0.999)]
    assert wanted == [0, 1]


class TestTidying:
    """Moves that would make room."""

    BOXES = (
        a_fleet().with_cubes(2).with_gang("one", kind="Job", topology="2x2x2").on("cube-0")
        .with_gang("two", kind="Job", topology="2x2x2").on("cube-1")
    )  # fmt: skip

    def test_two_small_gangs_in_two_cubes_are_gathered(self) -> None:
        (row,) = tidying_rows(a_scene(self.BOXES))
        assert row["why"] == "makes room for 4x4x4 in c1/pod/c1-block-0"
        assert row["gain"] >= row["floor"] * row["cost"] > 0
        assert [len(move["slices"]) for move in row["moves"]] == [1]

    def test_who_was_moved_of_late_is_left_alone(self) -> None:
        moved = {gang_id(name, kind="Job"): [NOW - timedelta(hours=2)] for name in ("one", "two")}
        assert tidying_rows(a_scene(self.BOXES, Beside(moved=moved))) == []

    def test_who_is_placed_by_others_is_left_alone(self) -> None:
        def queued(job: Any) -> None:  # noqa: ANN401 (an object of the cluster)
            job["metadata"].setdefault("labels", {})[NAMES.kueue_queue] = "team-a"

        theirs = self.BOXES.gang_edited("one", queued).gang_edited("two", queued)
        assert tidying_rows(a_scene(theirs)) == []

    def test_spares_are_not_for_it(self) -> None:
        assert tidying_rows(a_scene(self.BOXES.spare("cube-0", "cube-1"))) == []
