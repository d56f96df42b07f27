"""The pages say what the code says, their links lead somewhere, and each catalogue entry has what it owes its reader."""

from __future__ import annotations

import importlib.util
import inspect
import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from sliceward.daemons.cli.main import COMMANDS
from sliceward.daemons.sources.catalog import SOURCES
from sliceward.detectors.metrics import CATALOGUE
from sliceward.remediations.catalog import ACTIONS
from sliceward.remediations.gangs.catalog import GANG_KINDS
from sliceward.remediations.paging.catalog import PAGERS
from sliceward.remediations.providers.catalog import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Mapping
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
    told = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, check=False, capture_output=True, text=True).stdout  # noqa: S607
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
