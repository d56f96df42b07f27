"""Signatures of Standard Webhooks 1.0.0: ``webhook-id``, ``webhook-timestamp``, ``webhook-signature``."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

_KEY_BYTES = range(24, 65)


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs with every key, so that a receiver can rotate its secret without a gap. Prints nothing of them."""

    keys: tuple[bytes, ...] = field(repr=False)

    @classmethod
    def of(cls, secret: str, where: str) -> Signer:
        """Read one or several secrets, apart by white space. Raises `Misconfigured` about the key ``where``."""
        keys = tuple(_key(one, where) for one in secret.split())
        if not keys:
            raise Misconfigured(where, "is missing", "Make one: `whsec_` + 32 random bytes in base64")
        return cls(keys)

    def headers(self, message: str, body: bytes, *, now: datetime) -> Mapping[str, str]:
        """Give the headers of one attempt. ``message``: id of what is said, the same over retries."""
        stamp = str(int(now.timestamp()))
        signatures = " ".join(sign(key, message=message, timestamp=stamp, body=body) for key in self.keys)
        return {"webhook-id": message, "webhook-timestamp": stamp, "webhook-signature": signatures}


def sign(key: bytes, *, message: str, timestamp: str, body: bytes) -> str:
    """Give the ``v1`` signature: HMAC-SHA256 over ``id.timestamp.body``."""
    digest = hmac.digest(key, f"{message}.{timestamp}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(digest).decode()}"


def _key(secret: str, where: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        key = b""
    if len(key) not in _KEY_BYTES:
        raise Misconfigured(where, "is not 24 to 64 bytes in base64", "Make one: `whsec_` + 32 random bytes in base64")
    return key
