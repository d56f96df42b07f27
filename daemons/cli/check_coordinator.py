"""What the coordinator says of itself, as lines of `sliceward check`: mode, store, brokers, clusters, watchers, loops, pages."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sliceward.daemons.cli.lines import Line, well, wrong

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sliceward.daemons.cli.client import Client

MOST = 500
RECENT = timedelta(days=1)


def coordinator(client: Client) -> Iterator[Line]:
    """Ask it. Raises `CannotAsk` where it does not answer."""
    status = client.get("status")
    yield well("coordinator", f"answers at {client.server}")
    yield well("version", f"{status['version']}, mode {status['mode']}, since {status['started']}")
    if status["paused"]:
        yield wrong("paused", "harm is stopped, healing goes on", "`sliceward resume` when the cause is gone.")
    yield _dependency("store", status["store"], "See the coordinator's log; nothing is decided while the store is away.")
    yield _dependency(
        "broker", status["broker"], "Findings age to unknown while the broker is away; nothing is drained meanwhile."
    )
    if status.get("silences"):
        held = f"{status['silenced_incidents']} open incidents are held by them"
        yield well("silences", f"{status['silences']} in force; {held}")
    for cluster in status["clusters"]:
        yield from _cluster(cluster)
    yield from (_heartbeat(one) for one in status.get("heartbeats", ()))
    yield from _loops(client.rows("loops", limit=MOST))
    yield from _pages(client.rows("pages", limit=MOST, state="failed"))


def _heartbeat(row: Mapping[str, Any]) -> Line:
    about, age = f"heartbeat of {row['pager']}", row["age_seconds"]
    found = "never accepted" if age is None else f"accepted {age:.1f} s ago, sent every {row['every_seconds']:g} s"
    if row["ok"]:
        return well(about, found)
    return wrong(about, f"{found}: {row['why'] or 'late'}", "Until it is mended its receiver pages, or will soon.")


def _loops(rows: list[dict[str, Any]]) -> Iterator[Line]:
    for loop in rows:
        age = f"{loop['age']:.1f} s since its last round, deadline {loop['deadline']:.0f} s"
        last = f"Its last error: {loop['error'] or 'none, it hangs; see the log'}"
        about = f"loop {loop['name']}"
        yield wrong(about, age, last) if loop["late"] else well(about, age)
        for name, why in loop["set_aside"].items():
            yield wrong(about, f"{name} is set aside: {why}", "Mend or delete it; the rest goes on.")


def _pages(rows: list[dict[str, Any]]) -> Iterator[Line]:
    since = datetime.now(UTC) - RECENT
    late = [row for row in rows if datetime.fromisoformat(row["at"]) >= since]
    counts = Counter(row["pager"] for row in late)
    last = {row["pager"]: row["why"] for row in late}
    for pager, count in sorted(counts.items()):
        found = f"{count} pages of the last day were not delivered; the last: {last[pager]}"
        yield wrong(
            f"pager {pager}", found, "Mend its address or secret; tell the people yourself what `sliceward get pages` lists."
        )


def _cluster(cluster: Mapping[str, Any]) -> Iterator[Line]:
    name = cluster["name"]
    about = f"cluster {name}"
    part = {"ok": cluster["reachable"], "age_seconds": cluster["age_seconds"], "why": cluster["why"]}
    yield _dependency(about, part, "Check its kubeconfig and context, and that the API server answers.")
    if cluster["reachable"] and not cluster["hosts"]:
        yield wrong(about, "no TPU host is known", "Check the labels of its nodes; `sliceward get hosts` is empty.")
    yield _dependency(f"broker of {name}", cluster["broker"], "Check its address, password and certificate.")
    yield _watcher(cluster)
    for reason, count in cluster["bad_messages"].items():
        if count and reason.startswith("bad"):
            why = "Find the speaker that is not of this version; messages that cannot be read are skipped."
            yield wrong(about, f"{count} messages {reason.replace('_', ' ')}", why)


def _watcher(cluster: Mapping[str, Any]) -> Line:
    heard, why = cluster["watcher_age_seconds"], cluster["watcher_why"]
    found = "never heard of" if heard is None else f"last told something {heard:.1f} s ago"
    what_to_do = ""
    if not cluster["watched"]:
        what_to_do = "Start `sliceward watcher`, or see its log; until it speaks, every part is unknown."
    elif why:
        what_to_do = "See the watcher's log."
    return Line(
        ok=not what_to_do,
        about=f"watcher of {cluster['name']}",
        found=f"{found}: {why}" if why else found,
        what_to_do=what_to_do,
    )


def _dependency(about: str, part: Mapping[str, Any], what_to_do: str) -> Line:
    age = part.get("age_seconds")
    found = "never answered" if age is None else f"answered {age:.1f} s ago"
    if not part["ok"] and part.get("why"):
        found += f": {part['why']}"
    return Line(ok=part["ok"], about=about, found=found, what_to_do="" if part["ok"] else what_to_do)
