"""The house itself: what is packed, what is named in one place only, what each catalogue entry owes its reader."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("daemons", "detectors", "playbooks", "remediations", "scheduling", "simulation", "topology", "workload")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))


def run(*command: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in command], cwd=cwd, check=False, capture_output=True, text=True)  # noqa: S603 (commands of our own)


def test_the_package_list_is_the_folders() -> None:
    there = {
        "sliceward." + ".".join(file.parent.relative_to(ROOT).parts) for name in FOLDERS for file in (ROOT / name).rglob("*.py")
    }
    listed = set(PYPROJECT["tool"]["setuptools"]["packages"])
    missing, gone = sorted(there - listed), sorted(listed - there)
    assert not missing, "add to [tool.setuptools] packages in pyproject.toml:\n" + "".join(f'  "{name}",\n' for name in missing)
    assert not gone, f"these packages have no folder: {gone}"
    assert PYPROJECT["tool"]["setuptools"]["packages"] == sorted(listed)


def test_each_package_says_that_it_is_one() -> None:
    folders = {file.parent for name in FOLDERS for file in (ROOT / name).rglob("*.py")}
    assert sorted(str(folder.relative_to(ROOT)) for folder in folders if not (folder / "__init__.py").exists()) == []


def test_each_folder_is_mapped_and_typed() -> None:
    assert PYPROJECT["tool"]["setuptools"]["package-dir"] == {f"sliceward.{name}": name for name in FOLDERS}
    assert [name for name in FOLDERS if not (ROOT / name / "py.typed").exists()] == []


def test_the_link_makes_an_uninstalled_clone_importable() -> None:
    link = ROOT / ".types" / "sliceward"
    assert link.is_symlink()
    assert link.readlink() == Path("..")
    assert PYPROJECT["tool"]["mypy"]["mypy_path"] == ".types"
    assert ".types" in PYPROJECT["tool"]["pytest"]["ini_options"]["pythonpath"]


def test_sliceward_is_first_party_and_plain_names_are_banned(tmp_path: Path) -> None:
    assert PYPROJECT["tool"]["ruff"]["lint"]["isort"]["known-first-party"] == ["sliceward"]
    for name in FOLDERS:
        probe = tmp_path / f"{name}.py"
        probe.write_text(f"from {name}.errors import Retry\n\nprint(Retry)\n", encoding="utf-8")
        told = run(sys.executable, "-m", "ruff", "check", "--config", ROOT / "pyproject.toml", "--select", "TID251", probe)
        assert f"import sliceward.{name}" in told.stdout


@pytest.mark.parametrize(
    "line",
    [
        "import time; time.time()",
        "import time; time.monotonic()",
        "from time import sleep; sleep(1)",
        "from datetime import datetime, UTC; datetime.now(UTC)",
        "import datetime; datetime.datetime.now(datetime.UTC)",
        "import asyncio; asyncio.sleep(1)",
        "import random; random.random()",
        "from random import choice; choice([1])",
        "import uuid; uuid.uuid4()",
        "import secrets; secrets.token_hex()",
        "import os; os.urandom(1)",
        "import numpy as np; np.random.rand()",
    ],
)
def test_what_decides_takes_no_clock_wait_or_dice_from_the_air(line: str, tmp_path: Path) -> None:
    probe = tmp_path / "probe.py"
    probe.write_text(line + "\n", encoding="utf-8")
    assert run(sys.executable, "-m", "ruff", "check", "--config", ROOT / "ruff-pure.toml", probe).returncode == 1


def test_the_pure_folders_keep_that_rule() -> None:
    folders = ("topology", "detectors", "scheduling", "playbooks", "remediations")
    told = run(sys.executable, "-m", "ruff", "check", "--config", ROOT / "ruff-pure.toml", *folders)
    assert told.returncode == 0, told.stdout


def test_an_import_happens_at_the_top_of_its_file() -> None:
    """Two exceptions: the command table names modules as text, and the reporter looks for libtpu in the job it sits in."""
    users = [
        str(file.relative_to(ROOT))
        for name in FOLDERS
        for file in (ROOT / name).rglob("*.py")
        if re.search(r"\bimport_module\(|__import__\(", file.read_text(encoding="utf-8"))
    ]
    assert sorted(users) == ["daemons/cli/main.py", "workload/chips.py"]


def test_each_ignored_lint_rule_has_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = text[text.index("[tool.ruff.lint]") : text.index("[tool.ruff.lint.flake8-tidy-imports")]
    rules = [line.strip() for line in section.splitlines() if re.match(r'\s+"[A-Z]+\d*",', line)]
    assert rules
    assert [line for line in rules if not re.search(r"# \w.{10,}", line)] == []


def test_each_noqa_has_its_reason() -> None:
    bare = re.compile(r"[#] noqa(?!: [A-Z]+\d+(, ?[A-Z]+\d+)* (\(|- ?).{3,})|[#] type: ignore(?!\[[a-z-, ]+\] +# .{3,})")
    found = [
        f"{file.relative_to(ROOT)}:{number}"
        for name in (*FOLDERS, "tests", "benchmarks", "docs")
        for file in (ROOT / name).rglob("*.py")
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if bare.search(line)
    ]
    assert found == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_pins_all_by_hash_and_names_no_address(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    assert "://" not in text
    assert "--index" not in text
    entries = [entry for entry in re.split(r"\n(?=\S)", text.strip()) if entry]
    assert entries
    for entry in entries:
        assert re.match(r"[a-z0-9.-]+(\[[a-z,]+\])?==\S+", entry), entry.splitlines()[0]
        assert "--hash=sha256:" in entry, entry.splitlines()[0]


def locked(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    return {found[1]: found[2] for found in re.finditer(r"^([a-z0-9.-]+)(?:\[[a-z,]+\])?==(\S+)", text, flags=re.MULTILINE)}


def asked(extra: str) -> set[str]:
    """Give the packages that an extra asks for by name, with those of the extras inside it."""
    names: set[str] = set()
    for line in [*PYPROJECT["project"]["dependencies"], *PYPROJECT["project"]["optional-dependencies"][extra]]:
        if inner := re.match(r"sliceward\[([a-z,]+)\]", line):
            names.update(*(asked(name) for name in inner[1].split(",")))
        else:
            names.add(re.match(r"[A-Za-z0-9._-]+", line)[0].lower().replace("_", "-").replace(".", "-"))  # type: ignore[index]  # each requirement begins with a name
    return names


@pytest.mark.parametrize("extra", sorted(PYPROJECT["project"]["optional-dependencies"]))
def test_a_lock_holds_what_its_extra_asks_for_and_agrees_with_the_others(extra: str) -> None:
    mine, all_of_them = locked(extra), locked("dev")
    assert asked(extra) - set(mine) == set(), "run `make lock`"
    assert {name: version for name, version in mine.items() if all_of_them.get(name) != version} == {}


def test_the_agent_is_locked_without_what_it_must_not_load() -> None:
    assert (
        set(locked("agent"))
        & {
            "aiohttp",
            "numpy",
            "pandas",
            "scikit-learn",
            "scipy",
            "sqlalchemy",
            "alembic",
            "cel-expr-python",
            "kubernetes-asyncio",
        }
        == set()
    )


def test_the_embedded_broker_is_for_demo_and_development_alone() -> None:
    assert [lock.stem for lock in LOCKS if "amqtt" in locked(lock.stem)] == ["demo", "dev"]


def test_no_committed_file_names_a_registry() -> None:
    words = [
        name + dot for name in ("pypi", "pythonhosted", "crates", "npmjs", "proxy.golang") for dot in (".org", ".io", ".com")
    ]
    committed = run("git", "ls-files", "-z").stdout.split("\0")
    found = []
    for name in filter(None, committed):
        file = ROOT / name
        if file.is_file() and not file.is_symlink() and file != Path(__file__).resolve():
            text = file.read_text(encoding="utf-8", errors="ignore")
            found += [f"{name}: {word}" for word in words if word in text]
    assert found == []
