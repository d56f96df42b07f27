"""Seconds from ``sliceward demo`` to the gang at its former rate on healthy topology, a fault in between."""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks.claim import Claim, setup, tell

GOAL = 60.0
PATIENCE = 180


def main() -> None:
    """Run the demo once and note when its lines come."""
    begun, seen = time.monotonic(), dict[str, float]()
    command = [sys.executable, "-m", "sliceward.daemons.cli", "demo", "--no-stay", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo:  # noqa: S603 (our own program)
        for line in demo.stdout or ():
            for word in ("training again", "training ", "given back"):
                if f" s  {word}" in line:
                    seen.setdefault(word.strip(), time.monotonic() - begun)
                    break
        code = demo.wait(PATIENCE)
    if code or "training again" not in seen:
        raise SystemExit(f"the demo ended with {code} before the gang trained again")
    tell(
        Claim(
            claim="from the command to a gang that trains again elsewhere",
            value=seen["training again"],
            unit="s",
            goal=GOAL,
            better="lower",
            reference="from the command to both gangs training, before the fault",
            reference_value=seen["training"],
            setup=setup("64 hosts, 256 chips, frames every 1 s, link-degraded, one run"),
        )
    )


if __name__ == "__main__":
    main()
