"""Rules: what to look for, as YAML. Text in, checked values out; `sliceward.detectors.clauses` evaluates them.

A rule names the fault (``kind``), the ``part`` that it judges each of (chip, link, host), and clauses under ``all``, ``any``
or ``not``: ``threshold`` (k of the last n readings), ``rate`` (increase of a counter), ``absent`` (no reading), ``stalled``
(a gauge that stands). What is missing makes a clause unknown, never false. One page a rule: docs/detectors/.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from sliceward.detectors.finding import Kind  # noqa: TC001 (pydantic reads it at run time)
from sliceward.detectors.metrics import CATALOGUE, EntityKind, Shape
from sliceward.topology import yaml_text
from sliceward.topology.errors import Misconfigured
from sliceward.topology.health import Severity  # noqa: TC001 (pydantic reads it at run time)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FRAME_AGE = "host_frame_age_seconds"
"""The one metric that is not read but known: how long a host has been silent."""

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d|periods?)")


@dataclass(frozen=True, slots=True)
class Span:
    """A time in a rule: ``90s``, ``5 periods`` (of frames), or ``grace`` (the watcher's setting)."""

    seconds: float = 0.0
    periods: float = 0.0
    grace: bool = False

    @classmethod
    def parse(cls, text: object) -> Span:
        """Read a span; ValueError says how to write one."""
        if isinstance(text, Span):
            return text
        if text == "grace":
            return cls(grace=True)
        match = _SPAN.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise ValueError(f"{text!r} is no time: write 90s, 10m, 2h, 5 periods or grace")
        number = float(match[1])
        return cls(periods=number) if match[2].startswith("period") else cls(seconds=number * _UNITS[match[2]])

    def at(self, period: float, grace: float) -> float:
        """Give the seconds, with ``period`` and ``grace`` in seconds."""
        return grace if self.grace else self.seconds + self.periods * period


Time = Annotated[Span, BeforeValidator(Span.parse)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class _About(_Part):
    """``over``: where the metric is of a finer kind than the rule's part, whether any or all of the part's must show it."""

    metric: str
    over: Literal["any", "all"] = "any"

    @field_validator("metric")
    @classmethod
    def _in_catalogue(cls, name: str) -> str:
        if name not in CATALOGUE:
            raise ValueError(f"no metric {name!r} in the catalogue{_meant(name, CATALOGUE)}")
        return name


class Threshold(_About):
    """At least ``k`` of the last ``n`` readings are beyond ``value``."""

    op: Literal[">=", ">", "<=", "<", "=="]
    value: float
    k: int = Field(default=3, ge=1)
    n: int = Field(default=5, ge=1)

    @model_validator(mode="after")
    def _possible(self) -> Threshold:
        if self.k > self.n:
            raise ValueError(f"k = {self.k} of n = {self.n} readings can never be")
        if CATALOGUE[self.metric].shape is Shape.COUNTER:
            raise ValueError(f"{self.metric} is a counter: ask with rate, not threshold")
        return self


class Rate(_About):
    """The counter rose by at least ``increase`` within a time."""

    increase: float = Field(gt=0)
    within: Time

    @field_validator("metric")
    @classmethod
    def _is_counter(cls, name: str) -> str:
        if name in CATALOGUE and CATALOGUE[name].shape is not Shape.COUNTER:
            raise ValueError(f"{name} is a gauge: ask with threshold, not rate")
        return name


class Absent(_About):
    """No reading for a time of our attention, and for at least ``periods`` periods of the host."""

    after: Time
    periods: float = Field(default=3, ge=3)


class Stalled(_About):
    """The gauge has had the same value for a time, and is still read."""

    after: Time


class Clause(_Part):
    """One condition, or conditions joined."""

    threshold: Threshold | None = None
    rate: Rate | None = None
    absent: Absent | None = None
    stalled: Stalled | None = None
    all: tuple[Clause, ...] | None = None
    any: tuple[Clause, ...] | None = None
    negated: Clause | None = Field(default=None, alias="not")

    @model_validator(mode="after")
    def _exactly_one(self) -> Clause:
        given = [name for name in _CLAUSES if getattr(self, name) is not None]
        if len(given) != 1:
            wanted = ", ".join(_CLAUSES).replace("negated", "not")
            raise ValueError(f"has {len(given)} conditions; write exactly one of {wanted}")
        if () in (self.all, self.any):
            raise ValueError("has an empty list of conditions")
        return self

    @property
    def condition(self) -> Threshold | Rate | Absent | Stalled | None:
        """The condition itself, None where this joins others."""
        return self.threshold or self.rate or self.absent or self.stalled

    def conditions(self) -> Iterator[Threshold | Rate | Absent | Stalled]:
        """Go through the conditions that speak for the fault: those under ``not`` are left out."""
        if self.condition is not None:
            yield self.condition
        for inner in (*(self.all or ()), *(self.any or ())):
            yield from inner.conditions()

    def metrics(self) -> Iterator[str]:
        """Go through the names of all metrics."""
        if self.condition is not None:
            yield self.condition.metric
        for inner in (*(self.all or ()), *(self.any or ()), *((self.negated,) if self.negated else ())):
            yield from inner.metrics()


_CLAUSES = ("threshold", "rate", "absent", "stalled", "all", "any", "negated")


class Rule(_Part):
    """One detector. ``says``: text of its findings with ``{value}``, ``{limit}``, ``{unit}`` of the first evidence and ``{note}``.

    ``lift``: name the host's slice, gang or cube instead of the host. ``fold``: name the host where most of its chips show it.
    ``yields_to``: rules that say more about the same part. ``note``: key of the frame's notes that belongs in the text, with
    ``{chip}``. ``about``, ``limits`` and ``advice``: what it sees, where its numbers come from, what to do; its page is made
    of them. ``clear_for``: how long it must not show before it is resolved. ``hardware``: whether it accuses a part at all.
    """

    name: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    version: str = "1"
    kind: Kind
    part: Literal["chip", "link", "host"]
    severity: Severity
    says: str
    when: Clause
    clear_for: Time = Span(periods=5)
    score: float = Field(default=0.9, gt=0, le=1)
    lift: Literal["slice", "gang", "cube"] | None = None
    fold: bool = False
    hardware: bool = True
    yields_to: tuple[str, ...] = ()
    note: str = ""
    about: str = ""
    limits: str = ""
    advice: str = ""

    @property
    def entity(self) -> EntityKind:
        """The kind of entity that the rule judges."""
        return EntityKind(self.part)

    @model_validator(mode="after")
    def _sound(self) -> Rule:
        try:
            self.says.format(value=1.0, limit=1.0, unit="s", note="")
        except (KeyError, ValueError, IndexError, AttributeError) as error:
            raise ValueError(
                f"says cannot be filled in: {error}; it may use {{value}}, {{limit}}, {{unit}} and {{note}}"
            ) from None
        if (self.lift and self.part != "host") or (self.fold and self.part != "chip"):
            raise ValueError("lift is for rules about hosts, fold for rules about chips")
        if self.part != "link" and any(CATALOGUE[name].kind is EntityKind.LINK for name in self.when.metrics()):
            raise ValueError("asks a metric of links about another part; write part: link")
        return self


def load_rules(texts: Mapping[str, str]) -> tuple[Rule, ...]:
    """Give the rules of YAML texts by file name, each a list or one rule; a later rule replaces an earlier of its name.

    Raises:
        Misconfigured: naming file, key and what to write instead.
    """
    rules: dict[str, Rule] = {}
    for file, text in texts.items():
        found = yaml_text.read(text, file).value
        for place, body in enumerate(found if isinstance(found, list) else [found]):
            rule = _rule(file, place, body)
            rules[rule.name] = rule
    for rule in rules.values():
        for other in rule.yields_to:
            if other not in rules:
                raise Misconfigured(f"rule {rule.name}: yields_to", f"names no rule{_meant(other, rules)}")
    return tuple(rules.values())


def _rule(file: str, place: int, body: object) -> Rule:
    if not isinstance(body, dict):
        raise Misconfigured(f"{file}[{place}]", "is not a rule", "A rule is a mapping; see docs/detectors/")
    try:
        return Rule.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(step) for step in first["loc"])
        if first["type"] == "extra_forbidden":
            why, advice = "is not a key that is known here", _meant(str(first["loc"][-1]), _keys_at(first["loc"][:-1]))
        else:
            why, advice = first["msg"].removeprefix("Value error, "), ""
        where = f"{file}: {body.get('name', place)}" + (f": {path}" if path else "")
        raise Misconfigured(where, why + advice) from error


_SHAPES: dict[str, type[BaseModel]] = {"threshold": Threshold, "rate": Rate, "absent": Absent, "stalled": Stalled}


def _keys_at(path: tuple[int | str, ...]) -> list[str]:
    model = next((_SHAPES[step] for step in reversed(path) if step in _SHAPES), Clause if path else Rule)
    return [field.alias or name for name, field in model.model_fields.items()]


def _meant(name: str, known: Any) -> str:  # noqa: ANN401 (any iterable of names)
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
