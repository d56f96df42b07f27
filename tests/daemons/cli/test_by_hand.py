"""The commands for what is only proposed: those that an action would carry out, for this gang and these hosts."""

from __future__ import annotations

import json
import shlex

import pytest

from sliceward.daemons.cli.by_hand import displacing, moving
from sliceward.topology.names import NAMES
from tests.builders import gang_id

LLM, BOX = gang_id("llm", "ml"), gang_id("box", "ml", "Job")


def test_a_jobset_is_stopped_labelled_selected_by_its_roles_and_started_again() -> None:
    move = {"gang": str(LLM), "roles": ["worker"], "hosts": ["a", "b"], "leaves": ["c"]}
    steps = [*moving(move)]
    key = f"{NAMES.gang}={LLM.key}"
    assert steps[0] == 'kubectl --namespace ml patch jobset llm --type merge --patch \'{"spec": {"suspend": true}}\''
    assert steps[1] == "kubectl --namespace ml wait pod --selector jobset.sigs.k8s.io/jobset-name=llm --for delete --timeout 15m"
    assert steps[2:4] == [f"kubectl label node c {NAMES.gang}-", f"kubectl label node a b {key} --overwrite"]
    selecting = shlex.split(steps[4])
    assert selecting[:9] == ["kubectl", "--namespace", "ml", "get", "jobset", "llm", "--output", "json", "|"]
    assert selecting[10] == (
        '(.spec.replicatedJobs[] | select(.name == "worker").template.spec.template.spec.nodeSelector'
        f'["{NAMES.gang}"]) = "{LLM.key}"'
    )
    assert selecting[-4:] == ["kubectl", "replace", "--filename", "-"]
    assert json.loads(shlex.split(steps[5])[-1]) == {"spec": {"suspend": False}}
    assert len(steps) == 6


def test_a_job_has_one_template_and_a_gang_that_leaves_no_host_keeps_its_labels() -> None:
    steps = [*moving({"gang": str(BOX), "roles": [""], "hosts": ["a"], "leaves": []})]
    assert not any(step.endswith(f"{NAMES.gang}-") for step in steps)
    patch = shlex.split(next(step for step in steps if "nodeSelector" in step))
    assert patch[:5] == ["kubectl", "--namespace", "ml", "patch", "job"]
    assert json.loads(patch[-1]) == {"spec": {"template": {"spec": {"nodeSelector": {NAMES.gang: BOX.key}}}}}


@pytest.mark.parametrize(
    ("manager", "said"),
    [
        ("nobody", "kubectl --namespace ml patch job box --type merge --patch"),
        ("kueue", "ml/box is managed by kueue, which decides when it goes"),
    ],
)
def test_a_victim_is_stopped_by_whoever_manages_it(manager: str, said: str) -> None:
    assert displacing({"gang": str(BOX), "managed_by": manager}).startswith(said)


def test_what_is_no_gang_has_no_commands() -> None:
    with pytest.raises(TypeError, match="is no gang"):
        [*moving({"gang": "c1/host/a", "roles": [], "hosts": [], "leaves": []})]
