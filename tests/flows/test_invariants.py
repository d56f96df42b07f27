"""The invariants of DESIGN.md, section 6, on the emulated cluster: each where it is hardest to keep.

`tests.flows.invariants` looks at every change of an object; the crash tests use it too. Each rule was broken on purpose,
and something here or there was red: 1 runs not counted in budgets; 2 owners of hosts looked at neither by guard nor action nor
rest; 2 and 3 an operation id that differs from life to life; 3 no intent saved, a finding not looked at, not looked at again
right before the call; 4 a repair that does not look at who holds the chips; 5 a giving back that gives nothing back; 6 a
mark that writes the list of taints anew, a giving back that empties it or uncordons; 7 a resumption that waits for no old pod;
8 a silent watcher's findings taken for present; 10 a pause that holds every step.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sliceward.daemons.store import open_store
from sliceward.detectors.finding import Kind
from sliceward.simulation.controllers.client import PODS
from sliceward.topology.ids import ChipId
from tests.builders import a_fleet
from tests.flows.incident import Incident, OnceAt, an_incident, small_pools
from tests.flows.stage import CLUSTER, a_stage

if TYPE_CHECKING:
    from pathlib import Path

    from tests.flows.stage import Stage

SILENCE = timedelta(minutes=5)
"""More than any finding may be old."""
ROUNDS = 80
"""Rounds of an incident that waits: a whole one takes about 40."""
SLOW = 25
"""Rounds that a slow pod takes to end; the steps from suspension to resumption take about 10."""
REST = timedelta(minutes=30)
"""Time that a failure domain is left alone after a run."""
TPU = {"google.com/tpu": "4"}


async def decisions_of(stage: Stage, incident: str) -> list[dict[str, Any]]:
    async with open_store(f"sqlite:///{stage.folder / 'store.db'}") as store:
        return [dict(row) for row in (await store.history.decisions(incident)).items]


async def incidents_of(stage: Stage) -> list[dict[str, Any]]:
    async with open_store(f"sqlite:///{stage.folder / 'store.db'}") as store:
        return [dict(row) for row in (await store.history.incidents()).items]


async def test_of_three_faults_at_once_the_third_waits_until_the_budget_has_room(tmp_path: Path) -> None:
    """Invariant 1, through a death after each mark."""
    fleet = a_fleet(generation="tpu-v6e-slice")
    async with a_stage(tmp_path, fleet) as stage:
        for pool in ("pool-0", "pool-1", "pool-2"):
            stage.faults[ChipId(CLUSTER, f"{pool}-host-01", 0)] = Kind.CHIP_LOST
        most: list[int] = []

        async def count() -> bool:
            most.append(len(set(stage.marked().values())))
            return False

        stage.chores.append(count)
        await Incident(stage, "", set(), {}).see_through(OnceAt("after call of domain.mark".__eq__))
        assert stage.invariants.broken == []
        assert max(most) == 2
        assert sorted(host for host, _, _ in stage.provider.requests.values()) == [f"pool-{n}-host-01" for n in range(3)]
        assert {row["how"] for row in await incidents_of(stage)} == {"healed"}


async def test_two_faults_in_one_pool_have_one_owner_and_move_the_gang_once(tmp_path: Path) -> None:
    """Invariant 2: the second fault comes while the first is being acted on."""
    async with an_incident(tmp_path, small_pools()) as incident:
        stage, second = incident.stage, ChipId(CLUSTER, incident.stage.hosts_in(incident.pool)[3], 0)

        def also(moment: str) -> bool:
            if moment == "after answer of mark":
                stage.faults[second] = Kind.CHIP_LOST
            return False

        async def rest() -> bool:
            if not stage.mended or stage.marked():
                return False
            stage.clock.now += REST
            return True

        stage.chores.append(rest)
        await incident.see_through(also)
        assert stage.invariants.broken == []
        assert stage.invariants.suspensions == {"train": 1}
        assert stage.marked() == {}
        hosts = [host for host, _, _ in stage.provider.requests.values()]
        assert sorted(hosts) == sorted({*incident.sick, second.host})


async def test_a_fault_that_goes_away_before_the_gang_is_stopped_leaves_the_gang_alone(tmp_path: Path) -> None:
    """Invariant 3: no irreversible call without a finding that fires now, also when the coordinator died in between."""
    async with an_incident(tmp_path, small_pools()) as incident:
        stage, before = incident.stage, {pod["metadata"]["uid"] for pod in incident.stage.pods("train")}

        def goes_away(moment: str) -> bool:
            if moment != "before intent of suspend" or stage.mended:
                return False
            stage.mended |= stage.faults.keys()
            return True

        await incident.see_through(goes_away)
        assert stage.invariants.broken == []
        assert stage.invariants.suspensions == {}
        assert stage.provider.requests == {}
        assert stage.marked() == {}
        assert {pod["metadata"]["uid"] for pod in stage.pods("train")} == before


async def test_a_fault_that_goes_away_while_the_intent_is_saved_stops_the_call(tmp_path: Path) -> None:
    """Invariant 3: the finding is looked at again right before the call."""
    async with an_incident(tmp_path, small_pools()) as incident:
        stage = incident.stage

        def goes_away(moment: str) -> bool:
            if moment == "before intent of suspend" and not stage.mended:
                stage.mended |= stage.faults.keys()
                stage.tell()
            return False

        await incident.see_through(goes_away)
        assert stage.invariants.broken == []
        assert stage.invariants.suspensions == {}


async def test_a_repair_waits_for_a_stranger_that_came_onto_the_drained_host(tmp_path: Path) -> None:
    """Invariant 4: somebody's pod that tolerates everything sits on the sick host when the gang has left."""
    async with an_incident(tmp_path, small_pools()) as incident:
        stage, host, looks = incident.stage, min(incident.sick), list[int]()
        due, came = list[str](), list[dict[str, Any]]()

        async def sit() -> bool:
            if not due:
                return False
            came.append(await stage.client.create(PODS, _stranger(host)))
            return True

        async def leave() -> bool:
            looks.append(len(stage.provider.requests))
            if not came or len(looks) < ROUNDS:
                return False
            await stage.client.delete(PODS, came[0], gracePeriodSeconds=0)
            return True

        stage.chores[:0] = [sit, leave]

        def drained(moment: str) -> bool:
            due.extend([moment] if moment == "after answer of wait-gone" else [])
            return False

        await incident.see_through(drained)
        assert set(looks[:ROUNDS]) == {0}
        await incident.check()


def _stranger(host: str) -> dict[str, Any]:
    container = {"name": "main", "image": "nothing:1", "resources": {"limits": TPU, "requests": TPU}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "stranger", "namespace": "default"},
        "spec": {"nodeName": host, "tolerations": [{"operator": "Exists"}], "containers": [container]},
    }


async def test_a_gang_of_which_a_pod_ends_slowly_is_not_started_beside_it(tmp_path: Path) -> None:
    """Invariant 7, through deaths while the old pod is left."""
    async with an_incident(tmp_path, small_pools()) as incident:
        stage, rounds, held = incident.stage, list[int](), a_pod_of_the_gang(incident.stage)
        await stage.client.patch(PODS, held, {"metadata": {"finalizers": ["test/hold"]}})

        async def let_go() -> bool:
            rounds.extend(1 for pod in stage.pods("train") if "deletionTimestamp" in pod["metadata"])
            if len(rounds) < SLOW:
                return False
            await stage.client.patch(PODS, held, {"metadata": {"finalizers": None}})
            return True

        stage.chores.append(let_go)
        waited = OnceAt({"after answer of end-dead", "after answer of wait-gone"}.__contains__)
        await incident.see_through(waited)
        assert len(waited.struck) == 2
        await incident.check()


def a_pod_of_the_gang(stage: Stage) -> dict[str, Any]:
    """Give one pod of the gang that will be moved."""
    return min(stage.pods("train"), key=lambda pod: str(pod["metadata"]["name"]))


async def test_a_watcher_that_falls_silent_stops_harm_and_releases_nothing(tmp_path: Path) -> None:
    """Invariant 8: unknown is neither healthy nor, alone, sick."""
    async with an_incident(tmp_path, small_pools()) as incident:
        stage, rounds = incident.stage, list[int]()

        def falls_silent(moment: str) -> bool:
            if moment == "after answer of mark":
                stage.watching = False
                stage.clock.now += SILENCE
            return False

        async def speak_again() -> bool:
            if stage.watching:
                return False
            rounds.append(len(stage.marked()))
            assert stage.invariants.suspensions == {}
            stage.watching = len(rounds) > ROUNDS
            return stage.watching

        stage.chores.append(speak_again)
        await incident.see_through(falls_silent)
        assert set(rounds) == {4}
        await incident.check()


async def test_every_irreversible_call_can_be_explained_from_its_record(tmp_path: Path) -> None:
    """Invariant 9, also for a run that died at each of its answers."""
    async with an_incident(tmp_path, small_pools()) as incident:
        await incident.see_through(OnceAt(lambda moment: moment.startswith("before answer of")))
        await incident.check()
        (row,) = await incidents_of(incident.stage)
        calls = [one for one in await decisions_of(incident.stage, row["id"]) if "call" in one["verdict"]]
        first = {one["verdict"]["call"]["step"]["name"]: one for one in reversed(calls)}
        assert {"suspend", "end-dead", "repair"} <= first.keys()
        guards = {guard["name"]: guard["ok"] for guard in first["suspend"]["guards"]}
        assert guards["firing-now"]
        assert guards["not-paused"]
        assert all(budget["ok"] for budget in first["suspend"]["budgets"])


async def test_a_pause_does_not_keep_repaired_capacity_out_of_service(tmp_path: Path) -> None:
    """Invariant 10, and the pause outlives the coordinator that took it."""
    async with an_incident(tmp_path, small_pools()) as incident:
        stage = incident.stage

        paused: list[str] = []

        async def pause() -> bool:
            if not stage.provider.requests or stage.present is None:
                return False
            await stage.present.coordinator.pause("storm", by="ann")
            paused.append(stage.present.coordinator.deciding.stops.paused)
            return True

        stage.chores.append(pause)
        await incident.see_through(OnceAt(lambda moment: bool(paused) and moment == "after answer of repair"))
        assert paused == ["ann: storm"]
        assert incident.lives == 2
        await incident.check()
