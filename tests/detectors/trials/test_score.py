from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sliceward.detectors.finding import Finding, Kind, State
from sliceward.detectors.trials.score import Episode, Episodes, read_labels, score
from sliceward.topology.errors import Misconfigured
from sliceward.topology.health import Severity
from sliceward.topology.ids import ChipId

T = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T + timedelta(seconds=seconds)


def found(began: float, ended: float | None = None, part: str = "c1/chip/n1/0", kind: Kind = Kind.CHIP_LOST) -> Episode:
    return Episode(part, kind, "rule", at(began), "text", None if ended is None else at(ended))


LABELS = read_labels(
    """\
- {part: c1/chip/n1/0, kind: ChipLost, from: 2026-01-01T00:01:00Z, to: 2026-01-01T00:05:00Z}
- {part: c1/host/n2, from: 2026-01-01T00:10:00Z, to: 2026-01-01T00:11:00Z, after: 2m}
""",
    "labels.yaml",
)


def test_what_names_the_part_in_time_is_right() -> None:
    made = score([found(90), found(760, part="c1/host/n2", kind=Kind.HOST_LOST), found(100, part="c1/chip/n1/1")], LABELS)
    assert made.precision == pytest.approx(2 / 3)
    assert (made.recall, made.missed) == (1.0, ())
    assert (made.delay_median, made.delay_p95) == (95, 160)


@pytest.mark.parametrize(
    "episode",
    [
        pytest.param(found(90, kind=Kind.CHIP_THROTTLED), id="another kind"),
        pytest.param(found(0, 50), id="over before it began"),
        pytest.param(found(361), id="too late"),
        pytest.param(found(90, part="c1/host/n1"), id="its host"),
    ],
)
def test_what_names_something_else_is_not_right(episode: Episode) -> None:
    made = score([episode], LABELS)
    assert (made.precision, made.recall, made.delay_median) == (0, 0, None)
    assert made.missed[0].startswith("ChipLost of c1/chip/n1/0 from 2026")


def test_what_fires_already_is_no_delay_and_nothing_to_divide_by_is_none() -> None:
    assert score([found(0)], LABELS).delay_median == 0
    assert score([], LABELS).precision is None
    assert score([found(0)], []).recall is None


def test_an_episode_goes_on_while_it_is_unknown_and_ends_when_it_is_resolved() -> None:
    one = Finding(Kind.CHIP_LOST, ChipId("c1", "n1", 0), State.FIRING, Severity.ERROR, T, T, 0.9, "rule", "1", "first")
    episodes = Episodes()
    states = [State.UNKNOWN, State.FIRING, State.UNKNOWN, State.FIRING, State.RESOLVED, State.RESOLVED, State.FIRING]
    for number, state in enumerate(states):
        episodes.take([replace(one, state=state, text=f"said {number}")], at(number))
    assert [(found.began, found.ended, found.text) for found in episodes.found] == [
        (at(1), at(4), "said 3"),
        (at(6), None, "said 6"),
    ]


@pytest.mark.parametrize(
    ("text", "where", "why"),
    [
        ("part: x", "l.yaml:1:1", "is no list of labels"),
        ("- 5", "l.yaml:1:3", "is not a label"),
        ("- {part: c1/hots/n1, from: 2026-01-01T00:01:00Z, to: 2026-01-01T00:05:00Z}", "l.yaml:1:3", "write a part as ids print"),
        ("- {part: c1/host/n1, from: 2026-01-01T00:06:00Z, to: 2026-01-01T00:05:00Z}", "l.yaml:1:3", "before it begins"),
        ("- {part: c1/host/n1, frm: 2026-01-01T00:06:00Z, to: 2026-01-01T00:05:00Z}", "l.yaml:1:22", "did you mean 'from'"),
        ("- {part: c1/host/n1, kind: ChipLots, from: 2026-01-01T00:06:00Z, to: 2026-01-01T00:07:00Z}", ":1:28", "'ChipLost'"),
    ],
)
def test_a_bad_label_is_named_with_its_place(text: str, where: str, why: str) -> None:
    with pytest.raises(Misconfigured) as error:
        read_labels(text, "l.yaml")
    assert where in error.value.where
    assert why in error.value.why
