"""What is packed: each file of the product and nothing else, under the import name sliceward."""

from __future__ import annotations

import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.services.packages import ROOT
from tests.test_house import FOLDERS

if TYPE_CHECKING:
    from collections.abc import Callable

NOT_PACKED = {".md", ".pyc"}


def product_files() -> set[str]:
    return {
        str(file.relative_to(ROOT))
        for name in FOLDERS
        for file in (ROOT / name).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and file.suffix not in NOT_PACKED
    }


def test_the_wheel_holds_each_file_of_the_product_under_its_import_name(wheel: Path) -> None:
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert packed == {f"sliceward/{name}" for name in product_files()}


def test_the_wheel_carries_licence_and_command(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    about = {Path(name).name: name for name in archive.namelist() if ".dist-info/" in name}
    assert "LICENSE" in about
    assert "sliceward = sliceward.daemons.cli.main:main" in archive.read(about["entry_points.txt"]).decode()


def test_the_sdist_holds_the_product_its_tests_locks_and_pages(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        packed = {str(Path(name).relative_to(Path(name).parts[0])) for name in archive.getnames()}
    wanted = product_files() | {
        "pyproject.toml",
        "LICENSE",
        "README.md",
        "CHANGELOG.md",
        "Makefile",
        "tests/conftest.py",
        "requirements/dev.txt",
    }
    assert wanted - packed == set()
    assert [name for name in packed if name.startswith(".types/") or "__pycache__" in name] == []


def test_a_wheel_in_a_fresh_environment_runs_from_another_folder(environment: Callable[[str], Path], tmp_path: Path) -> None:
    told = subprocess.run(  # noqa: S603 (made by the fixture)
        [environment("workload") / "sliceward", "--version"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert told.stdout.startswith("sliceward 0.")


def test_a_command_whose_packages_are_missing_names_the_extra(environment: Callable[[str], Path], tmp_path: Path) -> None:
    told = subprocess.run(  # noqa: S603 (made by the fixture)
        [environment("workload") / "sliceward", "get", "hosts"], cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert told.returncode == 1
    assert 'pip install "sliceward[coordinator]"' in told.stderr
    assert "Traceback" not in told.stderr


def test_the_reporter_can_be_imported_where_nothing_else_is_installed(environment: Callable[[str], Path], tmp_path: Path) -> None:
    code = "import sys, sliceward.workload; print([name for name in sys.modules if name.startswith('sliceward.')])"
    told = subprocess.run(  # noqa: S603 (as above)
        [environment("workload") / "python", "-W", "error", "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert "sliceward.workload" in told.stdout
    assert "sliceward.topology" not in told.stdout
