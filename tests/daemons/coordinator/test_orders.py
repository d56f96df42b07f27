"""What stands beside the fleet is built in one place, so that what is explained of a gang is what is planned for it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from sliceward.daemons.coordinator.displacing import Displacing
from sliceward.daemons.coordinator.orders import NO_ORDERS, Orders, Remembered, Told, beside_of, orders_of
from sliceward.daemons.coordinator.settings import CoordinatorSettings
from sliceward.daemons.store import Case, Unstorable, open_store
from sliceward.detectors.finding import Kind, State
from sliceward.playbooks.load import load_book
from sliceward.playbooks.world import Started
from sliceward.remediations.catalog import ACTIONS
from sliceward.remediations.ports import Progress
from sliceward.scheduling.costs import Costs
from sliceward.scheduling.questions import explain_gang
from sliceward.scheduling.quota import Quota
from sliceward.scheduling.rights import REMEMBERED, Displaced
from sliceward.topology.gangs import Preempted
from tests.builders import NOW, a_fleet, gang_id, host_id
from tests.contracts.stored import a_run, an_incident
from tests.daemons.coordinator.bench import World, a_bench, the_fleet
from tests.daemons.coordinator.test_deciding import PLAYBOOK

if TYPE_CHECKING:
    from pathlib import Path

    from sliceward.topology.fleet import Fleet

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


class TestConfiguration:
    """What people order."""

    FILE: dict[str, Any] = {  # noqa: RUF012 (never changed)
        "clusters": [{"name": "c1"}],
        "quota": {"ml": {"tpu7x": 256}},
    }

    def read(self, placement: dict[str, Any]) -> Orders:
        return orders_of(CoordinatorSettings.model_validate({**self.FILE, "placement": placement}))

    def test_without_any_all_is_as_usual(self) -> None:
        assert self.read({}) == Orders(quota=Quota({("ml", "tpu7x"): 256}))

    def test_what_is_protected_expected_and_dear(self) -> None:
        found = self.read(
            {
                "protected": ["ml"],
                "mix": {"v5p": {"4x4x4": 0.5, "4x4x8": 0.5}},
                "count_gangs": True,
                "costs": {"restart": 900.0},
                "levels": {"c1": ["room", "rack"]},
                "spares_sure": 0.99,
            }
        )
        assert found == Orders(
            quota=Quota({("ml", "tpu7x"): 256}),
            protected=frozenset({"ml"}),
            mix={"tpu-v5p-slice": (((4, 4, 4), 0.5), ((4, 4, 8), 0.5))},
            counts=True,
            costs=Costs(restart=900.0),
            levels={"c1": ("room", "rack")},
            sure=0.99,
        )

    @pytest.mark.parametrize(
        ("placement", "why"),
        [
            ({"protected": ["other"]}, "'other' has no quota"),
            ({"mix": {"v5q": {"4x4x4": 1.0}}}, "mix.v5q: is no TPU generation. Did you mean 'v5p'"),
            ({"mix": {"v5p": {"4x4x5": 1.0}}}, "mix.v5p.4x4x5: is no shape of v5p"),
            ({"mix": {"v5p": {"4x4x4": 0.7, "4x4x8": 0.7}}}, "add up to more than 1"),
            ({"mix": {"v5p": {"4x4x4": 1.0}, "tpu-v5p-slice": {"4x4x4": 1.0}}}, "twice, by name and by label"),
            ({"costs": {"restarts": 3.0}}, "Did you mean 'restart'"),
            ({"costs": {"restart": -3.0}}, "cost restart"),
            ({"costs": {"xyz": 3.0}}, "Known are again, anchor"),
            ({"levels": {"c2": ["rack"]}}, "there is no cluster 'c2'"),
            ({"spares_sure": 1.0}, "spares_sure"),
        ],
        ids=lambda value: str(value)[:40],
    )
    def test_what_cannot_be_is_refused_by_its_key(self, placement: dict[str, Any], why: str) -> None:
        with pytest.raises(ValidationError) as error:
            self.read(placement)
        assert why in str(error.value)


class TestBeside:
    """Fleet, findings, runs and memory together."""

    FLEET = a_fleet().with_gang("llm", slices=2).on("cube-0", "cube-1").build()

    def beside(self, orders: Orders = Orders(), *, others: tuple[Fleet, ...] = (), **known: Any) -> Any:  # noqa: ANN401, B008 (parts of what is remembered; frozen)
        remembered = Remembered(**{"cases": (), "started": (), "past": (), "reserved": {}, **known})
        progress = {gang_id("llm"): Progress(gang_id("llm"), NOW, 120, 0.4, 1.0, 100, 20.0, 32)}
        return beside_of(orders, [Told("c1", self.FLEET, (), progress)], others, remembered, NOW)

    def test_hosts_of_an_open_incident_are_sick_until_it_is_resolved(self) -> None:
        incident = replace(an_incident(), domain=(host_id("cube-0-host-00"),))
        assert incident.findings
        found = self.beside(cases=(Case(incident, None),))
        assert found.sick == {host_id("cube-0-host-00"): f"incident {incident.id}"}
        over = replace(incident, findings=tuple(replace(one, state=State.RESOLVED) for one in incident.findings))
        assert self.beside(cases=(Case(over, None),)).sick == {}
        assert self.beside(cases=(Case(replace(incident, cluster="c2"), None),)).sick == {}

    def test_what_failed_is_feared_and_who_was_moved_is_known(self) -> None:
        host = host_id("cube-0-host-00")
        run = Started(NOW - DAY, "inc-1", "c1", "p", frozenset({host}), None, gang_id("llm"))
        found = self.beside(started=(run,))
        assert list(found.risks) == [host]
        assert found.moved == {gang_id("llm"): (NOW - DAY,)}

    @pytest.mark.parametrize(
        ("then", "now", "feared"),
        [("i-1", "i-1", True), ("i-1", "i-2", False), ("", "i-2", True), ("i-1", "", True)],
        ids=["the same", "another machine", "nobody knew", "nobody knows"],
    )
    def test_a_machine_that_was_replaced_leaves_no_bad_name_behind(self, then: str, now: str, *, feared: bool) -> None:
        name = "cube-0-host-00"
        run = replace(a_run(), domain=(host_id(name),), started=NOW - DAY, facts={"machines": {name: [then, "boot-1"]}})
        host = replace(self.FLEET.hosts[host_id(name)], instance_id=now)
        fleet = replace(self.FLEET, hosts={**self.FLEET.hosts, host.id: host})
        found = beside_of(NO_ORDERS, [Told("c1", fleet, (), {})], (), Remembered((), [Started.of(run)], (), {}), NOW)
        assert (host.id in found.risks) is feared

    def test_chips_that_tenants_hold_in_other_clusters_count(self) -> None:
        more = a_fleet("c2").with_gang("x").on("cube-0").build()
        assert self.beside(others=(more, more)).elsewhere == {("default", "tpu7x"): 128}

    def test_expected_requests_are_counted_where_that_is_ordered_and_none_are_said(self) -> None:
        assert self.beside().mix == {}
        assert list(self.beside(Orders(counts=True)).mix) == ["tpu7x"]
        said = {"tpu7x": (((4, 4, 4), 1.0),)}
        assert self.beside(Orders(counts=True, mix=said)).mix == said

    def test_what_gangs_tell_is_in_it(self) -> None:
        assert self.beside().told[gang_id("llm")].rate == 0.4


class TestDisplacing:
    """Who had to go for whom, over a restart."""

    def fleet(self, by: str) -> Fleet:
        fleet = a_fleet().with_gang("llm").on("cube-0").with_gang("late").waiting().build()
        late = replace(fleet.gangs[gang_id("late")], preempted=Preempted(by or fleet.gangs[gang_id("llm")].uid, NOW - HOUR))
        return replace(fleet, gangs={**fleet.gangs, late.id: late})

    async def test_what_kueue_says_once_is_known_after_a_restart_for_a_day(self, tmp_path: Path) -> None:
        url, now = f"sqlite:///{tmp_path}/s.db", [NOW]
        went = Displaced(gang_id("late"), gang_id("llm"), NOW - HOUR)
        async with open_store(url) as store:
            await store.lead("one", now=NOW)
            first = Displacing(store, lambda: now[0])
            await first.round([self.fleet("")])
            await first.round([self.fleet("")])
            assert first.past() == (went,)
        async with open_store(url) as store:
            second = Displacing(store, lambda: now[0])
            second.begin((await store.load_open(since=NOW - REMEMBERED)).displaced)
            assert second.past() == (went,)
            now[0] += DAY
            assert second.past() == ()

    async def test_who_went_for_nobody_that_is_there_displaced_nobody(self, tmp_path: Path) -> None:
        async with open_store(f"sqlite:///{tmp_path}/s.db") as store:
            await store.lead("one", now=NOW)
            displacing = Displacing(store, lambda: NOW)
            await displacing.round([self.fleet("u-unknown")])
            assert displacing.past() == ()

    @pytest.mark.parametrize("at", ["9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59Z"])
    async def test_what_is_still_to_come_is_neither_kept_nor_counted(self, tmp_path: Path, at: str) -> None:
        fleet, to_come = self.fleet(""), datetime.fromisoformat(at)
        late = fleet.gangs[gang_id("late")]
        told = replace(late, preempted=Preempted(fleet.gangs[gang_id("llm")].uid, to_come))
        async with open_store(f"sqlite:///{tmp_path}/s.db") as store:
            await store.lead("one", now=NOW)
            displacing = Displacing(store, lambda: NOW)
            await displacing.round([replace(fleet, gangs={**fleet.gangs, told.id: told})])
            assert displacing.past() == ()
            assert (await store.load_open(since=NOW - REMEMBERED)).displaced == ()
            displacing.begin([Displaced(gang_id("late"), gang_id("llm"), to_come)])
            assert displacing.past() == ()

    async def test_what_the_store_cannot_keep_is_set_aside_by_name_and_the_others_are_kept(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fleet = self.fleet("")
        late = fleet.gangs[gang_id("late")]
        odd = replace(late, id=gang_id("odd"))
        fleet = replace(fleet, gangs={odd.id: odd, **fleet.gangs})
        async with open_store(f"sqlite:///{tmp_path}/s.db") as store:
            await store.lead("one", now=NOW)
            displacing, add = Displacing(store, lambda: NOW), store.displacements.add

            async def all_but_odd(*those: Displaced) -> None:
                if gang_id("odd") in {one.gang for one in those}:
                    raise Unstorable("the store cannot keep this: odd")
                await add(*those)

            with monkeypatch.context() as patched:
                patched.setattr(store.displacements, "add", all_but_odd)
                await displacing.round([fleet])
                assert [one.gang for one in displacing.past()] == [gang_id("late")]
                assert displacing.set_aside == {f"displacement of {gang_id('odd')}": "the store cannot keep this: odd"}
            await displacing.round([fleet])
            assert {one.gang for one in displacing.past()} == {gang_id("late"), gang_id("odd")}
            assert displacing.set_aside == {}


async def test_what_is_explained_is_what_is_planned(tmp_path: Path) -> None:
    world = World(tmp_path, actions=ACTIONS, quota=Quota.from_mapping({"default": {"tpu7x": 256}}))
    world.book = load_book({"mark.yaml": PLAYBOOK.replace("RATE", "9").replace("WINDOW", "1h")}, ACTIONS)
    world.fill(the_fleet())
    async with a_bench(world) as bench:
        world.tell(world.finding(host_id("cube-0-host-03"), Kind.HOST_LOST))
        await bench.round()
        looks = bench.coordinator.deciding.looks
        told, does = looks.scene(), looks._seen(bench.side, looks.docket.cases).scene  # noqa: SLF001 (the two must be one)
        assert told is not None
        assert told.beside == does.beside
        assert told.beside.sick
        assert told.beside.lost
        assert explain_gang(told, "train") == explain_gang(does, "train")
        assert explain_gang(told, "train")["stands"] == "hurt"


@pytest.mark.parametrize(("kind", "counts"), [(Kind.PART_SUSPECT, False), (Kind.PART_CONDEMNED, True)])
async def test_a_suspect_makes_no_host_unfit_for_what_others_planned(tmp_path: Path, kind: Kind, *, counts: bool) -> None:
    world = World(tmp_path, actions=ACTIONS, quota=Quota.from_mapping({"default": {"tpu7x": 256}}))
    world.book = load_book({"mark.yaml": PLAYBOOK.replace("RATE", "9").replace("WINDOW", "1h")}, ACTIONS)
    world.fill(the_fleet())
    host = host_id("cube-0-host-03")
    async with a_bench(world) as bench:
        for finding in (world.finding(host, kind), world.finding(host_id("cube-1-host-01"), Kind.HOST_LOST)):
            world.tell(finding)
        await bench.round()
        looks = bench.coordinator.deciding.looks
        seen = looks._seen(bench.side, looks.docket.cases)  # noqa: SLF001 (what actions are told)
        assert {one.kind for case in seen.known.cases for one in case.incident.findings} == {kind, Kind.HOST_LOST}
        assert all((host in sick) is counts for sick in (seen._hurt, seen.world.sick, seen.scene.beside.sick))  # noqa: SLF001 (as above)
