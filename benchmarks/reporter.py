"""Cost of one step of the in-job reporter on the training thread, while its own thread talks to an agent.

Reference: a call of an empty function. Prints one JSON object.
"""

from __future__ import annotations

import socket
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.claim import Claim, setup, tell
from sliceward.workload import Reporter

if TYPE_CHECKING:
    from collections.abc import Callable

GOAL = 1e-3
STEPS, ROUNDS = 20_000, 9


def _nothing(_step: int) -> None:
    return


def _cost(call: Callable[[int], None]) -> float:
    """Give the median seconds of one call over several rounds."""
    rounds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for step in range(STEPS):
            call(step)
        rounds.append((time.perf_counter() - began) / STEPS)
    return statistics.median(rounds)


def _swallow(server: socket.socket) -> None:
    """Be an agent that reads everything."""
    peer, _ = server.accept()
    with peer:
        while peer.recv(65_536):
            pass


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="sliceward-") as folder, socket.socket(socket.AF_UNIX) as server:
        path = str(Path(folder) / "agent.sock")
        server.bind(path)
        server.listen()
        threading.Thread(target=_swallow, args=(server,), daemon=True).start()
        reporter = Reporter({"SLICEWARD_AGENT_ADDRESS": path, "SLICEWARD_REPORT_SECONDS": "0.05"})
        value, reference = _cost(reporter.step), _cost(_nothing)
        reporter.close()
    tell(
        Claim(
            claim="a step of the in-job reporter costs",
            value=value * 1e3,
            unit="ms",
            goal=GOAL * 1e3,
            better="lower",
            reference="a call of an empty function",
            reference_value=reference * 1e3,
            setup=setup(f"median of {ROUNDS} rounds of {STEPS} steps, the reporter's thread sending each 50 ms"),
        )
    )


if __name__ == "__main__":
    main()
