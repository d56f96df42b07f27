"""Whether an address holds a password: also one that nothing reads."""

from __future__ import annotations

import pytest

from sliceward.daemons.addresses import holds_password

WITH = (
    "mqtts://me:word@broker:8883",
    "mqtt://me:wo/rd@broker",
    "mqtt://me:wo?rd@broker",
    "mqtt://me:wo@rd@broker",
    "mqtt://me:1/2@broker",
    "mqtt://:word@broker",
    "postgresql+asyncpg://me:word@db/name",
    "postgresql://db/name?user=me&password=word",
    "https://me:word@provider.example/x",
    "https://me:wo/rd@provider.example",
    "http://me:word@[::1]:80",
)
WITHOUT = (
    "",
    "me:word@broker",
    "mqtts://broker:8883",
    "mqtts://me@broker:8883",
    "mqtts://me:@broker:8883",
    "mqtts://[::1]:8883",
    "postgresql://me@db:5432/name?ssl=require&password=",
    "sqlite:////var/lib/a:b@c.db",
    "sqlite:///relative.db",
    "https://chat.example:8443/rooms/@everyone:all",
    "https://[::1]:8443/@x",
    "https://chat.example/services/key",
)


@pytest.mark.parametrize("address", WITH)
def test_a_password_is_seen_wherever_it_stands(address: str) -> None:
    assert holds_password(address)


@pytest.mark.parametrize("address", WITHOUT)
def test_an_address_without_one_is_left_alone(address: str) -> None:
    assert not holds_password(address)
