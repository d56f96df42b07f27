"""One broker as it is reached from here, as lines of `sliceward check`: address, TLS, user, and whose words it keeps.

The steps are taken one by one (TCP, TLS, MQTT), so that what fails is named by itself. Nothing is published.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from contextlib import suppress
from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from sliceward.daemons import topics
from sliceward.daemons.cli.check_files import mistake
from sliceward.daemons.cli.lines import Line, well, wrong
from sliceward.daemons.wire import BrokerAddress, Message, Wire, WireOptions
from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from sliceward.daemons.settings import BrokerSettings

PATIENCE = 5.0
GATHERING = 0.5
"""Seconds for retained messages to come: they follow the subscription at once."""
LOOK_EVERY = 0.02


async def broker(cluster: str, settings: BrokerSettings, *, with_watchers: bool) -> list[Line]:
    """Connect as the daemon would. ``with_watchers``: also look whose watchers the broker knows."""
    about = f"broker of {cluster}, from here"
    if not settings.url:
        return [wrong(about, "has no address", "Write broker.url: mqtt://host:1883, or set SLICEWARD_MQTT_URL.")]
    try:
        place = BrokerAddress.parse(settings.url)
        options = replace(WireOptions.of(settings), connect_timeout=PATIENCE)
        problem = await _tcp(about, place) or (await _tls(about, place, options) if place.tls else None)
        if problem is not None:
            return [problem]
        Wire(settings.url, client_id="none", options=options).secrets()  # a mistake in them is told by itself
        return await _mqtt(cluster, settings.url, options, with_watchers=with_watchers)
    except Misconfigured as error:
        return [mistake(about, error)]


async def reachable(about: str, url: str) -> Line:
    """Say whether something listens at an address of which neither user nor password is known."""
    try:
        place = BrokerAddress.parse(url)
    except Misconfigured as error:
        return mistake(about, error)
    return await _tcp(about, place) or well(about, f"{place} answers")


async def _tcp(about: str, place: BrokerAddress) -> Line | None:
    try:
        async with asyncio.timeout(PATIENCE):
            _, writer = await asyncio.open_connection(place.host, place.port)
    except OSError as error:
        why = str(error) or f"no answer in {PATIENCE:.0f} s"
        return wrong(about, f"{place} does not answer: {why}", "Start the broker, or correct host and port in broker.url.")
    writer.close()
    return None


async def _tls(about: str, place: BrokerAddress, options: WireOptions) -> Line | None:
    context = options.tls_context()
    try:
        async with asyncio.timeout(PATIENCE):
            _, writer = await asyncio.open_connection(place.host, place.port, ssl=context)
    except ssl.SSLCertVerificationError as error:
        hint = "Give the CA that signed the broker's certificate as broker.ca_file."
        if "match" in error.verify_message or "IP address" in error.verify_message:
            hint = "Use the name that stands in the broker's certificate in broker.url."
        return wrong(about, f"the certificate of {place} is not trusted: {error.verify_message}", hint)
    except (OSError, EOFError) as error:
        if told := _alert(error):
            return _our_certificate(about, place, told)
        return wrong(
            about, f"{place} does not speak TLS", "Write mqtt:// for a broker without TLS, or the port of its TLS listener."
        )
    writer.close()
    return None


async def _late_alert(place: BrokerAddress, options: WireOptions) -> str:
    """Give what a broker says of our certificate once the handshake is over, as it does in TLS 1.3; "" for nothing."""
    try:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(place.host, place.port, ssl=options.tls_context())
            try:
                await reader.read(1)
            finally:
                writer.close()
    except (OSError, EOFError) as error:
        return _alert(error)
    return ""


def _alert(error: Exception) -> str:
    """Give the alert by which a broker refuses a client's certificate, or that there is none (RFC 8446 section 6.2); "" for others."""
    told = (error.reason or "") if isinstance(error, ssl.SSLError) else ""
    about_us = "ALERT" in told and any(word in told for word in ("CERTIFICATE", "UNKNOWN_CA", "HANDSHAKE_FAILURE"))
    return told.partition("ALERT_")[2].lower().replace("_", " ") if about_us else ""


def _our_certificate(about: str, place: BrokerAddress, told: str) -> Line:
    hint = "Give broker.cert_file and broker.key_file: a certificate by the authority that the broker trusts for its clients."
    return wrong(about, f"{place} does not take our certificate, or misses it: {told}", hint)


async def _mqtt(cluster: str, url: str, options: WireOptions, *, with_watchers: bool) -> list[Line]:
    about = f"broker of {cluster}, from here"
    kept: list[Message] = []
    why = await _session(url, options, (), kept)
    if why:
        place = BrokerAddress.parse(url)
        if "authori" in why.lower() or "user name or password" in why.lower():
            return [wrong(about, f"{place} does not let us in: {why}", "Correct broker.username and broker.password.")]
        if place.tls and (told := await _late_alert(place, options)):
            return [_our_certificate(about, place, told)]
        hint = "Is that a broker, and does it want TLS (mqtts://)?"
        return [wrong(about, f"{place} does not speak MQTT with us: {why}", hint)]
    lines = [well(about, f"{BrokerAddress.parse(url)} lets us in")]
    if with_watchers and not await _session(url, options, (topics.watcher("+"),), kept, cluster=cluster):
        lines.append(_watchers(cluster, kept))
    return lines


async def _session(url: str, options: WireOptions, subscribe: tuple[str, ...], kept: list[Message], *, cluster: str = "") -> str:
    """Connect once; gives why not, "" where it went well. What the broker keeps of the topics is put into ``kept``."""
    wire = Wire(url, client_id=f"sliceward-check-{os.getpid()}", subscribe=subscribe, options=options)
    unknown, arrived = wire.error, asyncio.Event()

    def take(message: Message) -> None:
        kept.append(message)
        if message.topic == topics.watcher(cluster):
            arrived.set()

    running = asyncio.create_task(wire.run(take))
    try:
        async with asyncio.timeout(PATIENCE):
            while not wire.connected and wire.error == unknown:  # noqa: ASYNC110 (a wire tells of its failures by this alone)
                await asyncio.sleep(LOOK_EVERY)
        if wire.connected and subscribe:
            with suppress(TimeoutError):
                await asyncio.wait_for(arrived.wait(), GATHERING)
    except TimeoutError:
        return f"no answer in {PATIENCE:.0f} s"
    else:
        return "" if wire.connected else wire.error or "the connection was closed"
    finally:
        running.cancel()
        await asyncio.wait([running])


def _watchers(cluster: str, kept: list[Message]) -> Line:
    about = f"watcher of {cluster}, at the broker"
    said = {found.cluster: _status(message) for message in kept if (found := topics.read(message.topic)) is not None}
    if cluster not in said:
        if not said:
            return wrong(
                about, "none has ever spoken there", "Start `sliceward watcher`, or see its log and its user at the broker."
            )
        near = get_close_matches(cluster, said, n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]}? " if near else ""
        return wrong(
            about,
            f"the broker knows watchers of {', '.join(sorted(said))} and none of {cluster}",
            f"{hint}Write the same name in the watcher's cluster.name and the coordinator's clusters[].name.",
        )
    if said[cluster].get("online") is False:
        return wrong(about, f"it is gone: {said[cluster].get('why', 'without a word')}", "Start it again, or see its log.")
    return well(about, f"last spoke at {said[cluster].get('at', 'a time that it does not tell')}")


def _status(message: Message) -> dict[str, Any]:
    try:
        found = json.loads(message.payload)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
