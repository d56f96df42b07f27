"""Rule files in, everything that is wrong or doubtful with them out: what ``sliceward rules lint`` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sliceward.detectors.panel import PanelSize
from sliceward.detectors.rules.load import PAGES, is_rules, read_rules
from sliceward.topology.complaint import Complaint, Level

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from sliceward.detectors.rules.load import Read
    from sliceward.detectors.rules.schema import Clause

MEMORY = PanelSize().rows * PanelSize().period
"""Seconds that a panel remembers unless it is configured otherwise."""


def lint(
    texts: Mapping[str, str], *, shipped: Mapping[str, str], tried: Collection[str], memory: float = MEMORY
) -> tuple[Complaint, ...]:
    """Give what is wrong (errors first) and what is doubtful with the rules in ``texts`` (file name -> text).

    ``shipped``: the rules that are there before, which the others may name; ``tried``: names of rules that cases expect.
    """
    read = read_rules({**shipped, **texts})
    errors = tuple(Complaint.error(error) for error in read.errors if _of(texts, error.where))
    return (
        *errors,
        *(doubt for name in read.rules if _of(texts, read.places[name]) for doubt in _doubts(read, name, tried, memory)),
    )


def _of(texts: Mapping[str, str], where: str) -> bool:
    return any(where == file or where.startswith((f"{file}:", f"{file}[")) for file in texts if is_rules(file))


def _doubts(read: Read, name: str, tried: Collection[str], memory: float) -> Iterator[Complaint]:
    rule, where = read.rules[name], f"{read.places[name]}: {name}"

    def doubt(why: str, what_to_do: str) -> Complaint:
        return Complaint(Level.WARNING, where, why, what_to_do)

    missing = [key for key in ("about", "limits", "sources", "advice") if not getattr(rule, key)]
    if missing:
        yield doubt(f"has no {', '.join(missing)}", f"Its page is made of them; see {PAGES}")
    if name not in tried:
        yield doubt("is expected by no case", "Write one beside the file, in the file of its name that ends in .test.yaml")
    for clause in rule.clauses:
        longest = max(map(_looks_back, clause.every()))
        if longest > memory:
            why = f"looks back {longest:g} s, and the watcher remembers {memory:g} s unless it is told otherwise"
            yield doubt(why, "Shorten it, ask with for, or raise panel.rows")
    if name in rule.yields_to:
        yield doubt("yields to itself, so it never fires", "Take its own name out of yields_to")


def _looks_back(clause: Clause) -> float:
    """Give the seconds of readings that one condition needs; what is remembered beside the readings needs none."""
    period = PanelSize().period
    if clause.rate is not None:
        return clause.rate.within.at(period, 0)
    return clause.threshold.n * period if clause.threshold is not None else 0.0
