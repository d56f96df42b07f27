"""What is the wire's own: addresses, TLS files, topics, and what it says while a broker is away."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from sliceward.daemons import topics
from sliceward.daemons.broker import running_broker
from sliceward.daemons.setting_types import Secret
from sliceward.daemons.topics import Address, matches, read
from sliceward.daemons.wire import LONGEST_TURN, BrokerAddress, Inbox, Message, Wire, WireOptions
from sliceward.topology.errors import Misconfigured, Retry

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("mqtt://b", BrokerAddress("b", 1883, tls=False)),
        ("mqtts://b", BrokerAddress("b", 8883, tls=True)),
        ("mqtt://u:p%40ss@b:99", BrokerAddress("b", 99, tls=False, username="u", password="p@ss")),  # noqa: S106 (a test)
    ],
)
def test_addresses(url: str, address: BrokerAddress) -> None:
    assert BrokerAddress.parse(url) == address


@pytest.mark.parametrize("url", ["http://u:secret@b", "mqtt://", "b:1883", "mqtt://b:port", "mqtt://u:secret@b:99999"])
def test_an_address_that_is_none_is_refused_without_repeating_its_password(url: str) -> None:
    with pytest.raises(Misconfigured) as error:
        Wire(url, client_id="a")
    assert "secret" not in str(error.value)


def test_a_password_is_never_printed() -> None:
    address = BrokerAddress.parse("mqtt://u:secret@b")
    options = WireOptions(password="secret")  # noqa: S106 (a test)
    assert "secret" not in f"{address} {address!r} {options!r}"
    assert str(address) == "mqtt://b:1883"


async def test_a_ca_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "ca.pem"
    broken.write_text("no certificate")
    for options in (WireOptions(ca_file=broken), WireOptions(ca_file=tmp_path / "absent")):
        with pytest.raises(Misconfigured, match=r"ca_file .*(ca\.pem|absent): cannot be used"):
            await Wire("mqtts://127.0.0.1", client_id="a", options=options).run(lambda _: None)


async def test_while_no_broker_answers_the_wire_goes_on_trying_and_says_why() -> None:
    async with running_broker() as url:
        pass
    wire = Wire(url, client_id="a", options=WireOptions(first_wait=0.001, longest_wait=0.002))
    task = asyncio.create_task(wire.run(lambda _: None))
    async with asyncio.timeout(20):
        while "refused" not in wire.error:  # noqa: ASYNC110 (what is read here has no event)
            await asyncio.sleep(0)
    with pytest.raises(Retry, match="refused"):
        await wire.publish("t", b"")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_password_may_come_after_the_wire_and_is_read_at_each_connection(tmp_path: Path) -> None:
    asked = []

    def password() -> str:
        asked.append(Secret(file=tmp_path / "password").reveal())
        return asked[-1]

    options = WireOptions(username="me", password=password, first_wait=0.001, longest_wait=0.002)
    connected = asyncio.Event()

    async def greet() -> None:
        connected.set()

    async with asyncio.timeout(60):
        async with running_broker() as url:
            wire = Wire(url, client_id="a", options=options)
            task = asyncio.create_task(wire.run(lambda _: None, greet))
            while "cannot be read as a secret" not in wire.error:  # noqa: ASYNC110 (what is read here has no event)
                await asyncio.sleep(0)
            (tmp_path / "password").write_text("one")
            await connected.wait()
            assert asked == ["one"]
            (tmp_path / "password").write_text("two")
            connected.clear()
        async with running_broker(port=wire.address.port):
            await connected.wait()
    assert set(asked) == {"one", "two"}
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_full_inbox_lets_the_oldest_go_and_remembers_what_mattered() -> None:
    counts: Counter[str] = Counter()
    inbox = Inbox(WireOptions(inbox=2), counts)
    for number in range(3):
        inbox.put_nowait(Message("t", str(number).encode(), qos=0))
    assert (counts["dropped_full"], inbox.missed) == (1, False)
    inbox.put_nowait(Message("t", b"3", qos=1))
    inbox.put_nowait(Message("t", b"4", qos=0))
    assert not inbox.missed
    inbox.put_nowait(Message("t", b"5", qos=0))
    assert inbox.missed
    assert [inbox.get_nowait().payload for _ in range(2)] == [b"4", b"5"]


def test_an_inbox_is_bounded_in_bytes_too_and_keeps_nothing_that_is_larger_than_any_message() -> None:
    counts: Counter[str] = Counter()
    inbox = Inbox(WireOptions(max_payload=8, inbox_bytes=20), counts)
    for size in (9, 8, 8, 8):
        inbox.put_nowait(Message("t", b"x" * size, qos=1))
    assert (counts["dropped_large"], counts["dropped_full"], inbox.qsize(), inbox.missed) == (1, 1, 2, True)
    while not inbox.empty():
        inbox.get_nowait()
    for _ in range(2):
        inbox.put_nowait(Message("t", b"x" * 8))
    assert (counts["dropped_full"], inbox.qsize()) == (1, 2), "what was taken out has left its room"


async def test_a_large_message_that_pushes_out_what_lies_there_ends_nothing() -> None:
    inbox = Inbox(WireOptions(inbox_bytes=20), Counter())
    for name in "abc":
        inbox.put_nowait(Message("t", name.encode()))
    taken = []
    async for message in inbox.lying_there():
        taken.append(message.payload)
        if message.payload == b"a":
            inbox.put_nowait(Message("t", b"x" * 20))
    assert taken == [b"a", b"x" * 20]


async def test_messages_that_take_long_leave_the_others_their_turns() -> None:
    inbox, turns = Inbox(WireOptions(), Counter()), list[int]()
    for number in range(3):
        inbox.put_nowait(Message("t", str(number).encode()))
    async for message in inbox.lying_there():
        asyncio.get_running_loop().call_soon(turns.append, int(message.payload))
        end = time.monotonic() + LONGEST_TURN
        while time.monotonic() <= end:
            pass
    assert turns == [0, 1]


@pytest.mark.parametrize(
    ("pattern", "topic", "fits"),
    [
        ("a/+/c", "a/b/c", True),
        ("a/+/c", "a/b/c/d", False),
        ("a/+", "a", False),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("#", "a/b", True),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/x", False),
        ("a/b", "a/c", False),
        ("+", "", True),
    ],
)
def test_filters(pattern: str, topic: str, fits: bool) -> None:  # noqa: FBT001 (a table)
    assert matches(pattern, topic) == fits


@pytest.mark.parametrize(
    ("topic", "address"),
    [
        (topics.host("c1", "n1", topics.FRAME), Address("c1", "hosts", "n1", "frame")),
        (topics.progress("c1", "g"), Address("c1", "gangs", "g", "progress")),
        (topics.finding("c1", "f"), Address("c1", "findings", "f", "")),
        (topics.watcher("c1"), Address("c1", "watcher", "status", "")),
        ("sliceward/v1/c1/hosts/n1/nonsense", None),
        ("sliceward/v1/c1/findings/f/more", None),
        ("sliceward/v1/c1/findings/", None),
        ("sliceward/v2/c1/findings/f", None),
        ("sliceward/v1/c1", None),
    ],
)
def test_topics_are_read_as_they_are_made(topic: str, address: Address | None) -> None:
    assert read(topic) == address


def test_the_filters_for_everything_fit_what_is_made() -> None:
    assert matches(topics.ALL_FRAMES, topics.host("c1", "n1", topics.FRAME))
    assert matches(topics.ALL_EVENTS, topics.host("c1", "n1", topics.EVENT))
    assert matches(topics.ALL_STATUS, topics.host("c1", "n1", topics.STATUS))
    assert matches(topics.ALL_PROGRESS, topics.progress("c1", "g"))
    assert matches(topics.ALL_FINDINGS, topics.finding("c1", "f"))
