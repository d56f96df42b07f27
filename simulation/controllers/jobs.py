"""The Job controller: pods for indices, failures counted once, suspension, and the two steps of a Job's failure.

As measured on Kubernetes 1.36: a pod that is being deleted counts as failed at once (``TerminatingOrFailed``); ``FailureTarget``
comes then and ends the Job's other pods; ``Failed`` comes when the last of them is gone. Pods that end because of a suspension are
never counted. Followers of an exclusively placed gang are created only when their leader (index 0) is bound, with the leader's
topology domain as node selector: what JobSet's pod webhooks do.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sliceward.simulation.controllers import job_pods
from sliceward.simulation.controllers.client import JOBS, NODES, PODS, Refusal, all_of
from sliceward.simulation.controllers.controller import World, has_ended, is_leaving, is_owned, is_true, with_condition
from sliceward.simulation.controllers.job_pods import TRACKED, JobPods

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from sliceward.simulation.controllers.client import Json


@dataclass(slots=True)
class JobController:
    """Keeps all Jobs. ``counted`` are pods whose end is in the Job's status already; ``again_at`` holds back-offs."""

    world: World
    letters: random.Random = field(default_factory=random.Random)
    counted: set[str] = field(default_factory=set)
    again_at: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Ask for the mirrors."""
        for resource in (JOBS, PODS, NODES):
            self.world.mirror(resource)

    async def act(self) -> float | None:
        """Bring every Job one step on."""
        pods = list(self.world.mirror(PODS))
        self.counted &= {pod["metadata"]["uid"] for pod in pods}
        now = asyncio.get_running_loop().time()
        jobs = list(self.world.mirror(JOBS))
        await all_of(self._keep(job, [pod for pod in pods if is_owned(pod, job)], now) for job in jobs)
        await all_of(self._release_orphan(pod) for pod in pods if is_leaving(pod) and not self._has_job(pod))
        later = [at - now for at in self.again_at.values() if at > now]
        return min(later) if later else None

    def _has_job(self, pod: Json) -> bool:
        return TRACKED not in pod["metadata"].get("finalizers", ()) or any(is_owned(pod, job) for job in self.world.mirror(JOBS))

    async def _release_orphan(self, pod: Json) -> None:
        await self._release(pod)

    async def _keep(self, job: Json, all_pods: list[Json], now: float) -> None:
        pods = job_pods.sorted_out(all_pods)
        finished = is_true(job, "Failed") or is_true(job, "Complete")
        if finished or is_leaving(job):
            await all_of(self._release(pod) for pod in all_pods if has_ended(pod) or is_leaving(pod))
            return
        suspended = bool(job["spec"].get("suspend"))
        fresh = [] if suspended else [pod for pod in pods.failing(job) if self._uncounted(pod)]
        done = [pod for pod in pods.succeeded if self._uncounted(pod)]
        status = self._status(job, pods, fresh, done, now)
        failing = any(of["type"] == "FailureTarget" and of["status"] == "True" for of in status["conditions"])
        if not suspended and not failing:
            self._note_back_off(job, fresh, now)
        await self._write_status(job, status)
        # Whatever ends while the Job is suspended is settled for good: our mirror may show it a moment longer than the resumption.
        self.counted |= {pod["metadata"]["uid"] for pod in (all_pods if suspended else (*fresh, *done))}
        await all_of(self._release(pod) for pod in all_pods if has_ended(pod) or is_leaving(pod))
        if suspended or failing:
            await all_of(self.world.client.delete(PODS, pod) for pod in pods.active)
        elif now >= self.again_at.get(job["metadata"]["uid"], 0.0):
            await self._create_missing(job, pods, status)

    def _uncounted(self, pod: Json) -> bool:
        meta = pod["metadata"]
        return TRACKED in meta.get("finalizers", ()) and meta["uid"] not in self.counted

    def _note_back_off(self, job: Json, fresh: list[Json], now: float) -> None:
        if fresh:
            failed = job.get("status", {}).get("failed", 0) + len(fresh)
            wait = self.world.times.job_back_off.total_seconds() * 2 ** (min(failed, 6) - 1)
            self.again_at[job["metadata"]["uid"]] = now + wait

    def _status(self, job: Json, pods: JobPods, fresh: list[Json], done: list[Json], now: float) -> Json:
        del now
        spec, was = job["spec"], job.get("status", {})
        failed = was.get("failed", 0) + len(fresh)
        indices = job_pods.parsed_indices(was.get("completedIndexes", "")) | {job_pods.index_of(pod) for pod in done}
        status = {
            "active": len(pods.active),
            "ready": sum(is_true(pod, "Ready") for pod in pods.active),
            "terminating": len(pods.terminating),
            "failed": failed,
            "succeeded": was.get("succeeded", 0) + len(done),
            "completedIndexes": job_pods.printed_indices(indices - {-1}),
            "startTime": None if spec.get("suspend") else was.get("startTime") or job_pods.stamp(),
        }
        conditions = list(was.get("conditions", ()))
        if spec.get("suspend"):
            conditions = with_condition(conditions, "Suspended", "True", "JobSuspended", "Job suspended")
        elif any(of["type"] == "Suspended" for of in conditions):
            conditions = with_condition(conditions, "Suspended", "False", "JobResumed", "Job resumed")
        if fresh and failed > spec.get("backoffLimit", 6):
            message = "Job has reached the specified backoff limit"
            conditions = with_condition(conditions, "FailureTarget", "True", "BackoffLimitExceeded", message)
        target = next((of for of in conditions if of["type"] == "FailureTarget" and of["status"] == "True"), None)
        if target is not None and not pods.active and not pods.terminating:
            conditions = with_condition(conditions, "Failed", "True", target["reason"], target.get("message", ""))
        wanted = spec.get("completions")
        if wanted is not None and status["succeeded"] >= wanted and not pods.active and not pods.terminating:
            conditions = with_condition(
                conditions, "SuccessCriteriaMet", "True", "CompletionsReached", "Reached expected number of succeeded pods"
            )
            conditions = with_condition(
                conditions, "Complete", "True", "CompletionsReached", "Reached expected number of succeeded pods"
            )
            status["completionTime"] = was.get("completionTime") or job_pods.stamp()
        return status | {"conditions": conditions}

    async def _write_status(self, job: Json, status: Json) -> None:
        was = job.get("status", {})
        if all((was.get(key) or None) == (value or None) for key, value in status.items()):
            return
        try:
            self.world.mirror(JOBS).note(await self.world.client.patch(JOBS, job, {"status": status}, door="status"))
        except Refusal as no:
            if no.code != 404:  # noqa: PLR2004 - a Job that is gone needs no status
                raise

    async def _release(self, pod: Json) -> None:
        """Take our finalizer off a pod whose end is counted."""
        finalizers = pod["metadata"].get("finalizers", [])
        if TRACKED not in finalizers:
            return
        left = [name for name in finalizers if name != TRACKED]
        patch = {"metadata": {"uid": pod["metadata"]["uid"], "finalizers": left}}
        try:
            answer = await self.world.client.patch(PODS, pod, patch)
        except Refusal as no:
            if no.code not in {404, 409}:
                raise
            return
        pod["metadata"]["finalizers"] = left
        del answer

    async def _create_missing(self, job: Json, pods: JobPods, status: Json) -> None:
        indices = job_pods.missing_indices(job, pods, job_pods.parsed_indices(status["completedIndexes"]))
        domain = job_pods.leaders_domain(job, pods, self.world.mirror(NODES))
        if domain is job_pods.WAIT:
            indices = [index for index in indices if index == 0]
        calls: list[Coroutine[Any, Any, None]] = []
        for index in indices:
            suffix = "".join(self.letters.choices("bcdfghjklmnpqrstvwxz2456789", k=5))
            calls.append(self._create(job_pods.make(job, index, suffix, domain if index else {})))
        await all_of(calls)

    async def _create(self, pod: Json) -> None:
        try:
            self.world.mirror(PODS).note(await self.world.client.create(PODS, pod))
        except Refusal as no:
            if no.code not in {403, 404, 409}:
                raise
