"""What a wire promises, on the broker in memory, on amqtt and on a real Mosquitto."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from sliceward.daemons.wire import Bus, Message
from sliceward.topology.errors import Refused, Retry
from tests.contracts.brokers import AmqttBench, Bench, MemoryBench, MosquittoBench, Proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

PATIENCE = 20


@pytest.fixture(params=["memory", "amqtt", "mosquitto"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    if request.param == "memory":
        yield MemoryBench()
        return
    async with AsyncExitStack() as stack:
        proxy = Proxy()
        await proxy.open(stack)
        real: AmqttBench | MosquittoBench = AmqttBench(proxy)
        if request.param == "mosquitto":
            real = MosquittoBench(proxy, request.getfixturevalue("mosquitto_runner"))
        await real.start()
        stack.push_async_callback(real.stop)
        yield real


class Ear:
    """Runs a wire and keeps what it hears."""

    def __init__(self, wire: Bus, on_connect: Callable[[], Awaitable[None]] | None = None) -> None:
        self.wire, self.heard, self.greetings = wire, list[Message](), 0
        self._also, self._news = on_connect, asyncio.Condition()

    async def hear(self, message: Message) -> None:
        self.heard.append(message)
        async with self._news:
            self._news.notify_all()

    async def greet(self) -> None:
        if self._also is not None:
            await self._also()
        self.greetings += 1
        async with self._news:
            self._news.notify_all()

    async def until(self, question: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE), self._news:
            await self._news.wait_for(question)

    @property
    def latest(self) -> dict[str, bytes]:
        return {message.topic: message.payload for message in self.heard}


@asynccontextmanager
async def listening(wire: Bus, on_connect: Callable[[], Awaitable[None]] | None = None) -> AsyncIterator[Ear]:
    ear = Ear(wire, on_connect)
    task = asyncio.create_task(wire.run(ear.hear, ear.greet))
    try:
        await ear.until(lambda: ear.greetings > 0)
        yield ear
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_one_says_the_other_hears(bench: Bench) -> None:
    async with listening(bench.wire("b", subscribe=("t/+/x",))) as ear, listening(bench.wire("a")) as mouth:
        await mouth.wire.publish("t/1/x", b"hello")
        await ear.until(lambda: bool(ear.heard))
    assert ear.heard == [Message("t/1/x", b"hello", retain=False, qos=1)]


async def test_wildcards_let_through_what_they_match_and_nothing_else(bench: Bench) -> None:
    async with listening(bench.wire("a")) as mouth:
        for topic in ("a/b/c", "a/b", "x/b/c", "a/q/c", "end/now"):
            await mouth.wire.publish(topic, b"1", retain=True)
        async with listening(bench.wire("b", subscribe=("a/+/c", "end/#"))) as ear:
            await mouth.wire.publish("x/b/c", b"2")
            await mouth.wire.publish("end/now", b"2")
            await ear.until(lambda: ear.latest.get("end/now") == b"2" and len(ear.latest) >= 3)
    assert set(ear.latest) == {"a/b/c", "a/q/c", "end/now"}


async def test_a_retained_message_waits_for_those_who_come_late(bench: Bench) -> None:
    async with listening(bench.wire("a")) as mouth:
        await mouth.wire.publish("f/1", b"old", retain=True)
        await mouth.wire.publish("f/1", b"new", retain=True)
        async with listening(bench.wire("b", subscribe=("f/+",))) as ear:
            await ear.until(lambda: "f/1" in ear.latest)
    assert {message.payload for message in ear.heard} == {b"new"}
    assert ear.heard[0].retain


async def test_an_empty_message_clears_a_retained_one(bench: Bench) -> None:
    async with listening(bench.wire("a")) as mouth:
        await mouth.wire.publish("f/1", b"here", retain=True)
        await mouth.wire.publish("f/1", b"", retain=True)
        await mouth.wire.publish("f/2", b"here", retain=True)
        async with listening(bench.wire("b", subscribe=("f/+",))) as ear:
            await ear.until(lambda: "f/2" in ear.latest)
            await mouth.wire.publish("f/3", b"end")
            await ear.until(lambda: "f/3" in ear.latest)
    assert "f/1" not in ear.latest


async def test_the_clearing_itself_is_heard_as_an_empty_message(bench: Bench) -> None:
    async with listening(bench.wire("b", subscribe=("f/+",))) as ear, listening(bench.wire("a")) as mouth:
        await mouth.wire.publish("f/1", b"here", retain=True)
        await mouth.wire.publish("f/1", b"", retain=True)
        await ear.until(lambda: len(ear.heard) > 1)
    assert [(message.topic, message.payload) for message in ear.heard] == [("f/1", b"here"), ("f/1", b"")]


async def test_the_last_will_is_told_when_a_speaker_dies_without_a_word(bench: Bench) -> None:
    will = Message("hosts/n1/status", b"offline", retain=True)
    async with (
        listening(bench.wire("b", subscribe=("hosts/+/status",))) as ear,
        listening(bench.wire("a", will=will)) as mouth,
    ):
        await mouth.wire.publish("hosts/n1/status", b"online", retain=True)
        await ear.until(lambda: ear.latest.get("hosts/n1/status") == b"online")
        bench.cut("a")
        await ear.until(lambda: ear.latest["hosts/n1/status"] == b"offline")
        await mouth.until(lambda: mouth.greetings == 2)
    assert [message.payload for message in ear.heard] == [b"online", b"offline"]


async def test_leaving_in_order_tells_no_last_will(bench: Bench) -> None:
    async with listening(bench.wire("b", subscribe=("w/+",))) as ear:
        async with listening(bench.wire("a", will=Message("w/a", b"dead"))):
            pass
        async with listening(bench.wire("c")) as other:
            await other.wire.publish("w/end", b"1")
            await ear.until(lambda: "w/end" in ear.latest)
    assert "w/a" not in ear.latest


async def test_after_a_restart_of_the_broker_subscriptions_are_back_and_what_was_kept_is_said_again(bench: Bench) -> None:
    speaker = bench.wire("a")

    async def say_all() -> None:
        await speaker.publish("f/1", b"still so", retain=True)

    async with listening(bench.wire("b", subscribe=("f/+",))) as ear, listening(speaker, say_all) as mouth:
        await ear.until(lambda: "f/1" in ear.latest)
        await bench.stop()
        await bench.start()
        await mouth.until(lambda: mouth.greetings >= 2)
        await ear.until(lambda: ear.greetings >= 2)
        ear.heard.clear()
        await speaker.publish("f/2", b"after")
        await ear.until(lambda: "f/2" in ear.latest)
        assert speaker.connected


async def test_without_a_connection_publishing_asks_to_retry(bench: Bench) -> None:
    wire = bench.wire("a")
    assert not wire.connected
    assert wire.age == float("inf")
    with pytest.raises(Retry):
        await wire.publish("t", b"1")
    async with listening(wire):
        assert wire.connected
        assert wire.age == 0
    assert not wire.connected
    with pytest.raises(Retry):
        await wire.publish("t", b"1")


async def test_a_thousand_confirmed_messages_all_arrive_in_order(bench: Bench) -> None:
    async with listening(bench.wire("b", subscribe=("n/#",))) as ear, listening(bench.wire("a")) as mouth:
        for number in range(1000):
            await mouth.wire.publish("n/x", str(number).encode())
        await ear.until(lambda: ear.latest.get("n/x") == b"999")
    assert [int(message.payload) for message in ear.heard] == list(range(1000))


async def test_a_large_message_passes_and_one_too_large_is_refused_before_it_is_sent(bench: Bench) -> None:
    async with listening(bench.wire("b", subscribe=("big/#",))) as ear, listening(bench.wire("a")) as mouth:
        body = bytes(range(256)) * 1024
        await mouth.wire.publish("big/1", body)
        await ear.until(lambda: "big/1" in ear.latest)
        assert ear.latest["big/1"] == body
        with pytest.raises(Refused):
            await mouth.wire.publish("big/2", body + b"!")


async def test_a_topic_with_a_wildcard_is_refused(bench: Bench) -> None:
    async with listening(bench.wire("a")) as mouth:
        with pytest.raises(Refused):
            await mouth.wire.publish("t/+", b"1")


async def test_a_slow_consumer_loses_the_oldest_counted_and_hears_the_newest(bench: Bench) -> None:
    wire = bench.wire("slow", subscribe=("n/+",), inbox=10)
    gate, heard, done = asyncio.Event(), list[int](), asyncio.Event()

    async def slow(message: Message) -> None:
        await gate.wait()
        heard.append(int(message.payload))
        if heard[-1] == 199:
            done.set()

    ready = asyncio.Event()

    async def say_ready() -> None:
        ready.set()

    task = asyncio.create_task(wire.run(slow, say_ready))
    async with asyncio.timeout(PATIENCE), listening(bench.wire("a")) as mouth:
        await ready.wait()
        async with listening(bench.wire("b", subscribe=("n/+",))) as witness:
            for number in range(200):
                await mouth.wire.publish("n/x", str(number).encode(), qos=0)
            await witness.until(lambda: witness.latest.get("n/x") == b"199")
        while wire.counts["dropped_full"] < 180:  # noqa: ASYNC110 (what is counted here has no event)
            await asyncio.sleep(0)
        gate.set()
        await done.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert heard == sorted(heard)
    assert len(heard) + wire.counts["dropped_full"] == 200


async def test_a_handler_that_raises_is_counted_and_the_next_message_is_handled(bench: Bench) -> None:
    wire, heard, ready = bench.wire("b", subscribe=("t",)), asyncio.Event(), asyncio.Event()

    def poisoned(message: Message) -> None:
        if message.payload == b"poison":
            raise ValueError("poison")
        heard.set()

    async def say_ready() -> None:
        ready.set()
        raise ValueError("poison")

    task = asyncio.create_task(wire.run(poisoned, say_ready))
    async with asyncio.timeout(PATIENCE), listening(bench.wire("a")) as mouth:
        await ready.wait()
        await mouth.wire.publish("t", b"poison")
        await mouth.wire.publish("t", b"food")
        await heard.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert wire.counts["handler_failed"] == 2
