"""How a gang stands, in lines: where it would go and at what price, or why nowhere and what would help; the ways out when it is hurt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from sliceward.daemons.cli.by_hand import displacing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    Row = Mapping[str, Any]

SECONDS_AN_HOUR = 3600.0


def stands(found: Row) -> Iterator[Text]:
    """Tell how a gang stands."""
    words = {
        "runs": "runs whole",
        "hurt": "runs, and is hurt",
        "waits": "waits",
        "over": "is over",
        "unclear": "cannot be placed: too little is known of it",
    }
    yield Text(
        f"{found['gang']} {words[found['stands']]} ({found['state']}, {found['chips']} chips of {found['tenant']})", style="bold"
    )
    if found["stands"] == "hurt":
        yield from harms(found["repair"])
        yield from ways(found["repair"])
    if "placement" not in found:
        return
    if found["placement"]["fits"]:
        there = "  a run would move it so:" if found["stands"] == "hurt" else "  there is room for it:"
        yield Text(there, style="green")
    yield from answer(found["placement"])
    victims = found.get("displacement", {}).get("victims", ())
    if victims:
        goes = ", ".join(f"{each['gang']} ({each['right']}{', moves' if each['moves'] else ''})" for each in victims)
        yield Text(f"  or displace {goes}: {found['displacement']['cost'] / SECONDS_AN_HOUR:,.1f} chip-hours")
        yield from (Text(f"    {displacing(each)}", style="dim") for each in victims)
    elif "displacement" in found:
        yield Text(f"  nobody is displaced for it: {found['displacement']['why']}", style="dim")


def harms(choice: Row) -> Iterator[Text]:
    """Tell what failed, each thing once."""
    told = list(dict.fromkeys(choice["harms"]))
    yield from (Text(f"  {harm}", style="yellow") for harm in some(told))
    if len(told) > len(some(told)):
        yield Text(f"  and {len(told) - len(some(told))} more", style="yellow")


def ways(choice: Row) -> Iterator[Text]:
    """Tell the ways out, the cheapest first, in chip-hours."""
    for number, way in enumerate(choice["ways"]):
        then = f", then {way['then']}" if way["then"] else ""
        where = "; ".join(f"{_slice(piece)} to {place_of(piece)}" for piece in way["slices"])
        goes = f"; {', '.join(way['victims'])} would have to go" if way["victims"] else ""
        words = f"  {way['way']}{then}: {way['price'] / SECONDS_AN_HOUR:,.1f} chip-hours: {way['why']}"
        yield Text(words + (f" ({where})" if where else "") + goes, style="green" if number == 0 else "")
    yield from (Text(f"  not {way['way']}: {way['why']}", style="dim") for way in choice["closed"])


def answer(placement: Row) -> Iterator[Text]:
    """Tell where a gang would go, or why nowhere and what would help."""
    if placement["fits"]:
        yield from (Text(f"  {reason}") for reason in some(placement["reasons"]))
        left = [f"{each['role']} {each['index']}" for each in placement["left_out"]]
        if left:
            yield Text(f"  goes without {', '.join(left)}", style="yellow")
        return
    yield Text(f"  why not ({placement['cause']}): {placement['why']}", style="yellow")
    if placement["chips"]:
        counts = ", ".join(f"{chips} {cause}" for cause, chips in placement["chips"].items())
        yield Text(f"  chips: {placement['free_chips']} free; of no use {counts}")
    for change in placement["helps"]:
        less = "" if placement.get("smallest", True) else ", though less may do"
        yield Text(f"  would help{less}: {change['text']}", style="green")
    yield from (
        Text(f"  {each['part'].rpartition('/')[2]}: {each['why']}", style="dim") for each in some(placement["rejected"], 8)
    )


def _slice(piece: Row) -> str:
    return f"{piece['role'] or 'slice'} {piece['index']}"


def place_of(piece: Row) -> str:
    """Name the cubes of a place, or its first hosts."""
    return "+".join(cube.rpartition("/")[2] for cube in piece["cubes"]) or ", ".join(some(piece["hosts"], 3))


def some(items: Iterable[Any], most: int = 6) -> list[Any]:
    """Give the first few."""
    return list(items)[:most]
