"""The types of settings that pydantic has not: a duration with a unit, and a secret that is a reference and never prints."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema
from pydantic_core import core_schema

from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_MOST_SECRET_BYTES = 65_536


def parse_duration(value: object) -> object:
    """Give ``30s``, ``1.5h``, ``250ms``, ``2d`` as a `timedelta`; a bare number has no unit and is refused."""
    if isinstance(value, timedelta):
        return value
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is no duration: write a number and a unit, like 500ms, 30s, 5m, 2h or 1d")
    return timedelta(seconds=float(match[1]) * _UNITS[match[2]])


def print_duration(value: timedelta) -> str:
    """Give the shortest text that `parse_duration` reads back."""
    seconds = value.total_seconds()
    for unit in ("d", "h", "m", "s"):
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{int(seconds / _UNITS[unit])}{unit}"
    return f"{seconds:g}s"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(print_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^{_DURATION.pattern}$", "examples": ["500ms", "30s", "5m"]}),
]
"""A time with its unit, e.g. ``30s``."""


class Secret:
    """A reference to a secret: a file, an environment variable, or a value that came by the environment.

    It never prints. A file is read at each use, so a rotated secret is picked up.
    """

    HOW: ClassVar[str] = "Write {file: /path/of/file} or {env: NAME_OF_VARIABLE} there"

    __slots__ = ("_env", "_environ", "_file", "_value")

    def __init__(
        self, *, file: Path | None = None, env: str = "", value: str = "", environ: Mapping[str, str] | None = None
    ) -> None:
        """Exactly one of ``file``, ``env`` and ``value``."""
        self._file, self._env, self._value = file, env, value
        self._environ: Mapping[str, str] = os.environ if environ is None else environ

    def reveal(self) -> str:
        """Give the secret itself, without a newline at its end.

        Raises:
            Misconfigured: the file or variable is not there, or is empty.
        """
        if self._value:
            return self._value
        if self._file is None:
            text = self._environ.get(self._env, "")
            where = f"environment variable {self._env}"
        else:
            where = str(self._file)
            try:
                with self._file.open(encoding="utf-8") as file:
                    text = file.read(_MOST_SECRET_BYTES)
            except (OSError, UnicodeDecodeError) as error:
                raise Misconfigured(where, f"cannot be read as a secret: {error}", "Mount the secret there") from None
        if not text.strip():
            raise Misconfigured(where, "holds no secret", "Put the secret there")
        return text.strip("\r\n")

    @property
    def where(self) -> str:
        """Where it comes from, for people."""
        return f"file {self._file}" if self._file else f"variable {self._env}" if self._env else "environment"

    def __repr__(self) -> str:
        """Say where it comes from, never what it is."""
        return f"Secret(file={str(self._file)!r})" if self._file else f"Secret(env={self._env!r})" if self._env else "Secret(***)"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[Any], handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Take a reference; the plain value is possible only from the environment (the loader sees to that)."""
        return core_schema.with_info_plain_validator_function(
            cls._validated, serialization=core_schema.plain_serializer_function_ser_schema(repr)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Show the two forms that may stand in a file."""
        one = {"type": "object", "additionalProperties": False}
        return {
            "oneOf": [
                {**one, "properties": {"file": {"type": "string"}}, "required": ["file"]},
                {**one, "properties": {"env": {"type": "string"}}, "required": ["env"]},
            ]
        }

    @classmethod
    def _validated(cls, value: object, info: core_schema.ValidationInfo) -> Secret:
        if isinstance(value, cls):
            return value
        environ = (info.context or {}).get("environ")
        match value:
            case {"file": str(file), **rest} if file and not rest:
                return cls(file=Path(file), environ=environ)
            case {"env": str(env), **rest} if env and not rest:
                return cls(env=env, environ=environ)
            case {"value": str(text), **rest} if text and not rest:
                return cls(value=text, environ=environ)
        raise ValueError(f"is not a reference to a secret. {cls.HOW}")
