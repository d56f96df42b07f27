"""The desk on which problems are collected while objects of others are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sliceward.topology.fleet import Problem

if TYPE_CHECKING:
    from sliceward.topology.errors import Misconfigured
    from sliceward.topology.names import Names


@dataclass(slots=True)
class Desk:
    """One reading of one cluster; lives no longer than that."""

    cluster: str
    names: Names
    problems: list[Problem] = field(default_factory=list)

    def report(self, name: str, about: str, why: str, what_to_do: str) -> None:
        """Add a problem."""
        self.problems.append(Problem(name, about, why, what_to_do))

    def set_aside(self, about: str, error: Misconfigured) -> None:
        """Add the problem of an object that cannot be read."""
        todo = error.what_to_do or "Correct the object"
        self.report("MalformedObject", about, f"{error.where}: {error.why}", f"{todo}; until then it is set aside")
