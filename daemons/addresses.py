"""Whether an address holds a password, also where it cannot be read as one: passwords do not stand in files that others see."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

_PASSWORDS = frozenset({"password", "passwd", "pwd", "sslpassword"})
"""Parameters of an address that are a password."""


def holds_password(text: str) -> bool:
    """Whether there is a password in an address: before its host, or as a parameter."""
    scheme, found, rest = text.partition("://")
    if not found:
        return False
    query = rest.partition("?")[2]
    if any(name.lower() in _PASSWORDS and value for name, value in parse_qsl(query)):
        return True
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    user, at, _ = authority.rpartition("@")
    if at:
        return bool(user.partition(":")[2])
    # What stands there unquoted may end the host's part early: mqtt://me:pass/word@broker.
    behind = authority.partition(":")[2]
    is_port = behind.isdecimal() and scheme in ("http", "https")
    return "@" in rest and bool(behind) and not is_port and not authority.startswith("[")
