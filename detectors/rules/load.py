"""Text of rule files in, rules out, or everything that is wrong with them by file, line and column.

A file holds a list of rules, or one; an entry with the key ``silence`` is a silence. A later rule replaces an earlier of its
name, so that an operator's file may change a shipped rule.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING

from pydantic import BaseModel, ValidationError

from sliceward.detectors.rules.schema import Absent, Clause, Override, Rate, Rule, Sequence, Silence, Stalled, Threshold, meant
from sliceward.topology import yaml_text
from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails

    Path = tuple[int | str, ...]

PAGES = "docs/detectors/"
CASES = (".test.yaml", ".test.yml")
"""How the name of a file of cases ends, which stands beside the rules that it tries."""


@dataclass(slots=True)
class Read:
    """Rules by name with their places (``file:line:column``), silences with theirs, and all that was refused."""

    rules: dict[str, Rule] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    silences: list[tuple[Silence, str]] = field(default_factory=list)
    errors: list[Misconfigured] = field(default_factory=list)


def is_rules(name: str) -> bool:
    """Whether a file of this name holds rules: YAML, and no cases."""
    return name.endswith((".yaml", ".yml")) and not name.endswith(CASES)


def load_rules(texts: Mapping[str, str]) -> tuple[Rule, ...]:
    """Give the rules of YAML texts by file name, each a list or one rule; a later rule replaces an earlier of its name.

    Raises:
        Misconfigured: naming file, line, column and key, and what to write instead.
    """
    read = read_rules(texts)
    if read.errors:
        raise read.errors[0]
    return tuple(read.rules.values())


def read_rules(texts: Mapping[str, str]) -> Read:
    """Read all files together, so that all that is wrong is told at once; cases are left out."""
    read = Read()
    for file, text in texts.items():
        if file.endswith(CASES):
            continue
        try:
            found = yaml_text.read(text, file)
        except Misconfigured as error:
            read.errors.append(error)
            continue
        if isinstance(found.value, list):
            for place, body in enumerate(found.value):
                _take(read, found, (place,), body)
        elif found.value is not None:
            _take(read, found, (), found.value)
    _know_each_other(read)
    return read


def _take(read: Read, text: yaml_text.Text, at: Path, body: object) -> None:
    if not isinstance(body, dict):
        read.errors.append(Misconfigured(text.place(at), "is not a rule", f"A rule is a mapping; see {PAGES}"))
        return
    model: type[BaseModel] = Silence if "silence" in body else Rule
    try:
        made = model.model_validate(body)
    except ValidationError as error:
        read.errors += refusals(text, at, body, (model, _SHAPES), error)
        return
    if isinstance(made, Rule) and read.places.get(made.name, "").startswith(f"{text.where}:"):
        why = f"is the name of another rule in this file, at {read.places[made.name]}"
        read.errors.append(
            Misconfigured(f"{text.place((*at, 'name'))}: {made.name}", why, "Give it a name of its own, or leave one out")
        )
    elif isinstance(made, Silence):
        read.silences.append((made, text.place(at)))
    elif isinstance(made, Rule):
        read.rules[made.name], read.places[made.name] = made, text.place(at)


def _know_each_other(read: Read) -> None:
    for name, rule in read.rules.items():
        for other in rule.yields_to:
            if other not in read.rules:
                where = f"{read.places[name]}: {name}: yields_to"
                read.errors.append(Misconfigured(where, f"names no rule{meant(other, read.rules)}"))
    for silence, place in read.silences:
        for name in silence.silence:
            if name in read.rules:
                read.rules[name] = read.rules[name].silenced(silence)
            else:
                read.errors.append(Misconfigured(f"{place}: silence", f"names no rule{meant(name, read.rules)}"))


def refusals(
    text: yaml_text.Text,
    at: Path,
    body: Mapping[str, object],
    models: tuple[type[BaseModel], Mapping[str, type[BaseModel]]],
    error: ValidationError,
) -> list[Misconfigured]:
    """Give each thing that is wrong with an entry, by file, line and column; ``models``: that of the entry, and of keys in it."""
    found = sorted(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    # A key that is misspelt is also one that is missing: the first says which.
    misspelt = {(*one["loc"][:-1], _key_meant(tuple(one["loc"]), models)) for one in found if one["type"] == "extra_forbidden"}
    named = str(body.get("name", at[-1] if at else 0))
    return [_refused(text, at, named, models, one) for one in found if one["type"] != "missing" or one["loc"] not in misspelt]


def _keys(path: Path, models: tuple[type[BaseModel], Mapping[str, type[BaseModel]]]) -> list[str]:
    """Give the keys that are known where the last one of a path stands."""
    top, below = models
    model = next((below[step] for step in reversed(path[:-1]) if isinstance(step, str) and step in below), top)
    return [field.alias or name for name, field in model.model_fields.items()]


def _key_meant(path: Path, models: tuple[type[BaseModel], Mapping[str, type[BaseModel]]]) -> str:
    return next(iter(get_close_matches(str(path[-1]), _keys(path, models), n=1)), "")


def _refused(
    text: yaml_text.Text,
    at: Path,
    named: str,
    models: tuple[type[BaseModel], Mapping[str, type[BaseModel]]],
    error: ErrorDetails,
) -> Misconfigured:
    path = tuple(error["loc"])
    unknown = error["type"] == "extra_forbidden"
    if unknown:
        why = "is not a key that is known here" + meant(str(path[-1]), _keys(path, models))
    else:
        why = _said(error) + _nearest(error)
    shown = ".".join(str(step) for step in path)
    where = f"{text.place((*at, *path), key=unknown)}: {named}" + (f": {shown}" if shown else "")
    return Misconfigured(where, why)


def _said(error: ErrorDetails) -> str:
    """Say what is wrong in words of the file, and what to write instead."""
    kind, given = error["type"], error["input"]
    match kind:
        case "missing":
            return f"is missing: write {error['loc'][-1]}: and what it is"
        case "model_type" | "dict_type":
            what = "a list" if isinstance(given, list) else repr(given)
            return f"is {what}, and should be keys with values: write {{key: value}}"
        case "string_pattern_mismatch":
            return f"{given!r} is no name: write small letters, digits and dashes, as in {_as_name(str(given))!r}"
        case "timezone_aware":
            return "has no timezone: write 2030-01-31T12:00:00Z"
        case "int_from_float" | "int_parsing" | "int_type":
            return f"{given!r} is no whole number: write 3"
        case _:
            return error["msg"].removeprefix("Value error, ")


def _as_name(text: str) -> str:
    return "-".join(re.findall(r"[a-z0-9]+", text.lower())) or "my-rule"


def _nearest(error: ErrorDetails) -> str:
    """Give what may be meant where one of a few words was expected."""
    said = str(error.get("ctx", {}).get("expected", ""))
    words = [word.strip("' ") for part in said.split(",") for word in part.split(" or ")]
    return meant(str(error["input"]), words) if said else ""


_SHAPES: Mapping[str, type[BaseModel]] = {
    "threshold": Threshold, "rate": Rate, "absent": Absent, "stalled": Stalled, "sequence": Sequence,
    "overrides": Override, "when": Clause, "first": Clause, "then": Clause, "all": Clause, "any": Clause, "not": Clause,
}  # fmt: skip
