"""Simulated hosts and faults: what the doors show is what the state says."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sliceward.simulation.faults import FAULTS, Place, links_to_break, place_on_link
from sliceward.simulation.hosts import Holder, SimulatedHost, address_of
from sliceward.simulation.hosts.host import Pace
from sliceward.simulation.hosts.plugin_text import text_of
from sliceward.simulation.world import running_hosts
from sliceward.topology.errors import Misconfigured
from sliceward.topology.ids import ChipId, HostId
from tests.builders import a_fleet
from tests.daemons.sources.builders import a_host, a_job, a_state

if TYPE_CHECKING:
    from pathlib import Path

    from sliceward.simulation.faults import Fault

NET = 123


class Effects:
    """Keeps what a fault does outside of the host."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str]] = []

    async def agent_dies(self, node: str) -> None:
        self.done.append(("agent dies", node))

    async def kubelet_dies(self, node: str) -> None:
        self.done.append(("kubelet dies", node))

    async def host_returns(self, node: str) -> None:
        self.done.append(("host returns", node))


async def is_open(port: int, address: str = "127.121.0.1") -> bool:
    try:
        _, writer = await asyncio.open_connection(address, port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


async def test_port_8431_is_open_only_while_a_job_runs(tmp_path: Path) -> None:
    async with a_host(tmp_path) as host:
        assert [await is_open(8431), await is_open(2112)] == [False, True]
        await host.start_job(a_job())
        assert await is_open(8431)
        await host.stop_job()
        assert not await is_open(8431)


async def test_a_dead_host_closes_every_door_and_starts_nothing_until_it_is_repaired(tmp_path: Path) -> None:
    async with a_host(tmp_path) as host:
        await host.start_job(a_job())
        await host.die()
        await host.start_job(a_job())
        host.step(5)
        host.checkpointed(5)
        assert [await is_open(8431), await is_open(2112), host.state.job, host.checkpoint_requested] == [
            False,
            False,
            None,
            False,
        ]
        await host.repair(boot_id="b00t-2", instance_id="77002")
        assert [await is_open(2112), host.state.boot_id, host.state.instance_id] == [True, "b00t-2", "77002"]
        assert (tmp_path / "proc/sys/kernel/random/boot_id").read_text() == "b00t-2\n"


async def test_a_job_holds_the_devices_and_lets_go_of_them(tmp_path: Path) -> None:
    async with a_host(tmp_path) as host:
        await host.start_job(a_job())
        assert {path.readlink().name for path in (tmp_path / "proc/4711/fd").iterdir()} == {"0", "1", "2", "3"}
        host.hold(1, Holder(99, "bash"))
        await host.stop_job()
        assert not (tmp_path / "proc/4711").exists()
        assert (tmp_path / "proc/99/comm").read_text() == "bash\n"


async def test_a_stuck_gang_ends_no_step_and_looks_busy(tmp_path: Path) -> None:
    async with a_host(tmp_path) as host:
        await host.start_job(a_job())
        host.step(1)
        host.state.is_stuck = True
        host.step(2)
        assert host.state.job is not None
        assert (host.state.job.step, host.state.duty_cycle(0), host.state.can_step) == (1, 100.0, False)


def test_the_plugins_text_is_prometheus_text() -> None:
    state = a_state()
    state.missing.add(3)
    families = {family.name: family for family in text_string_to_metric_families(text_of(state))}
    ids = [sample.labels["accelerator_id"] for sample in families["duty_cycle_node"].samples]
    assert ids == ["77001-0", "77001-1", "77001-2"]


def test_addresses_are_loopback_and_differ() -> None:
    addresses = [address_of(number) for number in range(600)]
    assert len(set(addresses)) == 600
    assert all(address.startswith("127.20.") for address in addresses)


async def test_many_hosts_in_one_process_have_the_real_ports(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        for number in range(8):
            folder, socket = tmp_path / str(number), tmp_path / f"{number}.sock"
            host = SimulatedHost(a_state(f"node-{number}"), address=address_of(number, NET), folder=folder, socket=socket)
            await stack.enter_async_context(host)
        assert all([await is_open(2112, address_of(number, NET)) for number in range(8)])


@pytest.mark.parametrize("fault", FAULTS.values(), ids=lambda fault: fault.name)
async def test_a_fault_shows_in_the_state_and_a_repair_undoes_it(tmp_path: Path, fault: Fault) -> None:
    fleet = a_fleet().with_gang("llm", slices=2).on("cube-0", "cube-1").build()
    cube = next(cube for cube in sorted(fleet.cubes) if cube.name == "cube-0")
    place = Place(fleet.cubes[cube].hosts[0].name, 2)
    if fault.part == "link":
        links = links_to_break(fleet, cube, between_cubes=fault.between_cubes)
        if not links:
            pytest.fail("no such link in this fleet")
        place = place_on_link(fleet, links[0])
    effects = Effects()
    async with AsyncExitStack() as stack:
        hosts = {
            node: await stack.enter_async_context(
                a_host(tmp_path / node, address=address_of(40 + number, NET), state=a_state(node))
            )
            for number, node in enumerate(place.nodes)
        }
        await fault.inject(hosts, place, effects)
        shown = [host.state for host in hosts.values()]
        log = "".join((tmp_path / node / "dev/kmsg").read_text() for node in hosts)
        broken = [s.links or s.missing or s.throttle or s.foreign or s.is_dead for s in shown]
        assert all(broken) or "uncorrectable" in log or ("agent dies", place.node) in effects.done
        await fault.repair(hosts, place, effects, boot_id="new")
        assert not any(s.links or s.missing or s.throttle or s.foreign or s.is_dead for s in shown)
        assert ("host returns", place.node) in effects.done
    assert f"/{fault.part}/" in str(fault.named("c1", place))


async def test_two_fleets_on_one_machine_take_two_nets(tmp_path: Path) -> None:
    plan, pace = a_fleet().with_cubes(1).plan, Pace()
    (tmp_path / "other").mkdir()
    async with (
        running_hosts(plan, tmp_path, tmp_path, pace) as ours,
        running_hosts(plan, tmp_path / "other", tmp_path / "other", pace) as theirs,
    ):
        assert not {host.address for host in ours.values()} & {host.address for host in theirs.values()}


def test_truth_names_the_part_and_a_fault_of_a_link_needs_one() -> None:
    assert FAULTS["host-died"].named("c1", Place("n", 2)) == HostId("c1", "n")
    assert FAULTS["chip-lost"].named("c1", Place("n", 2)) == ChipId("c1", "n", 2)
    with pytest.raises(Misconfigured, match="names no link"):
        FAULTS["link-down"].named("c1", Place("n"))
