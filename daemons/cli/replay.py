"""``sliceward replay FILE``: a recording through the detection that the watcher runs, and its findings held against labels."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from sliceward.daemons.cli.output import console, output_option, print_data, print_rows
from sliceward.daemons.settings import load
from sliceward.daemons.watcher.replay import Replay, records_in, series_in
from sliceward.daemons.watcher.run import read_rules
from sliceward.daemons.watcher.settings import WatcherSettings
from sliceward.detectors.frame import BadFrame, decode
from sliceward.detectors.trials.score import Episodes, read_labels, score
from sliceward.topology.errors import Misconfigured
from sliceward.topology.plan import fleet_from_yaml

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from sliceward.detectors.finding import Finding
    from sliceward.detectors.trials.score import Label, Score
    from sliceward.topology.fleet import Fleet

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(
    help="Run the detectors over a recording and print what they find.\n\nFILE holds frames as JSON lines (packed by gzip or not), or what"
    " Prometheus answered to query_range. With --labels the findings are held against faults that are known."
)
@click.argument("file", type=FILE, metavar="FILE")
@click.option("--labels", type=FILE, metavar="FILE", help="Faults that were there: a list of part, kind (optional), from, to.")
@click.option("--config", type=FILE, metavar="FILE", help="A watcher's configuration: its rules, grace, panel and statistics.")
@click.option(
    "--fleet", "fleet_file", type=FILE, metavar="FILE", help="A fleet file: who is whose neighbour, and which gang sits where."
)
@click.option(
    "--rules", "folders", multiple=True, type=click.Path(path_type=Path), metavar="FOLDER", help="More rules; may be given again."
)
@output_option
def replay(  # noqa: PLR0913 (one argument an option)
    file: Path, *, labels: Path | None, config: Path | None, fleet_file: Path | None, folders: Sequence[Path], output: str
) -> None:
    """Replay one recording."""
    known = () if labels is None else read_labels(_text(labels), str(labels))
    series = series_in(file)
    cluster = _cluster_of(file) if series is None else "recorded"
    names = {"SLICEWARD_CLUSTER": os.environ.get("SLICEWARD_CLUSTER") or cluster}
    settings = load(WatcherSettings, file=config, environ=names)
    rules = settings.rules.model_copy(update={"folders": [*settings.rules.folders, *folders]})
    settings = settings.model_copy(update={"rules": rules})
    one = Replay(settings, read_rules(rules), None if fleet_file is None else _fleet(fleet_file))
    rounds = one.frames(records_in(file, one.counts)) if series is None else one.prometheus(series)
    total = 1000 if series is not None else max(1, file.stat().st_size)
    episodes = asyncio.run(_go(rounds, total, file.name))
    _print(one, episodes, known, output)


async def _go(rounds: AsyncIterator[tuple[datetime, list[Finding], int]], total: int, name: str) -> Episodes:
    episodes = Episodes()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[found]}"),
    )
    with Progress(*columns, console=Console(file=sys.stderr), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(name, total=total, found="")
        async for now, findings, place in rounds:
            episodes.take(findings, now)
            bar.update(task, completed=total if place < 0 else place, found=f"{len(episodes.found)} findings")
    return episodes


def _print(one: Replay, episodes: Episodes, labels: Sequence[Label], output: str) -> None:
    rows = [
        {
            "id": found.part, "part": found.part, "kind": found.kind.value, "detector": found.detector,
            "from": found.began.isoformat(), "to": None if found.ended is None else found.ended.isoformat(),
            "right": any(label.names(found) for label in labels) if labels else None, "text": found.text,
        }
        for found in episodes.found
    ]  # fmt: skip
    counts = dict(one.watcher.panel.counts + one.watcher.counts + one.counts)
    made = score(episodes.found, labels) if labels else None
    seconds = one.now - one.began
    if output in ("json", "yaml"):
        told = {
            "seconds": seconds,
            "rounds": one.rounds,
            "findings": rows,
            "counts": counts,
            "score": None if made is None else _as_row(made),
        }
        print_data(told, output)
        return
    columns = {
        "FROM": lambda r: r["from"], "TO": lambda r: r["to"] or "end", "KIND": lambda r: r["kind"], "PART": lambda r: r["part"],
        "RIGHT": lambda r: {True: "yes", False: "no", None: ""}[r["right"]], "SAYS": lambda r: r["text"],
    }  # fmt: skip
    print_rows(rows, columns, output)
    if output == "name":
        return
    told_counts = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in sorted(counts.items()))
    click.echo(f"{seconds:.0f} s in {one.rounds} rounds; {told_counts}")
    if made is not None:
        for line in _lines(made):
            console().print(Text(line))


def _as_row(made: Score) -> Mapping[str, Any]:
    return {
        "precision": made.precision, "recall": made.recall, "delay_median_s": made.delay_median, "delay_p95_s": made.delay_p95,
        "findings": made.findings, "right": made.right, "faults": made.faults, "named": made.named, "missed": list(made.missed),
    }  # fmt: skip


def _lines(made: Score) -> list[str]:
    precision = f"{made.precision:.3f}" if made.precision is not None else "-"
    recall = f"{made.recall:.3f}" if made.recall is not None else "-"
    lines = [
        f"precision {precision} ({made.right} of {made.findings} findings name a fault)",
        f"recall    {recall} ({made.named} of {made.faults} faults were named)",
    ]
    if made.delay_median is not None:
        lines.append(f"delay     median {made.delay_median:.0f} s, p95 {made.delay_p95:.0f} s")
    return lines + [f"missed: {one}" for one in made.missed]


def _cluster_of(file: Path) -> str:
    """Give the cluster that the first frame names."""
    for record in records_in(file, Counter()):
        if record.frame:
            try:
                return decode(record.frame).cluster
            except BadFrame:
                continue
    raise Misconfigured(
        str(file),
        "holds no frame",
        'Record with: mosquitto_sub -t "sliceward/v1/CLUSTER/hosts/+/frame" -F \'{"received":%U,"frame":"%x"}\'',
    )


def _fleet(file: Path) -> Fleet:
    return fleet_from_yaml(_text(file), datetime.fromtimestamp(0, UTC), where=str(file))


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise Misconfigured(str(file), f"cannot be read: {error.strerror}", "Name a file that can be read") from None
    except UnicodeDecodeError:
        raise Misconfigured(str(file), "is not UTF-8 text", "Save it as UTF-8") from None
