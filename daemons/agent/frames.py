"""From a round to a frame: columns packed, notes only when they changed and all of them once a minute."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sliceward.detectors.frame import MAX_NOTE_KEY, MAX_NOTE_TEXT, MAX_NOTES, Frame, pack
from sliceward.detectors.metrics import CATALOGUE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sliceward.daemons.agent.identity import Identity
    from sliceward.daemons.agent.rounds import Round
    from sliceward.daemons.sources.source import Layout

ALL_NOTES_EVERY = 60.0


@dataclass(slots=True)
class FrameMaker:
    """Makes the frames of one agent, in order. ``version`` is a note of its own."""

    identity: Identity
    layout: Layout
    period: float
    version: str
    seq: int = 0
    _told: dict[str, str] = field(default_factory=dict)
    _told_all: float = -math.inf

    def make(self, found: Round, *, now: float) -> Frame:
        """Give the next frame; ``now`` is unix seconds.

        A note that is gone is told once as "".
        """
        notes = _fitting({**found.notes, "agent/version": self.version})
        # A clock that was set back must not silence the notes until it has caught up.
        is_full = not 0 <= now - self._told_all < ALL_NOTES_EVERY
        changed = notes if is_full else {key: text for key, text in notes.items() if self._told.get(key) != text}
        gone = dict.fromkeys(self._told.keys() - notes.keys(), "")
        self._told = notes
        if is_full:
            self._told_all = now
        self.seq += 1
        who = self.identity
        return Frame(
            cluster=who.host.cluster,
            host=who.host.name,
            instance_id=who.instance_id,
            boot_id=who.boot_id,
            index=who.index,
            agent_start=who.agent_start,
            seq=self.seq,
            at=now,
            period=self.period,
            chips=self.layout.chips,
            ports=self.layout.ports,
            columns={metric: pack(CATALOGUE[metric], values) for metric, values in found.columns.items()},
            notes={**gone, **changed},
            full_notes=is_full,
        )


def _fitting(notes: Mapping[str, str]) -> dict[str, str]:
    """Cut notes to what a frame may hold; a long text is better cut than the whole frame refused."""
    fitting = {key[:MAX_NOTE_KEY]: _encodable(text)[:MAX_NOTE_TEXT] for key, text in notes.items() if key.isprintable() and key}
    return dict(sorted(fitting.items())[: MAX_NOTES // 2])


def _encodable(text: str) -> str:
    """Replace what UTF-8 cannot carry (a file name of undecodable bytes, as Python reads it)."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
