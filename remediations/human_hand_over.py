"""human.hand_over: touch nothing, and say what a human must decide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sliceward.remediations.answering import answering
from sliceward.remediations.given import text
from sliceward.remediations.outcome import Done, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sliceward.remediations.action import Target, Verb
    from sliceward.remediations.ports import Ports


class HandOver:
    """The end of every playbook that does not know a gentler remedy. The page carries the text."""

    name: str = "human.hand_over"
    about: str = "Hand the incident to a human with what is known and what is to be decided; nothing is touched."
    irreversible: bool = False
    harm: bool = False
    inverse: str = ""
    parameters: Mapping[str, str] = {"say": "what the human must decide"}
    verbs: tuple[Verb, ...] = ()

    @answering
    async def __call__(self, target: Target, ports: Ports) -> Outcome:
        """Hand over."""
        del ports
        say = text(target.given, "say") or f"{target.text or target.part}: decide what to do"
        return Done(f"handed to a human: {say}", {"needs": "human", "say": say})
