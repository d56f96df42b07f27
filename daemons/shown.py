"""A configuration as it may be shown to anybody: secrets as set or not, addresses without what may be a key.

What comes out is made from what is known to be harmless, key by key; nothing is cut out of a text afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import BaseModel

from sliceward.daemons.setting_types import Secret, print_duration
from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Iterator

_WITH_PATH = frozenset({"mqtt", "mqtts", "sqlite", "postgresql", "postgres"})
HIDDEN = "***"


def shown(value: object) -> Any:  # noqa: ANN401 (JSON)
    """Give JSON values for a whole model or a part of one."""
    match value:
        case BaseModel():
            return {
                field.alias or name: _absent(field.annotation) if (held := getattr(value, name)) is None else shown(held)
                for name, field in type(value).model_fields.items()
            }
        case Mapping():
            return {str(key): shown(held) for key, held in value.items()}
        case list() | tuple() | set() | frozenset():
            return [shown(held) for held in value]
        case _:
            return _plain(value)


def _plain(value: object) -> str | float | None:
    match value:
        case Secret():
            return secret_shown(value)
        case timedelta():
            return print_duration(value)
        case bool() | int() | float() | None:
            return value
        case Enum():
            return address(str(value.value))
        case _:
            return address(str(value))


def secret_shown(secret: Secret) -> str:
    """Say whether a secret is set, and whence it comes; never what it is."""
    try:
        secret.reveal()
    except Misconfigured as error:
        return f"not set ({secret.where}): {error.why}"
    return f"set ({secret.where})"


def _absent(annotation: object) -> str | None:
    return "not set" if "Secret" in str(annotation) else None


def address(text: str) -> str:
    """Give an address without password; of HTTP also without path and query, which of chat services are the key."""
    if "://" not in text:
        return text
    scheme = text.partition("://")[0]
    with_path = scheme.partition("+")[0] in _WITH_PATH
    if not with_path and scheme not in ("http", "https"):
        return f"{scheme}://{HIDDEN}"
    try:
        parts = urlsplit(text)
        host, port, path = parts.hostname or "", parts.port, parts.path
        user = parts.username
    except ValueError:
        # A password with a slash in it is read as something else: then nothing behind the scheme is trusted.
        return f"{scheme}://{HIDDEN}"
    if "@" in path:
        return f"{scheme}://{HIDDEN}"
    who = "" if user is None else f"{user}:{HIDDEN}@" if parts.password else f"{user if with_path else HIDDEN}@"
    where = f"{f'[{host}]' if ':' in host else host}{'' if port is None else f':{port}'}"
    rest = path if with_path or path in ("", "/") else f"/{HIDDEN}"
    return f"{scheme}://{who}{where}{rest}"


def secrets_of(value: object, path: str = "") -> Iterator[tuple[str, Secret]]:
    """Give every secret in a model with the path of its key, e.g. ``pagers[0].secret``."""
    match value:
        case Secret():
            yield path, value
        case BaseModel():
            for name in type(value).model_fields:
                yield from secrets_of(getattr(value, name), f"{path}.{name}".lstrip("."))
        case Mapping():
            for key, held in value.items():
                yield from secrets_of(held, f"{path}.{key}".lstrip("."))
        case list() | tuple():
            for number, held in enumerate(value):
                yield from secrets_of(held, f"{path}[{number}]")
        case _:
            return
