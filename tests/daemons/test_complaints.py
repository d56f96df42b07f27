from __future__ import annotations

import structlog
from structlog.testing import capture_logs

from sliceward.daemons.complaints import MOST_SPEAKERS, Complaints


def test_each_speaker_is_complained_about_once_with_where_why_and_what_to_do() -> None:
    with capture_logs() as lines:
        complaints = Complaints(structlog.get_logger())
        for host in ("a", "b", "a"):
            complaints.tell("frame refused", where=host, why="x" * 10_000, what_to_do="look there")
        complaints.tell("message dropped", where="a", why="another matter", what_to_do="look there")
    assert [(line["event"], line["where"]) for line in lines] == [
        ("frame refused", "a"), ("frame refused", "b"), ("message dropped", "a"),
    ]  # fmt: skip
    assert all(line["log_level"] == "warning" and len(line["why"]) <= 300 and line["what_to_do"] for line in lines)


def test_speakers_beyond_counting_fill_neither_log_nor_memory() -> None:
    with capture_logs() as lines:
        complaints = Complaints(structlog.get_logger())
        for number in range(MOST_SPEAKERS + 5):
            complaints.tell("frame refused", where=f"host {number}", why="no frame", what_to_do="look there")
    assert len(lines) == MOST_SPEAKERS
