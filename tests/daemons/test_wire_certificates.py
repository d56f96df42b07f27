"""Certificates of our own, before a real Mosquitto that knows each host by its certificate and lets it write under that name alone."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from sliceward.daemons.agent.settings import AgentSettings
from sliceward.daemons.settings import BrokerSettings, load
from sliceward.daemons.wire import Message, Wire, WireOptions
from sliceward.topology.errors import Misconfigured
from tests.daemons.cli.misconfigured import a_certificate, tls_lines

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.services.fixtures import MosquittoRunner
    from tests.services.servers import Service

PATIENCE = 60


class Ground:
    """A folder with the broker's certificate, those of hosts, and what the broker trusts and allows."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.broker = folder, a_certificate(folder, "broker")
        hosts = [a_certificate(folder, name) for name in ("h1", "h2")]
        (folder / "clients.crt").write_text("".join(host.read_text() for host in hosts))
        (folder / "acl").write_text("pattern write hosts/%u/frame\npattern read hosts/#\n")
        (folder / "acl").chmod(0o644)

    @property
    def lines(self) -> tuple[str, ...]:
        trust = (f"cafile {self.folder / 'clients.crt'}", "require_certificate true", "use_identity_as_username true")
        return (*tls_lines(self.broker), *trust, f"acl_file {self.folder / 'acl'}")

    def settings(self, service: Service, certificate: Path, key: Path | None) -> BrokerSettings:
        url = service.url.replace("mqtt:", "mqtts:")
        return BrokerSettings(url=url, ca_file=self.broker, cert_file=certificate, key_file=key)

    def show(self, name: str, certificate: Path) -> None:
        """Put the certificate of a host and its key into one file, as some issuers do."""
        certificate.write_text((self.folder / f"{name}.key").read_text() + (self.folder / f"{name}.crt").read_text())


@asynccontextmanager
async def running(settings: BrokerSettings) -> AsyncIterator[tuple[Wire, asyncio.Queue[Message]]]:
    heard: asyncio.Queue[Message] = asyncio.Queue()
    options = WireOptions.of(settings)
    wire = Wire(settings.url, client_id="host", subscribe=("hosts/+/frame",), options=options)
    task = asyncio.create_task(wire.run(heard.put))
    try:
        async with asyncio.timeout(PATIENCE):
            yield wire, heard
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until_connected(wire: Wire) -> None:
    while not wire.connected:  # noqa: ASYNC110 (a wire tells of it by this alone)
        await asyncio.sleep(0.01)


async def names_allowed(wire: Wire, heard: asyncio.Queue[Message]) -> set[str]:
    """Give the hosts for which this wire may speak: of what is not allowed Mosquitto says nothing, and drops it."""
    for name in ("h1", "h2"):
        await wire.publish(f"hosts/{name}/frame", b"")
    await wire.publish("hosts/h1/frame", b"last")
    await wire.publish("hosts/h2/frame", b"last")
    found = set()
    while (message := await heard.get()).payload != b"last":
        found.add(message.topic.split("/")[1])
    return found


async def test_a_broker_knows_a_host_by_its_certificate(tmp_path: Path, mosquitto_runner: MosquittoRunner) -> None:
    ground = Ground(tmp_path)
    with mosquitto_runner(lines=ground.lines) as service:
        for name in ("h1", "h2"):
            certificate = tmp_path / f"{name}.crt"
            async with running(ground.settings(service, certificate, certificate.with_suffix(".key"))) as (wire, heard):
                await until_connected(wire)
                assert await names_allowed(wire, heard) == {name}


async def test_a_certificate_may_come_after_the_wire_and_is_read_at_each_connection(
    tmp_path: Path, mosquitto_runner: MosquittoRunner
) -> None:
    ground, certificate = Ground(tmp_path), tmp_path / "shown.pem"
    with mosquitto_runner(lines=ground.lines) as service:
        settings = ground.settings(service, certificate, None)
    async with running(settings) as (wire, heard):
        while "shown.pem: cannot be used" not in wire.error:  # noqa: ASYNC110 (as above)
            await asyncio.sleep(0.01)
        for name in ("h1", "h2"):
            ground.show(name, certificate)
            with mosquitto_runner(port=service.port, lines=ground.lines):
                await until_connected(wire)
                assert await names_allowed(wire, heard) == {name}
            while wire.connected:  # noqa: ASYNC110 (as above)
                await asyncio.sleep(0.01)


def test_who_begins_with_a_certificate_that_cannot_be_used_is_told_at_once(tmp_path: Path) -> None:
    certificate = a_certificate(tmp_path, "h1")
    other = a_certificate(tmp_path, "h2").with_suffix(".key")
    for cert_file, key_file, why in (
        (tmp_path / "none.crt", None, r"none\.crt: cannot be used: .*No such file"),
        (certificate, None, r"h1\.crt: cannot be used"),
        (certificate, other, r"h1\.crt, key_file .*h2\.key: cannot be used: .*KEY_VALUES_MISMATCH"),
    ):
        options = WireOptions(ca_file=certificate, cert_file=cert_file, key_file=key_file)
        with pytest.raises(Misconfigured, match=why):
            Wire("mqtts://127.0.0.1", client_id="a", options=options).secrets()


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked_for_it(tmp_path: Path) -> None:
    certificate = a_certificate(tmp_path, "h1", passphrase="one two three")  # noqa: S106 (a test)
    options = WireOptions(ca_file=certificate, cert_file=certificate, key_file=certificate.with_suffix(".key"))
    with pytest.raises(Misconfigured, match="the key is encrypted"):
        Wire("mqtts://127.0.0.1", client_id="a", options=options).secrets()


def test_a_key_without_a_certificate_is_refused() -> None:
    environ = {"SLICEWARD_CLUSTER": "c1", "SLICEWARD_NODE_NAME": "h1", "SLICEWARD_BROKER__KEY_FILE": "/key"}
    with pytest.raises(Misconfigured, match=r"broker: .*set cert_file too"):
        load(AgentSettings, file=None, environ=environ)
