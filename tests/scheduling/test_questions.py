"""Questions in words about a fleet that was read, answered in plain values."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sliceward.scheduling.beside import NOTHING_BESIDE, Beside
from sliceward.scheduling.prices import Figure
from sliceward.scheduling.questions import ask_what_if, explain_gang, fragmentation_rows
from sliceward.scheduling.quota import Quota
from sliceward.scheduling.scene import Scene
from sliceward.scheduling.told import Told
from sliceward.scheduling.words import WhatIf
from sliceward.topology.errors import Misconfigured
from sliceward.topology.links import links_of
from tests.builders import NOW, FleetBuilder, a_fleet, cube_id, gang_id

if TYPE_CHECKING:
    from collections.abc import Callable

Object = dict[str, Any]
TWO = a_fleet().with_gang("llm", slices=2, tenant="ml", priority=1).on("cube-0", "cube-1").with_gang("small").on("cube-2")


def scene(builder: FleetBuilder, beside: Beside = NOTHING_BESIDE) -> Scene:
    return Scene(builder.build(), NOW, beside)


def explained(builder: FleetBuilder, name: str, beside: Beside = NOTHING_BESIDE) -> dict[str, Any]:
    """Explain a gang, in values that can be written down."""
    found = explain_gang(scene(builder, beside), name)
    assert json.loads(json.dumps(found)) == found
    return found


def asked(builder: FleetBuilder, beside: Beside = NOTHING_BESIDE, /, **words: tuple[str, ...]) -> dict[str, Any]:
    found = ask_what_if(scene(builder, beside), WhatIf(**words))
    assert json.loads(json.dumps(found)) == found
    return found


class TestExplain:
    """How a gang stands."""

    def test_a_gang_that_runs_whole(self) -> None:
        assert explained(TWO, "llm")["stands"] == "runs"

    def test_a_gang_that_is_hurt_has_ways_out(self) -> None:
        found = explained(TWO.not_ready("cube-0-host-03", status="False"), "default/llm")
        assert found["stands"] == "hurt"
        assert found["repair"]["harms"] == ["cube-0-host-03: not Ready"]
        assert {"way", "price", "why", "bill", "slices"} <= found["repair"]["ways"][0].keys()

    def test_the_prices_of_a_hurt_gang_are_made_of_what_it_told(self) -> None:
        told = Told(NOW - timedelta(seconds=9), 0.5, 2.0, 30.0)
        beside = Beside(told={gang_id("llm"): told})
        found = explained(TWO.not_ready("cube-0-host-03", status="False"), "default/llm", beside)
        bill = " ".join(line for way in found["repair"]["ways"] for line in way["bill"])
        assert "39 (since its last checkpoint, 9 s old)" in bill
        assert Told(NOW, 0.5, 2.0).seen(NOW).slower == Figure(0.75, "its step rate", 0.0)
        assert Told(NOW - timedelta(minutes=2), 0.5, 2.0).seen(NOW).slower is None

    def test_a_gang_that_waits_where_there_is_room(self) -> None:
        found = explained(TWO.with_gang("late").waiting(), "late")
        assert (found["stands"], found["placement"]["fits"]) == ("waits", True)
        assert found["placement"]["slices"][0]["cubes"] == ["c1/cube/cube-3"]

    def test_a_gang_that_could_displace_somebody_is_told_whom(self) -> None:
        found = explained(TWO.with_gang("late", slices=2, priority=5).waiting(), "late")
        assert found["placement"]["cause"] == "held"
        (victim,) = found["displacement"]["victims"]
        assert victim["gang"] == "c1/gang/default/JobSet/small"
        assert found["displacement"]["cost"] > 0

    def test_a_gang_without_quota(self) -> None:
        found = explained(TWO.with_gang("late", tenant="ml").waiting(), "late", Beside(quota=Quota({("ml", "tpu7x"): 128})))
        assert found["placement"]["helps"] == [
            {"text": "give ml 64 more chips of tpu7x", "borrow": {"tenant": "ml", "generation": "tpu7x", "chips": 64}}
        ]

    @pytest.mark.parametrize(
        ("edit", "stands"),
        [
            (lambda jobset: jobset.update(status={"terminalState": "Completed"}), "over"),
            (lambda jobset: jobset["metadata"]["annotations"].clear(), "unclear"),
        ],
        ids=["ended", "not exclusive"],
    )
    def test_a_gang_that_is_over_or_of_which_too_little_is_known(self, edit: Callable[[Object], None], stands: str) -> None:
        assert explained(TWO.gang_edited("llm", edit), "llm")["stands"] == stands

    def test_roles_that_would_cross_are_told(self) -> None:
        def second(jobset: Object) -> None:
            role = json.loads(json.dumps(jobset["spec"]["replicatedJobs"][0])) | {"name": "second", "replicas": 1}
            role["template"]["spec"]["parallelism"] = 4
            topology = role["template"]["spec"]["template"]["metadata"]["annotations"]
            topology["cloud.google.com/gke-tpu-slice-topology"] = "2x2x4"
            jobset["spec"]["replicatedJobs"].append(role)

        found = explained(a_fleet().with_gang("g").waiting().gang_edited("g", second), "g")
        assert "could take each other's hosts" in found["placement"]["why"]

    def test_a_name_of_two_gangs_is_refused(self) -> None:
        two = TWO.with_gang("llm", namespace="other").waiting()
        with pytest.raises(Misconfigured, match="means 2 gangs"):
            explained(two, "llm")


class TestQuotaOfWhatIf:
    """Quota counts in what would be as it does in what is: by what gangs are admitted for."""

    def torn(self) -> FleetBuilder:
        """Of llm all pods of a slice are gone and still to come; another gang waits."""

        def gone(pod: Object) -> None:
            pod["status"]["phase"] = "Failed"

        return TWO.pod_edited("llm-slice-1", gone).with_gang("late", tenant="ml").waiting()

    def fits(self, chips: int, **words: tuple[str, ...]) -> tuple[bool, bool]:
        (late,) = asked(self.torn(), Beside(quota=Quota({("ml", "tpu7x"): chips})), **words)["waiting"]
        return late["now"]["fits"], late["then"]["fits"]

    @pytest.mark.parametrize(
        ("chips", "words", "now", "then"),
        [
            (191, {"repair": ("cube-3",)}, False, False),
            (192, {"repair": ("cube-3",)}, True, True),
            (64, {"release": ("llm",)}, False, True),
            (128, {"borrow": ("ml:tpu7x:64",)}, False, True),
        ],
        ids=str,
    )
    def test_chips_of_pods_that_are_still_to_come_count_and_go_with_their_gang(
        self,
        chips: int,
        words: dict[str, tuple[str, ...]],
        now: bool,  # noqa: FBT001 (a table)
        then: bool,  # noqa: FBT001 (a table)
    ) -> None:
        assert self.fits(chips, **words) == (now, then)
        told = explain_gang(scene(self.torn(), Beside(quota=Quota({("ml", "tpu7x"): chips}))), "late")
        assert told["placement"]["fits"] is now

    def test_a_gang_that_is_admitted_and_holds_nothing_yet_is_not_counted_twice(self) -> None:
        """All pods of llm are gone: it waits with its own quota."""

        def gone(pod: Object) -> None:
            pod["status"]["phase"] = "Failed"

        none_left = TWO.pod_edited("llm-slice-0", gone).pod_edited("llm-slice-1", gone).with_gang("late", tenant="ml").waiting()
        found = asked(none_left, Beside(quota=Quota({("ml", "tpu7x"): 128})), repair=("cube-3",))
        assert {each["gang"].rpartition("/")[2]: each["then"]["fits"] for each in found["waiting"]} == {
            "llm": True,
            "late": False,
        }


class TestWhatIf:
    """What would follow."""

    @pytest.mark.parametrize(
        ("words", "hurt"),
        [
            ({"drain": ("cube-2",)}, ["small"]),
            ({"drain": ("host/cube-2-host-00", "c1/cube/cube-0")}, ["llm", "small"]),
            ({"switch": ("c1-block-0/ocs-1",)}, ["llm", "small"]),
            ({"repair": ("cube-0",)}, []),
            ({"open": ("cube-3",)}, []),
            ({"release": ("gang/llm",)}, []),
            ({"borrow": ("ml:tpu7x:64",)}, []),
            ({"add": ("new=2",)}, []),
        ],
        ids=lambda value: next(iter(value), "") if isinstance(value, dict) else "",
    )
    def test_words_mean_what_they_say(self, words: dict[str, tuple[str, ...]], hurt: list[str]) -> None:
        assert [choice["gang"].rpartition("/")[2] for choice in asked(TWO, **words)["hurt"]] == hurt

    def test_a_lost_link_is_written_as_links_are(self) -> None:
        link = links_of(TWO.build(), cube_id("cube-2"))[0]
        assert [choice["gang"] for choice in asked(TWO, link=(str(link),))["hurt"]] == ["c1/gang/default/JobSet/small"]

    def test_a_question_about_nothing_is_none(self) -> None:
        with pytest.raises(Misconfigured, match="what if: nothing"):
            asked(TWO)

    def test_who_is_of_unknown_shape_is_left_out(self) -> None:
        odd = TWO.gang_edited("small", lambda jobset: jobset["metadata"]["annotations"].clear())
        assert asked(odd.with_gang("odd", slices=2, exclusive=False).waiting(), add=("new=2",))["waiting"] == []

    @pytest.mark.parametrize(
        ("builder", "words", "why"),
        [
            (TWO, {"drain": ("default",)}, "there is no host or cube of that name"),
            (a_fleet(generation="tpu-v6e-slice"), {"add": ("new=2",)}, "has no cubes that could be added to"),
            (TWO, {"add": ("new=1001",)}, "is not NAME=CUBES"),
            (TWO, {"add": ("new=" + "9" * 5_000,)}, "is not NAME=CUBES"),
            (TWO, {"add": ("one=900", "two=101")}, "adds more than 1000 cubes"),
            (TWO, {"borrow": ("blue:tpu7x:" + "9" * 5_000,)}, "is not TENANT:GENERATION:CHIPS"),
            (
                TWO.labelled(
                    {"cloud.google.com/gke-tpu-partition-4x4x4-id": None, "cloud.google.com/gke-nodepool": None}, "cube-3-host-00"
                ),
                {"drain": ("cube-3-host-00",)},
                "lies in no cube that is known",
            ),
        ],
        ids=["nobody", "no cubes", "too many", "too long", "too many together", "too much", "no cube"],
    )
    def test_what_cannot_be_asked_says_why(self, builder: FleetBuilder, words: dict[str, tuple[str, ...]], why: str) -> None:
        with pytest.raises(Misconfigured, match=why):
            asked(builder, **words)


def test_figures_can_be_written_down() -> None:
    rows = fragmentation_rows(scene(TWO.with_gang("box", topology="2x2x4", kind="Job").on("cube-3")))
    assert json.loads(json.dumps(rows)) == rows
    assert rows[0]["stranded_chips"] == {"partly used cube": 48}
