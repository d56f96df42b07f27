"""A YAML file in, one plain mapping out, within the bounds of `sliceward.topology.yaml_text`.

Used for settings and the alert map; whoever writes such a file is a person, so each refusal says line, why and what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sliceward.topology.errors import Misconfigured
from sliceward.topology.yaml_text import read

if TYPE_CHECKING:
    from pathlib import Path

MOST_BYTES = 1 << 20


def parse(text: str, *, where: str) -> Any:  # noqa: ANN401 (any YAML value)
    """Give the value that ``text`` holds; ``where`` names its source in errors.

    Raises:
        Misconfigured: too large, too deep, aliases, a key twice, or no YAML.
    """
    return read(text, where, most=MOST_BYTES).value


def parse_mapping(text: str, *, where: str) -> dict[str, Any]:
    """Give the mapping that ``text`` holds; an empty file is an empty mapping.

    Raises:
        Misconfigured: as `parse`, or the top is no mapping, or a key is no text.
    """
    value = parse(text, where=where)
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise Misconfigured(where, "does not hold a mapping of keys to values at its top", "Begin with lines like 'log:'")
    return value


def read_mapping(path: Path) -> dict[str, Any]:
    """Give the mapping in a file.

    Raises:
        Misconfigured: as `parse_mapping`, or the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
        return parse_mapping(raw.decode("utf-8"), where=str(path))
    except OSError as error:
        raise Misconfigured(str(path), f"cannot be read: {error.strerror}", "Give the path of a file that exists") from None
    except UnicodeDecodeError:
        raise Misconfigured(str(path), "is not UTF-8 text", "Save it as UTF-8") from None
