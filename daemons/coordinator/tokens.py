"""Who calls: bearer tokens from files, compared in constant time, with a role each."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sliceward.daemons.coordinator.settings import TokenSettings

REREAD_AFTER = 1.0
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
        self._known = self._read()
        self._read_at = clock()

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
        found = self._match(token.strip())
        # Files are read again when a token is not known: secrets are rotated under us. Not more often than once a second.
        if found is None and self._clock() - self._read_at >= REREAD_AFTER:
            self._read_at = self._clock()
            try:
                self._known = self._read()
            except Misconfigured:
                return None
            found = self._match(token.strip())
        return found

    def _match(self, token: str) -> Caller | None:
        digest, found = hashlib.sha256(token.encode()).digest(), None
        for known, caller in self._known:
            if hmac.compare_digest(known, digest):
                found = caller
        return found

    def _read(self) -> tuple[tuple[bytes, Caller], ...]:
        known = []
        for each in self._settings:
            text = each.token.reveal().strip()
            if len(text) < SHORTEST:
                raise Misconfigured(
                    f"token {each.name}", f"has less than {SHORTEST} characters", "Make it with: openssl rand -hex 32"
                )
            known.append((hashlib.sha256(text.encode()).digest(), Caller(each.name, each.role)))
        return tuple(known)
