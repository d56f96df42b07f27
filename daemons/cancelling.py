"""A cancellation that must not be lost.

Python 3.11 loses one in two places, and a loop that goes on for ever then never ends: ``asyncio.wait_for`` gives the result
where that came in the same instant, and a TaskGroup that is just ending for an error raises the error alone (both mended in
later versions: cpython issues 86296 and 116720).
"""

from __future__ import annotations

import asyncio


class Cancelling:
    """Remembers how often its task had been asked to end when this was made."""

    def __init__(self) -> None:
        """Take note, inside the task."""
        self._task = asyncio.current_task()
        self._asked = self._task.cancelling() if self._task else 0

    def look(self) -> None:
        """Raise what was lost.

        Raises:
            CancelledError: the task has been asked to end since.
        """
        if self._task is not None and self._task.cancelling() > self._asked:
            raise asyncio.CancelledError
