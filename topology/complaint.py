"""What a look at files of an operator complains of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sliceward.topology.errors import Misconfigured


class Level(StrEnum):
    """An error keeps a daemon from starting; a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing to look at; ``where``: the file, and where in it."""

    level: Level
    where: str
    why: str
    what_to_do: str

    @classmethod
    def error(cls, error: Misconfigured) -> Complaint:
        """Give an error as a complaint."""
        return cls(Level.ERROR, error.where, error.why, error.what_to_do)
