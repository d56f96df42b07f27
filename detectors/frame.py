"""A frame: all readings of one host at one instant, as columns. Encoded by the agent, decoded by the watcher.

msgpack map with short keys; each column is raw little-endian bytes, float32 for gauges and float64 for counters
(`sliceward.detectors.metrics`). NaN is missing. An unknown metric or key of a newer agent is skipped; a missing one of
an older agent is missing. No numpy here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA = 1
MAX_FRAME_BYTES = 1 << 20
MAX_CHIPS = 64
MAX_PORTS = 8


@dataclass(frozen=True, slots=True)
class Frame:
    """Readings of one host.

    ``at``: unix seconds by the host's clock; ``period``: seconds between frames; ``seq``: +1 per frame within a boot of
    the agent (``agent_start`` unix seconds tells agents apart). ``index``: place of the host in its cube, None if unknown.
    ``columns``: metric name -> raw bytes, length = entities of its kind x item size: chip ``chips``, link ``chips * ports``,
    host 1. ``notes``: text that changed, and all of it at least once a minute (device holders, versions, slice errors,
    ``coordinates`` of the chips in the slice, ``gang`` of the reporter). ``full_notes``: notes hold everything.
    """

    cluster: str
    host: str
    instance_id: str
    boot_id: str
    index: int | None
    agent_start: float
    seq: int
    at: float
    period: float
    chips: int
    ports: int
    columns: Mapping[str, bytes]
    notes: Mapping[str, str] = field(default_factory=dict)
    full_notes: bool = False
    schema: int = SCHEMA


class BadFrame(ValueError):
    """A frame that cannot be used: where in it and why. Counted, logged once per host, and costs nothing else."""


def encode(frame: Frame) -> bytes:
    """Give the wire form."""
    raise NotImplementedError


def decode(payload: bytes) -> Frame:
    """Give the frame, with every length and range of the header checked against the catalogue.

    Raises:
        BadFrame: not msgpack, too large, wrong type, a column of the wrong length, names that are no names.
    """
    raise NotImplementedError
