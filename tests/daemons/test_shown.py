"""What is shown of a configuration holds no secret, in whatever key it stands."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from sliceward.daemons.coordinator.settings import CoordinatorSettings
from sliceward.daemons.settings import load
from sliceward.daemons.shown import address, secrets_of, shown

if TYPE_CHECKING:
    from pathlib import Path

WORD = "hunter2hunter2"
ADDRESSES = {
    "mqtt://b:1883": "mqtt://b:1883",
    f"mqtt://me:{WORD}@b": "mqtt://me:***@b",
    f"mqtts://me:{WORD}/x@b:8883": "mqtts://***",
    f"mqtt://me:{WORD}@[::1]:1883": "mqtt://me:***@[::1]:1883",
    "sqlite:////var/lib/s.db": "sqlite:////var/lib/s.db",
    "postgresql://me@db/name": "postgresql://me@db/name",
    f"postgresql://me:{WORD}@db:5432/name?password={WORD}": "postgresql://me:***@db:5432/name",
    f"postgresql+asyncpg://me:{WORD}@db/name": "postgresql+asyncpg://me:***@db/name",
    f"https://chat.example.com/services/{WORD}?key={WORD}": "https://chat.example.com/***",
    f"https://{WORD}@repairs.example.com/": "https://***@repairs.example.com/",
    "http://prometheus:9090": "http://prometheus:9090",
    f"mqtt://me:{WORD}@b:no-port": "mqtt://***",
    "/etc/sliceward/ca.crt": "/etc/sliceward/ca.crt",
}


@pytest.mark.parametrize("text", ADDRESSES)
def test_an_address_is_shown_without_what_may_be_a_key(text: str) -> None:
    assert WORD not in address(text)
    assert address(text) == ADDRESSES[text]


def test_secrets_are_set_or_not_and_the_rest_is_as_the_file_says(tmp_path: Path) -> None:
    (tmp_path / "good").write_text(WORD)
    file = tmp_path / "c.yaml"
    file.write_text(
        f"""
clusters: [{{name: c1, broker: {{password: {{file: {tmp_path}/good}}}}}}]
store: {{url: 'postgresql://me@db/name', password: {{env: GONE}}}}
pagers: [{{name: chat, kind: webhook, url: 'https://chat/{WORD}', secret: {{env: THERE}}}}]
pace: {{decide_every: 90s}}
"""
    )
    environ = {"THERE": WORD, "SLICEWARD_PROVIDER__TOKEN": WORD, "SLICEWARD_MQTT_URL": f"mqtts://me:{WORD}@b"}
    settings = load(CoordinatorSettings, file=file, environ=environ)
    seen = shown(settings)
    assert WORD not in json.dumps(seen)
    told = [seen["clusters"][0]["broker"]["password"], seen["store"]["password"], seen["pagers"][0]["secret"]]
    assert told == [f"set (file {tmp_path}/good)", "not set (variable GONE): holds no secret", "set (variable THERE)"]
    assert [seen["provider"]["token"]] == ["set (environment)"]
    assert seen["clusters"][0]["kubeconfig"] is None
    assert (seen["pace"]["decide_every"], seen["api"]["port"]) == ("90s", 8482)
    paths = [path for path, _ in secrets_of(settings)]
    assert paths == ["clusters[0].broker.password", "store.password", "pagers[0].secret", "provider.token"]
