"""The desk on which problems are collected while objects of others are read, and the memory of what they gave the last time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar, cast

from sliceward.topology.fleet import Problem
from sliceward.topology.ids import CubeId, PodId

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from sliceward.topology.errors import Misconfigured
    from sliceward.topology.names import Names


_Any = TypeVar("_Any")
_Id = TypeVar("_Id", CubeId, PodId)


@dataclass(frozen=True, slots=True)
class _Given:
    """What was read of ``parts``, and the problems that were found on the way. It holds the parts, so that no other gets their id."""

    parts: tuple[object, ...]
    result: object
    problems: tuple[Problem, ...]


@dataclass(slots=True)
class Memory:
    """What each part of a cluster gave when it was read last; what was not asked for in the newest reading is forgotten."""

    _before: dict[Hashable, _Given] = field(default_factory=dict)
    _now: dict[Hashable, _Given] = field(default_factory=dict)

    def turn(self) -> None:
        """Begin a reading."""
        self._before, self._now = self._now, {}

    def find(self, key: Hashable, parts: tuple[object, ...]) -> _Given | None:
        """Give what the very same parts gave; equal ones are not enough."""
        known = self._before.get(key)
        if known is None or len(known.parts) != len(parts):
            return None
        for then, part in zip(known.parts, parts, strict=True):
            if then is not part:
                return None
        self._now[key] = known
        return known

    def keep(self, key: Hashable, given: _Given) -> None:
        """Remember."""
        self._now[key] = given


@dataclass(slots=True)
class Desk:
    """One reading of one cluster; lives no longer than that. ``memory`` outlives it where the cluster is read again and again."""

    cluster: str
    names: Names
    memory: Memory = field(default_factory=Memory)
    problems: list[Problem] = field(default_factory=list)
    _ids: dict[tuple[type, str], object] = field(default_factory=dict)

    def named(self, kind: type[_Id], name: str) -> _Id:
        """Give the id of a thing in this cluster, the same one to all who name it: many hosts name one cube.

        Raises:
            Misconfigured: it is no name.
        """
        known = self._ids.get((kind, name))
        if known is None:
            known = self._ids[kind, name] = kind(self.cluster, name)
        return cast("_Id", known)

    def once(self, key: Hashable, parts: tuple[object, ...], read: Callable[[], _Any]) -> _Any:
        """Give what ``read`` gives, without calling it where the same parts were read before; their problems come again too.

        ``read`` may depend on nothing that changes but ``parts``, and change nothing but `problems`. A truth value is a part too.
        """
        known = self.memory.find(key, parts)
        if known is not None:
            self.problems.extend(known.problems)
            return cast("_Any", known.result)
        before = len(self.problems)
        result = read()
        self.memory.keep(key, _Given(parts, result, tuple(self.problems[before:])))
        return result

    def report(self, name: str, about: str, why: str, what_to_do: str) -> None:
        """Add a problem."""
        self.problems.append(Problem(name, about, why, what_to_do))

    def set_aside(self, about: str, error: Misconfigured) -> None:
        """Add the problem of an object that cannot be read."""
        todo = error.what_to_do or "Correct the object"
        self.report("MalformedObject", about, f"{error.where}: {error.why}", f"{todo}; until then it is set aside")
