"""Waiting pods go by rank where all bear one, else in order; never more than a domain has places, never to a lost host."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sliceward.scheduling.tree.assignment import Assignment, Seat
from sliceward.scheduling.tree.tree import HOSTNAME
from sliceward.scheduling.tree.ungating import BadOffset, Later, Pod, PodSet, Ranks, Release, release

INDEX = "batch.kubernetes.io/job-completion-index"
TWO = Assignment((HOSTNAME,), (Seat(("x1",), 2), Seat(("x2",), 2)))


def waiting(name: str, index: int | None = None) -> Pod:
    return Pod(name, gated=True, labels={INDEX: str(index)} if index is not None else {})


def gone(*pods: Pod, ranks: bool = True, lost: frozenset[str] = frozenset()) -> dict[str, str]:
    pod_set = PodSet("main", 4, TWO, pods, Ranks(INDEX) if ranks else None)
    released = release([pod_set], lost_hosts=lost)
    assert isinstance(released, Release)
    return {go.pod: go.selector[HOSTNAME] for go in released.pods}


def test_ranks_are_neighbours_whatever_the_pods_are_called() -> None:
    assert gone(waiting("a", 3), waiting("b", 0), waiting("c", 2), waiting("d", 1)) == {
        "b": "x1",
        "d": "x1",
        "c": "x2",
        "a": "x2",
    }


def test_a_doubled_rank_makes_all_go_in_order() -> None:
    assert gone(waiting("a", 3), waiting("b", 3)) == {"a": "x1", "b": "x1"}


def test_a_pod_that_runs_elsewhere_than_its_rank_says_makes_all_go_in_order() -> None:
    runs = Pod("r", gated=False, selector={HOSTNAME: "x2"}, labels={INDEX: "0"})
    assert gone(runs, waiting("a", 3)) == {"a": "x1"}


def test_nobody_goes_to_a_lost_host() -> None:
    assert gone(waiting("a", 0), waiting("b", 2), lost=frozenset({"x1"})) == {"b": "x2"}


def test_a_pod_that_has_ended_leaves_its_place() -> None:
    ended = Pod("e", gated=False, selector={HOSTNAME: "x1"}, ended=True)
    assert gone(ended, waiting("a"), waiting("b"), ranks=False) == {"a": "x1", "b": "x1"}


def test_nobody_goes_before_earlier_releases_are_seen() -> None:
    assert release([PodSet("main", 4, TWO, (waiting("a"),))], in_flight=frozenset({"u"})) == Later(
        "1 earlier releases are not seen yet"
    )


def test_an_offset_that_is_no_number_lets_nobody_go() -> None:
    pod_set = PodSet("main", 4, TWO, (Pod("a", gated=True, offset="one"),))
    assert release([pod_set]) == BadOffset("pod set main: offset 'one' is no number")


def test_a_pod_set_without_places_waits() -> None:
    assert release([PodSet("main", 4, None, (waiting("a"),))]) == Release()


PODS = st.lists(
    st.builds(
        Pod,
        st.text("abcdef", min_size=1, max_size=3),
        st.booleans(),
        st.sampled_from(["x1", "x2", "x3"]).map(lambda host: {HOSTNAME: host}),
        st.none().map(lambda _: {}) | st.integers(0, 5).map(lambda index: {INDEX: str(index)}),
        ended=st.booleans(),
    ),
    max_size=6,
    unique_by=lambda pod: pod.name,
)


@given(PODS, st.booleans(), st.sets(st.sampled_from(["x1", "x2"])))
def test_no_domain_gets_more_pods_than_it_has_places(pods: list[Pod], ranks: bool, lost: set[str]) -> None:  # noqa: FBT001 (drawn by hypothesis)
    going = gone(*pods, ranks=ranks, lost=frozenset(lost))
    gated = {pod.name for pod in pods if pod.gated and not pod.ended}
    assert set(going) <= gated
    for seat in TWO.seats:
        arriving = sum(host == seat.values[0] for host in going.values())
        there = sum(not pod.gated and not pod.ended and pod.selector[HOSTNAME] == seat.values[0] for pod in pods)
        assert arriving <= max(0, seat.pods - there)
    assert not lost & set(going.values())
    if not lost and not ranks:
        places = sum(
            max(0, seat.pods - sum(not p.gated and not p.ended and p.selector[HOSTNAME] == seat.values[0] for p in pods))
            for seat in TWO.seats
        )
        assert len(going) == min(len(gated), places)
