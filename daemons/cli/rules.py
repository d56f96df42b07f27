"""``sliceward rules lint|test|docs``: what is wrong with rule files, whether their cases hold, and their pages.

All of it is files and needs no daemon. The shipped rules are there beside those of the files, as in a watcher.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.text import Text

from sliceward.daemons.cli.complaining import complain
from sliceward.daemons.cli.output import console, output_option, print_rows
from sliceward.detectors.rules.load import CASES, is_rules, load_rules, read_rules
from sliceward.detectors.rules.units import Span
from sliceward.detectors.trials.cases import read_cases
from sliceward.detectors.trials.lint import MEMORY, lint
from sliceward.detectors.trials.pages import page_of, rules_in
from sliceward.detectors.trials.trial import Miss, run_case
from sliceward.topology.complaint import Complaint
from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sliceward.detectors.trials.cases import Placed

PATHS = click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="FILE|FOLDER...")
SHIPPED = "shipped/"


@click.group(help="Lint rules, run the cases beside them, or write their pages.")
def rules() -> None:
    """Hold the commands."""


@rules.command(
    "lint",
    help="Say what is wrong or doubtful with rule files, by line and column; without FILE|FOLDER with the shipped ones. Exit 1"
    " on an error.",
)
@PATHS
@click.option("--strict", is_flag=True, help="Exit 1 on a warning too.")
@click.option(
    "--memory", default=f"{MEMORY:g}s", show_default=True, help="How long the watcher remembers: panel.rows x panel.period."
)
@output_option
def lint_files(paths: Sequence[Path], *, strict: bool, memory: str, output: str) -> None:
    """Read all files together, so that names are known across them."""
    texts = texts_of(paths)
    wanted = {name: text for name, text in texts.items() if is_rules(name)}
    cases, errors = _cases_in(texts)
    tried = {found.rule for one in cases for moment in one.case.expect for found in moment.findings}
    before = {} if not paths else {name: text for name, text in texts_of(()).items() if is_rules(name)}
    complaints = [*map(Complaint.error, errors)]
    complaints += lint(wanted, shipped=before, tried=tried, memory=_seconds(memory))
    complain(complaints, files=len(texts), strict=strict, output=output)


@rules.command(
    "test",
    help="Run the cases beside rule files (NAME.test.yaml beside NAME.yaml); without FILE|FOLDER those of the shipped rules. Exit 1"
    " where one does not hold.",
)
@PATHS
@output_option
def test_files(paths: Sequence[Path], *, output: str) -> None:
    """Run each case with all rules, and hold what those of its own file found against what is expected."""
    texts = texts_of(paths)
    cases, errors = _cases_in(texts)
    if errors:
        raise errors[0]
    before = texts_of(()) if paths else {}
    known = load_rules({name: text for name, text in {**before, **texts}.items() if is_rules(name)})
    misses: list[Miss] = []
    for one in cases:
        beside = {name: text for name, text in texts.items() if _stem(name) == _stem(one.file) and is_rules(name)}
        own = set(read_rules(beside).rules) or {rule.name for rule in known}
        misses += run_case(one, known, tried=own)
    if output != "table":
        print_rows([{"id": one.where, "where": one.where, "why": one.why, "case": one.case} for one in misses], {}, output)
    else:
        for miss in misses:
            console().print(Text("failed: ", style="red") + Text(f"{miss.where}: {miss.case}: {miss.why}"))
        failed = len({miss.case for miss in misses})
        click.echo(f"{len(cases)} cases: {len(cases) - failed} hold, {failed} do not")
        if not cases:
            click.echo("no case was found: write them into NAME.test.yaml beside NAME.yaml", err=True)
    raise SystemExit(int(bool(misses) or not cases))


@rules.command(
    "docs", help="Print the page of each rule as Markdown, or write them into a folder; without FILE|FOLDER the shipped ones."
)
@PATHS
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER", help="Write NAME.md here.")
def write_pages(paths: Sequence[Path], *, out: Path | None) -> None:
    """Check the files first: a page of what is no rule helps nobody."""
    texts = {name: text for name, text in texts_of(paths).items() if is_rules(name)}
    before = texts_of(()) if paths else {}
    load_rules({name: text for name, text in {**before, **texts}.items() if is_rules(name)})
    pages = {rule["name"]: f"# {rule['name']}\n\n{page_of(rule)}\n" for text in texts.values() for rule in rules_in(text)}
    if out is None:
        click.echo("\n".join(pages.values()), nl=False)
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, page in pages.items():
            (out / f"{name}.md").write_text(page, encoding="utf-8")
    except OSError as error:
        raise Misconfigured(str(out), f"cannot be written: {error.strerror}", "Name a folder of yours") from None
    click.echo(f"{len(pages)} pages in {out}")


def texts_of(paths: Sequence[Path]) -> dict[str, str]:
    """Give the text of each file by its path, with the cases beside it; of a folder all; the shipped ones where no path is given.

    Raises:
        Misconfigured: a path that does not exist or cannot be read, or a folder without a YAML file.
    """
    if not paths:
        folder = resources.files("sliceward.detectors") / "rules"
        files = sorted((file for file in folder.iterdir() if file.name.endswith(".yaml")), key=lambda file: file.name)
        return {SHIPPED + file.name: file.read_text("utf-8") for file in files}
    return {str(file): _text(file) for path in paths for file in _files(path)}


def _files(path: Path) -> Iterable[Path]:
    if not path.is_dir():
        beside = [path.with_name(path.stem + ending) for ending in CASES]
        return (path, *(file for file in beside if is_rules(path.name) and file.exists()))
    files = sorted((*path.rglob("*.yaml"), *path.rglob("*.yml")))
    if not files:
        raise Misconfigured(str(path), "holds no YAML file", "Name a rule file or a folder with rules")
    return files


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise Misconfigured(str(file), f"cannot be read: {error.strerror}", "Name a rule file or a folder with rules") from None
    except UnicodeDecodeError as error:
        lines = error.object[: error.start].split(b"\n")
        place = f"{file}:{len(lines)}:{len(lines[-1].decode(errors='replace')) + 1}"
        raise Misconfigured(place, "is not UTF-8 text", "Save it as UTF-8") from None


def _cases_in(texts: Mapping[str, str]) -> tuple[list[Placed], list[Misconfigured]]:
    cases: list[Placed] = []
    errors: list[Misconfigured] = []
    for name, text in texts.items():
        if not is_rules(name):
            found, wrong = read_cases(text, name)
            cases += found
            errors += wrong
    return cases, errors


def _stem(name: str) -> str:
    """Give what a rule file and the cases beside it have in common."""
    for ending in (*CASES, ".yaml", ".yml"):
        name = name.removesuffix(ending)
    return name


def _seconds(text: str) -> float:
    try:
        return Span.parse(text).seconds
    except ValueError as error:
        raise Misconfigured("--memory", str(error), "Write 720s, 12m or 2h") from None
