"""What was told past the store while that was away, kept where another place is: for who begins anew after a crash.

On SQLite a file beside the database; where replicas take turns, an annotation of their Lease; else nowhere, and a human resolves it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from sliceward.daemons.coordinator.leadership import LEASE
from sliceward.daemons.sources.threads import OneAtATime

if TYPE_CHECKING:
    from pathlib import Path

    from sliceward.daemons.coordinator.leadership import Leadership

TOLD = "sliceward.dev/told"
"""Annotation of the Lease."""


class Memo(Protocol):
    """A place for one short text. Both raise `OSError`, `Retry` or `Refused` where it is away."""

    async def keep(self, text: str) -> None:
        """Keep this in place of what was kept before; "" for nothing."""
        ...

    async def recall(self) -> str:
        """Give what was kept last."""
        ...


@dataclass(frozen=True, slots=True)
class Nowhere:
    """No such place."""

    async def keep(self, text: str) -> None:
        """Forget it."""

    async def recall(self) -> str:
        """Give nothing."""
        return ""


NOWHERE = Nowhere()


@dataclass(frozen=True, slots=True)
class InFile:
    """A file, replaced as a whole.

    A disk may hang: nobody else waits for it then, and nothing is begun before it came back, so that what was kept last stands.
    """

    path: Path
    _thread: OneAtATime = field(default_factory=OneAtATime, init=False, repr=False, compare=False)

    async def keep(self, text: str) -> None:
        """Write it."""
        await self._thread.run(lambda: self._write(text))

    async def recall(self) -> str:
        """Read it."""
        return await self._thread.run(self._read)

    def _write(self, text: str) -> None:
        if not text:
            self.path.unlink(missing_ok=True)
            return
        new = self.path.with_name(f"{self.path.name}.new")
        new.write_text(text, encoding="utf-8")
        new.replace(self.path)

    def _read(self) -> str:
        try:
            return self.path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""


@dataclass(frozen=True, slots=True)
class OnLease:
    """An annotation of the Lease."""

    leadership: Leadership

    async def keep(self, text: str) -> None:
        """Write it; a renewal that meets this change is tried again."""
        of = self.leadership.of
        body = {"metadata": {"annotations": {TOLD: text or None}}}
        await self.leadership.cluster.patch(LEASE, of.name, body, of.namespace)

    async def recall(self) -> str:
        """Read it."""
        of = self.leadership.of
        found = await self.leadership.cluster.get(LEASE, of.name, of.namespace)
        return "" if found is None else str((found["metadata"].get("annotations") or {}).get(TOLD, ""))
