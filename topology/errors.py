"""The three errors of sliceward, named by what the caller should do.

::

    SlicewardError
    ├── Retry          the other side did not answer, or answered "later": ask again, assume nothing
    │   └── Conflict   somebody else wrote first: read again, decide again
    ├── Refused        the other side said no and will say no again: tell a human
    └── Misconfigured  a file, a flag or an environment variable is wrong: say where, why and what to do
"""

from __future__ import annotations


class SlicewardError(Exception):
    """Anything that sliceward raises on purpose."""


class Retry(SlicewardError):
    """The outcome is unknown or temporary; the same call may be made again.

    A time-out is a ``Retry``: the effect may or may not have happened.
    """

    def __init__(self, why: str, *, after: float | None = None) -> None:
        """``after``: seconds that the other side asked us to wait, if it said so."""
        super().__init__(why)
        self.after = after


class Conflict(Retry):
    """The object changed since it was read (HTTP 409 with reason ``Conflict``)."""


class Refused(SlicewardError):
    """The other side understood and declined (HTTP 403, 404 on a write, 422): repeating changes nothing."""


class Misconfigured(SlicewardError):
    """Configuration, playbook, rule or fleet file cannot be used.

    ``where`` is a file with line, or the path of a key; ``what_to_do`` is the next step for the reader.
    """

    def __init__(self, where: str, why: str, what_to_do: str = "") -> None:
        """Keep the three parts apart so that ``-o json`` can print them."""
        self.where, self.why, self.what_to_do = where, why, what_to_do
        super().__init__(f"{where}: {why}" + (f". {what_to_do}" if what_to_do else ""))
