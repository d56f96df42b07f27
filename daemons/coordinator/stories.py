"""One incident as docs/api.md shows it: row, timeline, decisions, steps and pages, from what the store kept. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sliceward.playbooks import record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sliceward.playbooks.run import Run

Row = dict[str, Any]


def entry_row(row: Mapping[str, Any]) -> Row:
    """Give an ``Entry`` of a line of the journal."""
    return {name: row[name] for name in ("seq", "at", "cluster", "incident", "kind", "text", "facts")}


def decision_row(row: Mapping[str, Any]) -> Row:
    """Give a ``Decision`` of a stored one, with every candidate and guard beside what the API promises."""
    verdict, playbook = row["verdict"], row["playbook"]
    candidates = row.get("candidates") or []
    chosen = next((one for one in candidates if one["playbook"] == playbook), None)
    return {
        "seq": row.get("seq"),
        "at": row["at"],
        "playbook": playbook or None,
        "mode": row.get("mode") or None,
        "outcome": _outcome(verdict, candidates),
        "why": verdict.get("why") or _called(verdict),
        "conditions": chosen["conditions"] if chosen else [],
        "budgets": [{name: one[name] for name in ("name", "limit", "used", "asked", "ok")} for one in row.get("budgets") or []],
        "guards": row.get("guards") or [],
        "silenced": row.get("silenced") or None,
        "candidates": candidates,
    }


def _outcome(verdict: Mapping[str, Any], candidates: Iterable[Mapping[str, Any]]) -> str:
    if "call" in verdict:
        return "run"
    if "how" in verdict:
        return "close"
    return "hold" if any(one["matched"] for one in candidates) else "no-match"


def _called(verdict: Mapping[str, Any]) -> str:
    step = verdict.get("call", {}).get("step", {})
    return f"step {step.get('name')} calls {step.get('action')}" if step else ""


def step_rows(run: Run | None) -> list[Row]:
    """Give the steps of a run."""
    names = ("name", "action", "state", "purpose", "irreversible", "started", "ended", "text", "attempts", "facts")
    return [{name: record.plain(getattr(step, name)) for name in names} for step in (run.steps if run else ())]


def page_row(row: Mapping[str, Any]) -> Row:
    """Give a ``Page`` of a row of the outbox."""
    body = row["body"]
    return {
        "seq": row["seq"],
        "delivery_id": row["delivery_id"],
        "cluster": row["cluster"],
        "incident": row["incident"],
        "event": row["event"],
        "pager": row["pager"],
        "state": row["state"],
        "summary": body.get("summary", ""),
        "at": body.get("at", row["made"]),
        "attempts": row["attempts"],
        "next_try": row["next_try"] if row["state"] == "pending" else None,
        "why": row["why"],
    }
