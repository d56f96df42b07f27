"""Calls run side by side, never two on one host or gang, and what they answer waits until it is taken."""

from __future__ import annotations

import asyncio
from collections import Counter

from sliceward.daemons.coordinator.calls import MOST_CALLS, Begun, Calls
from sliceward.playbooks.run import Call
from sliceward.remediations.outcome import Done
from sliceward.topology.ids import HostId
from tests.contracts.stored import a_run


def begun(number: int, *hosts: int, promised: tuple[str, ...] = ()) -> Begun:
    domain = tuple(HostId("c1", f"h-{host}") for host in hosts or (number,))
    run = a_run(f"inc-{number}", domain=domain, gang=None, facts={"planned_hosts": list(promised)})
    return Begun(run.incident, run, Call(run.steps[0], 0, run.operation))


class Bench:
    """Calls that wait until they are told to go on."""

    def __init__(self) -> None:
        self.heard = Counter[str]()
        self.calls = Calls(lambda: self.heard.update(["stirred"]), lambda: self.heard.update(["freed"]))
        self.go = asyncio.Event()

    async def work(self) -> Done:
        await self.go.wait()
        return Done("done")

    async def nothing(self) -> None:
        await self.go.wait()


async def test_an_incident_is_busy_until_its_answer_is_taken() -> None:
    bench, one = Bench(), begun(1)
    bench.calls.begin(one, bench.work())
    assert bench.calls.under_way
    assert bench.calls.is_busy("inc-1")
    bench.go.set()
    await bench.calls.next()
    assert (bench.calls.under_way, bench.calls.is_busy("inc-1"), bench.heard["stirred"]) == (False, True, 1)
    assert bench.calls.answers.pop("inc-1").outcome == Done("done")
    assert not bench.calls.is_busy("inc-1")


async def test_a_call_without_an_answer_leaves_its_incident_free() -> None:
    bench = Bench()
    bench.calls.begin(begun(1), bench.nothing())
    bench.go.set()
    await bench.calls.next()
    assert not bench.calls.is_busy("inc-1")


async def test_no_two_touch_one_host_neither_under_way_nor_about_to_begin_nor_promised() -> None:
    bench = Bench()
    bench.calls.begin(begun(1, 1, 2, promised=("h-3",)), bench.work())
    assert not bench.calls.are_free(begun(2, 2), ())
    assert not bench.calls.are_free(begun(3, 3), ())
    assert not bench.calls.are_free(begun(4, 4), (begun(5, 4, 5),))
    assert bench.calls.are_free(begun(4, 4), (begun(5, 5),))
    await bench.calls.drop()


async def test_there_are_never_more_than_so_many_and_who_was_told_to_wait_hears_of_room() -> None:
    bench = Bench()
    for number in range(MOST_CALLS - 1):
        bench.calls.begin(begun(number), bench.work())
    assert bench.calls.are_free(begun(100), ())
    assert bench.heard["freed"] == 0
    assert not bench.calls.are_free(begun(100), (begun(101),))
    bench.go.set()
    while bench.calls.under_way:
        await bench.calls.next()
    assert bench.heard == Counter(stirred=MOST_CALLS - 1, freed=1)
    assert bench.calls.are_free(begun(100), (begun(101),))


async def test_what_is_dropped_has_no_answer() -> None:
    bench = Bench()
    bench.calls.begin(begun(1), bench.work())
    await bench.calls.drop()
    assert bench.calls.answers == {}
    assert not bench.calls.under_way
