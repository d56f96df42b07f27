"""Kueue's Workloads in, who had to go for whom out.

Kueue says it in the condition ``Preempted`` of the Workload that went, with the uids of the other's Workload and of its owner in the
message (``Preempted to accommodate a workload (UID: …, JobUID: …) due to …``, Kueue 0.19), until that Workload is admitted again.
A time that the calendar of UTC does not have, or one that is still to come, is a problem with a name, and no preemption.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sliceward.topology.errors import Misconfigured
from sliceward.topology.fields import Fields
from sliceward.topology.gangs import Preempted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sliceward.topology.gangs import Gang
    from sliceward.topology.problems import Desk

SKEW = timedelta(minutes=5)
"""By so much the clock of who wrote a time may be ahead of the one it is compared with."""

Owner = tuple[str, str, str]
"""Kind, namespace and name."""

_UID = re.compile(r"[ (]UID: ([0-9A-Za-z-]{1,64})")
_JOB_UID = re.compile(r"JobUID: ([0-9A-Za-z-]{1,64})")


def preempted(desk: Desk, workloads: Iterable[object]) -> Mapping[Owner, Preempted]:
    """Give what Kueue preempted, by owner, with times in UTC. A Workload that cannot be read says nothing here."""
    owner_of: dict[str, str] = {}
    went: dict[Owner, tuple[re.Match[str] | None, re.Match[str] | None, datetime]] = {}
    for value in workloads:
        try:
            fields = Fields.of(value, "")
            meta = fields.at("metadata")
            owners = meta.each("ownerReferences")
            if not owners:
                continue
            owner_of[meta.text("uid")] = owners[0].text("uid")
            for condition in fields.at("status").each("conditions"):
                if condition.text("type") == "Preempted" and condition.text("status") == "True":
                    message, at = condition.text("message"), datetime.fromisoformat(condition.text("lastTransitionTime"))
                    key = owners[0].text("kind"), meta.text("namespace"), owners[0].text("name")
                    went[key] = _JOB_UID.search(message), _UID.search(message), at
        except (Misconfigured, ValueError):
            continue
    found: dict[Owner, Preempted] = {}
    for key, (job, workload, at) in went.items():
        told = owner_of.get(workload[1], "") if workload is not None else ""
        by = told or (job[1] if job is not None else "")
        if by and at.tzinfo is not None:
            try:
                found[key] = Preempted(by, at.astimezone(UTC))
            except OverflowError:
                kind, namespace, name = key
                _report(desk, f"{desk.cluster}/gang/{namespace}/{kind}/{name}", f"{at.isoformat()}, which is no time in UTC")
    return found


def went_for(desk: Desk, gang: Gang, told: Preempted, as_of: datetime) -> Gang:
    """Give the gang that knows that it had to go; one that is said to go only in times to come stays as it is."""
    if told.at > as_of + SKEW:
        _report(desk, str(gang.id), f"{told.at.isoformat()}, and now it is {as_of.isoformat()}")
        return gang
    return replace(gang, preempted=told)


def _report(desk: Desk, about: str, at: str) -> None:
    desk.report(
        "ContradictoryTime",
        about,
        f"Kueue says that it was preempted at {at}",
        "Compare the clock of Kueue's controller with ours; until then it counts as never preempted",
    )
