"""A cancellation that comes in the very instant of a result or of an error ends the task all the same."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiomqtt
import pytest

from sliceward.daemons.cancelling import Cancelling
from sliceward.daemons.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

INSTANTS = range(6)
"""Turns of the loop between the answer and the cancellation; in one of them both are there at once."""


class Answered:
    """What paho says of a message that is written and not confirmed yet."""

    rc, mid = 0, 1

    def is_published(self) -> bool:
        return False


async def ends(work: Callable[[], Awaitable[object]], answer: Callable[[], object], *, turns: int) -> bool:
    """Begin, answer, cancel so many turns later; gives whether the task ended by that."""
    task = asyncio.ensure_future(work())
    for _ in range(5):
        await asyncio.sleep(0)
    answer()
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    for _ in range(20):
        await asyncio.sleep(0)
    if not task.done():
        task.cancel()
        await asyncio.wait([task])
        return False
    return task.cancelled()


@pytest.mark.parametrize("turns", INSTANTS)
async def test_a_publish_that_is_confirmed_in_the_instant_of_its_cancellation_goes_on_to_no_second(turns: int) -> None:
    wire = Wire("mqtt://127.0.0.1:1", client_id="speaker")
    client = aiomqtt.Client("127.0.0.1", 1)
    client._client.publish = lambda *_a, **_k: Answered()  # type: ignore[assignment]  # noqa: SLF001 (a broker that answers when told)
    wire._client = client  # noqa: SLF001 (as if connected)

    async def speak() -> None:
        await wire.publish("a", b"")
        await asyncio.Event().wait()

    assert await ends(speak, lambda: client._pending_publishes[1].set(), turns=turns)  # noqa: PLW0108, SLF001 (it is there once it was asked; the broker's word)


@pytest.mark.parametrize("turns", INSTANTS)
async def test_a_loop_that_looks_ends_though_a_group_that_was_ending_lost_the_word(turns: int) -> None:
    broken = asyncio.Event()

    async def tidy() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(3):
                await asyncio.sleep(0)

    async def for_ever() -> None:
        cancelling = Cancelling()
        while True:
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(tidy())
                    await broken.wait()
                    raise OSError  # noqa: TRY301 (what ends the group)
            except* OSError:
                broken.clear()
            cancelling.look()

    assert await ends(for_ever, broken.set, turns=turns)


async def test_who_tidies_up_after_his_cancellation_may_do_that_to_the_end() -> None:
    done = list[str]()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelling = Cancelling()
            await asyncio.sleep(0)
            cancelling.look()
            done.append("good-bye")

    assert await ends(work, lambda: None, turns=1)
    assert done == ["good-bye"]
