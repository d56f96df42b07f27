"""Turns saved together; where that can never be, those of each incident by themselves, so that one that no store takes stops no other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from sliceward.topology.errors import Refused, Retry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Container, Mapping, Sequence

    from sliceward.playbooks.turn import Turn

log = structlog.get_logger(__name__)


def named(turn: Turn, known: Container[str]) -> str:
    """Give the name under which a turn is set aside: a new incident has another id in each round, its root has not."""
    return turn.incident.id if turn.incident.id in known else f"finding {turn.incident.root.id}"


async def saved(by_name: Mapping[str, Sequence[Turn]], save: Callable[..., Awaitable[None]]) -> dict[str, str]:
    """Save turns, some for each name, and give those that cannot be, name -> why. Raises `Retry` and `Refused`: those tell of the store.

    An incident that was folded into one that cannot be saved stays open: its findings would be told nowhere.
    """
    try:
        if by_name:
            await save(*(turn for turns in by_name.values() for turn in turns))
    except (Retry, Refused):
        raise
    except Exception as error:  # noqa: BLE001 (whose fault it is comes out below, by name)
        log.warning("turns cannot be saved together", incidents=len(by_name), why=f"{type(error).__name__}: {error}")
    else:
        return {}
    bad: dict[str, str] = {}
    lost: set[str] = set()
    for name, turns in sorted(by_name.items(), key=lambda item: not item[1][-1].incident.open):
        incident = turns[-1].incident
        try:
            if incident.folded_into in lost:
                raise ValueError(f"it is told in {incident.folded_into}, which cannot be saved")  # noqa: TRY301 (one way out)
            await save(*turns)
        except (Retry, Refused):
            raise
        except Exception as error:  # noqa: BLE001 (one that no store takes stops no other)
            bad[name] = f"{type(error).__name__}: {error}"
            log.warning("turns set aside", incident=incident.id, name=name, why=bad[name])
            lost.add(incident.id)
    return bad
