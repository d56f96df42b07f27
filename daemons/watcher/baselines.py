"""Baselines on disk: what the statistical passes know, kept over a restart as plain arrays.

One file, written beside and renamed. Nothing in it is code (numpy arrays without pickle, names as JSON), and nothing is unpacked: what it says to
hold is no more than it has bytes. What is damaged, impossible, of another version or of another cluster is set aside, not read; then baselines are
learnt anew.
"""

from __future__ import annotations

import json
import math
import os
import zipfile
import zlib
from dataclasses import fields
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from sliceward.detectors.passes.keeping import Kept, Names, Unsound
from sliceward.detectors.passes.sound import check

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

NAME, VERSION = "baselines.npz", 2
ABOUT, NAMES = "about", "names/"
MOST_BYTES = 4 << 30
"""A larger file is none of ours."""
MOST_ARRAYS = 4096
AHEAD = 300.0
"""Seconds by which a file may be of the future: our clock was set."""


class BadBaselines(ValueError):
    """A file that cannot be used, and why."""


def save(folder: Path, cluster: str, kept: Kept, now: float) -> None:
    """Write what is kept. Raises `OSError`."""
    names = {one.name: getattr(kept.names, one.name) for one in fields(Names)}
    about = {
        "version": VERSION, "cluster": cluster, "at": now, "numbers": dict(kept.numbers), "signals": kept.signals,
        "accused": kept.accused, "lessons": kept.lessons, "names": {name: value for name, value in names.items() if not isinstance(value, np.ndarray)},
    }  # fmt: skip
    arrays: dict[str, NDArray[Any]] = {f"{NAMES}{name}": value for name, value in names.items() if isinstance(value, np.ndarray)}
    arrays[ABOUT] = np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f".{NAME}.new"
    with beside.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays, **kept.arrays)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(folder / NAME)


def load(folder: Path, cluster: str, *, now: float, oldest: float) -> Kept | None:
    """Give what was kept at most ``oldest`` seconds ago; None where nothing was.

    Raises:
        BadBaselines: there is a file, and it cannot be used.
        OSError: it cannot be read.
    """
    path = folder / NAME
    if not path.exists():
        return None
    if path.stat().st_size > MOST_BYTES:
        raise BadBaselines("it is too large to be ours")
    try:
        with path.open("rb") as raw:
            _check_sizes(raw)
            raw.seek(0)
            with np.load(raw, allow_pickle=False) as file:
                found = {name: file[name] for name in file.files}
        about = json.loads(found.pop(ABOUT).tobytes())
        return _kept(found, about, cluster, (now - oldest, now + AHEAD))
    except _WRONG as error:
        if isinstance(error, BadBaselines):
            raise
        raise BadBaselines(str(error) if isinstance(error, Unsound) else f"{type(error).__name__}: {str(error)[:160]}") from error


_WRONG = (
    zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, RecursionError,
    NotImplementedError, RuntimeError,
)  # fmt: skip
"""What reading a file that somebody else wrote may end in."""


def _check_sizes(raw: IO[bytes]) -> None:
    """Refuse a file that unpacks, or whose arrays say that they are larger than what they have: they would be made room for."""
    with zipfile.ZipFile(raw) as packed:
        inside = packed.infolist()
        if len(inside) > MOST_ARRAYS or any(one.compress_type != zipfile.ZIP_STORED for one in inside):
            raise BadBaselines("it is packed otherwise than we do")
        for one in inside:
            with packed.open(one) as member:
                version = np.lib.format.read_magic(member)
                if version != (1, 0):
                    raise BadBaselines(f"{one.filename[:80]} is of another format")
                shape, _, kind = np.lib.format.read_array_header_1_0(member)
                if kind.hasobject or math.prod(shape) * kind.itemsize != one.file_size - member.tell():
                    raise BadBaselines(f"{one.filename[:80]} does not hold what it says")


def set_aside(folder: Path) -> None:
    """Move a file that cannot be used out of the way, in place of the last such one. Raises `OSError`."""
    (folder / NAME).replace(folder / f"{NAME}.refused")


def _kept(found: dict[str, NDArray[Any]], about: dict[str, Any], cluster: str, between: tuple[float, float]) -> Kept | None:
    if about["version"] != VERSION:
        raise BadBaselines(f"it is of version {about['version']!s:.20}, not {VERSION}")
    if about["cluster"] != cluster:
        raise BadBaselines(f"it is of cluster {about['cluster']!s:.80}")
    if not about["at"] <= between[1]:
        raise BadBaselines("it is of the future")
    if about["at"] < between[0]:
        return None
    words = {str(name): tuple(map(str, texts)) for name, texts in about["names"].items()}
    whole = {
        one.name: found.pop(f"{NAMES}{one.name}").astype(np.intp, copy=False) for one in fields(Names) if one.name not in words
    }
    names = Names(
        words["hosts"], words["incarnations"], words["cubes"], words["domains"], words["slices"], words["switches"], words["roles"],
        whole["chip_host"], whole["chip_index"], whole["one"], whole["other"], whole["port"], whole["role"],
    )  # fmt: skip
    _check(names)
    numbers = {str(name): float(value) for name, value in about["numbers"].items()}
    if not {"tick", "at", "stricter"} <= numbers.keys() or not all(map(np.isfinite, numbers.values())):
        raise BadBaselines("its numbers are not all there")
    signals = {str(kind): tuple(map(str, told)) for kind, told in about["signals"].items()}
    wrong = next((name for name, value in found.items() if value.dtype.kind not in "fiub"), None)
    if wrong is not None:
        raise BadBaselines(f"{wrong[:80]} holds no numbers")
    kept = Kept(names, found, numbers, signals, tuple(about["accused"]), dict(about["lessons"]))
    check(kept)
    return kept


def _check(names: Names) -> None:
    """Refuse numbers that point to nobody."""
    chips = len(names.chip_host)
    ends = (names.one, names.other, names.port)
    bounds = ((names.chip_host, len(names.hosts)), (names.role, len(names.roles)), (names.one, chips), (names.other, chips))
    if len(names.hosts) != len(names.incarnations) or len({len(one) for one in ends}) > 1:
        raise BadBaselines("its columns are of different lengths")
    if len(names.chip_index) != chips or len(names.role) not in {0, chips}:
        raise BadBaselines("its chips are of different numbers")
    if any(len(one) and (one.min() < 0 or one.max() >= limit) for one, limit in bounds):
        raise BadBaselines("it names parts that are not in it")
    if any(one.ndim != 1 or (len(one) and not 0 <= one.min() <= one.max() < 64) for one in (names.chip_index, names.port)):  # noqa: PLR2004 (as many chips as a host can have)
        raise BadBaselines("its chips or ports have impossible numbers")
