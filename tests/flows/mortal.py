"""A coordinator that dies where it is told to: at that instant it does nothing more, not even what a clean-up would do.

Every way from it to the world leads through one `Fate`: saves, calls of actions, writes to the cluster, requests to agents
and provider, pages. Once it is dead, whoever still asks waits for ever, until the test sweeps the tasks away.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sliceward.daemons.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime, timedelta

    from sliceward.daemons.mirrors import Mirror
    from sliceward.daemons.store.connect import Database
    from sliceward.playbooks.turn import Turn
    from sliceward.remediations.action import Action, Target, Verb
    from sliceward.remediations.kubernetes import KubernetesCluster
    from sliceward.remediations.outcome import Outcome
    from sliceward.remediations.page import Page
    from sliceward.remediations.ports import Kind, Object, Pager, Ports, Provider, Repair
    from sliceward.topology.ids import HostId


@dataclass
class Fate:
    """``strikes``: whether it dies at a moment, by the moment's name. ``passed``: the moments it lived to see, in order."""

    strikes: Callable[[str], bool] = lambda _moment: False
    passed: list[str] = field(default_factory=list)
    dead: asyncio.Event = field(default_factory=asyncio.Event)
    struck: str = ""

    async def at(self, *names: str) -> None:
        """Live through a moment, or die in it; it may have several names."""
        await self.living()
        self.passed += names
        struck = [name for name in names if self.strikes(name)]
        if struck:
            self.struck = "; ".join(struck)
            self.dead.set()
            await self.living()

    async def living(self) -> None:
        """Go on if alive; the dead wait for ever."""
        if self.dead.is_set():
            await asyncio.Event().wait()


class MortalStore(Store):
    """A store whose writer may die right before and right after each transaction: a moment with a name for each turn in it."""

    def __init__(self, opened: Database, fate: Fate) -> None:
        super().__init__(opened)
        self._fate = fate

    async def save(self, *turns: Turn, now: datetime, pagers: Sequence[str] = ()) -> tuple[int, ...]:
        names = [_name_of(turn) for turn in turns]
        await self._fate.at(*(f"before {name}" for name in names))
        numbers = await super().save(*turns, now=now, pagers=pagers)
        await self._fate.at(*(f"after {name}" for name in names))
        return numbers


def _name_of(turn: Turn) -> str:
    if turn.call is not None:
        return f"intent of {turn.call.step.name}"
    if turn.answered is not None and turn.run is not None:
        return f"answer of {turn.run.steps[int(turn.answered.operation.rpartition('.')[2])].name}"
    return f"save of {turn.incident.phase}"


@dataclass(eq=False)
class MortalAction:
    """An action whose caller may die right before and right after it."""

    real: Action
    fate: Fate
    name: str
    about: str
    irreversible: bool
    harm: bool
    inverse: str
    parameters: Mapping[str, str]
    verbs: tuple[Verb, ...]

    @classmethod
    def of(cls, real: Action, fate: Fate) -> MortalAction:
        return cls(real, fate, real.name, real.about, real.irreversible, real.harm, real.inverse, real.parameters, real.verbs)

    async def __call__(self, target: Target, ports: Ports) -> Outcome:
        await self.fate.at(f"before call of {self.name}")
        answer = await self.real(target, ports)
        await self.fate.at(f"after call of {self.name}")
        return answer


@dataclass(eq=False)
class MortalCluster:
    """The real adapter, whose user may die right before and right after each write takes effect."""

    real: KubernetesCluster
    fate: Fate
    name: str

    async def get(self, kind: Kind, name: str, namespace: str = "") -> Object | None:
        await self.fate.living()
        return await self.real.get(kind, name, namespace)

    async def list(self, kind: Kind, *, namespace: str = "", labels: str = "", fields: str = "") -> Sequence[Object]:
        await self.fate.living()
        return await self.real.list(kind, namespace=namespace, labels=labels, fields=fields)

    async def create(self, kind: Kind, body: Object, namespace: str = "") -> Object:
        name = body["metadata"]["name"]
        await self.fate.at(f"before create of {kind.plural}/{name}")
        found = await self.real.create(kind, body, namespace)
        await self.fate.at(f"after create of {kind.plural}/{name}")
        return found

    async def patch(self, kind: Kind, name: str, body: Object, namespace: str = "") -> Object:
        what = f"patch of {kind.plural}/{name} {_keys(body)}"
        await self.fate.at(f"before {what}")
        found = await self.real.patch(kind, name, body, namespace)
        await self.fate.at(f"after {what}")
        return found

    async def delete(self, kind: Kind, name: str, namespace: str = "", *, uid: str = "", grace: timedelta | None = None) -> bool:
        await self.fate.at(f"before delete of {kind.plural}/{name}")
        gone = await self.real.delete(kind, name, namespace, uid=uid, grace=grace)
        await self.fate.at(f"after delete of {kind.plural}/{name}")
        return gone

    def mirror(self, kind: Kind, *, fields: str = "", labels: str = "", needed: Callable[[Object], bool] | None = None) -> Mirror:
        return self.real.mirror(kind, fields=fields, labels=labels, needed=needed)


def _keys(body: Mapping[str, Any]) -> str:
    """Tell one write of the same object from another by what it sets and takes away."""
    spec, metadata = body.get("spec", {}), body.get("metadata", {})
    words = [*spec, *(part for part in ("labels", "annotations") if part in metadata)]
    if "suspend" in spec:
        words.append(str(spec["suspend"]))
    values = (metadata.get("labels") or {}) | (metadata.get("annotations") or {})
    return " ".join([*words, *(f"-{key}" for key, value in values.items() if value is None)])


@dataclass(eq=False)
class MortalProvider:
    """A provider whose user may die right before and right after asking for a repair."""

    real: Provider
    fate: Fate
    name: str = "mortal"

    async def request_repair(self, host: HostId, *, instance_id: str, behavior: str, text: str, operation_id: str) -> Repair:
        await self.fate.at(f"before request for {host.name}")
        found = await self.real.request_repair(
            host, instance_id=instance_id, behavior=behavior, text=text, operation_id=operation_id
        )
        await self.fate.at(f"after request for {host.name}")
        return found

    async def repair(self, repair_id: str) -> Repair | None:
        await self.fate.living()
        return await self.real.repair(repair_id)


@dataclass(eq=False)
class MortalPager:
    """A pager whose user may die right before and right after a page is out."""

    real: Pager
    fate: Fate
    name: str = "fake"

    async def send(self, page: Page) -> None:
        await self.fate.at(f"before page {page.event}")
        await self.real.send(page)
        await self.fate.at(f"after page {page.event}")
