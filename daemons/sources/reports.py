"""What in-job reporters say, checked: the door is a socket in every training pod, so nothing that comes in is trusted."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from sliceward.daemons.sources.pods import Seat
from sliceward.topology.errors import Misconfigured
from sliceward.topology.ids import GangId

Text = Annotated[str, Meta(max_length=253)]
LongText = Annotated[str, Meta(max_length=4000)]
RequestId = Annotated[str, Meta(max_length=512)]
"""An operation and the name of a host, which alone may have 253 characters."""
Step = Annotated[int, Meta(ge=0, le=1 << 53)]
Seconds = Annotated[float, Meta(ge=0, le=1e9)]
Score = Annotated[int, Meta(ge=0, le=10)]
Index = Annotated[int, Meta(ge=0, le=1 << 20)]
Place = Annotated[list[Annotated[int, Meta(ge=0, le=4096)]], Meta(min_length=2, max_length=3)]


class JobSaid(msgspec.Struct, frozen=True):
    """``job`` of a hello, from the environment of the process."""

    namespace: Text = ""
    owner_kind: Text = ""
    name: Text = ""
    role: Text = ""
    slice_index: Index | None = None
    rank: Index | None = None
    pod_uid: Text = ""
    coordinator: Text = ""
    attempt: Text = ""
    slices: Index | None = None

    @property
    def rendezvous(self) -> str:
        """What it was told of its gang, ``coordinator|attempt|slices``; "" where nothing."""
        words = (self.coordinator, self.attempt, "" if self.slices is None else str(self.slices))
        return "|".join(word.replace("|", "/") for word in words) if any(words) else ""

    def seat(self, cluster: str) -> Seat | None:
        """Give the place in a gang that the process claims, None where it cannot be one."""
        try:
            gang = GangId(cluster, self.namespace or "default", self.owner_kind, self.name)
        except Misconfigured:
            return None
        return Seat(gang, self.role, self.slice_index or 0, self.rank)


class Hello(msgspec.Struct, frozen=True):
    """First on each connection."""

    version: int = 1
    job: JobSaid = msgspec.field(default_factory=JobSaid)
    pid: int = 0


class State(msgspec.Struct, frozen=True):
    """How the job does; what it does not know is left out."""

    step: Step | None = None
    step_seconds: Seconds | None = None
    step_age: Seconds | None = None
    checkpoint_step: Step | None = None
    checkpoint_age: Seconds | None = None
    links: Annotated[dict[str, Score], Meta(max_length=512)] = {}
    throttle: Annotated[dict[str, Score], Meta(max_length=64)] = {}
    coordinates: Annotated[list[Place], Meta(max_length=64)] = []
    spent: Annotated[dict[str, Seconds], Meta(max_length=16)] = {}


class Event(msgspec.Struct, frozen=True):
    """Something that cannot wait for the next state."""

    event: Text
    text: LongText = ""


class Answer(msgspec.Struct, frozen=True):
    """Answer to a request of the agent."""

    id: RequestId
    ok: bool
    why: LongText = ""
    checkpoint_step: Step | None = None


class _Said(msgspec.Struct, frozen=True):
    say: Text


class BadReport(ValueError):
    """A line that cannot be used, and why."""

    def __init__(self, why: str) -> None:
        """Keep the reason."""
        super().__init__(why)
        self.why = why


Report = Hello | State | Event | Answer
_KINDS: dict[str, msgspec.json.Decoder[Report]] = {
    "hello": msgspec.json.Decoder(Hello),
    "state": msgspec.json.Decoder(State),
    "event": msgspec.json.Decoder(Event),
    "answer": msgspec.json.Decoder(Answer),
}
_SAID = msgspec.json.Decoder(_Said)


def read_report(line: bytes) -> Report | None:
    """Give what a line says; None for a kind that this version does not know.

    Raises:
        BadReport: no JSON, a wrong type, a number out of its range.
    """
    try:
        decoder = _KINDS.get(_SAID.decode(line).say)
        return decoder.decode(line) if decoder is not None else None
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BadReport(str(error)[:200]) from None
