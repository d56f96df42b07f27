"""The truth about one simulated host. Faults and training gangs change it; the doors only show it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sliceward.topology.generations import Generation

BUSY_PERCENT = 93.0
UNUSABLE = 10  # link score at which libtpu calls a link unusable
_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that holds devices. ``pod_uid`` "" is a process outside of any pod."""

    pid: int
    command: str
    pod_uid: str = ""


@dataclass(slots=True)
class RunningJob:
    """The member of a training gang on this host. ``gang`` is ``namespace/Kind/name``.

    ``coordinates``: place of each chip in the slice. ``began``: unix seconds. ``slices``: how many the gang has; those of
    more than one talk over the data centre's network, by Megascale.
    """

    gang: str
    role: str
    slice_index: int
    rank: int
    pod_uid: str
    pid: int
    began: float
    coordinates: tuple[tuple[int, ...], ...] = ()
    step: int | None = None
    stepped: float = math.nan
    steps: int = 0
    slices: int = 1

    @property
    def holder(self) -> Holder:
        """The process of this job as a holder of devices."""
        return Holder(self.pid, "python3", self.pod_uid)


@dataclass(slots=True)
class HostState:
    """Everything that the doors of one host show.

    ``links``: (chip, port) -> score, absent is healthy. ``throttle``: chip -> score. ``missing``: chips without device file.
    ``foreign``: chip -> process that holds it beside or instead of the job. ``stuck``: the job stands in a collective.
    """

    node: str
    generation: Generation
    chips: int
    instance_id: str
    boot_id: str
    index: int | None = None
    job: RunningJob | None = None
    links: dict[tuple[int, int], int] = field(default_factory=dict)
    throttle: dict[int, int] = field(default_factory=dict)
    missing: set[int] = field(default_factory=set)
    foreign: dict[int, Holder] = field(default_factory=dict)
    aer_correctable: dict[int, int] = field(default_factory=dict)
    slice_error: str = ""
    is_dead: bool = False
    is_stuck: bool = False

    @property
    def can_step(self) -> bool:
        """Whether a gang with a member here can end a step: no dead link, no lost chip, not dead, not stuck."""
        return not (self.is_dead or self.is_stuck or self.missing or any(score >= UNUSABLE for score in self.links.values()))

    def duty_cycle(self, chip: int) -> float:
        """Give how busy a chip is, in percent: a throttled one is busier for the same work."""
        if self.job is None or self.job.step is None or chip in self.missing:
            return 0.0
        return 100.0 if self.is_stuck else min(100.0, BUSY_PERCENT + self.throttle.get(chip, 0) * 0.6)

    def hbm_bytes(self, chip: int) -> tuple[int, int]:
        """Give used and total HBM of a chip."""
        total = self.generation.hbm_gib * _GIB
        return (total * 7 // 10 if self.job is not None and chip not in self.missing else 0, total)
