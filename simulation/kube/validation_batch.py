"""What may be changed on Jobs (as the API server says) and on JobSets (as the webhook of JobSet 0.12 says).

A suspended Job or JobSet lets its pod template's node selector, tolerations, labels, annotations and scheduling gates
change; for a JobSet the patch that suspends or resumes counts as suspended too.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from sliceward.simulation.kube.refusal import Cause, invalid_value, required_value, unsupported_value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sliceward.simulation.kube.refusal import Json

_IMMUTABLE = "field is immutable"
_FIXED_IN_JOB = (
    "completions",
    "selector",
    "completionMode",
    "podFailurePolicy",
    "backoffLimitPerIndex",
    "managedBy",
    "successPolicy",
)


def job_problems(new: Json, old: Json | None) -> Iterator[Cause]:
    """Judge a Job."""
    spec = new["spec"]
    restarts = spec["template"]["spec"].get("restartPolicy")
    if restarts not in {"OnFailure", "Never"}:
        if old is None and restarts == "Always":
            yield Cause(
                "spec.template.spec.restartPolicy",
                "FieldValueRequired",
                'Required value: valid values: "OnFailure", "Never"',
            )
        else:
            yield unsupported_value("spec.template.spec.restartPolicy", restarts, ("OnFailure", "Never"))
    for name in ("parallelism", "completions", "backoffLimit", "activeDeadlineSeconds"):
        if isinstance(spec.get(name), int) and spec[name] < 0:
            yield invalid_value(f"spec.{name}", spec[name], "must be greater than or equal to 0")
    if spec.get("completionMode") == "Indexed" and "completions" not in spec:
        yield required_value("spec.completions", "when completion mode is Indexed")
    if old is None:
        return
    before = old["spec"]
    for name in _FIXED_IN_JOB:
        elastic = (
            name == "completions"
            and spec.get("completionMode") == "Indexed"
            and spec.get("completions") == spec.get("parallelism")
        )
        if spec.get(name) != before.get(name) and not elastic:
            yield invalid_value(f"spec.{name}", _short(spec.get(name)), _IMMUTABLE)
    open_now = bool(before.get("suspend"))
    if _fixed_template(spec["template"], open_now=open_now) != _fixed_template(before["template"], open_now=open_now):
        yield invalid_value("spec.template", _short(spec["template"]), _IMMUTABLE)


def jobset_problems(new: Json, old: Json | None) -> Iterator[Cause]:
    """Judge a JobSet; its schema is judged elsewhere."""
    spec = new.get("spec", {})
    names: set[str] = set()
    for at, replicated in enumerate(spec.get("replicatedJobs", ())):
        name = replicated.get("name", "")
        if name in names:
            yield invalid_value(f"spec.replicatedJobs[{at}].name", name, "must be unique")
        names.add(name)
    if old is None:
        return
    before = old.get("spec", {})
    open_now = bool(before.get("suspend") or spec.get("suspend"))
    if _fixed_jobs(spec, open_now=open_now) != _fixed_jobs(before, open_now=open_now):
        yield invalid_value("spec.replicatedJobs", _short(spec.get("replicatedJobs")), _IMMUTABLE)
    if spec.get("managedBy") != before.get("managedBy"):
        yield invalid_value("spec.managedBy", _short(spec.get("managedBy")), _IMMUTABLE)


def jobset_defaults(obj: Json) -> None:
    """Fill in what the webhook of JobSet fills in."""
    spec = obj.setdefault("spec", {})
    spec.setdefault("successPolicy", {"operator": "All"})
    spec.setdefault("startupPolicy", {"startupPolicyOrder": "AnyOrder"})
    network = spec.setdefault("network", {})
    network.setdefault("enableDNSHostnames", True)
    network.setdefault("publishNotReadyAddresses", True)
    if "failurePolicy" in spec:
        spec["failurePolicy"].setdefault("restartStrategy", "Recreate")
        for at, rule in enumerate(spec["failurePolicy"].get("rules", ())):
            rule.setdefault("name", f"failurePolicyRule{at}")
    for replicated in spec.get("replicatedJobs", ()):
        replicated.setdefault("replicas", 1)
        replicated.setdefault("groupName", "default")
        job = replicated.setdefault("template", {}).setdefault("spec", {})
        job.setdefault("completionMode", "Indexed")
        job.setdefault("template", {}).setdefault("spec", {}).setdefault("restartPolicy", "OnFailure")


def _fixed_jobs(spec: Json, *, open_now: bool) -> list[Json]:
    jobs = copy.deepcopy(spec.get("replicatedJobs", []))
    for replicated in jobs:
        job = replicated.get("template", {}).get("spec", {})
        if "template" in job:
            job["template"] = _fixed_template(job["template"], open_now=open_now)
    return list(jobs)


def _fixed_template(template: Json, *, open_now: bool) -> Json:
    """Give the part of a pod template that may not change."""
    if not open_now:
        return template
    opened = {"nodeSelector", "tolerations", "schedulingGates"}
    meta = {key: value for key, value in template.get("metadata", {}).items() if key not in {"labels", "annotations"}}
    spec = {key: value for key, value in template.get("spec", {}).items() if key not in opened}
    return template | {"metadata": meta, "spec": spec}


def _short(value: Any) -> str:  # noqa: ANN401 - JSON
    """Quote a value as the server does, which quotes all of it: messages here are long, too."""
    return str(value)
