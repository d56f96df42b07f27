"""Values out as YAML: in the order in which they were made, short leaves on one line, texts of several lines as they stand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable

_WIDTH = 120
_SHORT = 90
"""Characters that a leaf may have on one line."""


class _Dumper(yaml.SafeDumper):
    """Writes no aliases; blocks for texts of several lines; flow style for short leaves."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401, ARG002 (PyYAML's signature)
        return True

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> yaml.SequenceNode:  # noqa: ANN401, FBT001 (PyYAML's)
        node = super().represent_sequence(tag, sequence, flow_style)
        node.flow_style = _is_short(node.value)
        return node

    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> yaml.MappingNode:  # noqa: ANN401, FBT001 (PyYAML's)
        node = super().represent_mapping(tag, mapping, flow_style)
        node.flow_style = _is_short([part for pair in node.value for part in pair])
        return node


def _is_short(nodes: list[yaml.Node]) -> bool:
    """Whether all are plain values that fit on one line together."""
    plain = all(isinstance(node, yaml.ScalarNode) and "\n" not in node.value for node in nodes)
    return plain and sum(len(node.value) + 2 for node in nodes) <= _SHORT


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def text_of(value: Any) -> str:  # noqa: ANN401 (any JSON)
    """Give one document."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)


def documents(values: Iterable[Any]) -> str:
    """Give several documents as one stream."""
    return "---\n".join(text_of(value) for value in values)
