"""Playbook files in, everything that is wrong or doubtful with them out: what ``sliceward playbook lint`` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sliceward.playbooks.load import book_of, load_playbook
from sliceward.playbooks.schema import Mode
from sliceward.topology.complaint import Complaint, Level
from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sliceward.playbooks.load import Known, Playbook


def lint(texts: Mapping[str, str], catalog: Mapping[str, Known]) -> tuple[Complaint, ...]:
    """Give what is wrong (errors first, one a file) and what is doubtful with the playbooks in ``texts`` (file name -> text)."""
    errors: list[Complaint] = []
    loaded: list[Playbook] = []
    for where, text in sorted(texts.items()):
        try:
            loaded.append(load_playbook(text, where, catalog))
        except Misconfigured as error:
            errors.append(Complaint(Level.ERROR, error.where, error.why, error.what_to_do))
    try:
        book_of(loaded)
    except Misconfigured as error:
        errors.append(Complaint(Level.ERROR, error.where, error.why, error.what_to_do))
    doubts = [doubt for playbook in loaded for doubt in _doubts(playbook)]
    return (*errors, *doubts, *_shadows(loaded))


def _doubts(playbook: Playbook) -> Iterator[Complaint]:
    spec, where = playbook.spec, playbook.where

    def doubt(why: str, what_to_do: str) -> Complaint:
        return Complaint(Level.WARNING, where, f"{playbook.name}: {why}", what_to_do)

    if not playbook.runbook:
        yield doubt("names no runbook", "Add metadata.annotations: {sliceward.dev/runbook: ADDRESS}; it stands in every page")
    if playbook.harms and not playbook.conditions:
        yield doubt("acts without any condition", "Add a condition, such as finding.score >= 0.5")
    if playbook.harms and spec.mode is Mode.ENFORCE:
        yield doubt("begins in mode Enforce", "Write Observe here and promote it in the coordinator's configuration")
    longest = max(step.spec.timeout for step in playbook.steps)
    if longest > spec.timeout:
        yield doubt(f"has a step of {longest} in a run of {spec.timeout}", "Make spec.timeout longer")
    for place, step in enumerate(playbook.steps):
        if step.inverse and all(later.spec.action != step.inverse for later in playbook.steps[place + 1 :]):
            yield doubt(f"nothing takes {step.spec.name} back", f"Add a later step with action {step.inverse}")
    if playbook.harms and spec.budget.rate is None:
        yield doubt("has no limit on starts", "Add budget.rate")


def _shadows(loaded: Sequence[Playbook]) -> Iterator[Complaint]:
    """Find playbooks that can never be reached: another takes all their kinds first, without any condition."""
    ordered = sorted(loaded, key=lambda p: (p.spec.priority, p.name))
    for place, late in enumerate(ordered):
        kinds = {kind for selector in late.spec.trigger.findings for kind in selector.kinds}
        for early in ordered[:place]:
            match = early.spec.match
            open_to_all = not early.conditions and not match.clusters and not match.generations
            taken = {k for s in early.spec.trigger.findings if not s.parts and not s.labels for k in s.kinds}
            if open_to_all and kinds <= taken:
                why = f"{late.name}: is never reached, because {early.name} takes all its findings first"
                yield Complaint(Level.WARNING, late.where, why, "Give it a smaller priority, or the other a condition")
