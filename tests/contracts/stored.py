"""What the promises of the store are tried with."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from typing import Any

from sliceward.daemons.store import Alert
from sliceward.detectors.finding import Kind
from sliceward.playbooks.incident import Entry, EntryKind, Incident, Needs
from sliceward.playbooks.run import Run, Step, StepState
from sliceward.remediations.page import Page, PageEvent
from sliceward.topology.health import Severity
from sliceward.topology.ids import GangId, HostId
from tests.builders import NOW
from tests.playbooks.stage import a_finding, seconds

HOST = HostId("c1", "h-1")


def an_incident(name: str = "inc-1", **more: Any) -> Incident:  # noqa: ANN401 (fields)
    whole = Incident(
        id=name,
        cluster="c1",
        opened=NOW,
        settles=NOW + seconds(10),
        findings=(a_finding(Kind.HOST_LOST, HOST),),
        gang=GangId("c1", "ml", "JobSet", "llm"),
        domain=(HOST,),
        needs=Needs.APPROVAL,
        tried=("a", "b"),
    )
    return replace(whole, **more)


def a_run(incident: str = "inc-1", number: int = 1, **more: Any) -> Run:  # noqa: ANN401 (fields)
    step = Step(
        "suspend", "gang.suspend", seconds(60), {"a": 1}, irreversible=True, harm=True, inverse="gang.resume", started=NOW
    )
    whole = Run(
        id=f"{incident}-r{number}",
        incident=incident,
        cluster="c1",
        playbook="host-or-chip-lost",
        digest="d",
        part=HOST,
        domain=(HOST,),
        gang=GangId("c1", "ml", "JobSet", "llm"),
        tenant="ml",
        started=NOW,
        deadline=NOW + seconds(3600),
        steps=(step, replace(step, name="b", state=StepState.DONE, ended=NOW, attempts=3, facts={"x": [1, "y", None]})),
        facts={"planned_hosts": ["h-2"]},
    )
    return replace(whole, **more)


def a_page(incident: str = "inc-1", event: PageEvent = PageEvent.TRIGGER) -> Page:
    name = f"{incident}-{event}"
    return Page(
        name, incident, event, Severity.ERROR, "broken", "sliceward/c1", str(HOST), "HostLost", NOW, {"a": "b"}, {"c": "d"}
    )


def entries(incident: str, number: int, *, first: int = 0) -> tuple[Entry, ...]:
    return tuple(Entry(NOW, incident, EntryKind.SEEN, f"line {n}", {"n": n}) for n in range(first, first + number))


def an_alert(fingerprint: str = "f1", status: str = "firing", **more: Any) -> Alert:  # noqa: ANN401 (fields)
    return replace(Alert("am", fingerprint, status, NOW, None, {"labels": {"alertname": "X"}}, "c1"), **more)


async def spoil(url: str, statement: str) -> None:
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        connection.execute(statement)
        connection.commit()
        connection.close()
        return
    import asyncpg  # noqa: PLC0415 (only where PostgreSQL is)

    other = await asyncpg.connect(url.replace("+asyncpg", ""))
    await other.execute(statement)
    await other.close()
