"""A fleet from a YAML file, for the demo, simulations, tests and what-if questions.

The file says in a few lines what a cluster of simulated or planned hosts looks like; `sliceward.topology.plan` makes the
Kubernetes objects of it, and these are read like those of a real cluster, so that there is one way in. Example::

    clusters:
      - name: c1
        generation: tpu7x
        cubes: 4                      # or a list of names; classic pools: pools: [{name: pool-0, topology: 4x4}]
        spares: [cube-3]
        gangs:
          - {name: llm, slices: 2, cubes: [cube-0, cube-1]}
          - {name: small, cubes: [cube-2], tenant: research, namespace: ml}
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from sliceward.topology import yaml_text
from sliceward.topology.errors import Misconfigured
from sliceward.topology.fields import Fields
from sliceward.topology.generations import GENERATIONS, Generation, Shape, shape_of, text_of
from sliceward.topology.ids import ClusterId, CubeId, GangId, HostId

if TYPE_CHECKING:
    from collections.abc import Collection

_MOST_CUBES = 10_000
_MOST_SLICES = 1_000


@dataclass(frozen=True, slots=True)
class CubePlan:
    """A cube to be: a partition, or a classic pool. ``block`` is its TPU pod."""

    name: str
    shape: Shape
    classic: bool
    block: str
    spare: bool = False


@dataclass(frozen=True, slots=True)
class GangPlan:
    """A gang to be. ``on``: the cubes that it runs in, slice by slice; empty: it waits, suspended.

    ``exclusive``: with exclusive topology on the cube's label (JobSet only). ``queue``: Kueue's queue name, "" for none.
    """

    name: str
    namespace: str
    kind: str
    slices: int
    topology: Shape
    on: tuple[str, ...]
    tenant: str = ""
    priority: int = 0
    exclusive: bool = True
    queue: str = ""
    max_restarts: int = 10


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """A cluster to be. ``host_name``: pattern of node names with ``{cube}`` and ``{index}``."""

    name: str
    generation: str
    chips_a_host: int
    cubes: tuple[CubePlan, ...]
    gangs: tuple[GangPlan, ...] = ()
    host_name: str = "{cube}-host-{index:02d}"

    @property
    def kind(self) -> Generation:
        """The TPU generation."""
        return GENERATIONS[self.generation]

    def host(self, cube: str, index: int) -> str:
        """Give the node name of a host."""
        return self.host_name.format(cube=cube, index=index)


def plans_from_yaml(text: str, *, where: str = "fleet") -> tuple[ClusterPlan, ...]:
    """Give the clusters that a fleet file describes.

    Raises:
        Misconfigured: with file and line where it is no YAML, else with the path of the key.
    """
    top = Fields.of(yaml_text.read(text, where).value, where)
    top.only("clusters")
    plans = tuple(_cluster(fields) for fields in top.each("clusters"))
    if not plans:
        raise Misconfigured(top.where("clusters"), "is empty", "Describe at least one cluster")
    _distinct([plan.name for plan in plans], top.where("clusters"))
    return plans


def _cluster(fields: Fields) -> ClusterPlan:
    fields.only("name", "generation", "cubes", "pools", "chips_a_host", "hosts", "block", "spares", "gangs")
    name = _name(fields, "name")
    ClusterId(name)
    generation = _generation(fields)
    chips = fields.integer("chips_a_host", 4)
    if chips not in generation.chips_a_host:
        choices = " or ".join(map(str, generation.chips_a_host))
        raise Misconfigured(fields.where("chips_a_host"), f"is {chips}", f"{generation.name} hosts have {choices} chips")
    block = fields.text("block", f"{name}-block-0")
    spares = fields.words("spares")
    cubes = _cubes(fields, generation, block, spares) + _pools(fields, generation, chips, block)
    _distinct([cube.name for cube in cubes], fields.where("cubes"))
    for number, spare in enumerate(spares):
        _among(spare, [cube.name for cube in cubes], f"{fields.where('spares')}[{number}]")
    host_name = fields.text("hosts", "{cube}-host-{index:02d}")
    plan = ClusterPlan(name, generation.label, chips, cubes, (), host_name)
    _check_host_names(plan, fields)
    return ClusterPlan(name, generation.label, chips, cubes, _gangs(fields, plan), host_name)


def _generation(fields: Fields) -> Generation:
    told = fields.text("generation", "tpu7x")
    by_name = {g.name: g for g in GENERATIONS.values()} | dict(GENERATIONS)
    if told not in by_name:
        near = difflib.get_close_matches(told, by_name, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known are {', '.join(g.name for g in GENERATIONS.values())}"
        raise Misconfigured(fields.where("generation"), f"is {told!r}", hint)
    return by_name[told]


def _cubes(fields: Fields, generation: Generation, block: str, spares: Collection[str]) -> tuple[CubePlan, ...]:
    where = fields.where("cubes")
    if not fields.has("cubes"):
        return ()
    if generation.cube is None:
        raise Misconfigured(where, f"{generation.name} has no cubes", "Describe node pools under 'pools'")
    if isinstance(fields.mapping["cubes"], list):
        names = fields.words("cubes")
    else:
        count = fields.integer("cubes")
        if count > _MOST_CUBES:
            raise Misconfigured(where, f"is {count}", f"At most {_MOST_CUBES}")
        names = tuple(f"cube-{n}" for n in range(count))
    for number, name in enumerate(names):
        _usable(name, f"{where}[{number}]")
    return tuple(CubePlan(name, generation.cube, classic=False, block=block, spare=name in spares) for name in names)


def _pools(fields: Fields, generation: Generation, chips: int, block: str) -> tuple[CubePlan, ...]:
    pools = []
    for pool in fields.each("pools"):
        pool.only("name", "topology")
        told = pool.text("topology")
        shape = shape_of(told)
        if shape is None or not generation.admits(shape):
            raise Misconfigured(
                pool.where("topology"), f"{told!r} is no shape of {generation.name}", "Write it like 4x8 or 4x4x8"
            )
        generation.host_bounds(shape, chips)
        pools.append(CubePlan(_name(pool, "name"), shape, classic=True, block=block))
    return tuple(pools)


def _gangs(fields: Fields, plan: ClusterPlan) -> tuple[GangPlan, ...]:
    gangs = tuple(_gang(gang, plan) for gang in fields.each("gangs"))
    _distinct([f"{gang.namespace}/{gang.kind}/{gang.name}" for gang in gangs], fields.where("gangs"))
    taken: dict[str, str] = {}
    for number, gang in enumerate(gangs):
        for cube in gang.on:
            if taken.setdefault(cube, gang.name) != gang.name:
                where = f"{fields.where('gangs')}[{number}].cubes"
                raise Misconfigured(where, f"{cube} already holds {taken[cube]}", "Two gangs never hold the same chips")
    return gangs


def _gang(fields: Fields, plan: ClusterPlan) -> GangPlan:
    fields.only(
        "name", "namespace", "kind", "slices", "topology", "cubes", "tenant", "priority", "exclusive", "queue", "max_restarts"
    )
    kind = fields.text("kind", "JobSet")
    if kind not in {"JobSet", "Job"}:
        raise Misconfigured(fields.where("kind"), f"is {kind!r}", "JobSet or Job")
    on = fields.words("cubes")
    for number, cube in enumerate(on):
        _among(cube, [c.name for c in plan.cubes], f"{fields.where('cubes')}[{number}]")
    first = next((c for c in plan.cubes if c.name in on), plan.cubes[0] if plan.cubes else None)
    shape = _topology(fields, plan, first)
    slices = fields.integer("slices", 1)
    if not 1 <= slices <= (_MOST_SLICES if kind == "JobSet" else 1):
        raise Misconfigured(fields.where("slices"), f"is {slices}", f"1 to {_MOST_SLICES}; a Job has one")
    gang = GangPlan(
        name=_name(fields, "name"),
        namespace=fields.text("namespace", "default"),
        kind=kind,
        slices=slices,
        topology=shape,
        on=on,
        tenant=fields.text("tenant"),
        priority=fields.integer("priority"),
        exclusive=kind == "JobSet" and (fields.flag("exclusive") if fields.has("exclusive") else True),
        queue=fields.text("queue"),
        max_restarts=fields.integer("max_restarts", 10),
    )
    GangId(plan.name, gang.namespace, gang.kind, gang.name)
    if on and len(on) != gang.slices * cubes_a_slice(gang, first):
        why = (
            f"names {len(on)} cubes, but {gang.slices} slices of {text_of(shape)} need {gang.slices * cubes_a_slice(gang, first)}"
        )
        raise Misconfigured(fields.where("cubes"), why, "Name the cubes slice by slice, or none where the gang waits")
    return gang


def cubes_a_slice(gang: GangPlan, cube: CubePlan | None) -> int:
    """Count the cubes that one slice of ``gang`` takes, in cubes like ``cube``; a slice below a cube takes one."""
    return max(1, prod(gang.topology) // prod(cube.shape)) if cube is not None else 1


def _topology(fields: Fields, plan: ClusterPlan, cube: CubePlan | None) -> Shape:
    if not fields.has("topology") and cube is not None:
        return cube.shape
    told = fields.text("topology")
    shape = shape_of(told)
    if shape is None or not plan.kind.admits(shape) or (cube is not None and cube.classic and shape != cube.shape):
        raise Misconfigured(fields.where("topology"), f"{told!r} is no slice of this cluster", "Write it like 4x4x8")
    plan.kind.host_bounds(shape, plan.chips_a_host)
    return shape


def _check_host_names(plan: ClusterPlan, fields: Fields) -> None:
    names: list[str] = []
    try:
        for cube in plan.cubes:
            names += [plan.host(cube.name, n) for n in range(plan.kind.hosts(cube.shape, plan.chips_a_host))]
        for name in names:
            HostId(plan.name, name)
    except (KeyError, IndexError, ValueError, AttributeError, Misconfigured) as error:
        raise Misconfigured(fields.where("hosts"), f"makes no node names: {error}", "Use {cube} and {index:02d}") from error
    _distinct(names, fields.where("hosts"))


def _name(fields: Fields, key: str) -> str:
    return _usable(fields.text(key), fields.where(key))


def _usable(name: str, where: str) -> str:
    try:
        CubeId("c", name)
    except Misconfigured as error:
        raise Misconfigured(where, f"{name!r} {error.why}", error.what_to_do) from error
    return name


def _distinct(names: list[str], where: str) -> None:
    doubled = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if doubled:
        raise Misconfigured(where, f"{doubled[0]!r} is there twice", "Give each its own name")


def _among(name: str, known: list[str], where: str) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        raise Misconfigured(where, f"there is no {name!r}", f"Did you mean {near[0]!r}?" if near else "Name a cube or pool above")
