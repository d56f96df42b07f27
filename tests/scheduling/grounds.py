"""Small grounds and gangs for tests of what stands above the back-ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sliceward.scheduling.ground import Want
from sliceward.scheduling.pools import Pool, Pools
from sliceward.scheduling.request import Request, SliceAsked
from sliceward.scheduling.snapshot import HeldSlice, Running, Snapshot
from sliceward.topology.generations import shape_of
from sliceward.topology.ids import CubeId, HostId, PodId
from tests.builders import NOW, gang_id

if TYPE_CHECKING:
    from sliceward.scheduling.ground import Ground
    from sliceward.topology.generations import Shape

V6E = "tpu-v6e-slice"


def shape(text: str) -> Shape:
    """Read a shape that is one."""
    found = shape_of(text)
    assert found is not None
    return found


def pools(count: int = 3, topology: str = "4x4", *, pod: str = "b0", prefix: str = "pool") -> Pools:
    """Give pools of four-chip hosts, ``pool-0`` .. with hosts ``pool-0-host-0`` .."""
    size = shape(topology)
    hosts = 1
    for length in size:
        hosts *= length
    found = []
    for number in range(count):
        name = f"{prefix}-{number}"
        ids = tuple(HostId("c1", f"{name}-host-{n}") for n in range(hosts // 4))
        found.append(Pool(CubeId("c1", name), size, ids, len(ids)))
    return Pools(PodId("c1", pod), V6E, tuple(found), {host: 4 for each in found for host in each.hosts})


def running(name: str, ground: Ground, hosts: slice, *, tenant: str = "t", topology: str = "4x4") -> Running:
    """Give a gang of one slice on some of the ground's hosts."""
    held = HeldSlice("slice", 0, shape(topology), tuple(ground.hosts)[hosts])
    return Running(gang_id(name), tenant, ground.generation, (held,))


def a_snapshot(*grounds: Ground) -> Snapshot:
    """Give a snapshot of empty grounds."""
    return Snapshot.of(NOW, grounds or (pools(),))


def asking(name: str = "g", *topologies: str, tenant: str = "t", **more: Any) -> Request:  # noqa: ANN401 (fields of Request)
    """Give a request for slices of these shapes; without any, for one of 4x4."""
    wants = [SliceAsked("slice", n, Want(V6E, shape(text))) for n, text in enumerate(topologies or ("4x4",))]
    return Request(gang_id(name), tenant, tuple(wants), **more)
