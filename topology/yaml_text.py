"""Text of a YAML file in, plain values and the line of each out; bounded, without aliases (a bomb needs them) or doubled keys."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Sequence

LARGEST = 256 * 1024
"""Characters of one file that a person writes."""
DEEPEST = 24
_ADVICE = {
    "'\\t'": "Indent with spaces: YAML allows no tab there",
    "aliases are not allowed": "Write out what it stands for",
    "nested too deeply": f"Nest at most {DEEPEST} deep",
    "stands twice": "Leave one of the two",
    "another document": "Put what comes after --- into a file of its own",
    "constructor for the tag": "Leave the tag (what begins with !) out",
}
"""What to do, by what is found wrong."""


class _Loader(yaml.SafeLoader):
    """The safe loader, made stricter."""

    depth = 0

    def _here(self) -> yaml.Mark:
        mark: yaml.Mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # its stubs say nothing of it
        return mark

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:  # noqa: ANN401 (PyYAML's signature)
        if self.check_event(yaml.AliasEvent):
            raise yaml.constructor.ConstructorError(None, None, "aliases are not allowed here", self._here())
        self.depth += 1
        if self.depth > DEEPEST:
            raise yaml.constructor.ConstructorError(None, None, "is nested too deeply", self._here())
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: ANN401, FBT001, FBT002 (PyYAML's)
        """Tell the line of a value that is not what it says: ``!!bool perhaps`` is a KeyError to PyYAML, the 31st of April a ValueError."""
        try:
            return super().construct_object(node, deep=deep)
        except (AttributeError, LookupError, TypeError, ValueError, OverflowError) as error:
            why = f"is no {node.tag.rpartition(':')[2]} that can be read ({str(error)[:100]})"
            raise yaml.constructor.ConstructorError(None, None, why, node.start_mark) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 (PyYAML's)
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key is a word, not a list or a mapping", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} stands twice", key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep=deep)


# Whole numbers as people write them. PyYAML would take 0x3 for a hexadecimal number, 010 for eight and 1:30 for ninety; here they are words, which
# whoever reads them takes or refuses.
_INT = "tag:yaml.org,2002:int"
_Loader.yaml_implicit_resolvers = {
    first: [one for one in known if one[0] != _INT] for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_INT, re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789"))


@dataclass(frozen=True, slots=True)
class Text:
    """A file that was read: its value, and nodes that know their lines."""

    where: str
    value: Any
    node: yaml.Node | None

    def at(self, path: Sequence[str | int]) -> str:
        """Give ``file:line: a.b[0].c`` of a place, or of the nearest place above it that is in the file."""
        node, line = self.node, 1
        for step in path:
            node = _below(node, step)
            if node is None:
                break
            line = node.start_mark.line + 1
        shown = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")
        return f"{self.where}:{line}" + (f": {shown}" if shown else "")

    def place(self, path: Sequence[str | int], *, key: bool = False) -> str:
        """Give ``file:line:column`` of a value, or of its ``key``, or of the nearest place above it that is in the file."""
        node = found = self.node
        for number, step in enumerate(path):
            word = _key_of(node, step) if key and number == len(path) - 1 else None
            node = word or _below(node, step)
            if node is None:
                break
            found = node
        mark = None if found is None else found.start_mark
        return f"{self.where}:1:1" if mark is None else f"{self.where}:{mark.line + 1}:{mark.column + 1}"


def _below(node: yaml.Node | None, step: str | int) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == step), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        found: yaml.Node = node.value[step]
        return found
    return None


def _key_of(node: yaml.Node | None, step: str | int) -> yaml.Node | None:
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return next((key for key, _ in pairs if key.value == step), None)


def read(text: str, where: str, *, most: int = LARGEST) -> Text:
    """Read one YAML document of at most ``most`` characters. Raises `Misconfigured` with file and line."""
    if len(text) > most:
        raise Misconfigured(f"{where}:1:1", f"is larger than {most} characters", "Split it, or look whether it is the right file")
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        return Text(where, None if node is None else loader.construct_document(node), node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        why = str(error.problem or error.context)
        advice = next((advice for sign, advice in _ADVICE.items() if sign in why), "Correct the YAML on that line")
        raise Misconfigured(f"{where}{line}", why, advice) from None
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        place = f"{where}:{before.count(chr(10)) + 1}:{error.position - before.rfind(chr(10))}"
        raise Misconfigured(place, f"is no YAML: it holds the character #x{error.character:04x}", "Take it out") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Misconfigured(where, f"is no YAML: {error}", "Correct the file") from None
