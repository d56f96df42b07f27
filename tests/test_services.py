"""The real services start, answer and end."""

from __future__ import annotations

import socket
import subprocess
import urllib.request
from typing import TYPE_CHECKING

import asyncpg

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services.fixtures import ConfigRunner, MosquittoRunner
    from tests.services.servers import Service


def test_mosquitto_accepts_connections(mosquitto: Service) -> None:
    socket.create_connection(("127.0.0.1", mosquitto.port), timeout=30).close()


def test_a_broker_can_go_and_come_back_on_its_port(mosquitto_runner: MosquittoRunner) -> None:
    with mosquitto_runner() as first:
        port = first.port
    with mosquitto_runner(port=port) as second:
        socket.create_connection(("127.0.0.1", second.port), timeout=30).close()


def test_prometheus_answers(prometheus_runner: ConfigRunner) -> None:
    with prometheus_runner(config="global: {scrape_interval: 1s}\n") as service:
        assert urllib.request.urlopen(f"{service.url}/api/v1/status/buildinfo", timeout=30).status == 200  # noqa: S310 (an address of our own)


def test_alertmanager_answers(alertmanager_runner: ConfigRunner) -> None:
    with alertmanager_runner(config="route: {receiver: none}\nreceivers: [{name: none}]\n") as service:
        assert urllib.request.urlopen(f"{service.url}/api/v2/status", timeout=30).status == 200  # noqa: S310 (an address of our own)


async def test_each_test_gets_an_empty_database(postgres: str) -> None:
    connection = await asyncpg.connect(postgres.replace("+asyncpg", ""))
    try:
        assert await connection.fetchval("select count(*) from pg_tables where schemaname = 'public'") == 0
    finally:
        await connection.close()


def test_the_control_plane_answers_kubectl(control_plane: Path, kubectl: str) -> None:
    told = subprocess.run(  # noqa: S603 (found by the fixture)
        [kubectl, "--kubeconfig", control_plane, "get", "--raw", "/readyz"], check=True, capture_output=True, text=True
    )
    assert told.stdout == "ok"


def test_chromium_tells_its_version(chromium: str) -> None:
    told = subprocess.run([chromium, "--version"], check=True, capture_output=True, text=True)  # noqa: S603 (as above)
    assert "Chrom" in told.stdout
