"""The lines of the demo say what happened, in one word each."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from sliceward.daemons.demo.story import Story

BEGAN = datetime(2026, 11, 22, tzinfo=UTC)
DONE = "gang.checkpoint step 4: "


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        (
            {
                "kind": "step-done",
                "text": f"{DONE}saved",
                "facts": {"action": "gang.checkpoint", "checkpoint_acknowledged": True},
            },
            "   1.5 s  checkpointed   saved",
        ),
        (
            {"kind": "step-done", "text": f"{DONE}no", "facts": {"action": "gang.checkpoint", "checkpoint_acknowledged": False}},
            "   1.5 s  not saved      no",
        ),
        ({"kind": "step-done", "text": "x: 16 hosts", "facts": {"action": "domain.mark"}}, "   1.5 s  marked         16 hosts"),
        ({"kind": "step-done", "text": "x: done", "facts": {"action": "new.action"}}, "   1.5 s  new.action     done"),
        ({"kind": "closed", "text": "healed"}, "   1.5 s  closed         healed"),
        ({"kind": "step-waiting", "text": "not yet"}, ""),
    ],
)
def test_a_line_says_what_came_of_a_step_and_not_what_was_tried(entry: dict[str, Any], line: str) -> None:
    screen = io.StringIO()
    Story(Console(file=screen, width=120), BEGAN).entry(BEGAN + timedelta(seconds=1.5), entry)
    assert screen.getvalue().rstrip("\n") == line
