"""The comparison with peers beside the rules: late, hanging, switched off, or told of twins, it holds nobody up and makes nothing well."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING

from sliceward.daemons.watcher.comparing import LATE, OFF
from sliceward.daemons.watcher.sight import Sight
from sliceward.detectors.finding import State
from sliceward.detectors.passes.keeping import BY_OTHERS
from sliceward.detectors.passes.verdicts import Standing
from sliceward.remediations.ports import JOB, JOBSET, NODE, POD
from sliceward.topology.ids import HostId
from tests.builders import a_fleet
from tests.daemons.watcher.life import LEARN, SICK, Life, firing, ours
from tests.daemons.watcher.stage import H0, H1, Stage, lose_chip, settle
from tests.detectors.frames import Speaker

if TYPE_CHECKING:
    from collections.abc import Callable

SUSPECT, CONDEMNED = f"PartSuspect {SICK}", f"PartCondemned {SICK}"


async def condemned(stage: Stage) -> Life:
    """Let a chip be condemned, and stay sick."""
    life = Life(stage)
    await life.live(LEARN)
    life.slow()
    await life.live(10)
    life.throttled()
    await life.live(18)
    assert firing(stage) == {CONDEMNED}
    return life


async def test_what_rules_find_is_told_though_a_comparison_never_ends_and_what_it_found_is_unknown() -> None:
    stage = Stage()
    async with stage.connected():
        life = await condemned(stage)
        never = asyncio.Event()

        async def hang(_: Callable[[], None]) -> None:
            await never.wait()

        stage.watcher.comparing.beside = hang
        hanging = asyncio.create_task(stage.watcher.compare())
        fault = lose_chip(stage, 1)
        stage.comparing = False
        await life.live(10)
        assert stage.kept[fault].state is State.FIRING
        assert (ours(stage)[CONDEMNED].state, ours(stage)[CONDEMNED].text) == (State.UNKNOWN, LATE)
        hanging.cancel()
        await asyncio.gather(hanging, return_exceptions=True)


async def test_who_compares_slower_than_time_passes_skips_what_is_late_and_says_so() -> None:
    stage = Stage()
    life = Life(stage)
    async with stage.connected():
        await life.live(5)
        statistics = stage.watcher.statistics
        assert statistics is not None
        stage.comparing = False
        await life.live(5)
        clock = count(0.0, 6.0)
        statistics.steady = lambda: next(clock)
        before = statistics.ticks["compared"]
        await stage.watcher.compare()
        ticks = statistics.ticks
        assert (ticks["compared"] - before, ticks["skipped"]) == (2, 3), "the first, and the present"
        stage.comparing = True
        statistics.steady = stage.watcher.parts.monotonic
        await life.live(2)
        assert (ticks["compared"] - before, ticks["skipped"]) == (4, 3)


async def test_a_twin_of_one_frame_acquits_nobody() -> None:
    stage = Stage()
    async with stage.connected():
        life = await condemned(stage)
        me = stage.speakers[H0]
        real = me.instance_id
        for name in ("i-twin", real):
            me.instance_id, me.seq, me.agent_start = name, 0, stage.now.timestamp()
            await life.live(1)
        await life.live(6)
        assert (firing(stage), stage.watcher.counts["learnt_anew"]) == ({CONDEMNED}, 0)


async def test_switched_off_statistics_accuse_nobody_any_more() -> None:
    stage = Stage()
    async with stage.connected():
        life = await condemned(stage)
        life.slow("c1/chip/cube-0-host-07/3")
        await life.live(10)
        other = "PartSuspect c1/chip/cube-0-host-07/3"
        assert firing(stage) == {CONDEMNED, other}
    stage.environ = {"SLICEWARD_STATISTICS__ENABLED": "false"}
    stage.restart()
    async with stage.connected():
        await stage.rounds(9)
        found = ours(stage)
        assert (found[other].state, found[other].text) == (State.RESOLVED, OFF)
        assert (found[CONDEMNED].state, found[CONDEMNED].text) == (State.UNKNOWN, OFF), "nobody saw that it is well"
        stage.now += timedelta(days=1)
        await stage.rounds(2)
        assert ours(stage)[CONDEMNED].state is State.RESOLVED


async def test_a_part_that_was_away_and_is_back_is_a_suspect_again_and_not_forgotten() -> None:
    stage = Stage()
    async with stage.connected():
        life = await condemned(stage)
        node = await stage.cluster.get(NODE, H0) or {}
        stage.silent.add(H0)
        await stage.cluster.delete(NODE, H0)
        await settle()
        await life.live(10)
        assert ours(stage)[CONDEMNED].state is State.RESOLVED
        assert ours(stage)[CONDEMNED].text.endswith("no longer exists")
        stage.cluster.put_all(NODE, [*(await stage.cluster.list(NODE)), node])
        stage.silent.clear()
        await settle()
        await life.live(3)
        assert firing(stage) == {SUSPECT}


async def test_a_link_that_no_slice_joins_at_the_moment_is_unknown_and_not_well() -> None:
    joined = a_fleet().with_gang("llm", topology="4x4x8").on("cube-0", "cube-1")
    stage = Stage(joined)
    life = Life(stage)
    async with stage.connected():
        await life.live(LEARN)
        statistics = stage.watcher.statistics
        assert statistics is not None
        assert statistics.watch is not None
        assert statistics.places is not None
        cables, cube = statistics.places.cables, statistics.places.chip_host // 16
        label = int((cube[cables.one] != cube[cables.other]).argmax())
        link = str(statistics.places.part("link", label))
        again, key = statistics.watch.docket.standing, ("link", label)
        again[key] = Standing(statistics.watch.tick, "link", "link_health", 0, 9.0, sticky=True)
        statistics.watch.flaps.sticky[label], statistics.watch.flaps.returns[0, label] = True, stage.now.timestamp()
        stage.speakers["z-new-host"] = Speaker("z-new-host")  # the fleet is laid out anew
        await life.live(1)
        assert firing(stage) == {f"PartSuspect {link}"}
        objects = joined.objects()
        work = ((POD, objects.pods), (JOB, objects.jobs), (JOBSET, objects.jobsets))
        for each, rows in work:
            for row in rows:
                stage.cluster.drop(each, row["metadata"]["name"], row["metadata"].get("namespace", ""))
        await settle()
        await life.live(2)
        assert ours(stage)[f"PartSuspect {link}"].state is State.UNKNOWN
        for each, rows in work:
            stage.cluster.put_all(each, rows)
        await settle()
        await life.live(2)
        assert firing(stage) == {f"PartSuspect {link}"}


async def test_what_a_machine_is_it_says_itself_or_those_who_scrape_it() -> None:
    stage = Stage()
    stage.silent = {H0, H1}
    async with stage.connected():
        await stage.rounds(2)
        watcher = stage.watcher
        assert watcher.panel.scraped(H1, stage.now.timestamp(), 10.0)
        fleet = watcher.parts.surroundings.fleet
        found = Sight.of(watcher.panel, fleet, (), grace=60.0, telling=True).incarnations()
        shown, speaker = fleet.hosts[HostId("c1", H1)], stage.speakers["cube-0-host-02"]
        assert shown.instance_id
        assert found["cube-0-host-02"] == f"{speaker.instance_id}|{speaker.boot_id}"
        assert (found[H0], found[H1]) == ("", f"{shown.instance_id}|{shown.boot_id}{BY_OTHERS}")
