"""Conditions of playbooks: CEL, typed at load, three-valued when evaluated. The one home of ``cel_expr_python``.

Variables are dotted names from one table (`VARIABLES`), so a typo or a wrong type is an error when the playbook is loaded.
An evaluation gives True, False or an error with its reason: a missing number or key is an error, never False. Measured:
2 to 10 microseconds each; the engine stops loops by itself (iteration budget).
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cel_expr_python import cel  # type: ignore[import-untyped]  # ships no stubs

from sliceward.playbooks.decision import Evaluated
from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LONGEST = 2_048
"""Characters of one expression."""
LONGEST_ERROR = 300
"""Characters that are told of what the engine says; it repeats the expression."""
MOST = 64
"""Conditions of one playbook; as many as Kubernetes admission policies may have."""

_TYPES = {
    "string": cel.Type.STRING,
    "int": cel.Type.INT,
    "double": cel.Type.DOUBLE,
    "bool": cel.Type.BOOL,
    "duration": cel.Type.DURATION,
    "timestamp": cel.Type.TIMESTAMP,
    "list(string)": cel.Type.List(cel.Type.STRING),
    "map(string, string)": cel.Type.Map(cel.Type.STRING, cel.Type.STRING),
}


@dataclass(frozen=True, slots=True)
class Variable:
    """A name that expressions may read."""

    type: str
    about: str


VARIABLES: Mapping[str, Variable] = {
    "now": Variable("timestamp", "The present."),
    "cluster.name": Variable("string", "The cluster."),
    "incident.id": Variable("string", "The incident."),
    "incident.kinds": Variable("list(string)", "Kinds of its findings that fire now."),
    "incident.openFor": Variable("duration", "Time since it was opened."),
    "finding.kind": Variable("string", "What is wrong, e.g. IciLinkDown."),
    "finding.part": Variable("string", "The broken part's id."),
    "finding.partKind": Variable("string", "link, chip, host, cube, slice, gang, pod or cluster."),
    "finding.severity": Variable("string", "critical, error, warning or info."),
    "finding.score": Variable("double", "How sure, 0.0 to 1.0."),
    "finding.firingFor": Variable("duration", "Time since it began."),
    "finding.source": Variable("string", "watcher, or the alert webhook that told it."),
    "finding.betweenCubes": Variable("bool", "A link that leaves its cube through a face (optical)."),
    "finding.labels": Variable("map(string, string)", "Labels of the finding."),
    "finding.others": Variable("int", "Parts that show the same fault because of this one."),
    "gang.id": Variable("string", 'The gang that is hurt; "" where none is.'),
    "gang.chips": Variable("int", "Chips that it needs; 0 without a gang."),
    "gang.tenant": Variable("string", 'Who owns it; "" without a gang.'),
    "gang.managedBy": Variable("string", 'nobody, kueue or slice-controller; "" without a gang.'),
    "gang.state": Variable("string", 'running, suspended, finished or failed; "" without a gang.'),
    "gang.priority": Variable("int", "Its priority; 0 without a gang."),
    "gang.restarts": Variable("int", "Restarts so far; 0 without a gang."),
    "gang.rate": Variable("double", "Steps a second now (an error where nobody reports)."),
    "gang.rateBefore": Variable("double", "Steps a second before the fault (an error where nobody reports)."),
    "gang.checkpointAge": Variable("duration", "Age of its last checkpoint (an error where nobody reports)."),
    "slice.id": Variable("string", 'The slice that is hurt; "" where none is.'),
    "slice.chips": Variable("int", "Chips in the slice; 0 where none is hurt."),
    "slice.cubes": Variable("int", "Cubes in the slice; 0 where none is hurt."),
    "host.name": Variable("string", 'The host of the broken part; "" where it has none or two.'),
    "host.ready": Variable("string", "Kubernetes: healthy, unhealthy or unknown."),
    "host.cordoned": Variable("bool", "A person or a tool cordoned it."),
    "host.labels": Variable("map(string, string)", "Its node labels."),
    "domain.size": Variable("int", "Hosts that leave service together; 0 where the part has no such domain."),
    "domain.generation": Variable("string", 'TPU generation of the domain, "" where unknown.'),
    "spare.cubes": Variable("int", "Whole healthy cubes of that generation that nobody uses."),
}

_CEL_NOISE = re.compile(r"(INVALID_ARGUMENT: )?ERROR: <input>:(\d+):(\d+): ([^\n]*?)( \(in container ''\))?\n", re.DOTALL)
_NAMES = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")


@dataclass(frozen=True, slots=True)
class Condition:
    """A compiled expression with its name. ``reads``: the variables in it. Made by `Language.compile`."""

    name: str
    expression: str
    reads: tuple[str, ...]
    program: cel.Expression

    def value(self, inputs: Mapping[str, Any]) -> Any:  # noqa: ANN401 (whatever the expression gives)
        """Give the value. Raises `ValueError` with the reason where it has none (a missing number, key or index)."""
        given = {name: inputs[name] for name in self.reads if name in inputs}
        try:
            found = self.program.eval(data=given)
        except (RuntimeError, TypeError) as error:
            raise ValueError(str(error)) from error
        if found.type().name() in ("ERROR", "*error*") or found.type() == cel.Type.ERROR:
            missing = [name for name in self.reads if name not in inputs]
            raise ValueError(f"{', '.join(missing)} is not known now" if missing else str(found.plain_value()))
        return found.plain_value()

    def evaluate(self, inputs: Mapping[str, Any]) -> Evaluated:
        """Give True, False or the error, with the inputs that were read."""
        read = {name: inputs[name] for name in self.reads if name in inputs}
        try:
            value: bool | str = bool(self.value(inputs))
        except ValueError as error:
            value = f"error: {error}"
        return Evaluated(self.name, self.expression, value, read)


class Language:
    """The names that the expressions of one playbook may read: those of the table and the playbook's own variables."""

    def __init__(self, where: str, variables: Sequence[tuple[str, str]] = ()) -> None:
        """Compile ``variables`` (name, expression) in order; each may read those before it. Raises `Misconfigured`."""
        self._where = where
        self._types = {name: _TYPES[variable.type] for name, variable in VARIABLES.items()}
        self._environment = cel.NewEnv(variables=self._types)
        self.variables: tuple[Condition, ...] = ()
        for name, expression in variables:
            if name in self._types or not re.fullmatch(r"[a-z][A-Za-z0-9]{0,62}", name):
                raise Misconfigured(
                    f"{where}: variable {name!r}", "is no name or is taken", "Use letters and digits, like stayCost"
                )
            compiled = self.compile(name, expression, boolean=False)
            self.variables = (*self.variables, compiled)
            self._types = self._types | {name: compiled.program.return_type()}
            self._environment = cel.NewEnv(variables=self._types)

    def compile(self, name: str, expression: str, *, boolean: bool = True) -> Condition:
        """Give the expression, checked. Raises `Misconfigured` with playbook, name, line and column."""
        where = f"{self._where}: condition {name!r}"
        if len(expression) > LONGEST:
            raise Misconfigured(
                where, f"has {len(expression)} characters, more than {LONGEST}", "Split it, or name parts as variables"
            )
        try:
            program = self._environment.compile(expression)
        except (RuntimeError, TypeError) as error:
            raise Misconfigured(where, _readable(str(error)), self._hint(expression)) from None
        if boolean and not cel.Type.BOOL.is_assignable_from(program.return_type()):
            raise Misconfigured(where, f"gives {program.return_type().name()}, not true or false", "Compare it with something")
        reads = sorted(set(_longest(expression, self._types)))
        return Condition(name, expression, tuple(reads), program)

    def inputs(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Give ``given`` with the playbook's own variables; one that cannot be computed is left out (unknown)."""
        found = dict(given)
        for variable in self.variables:
            try:
                found[variable.name] = variable.value(found)
            except ValueError:
                continue
        return found

    def _hint(self, expression: str) -> str:
        dotted = [name for name in _NAMES.findall(expression) if "." in name and name not in self._types]
        for name in dotted:
            near = _nearest(name, self._types)
            if near:
                return f"Did you mean {near}?"
        return "See docs/playbooks for the names; int and double do not mix: write 1.0"


def _longest(expression: str, names: Mapping[str, Any]) -> list[str]:
    """Give the known names in an expression: of ``host.labels.size`` it is ``host.labels``."""
    found = []
    for text in _NAMES.findall(expression):
        pieces = text.split(".")
        found += [".".join(pieces[:n]) for n in range(len(pieces), 0, -1) if ".".join(pieces[:n]) in names][:1]
    return found


def _nearest(name: str, names: Mapping[str, Any]) -> str:
    return next(iter(difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)), "")


def _readable(error: str) -> str:
    found = _CEL_NOISE.search(error)
    told = f"line {found[2]}, column {found[3]}: {found[4]}" if found else error.splitlines()[0]
    return told if len(told) <= LONGEST_ERROR else f"{told[:LONGEST_ERROR]}…"
