"""Quota: how many chips of each generation a tenant may hold, what it holds, and what is left.

A tenant is the label ``sliceward.dev/tenant`` of a gang, else its namespace. In YAML, in chips::

    quota:
      research: {tpu7x: 512}
      ml: {tpu7x: 256, tpu-v5p-slice: {4x8x8: 1, 4x4x4: 2}}

Chips that lie badly train nobody's model, so that quota may also be given in cells, whole slices of a shape: that many chips, and
the promise that they can be had in that form (`guarantees`).
A tenant or generation that is not named has no limit; quota is written down to be kept, not to be guessed.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING

from sliceward.topology.errors import Misconfigured
from sliceward.topology.fields import Fields
from sliceward.topology.gangs import Gang, GangState
from sliceward.topology.generations import GENERATIONS, Generation, Shape, shape_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sliceward.topology.fleet import Fleet

Account = tuple[str, str]
"""Tenant and accelerator label."""


@dataclass(frozen=True, slots=True)
class Quota:
    """Nominal chips by tenant and generation; ``cells``: how many of each shape they make, where quota is given in shapes."""

    nominal: Mapping[Account, int] = field(default_factory=dict)
    cells: Mapping[Account, Mapping[Shape, int]] = field(default_factory=dict)

    @classmethod
    def from_mapping(cls, mapping: object, *, where: str = "quota") -> Quota:
        """Read ``{tenant: {generation: chips or {shape: cells}}}``; generations by label (``tpu-v5p-slice``) or name (``v5p``).

        Raises:
            Misconfigured: with the path of the key, and the nearest generation where it is unknown.
        """
        names = {g.name: g.label for g in GENERATIONS.values()} | {label: label for label in GENERATIONS}
        nominal: dict[Account, int] = {}
        cells: dict[Account, Mapping[Shape, int]] = {}
        top = Fields.of(mapping if mapping is not None else {}, where)
        for tenant in top.mapping:
            if not isinstance(tenant, str) or not tenant:
                raise Misconfigured(where, f"{tenant!r} is no tenant", "Tenants are texts: quote a number")
            limits = top.at(tenant)
            for told in limits.mapping:
                if told not in names:
                    near = difflib.get_close_matches(str(told), names, n=1)
                    hint = f"Did you mean {near[0]!r}?" if near else f"Known are {', '.join(sorted(names))}"
                    raise Misconfigured(limits.where(str(told)), "is no TPU generation", hint)
                if (tenant, names[told]) in nominal:
                    raise Misconfigured(limits.where(told), "is there twice, by name and by label", "Keep one")
                account = tenant, names[told]
                if isinstance(limits.mapping[told], dict):
                    cells[account] = _cells(limits.at(told), GENERATIONS[account[1]])
                    nominal[account] = sum(count * prod(shape) for shape, count in cells[account].items())
                else:
                    nominal[account] = limits.integer(told)
        return cls(nominal, cells)


def _cells(counts: Fields, kind: Generation) -> dict[Shape, int]:
    found: dict[Shape, int] = {}
    for text in counts.mapping:
        shape = shape_of(str(text))
        if shape is None or not kind.admits(shape):
            raise Misconfigured(counts.where(str(text)), f"is no shape of {kind.name}", "Shapes look like 4x4x8")
        found[shape] = counts.integer(text)
    return found


def held(fleet: Fleet, gang: Gang) -> int:
    """Count the chips that a gang holds now: all it asks for while it runs, else what its last pods still hold."""
    if gang.state is GangState.RUNNING:
        return gang.chips
    return sum(fleet.hosts[host].chips for host in gang.hosts if host in fleet.hosts)


def usage(fleet: Fleet) -> dict[Account, int]:
    """Count the chips held by tenant and generation. A gang whose generation is unknown counts under ``unknown``."""
    found: dict[Account, int] = {}
    for gang in fleet.gangs.values():
        account = (gang.tenant, gang.generation or "unknown")
        found[account] = found.get(account, 0) + held(fleet, gang)
    return {account: chips for account, chips in sorted(found.items()) if chips}
