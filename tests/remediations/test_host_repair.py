"""A repair is asked for once, for the right machine, when it is ours and empty."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import aiohttp
import pytest

from sliceward.remediations.domain_mark import MarkDomain
from sliceward.remediations.host_repair import RepairHost
from sliceward.remediations.ports import NODE
from sliceward.remediations.providers.nobody import NobodyProvider
from sliceward.remediations.providers.plan import ProviderPlan
from sliceward.topology.errors import Retry
from sliceward.topology.ids import ChipId, CubeId, LinkId
from sliceward.topology.names import NAMES
from tests.remediations.scene import Scene, a_scene, default_fleet, done, failed, waiting

REPAIR = RepairHost()
SICK = "cube-0-host-05"


async def _drained() -> Scene:
    scene = a_scene()
    done(await scene.act(MarkDomain()))
    scene.drop_pods()
    return scene


async def test_it_is_asked_for_with_the_machines_own_id_and_followed_to_its_end() -> None:
    scene = await _drained()
    answer = waiting(await scene.act(REPAIR, behavior="CHIP_ERROR", poll="2s"))
    assert answer.retry_in == timedelta(seconds=2)
    instance = scene.node(SICK)["metadata"]["annotations"][NAMES.instance_id]
    assert scene.provider.requests == {f"run-1.0.{SICK}": (SICK, instance, "CHIP_ERROR")}
    scene.provider.now_all("done")
    done(await scene.act(REPAIR))
    assert scene.provider.calls == 1


@pytest.mark.parametrize("when", ["fail_before", "fail_after"])
async def test_a_lost_answer_is_one_repair(when: str) -> None:
    scene = await _drained()
    setattr(scene.provider, when, Retry("time-out"))
    waiting(await scene.act(REPAIR))
    waiting(await scene.act(REPAIR))
    assert len(scene.provider.requests) == 1


async def test_facts_lost_in_a_crash_cost_no_second_repair() -> None:
    scene = await _drained()
    await scene.act(REPAIR)
    scene.facts.pop("repairs")
    await scene.act(REPAIR)
    assert len(scene.provider.requests) == 1


async def test_a_repair_that_the_provider_forgot_is_asked_for_again_by_the_same_id() -> None:
    scene = await _drained()
    scene.facts["repairs"] = {SICK: "rep-unknown"}
    waiting(await scene.act(REPAIR))
    assert list(scene.provider.requests) == [f"run-1.0.{SICK}"]


async def test_a_host_that_holds_a_tpu_pod_is_not_repaired() -> None:
    scene = a_scene()
    await scene.act(MarkDomain())
    assert "not drained" in waiting(await scene.act(REPAIR)).why
    scene.elapsed = timedelta(minutes=16)
    assert "nobody ends them" in failed(await scene.act(REPAIR)).why
    assert scene.provider.calls == 0


async def test_a_host_without_our_mark_is_not_repaired() -> None:
    scene = a_scene(default_fleet().marked("inc-other", SICK))
    scene.drop_pods()
    assert "not out of service by this incident" in failed(await scene.act(REPAIR)).why
    assert scene.provider.calls == 0


async def test_another_machine_under_the_same_name_is_not_repaired() -> None:
    scene = await _drained()
    target = scene.target()
    scene.cluster.edit(NODE, SICK, {"metadata": {"annotations": {NAMES.instance_id: "another"}}})
    outcome = await REPAIR(target, scene.ports)
    assert "another machine" in failed(outcome).why
    assert scene.provider.calls == 0


async def test_the_machine_that_was_found_sick_is_named_to_the_provider() -> None:
    scene = await _drained()
    scene.facts["machines"] = {SICK: ["the-sick-one", "boot-1"]}
    waiting(await scene.act(REPAIR))
    assert [instance for _, instance, _ in scene.provider.requests.values()] == ["the-sick-one"]


async def test_a_name_alone_is_no_machine_to_repair() -> None:
    scene = await _drained()
    scene.cluster.edit(NODE, SICK, {"metadata": {"annotations": {NAMES.instance_id: None}}, "spec": {"providerID": ""}})
    assert "not known" in failed(await scene.act(REPAIR)).why
    assert scene.provider.calls == 0


async def test_a_repair_that_failed_says_why() -> None:
    scene = await _drained()
    await scene.act(REPAIR)
    scene.provider.now_all("failed", "no spare parts")
    assert "no spare parts" in failed(await scene.act(REPAIR)).why


async def test_without_a_provider_it_is_a_humans() -> None:
    scene = await _drained()
    async with aiohttp.ClientSession() as session:
        ports = replace(scene.ports, provider=NobodyProvider(ProviderPlan("nobody"), session))
        assert "human" in failed(await REPAIR(scene.target(), ports)).why


@pytest.mark.parametrize(
    ("part", "hosts"),
    [
        (ChipId("c1", SICK, 2), {SICK}),
        (LinkId("c1", SICK, 0, SICK, 1), {SICK}),
        (LinkId("c1", "cube-0-host-04", 0, SICK, 1), {"cube-0-host-04", SICK}),
    ],
    ids=["a chip", "a link inside a host", "a link between hosts"],
)
async def test_a_part_is_repaired_on_the_hosts_that_carry_it(part: ChipId | LinkId, hosts: set[str]) -> None:
    scene = await _drained()
    scene.part = part
    waiting(await scene.act(REPAIR))
    assert {host for host, _, _ in scene.provider.requests.values()} == hosts


async def test_a_part_that_is_no_hosts_is_a_humans() -> None:
    scene = await _drained()
    scene.part = CubeId("c1", "cube-0")
    failed(await scene.act(REPAIR))


async def test_an_unknown_behavior_is_refused() -> None:
    scene = await _drained()
    assert "with.behavior" in failed(await scene.act(REPAIR, behavior="TIRED")).why
