"""One upstream as the pool sees it: which ends of calls count against it, and how many batches it may have when."""

from __future__ import annotations

import pytest

from batching.capacity import Slots
from batching.clock import NOW
from batching.errors import (
    UpstreamBroke,
    UpstreamError,
    UpstreamGateway,
    UpstreamMisconfigured,
    UpstreamOverloaded,
    UpstreamProtocolError,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from tests.upstream.member_bench import MOST, THREW, MemberBench
from upstream.breaker import Breaker
from upstream.member import HUNG, LONGEST_PAUSE, RETRY_SOON

DOWN = UpstreamUnavailable("refused")


# Which ends count


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (None, False),
        (THREW, True),
        (DOWN, True),
        (UpstreamError("599"), True),
        (UpstreamBroke("reset"), True),
        (UpstreamGateway("502"), True),
        (UpstreamProtocolError("nonsense"), True),
        (UpstreamUnavailable("503", pause=0.0), True),
        (UpstreamRejected("422", status=422), False),
        (UpstreamOverloaded("429", pause=0.0), False),
        (UpstreamTimeout("late"), False),  # after no time
        (UpstreamMisconfigured("401"), False),  # the only one there is
    ],
    ids=repr,
)
def test_so_many_failures_of_different_inputs_in_a_row_eject_it(error: UpstreamError | None, counts: bool) -> None:
    bench = MemberBench()
    ejected = [bench.end(error) for _ in range(Breaker.FAILURES)]
    assert ejected == [False] * (Breaker.FAILURES - 1) + [counts]


@pytest.mark.parametrize("error", [DOWN, UpstreamMisconfigured("401")], ids=repr)
def test_failures_that_no_input_can_cause_count_whatever_the_inputs(error: UpstreamError) -> None:
    bench = MemberBench(has_others=True)
    assert [bench.end(error, "same") for _ in range(Breaker.FAILURES)][-1]


@pytest.mark.parametrize("error", [THREW, UpstreamError("599"), UpstreamBroke("reset")], ids=repr)
def test_others_of_one_input_do_not(error: UpstreamError) -> None:
    bench = MemberBench(has_others=True)
    assert not any(bench.end(error, "same") for _ in range(10 * Breaker.FAILURES))


@pytest.mark.parametrize("between", [None, UpstreamRejected("422", status=422)], ids=repr)
def test_a_call_that_was_answered_between_begins_the_count_anew(between: UpstreamError | None) -> None:
    bench = MemberBench()
    for _ in range(10):
        bench.fail(Breaker.FAILURES - 1)
        assert not bench.end(between)
    assert bench.member.breaker.is_closed


@pytest.mark.parametrize(
    ("has_others", "timeout", "took", "succeeded_at", "ejects"),
    [
        (True, 30.0, 30.0, NOW, True),
        (True, 30.0, HUNG, NOW, True),
        (True, 30.0, HUNG - 0.001, NOW, False),
        (True, 2.0, 2.0, NOW, True),  # all the time that a call gets there
        (True, 30.0, 30.0, 99.0, True),
        (True, 30.0, 30.0, 100.0, False),
        (True, 30.0, 30.0, 101.0, False),  # another came back meanwhile
        (False, 30.0, 30.0, NOW, False),
    ],
)
def test_a_call_that_hangs_ejects_it_at_once_where_others_are_there(
    has_others: bool, timeout: float, took: float, succeeded_at: float, ejects: bool
) -> None:
    bench = MemberBench(has_others=has_others, timeout=timeout)
    if succeeded_at != NOW:
        bench.end(None, began=succeeded_at, now=succeeded_at)
    assert bench.end(UpstreamTimeout("late"), began=100.0, now=100.0 + took) is ejects


@pytest.mark.parametrize(
    ("errors", "is_bad"),
    [
        ([], False),
        ([THREW], True),
        ([UpstreamProtocolError("nonsense")], True),
        ([UpstreamMisconfigured("401")], True),
        ([DOWN], False),
        ([UpstreamBroke("reset")], False),
        ([UpstreamGateway("502")], False),
        ([UpstreamTimeout("late")], False),
        ([THREW, DOWN], False),
        ([DOWN, THREW], True),
        ([THREW, UpstreamOverloaded("429")], True),  # which says nothing new
    ],
    ids=str,
)
def test_its_latest_failure_tells_whether_it_answers_badly_or_not_at_all(
    errors: list[UpstreamError], is_bad: bool
) -> None:
    bench = MemberBench(has_others=True)
    for error in errors:
        bench.end(error)
    assert bench.member.answers_badly is is_bad


# How many batches


def test_a_well_one_may_have_as_many_as_the_settings_say() -> None:
    bench = MemberBench()
    bench.member.in_flight = 1
    assert bench.slots == [Slots(NOW, 1), Slots(NOW, MOST - 1)]
    assert bench.member.is_steady(0.0)


def test_a_doubtful_one_gets_one_at_a_time_until_a_call_succeeds() -> None:
    bench = MemberBench()
    bench.fail(Breaker.DOUBTFUL - 1)
    assert bench.member.most_in_flight == MOST
    bench.fail(1)
    assert (bench.member.most_in_flight, bench.slots) == (1, [Slots(NOW, 0), Slots(NOW, 1)])
    assert not bench.member.is_steady(0.0)
    bench.end(None)
    assert bench.member.most_in_flight == MOST


def test_a_paused_one_may_have_them_later() -> None:
    bench = MemberBench()
    bench.end(UpstreamOverloaded("429", pause=2.0))
    assert bench.slots == [Slots(NOW, 0), Slots(2.0, MOST // 2)]


def test_it_is_asked_again_after_the_longest_pause() -> None:
    bench = MemberBench()
    bench.end(UpstreamOverloaded("429", pause=1e9))
    assert bench.member.not_before == LONGEST_PAUSE


def test_an_ejected_one_may_have_one_later_and_none_while_that_one_is_under_way() -> None:
    bench = MemberBench()
    bench.fail(Breaker.FAILURES)
    assert bench.slots == [Slots(NOW, 0), Slots(Breaker.FIRST, 1)]
    assert [bench.member.wants_probe(now) for now in (0.0, Breaker.FIRST)] == [False, True]
    bench.member.breaker.probe()
    bench.member.in_flight = 1
    assert bench.slots == [Slots(NOW, 1)]


def test_one_that_was_seen_to_answer_may_be_tried_at_once() -> None:
    bench = MemberBench()
    bench.fail(Breaker.FAILURES, UpstreamUnavailable("503", pause=30.0))
    assert not bench.member.wants_probe(0.0)
    bench.member.readmit()
    assert bench.member.wants_probe(0.0)


def test_that_ends_no_pause_of_one_that_is_not_ejected() -> None:
    bench = MemberBench()
    bench.end(UpstreamOverloaded("429", pause=30.0))
    bench.member.readmit()
    assert bench.member.not_before == 30.0


@pytest.mark.parametrize(("moment", "is_steady"), [(1.999, False), (2.0, True)])
def test_what_it_may_have_is_for_good_again_after_its_pause(moment: float, is_steady: bool) -> None:
    bench = MemberBench()
    bench.end(UpstreamOverloaded("429", pause=2.0))
    assert bench.member.is_steady(moment) is is_steady
    assert list(bench.member.slots(2.0)) == [Slots(NOW, 0), Slots(NOW, MOST // 2)]
    bench.member.is_up = False
    assert not bench.member.is_steady(2.0)


@pytest.mark.parametrize(("in_flight", "is_steady"), [(MOST // 2, True), (MOST // 2 + 1, False)])
def test_more_calls_than_it_may_have_make_its_slots_depend_on_them(in_flight: int, is_steady: bool) -> None:
    bench = MemberBench()
    bench.end(UpstreamOverloaded("429", pause=0.0))
    bench.member.in_flight = in_flight
    assert bench.member.is_steady(0.0) is is_steady


def test_one_that_was_paused_and_is_ejected_is_tried_after_both() -> None:
    bench = MemberBench()
    bench.fail(Breaker.FAILURES, UpstreamUnavailable("503", pause=30.0))
    assert [bench.member.wants_probe(now) for now in (29.999, 30.0)] == [False, True]


@pytest.mark.parametrize("error", [None, UpstreamRejected("422", status=422)], ids=repr)
def test_calls_that_are_answered_let_a_cut_window_grow(error: UpstreamError | None) -> None:
    bench = MemberBench()
    bench.end(UpstreamOverloaded("429", pause=0.0))
    for _ in range(20):
        bench.end(error)
    assert bench.member.most_in_flight == MOST


@pytest.mark.parametrize(
    ("error", "tried_after"),
    [
        (DOWN, RETRY_SOON),
        (UpstreamBroke("reset"), RETRY_SOON),
        (UpstreamGateway("502"), RETRY_SOON),
        (THREW, Breaker.FIRST),
        (UpstreamError("599"), Breaker.FIRST),
    ],
    ids=repr,
)
def test_one_that_cannot_be_reached_is_tried_sooner(error: UpstreamError, tried_after: float) -> None:
    bench = MemberBench()
    for _ in range(Breaker.FAILURES):
        bench.end(error, now=100.0)
    assert bench.member.probe_due == 100.0 + tried_after


@pytest.mark.parametrize(
    "error", [UpstreamOverloaded("429"), UpstreamTimeout("late"), UpstreamMisconfigured("401")], ids=repr
)
def test_a_probe_that_says_nothing_leaves_room_for_another(error: UpstreamError) -> None:
    bench = MemberBench()
    bench.fail(Breaker.FAILURES)
    bench.member.breaker.probe()
    assert not bench.end(error)
    assert bench.member.wants_probe(Breaker.FIRST)


def test_it_says_how_it_fares() -> None:
    bench = MemberBench()
    bench.member.is_up = False
    assert repr(bench.member) == (
        "<http://upstream: down, 0 in flight, <Breaker closed, 0 different failures in a row>, <Window 4.00 of 4>>"
    )
