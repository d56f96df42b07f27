"""Every id prints and parses to itself, and names that could not stand in a path are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sliceward.topology.errors import Misconfigured, Retry
from sliceward.topology.health import Health, worst
from sliceward.topology.ids import ChipId, ClusterId, CubeId, GangId, HostId, LinkId, PartId, PodId, SliceId, parse

NAME = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,10}[a-z0-9])?", fullmatch=True)
IDS: st.SearchStrategy[PartId] = st.one_of(
    st.builds(ClusterId, NAME),
    st.builds(PodId, NAME, NAME),
    st.builds(CubeId, NAME, NAME),
    st.builds(HostId, NAME, NAME),
    st.builds(SliceId, NAME, NAME),
    st.builds(ChipId, NAME, NAME, st.integers(0, 63)),
    st.builds(GangId, NAME, NAME, st.sampled_from(["JobSet", "Job"]), NAME),
)


@given(IDS)
def test_an_id_parses_to_itself(part: PartId) -> None:
    assert parse(str(part)) == part


@given(NAME, NAME, NAME, st.integers(0, 7), st.integers(0, 7))
def test_a_link_is_the_same_from_both_ends(cluster: str, one: str, other: str, a: int, b: int) -> None:
    near, far = ChipId(cluster, one, a), ChipId(cluster, other, b)
    if near == far:
        with pytest.raises(Misconfigured):
            LinkId.between(near, far)
        return
    link = LinkId.between(near, far)
    assert link == LinkId.between(far, near)
    assert parse(str(link)) == link
    assert link.ends == tuple(sorted((near, far)))
    assert {end.host_id.name for end in link.ends} == {one, other}


@pytest.mark.parametrize(
    "text",
    ["", "-", "c1/host/", "c1/host/a b", "c1/chip/h", "c1/chip/h/x", "c1/chip/h/64", "c1/link/a/0", "c1/what/x", "c1/gang/a/b"],
)
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(Misconfigured):
        parse(text)


@pytest.mark.parametrize("index", ["03", "00", "\u0663", "\u00b2", "-1", "+1", "9" * 5000], ids=lambda text: ascii(text[:9]))
def test_an_index_has_one_way_to_be_written_and_a_bound(index: str) -> None:
    for text in (f"c1/chip/h/{index}", f"c1/link/a/0~b/{index}"):
        with pytest.raises(Misconfigured):
            parse(text)


def test_ids_that_cannot_be_are_refused() -> None:
    with pytest.raises(Misconfigured, match="two clusters"):
        LinkId.between(ChipId("c1", "a", 0), ChipId("c2", "a", 0))
    with pytest.raises(Misconfigured, match="out of order"):
        LinkId("c1", "b", 0, "a", 0)


def test_each_id_knows_its_kind() -> None:
    ids = (CubeId("c", "x"), ChipId("c", "h", 0), LinkId("c", "a", 0, "b", 0), GangId("c", "n", "Job", "g"))
    assert [part.kind for part in ids] == ["cube", "chip", "link", "gang"]


def test_the_key_of_a_gang_fits_a_label_and_tells_gangs_apart() -> None:
    long = GangId("c1", "ml", "JobSet", "x" * 200)
    assert len(long.key) == 51
    assert long.key != GangId("c1", "web", "JobSet", "x" * 200).key


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        ([], Health.UNKNOWN),
        ([Health.HEALTHY], Health.HEALTHY),
        ([Health.HEALTHY, Health.UNKNOWN], Health.UNKNOWN),
        ([Health.UNKNOWN, Health.UNHEALTHY], Health.UNHEALTHY),
    ],
)
def test_a_whole_is_as_well_as_its_worst_part_and_unknown_is_not_healthy(parts: list[Health], whole: Health) -> None:
    assert worst(parts) is whole


def test_a_retry_may_say_when() -> None:
    assert Retry("busy", after=3).after == 3
