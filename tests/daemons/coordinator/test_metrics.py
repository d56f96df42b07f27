"""The coordinator's figures say what is so: what is open, what was decided and done, who was told, how fresh its sight is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry

from sliceward.daemons import topics
from sliceward.daemons.coordinator.alerts import read_payload
from sliceward.daemons.coordinator.metrics import Figures
from sliceward.daemons.wire import Message
from sliceward.detectors.finding import Kind, State
from sliceward.playbooks.load import load_book
from sliceward.remediations.catalog import ACTIONS
from sliceward.topology.errors import Refused, Retry
from tests.daemons.coordinator.bench import World, a_bench, the_fleet
from tests.daemons.coordinator.test_alerts import a_payload, an_alert
from tests.daemons.coordinator.test_whole_incident import PART, PLAYBOOK, some_rounds

if TYPE_CHECKING:
    from pathlib import Path

    from tests.daemons.coordinator.bench import Bench


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path, actions=ACTIONS)
    world.book = load_book({"repair-chip.yaml": PLAYBOOK}, ACTIONS)
    world.fill(the_fleet())
    return world


class Read:
    """The figures of a bench at this moment."""

    def __init__(self, bench: Bench) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(Figures(bench.coordinator))

    def __call__(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"sliceward_{name}", labels)

    def total(self, name: str, **labels: str) -> float:
        return sum(
            sample.value
            for family in self.registry.collect()
            for sample in family.samples
            if sample.name == f"sliceward_{name}" and labels.items() <= sample.labels.items()
        )


async def test_a_whole_incident_is_counted_from_its_opening_to_its_close(world: World) -> None:
    world.tell(world.finding(PART, Kind.CHIP_LOST))
    async with a_bench(world) as bench:
        read = Read(bench)
        assert (read("leading"), read("epoch"), read("paused")) == (1, 1, 0)
        assert read.total("incidents_open") == 0
        await some_rounds(bench, 6)
        assert read.total("incidents_open", cluster="c1") == 1
        assert read.total("incident_oldest_seconds", cluster="c1") > 0
        (case,) = bench.coordinator.deciding.docket.cases.values()
        assert case.run is not None
        begun = (world.clock() - case.run.started).total_seconds()
        assert read("run_oldest_seconds", cluster="c1", phase=case.incident.phase.value) == begun
        assert read("fleet_findings", cluster="c1", kind="ChipLost", state="firing") == 1
        assert read.total("fleet_hosts_out") > 0
        assert read.total("decisions_total", outcome="run") > 0
        world.provider.now_all("done")
        await some_rounds(bench, 12)
        assert read.total("incidents_open") == 0
        assert read.total("run_oldest_seconds") == 0
        assert read("fleet_hosts_out", cluster="c1") == 0
        assert read("decisions_total", playbook="repair-chip", outcome="close") == 1
        assert read("steps_total", action="domain.mark", outcome="done") == 1
        assert read("steps_total", action="domain.mark", outcome="failed") == 0
        assert read("incident_duration_seconds_count", kind="ChipLost", how="healed") == 1
        assert read("pages_total", pager="fake", outcome="sent") == 2


async def test_what_waits_in_the_outbox_is_told_with_its_age(world: World) -> None:
    world.tell(world.finding(PART, Kind.CHIP_LOST))
    world.pager.failing = [Retry("down"), Retry("down"), Refused("unknown routing key")]
    async with a_bench(world) as bench:
        read = Read(bench)
        assert (read("outbox_pages", pager="fake"), read("pages_total", pager="fake", outcome="failed")) == (0, 0)
        await some_rounds(bench, 3)
        world.clock.pass_(1)
        await bench.coordinator.outbox.round()
        assert read("outbox_pages", pager="fake") == 1
        assert read.total("pages_total", outcome="again") >= 1
        before = read.total("outbox_oldest_seconds")
        world.clock.pass_(600)
        assert read("outbox_oldest_seconds", pager="fake") == before + 600
        for _ in range(3):
            world.clock.pass_(600)
            await bench.coordinator.outbox.round()
        assert (read("outbox_pages", pager="fake"), read("pages_total", pager="fake", outcome="failed")) == (0, 1)


async def test_a_broker_that_is_away_and_words_that_cannot_be_read_are_told(world: World) -> None:
    world.tell(world.finding(PART, Kind.CHIP_LOST, State.FIRING))
    async with a_bench(world) as bench:
        read = Read(bench)
        assert (read("broker_connected", cluster="c1"), read("watched", cluster="c1")) == (1, 1)
        assert read("messages_total", cluster="c1", outcome="bad_finding") == 0
        world.broker.publish(Message(topics.finding("c1", "f-1"), b"{"))
        await bench.settle()
        assert read("messages_total", cluster="c1", outcome="bad_finding") == 1
        world.broker.stop()
        await bench.settle()
        world.clock.pass_(200)
        assert (read("broker_connected", cluster="c1"), read("watched", cluster="c1")) == (0, 0)
        assert read("watcher_age_seconds", cluster="c1") == 200


async def test_alerts_are_counted_by_what_became_of_them(world: World) -> None:
    async with a_bench(world) as bench:
        read = Read(bench)
        for _ in range(2):
            payload = read_payload(a_payload(an_alert(), truncatedAlerts=3), receiver="main", now=world.clock())
            await bench.coordinator.desk.take(payload)
        await bench.coordinator.desk.round()
        outcomes = ("accepted", "duplicate", "truncated", "unmapped")
        assert [read("alerts_total", outcome=outcome) for outcome in outcomes] == [1, 1, 6, 1]


async def test_a_replica_that_does_not_lead_tells_nothing_of_the_leaders_work(world: World) -> None:
    async with a_bench(world) as bench:
        read = Read(bench)
        assert read("outbox_pages", pager="fake") == 0
        bench.coordinator.store._epoch = 0  # noqa: SLF001 (as before the lead is taken)
        assert (read("leading"), read("outbox_pages", pager="fake")) == (0, None)
        assert read("broker_connected", cluster="c1") == 1
