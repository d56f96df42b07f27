"""A fleet that was read becomes a snapshot; whatever a cluster contains, that never raises, and nothing is placed by a guess."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sliceward.scheduling.beside import Beside
from sliceward.scheduling.cubes.block import Block
from sliceward.scheduling.fleet import PROVISION_ONLY, snapshot_of
from sliceward.scheduling.ground import Want
from sliceward.scheduling.occupancy import Cause, Grade
from sliceward.scheduling.place import place, place_cheapest, planned
from sliceward.scheduling.plan import NoFit, Plan
from sliceward.scheduling.pools import Pools
from sliceward.scheduling.request import Request, SliceAsked, shapes_of
from sliceward.scheduling.torus.ground import TorusGround
from sliceward.scheduling.tree.ground import TreeGround
from sliceward.topology.errors import Misconfigured
from sliceward.topology.ids import CubeId, PodId
from sliceward.topology.links import links_of
from sliceward.topology.names import NAMES
from tests.builders import NOW, FleetBuilder, a_fleet, cube_id, gang_id, host_id

if TYPE_CHECKING:
    from sliceward.scheduling.snapshot import Snapshot

Object = dict[str, Any]
V6E = "tpu-v6e-slice"
POOLS = a_fleet(generation=V6E).with_pools("4x8", 2)


def divisible(builder: FleetBuilder) -> FleetBuilder:
    names = [host for cube in builder.plan.cubes for host in builder.hosts_of(cube.name)]
    return builder.labelled({NAMES.topology_mode: PROVISION_ONLY}, *names)


def asking(generation: str, *shapes: tuple[int, ...], name: str = "g") -> Request:
    return Request(gang_id(name), "t", tuple(SliceAsked("s", n, Want(generation, shape)) for n, shape in enumerate(shapes)))


def kinds(snapshot: Snapshot) -> dict[str, type]:
    return {str(key): type(ground) for key, ground in snapshot.grounds.items()}


class TestGrounds:
    """Each part of a fleet gets the back-end that fits."""

    def test_partitions_are_joined_by_block_and_pools_stand_alone(self) -> None:
        assert kinds(snapshot_of(a_fleet().build(), NOW)) == {"c1/pod/c1-block-0": Block}
        assert kinds(snapshot_of(POOLS.build(), NOW)) == {"c1/pod/c1-block-0": Pools}

    def test_a_pool_without_a_slice_is_divided(self) -> None:
        snapshot = snapshot_of(divisible(POOLS).build(), NOW)
        assert kinds(snapshot) == {"c1/cube/pool-0": TorusGround, "c1/cube/pool-1": TorusGround}
        found = planned(snapshot, asking(V6E, (4, 4), (4, 4), (4, 4), (2, 2)))
        assert found is not None
        assert len(found.hosts) == 13
        assert isinstance(place(snapshot_of(POOLS.build(), NOW), asking(V6E, (4, 4))), NoFit)

    def test_a_pool_of_which_a_host_s_place_is_unknown_is_not_divided(self) -> None:
        bare = divisible(POOLS).labelled({NAMES.host_index: None}, "pool-0-host-00")
        assert sorted(kinds(snapshot_of(bare.build(), NOW)).values(), key=str) == [Pools, TorusGround]

    def test_a_cluster_with_levels_is_a_tree(self) -> None:
        levels = Beside(levels={"c1": (NAMES.block, NAMES.partition_id)})
        assert kinds(snapshot_of(a_fleet().build(), NOW, levels)) == {"c1": TreeGround}
        found = planned(snapshot_of(a_fleet().build(), NOW, levels), asking("tpu7x", (4, 4, 4), (2, 2, 2)))
        assert found is not None
        assert len(found.hosts) == 18

    def test_two_generations_in_one_tree_or_block_have_grounds_of_their_own(self) -> None:
        mixed = a_fleet().labelled({NAMES.accelerator: "tpu-v5p-slice"}, *a_fleet().hosts_of("cube-3"))
        assert sorted(kinds(snapshot_of(mixed.build(), NOW))) == ["c1/pod/c1-block-0.tpu7x", "c1/pod/c1-block-0.v5p"]
        levels = Beside(levels={"c1": (NAMES.block, NAMES.partition_id)})
        assert sorted(kinds(snapshot_of(mixed.build(), NOW, levels))) == ["c1/pod/c1.tpu7x", "c1/pod/c1.v5p"]

    def test_partitions_of_which_no_block_is_known_are_never_joined(self) -> None:
        hosts = [host for cube in a_fleet().plan.cubes for host in a_fleet().hosts_of(cube.name)]
        lost = snapshot_of(a_fleet().labelled({NAMES.block: None}, *hosts).build(), NOW)
        assert set(lost.grounds) == {CubeId("c1", f"cube-{n}") for n in range(4)}
        assert planned(lost, asking("tpu7x", (4, 4, 4), (4, 4, 4))) is not None
        assert isinstance(place(lost, asking("tpu7x", (4, 4, 8))), NoFit)

    def test_pools_of_which_no_block_is_known_stand_together(self) -> None:
        hosts = [host for cube in POOLS.plan.cubes for host in POOLS.hosts_of(cube.name)]
        assert kinds(snapshot_of(POOLS.labelled({NAMES.block: None}, *hosts).build(), NOW)) == {"c1": Pools}


class TestWhatAClusterContains:
    """Nothing of it raises."""

    def test_a_second_gang_on_a_host_closes_it_to_both(self) -> None:
        two = a_fleet().with_gang("a").on("cube-0").with_gang("b").on("cube-1")
        crowded = two.pod_edited("b-slice-0-3-", lambda pod: pod["spec"].update(nodeName="cube-0-host-03"))
        snapshot = snapshot_of(crowded.build(), NOW)
        occupancy = snapshot.grounds[PodId("c1", "c1-block-0")].occupancy
        assert occupancy.holders[host_id("cube-0-host-03")] == gang_id("a")
        assert occupancy.bars[host_id("cube-0-host-03")].why == "held by b"
        assert len(snapshot.gangs[gang_id("b")].hosts) == 15
        found = planned(snapshot, asking("tpu7x", (4, 4, 4), name="a"))
        assert found is not None
        assert cube_id("cube-0") not in found.cubes

    def test_a_gang_of_unknown_shape_holds_its_hosts(self) -> None:
        def edit(jobset: Object) -> None:
            jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["metadata"] = {}

        odd = a_fleet().with_gang("a", topology="4x4x8").on("cube-0", "cube-1").gang_edited("a", edit)
        held = snapshot_of(odd.build(), NOW).gangs[gang_id("a")]
        assert len(held.hosts) == 32

    def test_a_gang_on_hosts_of_no_cube_holds_nothing(self) -> None:
        builder = a_fleet().with_gang("a").on("cube-0")
        bare = builder.labelled({NAMES.partition_id: None, NAMES.node_pool: None}, *builder.hosts_of("cube-0"))
        snapshot = snapshot_of(bare.build(), NOW)
        assert snapshot.gangs == {}
        assert len(snapshot.ground_of) == 48

    @pytest.mark.parametrize("announced", ["1788264000", "not a time", "99999999999999", ""])
    def test_announced_maintenance_is_a_window_where_it_can_be_read(self, announced: str) -> None:
        told = a_fleet().labelled({NAMES.maintenance_time: announced}, "cube-0-host-00").build()
        standing = snapshot_of(told, NOW).grounds[PodId("c1", "c1-block-0")].occupancy.standing(host_id("cube-0-host-00"))
        assert (standing.window is not None) == (announced == "1788264000")
        assert standing.grade is Grade.HEALTHY

    def test_what_is_known_beside_the_fleet_counts(self) -> None:
        host = host_id("cube-0-host-00")
        beside = Beside(sick={host: "incident inc-1"}, risks={host_id("cube-1-host-00"): 0.5}, reserved={host: gang_id("x")})
        occupancy = snapshot_of(a_fleet().build(), NOW, beside).grounds[PodId("c1", "c1-block-0")].occupancy
        assert occupancy.why_not(host) == (Cause.SICK, "incident inc-1")
        assert occupancy.standing(host_id("cube-1-host-00")).risk == 0.5
        found = planned(snapshot_of(a_fleet().build(), NOW, beside), asking("tpu7x", (4, 4, 4)))
        assert found is not None
        assert [cube.name for cube in found.cubes] == ["cube-2"]

    def test_a_condemned_link_rules_its_cube_out(self) -> None:
        fleet = a_fleet().with_cubes(1).build()
        beside = Beside(links=frozenset(links_of(fleet, cube_id("cube-0"))[:1]))
        assert isinstance(place(snapshot_of(fleet, NOW, beside), asking("tpu7x", (4, 4, 4))), NoFit)
        far = Beside(links=frozenset(links_of(a_fleet("c9").build(), cube_id("cube-0", "c9"))[:1]))
        assert isinstance(place(snapshot_of(fleet, NOW, far), asking("tpu7x", (4, 4, 4))), Plan)


class TestChipsAlone:
    """A request may say chips and leave the shape open."""

    def test_every_shape_of_so_many_chips_will_do(self) -> None:
        assert shapes_of("tpu7x", 256) == ((4, 8, 8), (4, 4, 16))
        assert shapes_of(V6E, 8) == ((2, 4),)

    @pytest.mark.parametrize(("generation", "chips"), [("tpu7x", 100), ("tpu9", 64), (V6E, 512)])
    def test_chips_that_no_slice_has_are_refused(self, generation: str, chips: int) -> None:
        with pytest.raises(Misconfigured):
            shapes_of(generation, chips)

    def test_the_cheapest_of_them_is_taken(self) -> None:
        snapshot = snapshot_of(divisible(a_fleet(generation="tpu-v5p-slice").with_pools("4x4x16", 1)).build(), NOW)
        found = place_cheapest(snapshot, [asking("tpu-v5p-slice", shape) for shape in shapes_of("tpu-v5p-slice", 256)])
        assert isinstance(found, Plan)
        assert found.slices[0].shape == (4, 4, 16)
        none = place_cheapest(snapshot, [asking("tpu-v5p-slice", shape) for shape in shapes_of("tpu-v5p-slice", 512)])
        assert isinstance(none, NoFit)
