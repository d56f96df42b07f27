"""Turns are saved together or, where that can never be, each by itself; what tells of the store itself is passed on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sliceward.daemons.coordinator import apart
from sliceward.detectors.finding import Kind
from sliceward.playbooks.incident import How, Incident, Phase
from sliceward.playbooks.turn import Turn
from sliceward.topology.errors import Refused, Retry
from sliceward.topology.ids import HostId
from tests.builders import NOW
from tests.playbooks.stage import a_finding


class Shelf:
    """Keeps ids of incidents, in transactions; ``never``: those that it cannot keep; ``failing``: raised once."""

    def __init__(self, *never: str) -> None:
        self.never, self.kept = never, list[str]()
        self.saves = 0
        self.failing: dict[int, Exception] = {}

    async def save(self, *turns: Turn) -> None:
        self.saves += 1
        if self.saves in self.failing:
            raise self.failing[self.saves]
        ids = [turn.incident.id for turn in turns]
        if set(ids) & set(self.never):
            raise ValueError("no text")
        self.kept += ids


def turns(*names: str, into: str = "") -> dict[str, list[Turn]]:
    given = {}
    for number, name in enumerate(names):
        finding = a_finding(Kind.HOST_LOST, HostId("c1", f"h-{number}"))
        incident = Incident(id=name, cluster="c1", opened=NOW, settles=NOW, findings=(finding,))
        if into and number == 0:
            incident = replace(incident, phase=Phase.CLOSED, how=How.FOLDED, closed=NOW, folded_into=into)
        given[name] = [Turn(incident, None)]
    return given


async def test_what_can_be_saved_together_is_one_transaction() -> None:
    shelf = Shelf()
    assert await apart.saved(turns("a", "b"), shelf.save) == {}
    assert (shelf.kept, shelf.saves) == (["a", "b"], 1)
    assert await apart.saved({}, shelf.save) == {}
    assert shelf.saves == 1


async def test_one_that_can_never_be_saved_is_named_and_the_others_are_saved() -> None:
    shelf = Shelf("b")
    assert await apart.saved(turns("a", "b", "c"), shelf.save) == {"b": "ValueError: no text"}
    assert shelf.kept == ["a", "c"]


async def test_an_incident_stays_open_whose_findings_would_be_told_in_one_that_cannot_be_saved() -> None:
    shelf = Shelf("old")
    bad = await apart.saved(turns("young", "old", "other", into="old"), shelf.save)
    assert bad.keys() == {"old", "young"}
    assert shelf.kept == ["other"]


@pytest.mark.parametrize("error", [Retry("away"), Refused("fenced")], ids=["away", "fenced"])
@pytest.mark.parametrize("at", [1, 2], ids=["together", "by itself"])
async def test_that_the_store_is_away_or_led_by_another_is_nobodys_fault(error: Exception, at: int) -> None:
    shelf = Shelf("b")
    shelf.failing[at] = error
    with pytest.raises(type(error)):
        await apart.saved(turns("a", "b"), shelf.save)


def test_a_new_incident_is_named_by_its_root_which_is_the_same_in_each_round() -> None:
    (turn,) = turns("a")["a"]
    assert apart.named(turn, {"a"}) == "a"
    assert apart.named(turn, {"b"}) == f"finding {turn.incident.root.id}"
