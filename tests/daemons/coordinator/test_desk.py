"""The alert desk: what is kept of what nobody can keep, and which machine an alert is about."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sliceward.daemons.coordinator.alerts import AlertMap, AlertRule, Payload, read_payload
from sliceward.daemons.coordinator.desk import LOOK_AGAIN, SHOW_RESOLVED, Desk
from sliceward.daemons.loops import Loops
from sliceward.daemons.store import Alert, Put, Unstorable, open_store
from sliceward.daemons.store.inbox import Inbox
from sliceward.detectors.finding import Kind, State
from sliceward.topology.errors import Retry
from tests.daemons.coordinator.bench import Clock

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from pathlib import Path

    from sliceward.daemons.store import Received, Store

NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)
RULES = AlertMap(
    rules=[
        AlertRule(alert="HostDown", kind=Kind.HOST_LOST, part="c1/host/{node}"),
        AlertRule(alert="Named", kind=Kind.HOST_LOST, part="c1/host/{node}", machine="{instance_id}"),
        AlertRule(alert="CubeDown", kind=Kind.PARTITION_UNHEALTHY, part="c1/cube/{cube}"),
    ]
)


def a_post(*labels: dict[str, str]) -> Payload:
    alerts = [
        {"status": "firing", "labels": each, "fingerprint": f"{number:x}", "startsAt": NOW.isoformat()}
        for number, each in enumerate(labels)
    ]
    return read_payload(json.dumps({"version": "4", "alerts": alerts}).encode(), receiver="main", now=NOW)


def a_desk(store: Store) -> Desk:
    return Desk(store, RULES, lambda: NOW, Loops(lambda: 0.0).add("alerts", deadline=60), timedelta(hours=6))


class Picky(Inbox):
    """An inbox that can keep no alert with a label ``poison``, and nothing of the one with the fingerprint ``deadly``."""

    def __init__(self, real: Inbox, deadly: str = "") -> None:
        self._database, self._deadly, self.puts = real._database, deadly, 0  # noqa: SLF001 (the same database)

    async def put(self, alerts: Sequence[Alert], *, now: datetime) -> Put:
        self.puts += 1
        if any("poison" in alert.body["labels"] or alert.fingerprint == self._deadly for alert in alerts):
            raise Unstorable("the store cannot keep this: poison")
        return await super().put(alerts, now=now)


async def shown(store: Store) -> list[dict[str, Any]]:
    return [dict(row) for row in (await store.history.alerts()).items]


async def test_one_that_cannot_be_kept_costs_the_rest_of_its_group_nothing_and_is_shown_itself(tmp_path: Path) -> None:
    async with open_store(f"sqlite:///{tmp_path / 'store.db'}") as store:
        desk = a_desk(store)
        picky = store.inbox = Picky(store.inbox)
        rows = [{"alertname": f"a{number}"} | ({"poison": "x"} if number == 300 else {}) for number in range(500)]
        put = await desk.take(a_post(*rows))
        assert (put.accepted, put.duplicate) == (500, 0)
        assert picky.puts < 40, "halves, not one by one"
        (lost,) = [row for row in await shown(store) if "not kept" in row["body"]["annotations"].get("summary", "")]
        assert lost["fingerprint"] == f"{300:x}"
        assert desk.counts["unstorable"] == 1
        again = await desk.take(a_post(*rows))
        assert (again.accepted, again.duplicate) == (0, 500)


async def test_one_of_which_nothing_can_be_kept_is_told_to_the_caller(tmp_path: Path) -> None:
    async with open_store(f"sqlite:///{tmp_path / 'store.db'}") as store:
        desk = a_desk(store)
        store.inbox = Picky(store.inbox, deadly="3")
        with pytest.raises(Unstorable):
            await desk.take(a_post(*({"alertname": "a"} for _ in range(8))))


async def test_a_label_that_is_longer_than_any_cluster_is_kept_by_postgresql(postgres: str) -> None:
    async with open_store(postgres.replace("postgresql+asyncpg", "postgresql")) as store:
        put = await a_desk(store).take(a_post({"alertname": "a", "cluster": "c" * 4000}, {"alertname": "b"}))
        assert put.accepted == 2
        assert {len(row["body"]["labels"].get("cluster", "")) for row in await shown(store)} == {0, 4000}


async def test_the_machine_of_an_alert_is_the_one_that_bore_the_name_when_it_came_in(tmp_path: Path) -> None:
    async with open_store(f"sqlite:///{tmp_path / 'store.db'}") as store:
        await store.lead("one", now=NOW)
        desk = a_desk(store)
        desk.machine = lambda host: f"first-{host.name}"
        labels = (
            {"alertname": "HostDown", "node": "h1"},
            {"alertname": "Named", "node": "h2", "instance_id": "77"},
            {"alertname": "CubeDown", "cube": "cube-0"},
        )
        await desk.take(a_post(*labels))
        desk.machine = lambda host: f"second-{host.name}"
        await desk.take(a_post(*labels))
        await desk.round()
        found = {str(finding.part): finding.instance_id for finding in desk.findings("c1").values()}
        assert found == {"c1/host/h1": "first-h1", "c1/host/h2": "77", "c1/cube/cube-0": ""}


async def counted(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Give how many last words were read in each round from here on that reads any."""
    reads: list[int] = []
    real = Inbox.present

    async def present(inbox: Inbox, *, since: datetime) -> AsyncGenerator[Received]:
        reads.append(0)
        async for one in real(inbox, since=since):
            reads[-1] += 1
            yield one

    monkeypatch.setattr(Inbox, "present", present)
    await desk.round()
    return reads


async def test_the_present_is_read_where_something_came_or_time_makes_it_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = NOW
    async with open_store(f"sqlite:///{tmp_path / 'store.db'}") as store:
        await store.lead("one", now=NOW)
        desk = replace(a_desk(store), clock=lambda: now)
        await desk.take(a_post({"alertname": "HostDown", "node": "n1"}, *({"alertname": f"odd{n}"} for n in range(20))))
        reads = await counted(desk, monkeypatch)
        assert reads == [1], "of what no rule knows nothing follows"
        for _ in range(5):
            now += timedelta(seconds=1)
            await desk.round()
        assert reads == [1]
        await desk.take(a_post({"alertname": "HostDown", "node": "n1"}))  # once more: it is as fresh as this
        await desk.round()
        await desk.round()
        assert reads == [1, 1]
        now -= timedelta(hours=1)
        await desk.round()
        now += LOOK_AGAIN
        await desk.round()
        assert reads == [1, 1, 1, 1], "the clock was set back, and a minute went by"


async def test_what_was_resolved_is_shown_for_its_day_and_not_longer(tmp_path: Path) -> None:
    now = NOW
    async with open_store(f"sqlite:///{tmp_path / 'store.db'}") as store:
        await store.lead("one", now=NOW)
        desk = replace(a_desk(store), clock=lambda: now)
        await desk.take(a_post({"alertname": "HostDown", "node": "n1"}))
        (alert,) = a_post({"alertname": "HostDown", "node": "n1"}).alerts
        ended = replace(alert, status=State.RESOLVED, ends=NOW)
        await desk.take(Payload((ended,), 0))
        await desk.round()
        now += SHOW_RESOLVED - timedelta(seconds=1)
        await desk.round()
        assert [one.state for one in desk.findings("c1").values()] == [State.RESOLVED]
        now += timedelta(seconds=2)
        await desk.round()
        assert desk.findings("c1") == {}


async def test_a_rule_that_is_new_applies_to_what_fires_already(tmp_path: Path) -> None:
    async with open_store(f"sqlite:///{tmp_path / 'store.db'}") as store:
        await store.lead("one", now=NOW)
        before = replace(a_desk(store), rules=AlertMap())
        await before.take(a_post({"alertname": "HostDown", "node": "n1"}))
        await before.round()
        assert before.findings("c1") == {}
        after = a_desk(store)
        await after.round()
        assert [one.state for one in after.findings("c1").values()] == [State.FIRING]


async def test_an_alert_that_no_rule_knows_is_processed_once_however_often_a_coordinator_starts(tmp_path: Path) -> None:
    async with open_store(f"sqlite:///{tmp_path / 'store.db'}") as store:
        await store.lead("one", now=NOW)
        clock = Clock(NOW)
        for _ in range(3):
            desk = replace(a_desk(store), clock=clock)
            await desk.take(a_post({"alertname": "DiskFull"}))
            await desk.round()
            clock.pass_(3600)
        (row,) = (await store.history.alerts()).items
        assert row["processed"] == NOW.isoformat()
        assert "no rule" in row["why"]


async def test_what_the_store_did_not_give_is_read_in_the_next_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_store(f"sqlite:///{tmp_path / 'store.db'}") as store:
        await store.lead("one", now=NOW)
        desk = a_desk(store)
        await desk.take(a_post({"alertname": "HostDown", "node": "n1"}))
        with monkeypatch.context() as patch:
            patch.setattr(Inbox, "present", _away)
            with pytest.raises(Retry):
                await desk.round()
        await desk.round()
        assert len(desk.findings("c1")) == 1


async def _away(_inbox: Inbox, *, since: datetime) -> AsyncGenerator[Received]:
    raise Retry(f"no connection since {since}")
    yield
