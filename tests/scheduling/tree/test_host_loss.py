"""A host is lost to a gang only when none of its pods goes on there, and a second loss ends the gang."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from sliceward.scheduling.tree.assignment import Assignment, Seat
from sliceward.scheduling.tree.host_loss import (
    Evict,
    GangSeen,
    Held,
    HostGone,
    HostSeen,
    Judged,
    Leave,
    LookAgain,
    LossRules,
    MarkLost,
    NotReady,
    PodSeen,
    Ready,
    Seen,
    Stage,
    Unmark,
    Unreported,
    Verdict,
    judge,
)
from sliceward.scheduling.tree.suiting import Taint, Toleration
from sliceward.scheduling.tree.tree import HOSTNAME
from tests.scheduling.tree.builders import NOW

HELD = Held(Assignment((HOSTNAME,), (Seat(("x1",), 1), Seat(("x2",), 1))))
GANG = GangSeen("llm", (HELD,))
RUNS = PodSeen("p", "llm", Stage.RUNNING, host="x1")
NOT_READY = HostSeen("x1", NotReady(NOW - timedelta(seconds=10)))
TAINT = Taint("sick", "NoExecute")


def verdict(
    host: HostSeen | HostGone, *pods: PodSeen, gang: GangSeen = GANG, rules: LossRules | None = None
) -> Verdict | LookAgain:
    judged = judge(host, Seen((gang,), pods), now=NOW, rules=rules or LossRules())
    return judged.verdicts[gang.name] if isinstance(judged, Judged) else judged


def test_a_host_that_is_gone_is_lost_at_once() -> None:
    assert verdict(HostGone("x1"), RUNS) == MarkLost()
    assert verdict(HostSeen("x1", Unreported()), RUNS) == MarkLost()


def test_a_host_that_is_not_ready_is_lost_once_nothing_goes_on_there() -> None:
    assert verdict(NOT_READY, RUNS) == Leave()
    assert verdict(NOT_READY) == MarkLost()
    assert verdict(NOT_READY, PodSeen("p", "llm", Stage.RUNNING, host="x1", leaving=True)) == MarkLost()


def test_without_waiting_for_pods_it_is_lost_after_a_while() -> None:
    rules = LossRules(after_pods_end=False)
    assert verdict(NOT_READY, RUNS, rules=rules) == LookAgain(timedelta(seconds=20))
    assert verdict(HostSeen("x1", NotReady(NOW - timedelta(seconds=30))), RUNS, rules=rules) == MarkLost()


def test_a_taint_counts_as_far_as_the_pods_do_not_bear_it() -> None:
    tainted = HostSeen("x1", Ready(), (TAINT,))
    for_a_while = GangSeen("llm", (Held(HELD.assignment, (Toleration("sick", "Exists", seconds=60),)),))
    for_ever = GangSeen("llm", (Held(HELD.assignment, (Toleration("sick", "Exists"),)),))
    assert verdict(tainted) == MarkLost()
    assert verdict(tainted, RUNS) == Leave()
    assert verdict(tainted, gang=for_a_while) == MarkLost()
    assert verdict(tainted, gang=for_ever) == Leave()
    assert verdict(tainted, rules=LossRules(on_taints=False)) == Leave()
    assert verdict(HostSeen("x1", Ready(), (Taint("busy", "PreferNoSchedule"),))) == Leave()


def test_a_second_lost_host_ends_the_gang() -> None:
    assert verdict(NOT_READY, gang=GangSeen("llm", (HELD,), lost_hosts=("x2",))) == Evict(("x2", "x1"))


def test_a_host_that_serves_again_is_unmarked() -> None:
    assert verdict(HostSeen("x1", Ready()), RUNS, gang=GangSeen("llm", (HELD,), lost_hosts=("x1",))) == Unmark()


def test_a_gang_that_is_over_is_left_alone() -> None:
    judged = judge(HostGone("x1"), Seen((GangSeen("llm", (HELD,), over=True),)), now=NOW, rules=LossRules())
    assert judged == Judged({})


def test_pods_that_wait_for_a_host_in_vain_are_failed_but_not_behind_their_gate() -> None:
    pods = (
        PodSeen("let-go", "llm", Stage.PENDING, waits_for="x1"),
        PodSeen("gated", "llm", Stage.GATED, waits_for="x1"),
        PodSeen("elsewhere", "llm", Stage.PENDING, waits_for="x2"),
    )
    judged = judge(NOT_READY, Seen((GANG,), pods), now=NOW, rules=LossRules())
    assert judged == Judged({"llm": MarkLost()}, ("let-go",))


READINESS = st.sampled_from([Ready(), NotReady(NOW), NotReady(NOW - timedelta(hours=1))])
PODS = st.lists(
    st.builds(PodSeen, st.just("p"), st.just("llm"), st.sampled_from(Stage), st.sampled_from(["x1", "x2"])), max_size=4
)


@given(READINESS, st.sampled_from([(), (TAINT,)]), PODS)
def test_a_place_is_never_given_twice_while_a_pod_goes_on(
    readiness: Ready | NotReady, taints: tuple[Taint, ...], pods: list[PodSeen]
) -> None:
    told = verdict(HostSeen("x1", readiness, taints), *pods)
    if any(pod.host == "x1" and pod.stage is not Stage.ENDED for pod in pods):
        assert told == Leave()
    elif isinstance(readiness, NotReady) or taints:
        assert told == MarkLost()
