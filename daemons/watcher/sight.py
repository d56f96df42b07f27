"""What one comparison with peers may look at: the panel and the fleet as they are, for a thread that reads while frames come in.

Made on the loop and cheap there: nothing is copied but who has which place. The rows that are complete change no more, but for a late frame; hosts
that come or go meanwhile are noticed by ``moved``.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sliceward.detectors.passes.fleet import Seen
from sliceward.detectors.passes.keeping import BY_OTHERS
from sliceward.topology.ids import HostId

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sliceward.detectors.finding import Finding
    from sliceward.detectors.panel import Known, Panel
    from sliceward.detectors.ring import Ring
    from sliceward.topology.fleet import Fleet


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """One look. ``previous``: every finding as it stands; ``grace``: seconds of silence that are nothing yet; ``telling``: whether findings are told by now."""

    panel: Panel
    fleet: Fleet
    previous: Sequence[Finding]
    grace: float
    telling: bool
    now: float
    attended: float
    slots: Mapping[str, int]
    hosts: Sequence[Known | None]
    ring: Ring

    @classmethod
    def of(cls, panel: Panel, fleet: Fleet, previous: Sequence[Finding], *, grace: float, telling: bool) -> Sight:
        """Look now."""
        ring = copy(panel.ring)
        ring.columns = dict(ring.columns)
        return cls(
            panel, fleet, previous, grace, telling, panel.now, panel.attended, dict(panel.slots), tuple(panel.hosts), ring
        )  # fmt: skip

    @property
    def moved(self) -> bool:
        """Whether a host came or went since: its place in the panel may be another's by now."""
        return self.panel.slots != self.slots

    def seen(self) -> tuple[Seen, ...]:
        """Give the hosts by their places."""
        return tuple(Seen(one.name, slot, one.chips) for slot, one in enumerate(self.hosts) if one is not None)

    def silent(self, host: str) -> bool:
        """Whether a host has been silent beyond grace."""
        slot = self.slots.get(host)
        known = None if slot is None else self.hosts[slot]
        return known is not None and self.attended - known.silent_since > self.grace

    def incarnations(self) -> dict[str, str]:
        """Give what each host is; "" where nobody tells, or several speak for it by turns."""
        return {one.name: self._incarnation(one) for one in self.hosts if one is not None}

    def _incarnation(self, known: Known) -> str:
        if known.speaker is not None:
            told = known.instance_id or known.boot_id
            return f"{known.instance_id}|{known.boot_id}" if told and not known.twins(self.now) else ""
        shown = self.fleet.hosts.get(HostId(self.panel.cluster, known.name))
        if shown is None or not known.scraped or not (shown.instance_id or shown.boot_id):
            return ""
        return f"{shown.instance_id}|{shown.boot_id}{BY_OTHERS}"

    def machine(self, host: HostId) -> tuple[str, str]:
        """Give instance and boot of a host, by whoever tells."""
        slot, shown = self.slots.get(host.name), self.fleet.hosts.get(host)
        known = None if slot is None else self.hosts[slot]
        instance = (known.instance_id if known else "") or (shown.instance_id if shown else "")
        return instance, (known.boot_id if known else "") or (shown.boot_id if shown else "")
