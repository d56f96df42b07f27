"""What a reporter and the agent say to each other: one JSON object a line, at most `MAX_LINE` bytes, in UTF-8.

=============  ===============  ============================================================================
``say``        from             holds
=============  ===============  ============================================================================
``hello``      reporter         ``version`` 1, ``job`` (see `identity`), ``pid``; first on each connection
``state``      reporter         ``step``, ``step_seconds``, ``step_age``, ``checkpoint_step``, ``checkpoint_age``,
                                ``links`` {"chip/port": score}, ``throttle`` {"chip": score}, ``coordinates``
                                [[x, y, z] per chip], ``spent`` {activity: seconds since the process
                                began}; what is not known is left out, ages in seconds
``event``      reporter         ``event`` (``fatal``), ``text``
``answer``     reporter         ``id``, ``ok``, ``why``, ``checkpoint_step``
``checkpoint`` agent            ``id``, ``deadline`` (unix seconds), optional ``at_step``
=============  ===============  ============================================================================

Ages rather than times, so that no two clocks need to agree. An unknown ``say`` or key is skipped: either side may be newer.
"""

from __future__ import annotations

import json
from typing import Any

VERSION = 1
MAX_LINE = 65_536
SOCKET = "/run/sliceward/reporter.sock"


def line(message: dict[str, Any]) -> bytes:
    """Give the line that carries ``message``.

    Raises:
        ValueError: it would be longer than the other side reads, or holds NaN.
    """
    raw = json.dumps(message, separators=(",", ":"), allow_nan=False).encode() + b"\n"
    if len(raw) > MAX_LINE:
        raise ValueError(f"a message of {len(raw)} bytes; at most {MAX_LINE} are read")
    return raw


def read(raw: bytes) -> dict[str, Any]:
    """Give the message of one line.

    Raises:
        ValueError: it is not one JSON object with a text ``say``.
    """
    try:
        message = json.loads(raw)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(message, dict) or not isinstance(message.get("say"), str):
        raise ValueError("not a JSON object with a text 'say'")  # noqa: TRY004 (one error for whatever a line holds)
    return message
