"""Answers of agents carry who gave them."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

from sliceward.daemons import topics
from sliceward.daemons.wire import Message
from sliceward.topology.ids import HostId
from tests.daemons.coordinator.bench import World, a_bench

if TYPE_CHECKING:
    from pathlib import Path


async def test_an_answer_says_which_machine_gave_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with a_bench(world) as bench:
        hosts, deadline = bench.side.agents, world.clock() + timedelta(minutes=1)
        await hosts.ask(HostId("c1", "n1"), "device-check", request_id="op-1", deadline=deadline, facts={})
        said = {"id": "op-1", "request": "device-check", "ok": True, "facts": {}, "instance_id": "i-7"}
        world.broker.publish(Message(topics.host("c1", "n1", topics.EVENT), json.dumps(said).encode()))
        await bench.settle()
        answer = await hosts.answer("op-1")
        assert answer is not None
        assert (answer.ok, answer.instance_id) == (True, "i-7")
