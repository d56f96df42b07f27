"""The story of one incident as text, from its record alone: what was seen, which rule, what budget, what was done, what came.

The record is the ``Incident`` of docs/api.md with ``timeline``, ``decisions``, ``steps`` and ``pages``; nothing else is read,
so what this prints is what anybody can know later (invariant 9).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


_SHOWN = 16
"""Host names on one line: those of a cube."""


def explain(incident: Mapping[str, Any]) -> str:
    """Tell the story."""
    sections = {
        "What was seen": _seen(incident),
        "Who is hurt": _hurt(incident),
        "Which rule, and why": _decided(incident),
        "Why not another playbook": _others(incident),
        "What was done": _done(incident),
        "Who was told": _told(incident),
        "What came of it": _came(incident),
    }
    head = f"{incident['id']}: {incident['kind']} on {incident['part']} ({incident['severity']})"
    body = [
        f"\n{title}\n" + "\n".join(f"  {line}" for line in lines) for title, found in sections.items() if (lines := list(found))
    ]
    return "\n".join([head, *body]) + "\n"


def _seen(incident: Mapping[str, Any]) -> Iterator[str]:
    for finding in incident.get("findings") or ():
        yield f"{finding['kind']} on {finding['part']} since {finding['since']}: {finding['state']}, score {finding['score']:g}"
        yield f"  {finding['text']} ({finding['detector']} {finding['version']}, {finding['source']})"
        for evidence in finding.get("evidence") or ():
            limit = f" (limit {evidence['limit']})" if evidence.get("limit") is not None else ""
            unit = f" {evidence['unit']}" if evidence["unit"] != "1" else ""
            yield f"  {evidence['metric']} of {evidence['entity']} was {evidence['value']}{unit}{limit}"


def _hurt(incident: Mapping[str, Any]) -> Iterator[str]:
    yield f"gang {incident['gang']}" if incident.get("gang") else "no gang"
    domain = incident.get("domain") or ()
    if domain:
        more = " …" if len(domain) > _SHOWN else ""
        yield f"{len(domain)} hosts leave service together: {', '.join(map(str, domain[:_SHOWN]))}{more}"


def _decided(incident: Mapping[str, Any]) -> Iterator[str]:
    for decision in incident.get("decisions") or ():
        verdict = decision.get("outcome") or _verdict(decision.get("verdict") or {})
        why = decision.get("why") or (decision.get("verdict") or {}).get("why") or ""
        playbook = decision.get("playbook") or "no playbook"
        yield f"{decision['at']} {verdict}: {playbook}" + (f"; {why}" if why else "")
        for condition in _conditions(decision):
            read = ", ".join(f"{name}={value}" for name, value in (condition.get("inputs") or {}).items())
            yield f"  condition {condition['name']}: {_truth(condition['value'])}   {condition['expression']}   [{read}]"
        guards, silenced = decision.get("guards") or (), decision.get("silenced")
        if silenced and all(guard["why"] != silenced for guard in guards):
            yield f"  {silenced}; it opens no page until then"
        for guard in guards:
            yield f"  guard {guard['name']}: {'yes' if guard['ok'] else 'NO'}, {guard['why']}"
        for budget in decision.get("budgets") or ():
            asked = f" + {budget['asked']:g} asked" if budget.get("asked") is not None else ""
            yield f"  budget {budget['name']}: {budget['used']:g} used{asked} of {budget['limit']:g}: {'ok' if budget['ok'] else 'OVER'}"


def _verdict(verdict: Mapping[str, Any]) -> str:
    return "run" if "call" in verdict else "close" if "how" in verdict else "hold"


def _conditions(decision: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if decision.get("conditions"):
        return list(decision["conditions"])
    chosen = (c for c in decision.get("candidates") or () if c["playbook"] == decision.get("playbook"))
    return [condition for candidate in chosen for condition in candidate.get("conditions") or ()]


def _truth(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _others(incident: Mapping[str, Any]) -> Iterator[str]:
    last: dict[str, str] = {}
    for decision in incident.get("decisions") or ():
        last |= {c["playbook"]: c["why_not"] for c in decision.get("candidates") or () if not c["matched"]}
        last = {name: why for name, why in last.items() if name != decision.get("playbook")}
    yield from (f"{name}: {why}" for name, why in last.items())


def _done(incident: Mapping[str, Any]) -> Iterator[str]:
    for step in incident.get("steps") or ():
        again = f" in {step['attempts']} tries" if (step.get("attempts") or 0) > 1 else ""
        yield f"{step['name']} ({step['action']}): {step['state']}{again}" + (f", {step['text']}" if step.get("text") else "")
        for way in (step.get("facts") or {}).get("ways") or ():
            price = "closed" if way.get("price") is None else f"{way['price']:,} chip-seconds"
            yield f"  way {way['way']}: {price}, {way['why']}"
    for entry in incident.get("timeline") or ():
        yield f"{entry['at']} {entry['kind']}: {entry['text']}"


def _told(incident: Mapping[str, Any]) -> Iterator[str]:
    for page in incident.get("pages") or ():
        yield f"{page['at']} {page['event']} to {page.get('pager') or '?'}: {page['state']}, {page['summary']}"


def _came(incident: Mapping[str, Any]) -> Iterator[str]:
    if incident.get("state") == "closed" or incident.get("closed"):
        yield f"{incident.get('how')} at {incident.get('closed')}"
    else:
        yield f"open, {incident.get('phase')}" + (f"; needs {incident['needs']}" if incident.get("needs") else "")
    if incident.get("why"):
        yield str(incident["why"])
