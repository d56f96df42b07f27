"""A fleet that a file describes, for questions that need no coordinator."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sliceward.scheduling.beside import Beside
from sliceward.scheduling.questions import explain_gang
from sliceward.scheduling.quota import Quota
from sliceward.scheduling.scene import Scene
from sliceward.topology import yaml_text
from sliceward.topology.errors import Misconfigured
from sliceward.topology.plan import fleet_from_yaml

if TYPE_CHECKING:
    from collections.abc import Callable


def fleet_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add ``--fleet FILE`` and ``--quota FILE``."""
    quota = click.option(
        "--quota", type=click.Path(path_type=Path), metavar="FILE", help="With --fleet: quota, as the coordinator's."
    )
    file = click.option(
        "--fleet",
        "file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Ask about the fleet of this file, of no coordinator.",
    )
    return file(quota(command))


def scene_of(file: Path, quota: Path | None) -> Scene:
    """Read a fleet file, and the quota beside it.

    Raises:
        Misconfigured: a file cannot be read, or says what cannot be.
    """
    now = datetime.now(UTC)
    fleet = fleet_from_yaml(_text(file), now, where=str(file))
    limits = Quota() if quota is None else Quota.from_mapping(yaml_text.read(_text(quota), str(quota)).value, where=str(quota))
    return Scene(fleet, now, Beside(quota=limits))


def told_of(file: Path, quota: Path | None, gang: str) -> dict[str, Any]:
    """Say how a gang of a fleet file stands. Raises as `scene_of`, and where there is no such gang."""
    return explain_gang(scene_of(file, quota), gang)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise Misconfigured(str(file), error.strerror or "cannot be read", "Name a file that can be read") from error
    except UnicodeDecodeError as error:
        raise Misconfigured(str(file), "holds no text", "Name a YAML file in UTF-8") from error
