"""What the learned pass knows, as named arrays and words, and how another watch takes it over: models by role, their history, and who is suspected.

A role is the one of today to which most of its members of then belong; a model of other features, or made in another way, is left behind.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from sliceward.detectors.passes import drift, learned, peers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from sliceward.detectors.passes.evidence import Evidence
    from sliceward.detectors.passes.layout import Index
    from sliceward.detectors.passes.watch import Watch

    Array = NDArray[Any]

LEARNED = "learned"
OF_MEMBERS = ("offset", "own", "seen", "short")
OF_ALL = ("scale", "length")
MOST_LOOKS = 1_000_000


class BadLessons(ValueError):
    """Lessons that no learned pass gives, and why."""


def lessons_of(watch: Watch) -> tuple[dict[str, Array], dict[str, dict[str, Any]]]:
    """Give what was learnt: arrays by path, and by kind of member what is said of them."""
    arrays: dict[str, Array] = {}
    words: dict[str, dict[str, Any]] = {}
    for kind, fleet in watch.models.items():
        evidence, path = watch.crowds[kind], f"{LEARNED}/{kind}"
        words[kind] = {
            "method": learned.METHOD, "features": list(learned.features_of(evidence)), "looks": fleet.looks,
            "models": {str(role): [one.began, one.ended, one.rows] for role, one in fleet.models.items()},
            "suspected": [[member, one.best, float(one.nats), one.quiet] for member, one in fleet.suspected.items()],
        }  # fmt: skip
        arrays[f"{path}/role"] = evidence.crowd.role
        for role, one in fleet.models.items():
            for name in ("middle", "spread", "components"):
                arrays[f"{path}/model/{role}/{name}"] = getattr(one, name)
        if fleet.history:
            times, chosen, rows = zip(*fleet.history, strict=True)
            arrays[f"{path}/history/times"] = np.array(times)
            arrays[f"{path}/history/sizes"] = np.array([len(one) for one in chosen], dtype=np.intp)
            arrays[f"{path}/history/members"], arrays[f"{path}/history/rows"] = np.concatenate(chosen), np.concatenate(rows)
        if fleet.base is not None and fleet.bank is not None:
            arrays |= {f"{path}/base/{name}": getattr(fleet.base, name) for name in (*OF_MEMBERS, *OF_ALL)}
            arrays |= {f"{path}/bank/nats": fleet.bank.nats, f"{path}/bank/moment": fleet.bank.moment}
            words[kind] |= {"ticks": [fleet.base.ticks, fleet.bank.ticks]}
    return arrays, words


def take_lessons(
    watch: Watch, arrays: Mapping[str, Array], words: Mapping[str, Mapping[str, Any]], members: Mapping[str, Index]
) -> None:
    """Let a new watch know what another one learnt. ``members``: by kind, for each the number that it had, -1 where it was not there.

    Raises:
        BadLessons, KeyError, TypeError: they are none.
    """
    for kind, said in words.items():
        evidence = watch.crowds.get(kind)
        if evidence is None or said["method"] != learned.METHOD or tuple(said["features"]) != learned.features_of(evidence):
            continue
        if not 0 <= said["looks"] <= MOST_LOOKS:
            raise BadLessons("looks that were not")
        mine = {
            path.removeprefix(f"{LEARNED}/{kind}/"): one for path, one in arrays.items() if path.startswith(f"{LEARNED}/{kind}/")
        }
        watch.models[kind] = _taken(evidence, mine, said, members[kind])


def _taken(evidence: Evidence, arrays: Mapping[str, Array], said: Mapping[str, Any], took: Index) -> learned.Fleet:
    was, features = arrays["role"], tuple(said["features"])
    if was.ndim != 1 or took.max(initial=-1) >= len(was):
        raise BadLessons("roles of others")
    there = np.flatnonzero(took >= 0)
    now = np.full(len(was), -1, dtype=np.intp)
    now[took[there]] = there
    fleet = learned.Fleet(looks=int(said["looks"]))
    for role, before in _same_roles(evidence.crowd.role, was, took):
        if str(before) in said["models"]:
            fleet.models[role] = _model(features, arrays, before, said["models"][str(before)])
    for at, chosen, rows in _history(arrays, len(was), len(features)):
        known = now[chosen] >= 0
        fleet.history.append((at, now[chosen][known], rows[known]))
    if fleet.models and "ticks" in said:
        fleet.base, fleet.bank = _measured(arrays, said["ticks"], len(took), (took, there))
    for member, best, nats, quiet in said["suspected"]:
        if not (0 <= member < len(was) and 0 <= best < len(drift.SHIFTS) and nats <= drift.CAP and 0 <= quiet <= learned.QUIET):
            raise BadLessons("a suspect that is none")
        if now[member] >= 0 and fleet.bank is not None and int(evidence.crowd.role[now[member]]) in fleet.models:
            fleet.suspected[int(now[member])] = learned.Suspected(int(best), float(nats), int(quiet))
    return fleet


def _same_roles(role: Index, was: Index, took: Index) -> Iterator[tuple[int, int]]:
    """Go through the roles that have most of their members from one role of then, which gave most of its own."""
    there = np.flatnonzero(took >= 0)
    pairs = Counter(zip(role[there].tolist(), was[took[there]].tolist(), strict=True))
    sizes, before = np.bincount(role), Counter(was.tolist())
    for (new, old), count in pairs.items():
        if 2 * count > sizes[new] and 2 * count > before[old]:
            yield new, old


def _model(features: tuple[str, ...], arrays: Mapping[str, Array], role: int, said: tuple[float, float, int]) -> learned.Model:
    middle, spread, axes = (arrays[f"model/{role}/{name}"].astype(np.float32) for name in ("middle", "spread", "components"))
    began, ended, rows = said
    size = len(features)
    if middle.shape != (size,) or spread.shape != (size,) or axes.ndim != 2 or axes.shape[1] != size or len(axes) > size:  # noqa: PLR2004 (axes by features)
        raise BadLessons("a model of other features")
    if not (spread > 0).all() or not 0 <= began <= ended or rows < 0:
        raise BadLessons("a model of nothing")
    return learned.Model(features, middle, spread, axes, float(began), float(ended), int(rows))


def _history(arrays: Mapping[str, Array], members: int, features: int) -> Iterator[tuple[float, Index, NDArray[np.float32]]]:
    if "history/times" not in arrays:
        return
    times, sizes, chosen, rows = (arrays[f"history/{name}"] for name in ("times", "sizes", "members", "rows"))
    fits = len(times) == len(sizes) <= learned.KEPT and (sizes >= 0).all() and rows.shape == (len(chosen), features)
    if not fits or int(sizes.sum()) != len(chosen) or (len(chosen) and not 0 <= chosen.min() <= chosen.max() < members):
        raise BadLessons("a history of others")
    ends = np.cumsum(sizes)
    for at, start, end in zip(times.tolist(), (ends - sizes).tolist(), ends.tolist(), strict=True):
        yield float(at), chosen[start:end].astype(np.intp), rows[start:end].astype(np.float32)


def _measured(
    arrays: Mapping[str, Array], ticks: tuple[int, int], size: int, members: tuple[Index, Index]
) -> tuple[peers.Baseline, drift.Bank]:
    took, there = members
    base, bank = peers.Baseline.new(1, size), drift.Bank.new(1, size)
    for name in (*OF_MEMBERS, *OF_ALL):
        new, old = getattr(base, name), arrays[f"base/{name}"]
        _put(new, old, None if name in OF_ALL else (took, there))
    _put(bank.moment, arrays["bank/moment"], None)
    if "bank/nats" in arrays:
        _put(bank.nats, arrays["bank/nats"], (took, there))
    base.ticks, bank.ticks = map(int, ticks)
    return base, bank


def _put(new: Array, old: Array, members: tuple[Index, Index] | None) -> None:
    wanted = new.shape if members is None else new.shape[:-1]
    if (old.shape if members is None else old.shape[:-1]) != wanted:
        raise BadLessons("arrays of another shape")
    if members is None:
        new[...] = old
    else:
        took, there = members
        new[..., there] = old[..., took[there]]
