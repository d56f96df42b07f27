"""The demo's terminal: one line per thing that happens, with the seconds since the fleet was up, as it happens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from typing import Any

    from rich.console import Console

WORDS: Mapping[str, tuple[str, str]] = {
    "evidence.keep": ("evidence", "dim"),
    "gang.plan": ("planned", "cyan"),
    "domain.mark": ("marked", "yellow"),
    "node.cordon": ("cordoned", "yellow"),
    "gang.checkpoint": ("checkpointed", "cyan"),
    "gang.suspend": ("suspended", "cyan"),
    "gang.end_dead": ("ended", "cyan"),
    "gang.wait_gone": ("all gone", "cyan"),
    "gang.place": ("moved", "cyan"),
    "gang.resume": ("resumed", "cyan"),
    "gang.verify": ("training again", "bold green"),
    "host.repair": ("repaired", "green"),
    "host.burn_in": ("proven", "green"),
    "domain.give_back": ("given back", "bold green"),
    "human.hand_over": ("handed over", "bold yellow"),
}
"""What a finished step is called in the story."""

KINDS: Mapping[str, tuple[str, str]] = {
    "seen": ("seen", "yellow"),
    "located": ("located", "bold yellow"),
    "decided": ("decided", "bold cyan"),
    "held": ("held", "yellow"),
    "paged": ("paged", "magenta"),
    "step-failed": ("failed", "bold red"),
    "closed": ("closed", "bold green"),
}


@dataclass(slots=True)
class Story:
    """Writes the lines. ``begun``: when the seconds begin."""

    console: Console
    begun: datetime

    def tell(self, at: datetime, word: str, text: str, style: str = "") -> None:
        """Write one line."""
        line = Text(f"{(at - self.begun).total_seconds():6.1f} s  ", style="dim")
        line.append(f"{word:<15}", style=style)
        line.append(text)
        self.console.print(line)

    def entry(self, at: datetime, entry: Mapping[str, Any]) -> None:
        """Write a line of an incident's record, where it is one that a reader of the story needs."""
        kind = entry["kind"]
        if kind == "step-done":
            facts = entry.get("facts", {})
            word, style = WORDS.get(facts.get("action", ""), (facts.get("action", ""), "dim"))
            if facts.get("checkpoint_acknowledged") is False:
                word, style = "not saved", "yellow"
            self.tell(at, word, entry["text"].partition(": ")[2], style)
        elif kind in KINDS:
            word, style = KINDS[kind]
            self.tell(at, word, entry["text"], style)
