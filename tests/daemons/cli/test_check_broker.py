"""What no Mosquitto of ours does: a broker of TLS 1.2, which refuses a certificate before the handshake is over."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING

from sliceward.daemons.cli.check_broker import broker
from sliceward.daemons.settings import BrokerSettings
from tests.daemons.cli.misconfigured import a_certificate

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_broker_of_tls_1_2_that_misses_our_certificate_is_told_apart_from_one_without_tls(tmp_path: Path) -> None:
    certificate = a_certificate(tmp_path, "broker")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    context.load_verify_locations(a_certificate(tmp_path, "clients"))
    context.verify_mode = ssl.CERT_REQUIRED
    # A thread, for asyncio's own server closes such a connection without the alert.
    with socket.create_server(("127.0.0.1", 0)) as server:
        refusing = asyncio.create_task(asyncio.to_thread(_refuse, server, context, times=2))
        url = f"mqtts://127.0.0.1:{server.getsockname()[1]}"
        lines = await broker("c1", BrokerSettings(url=url, ca_file=certificate), with_watchers=False)
        await refusing
    assert [line.ok for line in lines] == [False]
    assert "does not take our certificate, or misses it: handshake failure" in lines[0].found
    assert "broker.cert_file" in lines[0].what_to_do


def _refuse(server: socket.socket, context: ssl.SSLContext, *, times: int) -> None:
    """Shake hands so many times: with who only looks whether something listens, and with who has no certificate."""
    for _ in range(times):
        connection, _address = server.accept()
        with connection, suppress(OSError), context.wrap_socket(connection, server_side=True):
            pass
