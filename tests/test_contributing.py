"""The steps of CONTRIBUTING.md, followed literally in a copy of the tree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    copy = tmp_path / "tree"
    copy.mkdir()
    for name in ("daemons", "detectors", "playbooks", "remediations", "scheduling", "simulation", "topology", "workload"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "siblings.py", copy / "tests")
    shutil.copy(ROOT / "pyproject.toml", copy)
    shutil.copy(ROOT / "ruff-pure.toml", copy)
    (copy / ".types").mkdir()
    (copy / ".types" / "sliceward").symlink_to("..")
    return copy


def shown_under(heading: str) -> str:
    """Give the code that CONTRIBUTING.md shows for one kind of addition."""
    section = TEXT[TEXT.index(f"### {heading}\n") :]
    found = re.search(r"```\w+\n(.*?)```", section, flags=re.DOTALL)
    assert found is not None
    return found[1]


def insert(file: Path, line: str, *, before: str = "", after: str = "") -> None:
    text = file.read_text(encoding="utf-8")
    anchor = before or after
    assert text.count(anchor) == 1, f"{anchor!r} in {file}"
    file.write_text(text.replace(anchor, f"{line}\n{anchor}" if before else f"{anchor}\n{line}"), encoding="utf-8")


def run(tree: Path, *command: str) -> str:
    environ = {**os.environ, "PYTHONPATH": str(tree / ".types")}
    told = subprocess.run([sys.executable, *command], cwd=tree, env=environ, check=False, capture_output=True, text=True)  # noqa: S603 (our own interpreter)
    assert told.returncode == 0, told.stdout + told.stderr
    return told.stdout


def still_sound(tree: Path, file: str) -> None:
    """Lint and layers hold with the new file and its line in the catalogue."""
    catalog = str(Path(file).parent / "catalog.py")
    run(tree, "-m", "ruff", "check", "--quiet", file, catalog)
    run(tree, "-m", "ruff", "format", "--check", "--quiet", file)
    run(
        tree,
        "-c",
        "from importlinter.cli import lint_imports; import sys; sys.exit(lint_imports(no_cache=True, limit_to_contracts=('siblings', 'purity')))",
    )


def test_a_detector_is_a_rule_in_a_file(tree: Path) -> None:
    (tree / "detectors/rules/mine.yaml").write_text(shown_under("a detector"), encoding="utf-8")
    code = (
        "from pathlib import Path; from sliceward.detectors.rules import load_rules;"
        "files = sorted(Path('detectors/rules').glob('*.yaml'));"
        "print([rule.name for rule in load_rules({file.name: file.read_text() for file in files})])"
    )
    assert "'disk-filling'" in run(tree, "-c", code)


def test_an_action_is_one_file_and_one_line(tree: Path) -> None:
    (tree / "remediations/host_greet.py").write_text(shown_under("an action"), encoding="utf-8")
    catalog = tree / "remediations/catalog.py"
    insert(
        catalog,
        "from sliceward.remediations.host_greet import GreetHost",
        before="from sliceward.remediations.host_repair import RepairHost",
    )
    insert(catalog, "    GreetHost(),", after="_ALL: tuple[Action, ...] = (")
    still_sound(tree, "remediations/host_greet.py")
    assert run(tree, "-c", "from sliceward.remediations.catalog import ACTIONS; print('host.greet' in ACTIONS)") == "True\n"


def test_a_source_is_one_file_and_one_line(tree: Path) -> None:
    (tree / "daemons/sources/uptime.py").write_text(shown_under("a source"), encoding="utf-8")
    catalog = tree / "daemons/sources/catalog.py"
    insert(
        catalog,
        "from sliceward.daemons.sources.uptime import Uptime",
        before="from sliceward.topology.errors import Misconfigured",
    )
    insert(
        catalog,
        "def _uptime(around: Surroundings) -> Source:\n    return Uptime(around.settings.root)\n\n",
        before="SOURCES: Mapping[str, Callable[[Surroundings], Source]] = {",
    )
    insert(catalog, '    "uptime": _uptime,', after="SOURCES: Mapping[str, Callable[[Surroundings], Source]] = {")
    still_sound(tree, "daemons/sources/uptime.py")
    code = (
        "import asyncio; from pathlib import Path; from sliceward.daemons.sources.catalog import SOURCES; assert 'uptime' in SOURCES;"
        "from sliceward.daemons.sources.uptime import Uptime; print(asyncio.run(Uptime(Path('/')).read(7.0)).notes['uptime'])"
    )
    assert run(tree, "-c", code).endswith("s at 7\n")


def test_a_pager_is_one_file_and_one_line(tree: Path) -> None:
    (tree / "remediations/paging/loud.py").write_text(shown_under("a pager"), encoding="utf-8")
    catalog = tree / "remediations/paging/catalog.py"
    insert(
        catalog,
        "from sliceward.remediations.paging.loud import LoudPager",
        before="from sliceward.remediations.paging.pagerduty import PagerDutyPager",
    )
    insert(catalog, '    "loud": LoudPager,', after="PAGERS: Mapping[str, Callable[[PagerPlan, Surroundings], Pager]] = {")
    still_sound(tree, "remediations/paging/loud.py")
    code = (
        "from sliceward.remediations.paging.catalog import make; from sliceward.remediations.paging.plan import PagerPlan, Surroundings;"
        "print(make(PagerPlan('loud', 'far-away'), Surroundings(None, None, print)).name)"
    )
    assert run(tree, "-c", code) == "far-away\n"


def test_a_kind_of_gang_is_one_file_and_one_line(tree: Path) -> None:
    shortest = (tree / "remediations/gangs/job.py").read_text(encoding="utf-8")
    assert 'owner_kind: str = "Job"' in shortest
    mine = shortest.replace('owner_kind: str = "Job"', 'owner_kind: str = "RayCluster"').replace("class JobGang", "class RayGang")
    (tree / "remediations/gangs/ray.py").write_text(mine, encoding="utf-8")
    catalog = tree / "remediations/gangs/catalog.py"
    insert(
        catalog,
        "from sliceward.remediations.gangs.ray import RayGang",
        after="from sliceward.remediations.gangs.jobset import JobSetGang",
    )
    text = catalog.read_text(encoding="utf-8")
    catalog.write_text(text.replace("(JobSetGang(), JobGang())", "(JobSetGang(), JobGang(), RayGang())"), encoding="utf-8")
    still_sound(tree, "remediations/gangs/ray.py")
    assert (
        run(tree, "-c", "from sliceward.remediations.gangs.catalog import GANG_KINDS; print('RayCluster' in GANG_KINDS)")
        == "True\n"
    )
