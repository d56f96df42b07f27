"""Text of a YAML file in, one plain mapping out, within bounds: size, depth, no aliases (a bomb needs them), no key twice.

Used for settings and the alert map; whoever writes such a file is a person, so each refusal says line, why and what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from pathlib import Path

MOST_BYTES = 1 << 20
MOST_DEPTH = 24


class _Loader(yaml.SafeLoader):
    """The safe loader, without aliases and without silent replacement of a key that stands twice."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:  # noqa: ANN401 (signature of PyYAML)
        if self.check_event(yaml.AliasEvent):
            raise yaml.constructor.ConstructorError(None, None, "aliases are not allowed here", self.get_mark())
        self.depth += 1
        if self.depth > MOST_DEPTH:
            raise yaml.constructor.ConstructorError(None, None, "is nested too deeply", self.get_mark())
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 (PyYAML's)
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} stands twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def parse(text: str, *, where: str) -> Any:  # noqa: ANN401 (any YAML value)
    """Give the value that ``text`` holds; ``where`` names its source in errors.

    Raises:
        Misconfigured: too large, too deep, aliases, a key twice, or no YAML.
    """
    if len(text) > MOST_BYTES:
        raise Misconfigured(where, f"is larger than {MOST_BYTES} characters", "Split it, or look whether it is the right file")
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 (a safe loader, made stricter above)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise Misconfigured(f"{where}{line}", f"{error.problem or error.context}", "Correct the YAML on that line") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Misconfigured(where, f"is no YAML: {error}", "Correct the file") from None


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
