"""One claim of a benchmark: what was measured, against which goal, beside which reference; printed as one JSON object a line."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """``better`` says which direction is good; ``reference`` names what ``reference_value`` was measured on, on the same machine."""

    claim: str
    value: float
    unit: str
    goal: float
    better: Literal["lower", "higher"]
    reference: str
    reference_value: float
    setup: str

    @property
    def ratio(self) -> float | None:
        """How many times the reference; None where that is nothing at all."""
        return self.value / self.reference_value if self.reference_value else None

    @property
    def met(self) -> bool:
        """Whether the goal is reached."""
        return self.value <= self.goal if self.better == "lower" else self.value >= self.goal


def setup(what: str = "") -> str:
    """Say where it was measured."""
    where = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return f"{what}; {where}" if what else where


def tell(claim: Claim) -> None:
    """Print the claim on one line."""
    told = asdict(claim)
    told["ratio"] = claim.ratio
    keys = ("claim", "value", "unit", "goal", "better", "reference", "reference_value", "ratio", "setup")
    print(json.dumps({key: round(told[key], 6) if isinstance(told[key], float) else told[key] for key in keys}), flush=True)


def median_seconds(call: Callable[[], object], *, times: int) -> float:
    """Give the median time of a call; the first one warms up and is not counted."""
    call()
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def run_quietly(command: Sequence[str]) -> None:
    """Run a command to its good end."""
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 (commands of our own)
