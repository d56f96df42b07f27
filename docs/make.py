"""Writes the pages that say what the code says: ``make docs``. With ``--check`` it only tells which ones are out of date.

metrics/, configuration.md and schemas/, actions/, playbooks/ and detectors/ are made here and never edited by hand.
"""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from sliceward.daemons.cli.config import MODELS
from sliceward.daemons.settings import schema
from sliceward.detectors.metrics import CATALOGUE
from sliceward.detectors.rules.load import is_rules
from sliceward.detectors.traps.catalog import TRAPS
from sliceward.detectors.trials.pages import metrics_in, page_of, rules_in
from sliceward.remediations.catalog import ACTIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sliceward.detectors.metrics import Metric
    from sliceward.detectors.traps.trap import Trap
    from sliceward.remediations.action import Action

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
MADE = ("metrics", "actions", "playbooks", "detectors", "schemas")
NOTE = "<!-- Made by `make docs` from {source}; do not edit. -->\n\n"


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Give a Markdown table."""
    lines = [list(map(str, head))]
    lines += [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    lines.insert(1, ["---"] * len(lines[0]))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def page(title: str, source: str, *parts: str) -> str:
    """Give a page with its heading and where it comes from."""
    return f"# {title}\n\n" + NOTE.format(source=source) + "\n".join(part for part in parts if part).rstrip() + "\n"


def _range(metric: Metric) -> str:
    return f"{metric.low:g} to {metric.high:g}"


def _metric_page(metric: Metric, readers: list[str]) -> str:
    facts: Mapping[str, str] = {
        "about": metric.kind.value,
        "unit": metric.unit,
        "kind": metric.shape.value,
        "bad is": metric.bad.value,
        "believed from": _range(metric),
        "source": metric.source,
        "name at the source": f"`{metric.door}`" if metric.door else "",
        "device plugin's series": f"`{metric.prometheus}`" if metric.prometheus else "",
        "detectors that read it": ", ".join(f"[{name}](../detectors/{name}.md)" for name in readers),
    }
    rows = [(name, value) for name, value in facts.items() if value]
    return page(metric.name, "detectors/metrics.py", metric.about + "\n", table(("", ""), rows))


def metrics() -> Iterator[tuple[str, str]]:
    """One page per metric, and the list of them."""
    rules = [(rule["name"], set(metrics_in([rule["when"], rule.get("overrides")]))) for _, rule in shipped_rules()]
    rows = []
    for metric in CATALOGUE.values():
        readers = sorted(name for name, read in rules if metric.name in read)
        yield f"metrics/{metric.name}.md", _metric_page(metric, readers)
        rows.append(
            (
                f"[{metric.name}]({metric.name}.md)",
                metric.kind.value,
                metric.unit,
                metric.shape.value,
                metric.source,
                metric.about,
            )
        )
    about = (
        "Every reading that sliceward knows. A chip's columns have one value a chip, a link's one a chip and port. Missing is NaN and has an age;\n"
        "it is never zero and never healthy. A value outside its range is refused and counted.\n"
    )
    yield (
        "metrics/README.md",
        page("Metrics", "detectors/metrics.py", about, table(("name", "of a", "unit", "kind", "source", "what"), rows)),
    )


def _resolved(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow a reference, also where the only other choice is null."""
    choices = [choice for choice in node.get("anyOf", ()) if choice.get("type") != "null"]
    if len(choices) == 1:
        node = {**choices[0], **{key: value for key, value in node.items() if key != "anyOf"}}
    if "$ref" in node:
        return {**definitions[node["$ref"].rpartition("/")[2]], **{key: value for key, value in node.items() if key != "$ref"}}
    return node


def _kind(node: Mapping[str, Any]) -> str:
    if "enum" in node:
        return ", ".join(f"`{value}`" for value in node["enum"])
    if "anyOf" in node:
        return " or ".join(dict.fromkeys(_kind(choice) for choice in node["anyOf"]))
    return str(node.get("format") or node.get("type", "text"))


def _keys(node: Mapping[str, Any], definitions: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Give path, kind, default and description of each key below ``node``."""
    for name, raw in node.get("properties", {}).items():
        key, here = f"{path}.{name}" if path else name, _resolved(raw, definitions)
        if "$ref" in here.get("items", {}):
            yield f"`{key}`", "list", _default(here), here.get("description", "")
            yield from _keys(_resolved(here["items"], definitions), definitions, f"{key}[]")
        elif "properties" in here and not _is_secret(here):
            yield from _keys(here, definitions, key)
        else:
            default = "needed" if name in node.get("required", ()) else _default(here)
            yield f"`{key}`", "secret" if _is_secret(here) else _kind(here), default, here.get("description", "")


def _is_secret(node: Mapping[str, Any]) -> bool:
    return set(node.get("properties", ())) == {"file", "env"} or any(
        "file" in choice.get("properties", ()) for choice in node.get("oneOf", ())
    )


def _default(node: Mapping[str, Any]) -> str:
    return f"`{json.dumps(node['default'], ensure_ascii=False)}`" if node.get("default") not in (None, "", [], {}) else ""


def configuration() -> Iterator[tuple[str, str]]:
    """All keys of all daemons on one page, and the JSON Schema of each."""
    parts = [
        (
            "One YAML file a daemon (`--config FILE`), and the environment over it. Each key is also a variable: `SLICEWARD_<SECTION>__<KEY>`, members of\n"
            "lists by number (`SLICEWARD_CLUSTERS__0__BROKER__URL`). Unknown keys and wrong types are refused with the key's path and a suggestion.\n"
            "Secrets come by file or environment only and are never printed; `…__PASSWORD__FILE` names the file of one. `sliceward config check DAEMON FILE` reads a file as the daemon would.\n"
            "Editors complete keys from the schema: `# yaml-language-server: $schema=schemas/DAEMON.json` as the first line.\n"
        )
    ]
    for daemon, model in MODELS.items():
        made = schema(model)
        yield f"schemas/{daemon}.json", json.dumps(made, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        short = [
            (f"`{name}`", f"`{to.path}`", "only where the file says nothing" if to.weak else "")
            for name, to in model.short_names.items()
        ]
        parts += [f"## sliceward {daemon}\n", table(("key", "kind", "default", "what"), _keys(made, made.get("$defs", {})))]
        parts += ["Short names:\n", table(("variable", "key", ""), short)] if short else []
    yield "configuration.md", page("Configuration", "the settings of the daemons", *parts)


def _action_page(action: Action) -> str:
    told = inspect.getmodule(type(action))
    facts = {
        "takes capacity or disturbs a gang": "yes; modes, budgets and `pause` hold it" if action.harm else "no; nothing holds it",
        "irreversible": "yes; only with a stored intent, a finding that fires now, and the budget looked at again"
        if action.irreversible
        else "no",
        "undone by": f"[{action.inverse}]({action.inverse}.md)" if action.inverse else "nothing",
    }
    given = (
        table(("`with`", "what"), ((f"`{name}`", text) for name, text in action.parameters.items())) if action.parameters else ""
    )
    verbs = table(
        ("group", "resource", "verbs"), ((verb.group or "core", verb.resource, ", ".join(verb.verbs)) for verb in action.verbs)
    )
    return page(
        action.name,
        f"remediations/{Path(told.__file__ or '').name if told else ''}",
        f"{action.about}\n",
        f"{inspect.getdoc(type(action)) or ''}\n",
        table(("", ""), facts.items()),
        f"## Parameters\n\n{given}" if given else "",
        f"## What it may do in Kubernetes\n\n{verbs}" if action.verbs else "",
    )


def actions() -> Iterator[tuple[str, str]]:
    """One page per action, and the list of them."""
    for action in ACTIONS.values():
        yield f"actions/{action.name}.md", _action_page(action)
    rows = (
        (f"[{name}]({name}.md)", "yes" if action.harm else "", "yes" if action.irreversible else "", action.about)
        for name, action in ACTIONS.items()
    )
    yield "actions/README.md", page("Actions", "remediations/catalog.py", table(("name", "harm", "irreversible", "what"), rows))


def yaml_files(folder: str) -> Iterator[tuple[Path, str]]:
    """Give the YAML files of a folder in order, with their text."""
    for file in sorted((ROOT / folder).glob("*.yaml")):
        yield file, file.read_text(encoding="utf-8")


def fenced(made: object) -> str:
    """Give a value as a block of YAML."""
    return f"```yaml\n{yaml.safe_dump(made, sort_keys=False, allow_unicode=True, width=120).rstrip()}\n```"


def shipped_rules() -> Iterator[tuple[str, dict[str, Any]]]:
    """Give each rule with the file it stands in."""
    for file, text in yaml_files("detectors/rules"):
        for rule in rules_in(text) if is_rules(file.name) else ():
            yield f"detectors/rules/{file.name}", rule


TRAP_TUNING = (
    "It tells what was seen and estimates nothing, so it has no false-alarm budget. Its limits are constants beside it, not settings: where one is wrong for your"
    " fleet, tell us. Pages about it can be [silenced](../how-to/silences.md) for a while."
)


def _trap_page(trap: Trap) -> str:
    """Give the page of a detector that is no rule, below its heading."""
    origins = "".join(f"* {origin}\n" for origin in trap.sources)
    facts = {"finds": f"`{trap.kind.value}`", "part": trap.part, "severity": trap.severity.value, "says": trap.says}
    return "\n".join(
        (
            f"{trap.about}\n",
            "Nothing is drained for it.\n" if trap.accuses else "It accuses no hardware: nothing is drained for it.\n",
            f"## Where the limits come from\n\n{trap.limits}\n",
            origins,
            f"## What to do\n\n{trap.advice}\n",
            f"## Tuning\n\n{TRAP_TUNING}\n",
            table(("", ""), facts.items()),
        )
    )


def detectors() -> Iterator[tuple[str, str]]:
    """One page per rule and trap, and the list of them."""
    rows = []
    for source, rule in shipped_rules():
        name = rule["name"]
        yield f"detectors/{name}.md", page(name, source, page_of(rule))
        rows.append((f"[{name}]({name}.md)", rule["kind"], rule["part"], rule["severity"], rule["says"]))
    for trap in TRAPS.values():
        source = f"{trap.find.__module__.removeprefix('sliceward.').replace('.', '/')}.py"
        yield f"detectors/{trap.name}.md", page(trap.name, source, _trap_page(trap))
        rows.append((f"[{trap.name}]({trap.name}.md)", trap.kind.value, trap.part, trap.severity.value, trap.says))
    yield (
        "detectors/README.md",
        page("Shipped detectors", "detectors/rules", table(("name", "finding", "part", "severity", "says"), rows)),
    )


def _step_row(step: Mapping[str, Any]) -> tuple[str, ...]:
    name = step["action"]
    action = f"[{name}](../actions/{name}.md)" if name in ACTIONS else name
    return (
        step["name"],
        action,
        f"`{step['when']}`" if "when" in step else "",
        str(step.get("timeout", "")),
        step.get("onError", ""),
    )


def _playbook_page(source: str, spec: Mapping[str, Any], name: str) -> str:
    head = ("step", "action", "when", "at most", "on error")
    sections = {
        "Conditions": table(
            ("name", "holds when"), ((one["name"], f"`{one['expression']}`") for one in spec.get("conditions", ()))
        ),
        "Steps": table(head, map(_step_row, spec.get("steps", ()))),
        "When a step fails": table(head, map(_step_row, spec["onFailure"])) if spec.get("onFailure") else "",
        "Starts with": fenced(spec.get("trigger", {})),
        "Budget": fenced(spec["budget"]) if spec.get("budget") else "",
    }
    parts = [f"## {title}\n\n{text}" for title, text in sections.items() if text]
    return page(name, source, f"{spec.get('summary', '')}\n", f"Shipped in mode {spec.get('mode', '')}.\n", *parts)


def playbooks() -> Iterator[tuple[str, str]]:
    """One page per shipped playbook, and the list of them."""
    rows = []
    for file, text in yaml_files("playbooks/library"):
        said = yaml.safe_load(text)
        name, spec = said["metadata"]["name"], said["spec"]
        yield f"playbooks/{name}.md", _playbook_page(f"playbooks/library/{file.name}", spec, name)
        rows.append((f"[{name}]({name}.md)", spec.get("mode", ""), spec.get("summary", "")))
    yield "playbooks/README.md", page("Shipped playbooks", "playbooks/library", table(("name", "mode", "what"), rows))


def pages() -> dict[str, str]:
    """Give all made pages, by path below docs/."""
    made = dict(metrics())
    made.update(configuration())
    made.update(actions())
    made.update(playbooks())
    made.update(detectors())
    return made


def stale(made: Mapping[str, str]) -> list[str]:
    """Give the pages that differ from what the code says, and those that it says nothing of any more."""
    wrong = [
        name for name, text in made.items() if not (DOCS / name).exists() or (DOCS / name).read_text(encoding="utf-8") != text
    ]
    there = (str(file.relative_to(DOCS)) for folder in MADE for file in (DOCS / folder).glob("*") if file.is_file())
    return sorted(wrong) + sorted(name for name in there if name not in made)


def main(*arguments: str) -> int:
    """Write them, or with ``--check`` say which differ."""
    made = pages()
    wrong = stale(made)
    if "--check" in arguments:
        sys.stdout.writelines(f"out of date: docs/{name} (run `make docs`)\n" for name in wrong)
        return int(bool(wrong))
    for name in wrong:
        file = DOCS / name
        if name in made:
            file.parent.mkdir(exist_ok=True)
            file.write_text(made[name], encoding="utf-8")
        else:
            file.unlink()
        sys.stdout.write(f"docs/{name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
