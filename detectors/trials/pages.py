"""The page of each rule, as Markdown: what it sees, where its limits come from, what to do, and the rule itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from sliceward.detectors.metrics import CATALOGUE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

WORDS = ("about", "limits", "sources", "advice")
"""Keys of a rule that become the text of its page."""


def rules_in(text: str) -> Iterator[dict[str, Any]]:
    """Give each rule of a file as it is written; silences are none."""
    found = yaml.safe_load(text)
    for body in found if isinstance(found, list) else [found]:
        if isinstance(body, dict) and "silence" not in body:
            yield body


def metrics_in(node: object) -> Iterator[str]:
    """Give the metrics that a rule names anywhere in it."""
    if isinstance(node, dict):
        for value in node.values():
            yield from metrics_in(value)
    elif isinstance(node, list):
        for value in node:
            yield from metrics_in(value)
    elif isinstance(node, str) and node in CATALOGUE:
        yield node


def page_of(rule: Mapping[str, Any], *, link: str = "../metrics/") -> str:
    """Give the page of a rule below its heading; ``link`` leads to the pages of metrics."""
    origins = "".join(f"* {origin}\n" for origin in rule.get("sources", ()))
    asked = {name for key in ("when", "overrides") for name in metrics_in(rule.get(key))}
    facts = {
        "finds": f"`{rule['kind']}`",
        "part": rule["part"],
        "severity": rule["severity"],
        "says": rule["says"],
        "reads": ", ".join(f"[{metric}]({link}{metric}.md)" for metric in sorted(asked)),
    }
    cells = "".join(f"| {name} | {_cell(value)} |\n" for name, value in facts.items())
    plain = {key: value for key, value in rule.items() if key not in WORDS}
    written = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120).rstrip()
    sections = (
        f"{rule.get('about', '')}\n",
        f"## Where the limits come from\n\n{rule.get('limits', '')}\n",
        origins,
        f"## What to do\n\n{rule.get('advice', '')}\n",
        f"|  |  |\n| --- | --- |\n{cells}",
        "## The rule\n",
        f"```yaml\n{written}\n```",
    )
    return "\n".join(section for section in sections if section)


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
