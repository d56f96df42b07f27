"""Processes that run on loopback for one module, with a real Mosquitto and a Kubernetes API beside them, for others to be rude to.

==============  ====================================================================================
``ground``      `Ground`: broker, API server, and what is sent to them
``watcher``     `Daemon` of a watcher at a fast pace
``coordinator`` `Daemon` of a coordinator over a fleet of four cubes
==============  ====================================================================================
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.fuzz.ground import Ground, a_ground
from tests.fuzz.processes import a_coordinator, a_watcher

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fuzz.processes import Daemon


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with a_ground(tmp_path_factory.mktemp("fuzz")) as found:
        yield found


@pytest.fixture(scope="module")
def watcher(ground: Ground) -> Iterator[Daemon]:
    with ExitStack() as stack:
        yield stack.enter_context(a_watcher(ground))


@pytest.fixture(scope="module")
def coordinator(ground: Ground) -> Iterator[Daemon]:
    with ExitStack() as stack:
        yield stack.enter_context(a_coordinator(ground))
