"""The silences that are in force or still to come, and the maintenance windows: added and ended by people, read by deciding.

They live in the store; what is here is read from it when this replica takes the lead, and changed after each write.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC
from typing import TYPE_CHECKING

import structlog

from sliceward.playbooks.incident import Entry, EntryKind
from sliceward.playbooks.silences import LONGEST, Silence, Stand, silence_id
from sliceward.topology.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sliceward.daemons.loops import Loop
    from sliceward.daemons.store import Store
    from sliceward.playbooks.silences import Matches, Window

log = structlog.get_logger(__name__)

MOST = 500
"""Silences that are not over: each is looked at in each decision."""


@dataclass(eq=False)
class Silencing:
    """All that people asked to be left alone. ``told``: called with the number of each new line of the story; ``loop`` shows what cannot be read."""

    store: Store
    windows: tuple[Window, ...]
    clock: Callable[[], datetime]
    loop: Loop
    told: Callable[[int], None] = lambda _seq: None
    _present: dict[str, Silence] = field(default_factory=dict)

    async def load(self) -> None:
        """Read what the store has. Raises `Retry` while it is away."""
        found, aside = await self.store.silences.present(self.clock())
        self._present = {one.id: one for one in found}
        self.loop.set_aside.update(aside)

    def present(self, now: datetime) -> tuple[Silence, ...]:
        """Give what is in force or to come: silences, and the present or next occurrence of each window."""
        made = tuple(one for one in self._present.values() if one.stand(now) is not Stand.ENDED)
        return (*made, *(one for one in self.occurrences(now) if one.stand(now) is not Stand.ENDED))

    def occurrences(self, now: datetime) -> tuple[Silence, ...]:
        """Give the occurrence of each window that is in force, next, or was the last."""
        return tuple(window.occurrence(now) for window in self.windows)

    def active(self, now: datetime) -> tuple[Silence, ...]:
        """Give what is in force."""
        return tuple(one for one in self.present(now) if one.stand(now) is Stand.ACTIVE)

    async def add(self, matches: Matches, begins: datetime, ends: datetime, *, by: str, why: str) -> Silence:
        """Begin a silence.

        Raises:
            Refused: it is over already, lasts too long, or there are too many.
            Retry: the store is away.
        """
        now = self.clock()
        self._present = {name: one for name, one in self._present.items() if one.stand(now) is not Stand.ENDED}
        begins = max(begins, now)
        if ends <= begins:
            raise Refused(f"it would be over before it begins: from {begins.isoformat()} until {ends.isoformat()}")
        if ends - begins > LONGEST:
            raise Refused(f"it would last longer than {LONGEST.days} days; lower the mode of the playbook instead")
        if len(self._present) >= MOST:
            raise Refused(f"there are {MOST} silences already; end some, or match several parts with one")
        name = silence_id(matches, begins, ends, by=by, made=now)
        silence = Silence(name, matches, begins, ends, by, why, now)
        await self.store.silences.add(silence)
        self._present[name] = silence
        await self._tell(EntryKind.SILENCED, f"{matches}: {silence.text}", silence)
        return silence

    async def end(self, name: str, *, by: str, why: str) -> Silence:
        """End a silence before its time.

        Raises:
            KeyError: there never was one of that name.
            Refused: it is over already.
            Retry: the store is away.
        """
        now = self.clock()
        known = self._present.get(name) or await self.store.silences.one(name)
        if known is None:
            raise KeyError(name)
        if known.stand(now) is Stand.ENDED:
            raise Refused(f"{name} is over since {known.until.astimezone(UTC).isoformat()}")
        ended = replace(known, ended=now, ended_by=by, ended_why=why)
        await self.store.silences.end(ended)
        self._present.pop(name, None)
        await self._tell(EntryKind.SILENCE_ENDED, f"{name} ended by {by}: {why}; it held {known.matches}", ended)
        return ended

    async def _tell(self, kind: EntryKind, text: str, silence: Silence) -> None:
        log.info(kind.value, silence=silence.id, text=text)
        facts = {"silence": silence.id, "until": silence.until}
        numbers = await self.store.append("", Entry(self.clock(), "", kind, text, facts))
        self.told(numbers[-1])
