"""How long things take in the emulated cluster, as measured on a real one, and all of it faster on demand."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Times:
    """Durations of the clockwork: Kubernetes 1.36 and JobSet 0.12 on loopback, quiet machine.

    ``pod_ends`` is T, the time a pod takes to end after its deletion; a pod's annotation ``pod-end/delay`` (seconds, such as
    ``2s``) overrides it, and its grace period bounds it.
    """

    pod_starts: timedelta = timedelta(seconds=0.6)
    pod_ends: timedelta = timedelta(seconds=2)
    heartbeat: timedelta = timedelta(seconds=10)
    node_grace: timedelta = timedelta(seconds=41)
    job_batch: timedelta = timedelta(seconds=1)
    job_back_off: timedelta = timedelta(seconds=10)
    pod_collection: timedelta = timedelta(seconds=60)
    retry: timedelta = timedelta(seconds=1)
    toleration_scale: float = 1.0

    def faster(self, factor: float) -> Times:
        """Divide every duration, ``tolerationSeconds`` of pods included."""
        scaled = {field.name: getattr(self, field.name) / factor for field in fields(self)}
        return Times(**scaled)


MEASURED = Times()
