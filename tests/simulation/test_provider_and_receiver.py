"""The far ends of the demo: a provider that repairs once per key, a receiver that checks signatures and drops repeats."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import aiohttp

from sliceward.simulation.provider import running_provider
from sliceward.simulation.receiver import running_receiver, signature

SECRET = "whsec_" + "c2VjcmV0" * 4
MINUTE = 60


async def test_asking_twice_with_one_key_is_one_repair_and_it_mends() -> None:
    mended = asyncio.Queue[str]()
    async with running_provider(timedelta(0), mended.put) as provider, aiohttp.ClientSession() as session:
        for _ in range(2):
            async with session.post(
                f"{provider.url}/v1/repairs", json={"host": "h1"}, headers={"Idempotency-Key": "k"}
            ) as answer:
                assert answer.status == 202
                work = await answer.json()
        async with asyncio.timeout(MINUTE):
            assert await mended.get() == "h1"
        await asyncio.gather(*provider.running)
        async with session.get(f"{provider.url}/v1/repairs/{work['id']}") as answer:
            assert (await answer.json())["state"] == "done"
        async with session.get(f"{provider.url}/v1/repairs/nobody") as answer:
            assert answer.status == 404
        assert mended.empty()


async def test_a_repair_without_a_key_is_refused() -> None:
    mended = asyncio.Queue[str]()
    async with (
        running_provider(timedelta(0), mended.put) as provider,
        aiohttp.ClientSession() as session,
        session.post(f"{provider.url}/v1/repairs", json={"host": "h1"}) as answer,
    ):
        assert answer.status == 400
    assert mended.empty()


async def test_a_page_counts_once_and_a_forged_one_not_at_all() -> None:
    body = json.dumps({"data": {"dedup_key": "inc-1", "event": "trigger", "summary": "s"}}).encode()
    signed = {"webhook-id": "m1", "webhook-timestamp": "1", "webhook-signature": ""}
    signed["webhook-signature"] = signature(SECRET, message="m1", timestamp="1", body=body)
    async with running_receiver(SECRET) as receiver, aiohttp.ClientSession() as session:
        for _ in range(2):
            async with session.post(receiver.url, data=body, headers=signed) as answer:
                assert answer.status == 200
        async with session.post(receiver.url, data=body, headers=signed | {"webhook-id": "m2"}) as answer:
            assert answer.status == 401
        assert receiver.incidents["inc-1"].events == ["trigger"]
        assert (receiver.sent, receiver.repeats, receiver.refused) == (1, 1, 1)
