"""Alerts in, pages out and silences of the store in memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sliceward.daemons.store import Delivery, Put, Received
from sliceward.daemons.store.inbox import FIRES_ANEW, dedup_key
from sliceward.daemons.store.values import Waiting

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence
    from datetime import datetime

    from sliceward.daemons.store import Alert
    from sliceward.playbooks.silences import Silence
    from sliceward.scheduling.rights import Displaced
    from tests.virtual.store import MemoryStore

Row = dict[str, Any]


class MemoryOutbox:
    """Pages on their way out."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def due(self, now: datetime, *, limit: int = 100) -> tuple[tuple[Delivery, ...], Mapping[str, str]]:
        def due() -> tuple[tuple[Delivery, ...], Mapping[str, str]]:
            found: list[Delivery] = []
            seen: set[tuple[str, str]] = set()
            given = Counter[str]()
            for row in self._store.records.outbox.values():
                one: Delivery = row["delivery"]
                if one.state != "pending" or (one.incident, one.pager) in seen:
                    continue
                seen.add((one.incident, one.pager))
                if one.next_try <= now and given[one.pager] < limit:
                    given[one.pager] += 1
                    found.append(one)
            return tuple(found), {}

        return await self._store.do(due)

    async def waiting(self) -> Mapping[str, Waiting]:
        def waiting() -> Mapping[str, Waiting]:
            found: dict[str, Waiting] = {}
            for row in self._store.records.outbox.values():
                one = row["delivery"]
                if one.state == "pending":
                    known = found.get(one.pager, Waiting(0, row["made"]))
                    found[one.pager] = Waiting(known.count + 1, min(known.oldest, row["made"]))
            return found

        return await self._store.do(waiting)

    async def sent(self, delivery: str, *, now: datetime) -> None:
        await self._mark(delivery, state="sent", why="", sent=now)

    async def again(self, delivery: str, *, at: datetime, why: str) -> None:
        await self._mark(delivery, state="pending", why=why, at=at)

    async def held(self, deliveries: Sequence[str], *, why: str) -> None:
        def hold() -> None:
            for name in deliveries:
                row = self._store.records.outbox.get(name)
                if row is not None and row["delivery"].state == "pending":
                    row["delivery"] = replace(row["delivery"], why=why)

        await self._store.do(hold, fenced=True)

    async def failed(self, delivery: str, *, why: str) -> None:
        await self._mark(delivery, state="failed", why=why)

    async def _mark(self, name: str, *, state: str, why: str, at: datetime | None = None, sent: datetime | None = None) -> None:
        def mark() -> None:
            row = self._store.records.outbox.get(name)
            if row is not None:
                one: Delivery = row["delivery"]
                row["delivery"] = replace(one, state=state, why=why, attempts=one.attempts + 1, next_try=at or one.next_try)
                row["sent"] = sent

        await self._store.do(mark, fenced=True)


class MemoryInbox:
    """Alerts that came in."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    @property
    def _rows(self) -> list[Row]:
        return self._store.records.inbox

    async def put(self, alerts: Sequence[Alert], *, now: datetime) -> Put:
        def put() -> Put:
            known, before = {row["dedup"]: row for row in self._rows}, len(self._rows)
            for alert in alerts:
                key = dedup_key(alert)
                if key in known and alert.status == "firing":
                    last = self._last_words()[alert.receiver, alert.fingerprint]
                    if last["alert"].status == "firing":
                        last["received"] = max(now, last["received"])
                    elif last["alert"].starts_at == alert.starts_at and now - last["received"] >= FIRES_ANEW:
                        key = dedup_key(alert, after=last["seq"])
                if key not in known:
                    self._store.records.alerts += 1
                    known[key] = {"seq": self._store.records.alerts, "dedup": key, "alert": alert, "processed": None, "why": ""}
                    known[key]["received"] = now
                    self._rows.append(known[key])
            new = len(self._rows) - before
            return Put(new, len(alerts) - new)

        return await self._store.do(put)

    async def take(self, limit: int = 500) -> tuple[tuple[Received, ...], Mapping[str, str]]:
        def take() -> tuple[tuple[Received, ...], Mapping[str, str]]:
            fresh = [row for row in self._rows if row["processed"] is None]
            return tuple(map(_received, fresh[:limit])), {}

        return await self._store.do(take)

    async def done(self, numbers: Sequence[int], *, now: datetime, why: str = "") -> None:
        def done() -> None:
            for row in self._rows:
                if row["seq"] in numbers:
                    row.update(processed=now, why=why)

        await self._store.do(done, fenced=True)

    async def present(self, *, since: datetime) -> AsyncGenerator[Received]:
        def present() -> list[Received]:
            last = [row for row in self._last_words().values() if not row["why"]]
            shown = [row for row in last if row["alert"].status == "firing" or row["received"] >= since]
            return [_received(row) for row in sorted(shown, key=lambda row: int(row["seq"]))]

        for received in await self._store.do(present):
            yield received

    async def idle(self) -> AsyncGenerator[Received]:
        def idle() -> list[Received]:
            last = [row for row in self._last_words().values() if row["why"] and row["processed"] is not None]
            firing = [row for row in last if row["alert"].status == "firing"]
            return [_received(row) for row in sorted(firing, key=lambda row: int(row["seq"]))]

        for received in await self._store.do(idle):
            yield received

    def forget(self, edge: datetime) -> None:
        kept = [row["seq"] for row in self._last_words().values() if row["alert"].status == "firing" and not row["why"]]
        self._store.records.inbox = [row for row in self._rows if not _is_old(row, edge) or row["seq"] in kept]

    def _last_words(self) -> dict[tuple[str, str], Row]:
        return {(row["alert"].receiver, row["alert"].fingerprint): row for row in self._rows}


def _is_old(row: Row, edge: datetime) -> bool:
    return row["processed"] is not None and row["processed"] < edge and row["received"] < edge


def _received(row: Row) -> Received:
    return Received(row["seq"], row["received"], row["alert"])


class MemorySilences:
    """What people asked to be left alone."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def add(self, silence: Silence) -> None:
        await self._store.do(lambda: self._store.records.silences.__setitem__(silence.id, silence), fenced=True)

    async def end(self, silence: Silence) -> None:
        def end() -> None:
            known = self._store.records.silences.get(silence.id)
            if known is not None and known.ended is None:
                self._store.records.silences[silence.id] = silence

        await self._store.do(end, fenced=True)

    async def present(self, now: datetime) -> tuple[tuple[Silence, ...], Mapping[str, str]]:
        def present() -> tuple[tuple[Silence, ...], Mapping[str, str]]:
            return tuple(one for one in self._store.records.silences.values() if one.ended is None and one.ends > now), {}

        return await self._store.do(present)

    async def one(self, name: str) -> Silence | None:
        return await self._store.do(lambda: self._store.records.silences.get(name))


class MemoryDisplacements:
    """Which gang had to go for which."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def add(self, *those: Displaced) -> None:
        def add() -> None:
            for each in those:
                self._store.records.displacements.setdefault((each.gang, each.at), each)

        await self._store.do(add, fenced=True)
