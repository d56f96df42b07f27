"""The alert desk: takes in what webhooks deliver, stores it before it says yes, and tells which findings follow."""

from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sliceward.daemons import store as stores
from sliceward.daemons.coordinator.alerts import Alert, AlertMap, Unmapped, aged, mapped
from sliceward.daemons.coordinator.presence import cluster_of
from sliceward.daemons.turns import in_turns
from sliceward.detectors.finding import Finding, State
from sliceward.topology.ids import ChipId, HostId

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sliceward.daemons.coordinator.alerts import Payload
    from sliceward.daemons.loops import Loop

SHOW_RESOLVED = timedelta(days=1)
LOOK_AGAIN = timedelta(minutes=1)
"""The present is read again after it at the latest, whatever came or did not."""
AT_ONCE = 500
"""Alerts that are noted in one statement: databases take some 32,000 arguments at most."""
MOST_NAME = 255
"""Characters of a cluster's name that the inbox has room for; a label may hold anything."""

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(eq=False)
class Desk:
    """Alerts of all receivers. ``woken`` is called when findings may have changed. ``counts``: alerts by what became of them.

    ``machine`` tells the instance id of a host as the fleet has it now, "" where it has none.
    """

    store: stores.Store
    rules: AlertMap
    clock: Callable[[], datetime]
    loop: Loop
    stale_after: timedelta
    woken: Callable[[], None] = lambda: None
    machine: Callable[[HostId], str] = lambda _host: ""
    counts: Counter[str] = field(default_factory=Counter)
    _present: dict[str, list[tuple[Alert, Finding]]] = field(default_factory=dict)
    _reread: bool = False
    _news: int = 0
    _read: int = -1
    _looked: datetime = _NEVER
    _again: datetime = _NEVER

    async def take(self, payload: Payload) -> stores.Put:
        """Store the alerts of one post; on disk when this returns.

        Raises:
            Retry: the store is away.
            Unstorable: it can keep nothing of one of them; the others may be kept already.
        """
        try:
            put = await self._put([self._stored(alert) async for alert in in_turns(payload.alerts)])
        finally:
            self._news += 1  # also where some were kept, or nobody knows
        self.counts.update(accepted=put.accepted, duplicate=put.duplicate, truncated=payload.truncated)
        self.woken()
        return put

    async def _put(self, alerts: Sequence[stores.Alert]) -> stores.Put:
        """Store alerts; of one that can never be kept as it is, keep that it came and why it says nothing.

        A refusal would cost its whole group: the sender drops it after a 4xx, and sends it for ever after a 5xx.
        """
        try:
            return await self.store.inbox.put(alerts, now=self.clock())
        except stores.Unstorable as error:
            if len(alerts) == 1:
                self.counts["unstorable"] += 1
                said = {"labels": {}, "annotations": {"summary": f"not kept: {error}"}}
                return await self.store.inbox.put([replace(alerts[0], body=said, cluster="")], now=self.clock())
        half = len(alerts) // 2
        first, second = await self._put(alerts[:half]), await self._put(alerts[half:])
        return stores.Put(first.accepted + second.accepted, first.duplicate + second.duplicate)

    async def round(self) -> None:
        """Read the inbox: note what becomes of each new alert, and which findings are present. Raises `Retry`.

        The present is read where something came, where one that was resolved is shown for long enough, and once in a while.
        """
        if not self._reread:
            await self._read_again()
            self._reread = True
        news, now = self._news, self.clock()
        came = await self._take_new()
        if came:
            self._read = -1  # until it was read, whatever comes in between
        if news != self._read or not self._looked <= now < self._again:
            await self._read_present(now)
            self._read, self._looked = news, now
        self.loop.beat()

    async def _take_new(self) -> bool:
        """Note what becomes of each alert that nobody processed; gives whether there was any."""
        came = False
        while True:
            fresh, aside = await self.store.inbox.take()
            by_reason: dict[str, list[int]] = defaultdict(list)
            async for received in in_turns(fresh):
                why = self._why(read(received))
                self.counts["unmapped" if why else "mapped"] += 1
                by_reason[why].append(received.seq)
            for name, why in aside.items():
                self.counts["set-aside"] += 1
                self.loop.set_aside[name] = why
                by_reason[f"set aside: {why}"].append(int(name.removeprefix("alert ")))
            for why, numbers in by_reason.items():
                await self.store.inbox.done(numbers, now=self.clock(), why=why)
            if not fresh and not aside:
                return came
            came = True

    async def _read_again(self) -> None:
        """Find alerts that fire, from which nothing followed, and which a rule knows now. What stays as it was is not touched."""
        async with aclosing(self.store.inbox.idle()) as idle:
            known = [received.seq async for received in idle if not self._why(read(received))]
        for begin in range(0, len(known), AT_ONCE):
            await self.store.inbox.done(known[begin : begin + AT_ONCE], now=self.clock())

    async def _read_present(self, now: datetime) -> None:
        """Read which findings are present, and when time alone will make them others."""
        self._again = now + LOOK_AGAIN
        found: dict[str, list[tuple[Alert, Finding]]] = defaultdict(list)
        async with aclosing(self.store.inbox.present(since=now - SHOW_RESOLVED)) as present:
            async for received in present:
                alert = read(received)
                finding = mapped(alert, self.rules)
                if isinstance(finding, Finding):
                    found[cluster_of(finding.part)].append((alert, finding))
                if alert.status is State.RESOLVED:
                    self._again = min(self._again, alert.received + SHOW_RESOLVED)
        self._present = dict(found)

    def findings(self, cluster: str) -> dict[str, Finding]:
        """Give the present findings from alerts; one that was not sent again for long is unknown. Firing wins over others."""
        now, found = self.clock(), dict[str, Finding]()
        for alert, finding in self._present.get(cluster, ()):
            stale = finding.state is State.FIRING and now - alert.received > self.stale_after
            told = aged(finding) if stale else finding
            before = found.get(told.id)
            if before is None or _ORDER[told.state] > _ORDER[before.state]:
                found[told.id] = told
        return found

    def meaning(self, row: Mapping[str, Any]) -> Finding | Unmapped:
        """Give what a row of the inbox (as the history shows it) means."""
        body = row["body"]
        status, received = State(row["status"]), datetime.fromisoformat(row["received"])
        starts = datetime.fromisoformat(row["starts_at"])
        ends = None if row["ends_at"] is None else datetime.fromisoformat(row["ends_at"])
        labels, notes = body.get("labels", {}), body.get("annotations", {})
        known = row["receiver"], row["fingerprint"], status, starts, ends, labels, notes, received, body.get("machine", "")
        return mapped(Alert(*known), self.rules)

    def _stored(self, alert: Alert) -> stores.Alert:
        finding, machine = mapped(alert, self.rules), ""
        if isinstance(finding, Finding) and isinstance(finding.part, HostId | ChipId):
            # The machine of now: whoever stands under this name when the alert is acted upon may be another.
            machine = self.machine(finding.part if isinstance(finding.part, HostId) else finding.part.host_id)
        return stores.Alert(
            receiver=alert.receiver,
            fingerprint=alert.fingerprint,
            status=alert.status.value,
            starts_at=alert.starts,
            ends_at=alert.ends,
            body={"labels": dict(alert.labels), "annotations": dict(alert.annotations), "machine": machine},
            cluster=cluster_of(finding.part) if isinstance(finding, Finding) else alert.labels.get("cluster", "")[:MOST_NAME],
        )

    def _why(self, alert: Alert) -> str:
        finding = mapped(alert, self.rules)
        return finding.why if isinstance(finding, Unmapped) else ""


_ORDER = {State.RESOLVED: 0, State.UNKNOWN: 1, State.FIRING: 2}


def read(received: stores.Received) -> Alert:
    """Give an alert of the inbox as a value of ours."""
    alert = received.alert
    return Alert(
        receiver=alert.receiver,
        fingerprint=alert.fingerprint,
        status=State(alert.status),
        starts=alert.starts_at,
        ends=alert.ends_at,
        labels=dict(alert.body.get("labels", {})),
        annotations=dict(alert.body.get("annotations", {})),
        received=received.at,
        machine=alert.body.get("machine", ""),
    )
