"""``run.py [NAME…]``: runs each benchmark in a process of its own and writes RESULTS.md from what they print.

A benchmark is a file in this folder that prints one JSON object per claim (see claim.py). Ends with 1 where a goal is missed or a
benchmark fails. RESULTS.md has a section for each; what does not run this time, or fails, keeps the one it has, with its date.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
NOT_MEASURING = {"claim", "page", "pictures", "run", "streams"}
RESULTS = HERE / "RESULTS.md"
HEAD = """# Results

Written by `make bench`; not edited by hand. A goal is met where the last column says yes.
"""
PATIENCE = 900
"""Seconds that one benchmark may take."""


def measure(name: str) -> list[dict[str, Any]]:
    """Run one benchmark and give its claims; what it prints beside them goes to the error stream."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / ".types"), str(ROOT)])}
    told = subprocess.run(  # noqa: S603 (a file of this folder)
        [sys.executable, "-m", f"benchmarks.{name}"],
        cwd=ROOT,
        env=environ,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
    )
    claims = []
    for line in told.stdout.splitlines():
        if line.startswith("{"):
            print(line, flush=True)
            claims.append(json.loads(line))
        else:
            print(line, file=sys.stderr)
    return claims


def met(claim: dict[str, Any]) -> bool:
    """Whether the goal is reached."""
    return bool(claim["value"] <= claim["goal"] if claim["better"] == "lower" else claim["value"] >= claim["goal"])


def section(name: str, claims: list[dict[str, Any]], *, today: dt.date, load: float) -> str:
    """Give what RESULTS.md says of one benchmark."""
    lines = [
        f"## {name}",
        "",
        f"On {today.isoformat()}, with a load of {load:.1f} on the machine before it began.",
        "",
        "| claim | value | goal | reference | ratio | setup | met |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for claim in claims:
        sign = "≤" if claim["better"] == "lower" else "≥"
        lines.append(
            f"| {claim['claim']} | {claim['value']:.4g} {claim['unit']} | {sign} {claim['goal']:g} {claim['unit']} "
            f"| {claim['reference']}: {claim['reference_value']:.4g} {claim['unit']} | {claim['ratio']:.3g} | {claim['setup']} "
            f"| {'yes' if met(claim) else '**no**'} |"
        )
    return "\n".join(lines) + "\n"


def results(before: str, sections: dict[str, str]) -> str:
    """Give RESULTS.md: the sections that it has, with these in their places."""
    there = {part.partition("\n")[0]: f"## {part.strip()}\n" for part in before.split("\n## ")[1:]}
    merged = [told for _, told in sorted((there | sections).items())]
    return "\n".join([HEAD, *merged])


def main(*names: str) -> int:
    """Run all, or those named."""
    there = sorted(file.stem for file in HERE.glob("*.py") if file.stem not in NOT_MEASURING and not file.stem.startswith("_"))
    if unknown := sorted(set(names) - set(there)):
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(there)}", file=sys.stderr)
        return 2
    claims, failed = [], []
    for name in names or there:
        load = os.getloadavg()[0]
        try:
            found = measure(name)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed.append(name)
            continue
        claims += found
        told = section(name, found, today=dt.datetime.now(dt.UTC).date(), load=load)
        RESULTS.write_text(results(RESULTS.read_text(encoding="utf-8"), {name: told}), encoding="utf-8")
    missed = [claim["claim"] for claim in claims if not met(claim)]
    for name in missed:
        print(f"goal missed: {name}", file=sys.stderr)
    return int(bool(missed or failed))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
