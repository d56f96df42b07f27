"""Who calls: bearer tokens from files, compared in constant time, with a role each.

The files are read again while callers come, whatever they show: a token that was taken out, changed or emptied lets nobody in any more.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sliceward.daemons.coordinator.settings import TokenSettings

log = structlog.get_logger(__name__)

REREAD_AFTER = 1.0
"""Seconds: how long a token that was taken away still lets in, and how long a new one waits."""
SHORTEST = 16


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, by the name of the token, and what that one may do (``view``, ``operate``, ``alert``)."""

    name: str
    role: str

    def may(self, need: str) -> bool:
        """Whether this caller has the role ``need``; operate includes the others."""
        return self.role in (need, "operate")


LOCAL = Caller("local", "operate")


class Tokens:
    """The tokens that are known. ``clock`` gives monotonic seconds. With no token everybody is `LOCAL`."""

    def __init__(self, settings: Sequence[TokenSettings], clock: Callable[[], float]) -> None:
        """Read all tokens once.

        Raises:
            Misconfigured: a token cannot be read, or is too short to be one.
        """
        self._settings, self._clock = tuple(settings), clock
        self._known = tuple((_digest_of(each), Caller(each.name, each.role)) for each in self._settings)
        self._read_at = clock()
        self._unread: frozenset[str] = frozenset()

    @property
    def needed(self) -> bool:
        """Whether callers must show a token."""
        return bool(self._settings)

    def caller(self, authorization: str) -> Caller | None:
        """Give who shows this ``Authorization`` header; None where nobody is known by it."""
        if not self._settings:
            return LOCAL
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            return None
        if self._clock() - self._read_at >= REREAD_AFTER:
            self._read_again()
        return self._match(token.strip())

    def _match(self, token: str) -> Caller | None:
        digest, found = hashlib.sha256(token.encode()).digest(), None
        for known, caller in self._known:
            if hmac.compare_digest(known, digest):
                found = caller
        return found

    def _read_again(self) -> None:
        """Take what the files say now. A token that cannot be read lets nobody in, and the others go on."""
        self._read_at = self._clock()
        known, unread = [], set()
        for each in self._settings:
            try:
                known.append((_digest_of(each), Caller(each.name, each.role)))
            except Misconfigured as error:
                unread.add(each.name)
                if each.name not in self._unread:
                    log.warning("token refused", name=each.name, why=str(error), until="it can be read again")
        self._known, self._unread = tuple(known), frozenset(unread)


def _digest_of(settings: TokenSettings) -> bytes:
    text = settings.token.reveal().strip()
    if len(text) < SHORTEST:
        raise Misconfigured(
            f"token {settings.name}", f"has less than {SHORTEST} characters", "Make it with: openssl rand -hex 32"
        )
    return hashlib.sha256(text.encode()).digest()
