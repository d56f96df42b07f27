"""The pages say what the code says, their links lead somewhere, and each catalogue entry has what it owes its reader."""

from __future__ import annotations

import importlib.util
import inspect
import json
import re
import shlex
import subprocess
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import pytest
import yaml

from sliceward.daemons.cli.config import MODELS
from sliceward.daemons.cli.main import COMMANDS, cli
from sliceward.daemons.coordinator.alerts import read_map
from sliceward.daemons.settings import load
from sliceward.daemons.sources.catalog import SOURCES
from sliceward.detectors.metrics import CATALOGUE
from sliceward.detectors.rules import load_rules
from sliceward.detectors.trials.cases import read_cases
from sliceward.detectors.trials.trial import run_case
from sliceward.playbooks.load import load_playbook
from sliceward.remediations.catalog import ACTIONS
from sliceward.remediations.gangs.catalog import GANG_KINDS
from sliceward.remediations.paging.catalog import PAGERS
from sliceward.remediations.providers.catalog import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_make", DOCS / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_made_pages_are_up_to_date(generator: ModuleType) -> None:
    assert generator.stale(generator.pages()) == [], "run `make docs`"


def committed_pages() -> list[Path]:
    told = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, check=False, capture_output=True, text=True).stdout  # noqa: S607 (whichever git is there)
    return [ROOT / name for name in told.splitlines() if (ROOT / name).exists()]


def test_each_link_between_pages_leads_somewhere() -> None:
    broken = []
    for file in committed_pages():
        text = re.sub(r"```.*?```|`[^`\n]*`", "", file.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            path = target.partition("#")[0]
            if path and "://" not in target and not (file.parent / path).exists():
                broken.append(f"{file.relative_to(ROOT)}: {target}")
    assert broken == []


def test_each_page_is_reached_from_the_readme_or_a_list() -> None:
    text = "".join(file.read_text(encoding="utf-8") for file in committed_pages())
    alone = [
        str(file.relative_to(ROOT))
        for file in committed_pages()
        if file.is_relative_to(DOCS) and file.name != "README.md" and file.name not in text.replace(f"# {file.name}", "")
    ]
    assert alone == []


def test_each_make_target_that_a_page_names_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    named = {name for file in committed_pages() for name in re.findall(r"`make ([a-z]+)", file.read_text(encoding="utf-8"))}
    assert named - targets == set()


def test_each_command_that_a_page_names_exists() -> None:
    named = {name for file in committed_pages() for name in re.findall(r"`sliceward ([a-z-]+)", file.read_text(encoding="utf-8"))}
    assert named - set(COMMANDS) == set()


def _module_of(entry: Any) -> str:  # noqa: ANN401 (classes, functions and instances alike)
    found = inspect.getmodule(entry if inspect.isclass(entry) or inspect.isfunction(entry) else type(entry))
    assert found is not None
    return found.__name__


def entries() -> list[Any]:
    """Give each member of an open-ended folder: its module, its page if one is owed, its test file."""
    catalogues: Mapping[str, tuple[Mapping[str, Any], str]] = {
        "actions": (ACTIONS, "actions/{name}.md"),
        "gangs": (GANG_KINDS, ""),
        "pagers": (PAGERS, "pagers/{name}.md"),
        "providers": (PROVIDERS, ""),
        "sources": (SOURCES, ""),
    }
    found = []
    for kind, (catalogue, page) in catalogues.items():
        for name, entry in catalogue.items():
            module = f"sliceward.daemons.sources.{name}" if kind == "sources" else _module_of(entry)
            found.append(pytest.param(module, name, page.format(name=name), id=f"{kind}-{name}"))
    return found


@pytest.mark.parametrize(("module", "name", "page"), entries())
def test_each_catalogue_entry_has_its_test_and_page(module: str, name: str, page: str) -> None:
    mine = Path(__file__).resolve()
    tests = [file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("test_*.py") if file != mine]
    called = re.compile(rf"\b{re.escape(module)}\b|[\"']{re.escape(name)}[\"']")
    assert any(called.search(text) for text in tests), f"no test names {module} or {name!r}"
    assert not page or (DOCS / page).exists(), "run `make docs`"


def test_each_shipped_rule_and_playbook_is_named_in_a_test(generator: ModuleType) -> None:
    names = [rule["name"] for _, rule in generator.shipped_rules()]
    names += [yaml.safe_load(text)["metadata"]["name"] for _, text in generator.yaml_files("playbooks/library")]
    assert names
    tests = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("*.py"))
    assert [name for name in names if name not in tests] == []


def test_each_default_in_a_schema_fits_its_own_pattern(generator: ModuleType) -> None:
    def walk(node: Any, path: str) -> list[str]:  # noqa: ANN401 (JSON)
        if isinstance(node, list):
            return [wrong for inner in node for wrong in walk(inner, path)]
        if not isinstance(node, dict):
            return []
        default, pattern = node.get("default"), node.get("pattern")
        mine = [path] if isinstance(default, str) and isinstance(pattern, str) and not re.search(pattern, default) else []
        return mine + [wrong for name, inner in node.items() for wrong in walk(inner, f"{path}/{name}")]

    schemas = {name: json.loads(text) for name, text in generator.pages().items() if name.endswith(".json")}
    assert [wrong for name, schema in schemas.items() for wrong in walk(schema, name)] == []


def test_each_metric_has_its_page() -> None:
    assert [name for name in CATALOGUE if not (DOCS / "metrics" / f"{name}.md").exists()] == []


# ── what readers are told to type, and what they copy ─────────────────────────────────────────────────────────────────


class Block(NamedTuple):
    """A fenced block: its page, language, text, and the word of the mark `<!-- sliceward: WORD -->` before it."""

    page: str
    language: str
    mark: str
    text: str


def written_pages() -> list[Path]:
    """Give the pages for users that people write; those made from the code are held to it elsewhere."""
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "deploy/README.md", *sorted(DOCS.rglob("*.md"))]
    return [page for page in pages if "<!-- Made by `make docs`" not in page.read_text(encoding="utf-8")]


def blocks_of(page: Path) -> Iterator[Block]:
    fence = re.compile(r"^ *(?:<!-- sliceward: (\w+) -->\n *)?```(\w*)\n(.*?)^ *```$", flags=re.DOTALL | re.MULTILINE)
    for found in fence.finditer(page.read_text(encoding="utf-8")):
        yield Block(str(page.relative_to(ROOT)), found[2], found[1] or "", textwrap.dedent(found[3]))


def prose_of(page: Path) -> str:
    return re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


BLOCKS = [block for page in written_pages() for block in blocks_of(page)]


def told_commands() -> list[Any]:
    """Give each command line of ours that a page tells its reader: to type (in a block), or by name (between back-ticks)."""
    typed = [(block.page, line) for block in BLOCKS if not block.language for line in block.text.splitlines()]
    typed += [(page, f"sliceward demo {given}") for page, line in typed for given in re.findall(r'make demo ARGS="(.*?)"', line)]
    named = [
        (str(page.relative_to(ROOT)), name) for page in written_pages() for name in re.findall(r"`([^`\n]+)`", prose_of(page))
    ]
    named += [
        (page, f"sliceward demo {one or two}") for page, name in named for one, two in re.findall(r'ARGS=(?:"(.*?)"|(\S+))', name)
    ]
    told = dict.fromkeys([(page, line, True) for page, line in typed] + [(page, line, False) for page, line in named])
    return [pytest.param(line, typed, id=f"{page}: {line}") for page, line, typed in told if re.match(r"sliceward [a-z-]", line)]


@pytest.mark.parametrize(("line", "is_typed"), told_commands())
def test_each_command_line_that_a_page_tells_is_one_that_we_read(line: str, *, is_typed: bool) -> None:
    words = shlex.split(line)[1:]
    context = click.Context(cli, info_name="sliceward")
    command: click.Command = cli
    while isinstance(command, click.Group):
        if not words and not is_typed:
            return
        name, chosen, words = command.resolve_command(context, words)
        assert chosen is not None
        command = chosen
        if isinstance(command, click.Group):
            context = click.Context(command, info_name=name, parent=context)
    try:
        command.make_context(command.name, words, parent=context)
    except click.exceptions.Exit:
        assert "--help" in line
    except click.MissingParameter:
        # A command that is only named needs none of its arguments.
        assert not is_typed, f"{line!r} lacks an argument"


def test_the_readme_promises_two_commands() -> None:
    part = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Two commands")[2]
    first = re.search(r"```\n(.*?)```", part, flags=re.DOTALL)
    assert first is not None
    assert [line.partition("#")[0].strip() for line in first[1].splitlines()] == ["make demo", "make test"]


def configurations() -> list[Any]:
    files = [
        Block(f"docs/examples/{file.name}", "yaml", file.stem, file.read_text(encoding="utf-8"))
        for file in DOCS.glob("examples/*.yaml")
    ]
    blocks = [block for block in BLOCKS if block.language == "yaml"]
    return [pytest.param(block, id=f"{block.page}-{place}") for place, block in enumerate([*files, *blocks])]


@pytest.mark.parametrize("block", configurations())
def test_each_yaml_example_is_marked_and_parses(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "example.yaml"
    file.write_text(block.text, encoding="utf-8")
    match block.mark:
        case "agent" | "watcher" | "coordinator":
            # A section alone is completed by the short names, as on a machine.
            names = {"SLICEWARD_CLUSTER": "tpu", "SLICEWARD_NODE_NAME": "host", "SLICEWARD_MQTT_URL": "mqtt://broker:1883"}
            whole = "clusters:" in block.text
            load(MODELS[block.mark], file=file, environ={} if whole else names)
        case "playbook":
            load_playbook(block.text, block.page, ACTIONS)
        case "alerts":
            assert read_map(file).rules
        case "rules":
            assert load_rules({block.page: block.text})
        case "cases":
            cases, errors = read_cases(block.text, block.page)
            rules = load_rules(
                {one.page: one.text for one in (param.values[0] for param in configurations()) if one.mark == "rules"}
            )
            misses = [miss for case in cases for miss in run_case(case, rules, tried=[rule.name for rule in rules])]
            assert (errors, misses) == ([], [])
        case "other":
            assert yaml.safe_load(block.text)
        case _:
            pytest.fail(f"{block.page}: say before the block what it is: <!-- sliceward: coordinator -->, or other")


def test_each_file_that_a_page_names_exists() -> None:
    folders = "topology|detectors|scheduling|remediations|playbooks|simulation|daemons|deploy|tests"
    path = re.compile(rf"`((?:{folders})/[\w./-]+)`")
    named = {(page, name) for page in written_pages() for name in path.findall(page.read_text(encoding="utf-8"))}
    assert named
    assert sorted(f"{page.relative_to(ROOT)}: {name}" for page, name in named if not (ROOT / name).exists()) == []


def test_each_page_that_the_code_names_exists() -> None:
    folders = ("daemons", "detectors", "playbooks", "remediations", "topology", "workload")
    files = [file for folder in folders for file in (ROOT / folder).rglob("*") if file.suffix in {".py", ".yaml", ".js"}]
    page = re.compile(r"\bdocs/[\w./-]+\.(?:md|yaml|json)\b")
    named = {(file, name) for file in files for name in page.findall(file.read_text(encoding="utf-8"))}
    assert sorted(f"{file.relative_to(ROOT)}: {name}" for file, name in named if not (ROOT / name).exists()) == []


def test_each_place_in_a_page_that_a_link_names_exists() -> None:
    broken = []
    for file in written_pages():
        for path, place in re.findall(r"\]\(([^)#\s:]*)#([^)\s]+)\)", prose_of(file)):
            text = ((file.parent / path) if path else file).read_text(encoding="utf-8")
            titles = {
                re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-")
                for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
            }
            if place not in titles:
                broken.append(f"{file.relative_to(ROOT)}: {path}#{place}")
    assert broken == []


def test_the_picture_of_the_page_is_small() -> None:
    most = 300_000
    assert (DOCS / "page.png").stat().st_size <= most
