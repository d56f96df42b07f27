"""Placement: what it takes and what it reaches; ``placement.py [CLAIM…]``, all of them unless some are named.

Each back-end has a file beside this one with a mapping of claims by name; a new claim is one function there and one line in it.
"""

from __future__ import annotations

import sys

from benchmarks import (
    _placement_cubes,
    _placement_fleet,
    _placement_mixed,
    _placement_repair,
    _placement_streams,
    _placement_torus,
)
from benchmarks.claim import tell

CLAIMS = {
    **_placement_torus.CLAIMS,
    **_placement_streams.CLAIMS,
    **_placement_cubes.CLAIMS,
    **_placement_mixed.CLAIMS,
    **_placement_repair.CLAIMS,
    **_placement_fleet.CLAIMS,
}


def main(*names: str) -> int:
    """Measure and tell."""
    if unknown := sorted(set(names) - set(CLAIMS)):
        print(f"no claim {', '.join(unknown)}; there are {', '.join(CLAIMS)}", file=sys.stderr)
        return 2
    for name in names or CLAIMS:
        tell(CLAIMS[name]())
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
