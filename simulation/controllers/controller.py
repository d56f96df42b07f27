"""The loop that all controllers share: level-triggered passes over mirrors, woken by changes and by their own clocks."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import aiohttp

from sliceward.simulation.controllers.client import Client, Mirror, Refusal, Resource

if TYPE_CHECKING:
    from datetime import timedelta

    from sliceward.simulation.controllers.client import Json
    from sliceward.simulation.controllers.times import Times

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class World:
    """What controllers see and do it with. A mirror exists for each kind that one of them asked for."""

    client: Client
    times: Times
    mirrors: dict[str, Mirror] = field(default_factory=dict)
    wakers: list[asyncio.Event] = field(default_factory=list)

    def mirror(self, resource: Resource) -> Mirror:
        """Give the mirror of a kind, which all controllers share."""
        if resource.plural not in self.mirrors:
            self.mirrors[resource.plural] = Mirror(self.client, resource, self.wake)
        return self.mirrors[resource.plural]

    def wake(self) -> None:
        """Tell all controllers that something changed."""
        for waker in self.wakers:
            waker.set()


class Controller(Protocol):
    """One controller. ``world`` is shared; a pass compares what is with what should be and does the difference."""

    world: World

    async def act(self) -> float | None:
        """Make one pass; give the seconds until the next is due though nothing changes, or None."""
        ...


async def keep_acting(controller: Controller, *, rest: timedelta) -> None:
    """Make passes for ever, ``rest`` apart at least; a refused or broken call is tried again in the next."""
    world = controller.world
    waker = asyncio.Event()
    world.wakers.append(waker)
    waker.set()
    due: float | None = None
    while True:
        try:
            async with asyncio.timeout(due):
                await waker.wait()
        except TimeoutError:
            pass
        waker.clear()
        try:
            due = await controller.act()
        except (Refusal, aiohttp.ClientError, TimeoutError) as error:
            _log.debug("%s tries again: %s", type(controller).__name__, error)
            due = world.times.retry.total_seconds() / 4
        await asyncio.sleep(rest.total_seconds())


def stamp() -> str:
    """Tell the time as Kubernetes prints it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def condition(obj: Json, name: str) -> Json:
    """Give a condition of an object, empty where it has none of that type."""
    return next((of for of in obj.get("status", {}).get("conditions", ()) if of["type"] == name), {})


def is_true(obj: Json, name: str) -> bool:
    """Whether a condition holds."""
    return bool(condition(obj, name).get("status") == "True")


def with_condition(conditions: list[Json], name: str, status: str, reason: str, message: str = "") -> list[Json]:
    """Set a condition in a list of them; its time changes with its status only."""
    was = next((of for of in conditions if of["type"] == name), {})
    moment = was["lastTransitionTime"] if was.get("status") == status and "lastTransitionTime" in was else stamp()
    new = {"type": name, "status": status, "reason": reason, "message": message, "lastTransitionTime": moment}
    if not was:
        return [*conditions, new]
    return [was | new if of["type"] == name else of for of in conditions]


def has_ended(pod: Json) -> bool:
    """Whether a pod will never run again."""
    return pod.get("status", {}).get("phase") in {"Failed", "Succeeded"}


def is_leaving(obj: Json) -> bool:
    """Whether an object is being deleted."""
    return "deletionTimestamp" in obj["metadata"]


def is_owned(obj: Json, owner: Json) -> bool:
    """Whether an object's controlling owner is this very one."""
    return any(of["uid"] == owner["metadata"]["uid"] for of in obj["metadata"].get("ownerReferences", ()) if of.get("controller"))
