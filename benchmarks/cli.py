"""How long ``sliceward --help`` takes, beside a Python that does nothing."""

from __future__ import annotations

import sys

from benchmarks.claim import Claim, median_seconds, run_quietly, setup, tell

TIMES = 15


def main() -> None:
    """Measure whole processes."""
    shown = median_seconds(lambda: run_quietly([sys.executable, "-m", "sliceward.daemons.cli", "--help"]), times=TIMES)
    nothing = median_seconds(lambda: run_quietly([sys.executable, "-c", "pass"]), times=TIMES)
    tell(
        Claim(
            claim="sliceward --help answers",
            value=shown * 1000,
            unit="ms",
            goal=150,
            better="lower",
            reference="python -c pass",
            reference_value=nothing * 1000,
            setup=setup(f"median of {TIMES} processes"),
        )
    )


if __name__ == "__main__":
    main()
