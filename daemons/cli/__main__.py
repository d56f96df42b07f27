"""``python -m sliceward.daemons.cli`` is ``sliceward``."""

from __future__ import annotations

from sliceward.daemons.cli.main import main

main()
