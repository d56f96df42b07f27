"""Settings of sources that cannot work are refused where they are read, not found out by a source that never opens."""

from __future__ import annotations

import pytest

from sliceward.daemons.agent.settings import AgentSettings
from sliceward.daemons.settings import load
from sliceward.topology.errors import Misconfigured

ONE = {"SLICEWARD_CLUSTER": "c", "SLICEWARD_NODE_NAME": "n", "SLICEWARD_MQTT_URL": "mqtt://localhost"}


def test_the_longest_path_that_a_unix_socket_can_have_is_taken() -> None:
    path = "/" + "s" * 106
    assert (
        str(load(AgentSettings, file=None, environ={**ONE, "SLICEWARD_SOURCES__REPORTER__SOCKET": path}).sources.reporter.socket)
        == path
    )


def test_a_longer_path_is_refused_with_its_place_and_length() -> None:
    environ = {**ONE, "SLICEWARD_SOURCES__REPORTER__SOCKET": "/" + "ß" * 54}
    with pytest.raises(Misconfigured, match=r"SOCKET: the path has 109 bytes .* at most 107: name a shorter one"):
        load(AgentSettings, file=None, environ=environ)
