"""Playbook files in, checked playbooks out: schema, actions, parameters, expressions and their types.

A playbook that loads cannot fail later for a typo. The catalog of actions is an argument: any mapping from name to
something that tells ``parameters``, ``irreversible``, ``harm`` and ``inverse``.
"""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import ValidationError

from sliceward.playbooks.conditions import Condition, Language
from sliceward.playbooks.schema import Document, Mode
from sliceward.topology import yaml_text
from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import timedelta

    from sliceward.detectors.finding import Finding, Kind
    from sliceward.playbooks.schema import FindingSelector, Spec, StepSpec

RUNBOOK = "sliceward.dev/runbook"


class Known(Protocol):
    """What loading needs to know of an action."""

    @property
    def irreversible(self) -> bool:
        """Whether it needs a persisted intent and a finding that fires now."""
        ...

    @property
    def harm(self) -> bool:
        """Whether pause, modes and budgets stop it."""
        ...

    @property
    def inverse(self) -> str:
        """Name of the action that takes it back."""
        ...

    @property
    def parameters(self) -> Mapping[str, str]:
        """Names that ``with`` may hold."""
        ...


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A step of a playbook with what the catalog says of its action, and its compiled ``when``."""

    spec: StepSpec
    irreversible: bool
    harm: bool
    inverse: str
    when: Condition | None


@dataclass(frozen=True, slots=True)
class Playbook:
    """A playbook that passed every check. ``digest`` tells its text apart from an edited one."""

    name: str
    where: str
    digest: str
    mode: Mode
    spec: Spec
    runbook: str
    language: Language
    conditions: tuple[Condition, ...]
    steps: tuple[PlannedStep, ...]
    on_failure: tuple[PlannedStep, ...]
    approval: Condition | None = None

    @property
    def harms(self) -> bool:
        """Whether any step takes capacity or disturbs a gang."""
        return any(step.harm or step.irreversible for step in (*self.steps, *self.on_failure))

    def triggered_by(self, finding: Finding) -> bool:
        """Whether one of its selectors takes this finding; no expression is read."""
        return any(_takes(selector, finding) for selector in self.spec.trigger.findings)


def _takes(selector: FindingSelector, finding: Finding) -> bool:
    part = getattr(finding.part, "kind", "cluster")
    return (
        finding.kind in selector.kinds
        and finding.state in selector.states
        and (not selector.parts or part in selector.parts)
        and all(finding.labels.get(name) == value for name, value in selector.labels.items())
    )


@dataclass(frozen=True, slots=True)
class Book:
    """All playbooks in the order in which they are looked at: by priority, then by name."""

    playbooks: tuple[Playbook, ...] = ()
    by_kind: Mapping[Kind, tuple[Playbook, ...]] = field(default_factory=dict)

    def named(self, name: str) -> Playbook | None:
        """Give the playbook of that name."""
        return next((playbook for playbook in self.playbooks if playbook.name == name), None)

    def for_kind(self, kind: Kind) -> tuple[Playbook, ...]:
        """Give the playbooks that name this kind in a selector, in order."""
        return self.by_kind.get(kind, ())


def load_book(
    texts: Mapping[str, str],
    catalog: Mapping[str, Known],
    *,
    modes: Mapping[str, Mode] | Mode | None = None,
    settle_at_most: timedelta | None = None,
) -> Book:
    """Load all playbooks (file name -> text). ``modes`` overrides the files': one for all, or by playbook name (``*``: others).

    ``settle_at_most`` shortens settle times (a demo that is in a hurry).

    Raises:
        Misconfigured: the first file that cannot be used, two of one name, or a mode for a playbook that is not there.
    """
    loaded = [load_playbook(body, where, catalog) for where, body in sorted(texts.items())]
    if settle_at_most is not None:
        loaded = [_hurried(playbook, settle_at_most) for playbook in loaded]
    return book_of(loaded, modes=modes)


def book_of(loaded: Iterable[Playbook], *, modes: Mapping[str, Mode] | Mode | None = None) -> Book:
    """Put loaded playbooks in order. Raises `Misconfigured` as `load_book`."""
    found: dict[str, Playbook] = {}
    for playbook in loaded:
        if playbook.name in found:
            raise Misconfigured(playbook.where, f"is named {playbook.name!r} like {found[playbook.name].where}", "Rename one")
        found[playbook.name] = playbook
    wanted = {"*": modes} if isinstance(modes, Mode) else dict(modes or {})
    for name in wanted.keys() - {"*"} - found.keys():
        raise Misconfigured(f"playbooks.modes.{name}", "names no playbook", _did_you_mean(name, found))
    ordered = sorted(
        (_in_mode(p, wanted.get(p.name, wanted.get("*", p.mode))) for p in found.values()),
        key=lambda p: (p.spec.priority, p.name),
    )
    by_kind: dict[Kind, list[Playbook]] = {}
    for playbook in ordered:
        for kind in {kind for selector in playbook.spec.trigger.findings for kind in selector.kinds}:
            by_kind.setdefault(kind, []).append(playbook)
    return Book(tuple(ordered), {kind: tuple(playbooks) for kind, playbooks in by_kind.items()})


def load_playbook(text: str, where: str, catalog: Mapping[str, Known]) -> Playbook:
    """Give the playbook in ``text``.

    Raises:
        Misconfigured: with file, line, path of the key, and what to do.
    """
    read = yaml_text.read(text, where)
    document = _validated(read)
    spec, name = document.spec, document.metadata.name
    language = Language(f"{where}: playbook {name}", [(v.name, v.expression) for v in spec.variables])
    steps = tuple(_step(step, ("spec", "steps", n), (read, language, catalog)) for n, step in enumerate(spec.steps))
    failure = tuple(_step(step, ("spec", "onFailure", n), (read, language, catalog)) for n, step in enumerate(spec.on_failure))
    for n, step in enumerate(failure):
        if step.harm or step.irreversible:
            where, why = read.at(("spec", "onFailure", n, "action")), f"{step.spec.action} does harm"
            raise Misconfigured(
                where, why, "After a failure only healing and handing over are left: no guard or budget is asked then"
            )
    _no_doubles(read, [step.name for step in (*spec.steps, *spec.on_failure)], "step")
    _no_doubles(read, [condition.name for condition in spec.conditions], "condition")
    for action in spec.budget.actions:
        _known_action(action, read.at(("spec", "budget", "actions", action)), catalog)
    playbook = Playbook(
        name=name,
        where=where,
        digest=hashlib.sha256(text.encode()).hexdigest()[:16],
        mode=spec.mode,
        spec=spec,
        runbook=document.metadata.annotations.get(RUNBOOK, ""),
        language=language,
        conditions=tuple(language.compile(c.name, c.expression) for c in spec.conditions),
        steps=steps,
        on_failure=failure,
        approval=None if spec.approval is None else language.compile("approval", spec.approval.when),
    )
    if spec.hand_over and playbook.harms:
        raise Misconfigured(read.at(("spec", "handOver")), "hands over, but has steps that harm", "Remove the steps, or handOver")
    return playbook


def _validated(read: yaml_text.Text) -> Document:
    try:
        return Document.model_validate(read.value)
    except ValidationError as error:
        # A key that does not exist explains one that is missing better than the other way round.
        found = error.errors(include_url=False, include_context=False)
        first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
        loc = tuple(step for step in first["loc"] if not str(step).startswith(("function-", "is-instance")))
        hint = "`sliceward playbook schema` tells the form"
        if first["type"] == "extra_forbidden" and loc:
            hint = _did_you_mean(str(loc[-1]), _keys_beside(loc))
        why = (
            "is a key that does not exist"
            if first["type"] == "extra_forbidden"
            else str(first["msg"]).removeprefix("Value error, ")
        )
        raise Misconfigured(read.at(loc), why, hint) from None


def _keys_beside(loc: tuple[int | str, ...]) -> list[str]:
    """Give the keys that may stand where ``loc`` ends, by walking the schema."""
    schema = Document.model_json_schema(by_alias=True)
    node: dict[str, Any] = schema
    for step in loc[:-1]:
        node = _resolved(node, schema)
        node = node.get("items", {}) if isinstance(step, int) else node.get("properties", {}).get(step, {})
    return list(_resolved(node, schema).get("properties", {}))


def _resolved(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    for choice in (node, *node.get("anyOf", ()), *node.get("allOf", ())):
        if "$ref" in choice:
            found: dict[str, Any] = schema["$defs"][choice["$ref"].rpartition("/")[2]]
            return found
    return node


def _step(
    step: StepSpec, path: tuple[str | int, ...], needs: tuple[yaml_text.Text, Language, Mapping[str, Known]]
) -> PlannedStep:
    read, language, catalog = needs
    action = _known_action(step.action, read.at((*path, "action")), catalog)
    for name in step.given:
        if name not in action.parameters:
            hint = _did_you_mean(name, action.parameters)
            raise Misconfigured(read.at((*path, "with", name)), f"is no parameter of {step.action}", hint)
    if action.inverse and action.inverse not in catalog:
        raise Misconfigured(read.at((*path, "action")), f"the inverse {action.inverse!r} of {step.action} is no action")
    when = None if step.when is None else language.compile(f"{step.name}.when", step.when)
    return PlannedStep(step, action.irreversible, action.harm, action.inverse, when)


def _known_action(name: str, where: str, catalog: Mapping[str, Known]) -> Known:
    if name not in catalog:
        raise Misconfigured(where, f"{name!r} is no action", _did_you_mean(name, catalog))
    return catalog[name]


def _no_doubles(read: yaml_text.Text, names: list[str], what: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise Misconfigured(
                read.at(("spec",)), f"two {what}s are named {name!r}", "Names tell them apart in the story; rename one"
            )


def _did_you_mean(name: str, names: Iterable[str]) -> str:
    known = sorted(names)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"Did you mean {near[0]!r}?" if near else f"Possible are: {', '.join(known)}"


def _in_mode(playbook: Playbook, mode: Mode) -> Playbook:
    return replace(playbook, mode=mode)


def _hurried(playbook: Playbook, most: timedelta) -> Playbook:
    correlate = playbook.spec.correlate
    sooner = correlate.model_copy(update={"settle": min(most, correlate.settle)})
    return replace(playbook, spec=playbook.spec.model_copy(update={"correlate": sooner}))
