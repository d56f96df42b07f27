"""The JobSet controller, behaving as JobSet 0.12 was measured: restarts, suspension, failure policy, status.

Not held: ``startupPolicy`` InOrder, ``dependsOn``, the coordinator, volume claims and the alpha gates (``RestartJob``,
``InPlaceRestart``, ``ElasticJobSet``), which are off by default in the real one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sliceward.simulation.controllers import jobset_jobs
from sliceward.simulation.controllers.client import JOBS, JOBSETS, Refusal, all_of
from sliceward.simulation.controllers.controller import World, condition, is_leaving, is_owned, is_true, with_condition
from sliceward.simulation.kube.validation_batch import jobset_defaults

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from sliceward.simulation.controllers.client import Json


@dataclass(slots=True)
class JobSetController:
    """Keeps all JobSets."""

    world: World

    def __post_init__(self) -> None:
        """Ask for the mirrors."""
        self.world.mirror(JOBSETS)
        self.world.mirror(JOBS)

    async def act(self) -> float | None:
        """Bring every JobSet one step on, one after the other as the real controller does."""
        jobs = list(self.world.mirror(JOBS))
        for jobset in self.world.mirror(JOBSETS):
            if not is_leaving(jobset) and not jobset["spec"].get("managedBy"):
                jobset_defaults(jobset)
                await self._keep(jobset, [job for job in jobs if is_owned(job, jobset)])
        return None

    async def _keep(self, jobset: Json, jobs: list[Json]) -> None:
        status = jobset.get("status", {})
        attempt = status.get("restarts", 0)
        current = [job for job in jobs if _attempt(job) == attempt]
        if status.get("terminalState"):
            await all_of(self._delete(job) for job in jobs if not is_true(job, "Failed") and not is_true(job, "Complete"))
            return
        new = _new_status(jobset, current)
        if new.get("restarts", 0) == attempt and not new.get("terminalState"):
            await self._steer(jobset, jobs, current, attempt)
        await self._write(jobset, new)
        if new.get("restarts", 0) != attempt:
            await all_of(self._delete(job) for job in jobs)

    async def _steer(self, jobset: Json, jobs: list[Json], current: list[Json], attempt: int) -> None:
        """Delete what is of an older attempt, create what is missing, suspend and resume."""
        old = [job for job in jobs if _attempt(job) < attempt]
        calls: list[Coroutine[Any, Any, None]] = [self._delete(job) for job in old]
        taken = {job["metadata"]["name"] for job in jobs}
        have = {job["metadata"]["name"]: job for job in current}
        blocked = bool(old) and jobset["spec"].get("failurePolicy", {}).get("restartStrategy") == "BlockingRecreate"
        for wanted in jobset_jobs.wanted_jobs(jobset, attempt):
            name = wanted["metadata"]["name"]
            if name in have:
                calls += self._suspend_or_resume(jobset, have[name], wanted)
            elif name not in taken and not blocked:
                calls.append(self._create(wanted))
        await all_of(calls)

    def _suspend_or_resume(self, jobset: Json, job: Json, wanted: Json) -> list[Coroutine[Any, Any, None]]:
        asked, is_now = bool(jobset["spec"].get("suspend")), bool(job["spec"].get("suspend"))
        if asked == is_now or is_true(job, "Failed") or is_true(job, "Complete") or is_leaving(job):
            return []
        return [self._patch(job, {"spec": {"suspend": True}} if asked else jobset_jobs.resumed(job, wanted))]

    async def _patch(self, job: Json, patch: Json) -> None:
        self.world.mirror(JOBS).note(await self.world.client.patch(JOBS, job, patch))

    async def _create(self, job: Json) -> None:
        try:
            self.world.mirror(JOBS).note(await self.world.client.create(JOBS, job))
        except Refusal as no:
            if no.code != 409:  # noqa: PLR2004 - the old one of this name is still ending
                raise

    async def _delete(self, job: Json) -> None:
        if not is_leaving(job):
            await self.world.client.delete(JOBS, job, propagationPolicy="Foreground")

    async def _write(self, jobset: Json, status: Json) -> None:
        if status == jobset.get("status", {}):
            return
        version = {"resourceVersion": jobset["metadata"]["resourceVersion"]}
        try:
            patch = {"metadata": version, "status": status}
            self.world.mirror(JOBSETS).note(await self.world.client.patch(JOBSETS, jobset, patch, door="status"))
        except Refusal as no:
            if no.code not in {404, 409}:
                raise


def _attempt(job: Json) -> int:
    return int(job["metadata"].get("labels", {}).get(jobset_jobs.ATTEMPT, 0))


def _new_status(jobset: Json, current: list[Json]) -> Json:
    """Work out the status: counts of each replicated Job, then whatever befell the set."""
    status = dict(jobset.get("status", {}))
    counts = [_counts(replicated, current) for replicated in jobset["spec"].get("replicatedJobs", ())]
    status["replicatedJobsStatus"] = counts
    failed = [job for job in current if is_true(job, "Failed")]
    if failed:
        return _after_failure(jobset, status, failed[0])
    if current and len(current) == _replicas(jobset) and all(is_true(job, "Complete") for job in current):
        return _ended(status, "Completed", "AllJobsCompleted", "jobset completed successfully")
    conditions = list(status.get("conditions", ()))
    if jobset["spec"].get("suspend"):
        conditions = with_condition(conditions, "Suspended", "True", "SuspendedJobs", "jobset is suspended")
        conditions = _no_longer_restarting(conditions, "JobSetSuspended")
    elif is_true(jobset, "Suspended"):
        conditions = with_condition(conditions, "Suspended", "False", "ResumeJobs", "jobset is resumed")
    wanted = {replicated["name"]: replicated.get("replicas", 1) for replicated in jobset["spec"].get("replicatedJobs", ())}
    if all(count["ready"] == wanted[count["name"]] for count in counts):
        conditions = _no_longer_restarting(conditions, "JobsReady")
    return status | ({"conditions": conditions} if conditions else {})


def _replicas(jobset: Json) -> int:
    return int(sum(replicated.get("replicas", 1) for replicated in jobset["spec"].get("replicatedJobs", ())))


def _counts(replicated: Json, current: list[Json]) -> Json:
    counts = {"name": replicated["name"]} | dict.fromkeys(("active", "failed", "ready", "succeeded", "suspended"), 0)
    for job in current:
        if job["metadata"]["labels"].get(jobset_jobs.REPLICATED) != replicated["name"]:
            continue
        state, spec = job.get("status", {}), job["spec"]
        pods = min(spec.get("parallelism", 1), spec.get("completions") or spec.get("parallelism", 1))
        counts["ready"] += state.get("ready", 0) + state.get("succeeded", 0) >= pods
        counts["succeeded"] += is_true(job, "Complete")
        counts["failed"] += is_true(job, "Failed")
        counts["active"] += state.get("active", 0) > 0
        counts["suspended"] += bool(spec.get("suspend"))
    return counts


def _after_failure(jobset: Json, status: Json, job: Json) -> Json:
    policy = jobset["spec"].get("failurePolicy")
    if policy is None:
        return _ended(status, "Failed", "FailedJobs", f"jobset failed due to one or more job failures: {job['metadata']['name']}")
    rule = next((rule for rule in policy.get("rules", ()) if _matches(rule, job)), {"action": "RestartJobSet"})
    counted = status.get("restartsCountTowardsMax", 0)
    match rule["action"]:
        case "FailJobSet":
            return _ended(
                status, "Failed", "FailJobSetFailurePolicyAction", f"jobset failed due to FailJobSet: {job['metadata']['name']}"
            )
        case "RestartJobSetAndIgnoreMaxRestarts":
            pass
        case _ if counted >= policy.get("maxRestarts", 0):
            return _ended(
                status, "Failed", "ReachedMaxRestarts", f"jobset failed due to reaching max number of restarts: {counted}"
            )
        case _:
            status["restartsCountTowardsMax"] = counted + 1
    status["restarts"] = status.get("restarts", 0) + 1
    reason = f"FailurePolicy_{rule['name']}" if "name" in rule else "DefaultFailurePolicy"
    conditions = with_condition(list(status.get("conditions", ())), "RestartingJobSet", "True", reason, "restarting jobset")
    return status | {"conditions": conditions}


def _matches(rule: Json, job: Json) -> bool:
    failed = condition(job, "Failed")
    targets, reasons = rule.get("targetReplicatedJobs"), rule.get("onJobFailureReasons")
    patterns = rule.get("onJobFailureMessagePatterns")
    if targets and job["metadata"]["labels"].get(jobset_jobs.REPLICATED) not in targets:
        return False
    if reasons and failed.get("reason") not in reasons:
        return False
    return not patterns or any(re.search(pattern, failed.get("message", "")) for pattern in patterns)


def _ended(status: Json, how: str, reason: str, message: str) -> Json:
    conditions = with_condition(list(status.get("conditions", ())), how, "True", reason, message)
    return status | {"terminalState": how, "conditions": _no_longer_restarting(conditions, f"JobSet{how}")}


def _no_longer_restarting(conditions: list[Json], reason: str) -> list[Json]:
    if not any(of["type"] == "RestartingJobSet" and of["status"] == "True" for of in conditions):
        return conditions
    return with_condition(conditions, "RestartingJobSet", "False", reason)
