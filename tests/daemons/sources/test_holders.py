from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from sliceward.daemons.sources.devices import Devices
from sliceward.daemons.sources.holders import Holders
from sliceward.daemons.sources.pods import Node, PodsOnNode, TpuPod
from sliceward.simulation.hosts import Holder
from sliceward.topology.errors import Retry
from tests.daemons.sources.builders import POD, TPU7X, a_host, a_job, devices_of

if TYPE_CHECKING:
    from pathlib import Path

    from sliceward.daemons.sources.source import Reading
    from sliceward.simulation.hosts import SimulatedHost

OWNER = PodsOnNode(0.0, (TpuPod(POD, "ml", "llm-0", "10.0.0.7", host_network=False, seat=None),))
NOBODY = PodsOnNode(math.inf, ())


async def look(host: SimulatedHost, pods: PodsOnNode | None, *allowed: str) -> Reading:
    return await Holders(TPU7X, devices_of(host), Node(pods), frozenset(allowed)).read(1e9)


async def test_the_pod_that_owns_the_devices_is_no_foreigner(tmp_path: Path) -> None:
    async with a_host(tmp_path) as host:
        await host.start_job(a_job())
        reading = await look(host, OWNER)
    assert reading.columns["chip_foreign_holder"] == [0.0] * 4
    assert reading.notes["holder/0"].startswith(f"pid 4711 (python3), pod {POD}, container ")


async def test_a_process_outside_of_any_pod_is_foreign_and_named(tmp_path: Path) -> None:
    async with a_host(tmp_path) as host:
        await host.start_job(a_job())
        host.hold(2, Holder(66001, "python3"))
        reading = await look(host, OWNER)
    assert reading.columns["chip_foreign_holder"] == [0.0, 0.0, 1.0, 0.0]
    assert reading.notes["holder/2"].startswith("foreign: pid 66001 (python3), no pod, since ")


async def test_a_pod_that_has_ended_and_still_holds_is_foreign(tmp_path: Path) -> None:
    async with a_host(tmp_path) as host:
        host.hold(0, Holder(66001, "python3", "0a0b0c0d-1111-2222-3333-00000000dead"))
        assert (await look(host, NOBODY)).columns["chip_foreign_holder"] == [1.0, 0.0, 0.0, 0.0]


async def test_a_pod_younger_than_the_list_of_pods_is_not_called_foreign_and_asks_for_a_new_list(tmp_path: Path) -> None:
    async with a_host(tmp_path) as host:
        host.hold(0, Holder(66001, "python3", "0a0b0c0d-1111-2222-3333-00000000beef"))
        node = Node(PodsOnNode(0.0, ()))
        reading = await Holders(TPU7X, devices_of(host), node).read(1e9)
    assert math.isnan(reading.columns["chip_foreign_holder"][0])
    assert node.is_behind


async def test_googles_own_agents_may_hold_devices(tmp_path: Path) -> None:
    async with a_host(tmp_path) as host:
        host.hold(0, Holder(66001, "vbar_control_ag"))
        assert (await look(host, NOBODY, "vbar_control_ag")).columns["chip_foreign_holder"] == [0.0] * 4


async def test_without_the_nodes_pods_a_holder_is_neither_foreign_nor_not(tmp_path: Path) -> None:
    async with a_host(tmp_path) as host:
        host.hold(0, Holder(66001, "python3"))
        reading = await look(host, None)
    assert reading.columns["chip_foreign_holder"] == pytest.approx([math.nan, 0.0, 0.0, 0.0], nan_ok=True)
    assert reading.notes["holder/0"].startswith("perhaps foreign")


async def test_when_it_lets_go_nobody_holds(tmp_path: Path) -> None:
    async with a_host(tmp_path) as host:
        host.hold(0, Holder(66001, "python3"))
        host.hold(0, None)
        reading = await look(host, NOBODY)
    assert reading.columns["chip_foreign_holder"] == [0.0] * 4
    assert not reading.notes


async def test_no_proc_is_no_reading(tmp_path: Path) -> None:
    with pytest.raises(Retry, match="cannot be read"):
        await Holders(TPU7X, Devices(TPU7X, tmp_path), Node(OWNER)).read(1e9)


# ── ports ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

TABLE = (
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    "   0: 00000000:211C 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0 100 0 0 10 0\n"
    "   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 77 1 0 100 0 0 10 0\n"
    "   2: 0100007F:2117 0100007F:A49D 01 00000000:00000000 00:00000000 00000000     0        0 78 1 0 100 0 0 10 0\n"
    "half a line\n"
)
PORTS = frozenset({8476, 8471})


async def ports(folder: Path, *, holder: Holder | None, table: str | None = TABLE, pods: PodsOnNode | None = OWNER) -> Reading:
    """Look at a host where ``holder`` has socket 4242, which listens at 8476, and two others."""
    async with a_host(folder) as host:
        await host.start_job(a_job())
        if holder is not None:
            host.hold(2, holder)
            for inode in (4242, 77, 78):
                (host.folder / f"proc/{holder.pid}/fd/{inode}").symlink_to(f"socket:[{inode}]")
        if table is not None:
            (host.folder / "proc/1/net").mkdir(parents=True)
            (host.folder / "proc/1/net/tcp").write_text(table, encoding="ascii")
            (host.folder / "proc/1/net/tcp6").write_text(table.partition("\n")[0] + "\n", encoding="ascii")
        return await Holders(TPU7X, devices_of(host), Node(pods), ports=PORTS).read(1e9)


async def test_a_process_of_no_pod_that_listens_at_the_coordinators_port_is_foreign_and_named(tmp_path: Path) -> None:
    reading = await ports(tmp_path, holder=Holder(66001, "python3"))
    assert reading.columns["host_port_foreign"] == [1.0]
    assert reading.notes["ports"].startswith("8476: foreign: pid 66001 (python3), no pod, since ")
    assert ";" not in reading.notes["ports"]


async def test_a_pod_of_the_node_may_listen_there(tmp_path: Path) -> None:
    reading = await ports(tmp_path, holder=Holder(66001, "python3", POD))
    assert reading.columns["host_port_foreign"] == [0.0]
    assert reading.notes["ports"].startswith("8476: pid 66001")


async def test_a_port_that_is_free_is_nobodys(tmp_path: Path) -> None:
    reading = await ports(tmp_path, holder=None, table=TABLE.partition("\n")[0] + "\n")
    assert reading.columns["host_port_foreign"] == [0.0]
    assert "ports" not in reading.notes


async def test_without_the_hosts_table_of_sockets_or_its_pods_nothing_is_known(tmp_path: Path) -> None:
    reading = await ports(tmp_path / "a", holder=Holder(66001, "python3"), table=None)
    assert reading.columns["host_port_foreign"] == pytest.approx([math.nan], nan_ok=True)
    reading = await ports(tmp_path / "b", holder=Holder(66001, "python3"), pods=None)
    assert reading.columns["host_port_foreign"] == pytest.approx([math.nan], nan_ok=True)
