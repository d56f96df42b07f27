"""``sliceward explain finding/…``: why this part and not its neighbour, in words, with the numbers and a small picture, from the finding alone."""

from __future__ import annotations

from datetime import datetime
from math import exp, isfinite, nan
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Row = Mapping[str, Any]

HEIGHT, WIDTH = 12, 60
MINE, BOTH, BAND, MIDDLE = "●", "◉", "░", "─"
MOST_ALSO = 8
SURE = {"PartSuspect": "watch it and place around it; nothing is drained for a suspect", "PartCondemned": "it may be drained"}


def story(finding: Row) -> Iterator[str]:
    """Tell a finding as lines; headings stand at the left, what stands under them is indented."""
    yield f"{finding['kind']} on {finding['part']} ({finding['severity']})"
    yield f"  {finding['state']} since {finding['since']}, last seen {finding['seen']}; score {finding['score']:g}"
    yield f"  {finding['text']}"
    yield f"  said by {finding['detector']} {finding['version']} ({finding['source']})"
    if finding["kind"] in SURE:
        yield f"  {SURE[finding['kind']]}"
    yield from _section("Who is hurt", _hurt(finding))
    yield from _section("What decided", _numbers(finding))
    picture = finding.get("picture")
    if picture:
        yield from _section("Why this part", _why(finding, picture))
        yield from _section("Why not its neighbour", _why_not(finding, picture))
        yield from _section(f"{picture['metric']} in {picture['unit']}", plot(picture))


def _section(title: str, lines: Iterator[str]) -> Iterator[str]:
    found = list(lines)
    if found:
        yield ""
        yield title
        yield from (f"  {line}" for line in found)


def _hurt(finding: Row) -> Iterator[str]:
    for key in ("gang", "slice"):
        if finding.get(key):
            yield f"{key} {finding[key]}"
    also = finding.get("also") or ()
    if also:
        more = f" and {len(also) - MOST_ALSO} more" if len(also) > MOST_ALSO else ""
        yield f"it shows on {', '.join(also[:MOST_ALSO])}{more}"


def _numbers(finding: Row) -> Iterator[str]:
    for one in finding.get("evidence") or ():
        limit = f", limit {one['limit']:.4g}" if one.get("limit") is not None else ""
        value = "unknown" if one.get("value") is None else f"{one['value']:.4g}"
        unit = "" if one["unit"] == "1" else f" {one['unit']}"
        words = f" ({one['text']})" if one.get("text") else ""
        yield f"{one['metric']} of {one['entity']}: {value}{unit}{limit}{words}"


def _why(finding: Row, picture: Row) -> Iterator[str]:
    values, low, middle, high = (_line(picture[name]) for name in ("values", "low", "middle", "high"))
    last = next((n for n in reversed(range(len(values))) if isfinite(values[n]) and isfinite(middle[n])), None)
    if last is not None:
        where = "above" if values[last] > high[last] else "below" if values[last] < low[last] else "within"
        yield (
            f"at last it read {values[last]:.4g}; of {picture['peers']} peers that do the same work eight in ten were between {low[last]:.4g} and "
            f"{high[last]:.4g}, the one in the middle at {middle[last]:.4g}: it is {where} them"
        )
    yield (
        f"what it showed adds up to {picture['nats']:.0f} nats of evidence, and {picture['need']:.0f} are needed: by chance alone so much comes once in "
        f"e^{picture['nats']:.0f} (about {_power(picture['nats'])}) tries"
    )
    offences = finding.get("labels", {}).get("offences", "")
    if offences and float(offences) >= 2:  # noqa: PLR2004 (not for the first time)
        yield f"it was accused {float(offences):.1f} times lately, older times counting for less"


def _power(nats: float) -> str:
    return f"{exp(min(nats, 600.0)):.0e}"


def _why_not(finding: Row, picture: Row) -> Iterator[str]:
    if picture.get("rival"):
        nats = picture.get("rival_nats")
        told = "less" if nats is None else f"{nats:.0f} nats"
        yield f"{picture['rival']} would explain {told} of it, {finding['part']} {picture['nats']:.0f}"
        return
    yield "no other part that shares members with it explained nearly as much when it was named"


# ── the picture ───────────────────────────────────────────────────────────────────────────────────────────────────────


def plot(picture: Row, *, height: int = HEIGHT, width: int = WIDTH) -> Iterator[str]:
    """Draw the part over the band of its peers, the newest at the right; nothing where nothing is known."""
    lines = [_line(picture[name])[-width:] for name in ("values", "low", "middle", "high")]
    known = [value for line in lines for value in line if isfinite(value)]
    if not known:
        return
    bottom, top = min(known), max(known)
    step = (top - bottom) / (height - 1) or 1.0
    rows = [[_row(value, bottom, step) for value in line] for line in lines]
    for row in reversed(range(height)):
        label = f"{bottom + row * step:.4g}" if row in {0, height // 2, height - 1} else ""
        yield f"{label:>10} │{''.join(_mark(row, column) for column in zip(*rows, strict=True))}".rstrip()
    count = len(lines[0])
    until = datetime.fromisoformat(picture["until"])
    yield f"{'':>10} └{'─' * count} {until:%H:%M:%S}"
    yield f"{'':>12}{MINE} the part   {BAND} eight in ten of {picture['peers']} peers   {MIDDLE} the peer in the middle   {_span(count * picture['step'])}"


def _line(values: Sequence[float | None]) -> list[float]:
    return [nan if value is None else float(value) for value in values]


def _row(value: float, bottom: float, step: float) -> int | None:
    return round((value - bottom) / step) if isfinite(value) else None


def _mark(row: int, column: tuple[int | None, ...]) -> str:
    value, low, middle, high = column
    inside = low is not None and high is not None and low <= row <= high
    if value == row:
        return BOTH if inside else MINE
    if middle == row:
        return MIDDLE
    return BAND if inside else " "


def _span(seconds: float) -> str:
    return f"the last {seconds / 60:.0f} minutes"
