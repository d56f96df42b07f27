"""Given back only what is proven: unknown is never healthy."""

from __future__ import annotations

from datetime import timedelta

from sliceward.remediations.host_burn_in import BurnIn
from sliceward.remediations.marks import instance_of
from sliceward.remediations.ports import JOB, NODE, HostAnswer
from sliceward.topology.errors import Refused, Retry
from sliceward.topology.names import NAMES
from tests.remediations.scene import INCIDENT, a_scene, default_fleet, done, failed, waiting

BURN_IN = BurnIn()


async def test_every_host_must_answer_well() -> None:
    scene = a_scene()
    scene.hosts.says = {host.name: HostAnswer(ok=True) for host in scene.domain[1:]}
    assert scene.domain[0].name in waiting(await scene.act(BURN_IN)).why
    scene.hosts.says["*"] = HostAnswer(ok=True)
    assert len(done(await scene.act(BURN_IN)).facts["hosts_proven"]) == 16


async def test_one_bad_host_fails_it_with_the_hosts_own_words() -> None:
    scene = a_scene()
    scene.hosts.says = {"*": HostAnswer(ok=True), "cube-0-host-05": HostAnswer(ok=False, why="chip 2 missing")}
    assert "cube-0-host-05: chip 2 missing" in failed(await scene.act(BURN_IN)).why


async def test_an_answer_of_another_machine_under_the_same_name_proves_nothing() -> None:
    scene = a_scene()
    own = {host.name: HostAnswer(ok=True, instance_id=instance_of(scene.node(host.name))) for host in scene.domain}
    scene.hosts.says = own | {"cube-0-host-05": HostAnswer(ok=True, instance_id="another")}
    assert "instance another answered" in failed(await scene.act(BURN_IN)).why
    scene.hosts.says = own
    done(await scene.act(BURN_IN))


async def test_silence_fails_at_the_deadline() -> None:
    scene = a_scene()
    waiting(await scene.act(BURN_IN, deadline="1m"))
    scene.elapsed = timedelta(minutes=1)
    assert "no answer" in failed(await scene.act(BURN_IN, deadline="1m")).why


async def test_a_host_that_is_not_ready_or_gone_is_waited_for() -> None:
    scene = a_scene(default_fleet().not_ready("cube-0-host-05").without("cube-0-host-06"))
    why = waiting(await scene.act(BURN_IN)).why
    assert "cube-0-host-05" in why
    assert "cube-0-host-06" in why


async def test_a_broker_that_is_away_is_waited_for_and_a_refusal_is_a_no() -> None:
    scene = a_scene()
    scene.hosts.failing = Retry("away")
    waiting(await scene.act(BURN_IN))
    scene.hosts.failing = Refused("unknown host")
    failed(await scene.act(BURN_IN))


async def test_the_image_runs_as_one_job_on_each_host_with_all_its_chips() -> None:
    scene = a_scene()
    scene.hosts.says["*"] = HostAnswer(ok=True)
    scene.cluster.fail("create", JOB, after=True)
    waiting(await scene.act(BURN_IN, image="example.test/burn:1"))
    waiting(await scene.act(BURN_IN, image="example.test/burn:1"))
    jobs = [job for job in scene.cluster.of(JOB) if job["metadata"]["namespace"] == "sliceward"]
    assert len(jobs) == 16
    spec = jobs[0]["spec"]["template"]["spec"]
    assert spec["nodeSelector"] == {NAMES.hostname: "cube-0-host-00"}
    assert spec["containers"][0]["resources"]["limits"] == {NAMES.tpu_resource: "4"}
    assert [toleration["key"] for toleration in spec["tolerations"]] == [NAMES.out_of_service, NAMES.tpu_taint]
    assert spec["tolerations"][0]["value"] == INCIDENT
    for job in jobs:
        condition = {"status": {"conditions": [{"type": "Complete", "status": "True"}]}}
        scene.cluster.edit(JOB, job["metadata"]["name"], condition, "sliceward")
    assert "passed on 16 hosts" in done(await scene.act(BURN_IN, image="example.test/burn:1")).text


async def test_an_image_that_fails_on_one_host_fails_it() -> None:
    scene = a_scene()
    scene.hosts.says["*"] = HostAnswer(ok=True)
    await scene.act(BURN_IN, image="i")
    (job, *_) = [job for job in scene.cluster.of(JOB) if job["metadata"]["namespace"] == "sliceward"]
    condition = {"status": {"conditions": [{"type": "Failed", "status": "True"}]}}
    scene.cluster.edit(JOB, job["metadata"]["name"], condition, "sliceward")
    assert "cube-0-host-00" in failed(await scene.act(BURN_IN, image="i")).why


async def test_without_a_domain_there_is_nothing_to_prove() -> None:
    scene = a_scene()
    scene.domain = ()
    failed(await scene.act(BURN_IN))


async def test_a_host_without_chips_listed_asks_for_none() -> None:
    scene = a_scene()
    scene.hosts.says["*"] = HostAnswer(ok=True)
    scene.cluster.edit(NODE, "cube-0-host-00", {"status": {"allocatable": None}})
    await scene.act(BURN_IN, image="i")
    (job, *_) = [job for job in scene.cluster.of(JOB) if job["metadata"]["namespace"] == "sliceward"]
    assert job["spec"]["template"]["spec"]["containers"][0]["resources"] == {}
