"""The answers of this folder as plain values, for ``-o json`` and the HTTP API: the same for both, so that one page describes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_never

from sliceward.scheduling.displacement import NobodyGoes
from sliceward.scheduling.moving import reseated
from sliceward.scheduling.plan import Borrow, NoFit, Open, Plan, Release, Repair, told
from sliceward.topology.generations import text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sliceward.scheduling.candidates import Choice
    from sliceward.scheduling.defragment import Group, Move
    from sliceward.scheduling.displacement import Displacement
    from sliceward.scheduling.fragmentation import Fragmentation
    from sliceward.scheduling.guarantees import Kept
    from sliceward.scheduling.plan import Change, PlannedSlice
    from sliceward.scheduling.snapshot import Running
    from sliceward.scheduling.spares import Spares
    from sliceward.scheduling.whatif import Consequences
    from sliceward.topology.fleet import Problem
    from sliceward.topology.gangs import Gang
    from sliceward.topology.ids import GangId

Row = dict[str, Any]


def answer_row(answer: Plan | NoFit) -> Row:
    """Give a plan or a refusal; ``fits`` says which."""
    return plan_row(answer) if isinstance(answer, Plan) else refusal_row(answer)


def plan_row(plan: Plan) -> Row:
    """Give a plan, its costs in chip-seconds."""
    return {
        "fits": True,
        "slices": [slice_row(piece) for piece in plan.slices],
        "left_out": [{"role": role, "index": index} for role, index in plan.left_out],
        "cost": round(plan.cost, 3),
        "gap": None if plan.gap is None else round(plan.gap, 4),
        "reasons": list(plan.reasons),
    }


def slice_row(piece: PlannedSlice) -> Row:
    """Give the place of one slice."""
    return {
        "role": piece.role,
        "index": piece.index,
        "shape": text_of(piece.shape),
        "ground": str(piece.ground),
        "cubes": [str(cube) for cube in piece.cubes],
        "hosts": [host.name for host in piece.hosts],
        "stays": piece.stays,
        "price": {name: round(amount, 3) for name, amount in piece.price},
    }


def refusal_row(no: NoFit) -> Row:
    """Give a refusal: the cause that weighs most, chips by cause, what would help, and each part with its reason."""
    return {
        "fits": False,
        "cause": no.cause.value,
        "why": no.why,
        "chips": {cause.value: chips for cause, chips in no.chips.items()},
        "free_chips": no.free,
        "surely": no.surely,
        "helps": [change_row(change) for change in no.helps],
        "smallest": no.smallest,
        "rejected": [{"part": str(each.part), "why": each.why} for each in no.rejected],
    }


def change_row(change: Change) -> Row:
    """Give a change with its words."""
    row: Row = {"text": told(change)}
    match change:
        case Repair(hosts, links, switches):
            lost = [f"{ground.name}/{name}" for ground, name in switches]
            return row | {"repair": [host.name for host in hosts], "links": [str(link) for link in links], "switches": lost}
        case Open(hosts):
            return row | {"open": [host.name for host in hosts]}
        case Release(gangs):
            return row | {"release": [str(gang) for gang in gangs]}
        case Borrow(tenant, generation, chips):
            return row | {"borrow": {"tenant": tenant, "generation": generation, "chips": chips}}
        case _:
            assert_never(change)


def fragmentation_row(figures: Fragmentation) -> Row:
    """Give the figures of one generation in one cluster."""
    return {
        "cluster": figures.cluster,
        "generation": figures.generation,
        "chips": figures.chips,
        "free_chips": figures.free,
        "largest": None if figures.largest is None else text_of(figures.largest),
        "alive": {text_of(shape): count for shape, count in figures.alive.items()},
        "unusable_share": round(figures.unusable, 4),
        "stranded_chips": {cause.value: chips for cause, chips in figures.stranded.items()},
    }


def choice_row(choice: Choice) -> Row:
    """Give the ways out for a gang that is hurt, the cheapest first, and those that are closed."""
    return {
        "gang": str(choice.gang),
        "harms": [fault.why for harm in choice.harms for fault in harm.faults],
        "ways": [
            {
                "way": each.way.value,
                "price": round(each.price, 3),
                "why": each.why,
                "at": each.at.isoformat(),
                "then": None if each.then is None else each.then.value,
                "slices": [slice_row(piece) for piece in each.slices],
                "left_out": [{"role": role, "index": index} for role, index in each.left_out],
                "victims": [str(gang) for gang in each.victims],
                "bill": [str(line) for line in each.bill.lines],
            }
            for each in choice.open
        ],
        "closed": [{"way": each.way.value, "why": each.why} for each in choice.closed],
    }


def displacement_row(answer: Displacement | NobodyGoes, gangs: Mapping[GangId, Gang]) -> Row:
    """Give whom it would take to displace, or why nobody goes. ``gangs``: as the fleet knows them."""
    if isinstance(answer, NobodyGoes):
        return {"victims": [], "cause": answer.cause.value, "why": answer.why}
    return {
        "victims": [
            {
                "gang": str(each.gang),
                "right": each.right.value,
                "price": round(each.price, 3),
                "moves": each.moved is not None,
                "managed_by": gangs[each.gang].managed_by.value,
            }
            for each in answer.victims
        ],
        "cost": round(answer.cost, 3),
        "gap": None if answer.gap is None else round(answer.gap, 4),
    }


def group_row(number: int, group: Group, gangs: Mapping[GangId, Running], *, floor: float) -> Row:
    """Give moves that belong together; ``worth``: chip-seconds that they bring for each that they cost, ``floor`` at least.

    ``gangs``: as they run before all moves. ``hosts`` of a move: all that the gang has after it, ``leaves``: those that it gives back.
    """
    return {
        "cluster": group.moves[0].gang.cluster,
        "group": number,
        "why": group.why,
        "gain": round(group.gain, 3),
        "cost": round(group.cost, 3),
        "worth": round(group.gain / group.cost, 3),
        "floor": floor,
        "moves": [_move_row(move, gangs[move.gang]) for move in group.moves],
    }


def _move_row(move: Move, before: Running) -> Row:
    after = reseated(before, move.slices)
    return {
        "gang": str(move.gang),
        "cost": round(move.bill.total, 3),
        "slices": [slice_row(piece) for piece in move.slices],
        "roles": sorted({held.role for held in after.slices}),
        "hosts": sorted(host.name for host in after.hosts),
        "leaves": sorted(host.name for host in set(before.hosts) - set(after.hosts)),
    }


def consequences_row(found: Consequences) -> Row:
    """Give what would follow."""
    return {
        "hurt": [choice_row(choice) for choice in found.hurt],
        "waiting": [
            {"gang": str(each.gang), "now": answer_row(each.now), "then": answer_row(each.then)} for each in found.waiting
        ],
        "before": [fragmentation_row(each) for each in found.before],
        "after": [fragmentation_row(each) for each in found.after],
    }


def guarantee_row(kept: Kept) -> Row:
    """Give how one guarantee stands."""
    return {
        "tenant": kept.tenant,
        "generation": kept.generation,
        "shape": text_of(kept.shape),
        "cells": kept.cells,
        "owed": kept.owed,
        "short": kept.short,
        "surely_lost": kept.surely,
    }


def spares_row(spares: Spares) -> Row:
    """Give the spares of one block."""
    return {
        "block": str(spares.block),
        "used_cubes": spares.used,
        "spares": spares.kept,
        "lent": spares.lent,
        "wanted": spares.wanted,
        "odds": round(spares.odds, 6),
        "short": spares.short,
    }


def problem_row(problem: Problem) -> Row:
    """Give what contradicts itself or cannot be used, and what to do."""
    return {"name": problem.name, "about": problem.about, "why": problem.why, "what_to_do": problem.what_to_do}
