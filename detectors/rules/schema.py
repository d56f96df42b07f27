"""What a rule may say, as checked values; `sliceward.detectors.clauses` evaluates them, `sliceward.detectors.rules.load` reads them.

A rule names the fault (``kind``), the ``part`` that it judges each of (chip, link, host), and clauses under ``all``, ``any``
or ``not``: ``threshold`` (k of the last n readings), ``rate`` (increase of a counter), ``absent`` (no reading), ``stalled``
(a gauge that stands), ``sequence`` (one after the other). What is missing makes a clause unknown, never false.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PrivateAttr, field_validator, model_validator

from sliceward.detectors.finding import Kind  # noqa: TC001 (pydantic reads it at run time)
from sliceward.detectors.metrics import CATALOGUE, EntityKind, Shape
from sliceward.detectors.rules.units import Span, Time, in_unit
from sliceward.topology.generations import GENERATIONS
from sliceward.topology.health import Severity  # noqa: TC001 (pydantic reads it at run time)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from pydantic import ValidationInfo

FRAME_AGE = "host_frame_age_seconds"
"""The one metric that is not read but known: how long a host has been silent."""
NAME = r"^[a-z0-9]+(-[a-z0-9]+)*$"


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
            raise ValueError(f"no metric {name!r} in the catalogue{meant(name, CATALOGUE)}")
        return name


class Threshold(_About):
    """At least ``k`` of the last ``n`` readings are beyond ``value``.

    ``value`` may carry a unit that becomes the metric's (``15m``, ``2 %``, ``8 GiB``). ``clear``: once shown it goes on until
    fewer than ``k`` are beyond this one, so that a reading that swings about the limit is one fault and not many.
    """

    op: Literal[">=", ">", "<=", "<", "=="]
    value: float
    clear: float | None = None
    k: int = Field(default=3, ge=1)
    n: int = Field(default=5, ge=1)

    @field_validator("value", "clear", mode="before")
    @classmethod
    def _in_its_unit(cls, written: object, info: ValidationInfo) -> object:
        known = CATALOGUE.get(info.data.get("metric", ""))
        return written if known is None or written is None else in_unit(written, known.unit)

    @model_validator(mode="after")
    def _possible(self) -> Threshold:
        metric = CATALOGUE[self.metric]
        if self.k > self.n:
            raise ValueError(f"k = {self.k} of n = {self.n} readings can never be")
        if metric.shape is Shape.COUNTER:
            raise ValueError(f"{self.metric} is a counter: ask with rate, not threshold")
        never = {
            ">=": self.value > metric.high, ">": self.value >= metric.high,
            "<=": self.value < metric.low, "<": self.value <= metric.low,
            "==": not metric.low <= self.value <= metric.high,
        }[self.op]  # fmt: skip
        if never:
            raise ValueError(
                f"{self.metric} {self.op} {self.value:g} can never be: it is believed from {metric.low:g} to {metric.high:g}"
            )
        if self.clear is not None and not (self.clear < self.value if self.op[0] == ">" else self.clear > self.value):
            raise ValueError(f"clear = {self.clear:g} must lie on the healthy side of {self.op} {self.value:g}")
        if self.clear is not None and self.op == "==":
            raise ValueError("clear needs a limit with a healthy side: ask with >= or <=, not ==")
        return self


class Rate(_About):
    """The counter rose by at least ``increase`` within a time; a restart or wrap of the counter is no fall and no leap."""

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

    @field_validator("metric")
    @classmethod
    def _of_a_host(cls, name: str) -> str:
        if name in CATALOGUE and (CATALOGUE[name].kind is not EntityKind.HOST or CATALOGUE[name].shape is Shape.COUNTER):
            raise ValueError(f"{name} is no gauge of a host: only of those the last change is remembered; ask with for")
        return name


Condition = Threshold | Rate | Absent | Stalled


class Sequence(_Part):
    """First the one, and the other began within a time after it. What begins in one round has no order, and is none."""

    first: Clause
    then: Clause
    within: Time

    @field_validator("within")
    @classmethod
    def _some(cls, within: Span) -> Span:
        if within == Span():
            raise ValueError("is no time at all; write 5m")
        return within


class Clause(_Part):
    """One condition, or conditions joined. ``for``: it must have held for so long without a break; unknown time does not count."""

    threshold: Threshold | None = None
    rate: Rate | None = None
    absent: Absent | None = None
    stalled: Stalled | None = None
    sequence: Sequence | None = None
    all: tuple[Clause, ...] | None = None
    any: tuple[Clause, ...] | None = None
    negated: Clause | None = Field(default=None, alias="not")
    lasting: Time | None = Field(default=None, alias="for")

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
    def condition(self) -> Condition | None:
        """The condition itself, None where this joins others."""
        return self.threshold or self.rate or self.absent or self.stalled

    def inner(self) -> Iterator[Clause]:
        """Go through the clauses right under this one that speak for the fault: one under ``not`` is left out."""
        yield from self.all or ()
        yield from self.any or ()
        if self.sequence is not None:
            yield from (self.sequence.first, self.sequence.then)

    def conditions(self) -> Iterator[Condition]:
        """Go through the conditions that speak for the fault: those under ``not`` are left out."""
        if self.condition is not None:
            yield self.condition
        for inner in self.inner():
            yield from inner.conditions()

    def every(self) -> Iterator[Clause]:
        """Go through this clause and all that it is made of."""
        yield self
        for inner in (*self.inner(), *((self.negated,) if self.negated else ())):
            yield from inner.every()

    def metrics(self) -> Iterator[str]:
        """Go through the names of all metrics."""
        for one in self.every():
            if one.condition is not None:
                yield one.condition.metric


_CLAUSES = ("threshold", "rate", "absent", "stalled", "sequence", "all", "any", "negated")


class Where(_Part):
    """Some hosts: of any of these generations (``v5e``), and in any of these node pools, and of any of these names (``pool-7-*``)."""

    generations: tuple[str, ...] = ()
    pools: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()

    @field_validator("generations")
    @classmethod
    def _known(cls, generations: tuple[str, ...]) -> tuple[str, ...]:
        known = {name for one in GENERATIONS.values() for name in (one.name, one.label)}
        for name in generations:
            if name not in known:
                raise ValueError(f"no generation {name!r}{meant(name, known)}; known are {', '.join(sorted(known))}")
        return generations

    @model_validator(mode="after")
    def _says_where(self) -> Where:
        if not (self.generations or self.pools or self.hosts):
            raise ValueError("says nothing of where it holds; write generations, pools or hosts")
        return self


class Override(Where):
    """Other limits for some hosts: ``when`` takes the place of the rule's, or ``disabled`` its whole. The first that fits is used."""

    when: Clause | None = None
    disabled: bool = False

    @model_validator(mode="after")
    def _one_of_two(self) -> Override:
        if (self.when is None) is not self.disabled:
            raise ValueError("needs either when, or disabled: true")
        return self


class Silence(Where):
    """Rules that say nothing of some hosts until a time: what they would show is unknown meanwhile, never resolved."""

    silence: tuple[str, ...] = Field(min_length=1)
    until: AwareDatetime
    why: str = Field(min_length=1)

    @field_validator("silence", mode="before")
    @classmethod
    def _one_or_more(cls, names: object) -> object:
        return (names,) if isinstance(names, str) else names

    def holds(self, now: datetime) -> bool:
        """Whether it is not over."""
        return now < self.until


class Rule(_Part):
    """One detector. ``says``: text of its findings with ``{metric}``, ``{value}``, ``{limit}``, ``{unit}`` of the first evidence and ``{note}``.

    ``lift``: name the host's slice, gang or cube instead of the host. ``fold``: name the host where most of its chips show it.
    ``yields_to``: rules that say more about the same part. ``note``: key of the frame's notes that belongs in the text, with
    ``{chip}``. ``about``, ``limits``, ``sources`` and ``advice``: what it sees, where its numbers come from, what to do; its page
    is made of them. ``clear_for``: how long it must not show before it is resolved. ``hardware``: whether it accuses a part at all.
    ``overrides``: other limits for some hosts. ``silences`` come from entries of their own, beside the rules.
    """

    name: str = Field(pattern=NAME)
    version: str = "1"
    kind: Kind
    part: Literal["chip", "link", "host"]
    severity: Severity
    says: str
    when: Clause
    overrides: tuple[Override, ...] = ()
    clear_for: Time = Span(periods=5)
    score: float = Field(default=0.9, gt=0, le=1)
    lift: Literal["slice", "gang", "cube"] | None = None
    fold: bool = False
    hardware: bool = True
    yields_to: tuple[str, ...] = ()
    note: str = ""
    about: str = ""
    limits: str = ""
    sources: tuple[str, ...] = ()
    advice: str = ""
    _silences: tuple[Silence, ...] = PrivateAttr(default=())

    @property
    def silences(self) -> tuple[Silence, ...]:
        """The silences that name it."""
        return self._silences

    def silenced(self, silence: Silence) -> Rule:
        """Give the rule with one more silence."""
        rule = self.model_copy()
        rule._silences = (*self._silences, silence)  # noqa: SLF001 (its own class)
        return rule

    @property
    def entity(self) -> EntityKind:
        """The kind of entity that the rule judges."""
        return EntityKind(self.part)

    @property
    def clauses(self) -> tuple[Clause, ...]:
        """Its clauses: its own and those of its overrides."""
        return (self.when, *(one.when for one in self.overrides if one.when is not None))

    @property
    def stalled(self) -> frozenset[str]:
        """The gauges of which the last change must be remembered."""
        return frozenset(one.stalled.metric for clause in self.clauses for one in clause.every() if one.stalled is not None)

    @model_validator(mode="after")
    def _sound(self) -> Rule:
        try:
            self.says.format(metric="m", value=1.0, limit=1.0, unit="s", note="")
        except (KeyError, ValueError, IndexError, AttributeError) as error:
            raise ValueError(
                f"says cannot be filled in: {error}; it may use {{metric}}, {{value}}, {{limit}}, {{unit}} and {{note}}"
            ) from None
        if (self.lift and self.part != "host") or (self.fold and self.part != "chip"):
            raise ValueError("lift is for rules about hosts, fold for rules about chips")
        asked = {name for clause in self.clauses for name in clause.metrics()}
        if self.part != "link" and any(CATALOGUE[name].kind is EntityKind.LINK for name in asked):
            raise ValueError("asks a metric of links about another part; write part: link")
        return self


def meant(name: str, known: Iterable[Any]) -> str:
    """Give the nearest known name as a question, "" where none is near."""
    close = get_close_matches(name, [str(one) for one in known], n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
