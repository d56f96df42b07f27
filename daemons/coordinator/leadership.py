"""Who of several replicas acts: a Lease in the coordinator's own cluster, taken, renewed, given back.

The holder writes the Lease every ``renew_every`` and counts itself leader for ``give_up_after`` from the *sending* of its last
renewal that was answered. Another takes it once one version of it has stood unchanged for ``duration`` on the taker's own
clock, so wall clocks never matter. A process that was paused finds its time run out when it wakes, and calls nothing more;
what it had begun to write, the store refuses by its epoch.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from sliceward.remediations.ports import Kind
from sliceward.topology.errors import Conflict, Refused, Retry

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta

    from sliceward.daemons.loops import Loop
    from sliceward.remediations.ports import Cluster, Object

log = structlog.get_logger(__name__)

LEASE = Kind("coordination.k8s.io/v1", "leases")
ADDRESS = "sliceward.dev/address"
"""Annotation of the Lease: where the leader's API is reached."""
LOOK_EVERY, AGAIN = 1.0, 0.5
SOON = 0.02
"""Seconds past the end of a lease at which it is looked at: the end itself still belongs to its holder."""


@dataclass(frozen=True, slots=True)
class Candidacy:
    """Who stands for the lead, and for which Lease. ``address``: URL of this replica's API, "" where it has none."""

    name: str
    namespace: str
    holder: str
    address: str
    duration: timedelta
    renew_every: timedelta
    give_up_after: timedelta


@dataclass(frozen=True, slots=True)
class Seen:
    """One version of the Lease. ``at``: own monotonic seconds at which this version was first seen."""

    version: str
    holder: str
    address: str
    seconds: float
    transitions: int
    at: float


@dataclass(eq=False)
class Leadership:
    """One replica's candidacy. ``monotonic`` gives seconds; ``clock`` the wall time that the Lease shows to people."""

    cluster: Cluster
    of: Candidacy
    monotonic: Callable[[], float]
    clock: Callable[[], datetime]
    loop: Loop
    seen: Seen | None = None
    _renewed: float | None = field(default=None)

    @property
    def leads(self) -> bool:
        """Whether this replica holds the lead at this very moment."""
        return self._renewed is not None and self.monotonic() - self._renewed < self.of.give_up_after.total_seconds()

    @property
    def leader(self) -> str:
        """Who holds the Lease as it was last read; "" where nobody does, or it was never read."""
        return "" if self.seen is None else self.seen.holder

    @property
    def address(self) -> str:
        """Where the leader's API is; "" where that is not known."""
        return "" if self.seen is None else self.seen.address

    async def acquire(self) -> None:
        """Wait until this replica leads."""
        while True:
            if await self._tried():
                return
            await asyncio.sleep(self._pause())

    async def keep(self) -> None:
        """Renew until the lead is lost.

        Raises:
            Refused: it was; nothing more may be done in this role.
        """
        renewed = True
        while True:
            every = self.of.renew_every.total_seconds()
            await asyncio.sleep(every if renewed else min(AGAIN, every))
            renewed = await self._tried()
            if self.seen is not None and self.seen.holder != self.of.holder:
                raise Refused(f"{self.seen.holder or 'nobody'} holds the lease {self.of.name} now")
            if not self.leads:
                raise Refused(f"the lease {self.of.name} could not be renewed for {self.of.give_up_after}: {self.loop.error}")

    async def release(self) -> None:
        """Give the lead back, so that another takes it at once; one that cannot be given back runs out by itself."""
        leading, self._renewed = self._renewed is not None, None
        if not leading or self.seen is None or self.seen.holder != self.of.holder:
            return
        try:
            async with asyncio.timeout(self._patience):
                await self.cluster.patch(LEASE, self.of.name, self._body("", self.seen), self.of.namespace)
        except (Retry, Refused, TimeoutError) as error:
            log.warning("lease not given back", lease=self.of.name, why=str(error))

    # ── one round ─────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def _patience(self) -> float:
        """No call lasts longer than what is between two renewals and the giving up."""
        return max(0.1, (self.of.give_up_after - self.of.renew_every).total_seconds() / 2)

    async def _tried(self) -> bool:
        """Look at the Lease once, and take or renew it where that is allowed. Gives whether that succeeded."""
        try:
            async with asyncio.timeout(self._patience):
                won = await self._round()
        except Conflict:
            self.loop.beat()  # somebody wrote it in between: the next look tells who
            return False
        except TimeoutError:
            self.loop.retried(f"the API server did not answer about the lease within {self._patience:.1f} s")
            return False
        except (Retry, Refused) as error:
            self.loop.retried(str(error))
            return False
        self.loop.beat()
        return won

    async def _round(self) -> bool:
        began = self.monotonic()
        found = await self.cluster.get(LEASE, self.of.name, self.of.namespace)
        if found is None:
            found = await self.cluster.create(LEASE, self._body(self.of.holder, None), self.of.namespace)
            seen = self._note(found)
            # `create` gives what is there where somebody was faster.
            return self._won(began) if seen.holder == self.of.holder else False
        seen = self._note(found)
        if seen.holder != self.of.holder and not self._is_free(seen):
            return False
        self._note(await self.cluster.patch(LEASE, self.of.name, self._body(self.of.holder, seen), self.of.namespace))
        return self._won(began)

    def _won(self, began: float) -> bool:
        self._renewed = began
        return True

    def _is_free(self, seen: Seen) -> bool:
        return not seen.holder or self.monotonic() - seen.at > seen.seconds

    def _pause(self) -> float:
        """Seconds until the next look: at the end of another's lease, but often enough to see each renewal."""
        if self.seen is None or not self.seen.holder:
            return min(LOOK_EVERY, self.of.renew_every.total_seconds())
        left = self.seen.at + self.seen.seconds - self.monotonic() + SOON
        return min(LOOK_EVERY, max(SOON, left), self.of.renew_every.total_seconds())

    def _note(self, lease: Object) -> Seen:
        meta, spec = lease["metadata"], lease.get("spec") or {}
        version = str(meta.get("resourceVersion", ""))
        if self.seen is None or self.seen.version != version:
            stated = spec.get("leaseDurationSeconds")
            self.seen = Seen(
                version=version,
                holder=str(spec.get("holderIdentity") or ""),
                address=str((meta.get("annotations") or {}).get(ADDRESS, "")),
                # A holder that promised itself longer is believed.
                seconds=max(self.of.duration.total_seconds(), float(stated) if isinstance(stated, int) else 0.0),
                transitions=int(spec.get("leaseTransitions") or 0),
                at=self.monotonic(),
            )
        return self.seen

    def _body(self, holder: str, seen: Seen | None) -> Object:
        now = self.clock().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec: Object = {
            "holderIdentity": holder or None,
            "leaseDurationSeconds": max(1, round(self.of.duration.total_seconds())),
            "renewTime": now,
        }
        if seen is None or seen.holder != holder:
            spec |= {"acquireTime": now, "leaseTransitions": 0 if seen is None else seen.transitions + bool(holder)}
        meta: Object = {"name": self.of.name, "namespace": self.of.namespace}
        meta["annotations"] = {ADDRESS: (self.of.address if holder else "") or None} if seen else {ADDRESS: self.of.address}
        if seen is not None:
            meta["resourceVersion"] = seen.version
        return {"apiVersion": LEASE.api, "kind": "Lease", "metadata": meta, "spec": spec}
