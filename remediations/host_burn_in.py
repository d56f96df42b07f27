"""host.burn_in: prove the hosts of the domain before they are given back."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING

from sliceward.remediations import marks
from sliceward.remediations.action import Verb
from sliceward.remediations.answering import SOON, answering
from sliceward.remediations.asking import Request, ask_all
from sliceward.remediations.gangs.kind import condition
from sliceward.remediations.given import duration, text
from sliceward.remediations.nodes import read_all, some
from sliceward.remediations.outcome import Done, Failed, Outcome, Wait
from sliceward.remediations.ports import JOB
from sliceward.topology.names import NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sliceward.remediations.action import Target
    from sliceward.remediations.ports import HostAnswer, Object, Ports
    from sliceward.topology.ids import HostId

DEADLINE = timedelta(minutes=10)
JOB_DEADLINE = timedelta(minutes=30)
_KEEP_SECONDS = 3600


class BurnIn:
    """A host that does not answer is unknown, and unknown is never healthy: past the deadline this fails.

    Each agent checks that all chips are present and free. With ``image``, a Job of ours then runs it on every host with all
    of its chips; exit code 0 is proof.
    """

    name: str = "host.burn_in"
    about: str = "Let each host of the domain check its devices, then run the configured burn-in image on it."
    irreversible: bool = False
    harm: bool = False
    inverse: str = ""
    parameters: Mapping[str, str] = {
        "deadline": "how long hosts may take to answer the device check (default 10m)",
        "image": "container image to run on each host with all of its chips (default none)",
        "image_deadline": "how long the image may run (default 30m)",
        "namespace": "where its Jobs are made (default sliceward)",
    }
    verbs: tuple[Verb, ...] = (Verb("", "nodes", ("get",)), Verb("batch", "jobs", ("get", "create"), own=True))

    @answering
    async def __call__(self, target: Target, ports: Ports) -> Outcome:
        """Check devices by the agents first, then by the image."""
        deadline = target.started + duration(target.given, "deadline", DEADLINE)
        if not target.domain:
            return Failed(f"{target.part} lies in no failure domain that is known: nothing to prove")
        nodes, missing = await read_all(ports.cluster, (host.name for host in target.domain))
        unready = [*missing, *(name for name, node in nodes.items() if not marks.is_ready(node))]
        if unready:
            return _later(target, deadline, f"not Ready: {some(unready)}")
        answers = await ask_all(Request("device-check", deadline), target.domain, target, ports.hosts)
        bad = {name: answer.why for name, answer in answers.items() if not answer.ok}
        bad |= {name: why for name, answer in answers.items() if (why := _why_strange(answer, nodes[name]))}
        if bad:
            return Failed(f"device check failed: {some(f'{name}: {why}' for name, why in bad.items())}")
        silent = [host.name for host in target.domain if host.name not in answers]
        if silent:
            return _later(target, deadline, f"no answer to the device check: {some(silent)}")
        if image := text(target.given, "image"):
            return await _run_image(image, target, ports, nodes)
        return Done(f"{len(answers)} hosts have all their devices, present and free", {"hosts_proven": sorted(answers)})


def _why_strange(answer: HostAnswer, node: Object) -> str:
    """Say why an answer proves nothing of this node: another machine gave it under the same name; "" where it does."""
    here = marks.instance_of(node)
    return f"instance {answer.instance_id} answered for {here}" if answer.instance_id and here != answer.instance_id else ""


def _later(target: Target, deadline: datetime, why: str) -> Outcome:
    return Failed(f"{why} within the deadline") if target.now >= deadline else Wait(SOON, why)


async def _run_image(image: str, target: Target, ports: Ports, nodes: Mapping[str, Object]) -> Outcome:
    namespace = text(target.given, "namespace", "sliceward")
    jobs: dict[str, Object] = {}
    for host in target.domain:
        name = f"sliceward-burn-in-{hashlib.sha256(f'{target.operation}.{host.name}'.encode()).hexdigest()[:12]}"
        found = await ports.cluster.get(JOB, name, namespace)
        if found is None:
            body = _job(name, image, host, _chips(nodes[host.name]), target)
            found = await ports.cluster.create(JOB, body, namespace)
        jobs[host.name] = found
    failed = [host for host, job in jobs.items() if condition(job, NAMES.job_failed)]
    if failed:
        return Failed(f"burn-in image failed on {some(failed)}")
    running: Sequence[str] = [host for host, job in jobs.items() if not condition(job, NAMES.job_complete)]
    if running:
        return Wait(SOON, f"burn-in image runs on {some(running)}")
    return Done(f"burn-in image passed on {len(jobs)} hosts", {"hosts_proven": sorted(jobs)})


def _chips(node: Object) -> int:
    return int((node.get("status", {}).get("allocatable") or {}).get(NAMES.tpu_resource, 0))


def _job(name: str, image: str, host: HostId, chips: int, target: Target) -> Object:
    """Give a Job that runs the image once on this host with all of its chips, through our own mark and no other."""
    resources = {"limits": {NAMES.tpu_resource: str(chips)}, "requests": {NAMES.tpu_resource: str(chips)}} if chips else {}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "sliceward", NAMES.incident: target.incident}},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": int(duration(target.given, "image_deadline", JOB_DEADLINE).total_seconds()),
            "ttlSecondsAfterFinished": _KEEP_SECONDS,
            "template": {
                "spec": {
                    "restartPolicy": "Never",
                    "nodeSelector": {NAMES.hostname: host.name},
                    "tolerations": [
                        {"key": NAMES.out_of_service, "operator": "Equal", "value": target.incident, "effect": marks.OUR_EFFECT},
                        {"key": NAMES.tpu_taint, "operator": "Exists", "effect": "NoSchedule"},
                    ],
                    "containers": [{"name": "burn-in", "image": image, "resources": resources}],
                }
            },
        },
    }
